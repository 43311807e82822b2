//! Packed weights of products: blocks of output channels, each as its tile reads it.

use std::ops::Range;

use super::super::memory::{Packed, Weights};
use super::super::size::product;
use super::super::tile::{Segment, Tile};
use super::super::{Kernels, even_parts};
use super::conv::Segments;
use super::strassen::{self, Pairing, Quarters};
use super::{Clamp, PassError, Place, Scratch};

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
    /// Number of output channels of a product, with those that only fill the last step.
    pub(in super::super) width: usize,
    /// Whether it is two neighbours of that width whose products are Strassen's.
    pub(in super::super) is_pair: bool,
    /// `[k][width]` weights, or what [`strassen::pack`] has packed.
    pub(in super::super) weights: Packed,
    /// `[width]` biases; those of a pair are followed by as many more.
    pub(in super::super) bias: Packed,
}

impl Block {
    /// A block whose weights are not packed yet.
    pub(super) fn new(channel: usize, width: usize, is_pair: bool) -> Self {
        Self { channel, width, is_pair, weights: Packed::default(), bias: Packed::default() }
    }

    /// Behind its last output channel.
    pub(super) fn end(&self) -> usize {
        self.channel + self.width * if self.is_pair { 2 } else { 1 }
    }
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

/// Rows of segments, to be multiplied with weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    /// The segments.
    pub(super) segments: *const Segment,
    /// How many there are.
    pub(super) count: usize,
    /// Number of channels of all of them.
    pub(super) depth: usize,
    /// Number of the first row.
    pub(super) first: usize,
    /// Number of rows.
    pub(super) length: usize,
}

impl Rows {
    /// Whether what the segments have is within the contraction: weights are read for no more.
    ///
    /// # Safety
    /// There are `count` segments.
    unsafe fn are_within(&self) -> bool {
        // SAFETY: the caller promises it.
        let segments = unsafe { std::slice::from_raw_parts(self.segments, self.count) };
        segments.iter().all(|Segment { channels, first, .. }| first + channels <= self.depth)
    }
}

/// A matrix in memory: its first value, and values from one row to the next.
pub(super) type Matrix<T> = (T, usize);

/// A product of rows with weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    /// The rows.
    pub(super) rows: Rows,
    /// `[depth][width]`.
    pub(super) weights: *const f32,
    /// Number of output channels.
    pub(super) width: usize,
    /// What is added to every row.
    pub(super) bias: Matrix<*const f32>,
    /// Where the results go.
    pub(super) out: Matrix<*mut f32>,
    /// What they are clamped to.
    pub(super) clamp: Clamp,
    /// What is fetched meanwhile: where it begins, and how many values it has.
    pub(super) ahead: (*const f32, usize),
}

impl Product {
    /// Computes it, tile by tile.
    ///
    /// # Safety
    /// What [`Tile`] asks for, for all rows.
    pub(super) unsafe fn run(&self, kernels: &Kernels) {
        let Self { rows: Rows { segments, count, depth, first, length }, weights, width, clamp, .. } = *self;
        let ((bias, bias_stride), (out, out_stride), (ahead, fetched)) = (self.bias, self.out, self.ahead);
        let kernels = kernels.products(width);
        // SAFETY: the caller's segments are there.
        debug_assert!(unsafe { self.rows.are_within() }, "{:?}", self.rows);
        let mut done = 0;
        for rows in even_parts(length, kernels.len()) {
            let tile = Tile {
                segments,
                count,
                row: first + done,
                weights,
                bias: bias.wrapping_add(done * bias_stride),
                bias_stride,
                out: out.wrapping_add(done * out_stride),
                out_stride,
                low: clamp.low,
                high: clamp.high,
                // A product beyond the numbers of a small processor asks for other lines.
                prefetch: ahead.wrapping_add(fetched.wrapping_mul(done) / length),
                prefetch_step: fetched.wrapping_mul(rows).div_ceil((length * depth).max(1)),
            };
            // SAFETY: the caller's: these are some of the rows.
            unsafe { kernels[rows - 1](&tile) }
            done += rows;
        }
    }
}

/// `count` in parts of `length`, of which the last one may be longer by half: what is left is not worth a turn of its
/// own when it is little.
pub(super) fn chunks(count: usize, length: usize) -> usize {
    (count + length / 2).saturating_sub(1).checked_div(length).unwrap_or(0).max(1)
}

/// The longest of these parts.
pub(super) fn longest(count: usize, length: usize) -> usize {
    count.min(length + length / 2)
}

/// The rows of some of these chunks.
pub(super) fn rows_of(some: Range<usize>, count: usize, length: usize) -> Range<usize> {
    let last = chunks(count, length);
    let [start, end] = [some.start, some.end].map(|chunk| if chunk == last { count } else { chunk * length });
    start..end
}

impl Blocks {
    /// Packs `weight`, `[channels][depth / taps][taps]`, with a bias for each of the output channels: the contraction
    /// runs over taps, then over what is read. Neighbours become pairs where there is a `pairing`.
    ///
    /// # Errors
    /// No memory has room for the weights.
    pub(in super::super) fn pack(
        kernels: &Kernels,
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

    /// Blocks with weights that are packed.
    pub(super) fn of(kernels: &Kernels, blocks: Vec<Block>, depth: usize) -> Self {
        let rows = blocks.iter().map(|block: &Block| kernels.products(block.width).len()).max().unwrap_or(1);
        Self { blocks, depth, rows }
    }

    /// Most rows of a tile.
    pub(in super::super) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether some are pairs.
    pub(super) fn have_pairs(&self) -> bool {
        self.blocks.iter().any(|block| block.is_pair)
    }

    /// Values of scratch for the quarters of as many rows: whole cache lines.
    ///
    /// # Errors
    /// It overflows.
    pub(super) fn scratch(&self, rows: usize) -> Result<usize, PassError> {
        let mut pairs = self.blocks.iter().filter(|block| block.is_pair);
        pairs.try_fold(0, |most, block| Ok(Quarters::scratch(rows, self.depth, block.width)?.max(most)))
    }

    /// The quarters of `count` rows of the segments, from row `from` on, for [`Self::product`]; `None` if no block
    /// is a pair.
    ///
    /// # Safety
    /// Those of [`Quarters::of`]: the contraction of the segments is the one that was packed.
    pub(super) unsafe fn quarters(
        &self,
        place: &Place<'_>,
        segments: &Segments,
        from: usize,
        count: usize,
        scratch: Scratch,
    ) -> Option<Quarters> {
        // SAFETY: the caller's.
        self.have_pairs().then(|| unsafe { Quarters::of(place.kernels, segments, self.depth, from, count, scratch) })
    }

    /// Multiply-accumulates executed for `count` rows, chunk by chunk.
    pub(super) fn macs(&self, count: usize) -> u64 {
        let macs = |block: &Block| {
            let (rows, depth) =
                if block.is_pair { (7 * count.div_ceil(2), self.depth / 2) } else { (count, self.depth) };
            super::count(&[rows, depth, block.width])
        };
        self.blocks.iter().map(macs).fold(0, u64::saturating_add)
    }

    /// The products of `count` rows of the segments, from row `from` on, with the weights of `group`: the
    /// `i`-th goes to `out + i * out_stride`, from the first channel of the group on.
    ///
    /// # Safety
    /// The segments are readable for these rows, and `out` is writable for the widths of the group in as
    /// many. The contraction of the segments is the one that was packed, and `quarters` are those of these rows.
    /// Nothing written is read.
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
        // There are more parts than rows.
        if count == 0 {
            return;
        }
        let first = group.first().map_or(0, |block| block.channel);
        // Pairs have a look at all rows.
        let length = if quarters.is_some() { count } else { CHUNK };
        for chunk in 0..chunks(count, length) {
            let chunk = rows_of(chunk..chunk + 1, count, length);
            for block in group {
                // The block behind this one is fetched while this one is used, evenly over its rows.
                let length = block.weights.length();
                let next = place.weights.ahead(block.weights, length + length.wrapping_mul(chunk.start) / count);
                let biases = block.width * if block.is_pair { 2 } else { 1 };
                let product = Product {
                    rows: Rows {
                        segments: segments.first(),
                        count: segments.count(),
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
                    // SAFETY: the segments are readable for these rows, and their sums were made; the weights were
                    // packed for this pair, and the caller's output has room for both widths.
                    Some(quarters) if block.is_pair => unsafe { quarters.product(place.kernels, &product) },
                    // SAFETY: the segments are readable for these rows, the weights were packed for this block, and
                    // the caller's output has room for its width.
                    _ => unsafe { product.run(place.kernels) },
                }
            }
        }
    }

    /// Bytes of the weights of a block.
    pub(in super::super) fn bytes(&self, block: &Block) -> usize {
        block.weights.length().saturating_mul(size_of::<f32>())
    }

    /// Runs of the blocks `range` whose weights take at most `bytes` together, or of one block.
    pub(in super::super) fn groups(&self, range: Range<usize>, bytes: usize) -> impl Iterator<Item = &[Block]> {
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
