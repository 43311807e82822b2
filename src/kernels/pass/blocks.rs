//! Packed weights of products: blocks of output channels, each as its tile reads it.

use std::ops::Range;

use super::super::memory::Weights;
use super::super::tile::Tile;
use super::super::{Kernels, even_parts};
use super::conv::Segments;
use super::{Clamp, Place};

/// Rows that a block is used for before the next one is: several tiles of every instruction set, so that its weights
/// are read from the first-level cache for all but one, and few enough to keep their inputs in the second. Whole tiles.
const CHUNK: usize = 56;

/// Some output channels, and where their weights are.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Block {
    /// The first output channel.
    pub(in super::super) channel: usize,
    /// Number of output channels, with those that only fill the last step.
    pub(in super::super) width: usize,
    /// Where `[k][width]` weights begin.
    pub(in super::super) weights: usize,
    /// Where `[width]` biases begin.
    pub(in super::super) bias: usize,
}

/// The blocks of all output channels, in order.
#[derive(Debug)]
pub(in super::super) struct Blocks {
    pub(in super::super) blocks: Vec<Block>,
    /// Length of the contraction.
    pub(in super::super) depth: usize,
    /// Most rows of a tile.
    rows: usize,
}

impl Blocks {
    /// Packs weights for `channels` output channels and a contraction of `depth`; `weight(channel, k)`.
    pub(in super::super) fn pack(
        kernels: &Kernels,
        weights: &mut Weights,
        channels: usize,
        depth: usize,
        weight: impl Fn(usize, usize) -> f32,
        bias: impl Fn(usize) -> f32,
    ) -> Self {
        let mut blocks = Vec::new();
        let mut channel = 0;
        for width in kernels.widths(channels) {
            let at = |lane: usize| Some(channel + lane).filter(|channel| *channel < channels);
            let packed =
                weights.push(depth * width, |index| at(index % width).map_or(0.0, |c| weight(c, index / width)));
            let bias = weights.push(width, |lane| at(lane).map_or(0.0, &bias));
            blocks.push(Block { channel, width, weights: packed, bias });
            channel += width;
        }
        Self::of(kernels, blocks, depth)
    }

    fn of(kernels: &Kernels, blocks: Vec<Block>, depth: usize) -> Self {
        let rows = blocks.iter().map(|block: &Block| kernels.products(block.width).len()).max().unwrap_or(1);
        Self { blocks, depth, rows }
    }

    /// Most rows of a tile.
    pub(in super::super) fn rows(&self) -> usize {
        self.rows
    }

    /// The products of `count` rows of the segments, from row `from` on, with the weights of `group`: the
    /// `i`-th goes to `out + i * out_stride`, from the first channel of the group on.
    ///
    /// # Safety
    /// The segments are readable for these rows, and `out` is writable for the widths of the group in as
    /// many. The contraction of the segments is the one that was packed. Nothing written is read.
    #[allow(clippy::too_many_arguments, reason = "each is a part of one product")]
    pub(in super::super) unsafe fn product(
        &self,
        place: &Place<'_>,
        group: &[Block],
        segments: &Segments,
        from: usize,
        count: usize,
        out: *mut f32,
        out_stride: usize,
        clamp: Clamp,
    ) {
        let first = group.first().map_or(0, |block| block.channel);
        let mut row = 0;
        while row < count {
            // What is left is not worth a turn of its own when it is little.
            let chunk = if count - row <= CHUNK + CHUNK / 2 { count - row } else { CHUNK };
            for block in group {
                let kernels = place.kernels.products(block.width);
                // The block behind this one is fetched while this one is used, evenly over its rows.
                let length = self.depth * block.width;
                let next = block.weights + length;
                let mut done = 0;
                for rows in even_parts(chunk, kernels.len()) {
                    let at = row + done;
                    let tile = Tile {
                        segments: segments.first(),
                        count: segments.count(),
                        row: from + at,
                        weights: place.weights.at(block.weights),
                        bias: place.weights.at(block.bias),
                        out: out.wrapping_add(at * out_stride + block.channel - first),
                        out_stride,
                        low: clamp.low,
                        high: clamp.high,
                        // A product beyond the numbers of a small processor asks for other lines.
                        prefetch: place.weights.at(next + length.wrapping_mul(at) / count),
                        prefetch_step: (block.width * rows).div_ceil(count),
                    };
                    // SAFETY: the segments are readable for these rows, the weights were packed for this
                    // block, and the caller's output has room for its width.
                    unsafe { kernels[rows - 1](&tile) }
                    done += rows;
                }
            }
            row += chunk;
        }
    }

    /// Bytes of the weights of a block.
    pub(in super::super) fn bytes(&self, block: &Block) -> usize {
        self.depth * block.width * size_of::<f32>()
    }

    /// Runs of the blocks `range` whose weights take at most `bytes` together, or of one block.
    pub(in super::super) fn groups(&self, range: Range<usize>, bytes: usize) -> impl Iterator<Item = &[Block]> {
        let mut rest = &self.blocks[range];
        std::iter::from_fn(move || {
            let (first, others) = rest.split_first()?;
            let mut total = self.bytes(first);
            let more = others.iter().take_while(|block| {
                total += self.bytes(block);
                total <= bytes
            });
            let (group, left) = rest.split_at(1 + more.count());
            rest = left;
            Some(group)
        })
    }
}

/// Packed weights of several products with the same blocks and no bias: `[plane][block][k][width]`.
#[derive(Debug)]
pub(in super::super) struct Planes {
    /// The blocks of the first plane.
    blocks: Blocks,
    /// Values from one plane to the next.
    plane: usize,
}

impl Planes {
    /// Packs weights for `channels` output channels and contractions of `depth`; `weight(plane, channel, k)`.
    pub(in super::super) fn pack(
        kernels: &Kernels,
        weights: &mut Weights,
        planes: usize,
        channels: usize,
        depth: usize,
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Self {
        let bias = weights.push(kernels.gemm.len() * kernels.step, |_| 0.0);
        let mut blocks = Vec::new();
        let mut plane = 0;
        for index in 0..planes {
            let mut channel = 0;
            for (number, width) in kernels.widths(channels).enumerate() {
                let at = |lane: usize| Some(channel + lane).filter(|channel| *channel < channels);
                let packed =
                    weights.push(depth * width, |to| at(to % width).map_or(0.0, |c| weight(index, c, to / width)));
                match (index, number) {
                    (0, _) => blocks.push(Block { channel, width, weights: packed, bias }),
                    (1, 0) => plane = packed - blocks[0].weights,
                    // All planes are as long as the first.
                    _ => debug_assert_eq!(packed, blocks[number].weights + index * plane),
                }
                channel += width;
            }
        }
        Self { blocks: Blocks::of(kernels, blocks, depth), plane }
    }

    /// The blocks of the first plane.
    pub(in super::super) fn blocks(&self) -> &[Block] {
        &self.blocks.blocks
    }

    /// Length of the contraction.
    pub(in super::super) fn depth(&self) -> usize {
        self.blocks.depth
    }

    /// The products of the first `count` rows of the segments with the weights of a plane and a block: the
    /// `i`-th goes to `out + i * out_stride`. Those of the plane and the block `next` are fetched meanwhile.
    ///
    /// # Safety
    /// The segments are readable for these rows, and `out` is writable for the width of the block in as many.
    /// The contraction of the segments is the one that was packed. Nothing written is read.
    #[allow(clippy::too_many_arguments, reason = "each is a part of one product")]
    pub(in super::super) unsafe fn product(
        &self,
        place: &Place<'_>,
        (plane, block): (usize, &Block),
        next: (usize, &Block),
        segments: &Segments,
        count: usize,
        out: *mut f32,
        out_stride: usize,
    ) {
        let width = block.width;
        let ahead = place.weights.at(next.1.weights + next.0 * self.plane);
        let mut row = 0;
        for rows in even_parts(count, place.kernels.products(block.width).len()) {
            let tile = Tile {
                segments: segments.first(),
                count: segments.count(),
                row,
                weights: place.weights.at(block.weights + plane * self.plane),
                bias: place.weights.at(block.bias),
                out: out.wrapping_add(row * out_stride),
                out_stride,
                low: Clamp::NONE.low,
                high: Clamp::NONE.high,
                prefetch: ahead.wrapping_add(self.blocks.depth * width * row / count),
                prefetch_step: (width * rows).div_ceil(count),
            };
            // SAFETY: the segments are readable for these rows, the weights were packed for this block, and the
            // caller's output has room for its width.
            unsafe { place.kernels.products(block.width)[rows - 1](&tile) }
            row += rows;
        }
    }
}
