//! Packed weights of products: blocks of output channels, each in the order in which its tile reads it.

use std::ops::Range;

use super::clamp::Clamp;
use super::place::{Place, Scratch};
use super::product::{Product, Rows};
use super::segments::Segments;
use super::strassen::{self, Pairing, Quarters};
use crate::kernels::error::PassError;
use crate::kernels::memory::{Packed, Weights};
use crate::kernels::parts::Chunks;
use crate::kernels::size::{self, product};
use crate::kernels::table::Kernels;

/// Rows for which a block is used before the next one: several tiles of every instruction set, so that all but the
/// first read its weights from the first-level cache, and few enough to keep their inputs in the second. Whole tiles of
/// 4, 8, 14 and 28 rows.
const CHUNK: usize = 56;
/// Values of a row that are written at a time, so that the destination stays in the first-level cache.
const RUN: usize = 32;

/// Some output channels, and the position of their weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// The first output channel.
    pub(super) channel: usize,
    /// Number of output channels of a product, including those that only fill the last step.
    pub(super) width: usize,
    /// Whether it is two neighbours of that width, computed with Strassen's products.
    pub(super) is_pair: bool,
    /// `[k][width]` weights, or the result of [`strassen::pack`].
    pub(super) weights: Packed,
    /// `[width]` biases; for a pair, followed by as many more.
    pub(super) bias: Packed,
}

impl Block {
    /// A block whose weights are not packed yet.
    pub(super) fn new(channel: usize, width: usize, is_pair: bool) -> Self {
        Self { channel, width, is_pair, weights: Packed::default(), bias: Packed::default() }
    }

    /// The end of its output channels.
    pub(super) fn end(&self) -> usize {
        self.channel + self.width * if self.is_pair { 2 } else { 1 }
    }
}

/// The blocks of all output channels, in order.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) blocks: Vec<Block>,
    /// Length of the contraction.
    pub(super) depth: usize,
    /// Maximum rows of a tile.
    rows: usize,
}

impl Blocks {
    /// Packs `weight`, `[channels][depth / taps][taps]`, with a bias per output channel: the contraction runs over
    /// taps, then over input channels. Neighbours become pairs if there is a `pairing`.
    ///
    /// # Errors
    /// If the weights do not fit into memory.
    pub(super) fn pack(
        kernels: Kernels,
        weights: &mut Weights,
        channels: usize,
        taps: usize,
        weight: &[f32],
        bias: &[f32],
        pairing: Option<&Pairing>,
    ) -> Result<Self, PassError> {
        let depth = weight.len() / channels.max(1);
        let bias = |channel: usize| bias.get(channel).copied().unwrap_or(0.0);
        let mut blocks = Vec::new();
        let mut channel = 0;
        let mut widths = kernels.widths(channels).peekable();
        while let Some(width) = widths.next() {
            let pairing = pairing.filter(|_| widths.next_if_eq(&width).is_some());
            let mut block = Block::new(channel, width, pairing.is_some());
            let rows = &weight[channel * depth..block.end().min(channels) * depth];
            (block.weights, block.bias) = match pairing {
                Some(pairing) => (
                    weights.fill(strassen::length(depth, width)?, |to| strassen::pack(to, width, rows, pairing))?,
                    weights.push(2 * width, |lane| strassen::bias(lane, width, |lane| bias(channel + lane)))?,
                ),
                None => (
                    weights.fill(product(&[depth, width])?, |to| interleave(to, width, rows, depth, taps))?,
                    weights.push(width, |lane| bias(channel + lane))?,
                ),
            };
            channel = block.end();
            blocks.push(block);
        }
        Ok(Self::of(kernels, blocks, depth))
    }

    /// Blocks with packed weights.
    pub(super) fn of(kernels: Kernels, blocks: Vec<Block>, depth: usize) -> Self {
        let rows = blocks.iter().map(|block: &Block| kernels.products(block.width).most_rows()).max().unwrap_or(1);
        Self { blocks, depth, rows }
    }

    /// Maximum rows of a tile.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether some blocks are pairs.
    pub(super) fn have_pairs(&self) -> bool {
        self.blocks.iter().any(|block| block.is_pair)
    }

    /// Values of scratch for the quarters of `rows` rows: whole cache lines.
    ///
    /// # Errors
    /// If it overflows.
    pub(super) fn scratch(&self, rows: usize) -> Result<usize, PassError> {
        let mut pairs = self.blocks.iter().filter(|block| block.is_pair);
        pairs.try_fold(0, |most, block| Ok(Quarters::scratch(rows, self.depth, block.width)?.max(most)))
    }

    /// The quarters of `count` rows of the segments, from row `from` on, for [`Self::product`]; `None` if no block is a
    /// pair.
    ///
    /// # Safety
    /// - The segments are readable for these rows.
    /// - The contraction of the segments is the packed one.
    /// - The scratch is writable, and nothing else uses it.
    pub(super) unsafe fn quarters(
        &self,
        place: &Place<'_>,
        segments: &Segments,
        from: usize,
        count: usize,
        scratch: Scratch,
    ) -> Option<Quarters> {
        // SAFETY: the segments are readable for these rows, and nothing else uses the scratch. Blocks are pairs only if
        // a pairing has halved all of its segments, whose channels add up to `depth`.
        self.have_pairs().then(|| unsafe { Quarters::of(place.kernels, segments, self.depth, from, count, scratch) })
    }

    /// Multiply-accumulates executed for `count` rows, chunk by chunk.
    pub(super) fn macs(&self, count: usize) -> u64 {
        let macs = |block: &Block| {
            let (rows, depth) =
                if block.is_pair { (7 * count.div_ceil(2), self.depth / 2) } else { (count, self.depth) };
            size::count(&[rows, depth, block.width])
        };
        self.blocks.iter().map(macs).fold(0, u64::saturating_add)
    }

    /// The products of `count` rows of the segments, from row `from` on, with the weights of `group`: the `i`-th row
    /// goes to `out + i * out_stride`, starting with the first channel of the group.
    ///
    /// # Safety
    /// - The segments are readable for these rows, and their contraction is the packed one.
    /// - `quarters` are those of these rows, and are present if a block of the group is a pair.
    /// - `out` is writable for the widths of the group in as many rows, and overlaps nothing that is read.
    #[allow(clippy::too_many_arguments, reason = "each is a part of one product")]
    pub(super) unsafe fn product(
        &self,
        place: &Place<'_>,
        group: &[Block],
        segments: &Segments,
        quarters: Option<&Quarters>,
        from: usize,
        count: usize,
        out: *mut f32,
        out_stride: usize,
        clamp: Clamp,
    ) {
        debug_assert!(quarters.is_some() || group.iter().all(|block| !block.is_pair), "a pair has no quarters");
        // There are more parts than rows.
        if count == 0 {
            return;
        }
        let first = group.first().map_or(0, |block| block.channel);
        // Pairs use all rows at once.
        let length = if quarters.is_some() { count } else { CHUNK };
        let chunks = Chunks::of(count, length);
        for chunk in (0..chunks.number()).map(|index| chunks.rows(index)) {
            for block in group {
                // The next block is prefetched while this one is used, evenly over its rows.
                let length = block.weights.length();
                let next = place.weights.ahead(block.weights, length + length.wrapping_mul(chunk.start) / count);
                let biases = block.width * if block.is_pair { 2 } else { 1 };
                let product = Product {
                    rows: Rows {
                        segments: segments.as_slice(),
                        depth: self.depth,
                        first: from + chunk.start,
                        length: chunk.len(),
                    },
                    weights: place.weights.at(block.weights, 0, length),
                    width: block.width,
                    bias: (place.weights.at(block.bias, 0, biases), 0),
                    out: (out.wrapping_add(chunk.start * out_stride + block.channel - first), out_stride),
                    clamp,
                    ahead: (next, length.wrapping_mul(chunk.len()).div_ceil(count)),
                };
                match quarters {
                    // SAFETY: the segments are readable for these rows, of which these are the quarters; the weights
                    // and biases were packed for this pair, and the output is writable for both widths.
                    Some(quarters) if block.is_pair => unsafe { quarters.product(place.kernels, &product) },
                    // SAFETY: the segments are readable for these rows, the weights and biases were packed for this
                    // block, and the output is writable for its width.
                    _ => unsafe { product.run(place.kernels) },
                }
            }
        }
    }

    /// Bytes of the weights of a block.
    pub(super) fn bytes(&self, block: &Block) -> usize {
        block.weights.length().saturating_mul(size_of::<f32>())
    }

    /// Runs of the blocks `range` whose weights take at most `bytes` together, or of a single block.
    pub(super) fn groups(&self, range: Range<usize>, bytes: usize) -> impl Iterator<Item = &[Block]> {
        let mut rest = &self.blocks[range];
        std::iter::from_fn(move || {
            let (first, others) = rest.split_first()?;
            let mut total = self.bytes(first);
            let more = others.iter().take_while(|block| {
                total = self.bytes(block).saturating_add(total);
                total <= bytes
            });
            let (group, left) = rest.split_at(1 + more.count());
            rest = left;
            Some(group)
        })
    }
}

/// Writes rows of `depth` values, one row per lane, as `[depth][width]`. Groups of `taps` values are split: the first
/// values of all groups come first, then the second ones, and so on.
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
