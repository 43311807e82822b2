//! From samples to colours, written over vectors of sums.
//!
//! # Safety
//!
//! Functions of vectors are called in loops, not in closures, which would be compiled without the instruction set. Lengths
//! are any. The last vector of a row steps back to end with the row, so that some values are computed twice; a
//! row that is shorter than a vector is done value by value, with the vectors of plain Rust that have one lane.

use super::vector::{Vector, clamp};
use super::words::Words;
use crate::kernels::raster::{Colours, SumColumns, SumRows, Transpose};

/// Pairs of vectors whose sums are added at the same time: their loads of weights are shared.
const PAIRS: usize = 4;

/// The largest addition for what products lose, so that a sum of 8-bit samples keeps within 15 bits.
const MOST_LOST_BYTES: usize = 127;

/// The same for samples of 10 bits and more.
const MOST_LOST_WORDS: usize = 31;

/// Adds rows of 8-bit samples: see [`SumRows`]. `S` has one lane.
///
/// # Safety
/// - The duties of [`SumRows`], for samples of a byte.
/// - The processor has the instruction sets of `W` and `S`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn sum_bytes<W: Words, S: Words>(call: &SumRows) {
    let pair = 2 * W::LANES;
    // SAFETY: all samples that are summed lie within the rows: a block, and the last pair, only where as many remain.
    // All other duties are those of this function.
    unsafe {
        if call.samples < pair {
            // Two lanes of `S` are two samples; the last of an odd number is summed again.
            return match call.samples {
                0 => {}
                1 => sum_one_byte(call),
                samples => (0..samples).step_by(2).for_each(|at| sum_pairs::<S, 1>(call, at.min(samples - 2))),
            };
        }
        let mut at = 0;
        while at + PAIRS * pair <= call.samples {
            sum_pairs::<W, PAIRS>(call, at);
            at += PAIRS * pair;
        }
        while at < call.samples {
            sum_pairs::<W, 1>(call, at.min(call.samples - pair));
            at += pair;
        }
    }
}

/// Sums of the only sample of a row.
///
/// # Safety
/// - The duties of [`SumRows`], for one sample of a byte.
#[inline(always)]
unsafe fn sum_one_byte(call: &SumRows) {
    let mut sum = lost(call.rows, MOST_LOST_BYTES);
    for row in 0..call.rows {
        // SAFETY: the sample and the weight are readable by the duties of `SumRows`.
        let (sample, weight) = unsafe { (*call.input.add(row * call.stride), *call.weights.add(row)) };
        sum = sum.wrapping_add(((u32::from(sample) * u32::from(weight)) >> 8) as u16);
    }
    // SAFETY: the sum is writable by the duties of `SumRows`.
    unsafe { *call.out = sum }
}

/// What `rows` products lose in the mean, but at most `most`.
#[inline(always)]
fn lost(rows: usize, most: usize) -> u16 {
    (rows / 2).min(most) as u16
}

/// Sums of `P` pairs of vectors from sample `at` on.
///
/// # Safety
/// - The duties of [`SumRows`], for samples of a byte.
/// - There are at least as many samples from `at` on.
/// - The processor has the instruction set of `W`.
#[inline(always)]
unsafe fn sum_pairs<W: Words, const P: usize>(call: &SumRows, at: usize) {
    let pair = 2 * W::LANES;
    // SAFETY: the samples, the weights and the sums lie within what the duties of `SumRows` name, as the caller
    // guarantees. The processor has the instructions.
    unsafe {
        let mut sums = [[W::splat(lost(call.rows, MOST_LOST_BYTES)); 2]; P];
        let mut input = call.input.add(at);
        for row in 0..call.rows {
            let weight = W::splat(*call.weights.add(row));
            for (index, sums) in sums.iter_mut().enumerate() {
                let [first, second] = W::load_bytes(input.add(index * pair));
                *sums = [sums[0].add(first.scaled(weight)), sums[1].add(second.scaled(weight))];
            }
            input = input.wrapping_add(call.stride);
        }
        for (index, sums) in sums.into_iter().enumerate() {
            W::store_pair(sums, call.out.add(at + index * pair));
        }
    }
}

/// Adds rows of 16-bit samples: see [`SumRows`]. `S` has one lane.
///
/// # Safety
/// - The duties of [`SumRows`], for samples of two bytes.
/// - The processor has the instruction sets of `W` and `S`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn sum_words<W: Words, S: Words>(call: &SumRows) {
    // SAFETY: all samples that are summed lie within the rows: the last vector only where as many remain. All other
    // duties are those of this function.
    unsafe {
        if call.samples < W::LANES {
            return (0..call.samples).for_each(|at| sum_vectors::<S, 1>(call, at));
        }
        let mut at = 0;
        while at + PAIRS * W::LANES <= call.samples {
            sum_vectors::<W, PAIRS>(call, at);
            at += PAIRS * W::LANES;
        }
        while at < call.samples {
            sum_vectors::<W, 1>(call, at.min(call.samples - W::LANES));
            at += W::LANES;
        }
    }
}

/// Sums of `N` vectors from sample `at` on.
///
/// # Safety
/// - The duties of [`SumRows`], for samples of two bytes.
/// - There are at least as many samples from `at` on.
/// - The processor has the instruction set of `W`.
#[inline(always)]
unsafe fn sum_vectors<W: Words, const N: usize>(call: &SumRows, at: usize) {
    // SAFETY: the samples, the weights and the sums lie within what the duties of `SumRows` name, as the caller
    // guarantees. The processor has the instructions.
    unsafe {
        let mut sums = [W::splat(lost(call.rows, MOST_LOST_WORDS)); N];
        let mut input = call.input.add(2 * at);
        for row in 0..call.rows {
            let weight = W::splat(*call.weights.add(row));
            for (index, sum) in sums.iter_mut().enumerate() {
                let samples = W::load_words(input.cast::<u16>().add(index * W::LANES), call.shift);
                *sum = sum.add(samples.scaled(weight));
            }
            input = input.wrapping_add(call.stride);
        }
        for (index, sum) in sums.into_iter().enumerate() {
            sum.store(call.out.add(at + index * W::LANES));
        }
    }
}

/// Transposes squares: see [`Transpose`], for a band of `W::LANES`.
///
/// # Safety
/// - The duties of [`Transpose`].
/// - The processor has the instruction set of `W`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn transpose<W: Words>(call: &Transpose) {
    let Transpose { from, from_stride, from_step, to, to_stride, to_step, squares } = *call;
    for square in 0..squares {
        let (from, to) = (from.wrapping_add(square * from_step), to.wrapping_add(square * to_step));
        // SAFETY: the square is readable and the transposed one writable by the duties of `Transpose`, and the processor
        // has the instructions.
        unsafe { W::transpose(from, from_stride, to, to_stride) }
    }
}

/// Adds columns: see [`SumColumns`], for columns of `W::LANES` sums.
///
/// # Safety
/// - The duties of [`SumColumns`].
/// - The processor has the instruction set of `W`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn sum_columns<W: Words>(call: &SumColumns) {
    let SumColumns { columns, starts, step, taps, mut weights, pixels, out } = *call;
    for pixel in 0..pixels {
        // SAFETY: the start, the weights and the columns are readable, and the pixel's column is writable, by the duties of
        // `SumColumns`. The processor has the instructions.
        unsafe {
            let mut column = columns.add(*starts.add(pixel) as usize * W::LANES);
            let mut sum = W::splat(0);
            for tap in 0..taps {
                sum = sum.add(W::load(column).product(W::splat(*weights.add(tap))));
                column = column.wrapping_add(step * W::LANES);
            }
            sum.store(out.add(pixel * W::LANES));
        }
        weights = weights.wrapping_add(taps);
    }
}

/// Makes colours: see [`Colours`]. `S` has one lane.
///
/// # Safety
/// - The duties of [`Colours`].
/// - The processor has the instruction sets of `W` and `S`.
#[inline(always)]
pub(in crate::kernels::isa) unsafe fn colours<W: Words, S: Words>(call: &Colours<'_>) {
    let lanes = W::Numbers::LANES;
    // SAFETY: all pixels lie within the row: the last vector only if there are as many. All other duties are those of
    // this function.
    unsafe {
        if call.pixels < lanes {
            return (0..call.pixels).for_each(|pixel| colours_at::<S>(call, pixel));
        }
        let mut pixel = 0;
        while pixel < call.pixels {
            colours_at::<W>(call, pixel.min(call.pixels - lanes));
            pixel += lanes;
        }
    }
}

/// The colours of a vector of pixels, starting at `pixel`.
///
/// # Safety
/// - The duties of [`Colours`].
/// - There are at least as many pixels from `pixel` on.
/// - The processor has the instruction set of `W`.
#[inline(always)]
unsafe fn colours_at<W: Words>(call: &Colours<'_>, pixel: usize) {
    // SAFETY: the sums and the colours lie within what the duties of `Colours` name, as the caller guarantees. The
    // processor has the instructions.
    unsafe {
        let mut colours = [W::Numbers::splat(0.0); 3];
        for (colour, offset) in colours.iter_mut().zip(call.map.offset) {
            *colour = W::Numbers::splat(offset);
        }
        for (component, sums) in call.sums.into_iter().enumerate() {
            let sums = W::numbers(sums.add(pixel));
            for (colour, weights) in colours.iter_mut().zip(&call.map.weights) {
                *colour = sums.mul_add(W::Numbers::splat(weights[component]), *colour);
            }
        }
        for (index, colour) in colours.iter_mut().enumerate() {
            let (low, high) = (W::Numbers::splat(call.map.low[index]), W::Numbers::splat(call.map.high[index]));
            *colour = clamp(*colour, low, high);
        }
        W::store_colours(colours, call.out.add(3 * pixel));
    }
}
