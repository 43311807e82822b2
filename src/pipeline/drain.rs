//! How long a stop may take, shared by the threads that finish the work in flight.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The deadline of a stop, once there is one. The first two thirds are for frames, the next sixth for inference that is
/// still running, and the rest for the sinks.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    limit: Duration,
    begun: Arc<OnceLock<Instant>>,
}

impl Drain {
    /// No stop yet; a stop may take `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, begun: Arc::default() }
    }

    /// Begins the stop; only the first call counts.
    pub(super) fn begin(&self) {
        self.begin_at(Instant::now());
    }

    fn begin_at(&self, now: Instant) {
        self.begun.get_or_init(|| now);
    }

    /// When no more frames are taken; `None` before a stop.
    pub(super) fn end_of_frames(&self) -> Option<Instant> {
        self.begun.get().map(|begun| *begun + self.limit * 2 / 3)
    }

    /// When the publisher stops waiting for inference; `None` before a stop.
    pub(super) fn end_of_results(&self) -> Option<Instant> {
        self.begun.get().map(|begun| *begun + self.limit * 5 / 6)
    }

    /// When everything must have been handed out: the deadline of the stop or, without a stop, of an end that begins
    /// now.
    pub(super) fn deadline(&self) -> Instant {
        self.begun.get().copied().unwrap_or_else(Instant::now) + self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_has_two_thirds_of_its_time_for_frames_and_all_of_it_for_the_sinks() {
        let second = Duration::from_secs(1);
        let drain = Drain::new(3 * second);
        let start = Instant::now();
        assert_eq!((drain.end_of_frames(), drain.end_of_results()), (None, None), "no stop yet");
        drain.begin_at(start);
        drain.clone().begin_at(start + second);
        assert_eq!(drain.end_of_frames(), Some(start + 2 * second), "the first stop counts");
        assert_eq!(drain.end_of_results(), Some(start + 5 * second / 2));
        assert_eq!(drain.deadline(), start + 3 * second);
    }
}
