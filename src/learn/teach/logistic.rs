//! Multinomial logistic regression with a penalty on the squares of the weights, by L-BFGS (Nocedal and Wright,
//! *Numerical Optimization*, 2006, algorithms 3.1 and 7.4).

use std::collections::VecDeque;
use std::{io, thread};

use super::table::Table;
use crate::shutdown::Stopped;

/// Pairs of steps and changes of the gradient that are kept.
const HISTORY: usize = 8;
/// Maximum number of steps.
const STEPS: usize = 120;
/// A gradient this much smaller than that at zero weights ends the search.
const TOLERANCE: f64 = 1e-4;
/// Products for which another thread pays off.
const PRODUCTS_PER_THREAD: usize = 1 << 19;

/// Weights and biases: for each class its weights, then its bias.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weights {
    pub(super) classes: usize,
    pub(super) values: Vec<f64>,
}

impl Weights {
    /// The weights of each class, and its bias.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&[f64], f64)> {
        let length = self.values.len() / self.classes.max(1);
        self.values.chunks_exact(length.max(1)).filter_map(|row| row.split_last()).map(|(bias, row)| (row, *bias))
    }

    /// The logits of a row of features.
    pub(super) fn logits(&self, row: &[f64]) -> Vec<f64> {
        self.rows().map(|(weights, bias)| bias + dot(weights, row)).collect()
    }
}

/// The classes of all rows of a table, and how to fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Targets<'a> {
    /// Class of each row.
    pub(super) classes: &'a [usize],
    /// Number of classes.
    pub(super) count: usize,
    /// Most threads.
    pub(super) threads: usize,
    /// Ends the search early.
    pub(super) stopped: &'a Stopped,
}

/// Minimises the mean of the cross-entropies of the rows `chosen` plus half of `penalty` times the squares of the weights;
/// from `start` on, or from zero.
pub(super) fn fit(
    table: &Table,
    chosen: &[usize],
    targets: Targets<'_>,
    penalty: f64,
    start: Option<&Weights>,
) -> Weights {
    let length = (table.columns() + 1) * targets.count;
    let mut at = start.map_or_else(|| vec![0.0; length], |start| start.values.clone());
    let loss = |at: &[f64], gradient: &mut [f64]| loss(table, chosen, targets, penalty, at, gradient);
    let (mut gradient, mut next_gradient) = (vec![0.0; length], vec![0.0; length]);
    loss(&vec![0.0; length], &mut gradient);
    let at_zero = dot(&gradient, &gradient).sqrt();
    let mut value = loss(&at, &mut gradient);
    let first = dot(&gradient, &gradient).sqrt();
    let mut history: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
    for _ in 0..STEPS {
        let is_found = dot(&gradient, &gradient).sqrt() <= TOLERANCE * at_zero.max(1e-12);
        if is_found || targets.stopped.is_set() {
            break;
        }
        let direction = direction(&gradient, &history);
        let slope = dot(&direction, &gradient);
        if slope >= 0.0 || !slope.is_finite() {
            break;
        }
        // The first step is as long as a gradient of that size allows.
        let mut step = if history.is_empty() { (1.0 / first.max(1e-12)).min(1.0) } else { 1.0 };
        let next = loop {
            let next: Vec<f64> = at.iter().zip(&direction).map(|(at, along)| at + step * along).collect();
            let next_value = loss(&next, &mut next_gradient);
            if next_value <= value + 1e-4 * step * slope {
                break Some((next, next_value));
            }
            step /= 2.0;
            if step < 1e-10 || targets.stopped.is_set() {
                break None;
            }
        };
        let Some((next, next_value)) = next else { break };
        let moved: Vec<f64> = next.iter().zip(&at).map(|(next, at)| next - at).collect();
        let changed: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(next, old)| next - old).collect();
        let curvature = dot(&moved, &changed);
        if curvature > 1e-12 {
            history.truncate(HISTORY - 1);
            history.push_front((moved, changed, curvature));
        }
        (at, value) = (next, next_value);
        std::mem::swap(&mut gradient, &mut next_gradient);
    }
    Weights { classes: targets.count, values: at }
}

/// The direction in which to search: the negative gradient times an estimate of the inverse curvature.
fn direction(gradient: &[f64], history: &VecDeque<(Vec<f64>, Vec<f64>, f64)>) -> Vec<f64> {
    let mut along: Vec<f64> = gradient.iter().map(|value| -value).collect();
    let mut shares = Vec::with_capacity(history.len());
    for (moved, changed, curvature) in history {
        let share = dot(moved, &along) / curvature;
        add(&mut along, -share, changed);
        shares.push(share);
    }
    if let Some((_, changed, curvature)) = history.front() {
        let scale = curvature / dot(changed, changed).max(1e-300);
        along.iter_mut().for_each(|value| *value *= scale);
    }
    for ((moved, changed, curvature), share) in history.iter().zip(shares).rev() {
        let other = dot(changed, &along) / curvature;
        add(&mut along, share - other, moved);
    }
    along
}

/// The value to be minimised, and its gradient.
fn loss(table: &Table, chosen: &[usize], targets: Targets<'_>, penalty: f64, at: &[f64], gradient: &mut [f64]) -> f64 {
    let products = chosen.len() * at.len();
    let parts = (products / PRODUCTS_PER_THREAD).clamp(1, targets.threads.max(1));
    let part = chosen.len().div_ceil(parts).max(1);
    let sums: Vec<(f64, Vec<f64>)> = match parts {
        1 => vec![part_loss(table, chosen, targets, at)],
        _ => thread::scope(|scope| {
            let work = |rows| move || part_loss(table, rows, targets, at);
            let start = |rows| (rows, thread::Builder::new().name("teach-fit".into()).spawn_scoped(scope, work(rows)));
            let threads: Vec<_> = chosen.chunks(part).map(start).collect();
            let sum = |(rows, thread): (&[usize], io::Result<thread::ScopedJoinHandle<'_, _>>)| {
                // What the system refuses a thread for is done here.
                let sum = thread.ok().and_then(|thread| thread.join().ok());
                sum.unwrap_or_else(|| part_loss(table, rows, targets, at))
            };
            threads.into_iter().map(sum).collect()
        }),
    };
    let share = 1.0 / chosen.len().max(1) as f64;
    gradient.fill(0.0);
    let mut value = 0.0;
    for (part, sum) in sums {
        value += part * share;
        add(gradient, share, &sum);
    }
    let length = table.columns() + 1;
    for (row, gradient) in at.chunks_exact(length).zip(gradient.chunks_exact_mut(length)) {
        let weights = &row[..length - 1];
        value += 0.5 * penalty * dot(weights, weights);
        add(&mut gradient[..length - 1], penalty, weights);
    }
    value
}

/// The sum of the cross-entropies of `rows`, and its gradient.
fn part_loss(
    table: &Table,
    rows: &[usize],
    Targets { classes, count, .. }: Targets<'_>,
    at: &[f64],
) -> (f64, Vec<f64>) {
    let length = table.columns() + 1;
    let (mut value, mut gradient, mut shares) = (0.0, vec![0.0; at.len()], vec![0.0; count]);
    for &index in rows {
        let row = table.row(index);
        for (share, weights) in shares.iter_mut().zip(at.chunks_exact(length)) {
            *share = weights[length - 1] + dot(&weights[..length - 1], row);
        }
        value += softmax(&mut shares, classes[index]);
        shares[classes[index]] -= 1.0;
        for (share, gradient) in shares.iter().zip(gradient.chunks_exact_mut(length)) {
            add(&mut gradient[..length - 1], *share, row);
            gradient[length - 1] += share;
        }
    }
    (value, gradient)
}

/// Replaces logits by their softmax, and returns the cross-entropy of `class`.
pub(super) fn softmax(logits: &mut [f64], class: usize) -> f64 {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let wanted = logits[class];
    logits.iter_mut().for_each(|logit| *logit = (*logit - most).exp());
    let sum: f64 = logits.iter().sum();
    logits.iter_mut().for_each(|share| *share /= sum);
    sum.ln() + most - wanted
}

/// The sum of products, in parts that the compiler can vectorise.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0_f64; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

/// Adds `factor` times `values` to `sum`.
pub(super) fn add(sum: &mut [f64], factor: f64, values: &[f64]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::random::SplitMix64;
    use crate::shutdown::channel;

    fn targets<'a>(classes: &'a [usize], stopped: &'a Stopped) -> Targets<'a> {
        Targets { classes, count: 3, threads: 2, stopped }
    }

    /// Rows of three classes around three centres, and their classes.
    fn rows(count: usize, spread: f64) -> (Table, Vec<usize>) {
        let mut numbers = SplitMix64::of(&[7]);
        let centres = [[2.0, 0.0, 0.0, 0.5], [0.0, 2.0, 0.0, 0.5], [0.0, 0.0, 2.0, 0.5]];
        let classes: Vec<usize> = (0..count).map(|index| index % 3).collect();
        let values = classes.iter().flat_map(|class| centres[*class].map(|c| c + numbers.between(-spread, spread)));
        (Table::new(4, values.collect()), classes)
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let (table, classes) = rows(30, 1.5);
        let (_stop, stopped) = channel();
        let targets = targets(&classes, &stopped);
        let chosen: Vec<usize> = (0..30).collect();
        let mut numbers = SplitMix64::of(&[3]);
        let at: Vec<f64> = (0..15).map(|_| numbers.between(-1.0, 1.0)).collect();
        let of = |at: &[f64], gradient: &mut [f64]| loss(&table, &chosen, targets, 0.1, at, gradient);
        let mut gradient = vec![0.0; 15];
        of(&at, &mut gradient);
        let mut other = vec![0.0; 15];
        for index in 0..15 {
            let (mut low, mut high) = (at.clone(), at.clone());
            (low[index], high[index]) = (low[index] - 1e-6, high[index] + 1e-6);
            let expected = (of(&high, &mut other) - of(&low, &mut other)) / 2e-6;
            assert!((gradient[index] - expected).abs() < 1e-6, "{index}: {} {expected}", gradient[index]);
        }
    }

    #[test]
    fn the_minimum_has_no_slope_and_tells_the_classes_apart() {
        let (table, classes) = rows(90, 0.9);
        let (_stop, stopped) = channel();
        let targets = targets(&classes, &stopped);
        let chosen: Vec<usize> = (0..90).collect();
        let weights = fit(&table, &chosen, targets, 1e-3, None);
        let mut gradient = vec![0.0; 15];
        let value = loss(&table, &chosen, targets, 1e-3, &weights.values, &mut gradient);
        assert!(dot(&gradient, &gradient).sqrt() < 1e-3, "{gradient:?}");
        let start = loss(&table, &chosen, targets, 1e-3, &[0.0; 15], &mut gradient);
        assert!(value < start / 2.0, "{value} {start}");
        for (index, class) in classes.iter().enumerate() {
            let logits = weights.logits(table.row(index));
            let best = (0..3).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
            assert_eq!(best, Some(*class), "{logits:?}");
        }
        let again = fit(&table, &chosen, targets, 1e-3, Some(&weights));
        assert!(again.values.iter().zip(&weights.values).all(|(a, b)| (a - b).abs() < 0.2));
    }
}
