//! Counters of the running program.

use std::sync::atomic::{AtomicU64, Ordering};

/// What happened to the frames of one stream. Written by its threads, read by whoever reports.
#[derive(Debug, Default)]
pub struct StreamCounters {
    captured: AtomicU64,
    dropped: AtomicU64,
    classified: AtomicU64,
    failed: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamCounts {
    /// Frames that came from the source.
    pub captured: u64,
    /// Frames that a newer one replaced before an inference thread was free.
    pub dropped: u64,
    /// Frames that became a result.
    pub classified: u64,
    /// Frames that could not be classified.
    pub failed: u64,
}

impl StreamCounters {
    /// A frame came from the source.
    pub fn count_captured(&self) {
        self.captured.fetch_add(1, Ordering::Relaxed);
    }

    /// A frame was replaced by a newer one.
    pub fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// A frame became a result.
    pub fn count_classified(&self) {
        self.classified.fetch_add(1, Ordering::Relaxed);
    }

    /// A frame could not be classified.
    pub fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters now.
    #[must_use]
    pub fn read(&self) -> StreamCounts {
        StreamCounts {
            captured: self.captured.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            classified: self.classified.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}
