//! Products of rows of segments with weights, tile by tile.

use super::clamp::Clamp;
use crate::kernels::parts::even_parts;
use crate::kernels::table::Kernels;
use crate::kernels::tile::{Segment, Tile};

/// Rows of segments, to be multiplied by weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    /// The segments.
    pub(super) segments: &'a [Segment],
    /// Number of channels of all of them.
    pub(super) depth: usize,
    /// Number of the first row.
    pub(super) first: usize,
    /// Number of rows.
    pub(super) length: usize,
}

impl Rows<'_> {
    /// Whether the segments lie within the contraction: weights are not read beyond it.
    fn are_within(&self) -> bool {
        self.segments.iter().all(|Segment { channels, first, .. }| first + channels <= self.depth)
    }
}

/// A matrix in memory: its first value, and values from one row to the next.
pub(super) type Matrix<T> = (T, usize);

/// A product of rows with weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product<'a> {
    /// The rows.
    pub(super) rows: Rows<'a>,
    /// `[depth][width]`.
    pub(super) weights: *const f32,
    /// Number of output channels.
    pub(super) width: usize,
    /// Added to every row.
    pub(super) bias: Matrix<*const f32>,
    /// Where the results go.
    pub(super) out: Matrix<*mut f32>,
    /// The clamping of results.
    pub(super) clamp: Clamp,
    /// Prefetched meanwhile: the address and the number of values.
    pub(super) ahead: (*const f32, usize),
}

impl Product<'_> {
    /// Computes it, tile by tile.
    ///
    /// # Safety
    /// - The segments are readable for the rows, and their channels lie within the contraction.
    /// - The weights are readable for `width` values for every number of the contraction.
    /// - The bias is readable for `width` values in every row.
    /// - The output is writable for `width` values in every row, and overlaps nothing that is read except the bias,
    ///   which it may equal, row by row.
    pub(super) unsafe fn run(&self, kernels: Kernels) {
        let Self { rows: Rows { segments, depth, first, length }, weights, width, clamp, .. } = *self;
        let ((bias, bias_stride), (out, out_stride), (ahead, fetched)) = (self.bias, self.out, self.ahead);
        let kernels = kernels.products(width);
        debug_assert!(self.rows.are_within(), "{:?}", self.rows);
        debug_assert!(length <= 1 || out_stride >= width, "{self:?}");
        let mut done = 0;
        for rows in even_parts(length, kernels.most_rows()) {
            let tile = Tile {
                segments: segments.as_ptr(),
                count: segments.len(),
                row: first + done,
                weights,
                bias: bias.wrapping_add(done * bias_stride),
                bias_stride,
                out: out.wrapping_add(done * out_stride),
                out_stride,
                low: clamp.low,
                high: clamp.high,
                // If the product overflows on a 32-bit processor, other lines are prefetched.
                prefetch: ahead.wrapping_add(fetched.wrapping_mul(done) / length),
                prefetch_step: fetched.wrapping_mul(rows).div_ceil((length * depth).max(1)),
            };
            // SAFETY: the duties of `Tile` are those of this function for some of the rows; there are `count` segments.
            unsafe { kernels.run(rows, &tile) }
            done += rows;
        }
    }
}
