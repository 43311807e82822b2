//! What the kernels need of a vector register, and the kernels written over it.
//!
//! Each instruction set has its own implementation of [`Vector`]. The functions here are always inlined
//! into functions that carry the features of the instruction set: the bodies of the tables in the folders.
//!
//! # Safety
//!
//! - A loop over channels takes vectors `V` while they fit, then `W`, of which every width is a multiple: it neither reads nor
//!   writes beyond the width.
//! - Base addresses of rows beyond the last are computed with operations that wrap, and never read.

use super::memory::LINE;
use super::tile::{Depthwise, Largest, Segment, Tile};

/// A vector of `f32`.
///
/// # Safety
/// All functions need a processor with the instruction set of the implementation. `load` reads and `store` writes
/// [`LANES`](Self::LANES) values, no more and no fewer: loops over channels count on it.
pub(super) unsafe trait Vector: Copy {
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
    /// The same in the first-level cache.
    unsafe fn prefetch_near(at: *const f32);
}

/// The most rows of a tile.
pub(super) const MAX_ROWS: usize = 14;

/// Vectors of sums of a single row that channels take turns with.
const ALONE: usize = 8;

/// Values that the weights of a single row are fetched ahead: what comes in the time that one of them takes.
const AHEAD: usize = 4096;

/// Rows that share a base address, at distances of none, one and two strides.
const PER_BASE: usize = 3;

/// A tile of `R` rows (pixels) by `C` vectors `V` and `T` vectors `W` behind them (output channels): see [`Tile`].
///
/// # Safety
/// What [`Tile`] asks for, with `R` rows and `C * V::LANES + T * W::LANES` channels, and [`Vector`]'s.
#[inline(always)]
pub(super) unsafe fn gemm<V: Vector, W: Vector, const R: usize, const C: usize, const T: usize>(tile: &Tile) {
    const { assert!(R <= MAX_ROWS) }
    let (tail, width) = (C * V::LANES, C * V::LANES + T * W::LANES);
    // SAFETY: the caller keeps the promises of `Tile` and of `Vector`.
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

/// The vectors of a row of a tile.
///
/// # Safety
/// They are readable at `from`, and [`Vector`]'s.
#[inline(always)]
unsafe fn load<V: Vector, W: Vector, const C: usize, const T: usize>(from: *const f32) -> ([V; C], [W; T]) {
    // SAFETY: the caller's.
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
/// [`Vector`]'s.
#[inline(always)]
unsafe fn add<V: Vector, W: Vector, const C: usize, const T: usize>(
    row: &mut ([V; C], [W; T]),
    value: f32,
    factors: &([V; C], [W; T]),
) {
    // SAFETY: the caller's.
    unsafe {
        for (sum, factor) in row.0.iter_mut().zip(factors.0) {
            *sum = V::splat(value).mul_add(factor, *sum);
        }
        for (sum, factor) in row.1.iter_mut().zip(factors.1) {
            *sum = W::splat(value).mul_add(factor, *sum);
        }
    }
}

/// Adds what most of the `channels` of a single row have to its sums: of how many. Weights that are used for one row
/// come from far away: they are fetched a little ahead, and no sum waits for the one before it.
///
/// # Safety
/// The row is readable for all channels, the weights are for the vectors of a row for each, and [`Vector`]'s.
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
    // SAFETY: the caller's.
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

/// `value` from `low` to `high`; what is no number stays none: vectors take the second operand then.
///
/// # Safety
/// [`Vector`]'s.
#[inline(always)]
pub(super) unsafe fn clamp<V: Vector>(value: V, low: V, high: V) -> V {
    // SAFETY: the caller's.
    unsafe { high.min(low.max(value)) }
}

/// One row of a depthwise 3 × 3 convolution with padding 1, for one vector of channels: see [`Depthwise`].
///
/// # Safety
/// What [`Depthwise`] asks for, with `V::LANES` channels, and [`Vector`]'s.
#[inline(always)]
pub(super) unsafe fn depthwise<V: Vector, const STRIDE: usize>(row: &Depthwise) {
    debug_assert!(row.in_width > 0 && row.out_width == (row.in_width - 1) / STRIDE + 1, "{row:?}");
    // SAFETY: the caller's.
    unsafe {
        if (row.low, row.high) == (f32::NEG_INFINITY, f32::INFINITY) {
            along::<V, STRIDE, false>(row);
        } else {
            along::<V, STRIDE, true>(row);
        }
    }
}

/// See [`depthwise`]; results are clamped if `CLAMPS`.
///
/// # Safety
/// Those of [`depthwise`].
#[inline(always)]
unsafe fn along<V: Vector, const STRIDE: usize, const CLAMPS: bool>(row: &Depthwise) {
    // SAFETY: the caller keeps the promises of `Depthwise` and of `Vector`.
    unsafe {
        let Depthwise { rows, in_stride, in_width, out, out_stride, out_width, weights, .. } = *row;
        let mut taps = [V::splat(0.0); 9];
        for (index, tap) in taps.iter_mut().enumerate() {
            *tap = V::load(weights.add(index * row.weight_stride));
        }
        let bias = V::load(weights.add(9 * row.weight_stride));
        let (low, high) = (V::splat(row.low), V::splat(row.high));
        // Every column is read once, for all outputs that it reaches.
        let column = |x: usize| rows.map(|row| V::load(row.add(x * in_stride)));
        // With what a column adds to an output whose kernel has it at column `dx`.
        let add = |dx: usize, [a, b, c]: [V; 3], sum: V| {
            c.mul_add(taps[6 + dx], b.mul_add(taps[3 + dx], a.mul_add(taps[dx], sum)))
        };
        let put = |x: usize, sum: V| {
            let sum = if CLAMPS { clamp(sum, low, high) } else { sum };
            sum.store(out.add(x * out_stride));
        };
        if STRIDE == 1 {
            // Two outputs are open at a time; two columns per round, so that they change places by themselves.
            let first = column(0);
            let (mut even, mut odd) = (add(1, first, bias), add(0, first, bias));
            let mut x = 1;
            while x + 1 < in_width {
                let here = column(x);
                put(x - 1, add(2, here, even));
                (odd, even) = (add(1, here, odd), add(0, here, bias));
                let next = column(x + 1);
                put(x, add(2, next, odd));
                (even, odd) = (add(1, next, even), add(0, next, bias));
                x += 2;
            }
            if x < in_width {
                let last = column(x);
                put(x - 1, add(2, last, even));
                even = add(1, last, odd);
            }
            put(in_width - 1, even);
        } else {
            let mut sum = bias;
            for x in 0..in_width / 2 {
                sum = add(1, column(2 * x), sum);
                let right = column(2 * x + 1);
                put(x, add(2, right, sum));
                sum = add(0, right, bias);
            }
            if in_width % 2 == 1 {
                put(out_width - 1, add(1, column(in_width - 1), sum));
            }
        }
    }
}

/// The largest values of a window: see [`Largest`]. `W` has a step of channels.
///
/// # Safety
/// What [`Largest`] asks for, and [`Vector`]'s.
#[inline(always)]
pub(super) unsafe fn largest<V: Vector, W: Vector>(call: &Largest) {
    debug_assert!(call.lanes.is_multiple_of(W::LANES) && call.height > 0 && call.width > 0, "{call:?}");
    let mut lane = 0;
    // SAFETY: the caller's: whole vectors of the channels.
    unsafe {
        while lane + V::LANES <= call.lanes {
            largest_of::<V>(call, lane);
            lane += V::LANES;
        }
        while lane < call.lanes {
            largest_of::<W>(call, lane);
            lane += W::LANES;
        }
    }
}

/// One vector of channels, from channel `lane` on.
///
/// # Safety
/// Those of [`largest`].
#[inline(always)]
unsafe fn largest_of<V: Vector>(call: &Largest, lane: usize) {
    // SAFETY: the caller's: these channels of all pixels of the window.
    unsafe {
        let mut row = call.input.add(lane);
        let mut result = V::load(row);
        for _ in 0..call.height {
            let mut pixel = row;
            for _ in 0..call.width {
                result = result.max(V::load(pixel));
                pixel = pixel.wrapping_add(call.stride);
            }
            row = row.wrapping_add(call.row_stride);
        }
        result.store(call.out.add(lane));
    }
}
