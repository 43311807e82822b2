//! Packed weights of the products in all points of a transform, which have the same blocks and no bias.

use std::ops::Range;

use super::kept::Kept;
use super::tiles::{Scheme, TAPS, plane_length};
use crate::kernels::error::PassError;
use crate::kernels::memory::Weights;
use crate::kernels::parts;
use crate::kernels::pass::blocks::{Block, Blocks, interleave};
use crate::kernels::pass::clamp::Clamp;
use crate::kernels::pass::place::{Place, Scratch};
use crate::kernels::pass::product::{Product, Rows};
use crate::kernels::pass::segments::Segments;
use crate::kernels::size::{product, sum};
use crate::kernels::table::Kernels;
use crate::kernels::tile::WinogradWeights;

/// Length of the contraction for which taps are transformed at a time: they stay in the first-level cache.
const RUN: usize = 32;

/// Bytes of transformed weights that wait for their products: they stay in the second-level cache meanwhile.
const TRANSFORMED_BYTES: usize = 384 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Planes {
    scheme: Scheme,
    /// The blocks: those of the first plane, or with `[depth][TAPS][width]` weights.
    blocks: Blocks,
    form: PackedForm,
}

#[derive(Debug, Clone, Copy)]
enum PackedForm {
    /// `[plane][block][depth][width]`, with planes this many values apart.
    Points(usize),
    /// `[block][depth][TAPS][width]`, of which this many rows of planes are transformed at a time.
    Taps(usize),
}

/// The content of a block's lanes: one row of `length` values per lane.
#[derive(Debug, Clone, Copy)]
struct Lanes<'a> {
    values: &'a [f32],
    length: usize,
}

/// Weights for the products of a plane and a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Factors {
    /// `[depth][width]`.
    weights: *const f32,
    /// Prefetched meanwhile: the address and the number of values.
    ahead: (*const f32, usize),
}

impl Planes {
    /// Packs `weight`, `[channels][depth][TAPS]`.
    ///
    /// # Errors
    /// If the weights do not fit into memory.
    pub(super) fn pack(
        kernels: Kernels,
        weights: &mut Weights,
        scheme: Scheme,
        channels: usize,
        weight: &[f32],
        kept: Kept,
    ) -> Result<Self, PassError> {
        let length = weight.len() / channels.max(1);
        let depth = length / TAPS;
        let bias = weights.push(kernels.most_steps() * kernels.step(), |_| 0.0)?;
        let mut channel = 0;
        let mut blocks: Vec<Block> = Vec::new();
        for width in kernels.widths(channels) {
            blocks.push(Block { bias, ..Block::new(channel, width, false) });
            channel += width;
        }
        let lanes = |block: &Block| {
            let end = channels.min(block.channel + block.width);
            Lanes { values: &weight[block.channel * length..end * length], length }
        };
        let form = match kept {
            Kept::Taps => {
                for block in &mut blocks {
                    let (width, rows) = (block.width, lanes(block).values);
                    let values = product(&[length, width])?;
                    block.weights = weights.fill(values, |to| interleave(to, width, rows, length, 1))?;
                }
                let widest = blocks.iter().map(|block| block.width).max().unwrap_or(0);
                let row = product(&[scheme.points(), depth, widest, size_of::<f32>()])?.max(1);
                PackedForm::Taps((TRANSFORMED_BYTES / row).clamp(1, scheme.points()))
            }
            Kept::Points => {
                // Where the blocks begin in a plane.
                let (mut starts, mut plane) = (Vec::with_capacity(blocks.len()), 0);
                for block in &blocks {
                    starts.push(plane);
                    plane = sum([plane, Weights::taken(product(&[depth, block.width])?)?])?;
                }
                let all = weights.fill(product(&[scheme.planes(), plane])?, |to| {
                    for (block, start) in blocks.iter().zip(&starts) {
                        points(kernels, scheme, block, lanes(block), &mut to[*start..], plane);
                    }
                })?;
                for (block, start) in blocks.iter_mut().zip(starts) {
                    block.weights = all.part(start, (scheme.planes() - 1) * plane + depth * block.width);
                }
                PackedForm::Points(plane)
            }
        };
        Ok(Self { scheme, blocks: Blocks::of(kernels, blocks, depth), form })
    }

    /// The blocks.
    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks.blocks
    }

    /// Length of the contraction.
    pub(super) fn depth(&self) -> usize {
        self.blocks.depth
    }

    /// The form in which they are stored.
    pub(super) fn kept(&self) -> Kept {
        match self.form {
            PackedForm::Points(_) => Kept::Points,
            PackedForm::Taps(_) => Kept::Taps,
        }
    }

    /// Values of scratch for transformed weights.
    ///
    /// # Errors
    /// If it overflows.
    pub(super) fn scratch(&self) -> Result<usize, PassError> {
        let PackedForm::Taps(rows) = self.form else { return Ok(0) };
        let widest = self.blocks().iter().map(|block| block.width).max().unwrap_or(0);
        product(&[plane_length(product(&[self.depth(), widest])?)?, rows, self.scheme.points()])
    }

    /// Values from one plane of transformed weights to the next: at most as for the widest block, for which
    /// [`Self::scratch`] has checked it.
    fn plane(&self, width: usize) -> usize {
        plane_length(self.depth() * width).unwrap_or(usize::MAX)
    }

    /// The rows of planes in the order in which they are used, for a block stored as taps.
    pub(super) fn runs(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let points = self.scheme.points();
        let most = if let PackedForm::Taps(rows) = self.form { rows } else { points };
        parts::runs(0..points, most)
    }

    /// Transforms a block in the rows of planes `rows` into `scratch`, if weights are stored as taps, and returns their
    /// address.
    ///
    /// # Safety
    /// - The rows are a run of [`Self::runs`].
    /// - The scratch is writable, and nothing else uses it.
    pub(super) unsafe fn transform(
        &self,
        place: &Place<'_>,
        block: &Block,
        rows: &Range<usize>,
        scratch: Scratch,
    ) -> *const f32 {
        let plane = self.plane(block.width);
        let out = scratch.room(plane.saturating_mul(rows.len() * self.scheme.points()));
        let taps = place.weights.at(block.weights, 0, self.depth() * TAPS * block.width);
        for (index, row) in rows.clone().enumerate() {
            let call = WinogradWeights {
                taps,
                depth: self.depth(),
                lanes: block.width,
                row,
                out: out.wrapping_add(index * self.scheme.points() * plane),
                plane,
            };
            // SAFETY: the taps of the block were packed in this form, the scratch has room for as many planes, and the
            // row is one of the points.
            unsafe { place.kernels.winograd_weights(self.scheme.kernel(), &call) }
        }
        out.cast_const()
    }

    /// The weights of plane `point` and block number `index` of `blocks`, which are used plane by plane, and block by
    /// block within each.
    pub(super) fn packed(&self, place: &Place<'_>, point: usize, blocks: &[Block], index: usize) -> Factors {
        let plane = if let PackedForm::Points(plane) = self.form { plane } else { 0 };
        let (point_ahead, block_ahead) = match blocks.get(index + 1) {
            Some(next) => (point, next),
            None => (point + 1, &blocks[0]),
        };
        let ahead = place.weights.ahead(block_ahead.weights, point_ahead * plane);
        let length = self.depth() * blocks[index].width;
        Factors { weights: place.weights.at(blocks[index].weights, point * plane, length), ahead: (ahead, length) }
    }

    /// The weights of plane `point`, which [`Self::transform`] has put at `from` with the others of `rows`. A share of
    /// the taps of the next block is prefetched meanwhile.
    pub(super) fn transformed(
        &self,
        place: &Place<'_>,
        point: usize,
        block: &Block,
        rows: &Range<usize>,
        from: *const f32,
    ) -> Factors {
        let length = self.depth() * TAPS * block.width;
        let share = length.div_ceil(self.scheme.planes());
        let ahead = place.weights.ahead(block.weights, length + point * share);
        let index = point - rows.start * self.scheme.points();
        Factors { weights: from.wrapping_add(index * self.plane(block.width)), ahead: (ahead, share) }
    }

    /// The products of the first `count` rows of the segments with the weights of a plane and a block: the `i`-th row
    /// goes to `out + i * out_stride`.
    ///
    /// # Safety
    /// - The segments are readable for these rows, and their contraction is the packed one.
    /// - The factors are those of this block.
    /// - `out` is writable for the width of the block in as many rows, and overlaps nothing that is read.
    #[allow(clippy::too_many_arguments, reason = "each is a part of one product")]
    pub(super) unsafe fn product(
        &self,
        place: &Place<'_>,
        block: &Block,
        factors: Factors,
        segments: &Segments,
        count: usize,
        out: *mut f32,
        out_stride: usize,
    ) {
        let product = Product {
            rows: Rows { segments: segments.as_slice(), depth: self.depth(), first: 0, length: count },
            weights: factors.weights,
            width: block.width,
            bias: (place.weights.at(block.bias, 0, block.width), 0),
            out: (out, out_stride),
            clamp: Clamp::NONE,
            ahead: factors.ahead,
        };
        // SAFETY: the segments are readable and the output is writable for these rows, the factors are weights of the
        // block for the whole contraction, and the bias was requested for its width.
        unsafe { product.run(place.kernels) }
    }
}

/// Writes the weights of a block, whose lanes are rows of `[depth][TAPS]`, in all points: `[plane][depth][width]`, with
/// planes `plane` values apart.
fn points(kernels: Kernels, scheme: Scheme, block: &Block, lanes: Lanes<'_>, to: &mut [f32], plane: usize) {
    let (width, depth) = (block.width, lanes.length / TAPS);
    debug_assert!(width.is_multiple_of(kernels.step()), "{block:?}");
    let mut taps = vec![0.0; RUN * TAPS * width];
    for first in (0..depth).step_by(RUN) {
        let depth = RUN.min(depth - first);
        for (lane, row) in lanes.values.chunks_exact(lanes.length).enumerate() {
            let from = &row[first * TAPS..][..depth * TAPS];
            let to = taps[lane..].iter_mut().step_by(width);
            to.zip(from).for_each(|(to, from)| *to = *from);
        }
        for row in 0..scheme.points() {
            let start = row * scheme.points() * plane + first * width;
            let end = start + (scheme.points() - 1) * plane + depth * width;
            let out = to[start..end].as_mut_ptr();
            let call = WinogradWeights { taps: taps.as_ptr(), depth, lanes: width, row, out, plane };
            // SAFETY: the taps have room for the block, the slice reaches to the end of the last plane of the row, and
            // the row is one of the points.
            unsafe { kernels.winograd_weights(scheme.kernel(), &call) }
        }
    }
}
