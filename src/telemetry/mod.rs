//! Counters, frame numbers and heartbeats of the running program.

mod numbers;
mod registry;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::frame::monotonic_ns;

pub use numbers::{FrameNumbers, Ticket};
pub use registry::Registry;

/// What happens to the frames of one stream from the start of its source to its end, in one pipeline or in several.
/// Written by the threads of the pipeline, read for reports.
#[derive(Debug, Default)]
pub struct StreamCounters {
    counters: Counters,
    /// The same across all sources of that name since the process began.
    totals: Arc<Counters>,
    online: AtomicBool,
    waiting: AtomicBool,
    ended: AtomicBool,
    /// Lowest number that a frame of the latest attempt can have.
    opened_at: AtomicU64,
}

/// Counters that only rise.
#[derive(Debug, Default)]
pub struct Counters {
    captured: AtomicU64,
    dropped: AtomicU64,
    left_out: AtomicU64,
    classified: AtomicU64,
    carried: AtomicU64,
    failed: AtomicU64,
    retries: AtomicU64,
}

impl Counters {
    /// The current values.
    #[must_use]
    pub fn read(&self) -> FrameCounts {
        FrameCounts {
            captured: self.captured.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            left_out: self.left_out.load(Ordering::Relaxed),
            classified: self.classified.load(Ordering::Relaxed),
            carried: self.carried.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
        }
    }
}

/// A snapshot of [`Counters`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// Frames received from the source.
    pub captured: u64,
    /// Frames that no inference thread took: replaced by a newer one, or left at a stop.
    pub dropped: u64,
    /// Frames of the source that were not received: not decoded, or damaged. Their number is never known before.
    pub left_out: u64,
    /// Frames that resulted in a classification.
    pub classified: u64,
    /// Frames that got the result of an earlier one, because the picture had not changed.
    pub carried: u64,
    /// Frames that could not be classified.
    pub failed: u64,
    /// Times that the source has failed and had to be reopened.
    pub retries: u64,
}

/// A snapshot of a stream's state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamStatus {
    /// The counts since the source was started.
    pub counts: FrameCounts,
    /// Whether there are results since the source was last opened.
    pub online: bool,
    /// Whether the source delivers and there is no whole key frame.
    pub waiting: bool,
    /// Whether the source has ended or failed permanently.
    pub ended: bool,
}

impl StreamCounters {
    /// Counters of a new source, which are also added to `totals`.
    #[must_use]
    pub fn new(totals: Arc<Counters>) -> Self {
        Self { totals, ..Self::default() }
    }

    fn count(&self, which: fn(&Counters) -> &AtomicU64) {
        self.add(which, 1);
    }

    fn add(&self, which: fn(&Counters) -> &AtomicU64, number: u64) {
        which(&self.counters).fetch_add(number, Ordering::Relaxed);
        which(&self.totals).fetch_add(number, Ordering::Relaxed);
    }

    /// Counts frames that were not decoded, or damaged.
    pub fn count_left_out(&self, number: u64) {
        self.add(|counters| &counters.left_out, number);
    }

    /// Counts a frame from the source.
    pub fn count_captured(&self) {
        self.count(|counters| &counters.captured);
    }

    /// Counts a frame that was replaced by a newer one.
    pub fn count_dropped(&self) {
        self.count(|counters| &counters.dropped);
    }

    /// Counts a frame that was classified.
    pub fn count_classified(&self) {
        self.count(|counters| &counters.classified);
    }

    /// Counts a frame that got the result of an earlier one.
    pub fn count_carried(&self) {
        self.count(|counters| &counters.carried);
    }

    /// Counts a frame that could not be classified.
    pub fn count_failed(&self) {
        self.count(|counters| &counters.failed);
    }

    /// The source has failed and will be reopened; `next` is the number of the first frame after that.
    pub fn count_retry(&self, next: u64) {
        self.opened_at.store(next, Ordering::Release);
        self.online.store(false, Ordering::Release);
        self.waiting.store(false, Ordering::Release);
        self.count(|counters| &counters.retries);
    }

    /// The source delivers, but no whole key frame; `next` is the number of the first frame after that. True if it has
    /// not been waiting before.
    pub fn turn_waiting(&self, next: u64) -> bool {
        self.opened_at.store(next, Ordering::Release);
        self.online.store(false, Ordering::Release);
        !self.waiting.swap(true, Ordering::AcqRel)
    }

    /// Whether the source delivers and there is no whole key frame.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// The source has ended or failed permanently.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Records a result for frame `seq`; true if it is the first one since the source was last opened.
    pub fn turn_online(&self, seq: u64) -> bool {
        let is_new = seq >= self.opened_at.load(Ordering::Acquire) && !self.online.swap(true, Ordering::AcqRel);
        if is_new {
            self.waiting.store(false, Ordering::Release);
        }
        is_new
    }

    /// Whether there are results since the source was last opened.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.online.load(Ordering::Acquire)
    }

    /// The counts since the source was started.
    #[must_use]
    pub fn read(&self) -> FrameCounts {
        self.counters.read()
    }

    /// The state of the stream.
    #[must_use]
    pub fn status(&self) -> StreamStatus {
        StreamStatus {
            counts: self.read(),
            online: self.is_online(),
            waiting: self.is_waiting(),
            ended: self.ended.load(Ordering::Acquire),
        }
    }
}

/// Progress indicator of a thread: since when it has been busy with the same piece of work.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Monotonic nanoseconds; 0 while it waits for work.
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

    /// How long it has been busy with the same piece of work.
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
    fn a_source_waits_until_a_frame_from_after_that_has_a_result() {
        let counters = StreamCounters::default();
        assert!(counters.turn_online(0));
        assert!(counters.turn_waiting(5));
        assert!(!counters.turn_waiting(5), "it is known");
        assert!(!counters.turn_online(4), "a frame from before");
        assert!(counters.is_waiting() && !counters.is_online());
        assert!(counters.turn_online(5));
        assert!(!counters.is_waiting() && counters.is_online());
        assert!(counters.turn_waiting(6));
        counters.count_retry(6);
        assert!(!counters.is_waiting());
    }

    #[test]
    fn what_a_source_counts_begins_at_zero_and_adds_to_the_totals() {
        let totals = Arc::<Counters>::default();
        for source in 1..=3 {
            let counters = StreamCounters::new(Arc::clone(&totals));
            counters.count_captured();
            counters.count_dropped();
            counters.count_retry(0);
            counters.count_left_out(7);
            let once = FrameCounts { captured: 1, dropped: 1, left_out: 7, retries: 1, ..FrameCounts::default() };
            assert_eq!(counters.read(), once);
            assert_eq!(totals.read().left_out, 7 * source);
            assert_eq!((totals.read().captured, totals.read().retries), (source, source));
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
