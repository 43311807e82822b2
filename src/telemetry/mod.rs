//! Counters, frame numbers and heartbeats of the running program.

mod numbers;
mod registry;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::frame::monotonic_ns;

pub use numbers::{FrameNumbers, Ticket};
pub use registry::Registry;

/// What happens to the frames of one stream in one pipeline. Written by its threads, read by whoever reports.
#[derive(Debug, Default)]
pub struct StreamCounters {
    counters: Counters,
    /// The same over all pipelines of the process.
    totals: Arc<Counters>,
    online: AtomicBool,
    ended: AtomicBool,
    /// Number of the first frame that the latest attempt to open the source may give.
    opened_at: AtomicU64,
}

/// Counters that only rise.
#[derive(Debug, Default)]
pub struct Counters {
    captured: AtomicU64,
    dropped: AtomicU64,
    classified: AtomicU64,
    failed: AtomicU64,
    retries: AtomicU64,
}

impl Counters {
    /// What they are now.
    #[must_use]
    pub fn read(&self) -> FrameCounts {
        FrameCounts {
            captured: self.captured.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            classified: self.classified.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
        }
    }
}

/// [`Counters`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// Frames that came from the source.
    pub captured: u64,
    /// Frames that a newer one replaced before an inference thread was free.
    pub dropped: u64,
    /// Frames that became a result.
    pub classified: u64,
    /// Frames that could not be classified.
    pub failed: u64,
    /// Times that the source was opened again.
    pub retries: u64,
}

/// The state of a stream at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamStatus {
    /// What has been counted in this pipeline.
    pub counts: FrameCounts,
    /// Whether there are results since the source was opened last.
    pub online: bool,
    /// Whether the source has ended, or failed for good.
    pub ended: bool,
}

impl StreamCounters {
    /// Counters of a new pipeline, which are added to `totals` as well.
    #[must_use]
    pub fn new(totals: Arc<Counters>) -> Self {
        Self { totals, ..Self::default() }
    }

    fn count(&self, which: fn(&Counters) -> &AtomicU64) {
        which(&self.counters).fetch_add(1, Ordering::Relaxed);
        which(&self.totals).fetch_add(1, Ordering::Relaxed);
    }

    /// A frame came from the source.
    pub fn count_captured(&self) {
        self.count(|counters| &counters.captured);
    }

    /// A frame was replaced by a newer one.
    pub fn count_dropped(&self) {
        self.count(|counters| &counters.dropped);
    }

    /// A frame became a result.
    pub fn count_classified(&self) {
        self.count(|counters| &counters.classified);
    }

    /// A frame could not be classified.
    pub fn count_failed(&self) {
        self.count(|counters| &counters.failed);
    }

    /// The source has failed and is opened again; frame `next` would be the first to come of it.
    pub fn count_retry(&self, next: u64) {
        self.opened_at.store(next, Ordering::Release);
        self.online.store(false, Ordering::Release);
        self.count(|counters| &counters.retries);
    }

    /// The source has ended, or failed for good.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// There is a result of frame `seq`; true when it is the first one since the source was opened.
    pub fn turn_online(&self, seq: u64) -> bool {
        seq >= self.opened_at.load(Ordering::Acquire) && !self.online.swap(true, Ordering::AcqRel)
    }

    /// Whether there are results since the source was opened last.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.online.load(Ordering::Acquire)
    }

    /// What has been counted in this pipeline.
    #[must_use]
    pub fn read(&self) -> FrameCounts {
        self.counters.read()
    }

    /// The state of the stream.
    #[must_use]
    pub fn status(&self) -> StreamStatus {
        StreamStatus { counts: self.read(), online: self.is_online(), ended: self.ended.load(Ordering::Acquire) }
    }
}

/// A sign of life of one thread: since when it has been at one piece of work.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Monotonic nanoseconds; 0: it waits for work.
    since_ns: AtomicU64,
}

impl Pulse {
    /// The thread begins a piece of work.
    pub fn beat(&self) {
        self.since_ns.store(monotonic_ns().max(1), Ordering::Relaxed);
    }

    /// The thread waits for work, or has ended.
    pub fn rest(&self) {
        self.since_ns.store(0, Ordering::Relaxed);
    }

    /// How long it has been at the same piece of work.
    #[must_use]
    pub fn age(&self) -> Duration {
        match self.since_ns.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_nanos(monotonic_ns().saturating_sub(since)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_online_once_after_every_time_it_was_opened() {
        let counters = StreamCounters::default();
        assert!(counters.turn_online(0));
        assert!(!counters.turn_online(1));
        counters.count_retry(5);
        assert!(!counters.turn_online(4), "a frame of the time before");
        assert!(!counters.is_online());
        assert!(counters.turn_online(5));
        assert_eq!((counters.read().retries, counters.is_online()), (1, true));
    }

    #[test]
    fn what_a_pipeline_counts_begins_at_zero_and_adds_to_the_totals() {
        let totals = Arc::<Counters>::default();
        for pipeline in 1..=3 {
            let counters = StreamCounters::new(Arc::clone(&totals));
            counters.count_captured();
            counters.count_dropped();
            counters.count_retry(0);
            let once = FrameCounts { captured: 1, dropped: 1, retries: 1, ..FrameCounts::default() };
            assert_eq!(counters.read(), once);
            assert_eq!((totals.read().captured, totals.read().retries), (pipeline, pipeline));
        }
    }

    #[test]
    fn only_a_thread_at_work_grows_old() {
        let pulse = Pulse::default();
        assert_eq!(pulse.age(), Duration::ZERO);
        pulse.beat();
        std::thread::sleep(Duration::from_millis(3));
        assert!(pulse.age() >= Duration::from_millis(3));
        pulse.rest();
        assert_eq!(pulse.age(), Duration::ZERO);
    }
}
