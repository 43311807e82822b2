//! How long the stages of a stream take.

use super::histogram::{Histogram, Snapshot};
use crate::record::{Latency, Percentiles, StageLatencies};

/// The durations of the frames that a stream's network has classified, stage by stage.
#[derive(Debug, Default)]
pub struct Latencies {
    stages: [Histogram; STAGES.len()],
}

/// Names of the stages, in the order of the fields of [`Latency`].
pub const STAGES: [&str; 5] = ["capture", "queue", "preprocess", "infer", "total"];

impl Latencies {
    /// Records a frame.
    pub fn record(&self, latency: Latency) {
        let Latency { capture, queue, preprocess, infer, total } = latency;
        for (histogram, us) in self.stages.iter().zip([capture, queue, preprocess, infer, total]) {
            histogram.record(us);
        }
    }

    /// The histograms of [`STAGES`].
    pub fn stages(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        STAGES.into_iter().zip(&self.stages)
    }

    /// What has been recorded so far.
    #[must_use]
    pub fn snapshot(&self) -> StageSnapshots {
        StageSnapshots(std::array::from_fn(|stage| self.stages[stage].snapshot()))
    }
}

/// The contents of [`Latencies`] at one time, or between two times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StageSnapshots([Snapshot; STAGES.len()]);

impl StageSnapshots {
    /// What was recorded since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self(std::array::from_fn(|stage| self.0[stage].since(&earlier.0[stage])))
    }

    /// Adds the durations of another stream.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(stage, more)| stage.add(more));
    }

    /// The percentiles of all stages. None without a frame.
    #[must_use]
    pub fn percentiles(&self) -> Option<StageLatencies> {
        let [capture, queue, preprocess, infer, total] = self.0.each_ref().map(percentiles);
        Some(StageLatencies { capture: capture?, queue: queue?, preprocess: preprocess?, infer: infer?, total: total? })
    }
}

/// The percentiles of one histogram. None if it is empty.
#[must_use]
pub fn percentiles(snapshot: &Snapshot) -> Option<Percentiles> {
    let of = |share| snapshot.percentile(share);
    Some(Percentiles { p50: of(0.5)?, p90: of(0.9)?, p99: of(0.99)?, p999: of(0.999)?, max: snapshot.max()? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn every_stage_has_its_own_percentiles() {
        let latencies = Latencies::default();
        assert_eq!(latencies.snapshot().percentiles(), None);
        let of = |us: u64| Latency { capture: us, queue: us + 1, preprocess: us + 2, infer: us + 3, total: us + 4 };
        latencies.record(of(90));
        let before = latencies.snapshot();
        (1..=100).for_each(|us| latencies.record(of(us)));
        let stages = latencies.snapshot().since(&before).percentiles().unwrap();
        let expected =
            |add: u64| Percentiles { p50: 50 + add, p90: 90 + add, p99: 99 + add, p999: 100 + add, max: 100 + add };
        let StageLatencies { capture, queue, preprocess, infer, total } = stages;
        assert_eq!([capture, queue, preprocess, infer, total], [0, 1, 2, 3, 4].map(expected));
    }
}
