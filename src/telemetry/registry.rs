//! State that outlives sessions, reconnects and reloads: the identity of the process and, for each stream, its frame
//! numbers and counters. It belongs to the owner of the process.

use std::collections::BTreeMap;
use std::ops::Add;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{FrameCounts, FrameNumbers, SinkCounters, Totals};
use crate::record::RunId;

/// State that outlives every pipeline of the process.
#[derive(Debug)]
pub struct Registry {
    run: RunId,
    started: Instant,
    streams: Mutex<BTreeMap<Arc<str>, Stream>>,
    sinks: Mutex<BTreeMap<&'static str, Arc<SinkCounters>>>,
}

#[derive(Debug, Default)]
struct Stream {
    numbers: Arc<FrameNumbers>,
    totals: Arc<Totals>,
}

impl Registry {
    /// No streams yet, and a new process identity.
    #[must_use]
    pub fn new() -> Self {
        Self { run: RunId::random(), started: Instant::now(), streams: Mutex::default(), sinks: Mutex::default() }
    }

    /// The identity of the process, the same in all its records.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.run
    }

    /// How long the process has been running.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The frame numbers of the stream called `name`; the same object at every call.
    #[must_use]
    pub fn numbers(&self, name: &Arc<str>) -> Arc<FrameNumbers> {
        Arc::clone(&self.streams().entry(Arc::clone(name)).or_default().numbers)
    }

    /// The counters of the stream called `name`; the same object at every call.
    #[must_use]
    pub fn totals(&self, name: &Arc<str>) -> Arc<Totals> {
        Arc::clone(&self.streams().entry(Arc::clone(name)).or_default().totals)
    }

    /// The counters of the sink called `name`; the same object at every call.
    #[must_use]
    pub fn sink(&self, name: &'static str) -> Arc<SinkCounters> {
        Arc::clone(self.sinks.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default())
    }

    /// Every stream since the process began, also those that are no longer configured, by name.
    #[must_use]
    pub fn all_totals(&self) -> Vec<(Arc<str>, Arc<Totals>)> {
        self.streams().iter().map(|(name, stream)| (Arc::clone(name), Arc::clone(&stream.totals))).collect()
    }

    /// Every sink since the process began, by name.
    #[must_use]
    pub fn sinks(&self) -> Vec<(&'static str, Arc<SinkCounters>)> {
        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.iter().map(|(name, counters)| (*name, Arc::clone(counters))).collect()
    }

    /// The total counts of all streams, including those that are no longer configured.
    #[must_use]
    pub fn sum(&self) -> FrameCounts {
        self.streams().values().map(|stream| stream.totals.read()).fold(FrameCounts::default(), Add::add)
    }

    fn streams(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::StreamCounters;

    #[test]
    fn a_stream_keeps_its_numbers_and_counters_and_a_process_its_identity() {
        let registry = Registry::new();
        let of = |name: &str| registry.numbers(&Arc::from(name));
        assert_eq!(of("door").begin().number(), Some(0));
        assert_eq!(of("yard").begin().number(), Some(0));
        assert_eq!(of("door").begin().number(), Some(1), "as after a reload");
        for name in ["door", "yard", "door"] {
            StreamCounters::new(registry.totals(&Arc::from(name))).count_classified();
        }
        assert_eq!(registry.totals(&Arc::from("door")).read().classified, 2);
        assert_eq!(registry.sum(), FrameCounts { classified: 3, ..FrameCounts::default() });
        assert_eq!(registry.run(), registry.run());
        assert_ne!(registry.run(), Registry::new().run());
    }
}
