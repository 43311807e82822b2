//! Histograms of durations, which any thread records into without a lock or an allocation.
//!
//! The buckets are those of HdrHistogram (<https://hdrhistogram.org>): every power of two is split into [`STEPS`] of equal
//! width, so that a percentile is off by at most one part in [`STEPS`] (1.6 %), whatever its size. Durations up to
//! 127 µs are exact.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets per power of two.
pub const STEPS: u64 = 1 << STEP_BITS;
const STEP_BITS: u32 = 6;

/// Bits of the longest duration that has a bucket of its own: 2³⁶ µs are 19 hours.
const LARGEST_BITS: u32 = 36;
const LARGEST: u64 = (1 << LARGEST_BITS) - 1;

/// Number of buckets.
const BUCKETS: usize = index_of(LARGEST) + 1;

/// Upper bounds of the buckets that Prometheus gets, in microseconds, inclusive. A last bucket has all others.
pub const BOUNDS_US: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// Durations in microseconds.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    bounded: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            bounded: Default::default(),
            sum_us: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Records a duration.
    pub fn record(&self, us: u64) {
        if let Some(bucket) = self.buckets.get(index_of(us.min(LARGEST))) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(bucket) = self.bounded.get(BOUNDS_US.partition_point(|bound| *bound < us)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// What has been recorded so far.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect())
    }

    /// What has been recorded so far, in the buckets of [`BOUNDS_US`], each with those below it.
    #[must_use]
    pub fn cumulative(&self) -> Cumulative {
        let mut counts = [0; BOUNDS_US.len() + 1];
        let mut sum = 0;
        for (count, bucket) in counts.iter_mut().zip(&self.bounded) {
            sum += bucket.load(Ordering::Relaxed);
            *count = sum;
        }
        Cumulative { counts, sum_us: self.sum_us.load(Ordering::Relaxed) }
    }
}

/// Numbers of durations up to each of [`BOUNDS_US`], then of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cumulative {
    /// The numbers; they never fall.
    pub counts: [u64; BOUNDS_US.len() + 1],
    /// Sum of all durations.
    pub sum_us: u64,
}

/// The contents of a [`Histogram`] at one time, or between two times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(Box<[u64]>);

impl Default for Snapshot {
    fn default() -> Self {
        Self(vec![0; BUCKETS].into())
    }
}

impl Snapshot {
    /// Number of durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// What was recorded since `earlier`, a snapshot of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self(self.0.iter().zip(&earlier.0).map(|(now, before)| now.saturating_sub(*before)).collect())
    }

    /// Adds the durations of `other`.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(&other.0) {
            *count += more;
        }
    }

    /// The smallest duration that at least `share` of all do not exceed (0 to 1, by rank, as HdrHistogram counts), in
    /// microseconds; the upper end of its bucket. None if there are none.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Option<u64> {
        let count = self.count();
        let rank = ((share * count as f64).ceil() as u64).clamp(1, count.max(1));
        let mut below = 0;
        self.0
            .iter()
            .position(|bucket| {
                below += bucket;
                below >= rank
            })
            .map(highest)
    }

    /// The longest duration, as the upper end of its bucket, in microseconds. None if there are none.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        self.0.iter().rposition(|bucket| *bucket > 0).map(highest)
    }
}

/// The bucket of a duration of at most [`LARGEST`].
const fn index_of(us: u64) -> usize {
    let shift = (u64::BITS - us.leading_zeros()).saturating_sub(STEP_BITS + 1);
    (shift as u64 * STEPS + (us >> shift)) as usize
}

/// The longest duration in a bucket.
fn highest(index: usize) -> u64 {
    let index = index as u64;
    let shift = (index / STEPS).saturating_sub(1);
    ((index - shift * STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_a_bucket_that_ends_at_most_a_sixty_fourth_above_it() {
        let mut us = 0_u64;
        while us < LARGEST {
            let end = highest(index_of(us));
            assert!(end >= us && end - us <= us / STEPS, "{us} is in a bucket that ends at {end}");
            assert!(us < 128 || index_of(end + 1) == index_of(us) + 1, "{us}");
            us += 1 + us / 37;
        }
        assert_eq!((index_of(0), index_of(127), index_of(128), index_of(LARGEST) + 1), (0, 127, 128, BUCKETS));
        assert_eq!((0..BUCKETS).map(highest).map(index_of).collect::<Vec<_>>(), (0..BUCKETS).collect::<Vec<_>>());
    }

    #[test]
    fn percentiles_agree_with_those_of_the_sorted_durations() {
        let (histogram, mut seed) = (Histogram::default(), 1_u64);
        let mut sorted: Vec<u64> = (0..10_000)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // From microseconds to a minute.
                (seed >> 33) % (1 << (seed % 26))
            })
            .collect();
        sorted.iter().for_each(|us| histogram.record(*us));
        sorted.sort_unstable();
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count(), 10_000);
        for share in [0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let exact = sorted[((share * 10_000.0_f64).ceil() as usize).max(1) - 1];
            let found = snapshot.percentile(share);
            assert!(
                found.is_some_and(|found| found >= exact && found - exact <= exact / STEPS),
                "{share}: {found:?} {exact}"
            );
        }
        assert_eq!(snapshot.percentile(1.0), snapshot.max());
    }

    #[test]
    fn what_prometheus_gets_is_exact_at_the_bounds() {
        let histogram = Histogram::default();
        [0, 250, 251, 10_000_000, 10_000_001, u64::MAX >> 1].into_iter().for_each(|us| histogram.record(us));
        let Cumulative { counts, sum_us } = histogram.cumulative();
        assert_eq!((counts[0], counts[1], counts[13], counts[14], counts[15]), (2, 3, 3, 4, 6));
        assert_eq!(sum_us, 20_000_502 + (u64::MAX >> 1));
        assert_eq!(histogram.snapshot().max(), Some(LARGEST), "a duration that is too long for a bucket");
    }

    #[test]
    fn a_snapshot_is_what_came_since_the_one_before() {
        let histogram = Histogram::default();
        assert_eq!((histogram.snapshot().percentile(0.5), histogram.snapshot().max()), (None, None));
        histogram.record(10);
        let before = histogram.snapshot();
        [20, 30].into_iter().for_each(|us| histogram.record(us));
        let mut since = histogram.snapshot().since(&before);
        assert_eq!((since.count(), since.percentile(0.5), since.max()), (2, Some(20), Some(30)));
        since.add(&before);
        assert_eq!((since, histogram.snapshot().percentile(0.01)), (histogram.snapshot(), Some(10)));
    }
}
