//! Products, written over vectors of output channels.
//!
//! # Safety
//!
//! Base addresses of rows beyond the last are computed with wrapping operations and never read.

use super::vector::{Vector, clamp};
use crate::kernels::size::LINE;
use crate::kernels::tile::{Segment, Tile};

/// Maximum rows of a tile.
pub(in crate::kernels::isa) const MAX_ROWS: usize = 14;

/// Vectors of sums that the channels of a single row rotate through.
const ALONE: usize = 8;

/// Distance, in values, by which the weights of a single row are prefetched: the amount that arrives during one memory
/// latency.
const AHEAD: usize = 4096;

/// Rows that share a base address, at offsets of zero, one and two strides.
const PER_BASE: usize = 3;

/// A tile of `R` rows (pixels) by `C` vectors `V` followed by `T` vectors `W` (output channels): see [`Tile`].
///
/// # Safety
/// - The duties of [`Tile`], for `R` rows and `C * V::LANES + T * W::LANES` channels.
/// - The processor has the instruction sets of `V` and `W`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn gemm<V: Vector, W: Vector, const R: usize, const C: usize, const T: usize>(
    tile: &Tile,
) {
    const { assert!(R <= MAX_ROWS) }
    let (tail, width) = (C * V::LANES, C * V::LANES + T * W::LANES);
    // SAFETY: by the duties of `Tile`, every row of every segment is readable for its channels, the weights are
    // readable for the vectors of a row for each `k`, and the bias is readable and the output writable for these
    // vectors in every row. The processor has the instructions.
    unsafe {
        let mut sums = [([V::splat(0.0); C], [W::splat(0.0); T]); R];
        for (r, row) in sums.iter_mut().enumerate() {
            *row = load(tile.bias.add(r * tile.bias_stride));
        }
        let mut ahead = tile.prefetch;
        for index in 0..tile.count {
            let Segment { input, stride, channels, first } = *tile.segments.add(index);
            let mut weights = tile.weights.add(first * width);
            let origin = input.add(tile.row * stride);
            let mut bases = [origin; MAX_ROWS.div_ceil(PER_BASE)];
            for (group, base) in bases.iter_mut().enumerate() {
                // Bases beyond the last row are not read.
                *base = origin.wrapping_add(group * PER_BASE * stride);
            }
            let done = if R == 1 { alone(&mut sums[0], origin, &mut weights, channels) } else { 0 };
            bases[0] = bases[0].wrapping_add(done);
            for _ in done..channels {
                let factors: ([V; C], [W; T]) = load(weights);
                for (r, row) in sums.iter_mut().enumerate() {
                    add(row, *bases[r / PER_BASE].add(r % PER_BASE * stride), &factors);
                }
                V::prefetch(ahead);
                ahead = ahead.wrapping_add(tile.prefetch_step);
                weights = weights.add(width);
                for base in &mut bases {
                    *base = base.wrapping_add(1);
                }
            }
        }
        let (low, high) = (tile.low, tile.high);
        for (r, (wide, narrow)) in sums.iter().enumerate() {
            let out = tile.out.add(r * tile.out_stride);
            for (c, sum) in wide.iter().enumerate() {
                clamp(*sum, V::splat(low), V::splat(high)).store(out.add(c * V::LANES));
            }
            for (t, sum) in narrow.iter().enumerate() {
                clamp(*sum, W::splat(low), W::splat(high)).store(out.add(tail + t * W::LANES));
            }
        }
    }
}

/// Loads the vectors of a row of a tile.
///
/// # Safety
/// - `from` is readable for `C` vectors `V` followed by `T` vectors `W`.
/// - The processor has the instruction sets of `V` and `W`.
#[inline(always)]
unsafe fn load<V: Vector, W: Vector, const C: usize, const T: usize>(from: *const f32) -> ([V; C], [W; T]) {
    // SAFETY: each vector is one of the readable ones, and the processor has the instructions.
    unsafe {
        let (mut wide, mut narrow) = ([V::splat(0.0); C], [W::splat(0.0); T]);
        for (c, vector) in wide.iter_mut().enumerate() {
            *vector = V::load(from.add(c * V::LANES));
        }
        for (t, vector) in narrow.iter_mut().enumerate() {
            *vector = W::load(from.add(C * V::LANES + t * W::LANES));
        }
        (wide, narrow)
    }
}

/// `row += value * factors`.
///
/// # Safety
/// - The processor has the instruction sets of `V` and `W`.
#[inline(always)]
unsafe fn add<V: Vector, W: Vector, const C: usize, const T: usize>(
    row: &mut ([V; C], [W; T]),
    value: f32,
    factors: &([V; C], [W; T]),
) {
    // SAFETY: the processor has the instructions, as the caller guarantees.
    unsafe {
        for (sum, factor) in row.0.iter_mut().zip(factors.0) {
            *sum = V::splat(value).mul_add(factor, *sum);
        }
        for (sum, factor) in row.1.iter_mut().zip(factors.1) {
            *sum = W::splat(value).mul_add(factor, *sum);
        }
    }
}

/// Adds the contribution of most of the `channels` of a single row to its sums and returns their number. Weights that
/// are used for a single row come from main memory: they are prefetched a little ahead, and no sum waits for the
/// previous one.
///
/// # Safety
/// - The row is readable for all channels.
/// - The weights are readable for the vectors of a row for each channel.
/// - The processor has the instruction sets of `V` and `W`.
#[inline(always)]
unsafe fn alone<V: Vector, W: Vector, const C: usize, const T: usize>(
    sums: &mut ([V; C], [W; T]),
    row: *const f32,
    weights: &mut *const f32,
    channels: usize,
) -> usize {
    let turns = (ALONE / (C + T)).max(1);
    let whole = channels / turns * turns;
    let width = C * V::LANES + T * W::LANES;
    // SAFETY: `whole` is at most the number of channels, for each of which a value and the weights of a row are
    // readable; an address ahead of them is only prefetched. The processor has the instructions.
    unsafe {
        let mut parts = [([V::splat(0.0); C], [W::splat(0.0); T]); ALONE];
        for first in (0..whole).step_by(turns) {
            for (index, part) in parts.iter_mut().take(turns).enumerate() {
                add(part, *row.add(first + index), &load(*weights));
                for line in (0..width).step_by(LINE) {
                    V::prefetch_near(weights.wrapping_add(AHEAD + line));
                }
                *weights = weights.add(width);
            }
        }
        for (wide, narrow) in parts {
            for (sum, part) in sums.0.iter_mut().zip(wide) {
                *sum = sum.add(part);
            }
            for (sum, part) in sums.1.iter_mut().zip(narrow) {
                *sum = sum.add(part);
            }
        }
    }
    whole
}
