//! Frame numbers, which never repeat during the life of the process.
//!
//! There is one [`FrameNumbers`] per source and one per stream. Every attempt to open a source takes a [`Ticket`], which
//! issues numbers until the attempt ends: a frame that is decoded while its session shuts down gets none. A stream counts on
//! from its own last number, whichever source it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bits of [`FrameNumbers::state`] for the number: enough for 34 years at 1000 frames per second.
const NUMBER_BITS: u32 = 40;
/// Largest number.
const LAST: u64 = (1 << NUMBER_BITS) - 1;

/// The numbers of one source or stream, from 0.
#[derive(Debug, Default)]
pub struct FrameNumbers {
    /// The attempt that may take numbers, in the upper bits, and the next number. They share a word, so that a frame
    /// and the end of its attempt have a definite order.
    state: AtomicU64,
    /// One more than the highest number that has become a result.
    answered: AtomicU64,
}

impl FrameNumbers {
    /// Begins an attempt to open the source, and ends any earlier one.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Ticket {
        let state = self.next_attempt();
        Ticket { attempt: state >> NUMBER_BITS, numbers: Arc::clone(self) }
    }

    /// The number that the next frame will get.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.state.load(Ordering::Acquire) & LAST
    }

    /// Makes `next` the next number if that is larger.
    pub fn reach(&self, next: u64) {
        let raised = |state: u64| (state & LAST < next).then(|| state - (state & LAST) + next.min(LAST));
        // It fails if there is nothing to do.
        let _ = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, raised);
    }

    /// The number of frames between the previous result, from any attempt or pipeline, and frame `seq`.
    #[must_use]
    pub fn missed(&self, seq: u64) -> u64 {
        seq.saturating_sub(self.answered.load(Ordering::Acquire))
    }

    /// The result of frame `seq` is on its way to the sinks.
    pub fn answer(&self, seq: u64) {
        self.answered.fetch_max(seq.saturating_add(1), Ordering::AcqRel);
    }

    /// Moves on to the next attempt and returns the new state.
    fn next_attempt(&self) -> u64 {
        let step = 1 << NUMBER_BITS;
        self.state.fetch_add(step, Ordering::AcqRel).wrapping_add(step)
    }
}

/// The right of one attempt to number frames.
#[derive(Debug, Clone)]
pub struct Ticket {
    attempt: u64,
    numbers: Arc<FrameNumbers>,
}

impl Ticket {
    /// A number for a frame that has arrived; `None` if the attempt has ended, so that the frame must be dropped.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        let current = |state: u64| state >> NUMBER_BITS == self.attempt && state & LAST < LAST;
        let state = self
            .numbers
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| current(state).then_some(state + 1));
        state.ok().map(|state| state & LAST)
    }

    /// Ends the attempt: no clone of this ticket issues numbers any more. Returns the first number of the next attempt.
    pub fn end(&self) -> u64 {
        let ended = self.numbers.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (state >> NUMBER_BITS == self.attempt).then(|| state.wrapping_add(1 << NUMBER_BITS))
        });
        ended.unwrap_or_else(|state| state) & LAST
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_frame_after_the_end_of_its_attempt_gets_no_number() {
        let numbers = Arc::<FrameNumbers>::default();
        let first = numbers.begin();
        let late = first.clone();
        assert_eq!([first.number(), late.number()], [Some(0), Some(1)]);
        assert_eq!(first.end(), 2);
        assert_eq!(late.number(), None);
        let second = numbers.begin();
        assert_eq!([late.number(), second.number(), late.number(), second.number()], [None, Some(2), None, Some(3)]);
        assert_eq!(late.end(), 4, "an attempt that has ended does not end the one after it");
        assert_eq!(second.number(), Some(4));
    }

    #[test]
    fn an_attempt_ends_the_one_before() {
        let numbers = Arc::<FrameNumbers>::default();
        let first = numbers.begin();
        let second = numbers.begin();
        assert_eq!([first.number(), second.number()], [None, Some(0)]);
        assert_eq!(numbers.next(), 1);
    }

    #[test]
    fn threads_that_end_each_other_never_share_a_number() {
        let numbers = Arc::<FrameNumbers>::default();
        let mut seen: Vec<u64> = std::thread::scope(|scope| {
            let attempts: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let attempts = (0..200).map(|_| numbers.begin());
                        attempts.flat_map(|ticket| (0..5).filter_map(move |_| ticket.number())).collect::<Vec<_>>()
                    })
                })
                .collect();
            attempts.into_iter().flat_map(|attempt| attempt.join().unwrap()).collect()
        });
        seen.sort_unstable();
        assert_eq!(seen, (0..numbers.next()).collect::<Vec<_>>());
    }

    #[test]
    fn numbers_are_never_set_back_and_end_with_the_last() {
        let numbers = Arc::<FrameNumbers>::default();
        let ticket = numbers.begin();
        numbers.reach(7);
        numbers.reach(3);
        assert_eq!(ticket.number(), Some(7));
        numbers.reach(u64::MAX);
        assert_eq!((numbers.next(), ticket.number()), (LAST, None));
    }

    #[test]
    fn what_is_not_classified_counts_once_and_never_below_zero() {
        let numbers = FrameNumbers::default();
        let result = |seq: u64| {
            let missed = numbers.missed(seq);
            numbers.answer(seq);
            missed
        };
        assert_eq!([0, 1, 4, 5].map(result), [0, 0, 2, 0]);
        assert_eq!(result(3), 0, "a frame that was overtaken");
        assert_eq!([6, 8].map(|seq| numbers.missed(seq)), [0, 2], "nothing has come of frame 6");
        assert_eq!(result(8), 2);
    }
}
