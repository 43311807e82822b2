//! The transforms of 3 × 3 Winograd convolutions, written over a vector of channels.
//!
//! In one dimension, a tile of `m` outputs needs products in `m + 2` points: 0, 1 and ∞ for one output, also −1 for
//! two, also ±2 for four, and also ±½ for six. Weights are evaluated at a point `p` as `w₀ + p·w₁ + p²·w₂`, and at ∞ as
//! `w₂`; all scale factors are in the transform of the input. So the weights at a point do not depend on the size of
//! the tile, and tiles of several sizes share them.
//!
//! # Safety
//!
//! - Intermediate values between the two dimensions are read only where they were written: all rows before any column.
//! - A loop over channels takes vectors `V` while they fit, then `W`, of which every width is a multiple. A patch or a
//!   tile at the border reads and writes only the rows and columns that the call names.

use std::hint::black_box;
use std::mem::MaybeUninit;

use super::vector::Vector;
use crate::kernels::tile::{MAX_POINTS, WinogradInput, WinogradOutput, WinogradWeights};

/// Intermediate values between the two dimensions of a transform.
type Between<V> = MaybeUninit<[[V; MAX_POINTS]; MAX_POINTS]>;

/// `count`, hidden from the compiler on 64-bit ARM, so that a loop of that many rounds stays a loop. Unrolled, it would
/// keep an address for every point, for which there are too few registers; on other processors, instructions add
/// addresses.
#[inline(always)]
fn kept(count: usize) -> usize {
    if cfg!(target_arch = "aarch64") { black_box(count) } else { count }
}

/// Evaluates `P` neighbouring inputs at `P` points.
///
/// # Safety
/// - The processor has the instruction set of `V`.
#[inline(always)]
unsafe fn to_points<V: Vector, const P: usize>(d: [V; MAX_POINTS]) -> [V; MAX_POINTS] {
    // SAFETY: this is arithmetic in registers, and the processor has the instructions.
    unsafe {
        let c = |value: f32| V::splat(value);
        match P {
            3 => [d[0].sub(d[1]), d[1], d[2].sub(d[1]), d[0], d[0], d[0], d[0], d[0]],
            4 => {
                let half = c(0.5);
                let sum = d[2].add(d[1]).mul(half);
                let difference = d[2].sub(d[1]).mul(half);
                [d[0].sub(d[2]), sum, difference, d[3].sub(d[1]), d[0], d[0], d[0], d[0]]
            }
            6 => {
                // Even and odd powers of ±1, then of ±2.
                let even = d[4].mul_add(c(-1.0 / 6.0), d[2].mul(c(2.0 / 3.0)));
                let odd = d[1].mul_add(c(-4.0), d[3]);
                let even2 = d[4].sub(d[2]).mul(c(1.0 / 24.0));
                let odd2 = d[3].sub(d[1]);
                [
                    d[4].mul_add(c(0.25), d[2].mul_add(c(-1.25), d[0])),
                    odd.mul_add(c(-1.0 / 6.0), even),
                    odd.mul_add(c(1.0 / 6.0), even),
                    odd2.mul_add(c(1.0 / 12.0), even2),
                    odd2.mul_add(c(-1.0 / 12.0), even2),
                    d[1].mul_add(c(4.0), d[3].mul_add(c(-5.0), d[5])),
                    d[0],
                    d[0],
                ]
            }
            _ => {
                // Even and odd powers of ±1, of ±2, then of ±½.
                let even = d[4].mul_add(c(-4.25), d[2].add(d[6])).mul(c(-1.0 / 4.5));
                let odd = d[3].mul_add(c(-4.25), d[1].add(d[5]));
                let even2 = d[2].mul_add(c(0.25), d[4].mul_add(c(-1.25), d[6])).mul(c(1.0 / 90.0));
                let odd2 = d[1].mul_add(c(0.25), d[3].mul_add(c(-1.25), d[5]));
                let even_half = d[2].mul_add(c(4.0), d[4].mul_add(c(-5.0), d[6])).mul(c(32.0 / 45.0));
                let odd_half = d[1].mul_add(c(4.0), d[3].mul_add(c(-5.0), d[5]));
                [
                    d[4].sub(d[2]).mul_add(c(5.25), d[0].sub(d[6])),
                    odd.mul_add(c(-1.0 / 4.5), even),
                    odd.mul_add(c(1.0 / 4.5), even),
                    odd2.mul_add(c(1.0 / 45.0), even2),
                    odd2.mul_add(c(-1.0 / 45.0), even2),
                    odd_half.mul_add(c(16.0 / 45.0), even_half),
                    odd_half.mul_add(c(-16.0 / 45.0), even_half),
                    d[3].sub(d[5]).mul_add(c(5.25), d[7].sub(d[1])),
                ]
            }
        }
    }
}

/// Computes `P - 2` neighbouring outputs from products in `P` points.
///
/// # Safety
/// - The processor has the instruction set of `V`.
#[inline(always)]
unsafe fn from_points<V: Vector, const P: usize>(m: [V; MAX_POINTS]) -> [V; MAX_POINTS] {
    // SAFETY: this is arithmetic in registers, and the processor has the instructions.
    unsafe {
        let c = |value: f32| V::splat(value);
        match P {
            3 => [m[0].add(m[1]).add(m[2]), m[0], m[0], m[0], m[0], m[0], m[0], m[0]],
            4 => [m[0].add(m[1]).add(m[2]), m[1].sub(m[2]).add(m[3]), m[0], m[0], m[0], m[0], m[0], m[0]],
            6 => {
                let (even, odd) = (m[1].add(m[2]), m[1].sub(m[2]));
                let (even2, odd2) = (m[3].add(m[4]), m[3].sub(m[4]));
                [
                    m[0].add(even).add(even2),
                    odd2.mul_add(c(2.0), odd),
                    even2.mul_add(c(4.0), even),
                    odd2.mul_add(c(8.0), odd).add(m[5]),
                    m[0],
                    m[0],
                    m[0],
                    m[0],
                ]
            }
            _ => {
                let (even, odd) = (m[1].add(m[2]), m[1].sub(m[2]));
                let (even2, odd2) = (m[3].add(m[4]), m[3].sub(m[4]));
                let (even_half, odd_half) = (m[5].add(m[6]), m[5].sub(m[6]));
                [
                    m[0].add(even).add(even2).add(even_half),
                    odd_half.mul_add(c(0.5), odd2.mul_add(c(2.0), odd)),
                    even_half.mul_add(c(0.25), even2.mul_add(c(4.0), even)),
                    odd_half.mul_add(c(0.125), odd2.mul_add(c(8.0), odd)),
                    even_half.mul_add(c(0.0625), even2.mul_add(c(16.0), even)),
                    odd_half.mul_add(c(0.03125), odd2.mul_add(c(32.0), odd)).add(m[7]),
                    m[0],
                    m[0],
                ]
            }
        }
    }
}

/// The transform of a patch, with vectors `V`, and `W` for the remaining channels: see [`WinogradInput`].
///
/// # Safety
/// - The duties of [`WinogradInput`], for a step of `W::LANES` channels.
/// - The processor has the instruction sets of `V` and `W`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn winograd_input<V: Vector, W: Vector, const A: usize, const B: usize>(
    call: &WinogradInput,
) {
    let end = call.lanes;
    debug_assert!(end.is_multiple_of(W::LANES) && call.bottom <= A && call.right <= B, "{call:?}");
    let is_whole = (call.top, call.bottom, call.left, call.right) == (0, A, 0, B);
    let mut lane = 0;
    // SAFETY: the vectors end at the end of the channels at the latest: `lanes` is a multiple of `W::LANES`. The patch
    // is `WHOLE` only if all of its pixels are readable. All other duties are those of this function.
    unsafe {
        while lane + V::LANES <= end {
            if is_whole {
                input_lanes::<V, A, B, true>(call, lane);
            } else {
                input_lanes::<V, A, B, false>(call, lane);
            }
            lane += V::LANES;
        }
        while V::LANES > W::LANES && lane < end {
            if is_whole {
                input_lanes::<W, A, B, true>(call, lane);
            } else {
                input_lanes::<W, A, B, false>(call, lane);
            }
            lane += W::LANES;
        }
    }
}

/// The transform of a patch, for the channels from `lane` on; skips the border checks if the patch is `WHOLE`, that is,
/// lies entirely in the map.
///
/// # Safety
/// - The duties of [`WinogradInput`].
/// - There are at least `V::LANES` channels from `lane` on.
/// - All pixels of the patch are readable if it is `WHOLE`.
/// - The processor has the instruction set of `V`.
#[inline(always)]
unsafe fn input_lanes<V: Vector, const A: usize, const B: usize, const WHOLE: bool>(call: &WinogradInput, lane: usize) {
    let mut between = Between::<V>::uninit();
    let between = between.as_mut_ptr().cast::<V>();
    // SAFETY: by the duties of `WinogradInput`, the pixels that are read are readable and those that are written are
    // writable for these channels. Intermediate values are read only after they were written, point by point of the
    // rows. The processor has the instructions.
    unsafe {
        let zero = V::splat(0.0);
        let mut column = call.input.wrapping_add(lane);
        for x in 0..kept(B) {
            let mut values = [zero; MAX_POINTS];
            if WHOLE || (call.left..call.right).contains(&x) {
                for (y, value) in values.iter_mut().enumerate().take(A) {
                    if WHOLE || (call.top..call.bottom).contains(&y) {
                        *value = V::load(column.wrapping_add(y * call.row_stride));
                    }
                }
            }
            for (y, point) in to_points::<V, A>(values).into_iter().enumerate().take(A) {
                between.add(y * MAX_POINTS + x).write(point);
            }
            column = column.wrapping_add(call.stride);
        }
        let out = call.out.wrapping_add(lane);
        for y in 0..kept(A) {
            let mut values = [zero; MAX_POINTS];
            for (x, value) in values.iter_mut().enumerate().take(B) {
                *value = between.add(y * MAX_POINTS + x).read();
            }
            let row = out.wrapping_add(*call.rows.as_ptr().add(y));
            for (point, column) in to_points::<V, B>(values).into_iter().zip(call.columns).take(B) {
                point.store(row.wrapping_add(column));
            }
        }
    }
}

/// The transform of products into a tile, with vectors `V`, and `W` for the remaining channels: see [`WinogradOutput`].
///
/// # Safety
/// - The duties of [`WinogradOutput`], for a step of `W::LANES` channels.
/// - The processor has the instruction sets of `V` and `W`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn winograd_output<V: Vector, W: Vector, const A: usize, const B: usize>(
    call: &WinogradOutput,
) {
    let end = call.lanes;
    debug_assert!(end.is_multiple_of(W::LANES) && call.width > 0 && call.height > 0, "{call:?}");
    let mut lane = 0;
    // SAFETY: the vectors end at the end of the channels at the latest: `lanes` is a multiple of `W::LANES`. All other
    // duties are those of this function.
    unsafe {
        while lane + V::LANES <= end {
            output_lanes::<V, A, B>(call, lane);
            lane += V::LANES;
        }
        while V::LANES > W::LANES && lane < end {
            output_lanes::<W, A, B>(call, lane);
            lane += W::LANES;
        }
    }
}

/// The transform of products into a tile, for the channels from `lane` on.
///
/// # Safety
/// - The duties of [`WinogradOutput`].
/// - There are at least `V::LANES` channels from `lane` on.
/// - The processor has the instruction set of `V`.
#[inline(always)]
unsafe fn output_lanes<V: Vector, const A: usize, const B: usize>(call: &WinogradOutput, lane: usize) {
    let mut between = Between::<V>::uninit();
    let between = between.as_mut_ptr().cast::<V>();
    // SAFETY: by the duties of `WinogradOutput`, the products and the bias are readable and the pixels within `height`
    // and `width` are writable for these channels. Intermediate values are read only after they were written, row by
    // row. The processor has the instructions.
    unsafe {
        let zero = V::splat(0.0);
        let products = call.products.wrapping_add(lane);
        for x in 0..kept(B) {
            let column = products.wrapping_add(*call.columns.as_ptr().add(x));
            let mut values = [zero; MAX_POINTS];
            for (value, row) in values.iter_mut().zip(call.rows).take(A) {
                *value = V::load(column.wrapping_add(row));
            }
            for (y, sum) in from_points::<V, A>(values).into_iter().enumerate().take(A - 2) {
                between.add(y * MAX_POINTS + x).write(sum);
            }
        }
        let bias = V::load(call.bias.wrapping_add(lane));
        let (low, high) = (V::splat(call.low), V::splat(call.high));
        for y in 0..kept(call.height.min(A - 2)) {
            let mut values = [zero; MAX_POINTS];
            for (x, value) in values.iter_mut().enumerate().take(B) {
                *value = between.add(y * MAX_POINTS + x).read();
            }
            let out = call.out.wrapping_add(y * call.row_stride + lane);
            for (x, sum) in from_points::<V, B>(values).into_iter().enumerate().take(B - 2) {
                if x < call.width {
                    sum.add(bias).max(low).min(high).store(out.wrapping_add(x * call.stride));
                }
            }
        }
    }
}

/// Factors of the three taps of a column at one of the `P` points of the rows.
fn powers<const P: usize>(row: usize) -> [f32; 3] {
    const FINITE: [f32; MAX_POINTS - 1] = [0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5];
    if row + 1 < P { [1.0, FINITE[row], FINITE[row] * FINITE[row]] } else { [0.0, 0.0, 1.0] }
}

/// The transform of weights, with vectors `V`, and `W` for the remaining channels: see [`WinogradWeights`].
///
/// # Safety
/// - The duties of [`WinogradWeights`], for a step of `W::LANES` channels.
/// - The processor has the instruction sets of `V` and `W`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn winograd_weights<V: Vector, W: Vector, const P: usize>(call: &WinogradWeights) {
    let width = call.lanes;
    debug_assert!(width.is_multiple_of(W::LANES) && call.row < P && call.plane >= call.depth * width, "{call:?}");
    let mut lane = 0;
    // SAFETY: the vectors end at the end of the channels at the latest: `lanes` is a multiple of `W::LANES`. All other
    // duties are those of this function.
    unsafe {
        while lane + V::LANES <= width {
            weight_lanes::<V, P>(call, lane);
            lane += V::LANES;
        }
        while V::LANES > W::LANES && lane < width {
            weight_lanes::<W, P>(call, lane);
            lane += W::LANES;
        }
    }
}

/// The transform of weights, for the output channels from `lane` on.
///
/// # Safety
/// - The duties of [`WinogradWeights`].
/// - There are at least `V::LANES` channels from `lane` on.
/// - The processor has the instruction set of `V`.
#[inline(always)]
unsafe fn weight_lanes<V: Vector, const P: usize>(call: &WinogradWeights, lane: usize) {
    let width = call.lanes;
    // SAFETY: by the duties of `WinogradWeights`, all nine taps are readable and all `P` planes are writable for these
    // channels, for each value of `depth`. The processor has the instructions.
    unsafe {
        let [one, first, second] = powers::<P>(call.row).map(|power| V::splat(power));
        let (mut taps, mut out) = (call.taps.wrapping_add(lane), call.out.wrapping_add(lane));
        for _ in 0..call.depth {
            let tap = |number: usize| V::load(taps.wrapping_add(number * width));
            let column = |x: usize| tap(6 + x).mul_add(second, tap(3 + x).mul_add(first, tap(x).mul(one)));
            let [left, centre, right] = [column(0), column(1), column(2)];
            let points = weight_points::<V, P>([left, centre, right]);
            for (point, value) in points.into_iter().enumerate().take(P) {
                value.store(out.wrapping_add(point * call.plane));
            }
            taps = taps.wrapping_add(9 * width);
            out = out.wrapping_add(width);
        }
    }
}

/// Evaluates three weights at `P` points.
///
/// # Safety
/// - The processor has the instruction set of `V`.
#[inline(always)]
unsafe fn weight_points<V: Vector, const P: usize>([first, second, third]: [V; 3]) -> [V; MAX_POINTS] {
    // SAFETY: this is arithmetic in registers, and the processor has the instructions.
    unsafe {
        let even = first.add(third);
        let [one, minus_one] = [even.add(second), even.sub(second)];
        if P == 4 {
            return [first, one, minus_one, third, third, third, third, third];
        }
        let even = third.mul_add(V::splat(4.0), first);
        let two = second.mul_add(V::splat(2.0), even);
        let minus_two = second.mul_add(V::splat(-2.0), even);
        if P == 6 {
            return [first, one, minus_one, two, minus_two, third, third, third];
        }
        let even = third.mul_add(V::splat(0.25), first);
        let half = second.mul_add(V::splat(0.5), even);
        let minus_half = second.mul_add(V::splat(-0.5), even);
        [first, one, minus_one, two, minus_two, half, minus_half, third]
    }
}
