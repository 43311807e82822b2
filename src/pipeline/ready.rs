//! The streams of a pipeline, from which every inference thread takes the one whose turn it is.
//!
//! An inference thread takes a whole stream, classifies one frame of it, and gives it back: the frames of a stream stay in
//! order, and those of different streams are classified by as many threads as there are. A source that has a frame wakes
//! one thread; a thread looks for work before it waits, so that no frame is missed.

#[cfg(test)]
mod tests;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::Item;
use super::lane::Lane;
use super::turn::Turns;

/// Wakes inference threads.
#[derive(Default)]
pub(super) struct Bell {
    /// How often it has rung.
    rings: Mutex<u64>,
    rung: Condvar,
}

impl Bell {
    /// Wakes a thread: there may be work.
    pub(super) fn ring(&self) {
        self.count();
        self.rung.notify_one();
    }

    fn ring_for_all(&self) {
        self.count();
        self.rung.notify_all();
    }

    fn count(&self) {
        let mut rings = self.rings();
        *rings = rings.wrapping_add(1);
    }

    /// Waits until it has rung since it had rung `seen` times, or for `deadline`.
    fn wait(&self, seen: u64, deadline: Option<Instant>) {
        let mut rings = self.rings();
        while *rings == seen {
            rings = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.rung.wait(rings).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return,
                Some(left) => self.rung.wait_timeout(rings, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    fn rings(&self) -> MutexGuard<'_, u64> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The streams that wait, and those that inference threads have.
#[derive(Default)]
pub(super) struct ReadyQueue {
    state: Mutex<State>,
    bell: Arc<Bell>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Lane>,
    /// Names of the streams that threads have.
    taken: Vec<Arc<str>>,
    turns: Turns,
    hand_over: Option<HandOver>,
}

/// What the next pipeline takes over.
#[derive(Clone)]
struct HandOver {
    /// Names of the streams.
    streams: Arc<[Arc<str>]>,
    /// Where their states go from now on.
    results: Sender<Item>,
    given_up: Sender<Lane>,
}

impl HandOver {
    /// Whether the next pipeline takes the stream. One whose source has ended is drained like those that do not go on.
    fn takes(&self, lane: &Lane) -> bool {
        self.streams.contains(&lane.stream) && !lane.counters.has_ended()
    }

    /// Hands a stream over; call it without the lock of the queue, since the stream's source may be reporting a state.
    fn take(&self, lane: Lane) {
        lane.states.redirect(self.results.clone());
        // If nobody waits for it any more, it ends here.
        let _ = self.given_up.send(lane);
    }
}

/// A stream that an inference thread has. Dropping it ends the stream.
pub(super) struct Taken<'a> {
    queue: &'a ReadyQueue,
    /// `None` once it has been given back or has ended.
    lane: Option<Lane>,
    stream: Arc<str>,
}

impl ReadyQueue {
    /// Adds streams, whose sources ring the bell of this queue from now on.
    pub(super) fn add(&self, lanes: Vec<Lane>) {
        let mut state = self.lock();
        let State { waiting, turns, .. } = &mut *state;
        let first = waiting.len();
        waiting.extend(lanes);
        waiting[first..].iter_mut().for_each(|lane| lane.outlet.connect(&self.bell));
        turns.join(waiting[first..].iter_mut().map(|lane| &mut lane.task.turn));
        drop(state);
        self.bell.ring_for_all();
    }

    /// Waits for a stream with a frame, or whose source has ended; `None` if no streams are left, or after
    /// `deadline()`, which is asked again after [`wake_all`](Self::wake_all).
    pub(super) fn next(&self, deadline: impl Fn() -> Option<Instant>) -> Option<Taken<'_>> {
        loop {
            // Before looking for work: a frame that comes after that has rung once more.
            let rings = *self.bell.rings();
            let deadline = deadline();
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return None;
            }
            let mut state = self.lock();
            if let Some(lane) = state.take() {
                let is_another_ready = state.waiting.iter().any(|lane| lane.outlet.is_ready());
                drop(state);
                if is_another_ready {
                    self.bell.ring();
                }
                return Some(Taken { queue: self, stream: Arc::clone(&lane.stream), lane: Some(lane) });
            }
            if state.is_empty() {
                return None;
            }
            drop(state);
            self.bell.wait(rings, deadline);
        }
    }

    /// Takes all streams that no thread has.
    pub(super) fn take_waiting(&self) -> Vec<Lane> {
        std::mem::take(&mut self.lock().waiting)
    }

    /// Gives up `streams` to the next pipeline, which receives them, the busy ones as soon as a thread gives them back; the
    /// channel disconnects after the last one. Their states go to `results` from then on.
    pub(super) fn hand_over(&self, streams: Arc<[Arc<str>]>, results: Sender<Item>) -> Receiver<Lane> {
        let (given_up, lanes) = unbounded();
        let hand_over = HandOver { streams, results, given_up };
        let mut state = self.lock();
        let (taken, waiting): (Vec<Lane>, Vec<Lane>) =
            std::mem::take(&mut state.waiting).into_iter().partition(|lane| hand_over.takes(lane));
        state.waiting = waiting;
        state.hand_over = Some(hand_over.clone());
        state.end_hand_over();
        drop(state);
        taken.into_iter().for_each(|lane| hand_over.take(lane));
        self.bell.ring_for_all();
        lanes
    }

    /// Ends the hand-over: streams that threads still have end with this pipeline.
    pub(super) fn cancel_hand_over(&self) {
        self.lock().hand_over = None;
    }

    /// Wakes all threads.
    pub(super) fn wake_all(&self) {
        self.bell.ring_for_all();
    }

    /// A thread no longer has the stream, which goes on as `lane`, if it does.
    fn end_turn(&self, stream: &Arc<str>, lane: Option<Lane>) {
        let mut state = self.lock();
        let handed_over = state.end_turn(stream, lane);
        let is_empty = state.is_empty();
        drop(state);
        if let Some((hand_over, lane)) = handed_over {
            hand_over.take(lane);
        }
        if is_empty {
            self.bell.ring_for_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.taken.is_empty()
    }

    /// Takes the stream whose turn it is.
    fn take(&mut self) -> Option<Lane> {
        let turns = &self.turns;
        let ready = self.waiting.iter_mut().enumerate().filter_map(|(index, lane)| {
            if lane.outlet.is_ready() {
                return Some((index, lane.task.turn));
            }
            turns.pass(&mut lane.task.turn);
            None
        });
        let index = Turns::earliest(ready)?;
        // The order is kept: of equal turns, the first one counts.
        let mut lane = self.waiting.remove(index);
        self.turns.take(&mut lane.task.turn);
        self.taken.push(Arc::clone(&lane.stream));
        Some(lane)
    }

    /// Ends the hand-over if threads have none of its streams.
    fn end_hand_over(&mut self) {
        let Some(HandOver { streams, .. }) = &self.hand_over else { return };
        if !self.taken.iter().any(|stream| streams.contains(stream)) {
            self.hand_over = None;
        }
    }

    /// A thread no longer has the stream, which goes on as `lane`, if it does; returns it if the next pipeline takes it.
    fn end_turn(&mut self, stream: &Arc<str>, lane: Option<Lane>) -> Option<(HandOver, Lane)> {
        self.taken.retain(|taken| taken != stream);
        let hand_over = self.hand_over.clone();
        self.end_hand_over();
        let lane = lane?;
        match hand_over.filter(|hand_over| hand_over.takes(&lane)) {
            Some(hand_over) => Some((hand_over, lane)),
            None => {
                self.waiting.push(lane);
                None
            }
        }
    }
}

impl Taken<'_> {
    /// The stream.
    pub(super) fn lane(&mut self) -> Option<&mut Lane> {
        self.lane.as_mut()
    }

    /// Gives the stream back.
    pub(super) fn give_back(mut self) {
        let lane = self.lane.take();
        self.queue.end_turn(&self.stream, lane);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.lane.take().is_some() {
            self.queue.end_turn(&self.stream, None);
        }
    }
}
