//! Convolutions of 3 × 3 by Winograd's algorithm: tiles of the output are computed out of products in points,
//! of which there are fewer than taps of the kernel for all pixels.
//!
//! Transforms of maps are passes of their own, since one map is the input of several convolutions: it is
//! transformed once, and its transform is read by all of them.

#[cfg(test)]
mod tests;
mod tiles;
mod transform;
mod weights;

use std::ops::Range;

use super::super::memory::Weights;
use super::super::tile::{Segment, WinogradOutput};
use super::super::{Kernels, UNIT, even_parts};
use super::blocks::Block;
use super::conv::{MAX_SEGMENTS, Segments};
use super::{Clamp, Convolution, Map, Pass, PassError, Place, check, check_maps, share};
use tiles::{Grid, TAPS, plane_length};
use weights::{Factors, Planes};

pub use tiles::Scheme;
pub use transform::Transform;
pub(in super::super) use transform::TransformPass;
pub use weights::Kept;

/// Bytes of products that wait for their transform: they stay in the second-level cache meanwhile.
const PRODUCT_BYTES: usize = 256 << 10;

/// Pixels from which on parts share the rows of tiles; with fewer, they share the output channels, so that
/// weights are read once.
const PIXELS_TO_SHARE: usize = 28 * 28;

/// See the module.
#[derive(Debug)]
pub(in super::super) struct WinogradPass {
    inputs: Vec<Transform>,
    /// The planes of each input.
    planes: Vec<Map>,
    output: Map,
    grid: Grid,
    clamp: Clamp,
    weights: Planes,
    /// Where `[units * UNIT]` biases begin.
    bias: usize,
    /// Most rows of tiles whose products are in scratch.
    rows: usize,
    /// Most blocks of output channels whose products are in scratch.
    blocks: usize,
}

/// Some of the output, whose products are in scratch at one time.
#[derive(Debug)]
struct Piece<'a> {
    /// Blocks of output channels.
    blocks: &'a [Block],
    /// Rows of tiles.
    rows: Range<usize>,
    /// Values from one plane of the products to the next.
    plane: usize,
    /// Values from the products of one tile to those of the next.
    stride: usize,
}

impl WinogradPass {
    pub(in super::super) fn new(
        kernels: &'static Kernels,
        weights: &mut Weights,
        length: usize,
        inputs: &[Transform],
        layer: &Convolution<'_>,
        kept: Kept,
        output: Map,
    ) -> Result<Self, PassError> {
        let Some(first) = inputs.first() else { return Err(PassError("a convolution reads something")) };
        let planes = inputs.iter().map(Transform::as_map).collect::<Result<Vec<_>, _>>()?;
        check_maps(&planes, &output, length)?;
        let size = (output.height, output.width, first.scheme);
        let same = inputs.iter().all(|input| (input.height, input.width, input.scheme) == size);
        check(same, "the inputs and the output of a winograd convolution have one size and one scheme")?;
        check(Self::fits(layer), "only a convolution of 3 × 3 with stride 1 and padding 1 is done by winograd")?;
        let channels: usize = inputs.iter().map(|input| input.channels).sum();
        check(layer.weight.len() == output.channels * channels * TAPS, "the weight has another length")?;
        check(layer.bias.len() == output.channels, "the bias has another length")?;
        check(inputs.len() <= MAX_SEGMENTS, "the contraction has too many segments")?;

        let (scheme, grid) = (first.scheme, first.grid());
        let packed = Planes::pack(kernels, weights, scheme, output.channels, layer.weight, kept);
        let padded = output.channels.next_multiple_of(UNIT);
        let bias = weights.push(padded, |channel| layer.bias.get(channel).copied().unwrap_or(0.0));

        // Products that do not fit are made group by group, or band by band; what is read again should be little.
        let (tile_rows, count) = (grid.sides[0].tiles(), packed.blocks().len());
        let values: usize = planes.iter().map(|map| map.width * map.stride).sum();
        let products = scheme.planes() * grid.tiles() * padded * size_of::<f32>();
        let pieces = products.div_ceil(PRODUCT_BYTES);
        let (bands, groups) = if scheme.planes() * channels * padded > values {
            let groups = pieces.min(count);
            (pieces.div_ceil(groups).min(tile_rows), groups)
        } else {
            let bands = pieces.min(tile_rows);
            (bands, pieces.div_ceil(bands).min(count))
        };
        let (rows, blocks) = (tile_rows.div_ceil(bands), count.div_ceil(groups));
        let (inputs, clamp) = (inputs.to_vec(), layer.clamp);
        Ok(Self { inputs, planes, output, grid, clamp, weights: packed, bias, rows, blocks })
    }

    /// Whether a convolution is of the kind that this pass does.
    pub(in super::super) fn fits(layer: &Convolution<'_>) -> bool {
        layer.kernel == [3, 3] && layer.stride == [1, 1] && (layer.top, layer.left) == (1, 1)
    }

    /// What a part does, piece by piece: blocks of output channels, and rows of tiles.
    fn pieces(&self, part: usize, parts: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let (rows, count) = (self.grid.sides[0].tiles(), self.weights.blocks().len());
        let by_rows = self.output.pixels() >= PIXELS_TO_SHARE && self.weights.kept() == Kept::Points;
        let (rows, blocks) =
            if by_rows { (share(rows, part, parts), 0..count) } else { (0..rows, share(count, part, parts)) };
        let bands = self.rows;
        runs(blocks, self.blocks)
            .flat_map(move |group| runs(rows.clone(), bands).map(move |band| (group.clone(), band)))
    }

    /// Where the products of these blocks in these rows are.
    fn piece(&self, blocks: &Range<usize>, rows: &Range<usize>) -> Piece<'_> {
        let blocks = &self.weights.blocks()[blocks.clone()];
        let stride = blocks.iter().map(|block| block.width).sum();
        let length = rows.len() * self.grid.sides[1].tiles() * stride;
        Piece { blocks, rows: rows.clone(), plane: plane_length(length).unwrap_or(length), stride }
    }

    /// The products of a piece, in scratch.
    ///
    /// # Safety
    /// Those of [`Pass::run`]; the piece is one of this part's [`Self::pieces`].
    unsafe fn products(&self, place: &Place<'_>, piece: &Piece<'_>) {
        let blocks = piece.blocks;
        let mut segments = Segments::new();
        match self.weights.kept() {
            Kept::Points => {
                for point in 0..self.grid.scheme.planes() {
                    let count = self.segments(place, piece, point, &mut segments);
                    for (index, block) in blocks.iter().enumerate() {
                        let factors = self.weights.packed(place, point, blocks, index);
                        // SAFETY: the caller's; segments and factors are those of this plane and this block.
                        unsafe { self.product(place, piece, point, block, factors, &segments, count) }
                    }
                }
            }
            Kept::Taps => {
                let points = self.grid.scheme.points();
                let scratch = place.scratch.wrapping_add(self.product_length());
                for block in blocks {
                    for rows in self.weights.runs() {
                        // SAFETY: scratch for the weights lies behind that for the products.
                        unsafe { self.weights.transform(place, block, &rows, scratch) }
                        for point in rows.start * points..rows.end * points {
                            let count = self.segments(place, piece, point, &mut segments);
                            let factors = self.weights.transformed(place, point, block, &rows, scratch);
                            // SAFETY: the caller's; segments and factors are those of this plane and this block.
                            unsafe { self.product(place, piece, point, block, factors, &segments, count) }
                        }
                    }
                }
            }
        }
    }

    /// The tiles of a piece in a plane: what is read for them, and how many there are.
    fn segments(&self, place: &Place<'_>, piece: &Piece<'_>, point: usize, segments: &mut Segments) -> usize {
        let (slot, count) = self.grid.slots(point, &piece.rows);
        segments.clear();
        let mut first = 0;
        for (input, map) in self.inputs.iter().zip(&self.planes) {
            let stride = input.stride();
            let at = place.pixel(map, point).wrapping_add(slot * stride).cast_const();
            segments.push(Segment { input: at, stride, channels: input.channels, first });
            first += input.channels;
        }
        count
    }

    /// The products of a piece in a plane and a block.
    ///
    /// # Safety
    /// Those of [`Self::products`]; segments, their number of tiles and factors are those of the plane and the block.
    #[allow(clippy::too_many_arguments, reason = "each is a part of one product")]
    unsafe fn product(
        &self,
        place: &Place<'_>,
        piece: &Piece<'_>,
        point: usize,
        block: &Block,
        factors: Factors,
        segments: &Segments,
        count: usize,
    ) {
        let before = piece.blocks.first().map_or(0, |block| block.channel);
        let out = place.scratch.wrapping_add(point * piece.plane + block.channel - before);
        // SAFETY: the transforms have these tiles in this plane, and the plane of the scratch has room for them with
        // all units of the blocks.
        unsafe { self.weights.product(place, block, factors, segments, count, out, piece.stride) }
    }

    /// Values of scratch for the products of the largest piece: whole cache lines.
    fn product_length(&self) -> usize {
        let widest = self.weights.blocks().iter().map(|block| block.width).max().unwrap_or(0);
        let products = self.rows * self.grid.sides[1].tiles() * self.blocks * widest;
        plane_length(products).map_or(0, |plane| plane * self.grid.scheme.planes())
    }

    /// The output of a piece out of its products.
    ///
    /// # Safety
    /// Those of [`Self::products`], which were made.
    unsafe fn outputs(&self, place: &Place<'_>, piece: &Piece<'_>) {
        let Self { output, grid, .. } = self;
        let channel = piece.blocks.first().map_or(0, |block| block.channel);
        for row in piece.rows.clone() {
            for column in 0..grid.sides[1].tiles() {
                let tile = [row, column];
                let edges = grid.edges(tile);
                let [y, x] = [grid.sides[0].start(row), grid.sides[1].start(column)];
                let offsets = grid.offsets(tile, piece.rows.start, piece.plane, piece.stride);
                let call = WinogradOutput {
                    products: place.scratch,
                    rows: offsets[0],
                    columns: offsets[1],
                    bias: place.weights.at(self.bias + channel),
                    out: place.pixel(output, y * output.width + x).wrapping_add(channel),
                    row_stride: output.width * output.stride,
                    stride: output.stride,
                    height: grid.sides[0].inside(row),
                    width: grid.sides[1].inside(column),
                    lanes: piece.stride,
                    low: self.clamp.low,
                    high: self.clamp.high,
                };
                // SAFETY: the products of the tile are in scratch, and the tile in the output is this part's.
                unsafe { place.kernels.winograd_output[edges[0].kernel()][edges[1].kernel()](&call) }
            }
        }
    }
}

impl Pass for WinogradPass {
    fn algorithm(&self) -> &'static str {
        self.grid.scheme.name(self.weights.kept())
    }

    fn scratch(&self) -> usize {
        self.product_length().saturating_add(self.weights.scratch())
    }

    fn macs(&self) -> u64 {
        let all = 0..self.grid.sides[0].tiles();
        let products: usize = (0..self.grid.scheme.planes()).map(|plane| self.grid.slots(plane, &all).1).sum();
        (products * self.weights.depth() * self.output.channels.next_multiple_of(UNIT)) as u64
    }

    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize) {
        for (blocks, rows) in self.pieces(part, parts) {
            let piece = self.piece(&blocks, &rows);
            // SAFETY: the caller's; scratch is as long as the largest piece asks for.
            unsafe {
                self.products(place, &piece);
                self.outputs(place, &piece);
            }
        }
    }
}

/// `range` in runs of at most `most`, as even as can be.
fn runs(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    even_parts(range.len(), most).scan(range.start, |start, length| {
        let run = *start..*start + length;
        *start = run.end;
        Some(run)
    })
}
