//! Reports the states of a stream to the publisher, in the order in which they occur.
//!
//! Two threads know them: the source thread, which sees failures, and the inference thread, which sees the first result
//! after an opening and the last one. Each decides and reports in one step, so that a result in flight when the source
//! fails does not announce the stream as online afterwards.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crossbeam_channel::{Sender, select};

use super::{Error, Item};
use crate::record::{Record, StreamRecord, StreamState};
use crate::shutdown::Stopped;
use crate::telemetry::StreamCounters;

/// Time between attempts while the other thread reports a state.
const PAUSE: Duration = Duration::from_millis(2);

/// The states of one stream.
pub(super) struct States {
    stream: Arc<str>,
    counters: Arc<StreamCounters>,
    results: Sender<Item>,
    stopped: Stopped,
    /// Whether the stream has ended; locked while a state is determined and reported.
    ended: Mutex<bool>,
}

impl States {
    pub(super) fn new(
        stream: Arc<str>,
        counters: Arc<StreamCounters>,
        results: Sender<Item>,
        stopped: Stopped,
    ) -> Self {
        Self { stream, counters, results, stopped, ended: Mutex::new(false) }
    }

    /// Reports a result for frame `seq`: the stream is online if the frame was captured since the source was last
    /// opened.
    ///
    /// # Errors
    /// If the publisher has ended.
    pub(super) fn result(&self, seq: u64) -> Result<(), Error> {
        if self.counters.is_online() {
            return Ok(());
        }
        let _ended = self.lock();
        if self.counters.turn_online(seq) { self.send(StreamState::Online) } else { Ok(()) }
    }

    /// Reports that the source has failed; the first frame after reopening gets the number `next`. Reports nothing
    /// after a stop: the publisher may be gone, and the state is obsolete anyway.
    pub(super) fn retrying(&self, next: u64) {
        let ended = loop {
            match self.ended.try_lock() {
                Ok(ended) => break ended,
                Err(TryLockError::Poisoned(ended)) => break ended.into_inner(),
                Err(TryLockError::WouldBlock) if self.stopped.wait(PAUSE) => return,
                Err(TryLockError::WouldBlock) => {}
            }
        };
        self.counters.count_retry(next);
        if !*ended && !self.stopped.is_set() {
            select! {
                send(self.results, self.item(StreamState::Retrying)) -> _ => {}
                recv(self.stopped.receiver()) -> _ => {}
            }
        }
    }

    /// Reports that the last result has been sent.
    ///
    /// # Errors
    /// If the publisher has ended.
    pub(super) fn offline(&self) -> Result<(), Error> {
        let mut ended = self.lock();
        *ended = true;
        self.send(StreamState::Offline)
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn item(&self, state: StreamState) -> Item {
        let record = StreamRecord { stream: Arc::clone(&self.stream), state };
        Item { record: Record::Stream(record), permit: None }
    }

    fn send(&self, state: StreamState) -> Result<(), Error> {
        self.results.send(self.item(state)).map_err(|_| Error::PublisherGone)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use crossbeam_channel::{Receiver, bounded};

    use super::*;
    use crate::shutdown::{self, Stop};

    fn states(depth: usize) -> (Arc<States>, Receiver<Item>, Stop) {
        let (results, items) = bounded(depth);
        let (stop, stopped) = shutdown::channel();
        (Arc::new(States::new("door".into(), Arc::default(), results, stopped)), items, stop)
    }

    fn told(items: &Receiver<Item>) -> Vec<StreamState> {
        let state = |item: Item| match item.record {
            Record::Stream(StreamRecord { state, .. }) => state,
            Record::Result(_) => unreachable!(),
        };
        items.try_iter().map(state).collect()
    }

    #[test]
    fn a_late_frame_does_not_announce_a_source_that_is_opened_again() {
        let (states, items, _stop) = states(16);
        states.result(0).unwrap();
        states.retrying(5);
        // Frame 4 was captured before the source failed; its result came after.
        states.result(4).unwrap();
        assert_eq!(told(&items), [StreamState::Online, StreamState::Retrying]);
        states.result(5).unwrap();
        states.result(6).unwrap();
        assert_eq!(told(&items), [StreamState::Online]);
    }

    #[test]
    fn a_stream_that_is_through_is_not_retrying() {
        let (states, items, _stop) = states(16);
        states.offline().unwrap();
        states.retrying(1);
        assert_eq!(told(&items), [StreamState::Offline]);
    }

    #[test]
    fn a_stop_frees_a_source_whose_state_nobody_takes() {
        let (states, items, stop) = states(1);
        states.result(0).unwrap();
        // One thread waits for room while holding the lock; another waits for the lock.
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let states = Arc::clone(&states);
                std::thread::spawn(move || states.retrying(1))
            })
            .collect();
        drop(stop);
        for thread in waiting {
            thread.join().unwrap();
        }
        assert_eq!(told(&items), [StreamState::Online]);
    }
}
