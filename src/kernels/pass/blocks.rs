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
/// Values of a row that are written at one time: what they are written to stays in the first-level cache.
const RUN: usize = 32;

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
    /// Packs `weight`, `[channels][depth / taps][taps]`, with a bias for each of the output channels: the contraction
    /// runs over taps, then over what is read.
    pub(in super::super) fn pack(
        kernels: &Kernels,
        weights: &mut Weights,
        channels: usize,
        taps: usize,
        weight: &[f32],
        bias: &[f32],
    ) -> Self {
        let depth = weight.len() / channels.max(1);
        let mut blocks = Vec::new();
        let mut channel = 0;
        for width in kernels.widths(channels) {
            let lanes = width.min(channels - channel);
            let rows = &weight[channel * depth..][..lanes * depth];
            let packed = weights.fill(depth * width, |to| interleave(to, width, rows, depth, taps));
            let bias = weights.push(width, |lane| bias.get(channel + lane).copied().unwrap_or(0.0));
            blocks.push(Block { channel, width, weights: packed, bias });
            channel += width;
        }
        Self::of(kernels, blocks, depth)
    }

    /// Blocks with weights that are packed.
    pub(super) fn of(kernels: &Kernels, blocks: Vec<Block>, depth: usize) -> Self {
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

/// Writes rows of `depth` values, one for each lane, as `[depth][width]`. Groups of `taps` values are taken apart: the
/// first of all groups come first, then the second ones.
pub(super) fn interleave(to: &mut [f32], width: usize, rows: &[f32], depth: usize, taps: usize) {
    let groups = depth / taps.max(1);
    for first in (0..groups).step_by(RUN) {
        let count = RUN.min(groups - first);
        for (lane, row) in rows.chunks_exact(depth.max(1)).enumerate() {
            let run = &row[first * taps..][..count * taps];
            for tap in 0..taps {
                let at = (tap * groups + first) * width + lane;
                let to = to[at..].iter_mut().step_by(width);
                let from = run[tap..].iter().step_by(taps);
                to.zip(from).for_each(|(to, from)| *to = *from);
            }
        }
    }
}
