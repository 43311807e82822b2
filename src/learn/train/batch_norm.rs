//! What a batch norm amounts to for a batch, and the way back through it.

use super::backbone::{Mode, Statistics};
use super::plan::Norm;
use crate::kernels::training::norm::{self as kernel, Gradient, Normalised};

/// Added to the variance by a batch norm, as in PyTorch.
const EPSILON: f64 = 1e-5;

/// Share of a batch in the running mean and variance, as in PyTorch.
const MOMENTUM: f64 = 0.1;

/// How a normalised map came about.
#[derive(Debug, Default, Clone)]
pub(super) struct Normalisation {
    pub(super) mean: Vec<f32>,
    /// 1 / sqrt(variance + epsilon).
    pub(super) inverse: Vec<f64>,
}

/// The gradient behind a batch norm as a function of the gradient before it and of its input.
#[derive(Debug, Default)]
pub(super) struct BehindNorm {
    pub(super) by_gradient: Vec<f32>,
    pub(super) by_map: Vec<f32>,
    pub(super) constant: Vec<f32>,
}

impl BehindNorm {
    pub(super) fn run(&self, of: Normalised<'_>, out: &mut [f32]) {
        let Self { by_gradient, by_map, constant } = self;
        kernel::gradient(Gradient { of, by_gradient, by_map, constant, out });
    }
}

/// Two sums per channel.
#[derive(Debug)]
pub(super) struct Sums {
    pub(super) first: Vec<f64>,
    pub(super) second: Vec<f64>,
}

impl Sums {
    pub(super) fn new(channels: usize) -> Self {
        Self { first: vec![0.0; channels], second: vec![0.0; channels] }
    }

    /// The sums of all pieces, added in order.
    pub(super) fn total(pieces: Vec<Self>, channels: usize) -> Self {
        let mut total = Self::new(channels);
        for piece in pieces {
            total.first.iter_mut().zip(piece.first).for_each(|(total, sum)| *total += sum);
            total.second.iter_mut().zip(piece.second).for_each(|(total, sum)| *total += sum);
        }
        total
    }
}

impl Statistics {
    /// Lets the running mean and variance of channel `at` follow those of a batch of `count` pixels.
    pub(super) fn follow(&mut self, at: usize, mean: f64, variance: f64, count: usize) {
        // The running variance is the one without bias.
        let unbiased = variance * count as f64 / (count as f64 - 1.0).max(1.0);
        let follow = |running: &mut f32, now: f64| {
            *running = (f64::from(*running) * (1.0 - MOMENTUM) + now * MOMENTUM) as f32;
        };
        follow(&mut self.mean[at], mean);
        follow(&mut self.variance[at], unbiased);
    }
}

/// The mean and variance that a batch norm uses. In training, they are those of `count` pixels with these `sums` of
/// values and squares, and enter the running ones.
pub(super) fn normalisation(
    norm: &Norm,
    Sums { first, second }: Sums,
    count: usize,
    statistics: &mut Statistics,
    mode: Mode,
) -> Normalisation {
    let mut normalisation = Normalisation::default();
    for (channel, at) in norm.statistics.clone().enumerate() {
        let (mean, variance) = match mode {
            Mode::Evaluate => (f64::from(statistics.mean[at]), f64::from(statistics.variance[at])),
            Mode::Train => {
                let mean = first[channel] / count as f64;
                let variance = (second[channel] / count as f64 - mean * mean).max(0.0);
                statistics.follow(at, mean, variance, count);
                (mean, variance)
            }
        };
        normalisation.mean.push(mean as f32);
        normalisation.inverse.push(1.0 / (variance + EPSILON).sqrt());
    }
    normalisation
}

/// Scale and shift per channel that a batch norm amounts to.
pub(super) fn factors(
    norm: &Norm,
    parameters: &[f32],
    Normalisation { mean, inverse }: &Normalisation,
) -> (Vec<f32>, Vec<f32>) {
    let (scale, shift) = (&parameters[norm.scale.clone()], &parameters[norm.shift.clone()]);
    let channels = scale.iter().zip(shift).zip(mean).zip(inverse);
    channels
        .map(|(((scale, shift), mean), inverse)| {
            let factor = f64::from(*scale) * inverse;
            (factor as f32, (f64::from(*shift) - f64::from(*mean) * factor) as f32)
        })
        .unzip()
}
