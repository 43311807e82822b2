//! Convolutions of a piece of a batch as products of matrices, and the way back through them.

use rayon::prelude::*;

use super::batch_norm::{BehindNorm, Sums};
use crate::kernels::training::norm::{self, Normalised};
use crate::kernels::training::product::{Into, Matrix, product};
use crate::kernels::training::window::{self, Part, Window};

/// Values of a tile: the rows of a convolution's matrix that are in the cache together.
const TILE: usize = 1 << 16;

/// Weights `[out, in, rows, columns]` as a matrix `[out, rows · columns · in]`, the order of a gathered window.
pub(super) fn packed(weights: &[f32], window: Window, channels: usize) -> Vec<f32> {
    reordered(weights, window.kernel * window.kernel, weights.len() / channels, true)
}

/// Swaps the two inner axes of every row: `[depth / taps, taps]` to `[taps, depth / taps]`, or back.
pub(super) fn reordered(weights: &[f32], taps: usize, depth: usize, forward: bool) -> Vec<f32> {
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
pub(super) fn add_unpacked(pieces: &[Vec<f32>], window: Window, channels: usize, gradients: &mut [f32]) {
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
pub(super) fn by_tap(weights: &[f32]) -> Vec<f32> {
    let channels = weights.len() / 9;
    (0..weights.len()).map(|index| weights[index % channels * 9 + index / channels]).collect()
}

/// Depthwise weights `[9, channels]` as `[channels, 9]`.
pub(super) fn by_channel(weights: &[f32]) -> Vec<f32> {
    let channels = weights.len() / 9;
    (0..weights.len()).map(|index| weights[index % 9 * channels + index / 9]).collect()
}

/// Output pixels of a tile, for rows of `depth` values and outputs of `channels`.
pub(super) fn tile(depth: usize, channels: usize) -> usize {
    (TILE / (depth + channels)).clamp(32, 1024)
}

/// Convolves a piece of a batch and returns the sums of the results and of their squares.
pub(super) fn convolve(
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
pub(super) fn is_direct(window: Window, inputs: usize) -> bool {
    window.is_pixel() && inputs == 1
}

/// The way back through a convolution.
pub(super) struct Back<'a> {
    pub(super) window: Window,
    pub(super) size: [usize; 2],
    pub(super) packed: &'a [f32],
    /// What happens to the gradient of a single input that is read pixel by pixel.
    pub(super) into: Into,
}

impl Back<'_> {
    /// Adds the gradients of the inputs to `targets`, for a piece of a batch, and returns that of the packed weights.
    /// Empty targets are left out.
    pub(super) fn run(
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
