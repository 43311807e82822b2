//! Medians, percentiles and confidence intervals.

/// The value that at least `share` of all do not exceed (0 to 1, by rank). None without values.
#[must_use]
pub fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

/// The middle value, or the mean of the middle two. None without values.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The mean. None without values.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// A figure with the range of the windows that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Spread {
    /// Median of the windows.
    pub median: f64,
    /// Least of them.
    pub min: f64,
    /// Greatest of them.
    pub max: f64,
}

impl Spread {
    /// Of `values`. None without values.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let ends =
            values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), it| (min.min(*it), max.max(*it)));
        Some(Self { median: median(values)?, min: ends.0, max: ends.1 })
    }
}

/// Number of resamples of a confidence interval.
const RESAMPLES: usize = 10_000;

/// An interval that contains the mean of `differences` with a probability of 95 %: the percentile bootstrap (Efron,
/// 1979), with a fixed sequence of random numbers, so that the same differences give the same interval. None with fewer
/// than two differences.
#[must_use]
pub fn confidence(differences: &[f64]) -> Option<[f64; 2]> {
    if differences.len() < 2 {
        return None;
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let count = differences.len();
    let means: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..count).map(|_| differences[random.below(count)]).sum::<f64>() / count as f64)
        .collect();
    Some([percentile(&means, 0.025)?, percentile(&means, 0.975)?])
}

/// xorshift64* (Vigna, 2016).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 to `end` - 1.
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn medians_and_percentiles_are_those_of_the_sorted_values() {
        assert_eq!((median(&[]), percentile(&[], 0.5), mean(&[]), Spread::of(&[])), (None, None, None, None));
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0, 3.0, 2.0])), (Some(2.0), Some(2.5)));
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(
            [0.0, 0.5, 0.9, 0.99, 1.0].map(|share| percentile(&values, share).unwrap()),
            [1.0, 50.0, 90.0, 99.0, 100.0]
        );
        assert_eq!(Spread::of(&[2.0, 9.0, 4.0]), Some(Spread { median: 4.0, min: 2.0, max: 9.0 }));
    }

    #[test]
    fn an_interval_narrows_with_the_number_of_differences_and_contains_their_mean() {
        let of = |count: u32| confidence(&(0..count).map(|it| f64::from(it % 5)).collect::<Vec<_>>()).unwrap();
        let ([low, high], [lower, higher]) = (of(100), of(10));
        assert!(low < 2.0 && 2.0 < high && lower < low && high < higher, "{low} {high} {lower} {higher}");
        // The normal approximation: 1.96 standard deviations (1.414) by the root of 100.
        assert!((high - low - 2.0 * 1.96 * 0.1414).abs() < 0.03, "{low} {high}");
        assert_eq!((confidence(&[1.0]), confidence(&[2.0, 2.0])), (None, Some([2.0, 2.0])));
    }
}
