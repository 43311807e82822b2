//! What has become of a stream between two records of statistics.

use std::sync::Arc;
use std::time::Duration;

use super::{FrameCounts, StageSnapshots, StreamCounters};
use crate::record::StreamStats;

/// The state of a stream's totals when a period began.
#[derive(Debug, Default)]
pub struct Period {
    counts: FrameCounts,
    latencies: StageSnapshots,
}

impl Period {
    /// A period of the stream of `counters` that begins now.
    #[must_use]
    pub fn begin(counters: &StreamCounters) -> Self {
        Self { counts: counters.totals().read(), latencies: counters.totals().latencies().snapshot() }
    }

    /// Ends the period, which lasted `time`, and begins the next one. Returns the statistics of the stream called `name`.
    pub fn next(&mut self, counters: &StreamCounters, name: &Arc<str>, time: Duration) -> StreamStats {
        let ended = std::mem::replace(self, Self::begin(counters));
        let Self { counts, latencies } = self;
        let rate = |now: u64, before: u64| rounded(now.saturating_sub(before) as f64 / time.as_secs_f64().max(1e-3));
        StreamStats {
            stream: Arc::clone(name),
            state: counters.state(),
            fps_in: rate(counts.captured, ended.counts.captured),
            fps_out: rate(counts.classified + counts.carried, ended.counts.classified + ended.counts.carried),
            latency_us: latencies.since(&ended.latencies).percentiles(),
            captured: counts.captured,
            classified: counts.classified,
            carried: counts.carried,
            dropped: counts.dropped,
            failed: counts.failed,
            left_out: counts.left_out,
            stalls: counts.stalls,
            reconnects: counts.reconnects,
            abandoned: counts.abandoned,
            last_failure: counters.totals().last_failure(),
        }
    }
}

/// To hundredths.
fn rounded(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::record::{Latency, StreamState};
    use crate::telemetry::Totals;

    #[test]
    fn statistics_count_from_the_start_of_the_process_and_keep_the_latest_failure() {
        let (totals, name) = (Arc::<Totals>::default(), Arc::from("door"));
        let before = StreamCounters::new(Arc::clone(&totals));
        let mut period = Period::begin(&before);
        assert_eq!(period.next(&before, &name, Duration::from_secs(1)).last_failure, None);
        for reason in ["lost", "silent"] {
            before.count_reconnect();
            before.keep_failure(reason);
        }
        before.count_stall();
        before.set_state(StreamState::Offline);
        // As after a reload.
        let after = StreamCounters::new(totals);
        after.count_abandoned(2);
        let stats = Period::begin(&after).next(&after, &name, Duration::from_secs(1));
        assert_eq!((stats.stalls, stats.reconnects, stats.abandoned), (1, 2, 2));
        assert_eq!((stats.state, &*stats.last_failure.unwrap().reason), (StreamState::Starting, "silent"));
    }

    #[test]
    fn rates_and_percentiles_are_those_of_the_period() {
        let (counters, name) = (StreamCounters::default(), Arc::from("door"));
        counters.count_captured();
        counters.record(Latency { infer: 9, ..Latency::default() });
        let mut period = Period::begin(&counters);
        for us in [20, 30] {
            counters.count_captured();
            counters.count_classified();
            counters.record(Latency { infer: us, ..Latency::default() });
        }
        counters.count_captured();
        counters.count_carried();
        let stats = period.next(&counters, &name, Duration::from_secs(2));
        assert_eq!((stats.captured, stats.fps_in, stats.fps_out), (4, 1.5, 1.5));
        let infer = stats.latency_us.unwrap().infer;
        assert_eq!((infer.p50, infer.max), (20, 30));
        let stats = period.next(&counters, &name, Duration::from_secs(2));
        assert_eq!((stats.captured, stats.fps_in, stats.latency_us), (4, 0.0, None));
    }
}
