//! Two neighbouring blocks of a pointwise convolution with seven products instead of eight: Strassen's algorithm, in
//! Winograd's form (V. Strassen, "Gaussian elimination is not optimal", 1969; S. Winograd, 1971).
//!
//! The rows of a chunk form an upper and a lower half, the channels of every segment a left and a right half, and the
//! two blocks are the halves of the output. With `A` for the input, `B` for the weights and `C` for the output:
//!
//! ```text
//! S1 = A21 + A22    T1 = B12 - B11    P1 = A11 B11    C11 = P1 + P2
//! S2 = S1 - A11     T2 = B22 - T1     P2 = A12 B21    C12 = P1 + P6 + P5 + P3
//! S3 = A11 - A21    T3 = B22 - B12    P3 = S4 B22     C21 = P1 + P6 + P7 - P4
//! S4 = A12 - S2     T4 = T2 - B21     P4 = A22 T4     C22 = P1 + P6 + P7 + P5
//!                                     P5 = S1 T1
//!                                     P6 = S2 T2
//!                                     P7 = S3 T3
//! ```
//!
//! The sums of the weights are packed. Those of the input are computed once for all blocks of a chunk, and those of the
//! products at the start of the product kernels, except for `P5`, which two outputs need. With an odd number of rows,
//! the middle one is in both halves and computed twice.

use std::ops::RangeInclusive;

use super::clamp::Clamp;
use super::map::{self, Map};
use super::place::Scratch;
use super::product::{Matrix, Product, Rows};
use super::segments::Segments;
use crate::kernels::error::PassError;
use crate::kernels::size::{LINE, product, round_up, sum};
use crate::kernels::table::Kernels;
use crate::kernels::tile::{Segment, StrassenInput, StrassenOutput};

/// Products of a pair, and matrices of weights.
const PRODUCTS: usize = 7;
/// Sums of the input.
const SUMS: usize = 4;
/// Minimum rows of a pair at which it pays off: those of two tiles.
const ROWS: usize = 28;
/// Minimum rows at which weights are used often enough to justify more of them.
const PIXELS: usize = 7 * 7;
/// Lengths of the contraction at which it pays off, and at which its rounding errors, three times those of the plain product,
/// are small: they grow with the length. No published network has longer ones.
const DEPTHS: RangeInclusive<usize> = 250..=1280;
/// Minimum output channels at which it pays off.
const CHANNELS: usize = 128;

/// Maximum number of segments that are halved.
const SEGMENTS: usize = 16;

/// How the input channels are halved.
#[derive(Debug)]
pub(super) struct Pairing {
    /// Number of channels of each segment, even.
    channels: Vec<usize>,
}

impl Pairing {
    /// The pairing for a pointwise convolution of `inputs` to `channels` output channels, with `rows` pixels computed
    /// at a time; `None` if it does not pay off.
    pub(super) fn of(inputs: &[Map], channels: usize, rows: usize) -> Option<Self> {
        let depth = map::channels(inputs).ok()?;
        let pixels = inputs.first().map_or(0, Map::pixels);
        let is_large = rows >= ROWS && pixels >= PIXELS && DEPTHS.contains(&depth) && channels >= CHANNELS;
        let is_even = inputs.len() <= SEGMENTS && inputs.iter().all(|map| map.channels.is_multiple_of(2));
        (is_large && is_even).then(|| Self { channels: inputs.iter().map(|map| map.channels).collect() })
    }
}

/// Values of the packed weights of a pair of blocks of this width.
pub(super) fn length(depth: usize, width: usize) -> Result<usize, PassError> {
    product(&[PRODUCTS, depth / 2, width])
}

/// Packs the weights of a pair in the order of use, `[product][depth / 2][width]`: `rows` has the contraction of the
/// first lanes of both blocks.
pub(super) fn pack(to: &mut [f32], width: usize, rows: &[f32], pairing: &Pairing) {
    let depth: usize = pairing.channels.iter().sum();
    let plane = depth / 2 * width;
    let at = |lane: usize, k: usize| rows.get(lane * depth + k).copied().unwrap_or(0.0);
    for lane in 0..width {
        let (mut row, mut first) = (0, 0);
        for channels in &pairing.channels {
            let half = channels / 2;
            for k in first..first + half {
                let (b11, b21) = (at(lane, k), at(lane, half + k));
                let (b12, b22) = (at(width + lane, k), at(width + lane, half + k));
                let t1 = b12 - b11;
                let t2 = b22 - t1;
                let matrices = [b11, b21, t2, b22 - b12, b21 - t2, t1, b22];
                for (index, value) in matrices.into_iter().enumerate() {
                    to[index * plane + row * width + lane] = value;
                }
                row += 1;
            }
            first += channels;
        }
    }
}

/// Value `lane` of the biases of a pair: those of the first block, then the differences of the second block from them.
pub(super) fn bias(lane: usize, width: usize, bias: impl Fn(usize) -> f32) -> f32 {
    if lane < width { bias(lane) } else { bias(lane) - bias(lane - width) }
}

/// Values from one row of sums to the next: whole cache lines.
fn stride(depth: usize) -> usize {
    (depth / 2).next_multiple_of(LINE)
}

/// Values between the products of a pair: three matrices of `rows` rows.
fn between(rows: usize, width: usize) -> usize {
    3 * width * rows
}

/// The quarters of the rows of some segments, and their sums.
pub(super) struct Quarters {
    /// The left halves of the segments' channels, in place.
    left: Segments,
    /// The right halves.
    right: Segments,
    /// The sums: `[SUMS]` planes of `[rows][depth / 2]`.
    sums: [Segment; SUMS],
    /// Length of the contraction.
    depth: usize,
    /// The scratch after the sums.
    scratch: Scratch,
    /// Rows of a half.
    rows: usize,
}

impl Quarters {
    /// The quarters of `count` rows of `segments` from row `from` on, with their sums in `scratch`.
    ///
    /// # Safety
    /// - The segments are readable for these rows.
    /// - Their channels add up to `depth`, with an even number for each.
    /// - The scratch is writable, and nothing else uses it.
    pub(super) unsafe fn of(
        kernels: Kernels,
        segments: &Segments,
        depth: usize,
        from: usize,
        count: usize,
        scratch: Scratch,
    ) -> Self {
        let (rows, out_stride) = (count.div_ceil(2), stride(depth));
        let plane = rows * out_stride;
        debug_assert_eq!(segments.as_slice().iter().map(|segment| segment.channels).sum::<usize>(), depth);
        debug_assert!(segments.as_slice().iter().all(|segment| segment.channels.is_multiple_of(2)));
        let (sums, scratch) = scratch.split(SUMS * plane);
        let sums = sums.room(SUMS * plane);
        let (mut left, mut right) = (Segments::new(), Segments::new());
        for segment in segments.as_slice() {
            let Segment { input, stride, channels, first } = *segment;
            let (channels, first) = (channels / 2, first / 2);
            left.push(Segment { input, stride, channels, first });
            right.push(Segment { input: input.wrapping_add(channels), stride, channels, first });
            let upper = input.wrapping_add(from * stride);
            let lower = upper.wrapping_add((count - rows) * stride);
            let out = sums.wrapping_add(first);
            let call = StrassenInput { upper, lower, stride, rows, channels, out, out_stride, plane };
            // SAFETY: both halves of the rows are rows of the segment, which is readable for twice `channels`, and the
            // scratch is as long as all sums, of which those of a segment are `channels` values from `first` on.
            unsafe { kernels.strassen_input(&call) }
        }
        let sum = |index| Segment {
            input: sums.wrapping_add(index * plane).cast_const(),
            stride: out_stride,
            channels: depth / 2,
            first: 0,
        };
        Self { left, right, sums: std::array::from_fn(sum), depth, scratch, rows }
    }

    /// Values of scratch for `rows` rows, and for the values between the products of a pair: whole cache lines.
    ///
    /// # Errors
    /// If it overflows.
    pub(super) fn scratch(rows: usize, depth: usize, width: usize) -> Result<usize, PassError> {
        let rows = rows.div_ceil(2);
        let sums = product(&[SUMS, round_up(depth / 2, LINE)?, rows])?;
        product(&[3, width, rows])?;
        sum([sums, round_up(between(rows, width), LINE)?])
    }

    /// The rows of a half of these segments, starting with number `first`.
    fn half<'a>(&self, segments: &'a [Segment], first: usize) -> Rows<'a> {
        Rows { segments, depth: self.depth / 2, first, length: self.rows }
    }

    /// The product of a pair of blocks: all arguments of `whole` are as for a single block, but with the weights of
    /// [`pack`] and the biases of [`bias`].
    ///
    /// # Safety
    /// - The duties of [`Product::run`], for both blocks: with as many biases and output channels again.
    /// - The weights were packed by [`pack`], and the biases are those of [`bias`].
    /// - The rows are those that these quarters were made of.
    pub(super) unsafe fn product(&self, kernels: Kernels, whole: &Product<'_>) {
        let Product { width, clamp, .. } = *whole;
        let (rows, depth) = (self.rows, self.depth / 2);
        debug_assert!(whole.rows.depth == self.depth && whole.rows.length.div_ceil(2) == rows, "{whole:?}");
        let [s1, s2, s3, s4] = self.sums.each_ref().map(|sum| self.half(std::slice::from_ref(sum), 0));
        let upper = whole.rows.first;
        let lower = upper + whole.rows.length - rows;
        let [left, right] = [self.left.as_slice(), self.right.as_slice()];
        let (a11, a12) = (self.half(left, upper), self.half(right, upper));
        let a22 = self.half(right, lower);
        let (out, stride) = whole.out;
        let c11 = (out, stride);
        let c12 = (out.wrapping_add(width), stride);
        let c21 = (out.wrapping_add((lower - upper) * stride), stride);
        let c22 = (c21.0.wrapping_add(width), stride);
        // Finally P1 + P6; the same with P7; P5.
        let scratch = self.scratch.room(between(rows, width));
        let [x, z, y] = [0, 1, 2].map(|index| (scratch.wrapping_add(index * rows * width), width));
        let kept = |(at, stride): Matrix<*mut f32>| (at.cast_const(), stride);
        let (length, fetched) = (depth * width, whole.ahead.1.div_ceil(PRODUCTS));
        let product = |index: usize, rows: Rows<'_>, bias: Matrix<*const f32>, out: Matrix<*mut f32>, clamp: Clamp| {
            let weights = whole.weights.wrapping_add(index * length);
            let ahead = (whole.ahead.0.wrapping_add(index * fetched), fetched);
            // SAFETY: the input consists of quarters of the rows or sums of them, of which there are as many, with
            // weights that were packed for them. The output consists of quarters of the output, or of matrices in
            // scratch, which has room for three; a bias is the packed one, or one of these matrices.
            unsafe { Product { rows, weights, width, bias, out, clamp, ahead }.run(kernels) }
        };
        let (first, more) = (whole.bias, (whole.bias.0.wrapping_add(width), 0));
        product(0, a11, first, x, Clamp::NONE);
        product(1, a12, kept(x), c11, clamp);
        product(2, s2, kept(x), x, Clamp::NONE);
        product(3, s3, kept(x), z, Clamp::NONE);
        product(4, a22, kept(z), c21, clamp);
        product(5, s1, more, y, Clamp::NONE);
        let call = StrassenOutput {
            product: y.0,
            sum: z.0,
            other: x.0,
            rows,
            width,
            out: c22.0,
            out_stride: stride,
            low: clamp.low,
            high: clamp.high,
        };
        // SAFETY: the three are in scratch, separate from each other and without gaps between rows. The output is
        // writable for the width of both blocks, of which this is the second.
        unsafe { kernels.strassen_output(&call) }
        product(6, s4, kept(x), c12, clamp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_for_sums_that_are_neither_short_nor_very_long() {
        let is_paired = |depth| Pairing::of(&[Map::padded(0, 8, 8, depth)], 128, 64).is_some();
        assert_eq!([100, 640, 1280, 2000].map(is_paired), [false, true, true, false]);
    }
}
