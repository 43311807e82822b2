//! Selects the best classes from the output of a network.

use std::cmp::Ordering;

use crate::engine::import::Scores;

/// A class with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// Index of the class.
    pub index: usize,
    /// Its probability, in `0..=1`.
    pub score: f32,
}

/// Writes the `k` classes with the largest values into `best`, best first. Their scores are a softmax over all logits;
/// probabilities stay as they are.
///
/// If `k` exceeds the number of classes, all classes are returned. Among equal logits the lower index comes first. NaN
/// logits come last and score 0; positive infinite logits share the whole probability. `best` is cleared first and its
/// memory reused.
pub fn top_k(logits: &[f32], scores: Scores, k: usize, best: &mut Vec<Ranked>) {
    best.clear();
    if k == 0 {
        return;
    }
    // The score field holds the logit until the order is known.
    best.extend(logits.iter().enumerate().map(|(index, &score)| Ranked { index, score }));
    if k < best.len() {
        best.select_nth_unstable_by(k - 1, better);
        best.truncate(k);
    }
    best.sort_unstable_by(better);

    match scores {
        Scores::Logits => {
            let softmax = Softmax::of(logits);
            best.iter_mut().for_each(|ranked| ranked.score = softmax.score(ranked.score));
        }
        Scores::Probabilities => best.iter_mut().for_each(|ranked| {
            ranked.score = if ranked.score.is_nan() { 0.0 } else { ranked.score.clamp(0.0, 1.0) };
        }),
    }
}

/// Larger first, numbers before NaN, then by index.
fn better(left: &Ranked, right: &Ranked) -> Ordering {
    let by_logit = right.score.partial_cmp(&left.score);
    by_logit.unwrap_or_else(|| left.score.is_nan().cmp(&right.score.is_nan())).then(left.index.cmp(&right.index))
}

/// Softmax of a set of logits: `exp(logit - max) / sum`, which cannot overflow.
struct Softmax {
    max: f32,
    sum: f64,
}

impl Softmax {
    fn of(logits: &[f32]) -> Self {
        // `f32::max` ignores NaN.
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum = logits.iter().map(|&logit| weight(logit, max)).sum();
        Self { max, sum }
    }

    fn score(&self, logit: f32) -> f32 {
        let weight = weight(logit, self.max);
        if weight > 0.0 { (weight / self.sum) as f32 } else { 0.0 }
    }
}

/// `exp(logit - max)`, also if both are infinite; 0 for NaN.
fn weight(logit: f32, max: f32) -> f64 {
    if logit == max {
        1.0
    } else if logit.is_nan() {
        0.0
    } else {
        (f64::from(logit) - f64::from(max)).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(logits: &[f32], k: usize) -> Vec<(usize, f32)> {
        let mut best = vec![Ranked { index: 99, score: 1.0 }];
        top_k(logits, Scores::Logits, k, &mut best);
        best.iter().map(|ranked| (ranked.index, ranked.score)).collect()
    }

    #[test]
    fn probabilities_stay_as_they_are() {
        let mut best = Vec::new();
        top_k(&[0.25, 0.75, f32::NAN, -0.5, 1.5], Scores::Probabilities, 5, &mut best);
        let scores: Vec<_> = best.iter().map(|ranked| (ranked.index, ranked.score)).collect();
        assert_eq!(scores, [(4, 1.0), (1, 0.75), (0, 0.25), (3, 0.0), (2, 0.0)]);
    }

    fn indices(logits: &[f32], k: usize) -> Vec<usize> {
        top(logits, k).iter().map(|&(index, _)| index).collect()
    }

    #[test]
    fn the_largest_logits_come_first_with_their_softmax() {
        let best = top(&[0.0, 2.0, 1.0], 2);
        let sum = 1.0 + 1.0_f32.exp() + 2.0_f32.exp();
        assert_eq!(best.iter().map(|&(index, _)| index).collect::<Vec<_>>(), [1, 2]);
        assert!((best[0].1 - 2.0_f32.exp() / sum).abs() < 1e-6);
        assert!((best[1].1 - 1.0_f32.exp() / sum).abs() < 1e-6);
    }

    #[test]
    fn scores_are_the_same_for_shifted_logits_and_add_up_to_one() {
        let logits: Vec<f32> = (0..1000).map(|index| (index * 7919 % 1000) as f32 / 100.0).collect();
        let shifted: Vec<f32> = logits.iter().map(|logit| logit + 65536.0).collect();
        let (plain, large) = (top(&logits, 1000), top(&shifted, 1000));
        assert!((plain.iter().map(|&(_, score)| score).sum::<f32>() - 1.0).abs() < 1e-4);
        assert!(large.iter().all(|(_, score)| score.is_finite()));
        assert_eq!(plain[0].0, large[0].0);
        assert_eq!(top(&[3e38, -3e38], 2), [(0, 1.0), (1, 0.0)]);
    }

    #[test]
    fn a_part_is_the_beginning_of_the_whole() {
        let logits: Vec<f32> = (0..1000).map(|index| (index * 7919 % 101) as f32).collect();
        let all = top(&logits, logits.len());
        assert!(all.windows(2).all(|pair| {
            let (left, right) = (pair[0].0, pair[1].0);
            logits[left] > logits[right] || (logits[left] == logits[right] && left < right)
        }));
        for k in [1, 2, 5, 100, 999] {
            assert_eq!(top(&logits, k), all[..k]);
        }
    }

    #[test]
    fn of_equal_logits_the_lower_index_comes_first() {
        assert_eq!(indices(&[1.0, 5.0, 5.0, 0.0, 5.0], 2), [1, 2]);
        assert_eq!(indices(&[0.0, -0.0, 0.0], 3), [0, 1, 2]);
    }

    #[test]
    fn k_may_be_nothing_or_more_than_there_are_classes() {
        assert_eq!(indices(&[1.0, 2.0], 0), [0_usize; 0]);
        assert_eq!(indices(&[1.0, 2.0], 5), [1, 0]);
        assert_eq!(indices(&[1.0, 2.0], usize::MAX), [1, 0]);
        assert_eq!(indices(&[], 5), [0_usize; 0]);
    }

    #[test]
    fn what_is_no_number_comes_last() {
        assert_eq!(top(&[f32::NAN, 1.0, f32::NAN], 3), [(1, 1.0), (0, 0.0), (2, 0.0)]);
        assert_eq!(top(&[f32::NAN; 2], 2), [(0, 0.0), (1, 0.0)]);
        let infinite = [1.0, f32::INFINITY, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        assert_eq!(top(&infinite, 5), [(1, 0.5), (3, 0.5), (0, 0.0), (4, 0.0), (2, 0.0)]);
        assert_eq!(top(&[f32::NEG_INFINITY; 2], 2), [(0, 0.5), (1, 0.5)]);
    }
}
