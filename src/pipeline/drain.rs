//! How long a stop may take, shared by the threads that bring the work in flight to its end.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The deadline of a stop, once there is one. The first two thirds are for frames, the next sixth is for the inference
/// that is then still running, and the rest for the sinks.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    limit: Duration,
    begun: Arc<OnceLock<Instant>>,
}

impl Drain {
    /// No stop yet; it may take `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, begun: Arc::default() }
    }

    /// The stop begins; the first call counts.
    pub(super) fn begin(&self) {
        self.begun.get_or_init(Instant::now);
    }

    /// Whether no further frame is to be taken.
    pub(super) fn is_over_for_frames(&self) -> bool {
        self.begun.get().is_some_and(|begun| begun.elapsed() > self.limit * 2 / 3)
    }

    /// When the publisher waits no longer for inference; `None` before a stop.
    pub(super) fn end_of_results(&self) -> Option<Instant> {
        self.begun.get().map(|begun| *begun + self.limit * 5 / 6)
    }

    /// When everything must have been handed out: of the stop, or of an end that comes now by itself.
    pub(super) fn deadline(&self) -> Instant {
        self.begun.get().copied().unwrap_or_else(Instant::now) + self.limit
    }
}
