//! Reports the states of a stream to the publisher, in the order in which they occur.
//!
//! Two threads say what happens: that of the source and that of the inference. Each lets [`Lifecycle`] decide and reports
//! in one step, so that nothing comes between the two.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crossbeam_channel::{Sender, select};

use super::{Error, Item};
use crate::capture::{Event, Flow, Lifecycle, Limits};
use crate::record::{Record, StreamRecord, StreamState};
use crate::shutdown::Stopped;
use crate::telemetry::StreamCounters;

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
    lifecycle: Lifecycle,
    results: Sender<Item>,
}

impl States {
    pub(super) fn new(
        stream: Arc<str>,
        limits: &Limits,
        counters: Arc<StreamCounters>,
        results: Sender<Item>,
        stopped: Stopped,
    ) -> Self {
        let reporting = Mutex::new(Reporting { lifecycle: Lifecycle::new(limits), results });
        Self { stream, counters, stopped, reporting }
    }

    /// Reports a result for frame `seq`.
    ///
    /// # Errors
    /// If the publisher has ended.
    pub(super) fn result(&self, seq: u64) -> Result<(), Error> {
        if self.counters.state() == StreamState::Online {
            return Ok(());
        }
        self.send(&mut self.lock(), Event::Result { seq })
    }

    /// Reports that the last result has been sent.
    ///
    /// # Errors
    /// If the publisher has ended.
    pub(super) fn offline(&self) -> Result<(), Error> {
        self.send(&mut self.lock(), Event::Ended)
    }

    /// Reports what the running pipeline does, unless the inference thread reports something, which tells more: the source
    /// will say it again.
    pub(super) fn playing(&self, flow: Flow) {
        if let Ok(mut reporting) = self.reporting.try_lock() {
            self.tell(&mut reporting, Event::Playing(flow));
        }
    }

    /// Reports that the source has failed; the first frame after reopening gets the number `next`. Reports nothing
    /// after a stop: the publisher may be gone, and the state is obsolete anyway.
    pub(super) fn retrying(&self, next: u64) {
        let mut reporting = loop {
            match self.reporting.try_lock() {
                Ok(reporting) => break reporting,
                Err(TryLockError::Poisoned(reporting)) => break reporting.into_inner(),
                Err(TryLockError::WouldBlock) if self.stopped.wait(PAUSE) => return,
                Err(TryLockError::WouldBlock) => {}
            }
        };
        self.tell(&mut reporting, Event::Failed { next });
    }

    /// Sends the states from now on to another publisher.
    pub(super) fn redirect(&self, results: Sender<Item>) {
        self.lock().results = results;
    }

    /// The latest state, also while it is being reported.
    pub(super) fn current(&self) -> StreamState {
        self.counters.state()
    }

    fn lock(&self) -> MutexGuard<'_, Reporting> {
        self.reporting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an event happen; returns the new state if it is another one.
    fn step(&self, reporting: &mut Reporting, event: Event) -> Option<Item> {
        let (stream, before) = (&self.stream, reporting.lifecycle.state());
        let state = reporting.lifecycle.take(event)?;
        self.counters.set_state(state);
        match (before, state, event) {
            (_, StreamState::Stalled, Event::Playing(flow)) => {
                self.counters.count_stall();
                let (idle_s, stalls) = (flow.idle.as_millis() as f64 / 1e3, self.counters.read().stalls);
                // The camera decides how many there are.
                if stalls.is_power_of_two() {
                    tracing::warn!(%stream, idle_s, stalls, "no frames: the stream is stalled");
                } else {
                    tracing::debug!(%stream, idle_s, stalls, "no frames: the stream is stalled");
                }
            }
            (StreamState::Stalled, StreamState::Online, _) => tracing::debug!(%stream, "there are frames again"),
            (_, StreamState::Waiting, _) => {
                tracing::info!(%stream, "waiting for a key frame: nothing can be decoded before one");
            }
            (StreamState::Waiting, StreamState::Online, _) => {
                let left_out = self.counters.read().left_out;
                tracing::info!(%stream, left_out, "there has been a key frame: the stream goes on");
            }
            _ => {}
        }
        let record = StreamRecord { stream: Arc::clone(stream), state };
        Some(Item { record: Record::Stream(record), permit: None })
    }

    /// Lets an event of the source happen; the publisher may not take its state any more after a stop.
    fn tell(&self, reporting: &mut Reporting, event: Event) {
        if let Some(item) = self.step(reporting, event)
            && !self.stopped.is_set()
        {
            select! {
                send(reporting.results, item) -> _ => {}
                recv(self.stopped.receiver()) -> _ => {}
            }
        }
    }

    /// Lets an event of the inference happen.
    fn send(&self, reporting: &mut Reporting, event: Event) -> Result<(), Error> {
        match self.step(reporting, event) {
            Some(item) => reporting.results.send(item).map_err(|_| Error::PublisherGone),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use crossbeam_channel::{Receiver, bounded};

    use super::*;
    use crate::capture::Settings;
    use crate::config;
    use crate::shutdown::{self, Stop};

    /// Of a source whose frames have been left out for two seconds.
    const KEYLESS: Flow = Flow { idle: Duration::ZERO, keyless: Duration::from_secs(2), next: 1 };

    fn states(depth: usize) -> (Arc<States>, Receiver<Item>, Stop) {
        let (results, items) = bounded(depth);
        let (stop, stopped) = shutdown::channel();
        let settings = Settings::new(&config::Stream::default()).unwrap();
        (Arc::new(States::new("door".into(), settings.limits(), Arc::default(), results, stopped)), items, stop)
    }

    fn told(items: &Receiver<Item>) -> Vec<StreamState> {
        let state = |item: Item| match item.record {
            Record::Stream(StreamRecord { state, .. }) => state,
            Record::Result(_) | Record::Stats(_) => unreachable!(),
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
            states.playing(KEYLESS);
            seen.push(states.current());
        }
        states.offline().unwrap();
        seen.push(states.current());
        let (online, retrying, offline) = (StreamState::Online, StreamState::Retrying, StreamState::Offline);
        let waiting = StreamState::Waiting;
        assert_eq!(seen, [StreamState::Starting, online, online, retrying, waiting, waiting, offline]);
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
        while states.current() != StreamState::Retrying {
            std::thread::yield_now();
        }
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

    #[test]
    fn a_stall_is_counted_and_a_frame_from_before_it_does_not_end_it() {
        let (states, items, _stop) = states(16);
        let silent = |seconds| Flow { idle: Duration::from_secs(seconds), keyless: Duration::ZERO, next: 3 };
        states.result(0).unwrap();
        for seconds in [8, 9, 10] {
            states.playing(silent(seconds));
        }
        states.result(2).unwrap();
        assert_eq!(told(&items), [StreamState::Online, StreamState::Stalled]);
        states.playing(silent(0));
        states.playing(silent(8));
        states.retrying(3);
        states.retrying(3);
        let (online, stalled, retrying) = (StreamState::Online, StreamState::Stalled, StreamState::Retrying);
        assert_eq!(told(&items), [online, stalled, retrying]);
        assert_eq!(states.counters.read().stalls, 2);
    }
}
