//! The backbone of a network in training: features of a batch of pictures, and the gradient of a loss with respect to
//! all parameters.
//!
//! Pictures are divided into pieces, whose number does not depend on the number of threads, and sums over pieces are
//! added in order: results are the same for any number of threads.

use rayon::prelude::*;

use super::batch_norm::{BehindNorm, Normalisation, Sums, factors, normalisation};
use super::convolution::{Back, add_unpacked, by_channel, by_tap, convolve, packed};
use super::plan::{Norm, Operation, Plan, Step};
use crate::kernels::training::depthwise::{self, Filter, MapGradient, WeightGradient};
use crate::kernels::training::norm::{self, Apply, Normalised};
use crate::kernels::training::pool;
use crate::kernels::training::product::Into;
use crate::kernels::training::window::{Part, Size};

/// Maximum number of pieces of a batch.
const PIECES: usize = 16;

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

#[cfg(test)]
#[path = "backbone_tests.rs"]
mod tests;
