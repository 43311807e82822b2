//! The backbone of a network in training: features of a batch of pictures, and the gradient of a loss with respect to
//! all parameters.
//!
//! Pictures are divided into pieces, whose number does not depend on the number of threads, and sums over pieces are
//! added in order: results are the same for any number of threads.

use rayon::prelude::*;

use super::plan::{Norm, Operation, Plan, Step};
use crate::kernels::training::depthwise::{self, Filter, MapGradient, WeightGradient};
use crate::kernels::training::norm::{self, Apply, Gradient, Normalised};
use crate::kernels::training::pool;
use crate::kernels::training::product::{Into, Matrix, product};
use crate::kernels::training::window::{self, Part, Size, Window};

/// Maximum number of pieces of a batch.
const PIECES: usize = 16;

/// Values of a tile: the rows of a convolution's matrix that are in the cache together.
const TILE: usize = 1 << 16;

/// Added to the variance by a batch norm, as in PyTorch.
const EPSILON: f64 = 1e-5;

/// Share of a batch in the running mean and variance, as in PyTorch.
const MOMENTUM: f64 = 0.1;

/// Which mean and variance batch norms use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Those of the batch; they also enter the running ones.
    Train,
    /// The running ones, as in inference.
    Evaluate,
}

/// Running means and variances of all batch norms.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Means.
    pub mean: Vec<f32>,
    /// Variances.
    pub variance: Vec<f32>,
}

/// How a normalised map came about.
#[derive(Debug, Default, Clone)]
struct Normalisation {
    mean: Vec<f32>,
    /// 1 / sqrt(variance + epsilon).
    inverse: Vec<f64>,
}

/// A backbone with memory for batches.
#[derive(Debug)]
pub struct Backbone {
    plan: Plan,
    /// Pictures of the last batch.
    pictures: usize,
    /// Every map, for all pictures of a batch.
    maps: Vec<Vec<f32>>,
    /// The maps before normalisation; empty for maps without.
    raw: Vec<Vec<f32>>,
    /// The gradients of maps, while they are needed.
    gradients: Vec<Vec<f32>>,
    /// Memory of gradients that are not needed any more.
    spare: Vec<Vec<f32>>,
    normalisations: Vec<Normalisation>,
}

impl Backbone {
    /// A backbone without memory; batches make it grow.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let count = plan.maps.len();
        Self {
            pictures: 0,
            maps: vec![Vec::new(); count],
            raw: vec![Vec::new(); count],
            gradients: vec![Vec::new(); count],
            spare: Vec::new(),
            normalisations: vec![Normalisation::default(); count],
            plan,
        }
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The features of pictures, `[pictures, features]`. `pictures` is `[pictures, height, width, 3]`, normalised;
    /// `parameters` are those of the plan.
    ///
    /// # Panics
    /// If lengths do not fit the plan.
    pub fn forward(
        &mut self,
        parameters: &[f32],
        statistics: &mut Statistics,
        pictures: &[f32],
        mode: Mode,
    ) -> Vec<f32> {
        let picture = self.plan.maps[0].values();
        assert!(pictures.len().is_multiple_of(picture) && !pictures.is_empty(), "whole pictures");
        assert_eq!(parameters.len(), self.plan.parameters);
        self.pictures = pictures.len() / picture;
        self.maps[0].clear();
        self.maps[0].extend_from_slice(pictures);
        for index in 0..self.plan.steps.len() {
            self.step(index, parameters, statistics, mode);
        }
        let features = self.plan.features();
        let mut out = vec![0.0; self.pictures * features];
        let last = self.plan.maps.len() - 1;
        let size = self.plan.maps[last];
        let maps = self.maps[last].par_chunks(size.values());
        maps.zip(out.par_chunks_mut(features)).for_each(|(map, out)| pool::mean(map, out));
        out
    }

    /// Pictures of a piece.
    fn piece(&self) -> usize {
        self.pictures.div_ceil(PIECES)
    }

    fn step(&mut self, index: usize, parameters: &[f32], statistics: &mut Statistics, mode: Mode) {
        let step = &self.plan.steps[index];
        let (size, from) = (self.plan.maps[step.output], self.plan.maps[step.inputs[0]]);
        let piece = self.piece();
        let length = self.pictures * size.values();
        let mut out = std::mem::take(&mut self.maps[step.output]);
        out.resize(length, 0.0);
        let values = piece * size.values();
        let norm = match &step.operation {
            Operation::MaxPool(window) => {
                let map = &self.maps[step.inputs[0]];
                out.par_chunks_mut(size.values())
                    .zip(map.par_chunks(from.values()))
                    .for_each(|(out, map)| pool::largest(*window, from, map, out));
                None
            }
            Operation::Convolution { window, weights, norm } => {
                let packed = packed(&parameters[weights.clone()], *window, size.channels);
                let mut raw = std::mem::take(&mut self.raw[step.output]);
                raw.resize(length, 0.0);
                let maps = &self.maps;
                let sums: Vec<_> = raw
                    .par_chunks_mut(values)
                    .enumerate()
                    .map(|(number, raw)| {
                        let parts = self.parts(maps, step, number);
                        convolve(*window, [from.height, from.width], &parts, &packed, raw, size.channels)
                    })
                    .collect();
                self.raw[step.output] = raw;
                Some((norm, sums))
            }
            Operation::Depthwise { stride, weights, norm } => {
                let packed = by_tap(&parameters[weights.clone()]);
                let mut raw = std::mem::take(&mut self.raw[step.output]);
                raw.resize(length, 0.0);
                let map = &self.maps[step.inputs[0]];
                let sums: Vec<_> = raw
                    .par_chunks_mut(values)
                    .zip(map.par_chunks(piece * from.values()))
                    .map(|(raw, map)| {
                        let mut sums = Sums::new(size.channels);
                        for (out, map) in raw.chunks_mut(size.values()).zip(map.chunks(from.values())) {
                            depthwise::forward(Filter { size: from, stride: *stride, map, weights: &packed, out });
                            norm::moments(out, &mut sums.first, &mut sums.second);
                        }
                        sums
                    })
                    .collect();
                self.raw[step.output] = raw;
                Some((norm, sums))
            }
        };
        if let Some((norm, sums)) = norm {
            let count = self.pictures * size.pixels();
            let normalisation = normalisation(norm, Sums::total(sums, size.channels), count, statistics, mode);
            let (scale, shift) = factors(norm, parameters, &normalisation);
            out.par_chunks_mut(values).zip(self.raw[step.output].par_chunks(values)).for_each(|(out, map)| {
                norm::apply(Apply { map, scale: &scale, shift: &shift, low: norm.low, high: norm.high, out });
            });
            self.normalisations[step.output] = normalisation;
        }
        self.maps[step.output] = out;
    }

    /// The inputs of a step for a piece of the batch.
    fn parts<'a>(&self, maps: &'a [Vec<f32>], step: &Step, piece: usize) -> Vec<Part<&'a [f32]>> {
        let pictures = self.piece();
        let part = |&input: &usize| {
            let Size { channels, .. } = self.plan.maps[input];
            let values = pictures * self.plan.maps[input].values();
            let all = &maps[input];
            Part { map: &all[piece * values..all.len().min((piece + 1) * values)], channels }
        };
        step.inputs.iter().map(part).collect()
    }

    /// The gradient of a loss with respect to the parameters, from its gradient with respect to the features of the
    /// last [`forward`](Self::forward), which was in the mode [`Mode::Train`].
    ///
    /// # Panics
    /// If lengths do not fit the plan.
    #[must_use]
    pub fn backward(&mut self, parameters: &[f32], features: &[f32]) -> Vec<f32> {
        assert_eq!(features.len(), self.pictures * self.plan.features());
        let last = self.plan.maps.len() - 1;
        let size = self.plan.maps[last];
        let mut gradient = self.memory(last, false);
        gradient
            .par_chunks_mut(size.values())
            .zip(features.par_chunks(size.channels))
            .for_each(|(map, features)| pool::mean_gradient(features, map));
        self.gradients[last] = gradient;
        let mut gradients = vec![0.0; self.plan.parameters];
        for index in (0..self.plan.steps.len()).rev() {
            self.step_back(index, parameters, &mut gradients);
        }
        gradients
    }

    /// Memory for the gradient of a map, with zeros if asked for.
    fn memory(&mut self, map: usize, zeroed: bool) -> Vec<f32> {
        let length = self.pictures * self.plan.maps[map].values();
        let fits = |(_, spare): &(usize, &Vec<f32>)| spare.capacity() >= length;
        let best = self.spare.iter().enumerate().filter(fits).min_by_key(|(_, spare)| spare.capacity());
        let mut memory = best.map(|(index, _)| index).map_or_else(Vec::new, |index| self.spare.swap_remove(index));
        if zeroed {
            memory.clear();
        }
        memory.resize(length, 0.0);
        memory
    }

    fn step_back(&mut self, index: usize, parameters: &[f32], gradients: &mut [f32]) {
        let step = self.plan.steps[index].clone();
        let (size, from) = (self.plan.maps[step.output], self.plan.maps[step.inputs[0]]);
        let piece = self.piece();
        let of = std::mem::take(&mut self.gradients[step.output]);
        // The picture has no gradient.
        let needs = step.inputs != [0];
        let is_overwritten = match &step.operation {
            Operation::Convolution { window, .. } => window.is_pixel() && step.inputs.len() == 1,
            Operation::Depthwise { .. } => true,
            Operation::MaxPool(_) => false,
        };
        let mut targets: Vec<Vec<f32>> = Vec::new();
        for (&input, &begins) in step.inputs.iter().zip(&step.begins) {
            targets.push(match (needs, begins) {
                (false, _) => Vec::new(),
                (true, true) => self.memory(input, !is_overwritten),
                (true, false) => std::mem::take(&mut self.gradients[input]),
            });
        }
        match &step.operation {
            Operation::MaxPool(window) => {
                let (map, out) = (&self.maps[step.inputs[0]], &self.maps[step.output]);
                let outs = out.par_chunks(size.values()).zip(of.par_chunks(size.values()));
                targets[0].par_chunks_mut(from.values()).zip(map.par_chunks(from.values())).zip(outs).for_each(
                    |((gradient, map), (out, of))| pool::largest_gradient(*window, from, map, [out, of], gradient),
                );
            }
            Operation::Convolution { window, weights, norm } => {
                let back = self.behind_norm(&step, norm, &of, parameters, gradients);
                let packed = packed(&parameters[weights.clone()], *window, size.channels);
                let count = self.pictures.div_ceil(piece);
                let mut pieces: Vec<Vec<Part<&mut [f32]>>> = (0..count).map(|_| Vec::new()).collect();
                for (target, &input) in targets.iter_mut().zip(&step.inputs) {
                    let Size { channels, .. } = self.plan.maps[input];
                    let values = self.plan.maps[input].values();
                    for (piece, map) in pieces.iter_mut().zip(target.chunks_mut(piece * values)) {
                        piece.push(Part { map, channels });
                    }
                }
                let into = if step.begins == [true] { Into::New } else { Into::Sum };
                let maps = &self.maps;
                let sums: Vec<Vec<f32>> = pieces
                    .into_par_iter()
                    .enumerate()
                    .map(|(number, targets)| {
                        let parts = self.parts(maps, &step, number);
                        let of = self.normalised(&step, norm, &of, number);
                        let call = Back { window: *window, size: [from.height, from.width], packed: &packed, into };
                        call.run(&parts, of, &back, targets, size.channels)
                    })
                    .collect();
                add_unpacked(&sums, *window, size.channels, &mut gradients[weights.clone()]);
            }
            Operation::Depthwise { stride, weights, norm } => {
                let back = self.behind_norm(&step, norm, &of, parameters, gradients);
                let packed = by_tap(&parameters[weights.clone()]);
                let map = &self.maps[step.inputs[0]];
                let maps = map.par_chunks(piece * from.values());
                let sums: Vec<Vec<f32>> = targets[0]
                    .par_chunks_mut(piece * from.values())
                    .zip(maps)
                    .enumerate()
                    .map(|(number, (target, map))| {
                        let all = self.normalised(&step, norm, &of, number);
                        let mut sums = vec![0.0; packed.len()];
                        let mut gradient = vec![0.0; size.values()];
                        let pictures = target.chunks_mut(from.values()).zip(map.chunks(from.values()));
                        for (index, (target, map)) in pictures.enumerate() {
                            let range = index * size.values()..(index + 1) * size.values();
                            back.run(all.values(range), &mut gradient);
                            let (size, out) = (from, &gradient[..]);
                            let stride = *stride;
                            depthwise::map_gradient(MapGradient { size, stride, out, weights: &packed, map: target });
                            depthwise::weight_gradient(WeightGradient { size, stride, map, out, weights: &mut sums });
                        }
                        sums
                    })
                    .collect();
                let mut total = vec![0.0; packed.len()];
                for sums in sums {
                    total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
                }
                gradients[weights.clone()].copy_from_slice(&by_channel(&total));
            }
        }
        if needs {
            for (target, &input) in targets.into_iter().zip(&step.inputs) {
                self.gradients[input] = target;
            }
        }
        self.spare.push(of);
    }

    /// What the gradient behind a batch norm is computed from, for a piece of the batch.
    fn normalised<'a>(&'a self, step: &Step, norm: &Norm, of: &'a [f32], piece: usize) -> Normalised<'a> {
        let values = self.piece() * self.plan.maps[step.output].values();
        let range = piece * values..of.len().min((piece + 1) * values);
        let (map, out) = (&self.raw[step.output], &self.maps[step.output]);
        let (map, out, gradient) = (&map[range.clone()], &out[range.clone()], &of[range]);
        Normalised { map, out, gradient, low: norm.low, high: norm.high }
    }

    /// Computes the gradients of a batch norm's parameters, and how to compute that of its input.
    fn behind_norm(
        &self,
        step: &Step,
        norm: &Norm,
        of: &[f32],
        parameters: &[f32],
        gradients: &mut [f32],
    ) -> BehindNorm {
        let size = self.plan.maps[step.output];
        let Normalisation { mean, inverse } = &self.normalisations[step.output];
        let pieces = self.pictures.div_ceil(self.piece());
        let sums: Vec<Sums> = (0..pieces)
            .into_par_iter()
            .map(|piece| {
                let mut sums = Sums::new(size.channels);
                let of = self.normalised(step, norm, of, piece);
                norm::gradient_moments(of, mean, &mut sums.first, &mut sums.second);
                sums
            })
            .collect();
        let Sums { first, second } = Sums::total(sums, size.channels);
        let count = (self.pictures * size.pixels()) as f64;
        let mut back = BehindNorm::default();
        for channel in 0..size.channels {
            let (scale, inverse) = (f64::from(parameters[norm.scale.start + channel]), inverse[channel]);
            let (sum, product) = (first[channel], second[channel] * inverse);
            gradients[norm.scale.start + channel] = product as f32;
            gradients[norm.shift.start + channel] = sum as f32;
            let by_map = -scale * inverse * inverse * product / count;
            back.by_gradient.push((scale * inverse) as f32);
            back.by_map.push(by_map as f32);
            back.constant.push((-scale * inverse * sum / count - by_map * f64::from(mean[channel])) as f32);
        }
        back
    }
}

/// The gradient behind a batch norm as a function of the gradient before it and of its input.
#[derive(Debug, Default)]
struct BehindNorm {
    by_gradient: Vec<f32>,
    by_map: Vec<f32>,
    constant: Vec<f32>,
}

impl BehindNorm {
    fn run(&self, of: Normalised<'_>, out: &mut [f32]) {
        let Self { by_gradient, by_map, constant } = self;
        norm::gradient(Gradient { of, by_gradient, by_map, constant, out });
    }
}

/// Two sums per channel.
#[derive(Debug)]
struct Sums {
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Sums {
    fn new(channels: usize) -> Self {
        Self { first: vec![0.0; channels], second: vec![0.0; channels] }
    }

    /// The sums of all pieces, added in order.
    fn total(pieces: Vec<Self>, channels: usize) -> Self {
        let mut total = Self::new(channels);
        for piece in pieces {
            total.first.iter_mut().zip(piece.first).for_each(|(total, sum)| *total += sum);
            total.second.iter_mut().zip(piece.second).for_each(|(total, sum)| *total += sum);
        }
        total
    }
}

/// The mean and variance that a batch norm uses. In training, they are those of `count` pixels with these `sums` of
/// values and squares, and enter the running ones.
fn normalisation(
    norm: &Norm,
    Sums { first, second }: Sums,
    count: usize,
    statistics: &mut Statistics,
    mode: Mode,
) -> Normalisation {
    let mut normalisation = Normalisation::default();
    for (channel, at) in norm.statistics.clone().enumerate() {
        let (running_mean, running_variance) = (&mut statistics.mean[at], &mut statistics.variance[at]);
        let (mean, variance) = match mode {
            Mode::Evaluate => (f64::from(*running_mean), f64::from(*running_variance)),
            Mode::Train => {
                let count = count as f64;
                let mean = first[channel] / count;
                let variance = (second[channel] / count - mean * mean).max(0.0);
                // The running variance is the one without bias.
                let unbiased = variance * count / (count - 1.0).max(1.0);
                let follow = |running: &mut f32, now: f64| {
                    *running = (f64::from(*running) * (1.0 - MOMENTUM) + now * MOMENTUM) as f32;
                };
                follow(running_mean, mean);
                follow(running_variance, unbiased);
                (mean, variance)
            }
        };
        normalisation.mean.push(mean as f32);
        normalisation.inverse.push(1.0 / (variance + EPSILON).sqrt());
    }
    normalisation
}

/// Scale and shift per channel that a batch norm amounts to.
fn factors(norm: &Norm, parameters: &[f32], Normalisation { mean, inverse }: &Normalisation) -> (Vec<f32>, Vec<f32>) {
    let (scale, shift) = (&parameters[norm.scale.clone()], &parameters[norm.shift.clone()]);
    let channels = scale.iter().zip(shift).zip(mean).zip(inverse);
    channels
        .map(|(((scale, shift), mean), inverse)| {
            let factor = f64::from(*scale) * inverse;
            (factor as f32, (f64::from(*shift) - f64::from(*mean) * factor) as f32)
        })
        .unzip()
}

/// Weights `[out, in, rows, columns]` as a matrix `[out, rows · columns · in]`, the order of a gathered window.
fn packed(weights: &[f32], window: Window, channels: usize) -> Vec<f32> {
    reordered(weights, window.kernel * window.kernel, weights.len() / channels, true)
}

/// Swaps the two inner axes of every row: `[depth / taps, taps]` to `[taps, depth / taps]`, or back.
fn reordered(weights: &[f32], taps: usize, depth: usize, forward: bool) -> Vec<f32> {
    if taps == 1 {
        return weights.to_vec();
    }
    let inputs = depth / taps;
    let mut out = vec![0.0; weights.len()];
    for (from, to) in weights.chunks_exact(depth).zip(out.chunks_exact_mut(depth)) {
        for input in 0..inputs {
            for tap in 0..taps {
                let (plain, gathered) = (input * taps + tap, tap * inputs + input);
                if forward {
                    to[gathered] = from[plain];
                } else {
                    to[plain] = from[gathered];
                }
            }
        }
    }
    out
}

/// Writes the sum of the pieces' gradients of packed weights to `gradients`, in the order of the state dict.
fn add_unpacked(pieces: &[Vec<f32>], window: Window, channels: usize, gradients: &mut [f32]) {
    let depth = gradients.len() / channels;
    let mut total = vec![0.0; gradients.len()];
    total.par_chunks_mut(depth).enumerate().for_each(|(channel, total)| {
        for piece in pieces {
            let piece = &piece[channel * depth..(channel + 1) * depth];
            total.iter_mut().zip(piece).for_each(|(total, value)| *total += value);
        }
    });
    gradients.copy_from_slice(&reordered(&total, window.kernel * window.kernel, depth, false));
}

/// Depthwise weights `[channels, 9]` as `[9, channels]`.
fn by_tap(weights: &[f32]) -> Vec<f32> {
    let channels = weights.len() / 9;
    (0..weights.len()).map(|index| weights[index % channels * 9 + index / channels]).collect()
}

/// Depthwise weights `[9, channels]` as `[channels, 9]`.
fn by_channel(weights: &[f32]) -> Vec<f32> {
    let channels = weights.len() / 9;
    (0..weights.len()).map(|index| weights[index % 9 * channels + index / 9]).collect()
}

/// Output pixels of a tile, for rows of `depth` values and outputs of `channels`.
fn tile(depth: usize, channels: usize) -> usize {
    (TILE / (depth + channels)).clamp(32, 1024)
}

/// Convolves a piece of a batch and returns the sums of the results and of their squares.
fn convolve(
    window: Window,
    size: [usize; 2],
    parts: &[Part<&[f32]>],
    packed: &[f32],
    out: &mut [f32],
    channels: usize,
) -> Sums {
    let depth = packed.len() / channels;
    let weights = Matrix::new(packed, channels, depth).transposed();
    let tile = tile(depth, channels);
    let mut rows = vec![0.0; if is_direct(window, parts.len()) { 0 } else { tile * depth }];
    let mut sums = Sums::new(channels);
    for (index, out) in out.chunks_mut(tile * channels).enumerate() {
        let (first, count) = (index * tile, out.len() / channels);
        let inputs = match parts {
            [only] if window.is_pixel() => &only.map[first * depth..(first + count) * depth],
            _ => {
                let rows = &mut rows[..count * depth];
                window::gather(window, size, parts, first, rows);
                rows
            }
        };
        product(out, Into::New, Matrix::new(inputs, count, depth), weights);
        norm::moments(out, &mut sums.first, &mut sums.second);
    }
    sums
}

/// Whether the rows of a convolution's matrix are those of its input.
fn is_direct(window: Window, inputs: usize) -> bool {
    window.is_pixel() && inputs == 1
}

/// The way back through a convolution.
struct Back<'a> {
    window: Window,
    size: [usize; 2],
    packed: &'a [f32],
    /// What happens to the gradient of a single input that is read pixel by pixel.
    into: Into,
}

impl Back<'_> {
    /// Adds the gradients of the inputs to `targets`, for a piece of a batch, and returns that of the packed weights.
    /// Empty targets are left out.
    fn run(
        &self,
        parts: &[Part<&[f32]>],
        of: Normalised<'_>,
        back: &BehindNorm,
        mut targets: Vec<Part<&mut [f32]>>,
        channels: usize,
    ) -> Vec<f32> {
        let Self { window, size, packed, into } = *self;
        let depth = packed.len() / channels;
        let weights = Matrix::new(packed, channels, depth);
        let tile = tile(depth, channels);
        let is_direct = is_direct(window, parts.len());
        let mut gathered = vec![0.0; if is_direct { 0 } else { tile * depth }];
        let mut gradient = vec![0.0; tile * channels];
        let mut sums = vec![0.0; packed.len()];
        let pixels = of.map.len() / channels;
        for first in (0..pixels).step_by(tile) {
            let count = tile.min(pixels - first);
            let gradient = &mut gradient[..count * channels];
            back.run(of.values(first * channels..(first + count) * channels), gradient);
            let gradient = Matrix::new(gradient, count, channels);
            let range = first * depth..(first + count) * depth;
            let inputs = if is_direct {
                &parts[0].map[range.clone()]
            } else {
                let rows = &mut gathered[..count * depth];
                window::gather(window, size, parts, first, rows);
                &*rows
            };
            product(&mut sums, Into::Sum, gradient.transposed(), Matrix::new(inputs, count, depth));
            if targets.is_empty() {
                continue;
            }
            if is_direct {
                product(&mut targets[0].map[range], into, gradient, weights);
            } else {
                let rows = &mut gathered[..count * depth];
                product(rows, Into::New, gradient, weights);
                window::scatter(window, size, &mut targets, first, rows);
            }
        }
        sums
    }
}

#[cfg(test)]
#[path = "backbone_tests.rs"]
mod tests;
