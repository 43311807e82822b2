//! Counters, histograms, states, frame numbers and heartbeats of the running program.
//!
//! Recording never waits and never allocates: counters and histograms are atomics.

mod histogram;
mod latency;
mod numbers;
mod period;
mod registry;
mod sink;

use std::ops::Add;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::frame::monotonic_ns;
use crate::record::{Failure, Latency, StreamState};

pub use histogram::{BOUNDS_US, Cumulative, Histogram, STEPS, Snapshot};
pub use latency::{Latencies, STAGES, StageSnapshots, percentiles};
pub use numbers::{FrameNumbers, Ticket};
pub use period::Period;
pub use registry::Registry;
pub use sink::{SinkCounters, SinkCounts};

/// What happens to one stream from the start of its source to its end, in one pipeline or in several. Written by the
/// threads of the pipeline, read for reports.
#[derive(Debug, Default)]
pub struct StreamCounters {
    counters: Counters,
    /// The same across all sources of that name since the process began.
    totals: Arc<Totals>,
    /// The latest state, as its place in [`StreamState::ALL`].
    state: AtomicU8,
    ended: AtomicBool,
}

/// What has become of a stream since the process began, whatever its source.
#[derive(Debug, Default)]
pub struct Totals {
    counters: Counters,
    latencies: Latencies,
    failure: Mutex<Option<Failure>>,
}

impl Totals {
    /// The current counts.
    #[must_use]
    pub fn read(&self) -> FrameCounts {
        self.counters.read()
    }

    /// How long its frames took.
    #[must_use]
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// Its latest failure. None if there was none.
    #[must_use]
    pub fn last_failure(&self) -> Option<Failure> {
        self.failure().clone()
    }

    fn failure(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counters that only rise.
#[derive(Debug, Default)]
struct Counters {
    captured: AtomicU64,
    dropped: AtomicU64,
    left_out: AtomicU64,
    classified: AtomicU64,
    carried: AtomicU64,
    failed: AtomicU64,
    stalls: AtomicU64,
    reconnects: AtomicU64,
    abandoned: AtomicU64,
}

impl Counters {
    fn read(&self) -> FrameCounts {
        FrameCounts {
            captured: self.captured.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            left_out: self.left_out.load(Ordering::Relaxed),
            classified: self.classified.load(Ordering::Relaxed),
            carried: self.carried.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            stalls: self.stalls.load(Ordering::Relaxed),
            reconnects: self.reconnects.load(Ordering::Relaxed),
            abandoned: self.abandoned.load(Ordering::Relaxed),
        }
    }
}

/// A snapshot of the counters of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// Frames received from the source.
    pub captured: u64,
    /// Frames captured and without a result, but for those in `failed`: mostly replaced by a newer one, or left at a stop.
    pub dropped: u64,
    /// Frames of the source that were not received: not decoded, or damaged. Their number is never known before.
    pub left_out: u64,
    /// Frames that the network classified.
    pub classified: u64,
    /// Frames that got the result of an earlier one, because the picture had not changed.
    pub carried: u64,
    /// Frames that could not be classified.
    pub failed: u64,
    /// Times that the source stopped delivering.
    pub stalls: u64,
    /// Times that the source has failed and had to be reopened.
    pub reconnects: u64,
    /// Pipelines that did not shut down in time.
    pub abandoned: u64,
}

impl Add for FrameCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            captured: self.captured + other.captured,
            dropped: self.dropped + other.dropped,
            left_out: self.left_out + other.left_out,
            classified: self.classified + other.classified,
            carried: self.carried + other.carried,
            failed: self.failed + other.failed,
            stalls: self.stalls + other.stalls,
            reconnects: self.reconnects + other.reconnects,
            abandoned: self.abandoned + other.abandoned,
        }
    }
}

impl StreamCounters {
    /// Counters of a new source, which are also added to `totals`.
    #[must_use]
    pub fn new(totals: Arc<Totals>) -> Self {
        Self { totals, ..Self::default() }
    }

    fn count(&self, which: fn(&Counters) -> &AtomicU64) {
        self.add(which, 1);
    }

    fn add(&self, which: fn(&Counters) -> &AtomicU64, number: u64) {
        which(&self.counters).fetch_add(number, Ordering::Relaxed);
        which(&self.totals.counters).fetch_add(number, Ordering::Relaxed);
    }

    /// Counts frames that were not decoded, or damaged.
    pub fn count_left_out(&self, number: u64) {
        self.add(|counters| &counters.left_out, number);
    }

    /// Counts a frame from the source.
    pub fn count_captured(&self) {
        self.count(|counters| &counters.captured);
    }

    /// Counts a frame that gets no result, though it might have been classified.
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

    /// Records how long a frame took that the network has classified.
    pub fn record(&self, latency: Latency) {
        self.totals.latencies.record(latency);
    }

    /// Counts a stall.
    pub fn count_stall(&self) {
        self.count(|counters| &counters.stalls);
    }

    /// Counts a failure after which the source is reopened.
    pub fn count_reconnect(&self) {
        self.count(|counters| &counters.reconnects);
    }

    /// Counts pipelines that did not shut down in time.
    pub fn count_abandoned(&self, number: u64) {
        self.add(|counters| &counters.abandoned, number);
    }

    /// Keeps why the source has failed; `reason` must hold no login.
    pub fn keep_failure(&self, reason: &str) {
        *self.totals.failure() = Some(Failure { at: SystemTime::now(), reason: reason.into() });
    }

    /// The stream is in `state`.
    pub fn set_state(&self, state: StreamState) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// The latest state.
    #[must_use]
    pub fn state(&self) -> StreamState {
        StreamState::ALL.get(usize::from(self.state.load(Ordering::Acquire))).copied().unwrap_or_default()
    }

    /// The source has ended or failed permanently.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether the source has ended or failed permanently; frames of it may still wait.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The counts since the source was started.
    #[must_use]
    pub fn read(&self) -> FrameCounts {
        self.counters.read()
    }

    /// The counts since the process began.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
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
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_source_has_the_state_that_was_set_last() {
        let counters = StreamCounters::default();
        assert_eq!(counters.state(), StreamState::Starting);
        for state in StreamState::ALL {
            counters.set_state(state);
            assert_eq!(counters.state(), state);
        }
    }

    #[test]
    fn what_a_source_counts_begins_at_zero_and_adds_to_the_totals() {
        let totals = Arc::<Totals>::default();
        for source in 1..=3 {
            let counters = StreamCounters::new(Arc::clone(&totals));
            counters.count_captured();
            counters.count_dropped();
            counters.count_reconnect();
            counters.count_left_out(7);
            let once = FrameCounts { captured: 1, dropped: 1, left_out: 7, reconnects: 1, ..FrameCounts::default() };
            assert_eq!(counters.read(), once);
            assert_eq!(totals.read().left_out, 7 * source);
            assert_eq!((totals.read().captured, totals.read().reconnects), (source, source));
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
