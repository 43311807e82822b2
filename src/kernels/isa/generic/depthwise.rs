//! Depthwise convolution, written over a vector of channels.

use super::vector::{Vector, clamp};
use crate::kernels::tile::Depthwise;

/// One row of a depthwise 3 × 3 convolution with padding 1, for one vector of channels: see [`Depthwise`].
///
/// # Safety
/// - The duties of [`Depthwise`], for `V::LANES` channels and this stride.
/// - The processor has the instruction set of `V`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn depthwise<V: Vector, const STRIDE: usize>(row: &Depthwise) {
    // SAFETY: the duties of `along` are those of this function.
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
/// - The duties of [`depthwise`].
#[inline(always)]
unsafe fn along<V: Vector, const STRIDE: usize, const CLAMPS: bool>(row: &Depthwise) {
    // SAFETY: by the duties of `Depthwise`, the taps and the bias are readable, the rows are readable at every column
    // below `in_width`, and the output is writable at every pixel below `out_width`, which is the number of columns for
    // stride 1, and half of it, rounded up, for stride 2. The processor has the instructions.
    unsafe {
        let Depthwise { rows, in_stride, in_width, out, out_stride, out_width, weights, .. } = *row;
        let mut taps = [V::splat(0.0); 9];
        for (index, tap) in taps.iter_mut().enumerate() {
            *tap = V::load(weights.add(index * row.weight_stride));
        }
        let bias = V::load(weights.add(9 * row.weight_stride));
        let (low, high) = (V::splat(row.low), V::splat(row.high));
        // Every column is read once, for all outputs that it contributes to.
        let column = |x: usize| rows.map(|row| V::load(row.add(x * in_stride)));
        // Adds a column's contribution to an output whose kernel has it at column `dx`.
        let add = |dx: usize, [a, b, c]: [V; 3], sum: V| {
            c.mul_add(taps[6 + dx], b.mul_add(taps[3 + dx], a.mul_add(taps[dx], sum)))
        };
        let put = |x: usize, sum: V| {
            let sum = if CLAMPS { clamp(sum, low, high) } else { sum };
            sum.store(out.add(x * out_stride));
        };
        if STRIDE == 1 {
            // Two outputs are in progress at a time; with two columns per round, they swap roles without moves.
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
