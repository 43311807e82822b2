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
use crate::telemetry::{FrameCounts, StreamCounters, StreamStatus};

/// Time between attempts while the other thread reports a state.
const PAUSE: Duration = Duration::from_millis(2);

/// The states of one stream.
pub(super) struct States {
    stream: Arc<str>,
    counters: Arc<StreamCounters>,
    stopped: Stopped,
    /// Locked while a state is determined and reported.
    reporting: Mutex<Reporting>,
}

struct Reporting {
    /// Whether the stream has ended.
    ended: bool,
    results: Sender<Item>,
}

impl States {
    pub(super) fn new(
        stream: Arc<str>,
        counters: Arc<StreamCounters>,
        results: Sender<Item>,
        stopped: Stopped,
    ) -> Self {
        Self { stream, counters, stopped, reporting: Mutex::new(Reporting { ended: false, results }) }
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
        let reporting = self.lock();
        let has_waited = self.counters.is_waiting();
        if !self.counters.turn_online(seq) {
            return Ok(());
        }
        if has_waited {
            let left_out = self.counters.read().left_out;
            tracing::info!(stream = %self.stream, left_out, "there has been a key frame: the stream goes on");
        }
        self.send(&reporting, StreamState::Online)
    }

    /// Reports that the source has failed; the first frame after reopening gets the number `next`. Reports nothing
    /// after a stop: the publisher may be gone, and the state is obsolete anyway.
    pub(super) fn retrying(&self, next: u64) {
        let reporting = loop {
            match self.reporting.try_lock() {
                Ok(reporting) => break reporting,
                Err(TryLockError::Poisoned(reporting)) => break reporting.into_inner(),
                Err(TryLockError::WouldBlock) if self.stopped.wait(PAUSE) => return,
                Err(TryLockError::WouldBlock) => {}
            }
        };
        self.counters.count_retry(next);
        self.tell(&reporting, StreamState::Retrying);
    }

    /// Reports, once, that the source delivers no whole key frame; the first frame after that gets the number `next`.
    pub(super) fn waiting(&self, next: u64) {
        // The inference thread reports a result, which tells more; the source reports this again.
        let Ok(reporting) = self.reporting.try_lock() else { return };
        if self.counters.turn_waiting(next) {
            tracing::info!(stream = %self.stream, "waiting for a key frame: nothing can be decoded before one");
            self.tell(&reporting, StreamState::Waiting);
        }
    }

    fn tell(&self, reporting: &Reporting, state: StreamState) {
        if !reporting.ended && !self.stopped.is_set() {
            select! {
                send(reporting.results, self.item(state)) -> _ => {}
                recv(self.stopped.receiver()) -> _ => {}
            }
        }
    }

    /// Reports that the last result has been sent.
    ///
    /// # Errors
    /// If the publisher has ended.
    pub(super) fn offline(&self) -> Result<(), Error> {
        let mut reporting = self.lock();
        reporting.ended = true;
        self.send(&reporting, StreamState::Offline)
    }

    /// Sends the states from now on to another publisher.
    pub(super) fn redirect(&self, results: Sender<Item>) {
        self.lock().results = results;
    }

    /// The latest state of a stream that no inference thread has; `offline` before the first result. Does not wait: the
    /// source may be waiting for a publisher that starts only later.
    pub(super) fn current(&self) -> StreamState {
        let reporting = match self.reporting.try_lock() {
            Ok(reporting) => reporting,
            Err(TryLockError::Poisoned(reporting)) => reporting.into_inner(),
            // Only the source holds it, to report one of these.
            Err(TryLockError::WouldBlock) if self.counters.is_waiting() => return StreamState::Waiting,
            Err(TryLockError::WouldBlock) => return StreamState::Retrying,
        };
        match self.counters.status() {
            StreamStatus { online: true, .. } if !reporting.ended => StreamState::Online,
            StreamStatus { waiting: true, .. } if !reporting.ended => StreamState::Waiting,
            StreamStatus { counts: FrameCounts { retries: 1.., .. }, .. } if !reporting.ended => StreamState::Retrying,
            _ => StreamState::Offline,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Reporting> {
        self.reporting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn item(&self, state: StreamState) -> Item {
        let record = StreamRecord { stream: Arc::clone(&self.stream), state };
        Item { record: Record::Stream(record), permit: None }
    }

    fn send(&self, reporting: &Reporting, state: StreamState) -> Result<(), Error> {
        reporting.results.send(self.item(state)).map_err(|_| Error::PublisherGone)
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
    fn a_stream_that_goes_on_keeps_its_state_and_reports_where_it_goes() {
        let (states, before, _stop) = states(16);
        let mut seen = vec![states.current()];
        states.result(0).unwrap();
        seen.push(states.current());
        let (results, after) = bounded(16);
        states.redirect(results);
        seen.push(states.current());
        states.retrying(1);
        seen.push(states.current());
        for _ in 0..2 {
            states.waiting(1);
            seen.push(states.current());
        }
        states.offline().unwrap();
        seen.push(states.current());
        let (online, retrying, offline) = (StreamState::Online, StreamState::Retrying, StreamState::Offline);
        let waiting = StreamState::Waiting;
        assert_eq!(seen, [offline, online, online, retrying, waiting, waiting, offline]);
        assert_eq!((told(&before), told(&after)), (vec![online], vec![retrying, waiting, offline]));
    }

    #[test]
    fn the_state_of_a_stream_is_known_while_its_source_waits_for_the_publisher() {
        let (states, items, _stop) = states(1);
        states.result(0).unwrap();
        let source = {
            let states = Arc::clone(&states);
            std::thread::spawn(move || states.retrying(1))
        };
        while states.reporting.try_lock().is_ok() {
            std::thread::yield_now();
        }
        assert_eq!(states.current(), StreamState::Retrying);
        assert_eq!(items.recv().map(|_| ()), Ok(()), "the publisher starts");
        source.join().unwrap();
        assert_eq!(told(&items), [StreamState::Retrying]);
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
