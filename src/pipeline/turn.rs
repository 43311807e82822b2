//! The order of streams that compete for inference.
//!
//! Stride scheduling (Waldspurger and Weihl, 1995): every stream has a turn, a point on a common scale. Of the streams with
//! a frame, the one with the earliest turn goes first, and its next turn comes one stride later: the larger its weight, the
//! shorter its stride. A stream that had no frame for a while goes first once it has one, but cannot make up for what it
//! left out. One whose frame is being classified keeps its turn: several threads share by weight as one does.

/// The stride of a stream of weight 1. Turns of one frame per microsecond last for more than half a year.
const STRIDE: u64 = 1 << 20;

/// The turn of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// 0 before it has joined any others.
    at: u64,
    stride: u64,
}

impl Turn {
    /// The first turn of a stream that gets `weight` times as many frames classified as one of weight 1.
    pub(super) fn new(weight: u32) -> Self {
        Self { at: 0, stride: STRIDE / u64::from(weight.max(1)) }
    }

    /// Takes over the place of a stream among others, but not its weight.
    pub(super) fn follow(&mut self, before: Self) {
        self.at = before.at;
    }
}

/// The turn that has come last.
#[derive(Debug, Default)]
pub(super) struct Turns {
    now: u64,
}

impl Turns {
    /// Lets streams join. Those that had turns together before keep their order; the turn of a new one comes at once.
    pub(super) fn join<'a>(&mut self, turns: impl Iterator<Item = &'a mut Turn>) {
        let mut turns: Vec<&mut Turn> = turns.collect();
        // The turn that came last was one stride before the latest of the next ones.
        let last = turns.iter().map(|turn| turn.at.saturating_sub(turn.stride)).max();
        self.now = self.now.max(last.unwrap_or(0));
        for turn in turns.iter_mut().filter(|turn| turn.at == 0) {
            turn.at = self.now;
        }
    }

    /// The index of the earliest turn; of equal ones, the first.
    pub(super) fn earliest(turns: impl Iterator<Item = (usize, Turn)>) -> Option<usize> {
        turns.min_by_key(|(_, turn)| turn.at).map(|(index, _)| index)
    }

    /// A stream has no frame now: it cannot make up for that.
    pub(super) fn pass(&self, turn: &mut Turn) {
        turn.at = turn.at.max(self.now);
    }

    /// The stream has its turn now; sets its next one.
    pub(super) fn take(&mut self, turn: &mut Turn) {
        self.now = self.now.max(turn.at);
        // A thread classifies one frame of it at a time. If its share is more than that, it does not save up the rest.
        turn.at = turn.at.max(self.now.saturating_sub(STRIDE)) + turn.stride;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each stream has its turn in `rounds`, if `has_frame` says which ones have a frame in a round.
    fn served(weights: &[u32], rounds: usize, has_frame: impl Fn(usize, usize) -> bool) -> Vec<usize> {
        served_by(1, weights, rounds, has_frame)
    }

    /// The same with several threads, of which one finishes a frame in each round.
    fn served_by(
        threads: usize,
        weights: &[u32],
        rounds: usize,
        has_frame: impl Fn(usize, usize) -> bool,
    ) -> Vec<usize> {
        let mut turns = Turns::default();
        let mut streams: Vec<Turn> = weights.iter().map(|weight| Turn::new(*weight)).collect();
        let mut served = vec![0; weights.len()];
        let mut busy = vec![None; threads];
        for round in 0..rounds {
            busy[round % threads] = None;
            let free = |stream: usize| !busy.contains(&Some(stream));
            for stream in (0..weights.len()).filter(|stream| free(*stream) && !has_frame(*stream, round)) {
                turns.pass(&mut streams[stream]);
            }
            let ready = streams.iter().copied().enumerate();
            let ready = ready.filter(|(stream, _)| free(*stream) && has_frame(*stream, round));
            if let Some(stream) = Turns::earliest(ready) {
                turns.take(&mut streams[stream]);
                busy[round % threads] = Some(stream);
                served[stream] += 1;
            }
        }
        served
    }

    #[test]
    fn streams_share_by_weight_however_many_threads_there_are() {
        for threads in [1, 2] {
            let counts = served_by(threads, &[3, 1, 1, 1, 1], 7000, |_, _| true);
            assert!(
                counts[0].abs_diff(3000) <= 3 && counts[1..].iter().all(|count| count.abs_diff(1000) <= 3),
                "{counts:?}"
            );
        }
        for threads in [2, 4] {
            let counts = served_by(threads, &[2, 1, 1, 1, 1, 1, 1, 1], 9000, |_, _| true);
            assert!(counts[0].abs_diff(2000) <= 3, "{threads}: {counts:?}");
        }
    }

    #[test]
    fn a_stream_whose_share_is_more_than_a_thread_saves_nothing_up() {
        // Up to round 10,000, the first stream has a thread of its own; then three more join.
        let counts = served_by(2, &[3, 1, 1, 1, 1, 1], 17_000, |stream, round| stream < 3 || round >= 10_000);
        let after = counts[0] - 5000;
        assert!(after.abs_diff(2625) <= 8, "{counts:?}");
    }

    #[test]
    fn streams_that_always_have_a_frame_take_turns() {
        assert_eq!(served(&[1; 16], 1600, |_, _| true), [100; 16]);
    }

    #[test]
    fn streams_share_by_weight() {
        assert_eq!(served(&[1, 2, 5], 800, |_, _| true), [100, 200, 500]);
    }

    #[test]
    fn a_flooding_stream_delays_no_other() {
        // The first always has a frame; each of the others, every eighth round.
        let counts = served(&[1, 1, 1], 800, |stream, round| stream == 0 || round % 8 == stream);
        assert_eq!(counts, [600, 100, 100]);
    }

    #[test]
    fn a_stream_that_was_silent_goes_first_but_once() {
        let has_frame = |stream: usize, round: usize| stream < 2 || round >= 100;
        assert_eq!(served(&[1, 1, 1], 101, has_frame), [50, 50, 1], "it goes first");
        assert_eq!(served(&[1, 1, 1], 130, has_frame), [60, 60, 10], "and then takes turns with the others");
    }

    #[test]
    fn streams_that_move_on_together_keep_their_order() {
        let mut turns = Turns::default();
        let mut streams = [Turn::new(1); 4];
        (0..100).for_each(|_| streams.iter_mut().for_each(|turn| turns.take(turn)));
        // The first two have had another turn when all move on, and a new one joins them.
        streams[..2].iter_mut().for_each(|turn| turns.take(turn));
        let mut moved = [Turn::new(1); 5];
        moved.iter_mut().zip(streams).for_each(|(turn, before)| turn.follow(before));
        let mut turns = Turns::default();
        turns.join(moved.iter_mut());
        let mut order = Vec::new();
        for _ in 0..8 {
            let next = Turns::earliest(moved.iter().copied().enumerate()).unwrap_or_default();
            turns.take(&mut moved[next]);
            order.push(next);
        }
        assert_eq!(order, [2, 3, 4, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_stream_that_joins_late_takes_turns_with_the_others() {
        let mut turns = Turns::default();
        let mut old = Turn::new(1);
        (0..1000).for_each(|_| turns.take(&mut old));
        let mut new = Turn::new(1);
        turns.join([&mut new].into_iter());
        let mut streams = [old, new];
        let mut order = Vec::new();
        for _ in 0..6 {
            let next = Turns::earliest(streams.iter().copied().enumerate()).unwrap_or_default();
            turns.take(&mut streams[next]);
            order.push(next);
        }
        assert_eq!(order, [1, 0, 1, 0, 1, 0]);
    }
}
