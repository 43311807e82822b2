//! Product kernels: every number of rows and every width, at the edges of what they may touch.

use super::guarded::Guarded;
use super::{Noise, Sum, kernels};
use crate::kernels::Kernels;
use crate::kernels::pass::Clamp;
use crate::kernels::tile::{Segment, Tile};

/// Content between the rows of the output, which must stay.
const GAP: f32 = 12345.0;

/// A contraction: the channels of every segment, and the number of values by which a row is longer.
type Shape<'a> = &'a [(usize, usize)];

/// Initial values of sums.
#[derive(Debug, Clone, Copy)]
enum Begin {
    /// The same for all rows.
    Bias,
    /// Different values for every row.
    Rows,
    /// The content of the output.
    Output,
}

/// Computes a tile in memory that ends, or begins, where the tile does.
fn tile(kernels: Kernels, steps: usize, rows: usize, shape: Shape<'_>, clamp: Clamp, begin: Begin, at_end: bool) {
    let guard = |values: &[f32]| if at_end { Guarded::behind(values) } else { Guarded::before(values) };
    let width = steps * kernels.step();
    let mut noise = Noise((rows * 100 + width) as u32);
    let depth: usize = shape.iter().map(|(channels, _)| channels).sum();
    // The first row of the tile is not the first of the segments; what lies before it must not be touched either.
    let row = 2;
    let inputs: Vec<Guarded> = shape
        .iter()
        .map(|(channels, extra)| {
            let stride = channels + extra;
            let mut values = noise.values(((rows - 1) * stride) + channels);
            for (index, value) in values.iter_mut().enumerate() {
                if index % stride.max(1) >= *channels {
                    *value = f32::NAN;
                }
            }
            guard(&values)
        })
        .collect();
    // The last segment of the shape has the first weights.
    let mut firsts = vec![0; shape.len()];
    let mut first = 0;
    for index in (0..shape.len()).rev() {
        firsts[index] = first;
        first += shape[index].0;
    }
    let segments: Vec<Segment> = (0..shape.len())
        .map(|index| {
            let stride = shape[index].0 + shape[index].1;
            let input = inputs[index].as_ptr().cast_const().wrapping_sub(row * stride);
            Segment { input, stride, channels: shape[index].0, first: firsts[index] }
        })
        .collect();
    let weights = guard(&noise.values(depth * width));
    let out_stride = width + 3;
    let mut out = vec![GAP; (rows - 1) * out_stride + width];
    let (bias, bias_stride) = match begin {
        Begin::Bias => (noise.values(width), 0),
        Begin::Rows => (noise.values((rows - 1) * (width + 1) + width), width + 1),
        Begin::Output => {
            out.chunks_mut(out_stride).for_each(|row| row[..width].copy_from_slice(&noise.values(width)));
            (out.clone(), out_stride)
        }
    };
    let (bias, out) = (guard(&bias), guard(&out));
    let call = Tile {
        segments: segments.as_ptr(),
        count: segments.len(),
        row,
        weights: weights.as_ptr(),
        bias: if matches!(begin, Begin::Output) { out.as_ptr() } else { bias.as_ptr() },
        bias_stride,
        out: out.as_ptr(),
        out_stride,
        low: clamp.low,
        high: clamp.high,
        // Inaccessible memory.
        prefetch: std::ptr::without_provenance(usize::MAX - 4096),
        prefetch_step: 4096,
    };
    // SAFETY: segments, weights, biases and output are as long as the kernel requires.
    unsafe { kernels.products(width).run(rows, &call) }
    for (index, value) in out.values().iter().enumerate() {
        let (r, channel) = (index / out_stride, index % out_stride);
        if channel >= width {
            assert_eq!(*value, GAP);
            continue;
        }
        let mut sum = Sum::of(bias.values()[r * bias_stride + channel]);
        for (segment, input) in segments.iter().zip(&inputs) {
            for k in 0..segment.channels {
                sum.add(
                    input.values()[r * segment.stride + k],
                    weights.values()[(segment.first + k) * width + channel],
                );
            }
        }
        sum.check(*value, clamp, (kernels.isa(), width, rows, shape, r, channel));
    }
}

/// Every kernel of every instruction set with `shape`, at both ends of pages.
fn all(shape: Shape<'_>, clamp: Clamp) {
    for kernels in kernels() {
        for steps in 1..=kernels.most_steps() {
            for rows in 1..=kernels.products(steps * kernels.step()).most_rows() {
                for at_end in [false, true] {
                    for begin in [Begin::Bias, Begin::Rows, Begin::Output] {
                        tile(kernels, steps, rows, shape, clamp, begin, at_end);
                    }
                }
            }
        }
    }
}

#[test]
fn products_of_any_depth() {
    for depth in (0..=9).chain([13, 15, 16, 17, 31, 63]) {
        all(&[(depth, 0)], Clamp::NONE);
        all(&[(depth, 5)], Clamp::NONE);
    }
}

#[test]
fn products_of_several_segments() {
    all(&[], Clamp::NONE);
    all(&[(3, 0), (0, 4), (8, 1), (6, 2)], Clamp::NONE);
    all(&[(26, 6), (16, 0), (1, 7), (2, 6), (5, 3)], Clamp::RELU6);
    all(&[(1, 1); 9], Clamp::RELU);
}

#[test]
fn products_are_clamped() {
    let narrow = Clamp { low: -0.25, high: 0.125 };
    for clamp in [Clamp::RELU, Clamp::RELU6, narrow, Clamp { low: f32::NEG_INFINITY, high: 0.0 }] {
        all(&[(7, 1)], clamp);
    }
}

#[test]
fn no_number_stays_no_number() {
    for kernels in kernels() {
        for width in (1..=kernels.most_steps()).map(|steps| steps * kernels.step()) {
            let (input, weights, bias) = ([f32::NAN], vec![1.0; width], vec![0.0; width]);
            let mut out = vec![0.0; width];
            let segment = Segment { input: input.as_ptr(), stride: 1, channels: 1, first: 0 };
            let call = Tile {
                segments: &raw const segment,
                count: 1,
                row: 0,
                weights: weights.as_ptr(),
                bias: bias.as_ptr(),
                bias_stride: 0,
                out: out.as_mut_ptr(),
                out_stride: width,
                low: 0.0,
                high: 6.0,
                prefetch: input.as_ptr(),
                prefetch_step: 0,
            };
            // SAFETY: there is one row of one channel, and everything else has the length of a width.
            unsafe { kernels.products(width).run(1, &call) }
            assert!(out.iter().all(|value| value.is_nan()), "{} hides that a result is none", kernels.isa());
        }
    }
}
