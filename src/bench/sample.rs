//! The run times of one row, and their statistics.

use std::time::Duration;

/// Run times.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    times: Vec<Duration>,
    spent: Duration,
}

/// Statistics of run times, in milliseconds; NaN if there are none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    /// The median; the mean of the two middle times if their number is even.
    pub(super) median: f64,
    /// The minimum.
    pub(super) least: f64,
    /// The 90th percentile.
    pub(super) p90: f64,
}

impl Sample {
    pub(super) fn add(&mut self, time: Duration) {
        self.spent += time;
        self.times.push(time);
    }

    /// Sum of all times.
    pub(super) fn spent(&self) -> Duration {
        self.spent
    }

    pub(super) fn runs(&self) -> usize {
        self.times.len()
    }

    pub(super) fn figures(&self) -> Figures {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        let at = |index: usize| sorted.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
        let count = sorted.len();
        Figures {
            median: f64::midpoint(at(count.saturating_sub(1) / 2), at(count / 2)),
            least: at(0),
            p90: at((count * 9).div_ceil(10).saturating_sub(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(times: impl IntoIterator<Item = u64>) -> Sample {
        let mut sample = Sample::default();
        times.into_iter().for_each(|time| sample.add(Duration::from_millis(time)));
        sample
    }

    #[test]
    fn figures_are_those_of_the_sorted_times() {
        let figures = |sample: Sample| {
            let Figures { median, least, p90 } = sample.figures();
            [least, median, p90].map(|time| (time * 1e6).round() / 1e6)
        };
        assert_eq!(figures(sample([7])), [7.0, 7.0, 7.0]);
        assert_eq!(figures(sample([9, 5])), [5.0, 7.0, 9.0]);
        assert_eq!(figures(sample((1..=10).rev())), [1.0, 5.5, 9.0]);
        assert_eq!(figures(sample([3, 1, 2])), [1.0, 2.0, 3.0]);
        assert!(figures(sample([])).into_iter().all(f64::is_nan));
        assert_eq!((sample([3, 4]).spent(), sample([3, 4]).runs()), (Duration::from_millis(7), 2));
    }
}
