//! How long a stop may take, shared by the threads that finish the work in flight.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The deadline of a stop, once there is one. The first two thirds are for frames, the next sixth for inference that is
/// still running, and the rest for the sinks.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    limit: Duration,
    /// Begin and end of the stop.
    stop: Arc<OnceLock<(Instant, Instant)>>,
}

impl Drain {
    /// No stop yet; a stop may take `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, stop: Arc::default() }
    }

    /// Begins the stop, which takes the whole limit; only the first stop counts.
    pub(super) fn begin(&self) {
        let now = Instant::now();
        self.begin_at(now, now + self.limit);
    }

    /// Begins a stop that has until `end`; only the first stop counts.
    pub(super) fn begin_until(&self, end: Instant) {
        self.begin_at(Instant::now(), end);
    }

    fn begin_at(&self, now: Instant, end: Instant) {
        self.stop.get_or_init(|| (now, end));
    }

    /// When a part of the stop's time has passed, in sixths; `None` before a stop.
    fn sixths(&self, part: u32) -> Option<Instant> {
        self.stop.get().map(|(begin, end)| *begin + end.saturating_duration_since(*begin) * part / 6)
    }

    /// When no more frames are taken; `None` before a stop.
    pub(super) fn end_of_frames(&self) -> Option<Instant> {
        self.sixths(4)
    }

    /// When the publisher stops waiting for inference; `None` before a stop.
    pub(super) fn end_of_results(&self) -> Option<Instant> {
        self.sixths(5)
    }

    /// When everything must have been handed out: the deadline of the stop or, without a stop, of an end that begins
    /// now.
    pub(super) fn deadline(&self) -> Instant {
        self.stop.get().map_or_else(|| Instant::now() + self.limit, |(_, end)| *end)
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
        drain.begin_at(start, start + 3 * second);
        drain.clone().begin_at(start + second, start + 2 * second);
        assert_eq!(drain.end_of_frames(), Some(start + 2 * second), "the first stop counts");
        assert_eq!(drain.end_of_results(), Some(start + 5 * second / 2));
        assert_eq!(drain.deadline(), start + 3 * second);
    }

    #[test]
    fn a_stop_that_has_less_time_leaves_a_third_of_it_to_the_sinks() {
        let second = Duration::from_secs(1);
        let drain = Drain::new(60 * second);
        let start = Instant::now();
        drain.begin_at(start, start + 6 * second);
        assert_eq!(drain.end_of_frames(), Some(start + 4 * second));
        assert_eq!(drain.end_of_results(), Some(start + 5 * second));
        assert_eq!(drain.deadline(), start + 6 * second);
    }
}
