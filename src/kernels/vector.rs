//! What the kernels need of a vector register, and the kernels written over it.
//!
//! Each instruction set has its own implementation of [`Vector`]. The functions here are always inlined
//! into functions that carry the features of the instruction set: the bodies of the tables in the folders.

use super::tile::{Depthwise, Segment, Tile};

/// A vector of `f32`.
///
/// # Safety
/// All functions need a processor with the instruction set of the implementation.
pub(super) trait Vector: Copy {
    /// Number of lanes.
    const LANES: usize;

    /// All lanes `value`.
    unsafe fn splat(value: f32) -> Self;
    /// [`LANES`](Self::LANES) values from `at` on, which need not be aligned.
    unsafe fn load(at: *const f32) -> Self;
    /// Writes all lanes to `at`, which need not be aligned.
    unsafe fn store(self, at: *mut f32);
    /// `self * factor + addend`; rounded once where the instruction set can.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// The sum.
    unsafe fn add(self, other: Self) -> Self;
    /// The difference.
    unsafe fn sub(self, other: Self) -> Self;
    /// The product.
    unsafe fn mul(self, other: Self) -> Self;
    /// The smaller ones.
    unsafe fn min(self, other: Self) -> Self;
    /// The larger ones.
    unsafe fn max(self, other: Self) -> Self;
    /// Asks for the cache line of `at`, which may be anything, in the second-level cache: a block of weights
    /// would drive the one in use out of the first.
    unsafe fn prefetch(at: *const f32);
}

/// The most rows of a tile.
pub(super) const MAX_ROWS: usize = 14;

/// Rows that share a base address, at distances of none, one and two strides.
const PER_BASE: usize = 3;

/// A tile of `R` rows (pixels) by `C` vectors (output channels): see [`Tile`].
///
/// # Safety
/// What [`Tile`] asks for, with `R` rows and `C * V::LANES` channels, and [`Vector`]'s.
#[inline(always)]
pub(super) unsafe fn gemm<V: Vector, const R: usize, const C: usize>(tile: &Tile) {
    // SAFETY: the caller keeps the promises of `Tile` and of `Vector`.
    unsafe {
        let mut sums = [[V::splat(0.0); C]; R];
        for row in &mut sums {
            for (c, sum) in row.iter_mut().enumerate() {
                *sum = V::load(tile.bias.add(c * V::LANES));
            }
        }
        let mut ahead = tile.prefetch;
        for index in 0..tile.count {
            let Segment { input, stride, channels, first } = *tile.segments.add(index);
            let mut weights = tile.weights.add(first * C * V::LANES);
            let origin = input.add(tile.row * stride);
            let mut bases = [origin; MAX_ROWS.div_ceil(PER_BASE)];
            for (group, base) in bases.iter_mut().enumerate() {
                // Bases beyond the last row are not read.
                *base = origin.wrapping_add(group * PER_BASE * stride);
            }
            for _ in 0..channels {
                let mut factors = [V::splat(0.0); C];
                for (c, factor) in factors.iter_mut().enumerate() {
                    *factor = V::load(weights.add(c * V::LANES));
                }
                for (r, row) in sums.iter_mut().enumerate() {
                    let value = V::splat(*bases[r / PER_BASE].add(r % PER_BASE * stride));
                    for (sum, factor) in row.iter_mut().zip(factors) {
                        *sum = value.mul_add(factor, *sum);
                    }
                }
                V::prefetch(ahead);
                ahead = ahead.wrapping_add(tile.prefetch_step);
                weights = weights.add(C * V::LANES);
                for base in &mut bases {
                    *base = base.wrapping_add(1);
                }
            }
        }
        let (low, high) = (V::splat(tile.low), V::splat(tile.high));
        for (r, row) in sums.iter().enumerate() {
            for (c, sum) in row.iter().enumerate() {
                sum.max(low).min(high).store(tile.out.add(r * tile.out_stride + c * V::LANES));
            }
        }
    }
}

/// One row of a depthwise 3 × 3 convolution with padding 1, for one vector of channels: see [`Depthwise`].
///
/// # Safety
/// What [`Depthwise`] asks for, with `V::LANES` channels, and [`Vector`]'s.
#[inline(always)]
pub(super) unsafe fn depthwise<V: Vector, const STRIDE: usize>(row: &Depthwise) {
    // SAFETY: the caller keeps the promises of `Depthwise` and of `Vector`.
    unsafe {
        let Depthwise { rows, in_stride, in_width, out, out_stride, out_width, weights, .. } = *row;
        let mut taps = [V::splat(0.0); 9];
        for (index, tap) in taps.iter_mut().enumerate() {
            *tap = V::load(weights.add(index * row.weight_stride));
        }
        let bias = V::load(weights.add(9 * row.weight_stride));
        let (low, high) = (V::splat(row.low), V::splat(row.high));
        // What column `x` of the input adds to an output whose kernel has it at column `dx`.
        let column = |x: usize, dx: usize, sum: V| {
            let at = x * in_stride;
            let sum = V::load(rows[0].add(at)).mul_add(taps[dx], sum);
            let sum = V::load(rows[1].add(at)).mul_add(taps[3 + dx], sum);
            V::load(rows[2].add(at)).mul_add(taps[6 + dx], sum)
        };
        let put = |x: usize, sum: V| sum.max(low).min(high).store(out.add(x * out_stride));
        if STRIDE == 1 {
            // Rolls along the row: every column is read once, for the three outputs that it reaches.
            let (mut previous, mut current) = (bias, bias);
            for x in 0..in_width {
                let at = x * in_stride;
                let [a, b, c] = rows.map(|row| V::load(row.add(at)));
                let add =
                    |dx: usize, sum: V| c.mul_add(taps[6 + dx], b.mul_add(taps[3 + dx], a.mul_add(taps[dx], sum)));
                previous = add(2, previous);
                if x > 0 {
                    put(x - 1, previous);
                }
                previous = add(1, current);
                current = add(0, bias);
            }
            put(in_width - 1, previous);
        } else {
            for x in 0..out_width {
                let centre = x * STRIDE;
                let mut sum = column(centre, 1, bias);
                if centre > 0 {
                    sum = column(centre - 1, 0, sum);
                }
                if centre + 1 < in_width {
                    sum = column(centre + 1, 2, sum);
                }
                put(x, sum);
            }
        }
    }
}
