//! The convolution: products in all points, piece by piece, and the output computed from them.

use std::ops::Range;

use super::kept::Kept;
use super::tiles::{Edge, Grid, Scheme, TAPS, plane_length};
use super::transform::{self, Transform};
use super::weights::{Factors, Planes};
use crate::kernels::error::{PassError, check};
use crate::kernels::memory::{Packed, Weights};
use crate::kernels::parts::{runs, share};
use crate::kernels::pass::blocks::Block;
use crate::kernels::pass::clamp::Clamp;
use crate::kernels::pass::convolution::Convolution;
use crate::kernels::pass::map::{Map, check_maps};
use crate::kernels::pass::place::{Place, Scratch};
use crate::kernels::pass::segments::{MAX_SEGMENTS, Segments};
use crate::kernels::pass::step::{Needs, Pass};
use crate::kernels::size::{UNIT, count, product, round_up, sum};
use crate::kernels::table::Kernels;
use crate::kernels::tile::{Segment, WinogradOutput};

/// Bytes of products that wait for their transform: they stay in the second-level cache meanwhile, which has 1 MB and
/// more on most x86 processors and half of that on small ARM ones.
const PRODUCT_BYTES: usize = if cfg!(target_arch = "x86_64") { 768 << 10 } else { 256 << 10 };

/// Maximum bytes of weights, and of the products of a row of tiles, for which a map is transformed strip by strip; the
/// minimum size of the map's transform is twice that.
const STRIP_BYTES: usize = 512 << 10;

/// Minimum number of pixels at which parts may share the rows of tiles; with fewer, they share the output channels, so
/// that weights are read once.
const PIXELS_TO_SHARE: usize = 28 * 28;

/// See the module.
#[derive(Debug)]
pub(in crate::kernels) struct WinogradPass {
    source: Source,
    output: Map,
    grid: Grid,
    clamp: Clamp,
    weights: Planes,
    /// `[units * UNIT]` biases.
    bias: Packed,
    /// Maximum rows of tiles with products in scratch.
    rows: usize,
    /// Maximum blocks of output channels with products in scratch.
    blocks: usize,
    /// Values of scratch.
    scratch: Lengths,
}

/// How scratch is divided, in this order.
#[derive(Debug, Clone, Copy, Default)]
struct Lengths {
    /// The products of the largest piece.
    products: usize,
    /// Transformed weights.
    weights: usize,
    /// The transform of a strip.
    strip: usize,
}

/// The input.
#[derive(Debug)]
enum Source {
    /// Transforms, each with the values from one plane to the next.
    Transforms(Vec<(Transform, usize)>),
    /// A map whose rows of tiles are transformed when needed.
    Map(Map),
}

/// A part of the output whose products are in scratch at the same time.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// Blocks of output channels.
    blocks: &'a [Block],
    /// Rows of tiles.
    rows: Range<usize>,
    /// Values from one plane of the products to the next.
    plane: usize,
    /// Values from the products of one tile to those of the next.
    stride: usize,
    /// Its products.
    products: *mut f32,
    /// Scratch for transformed weights.
    weights: Scratch,
    /// The transform of the strip that it reads.
    strip: *mut f32,
    /// Values from one plane of the strip to the next.
    strip_plane: usize,
}

impl WinogradPass {
    pub(in crate::kernels) fn new(
        kernels: Kernels,
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
        check(inputs.len() <= MAX_SEGMENTS, "the contraction has too many segments")?;
        let channels = sum(inputs.iter().map(|input| input.channels))?;
        let values = sum(planes.iter().map(|map| map.channels))?;
        let with_plane = |input: &Transform| input.plane().map(|plane| (*input, plane));
        let source = Source::Transforms(inputs.iter().map(with_plane).collect::<Result<Vec<_>, _>>()?);
        let mut pass = Self::of(kernels, weights, source, (first.grid(), channels), layer, kept, output)?;

        let (grid, padded) = (pass.grid, round_up(output.channels, UNIT)?);
        // Products that do not fit are computed group by group, or band by band; little should be read repeatedly.
        let (tile_rows, count) = (grid.sides[0].tiles(), pass.weights.blocks().len());
        let scheme = grid.scheme;
        let products = product(&[scheme.planes(), grid.tiles(), padded, size_of::<f32>()])?;
        let pieces = products.div_ceil(PRODUCT_BYTES);
        let (bands, groups) = if product(&[scheme.planes(), channels, padded])? > values {
            let groups = pieces.min(count);
            (pieces.div_ceil(groups).min(tile_rows), groups)
        } else {
            let bands = pieces.min(tile_rows);
            (bands, pieces.div_ceil(bands).min(count))
        };
        (pass.rows, pass.blocks) = (tile_rows.div_ceil(bands), count.div_ceil(groups));
        pass.with_scratch()
    }

    /// The same for a map without other readers, transformed strip by strip.
    pub(in crate::kernels) fn in_strips(
        kernels: Kernels,
        weights: &mut Weights,
        length: usize,
        (input, scheme): (Map, Scheme),
        layer: &Convolution<'_>,
        output: Map,
    ) -> Result<Self, PassError> {
        check_maps(&[input], &output, length)?;
        check(input.stride.is_multiple_of(UNIT), "the input is not padded to whole units")?;
        let same = (input.height, input.width) == (output.height, output.width);
        check(same, "the input and the output of a winograd convolution have one size")?;
        let grid = Grid::new(scheme, input.height, input.width);
        let mut pass =
            Self::of(kernels, weights, Source::Map(input), (grid, input.channels), layer, Kept::Points, output)?;
        let row = strip_row(&grid, output.channels).unwrap_or(usize::MAX);
        // Together with the transform, which is no larger, and the weights, they fit into the cache.
        pass.rows = (STRIP_BYTES / 2 / row.max(1)).clamp(1, grid.sides[0].tiles());
        pass.with_scratch()
    }

    /// Whether [`Self::in_strips`] pays off for a map and an output of `channels` channels: products and weights stay
    /// in the second-level cache, which the transform of the whole map would exceed.
    pub(in crate::kernels) fn suits_strips(input: &Map, scheme: Scheme, channels: usize) -> bool {
        let grid = Grid::new(scheme, input.height, input.width);
        let bytes = |values: Option<usize>| product(&[values?, size_of::<f32>()]).ok();
        let weights = product(&[input.channels, channels, scheme.planes()]).ok();
        let fits = |bytes: Option<usize>| bytes.is_some_and(|bytes| bytes <= STRIP_BYTES);
        input.height.saturating_mul(input.width) >= PIXELS_TO_SHARE
            && fits(bytes(weights))
            && fits(strip_row(&grid, channels))
            && bytes(Transform::of(input, scheme, 0).length()).is_some_and(|bytes| bytes > 2 * STRIP_BYTES)
    }

    /// The pass, with the whole output in one piece.
    fn of(
        kernels: Kernels,
        weights: &mut Weights,
        source: Source,
        (grid, channels): (Grid, usize),
        layer: &Convolution<'_>,
        kept: Kept,
        output: Map,
    ) -> Result<Self, PassError> {
        check(Self::fits(layer), "only a convolution of 3 × 3 with stride 1 and padding 1 is done by winograd")?;
        check(output.channels > 0, "a convolution writes something")?;
        check(layer.weight.len() == product(&[output.channels, channels, TAPS])?, "the weight has another length")?;
        check(layer.bias.len() == output.channels, "the bias has another length")?;
        let packed = Planes::pack(kernels, weights, grid.scheme, output.channels, layer.weight, kept)?;
        let padded = round_up(output.channels, UNIT)?;
        let bias = weights.push(padded, |channel| layer.bias.get(channel).copied().unwrap_or(0.0))?;
        let (rows, blocks) = (grid.sides[0].tiles(), packed.blocks().len());
        let scratch = Lengths::default();
        Ok(Self { source, output, grid, clamp: layer.clamp, weights: packed, bias, rows, blocks, scratch })
    }

    /// The same pass, with the scratch for its largest pieces.
    fn with_scratch(mut self) -> Result<Self, PassError> {
        let planes = self.grid.scheme.planes();
        let columns = self.grid.sides[1].tiles();
        let widest = self.weights.blocks().iter().map(|block| block.width).max().unwrap_or(0);
        let plane = plane_length(product(&[self.rows, columns, self.blocks, widest])?)?;
        let products = product(&[plane, planes])?;
        let strip = match &self.source {
            Source::Transforms(_) => 0,
            Source::Map(map) => {
                product(&[plane_length(product(&[self.rows, columns, round_up(map.channels, UNIT)?])?)?, planes])?
            }
        };
        self.scratch = Lengths { products, weights: self.weights.scratch()?, strip };
        sum([products, self.scratch.weights, strip])?;
        Ok(self)
    }

    /// Whether this pass supports a convolution.
    pub(in crate::kernels) fn fits(layer: &Convolution<'_>) -> bool {
        layer.kernel == [3, 3] && layer.stride == [1, 1] && (layer.top, layer.left) == (1, 1)
    }

    /// The work of a part, piece by piece: blocks of output channels, and rows of tiles.
    pub(super) fn pieces(&self, part: usize, parts: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let (rows, count) = (self.grid.sides[0].tiles(), self.weights.blocks().len());
        let (rows, blocks) = if self.by_rows(parts) {
            (share(rows, part, parts), 0..count)
        } else {
            (0..rows, share(count, part, parts))
        };
        let bands = self.rows;
        runs(blocks, self.blocks)
            .flat_map(move |group| runs(rows.clone(), bands).map(move |band| (group.clone(), band)))
    }

    /// Whether parts share the rows of tiles instead of the blocks of output channels: on large maps, if that divides
    /// the work as evenly, and if parts transform their own input.
    fn by_rows(&self, parts: usize) -> bool {
        if matches!(self.source, Source::Map(_)) {
            return true;
        }
        if self.output.pixels() < PIXELS_TO_SHARE || self.weights.kept() == Kept::Taps {
            return false;
        }
        let (rows, blocks) = (self.grid.sides[0], self.weights.blocks());
        let points = |tiles| rows.products(tiles);
        let width = |range: Range<usize>| blocks[range].iter().map(|block| block.width).sum();
        let most = |count, work: &dyn Fn(Range<usize>) -> usize| {
            (0..parts).map(|part| work(share(count, part, parts))).max().unwrap_or(0)
        };
        let (by_rows, by_blocks) = (most(rows.tiles(), &points), most(blocks.len(), &width));
        by_rows * width(0..blocks.len()) <= by_blocks * points(0..rows.tiles())
    }

    /// The piece for these blocks in these rows, and the position of its products.
    pub(super) fn piece(&self, place: &Place<'_>, blocks: &Range<usize>, rows: &Range<usize>) -> Piece<'_> {
        let (planes, columns) = (self.grid.scheme.planes(), self.grid.sides[1].tiles());
        let blocks = &self.weights.blocks()[blocks.clone()];
        let stride = blocks.iter().map(|block| block.width).sum();
        // No longer than those of the largest piece.
        let plane = plane_length(rows.len() * columns * stride).unwrap_or(usize::MAX);
        let strip_plane = match &self.source {
            Source::Transforms(_) => 0,
            Source::Map(map) => plane_length(rows.len() * columns * transform::stride(map)).unwrap_or(usize::MAX),
        };
        let (products, rest) = place.scratch.split(self.scratch.products);
        let (weights, strip) = rest.split(self.scratch.weights);
        Piece {
            blocks,
            rows: rows.clone(),
            plane,
            stride,
            products: products.room(plane.saturating_mul(planes)),
            weights,
            strip: strip.room(strip_plane.saturating_mul(planes)),
            strip_plane,
        }
    }

    /// Computes the products of a piece, in scratch.
    ///
    /// # Safety
    /// - The duties of [`Pass::run`]; the piece is one of this part's [`Self::pieces`].
    /// - The input of the piece is transformed.
    pub(super) unsafe fn products(&self, place: &Place<'_>, piece: &Piece<'_>) {
        let blocks = piece.blocks;
        let mut segments = Segments::new();
        match self.weights.kept() {
            Kept::Points => {
                for point in 0..self.grid.scheme.planes() {
                    let count = self.segments(place, piece, point, &mut segments);
                    for (index, block) in blocks.iter().enumerate() {
                        let factors = self.weights.packed(place, point, blocks, index);
                        // SAFETY: segments and factors are those of this plane and this block.
                        unsafe { self.product(place, piece, point, block, factors, &segments, count) }
                    }
                }
            }
            Kept::Taps => {
                let points = self.grid.scheme.points();
                for block in blocks {
                    for rows in self.weights.runs() {
                        // SAFETY: the scratch for the weights belongs to this part, and is separate from that for the
                        // products.
                        let from = unsafe { self.weights.transform(place, block, &rows, piece.weights) };
                        for point in rows.start * points..rows.end * points {
                            let count = self.segments(place, piece, point, &mut segments);
                            let factors = self.weights.transformed(place, point, block, &rows, from);
                            // SAFETY: segments and factors are those of this plane and this block.
                            unsafe { self.product(place, piece, point, block, factors, &segments, count) }
                        }
                    }
                }
            }
        }
    }

    /// The tiles of a piece in a plane: their inputs and their number.
    fn segments(&self, place: &Place<'_>, piece: &Piece<'_>, point: usize, segments: &mut Segments) -> usize {
        let (slot, count) = self.grid.slots(point, &piece.rows);
        segments.clear();
        match &self.source {
            Source::Transforms(inputs) => {
                let mut first = 0;
                for (input, plane) in inputs {
                    let stride = input.stride();
                    let at = place.base.wrapping_add(input.offset + point * plane + slot * stride).cast_const();
                    segments.push(Segment { input: at, stride, channels: input.channels, first });
                    first += input.channels;
                }
            }
            Source::Map(map) => {
                let input = piece.strip.wrapping_add(point * piece.strip_plane).cast_const();
                segments.push(Segment { input, stride: transform::stride(map), channels: map.channels, first: 0 });
            }
        }
        count
    }

    /// Transforms the input of a piece, unless it is already transformed.
    ///
    /// # Safety
    /// - The duties of [`Pass::run`]; the piece is one of this part's [`Self::pieces`].
    unsafe fn transform(&self, place: &Place<'_>, piece: &Piece<'_>) {
        let Source::Map(map) = &self.source else { return };
        let (columns, rows) = (self.grid.sides[1].tiles(), &piece.rows);
        let tiles = rows.start * columns..rows.end * columns;
        // SAFETY: the map lies in memory, with whole units, and the scratch, which belongs to this part, has room for
        // the planes of the piece.
        unsafe { transform::transform(place, map, &self.grid, tiles, rows.start, piece.strip, piece.strip_plane) }
    }

    /// Computes the products of a piece in a plane and a block.
    ///
    /// # Safety
    /// - The duties of [`Self::products`].
    /// - Segments, their number of tiles and factors are those of the plane and the block.
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
        let out = piece.products.wrapping_add(point * piece.plane + block.channel - before);
        // SAFETY: the transforms have these tiles in this plane, and all of their channels are segments, in packed
        // order. The plane of the scratch has room for these tiles with all units of the blocks.
        unsafe { self.weights.product(place, block, factors, segments, count, out, piece.stride) }
    }

    /// Computes the output of a piece from its products.
    ///
    /// # Safety
    /// - The duties of [`Pass::run`]; the piece is one of this part's [`Self::pieces`].
    /// - The products of the piece have been computed.
    pub(super) unsafe fn outputs(&self, place: &Place<'_>, piece: &Piece<'_>) {
        let Self { output, grid, .. } = self;
        let channel = piece.blocks.first().map_or(0, |block| block.channel);
        let bias = place.weights.at(self.bias, channel, piece.stride);
        for row in piece.rows.clone() {
            for column in 0..grid.sides[1].tiles() {
                let tile = [row, column];
                let edges = grid.edges(tile);
                let [y, x] = [grid.sides[0].start(row), grid.sides[1].start(column)];
                let offsets = grid.offsets(tile, piece.rows.start, piece.plane, piece.stride);
                let call = WinogradOutput {
                    products: piece.products,
                    rows: offsets[0],
                    columns: offsets[1],
                    bias,
                    out: place.pixel(output, y * output.width + x).wrapping_add(channel),
                    row_stride: output.width * output.stride,
                    stride: output.stride,
                    height: grid.sides[0].inside(row),
                    width: grid.sides[1].inside(column),
                    lanes: piece.stride,
                    low: self.clamp.low,
                    high: self.clamp.high,
                };
                debug_assert!(y + call.height <= output.height && x + call.width <= output.width, "tile {tile:?}");
                debug_assert!(channel + call.lanes <= output.stride, "tile {tile:?}");
                // SAFETY: the products of the tile are in scratch in all points of these edges, the bias was requested
                // for the channels of the piece, and the tile in the output belongs to this part in these channels.
                unsafe { place.kernels.winograd_output(edges.map(Edge::kernel), &call) }
            }
        }
    }
}

impl Pass for WinogradPass {
    fn algorithm(&self) -> &'static str {
        match self.source {
            Source::Transforms(_) => self.grid.scheme.name(self.weights.kept()),
            Source::Map(_) => self.grid.scheme.strip_name(),
        }
    }

    fn needs(&self) -> Needs {
        let Lengths { products, weights, strip } = self.scratch;
        let output = Needs::of(&[self.output], products + weights + strip);
        match &self.source {
            Source::Transforms(inputs) => inputs.iter().fold(output, |needs, (input, _)| {
                let nowhere = Needs { values: usize::MAX, scratch: 0 };
                needs.max(input.as_map().map_or(nowhere, |planes| Needs::of(&[planes], 0)))
            }),
            Source::Map(map) => output.max(Needs::of(&[*map], 0)),
        }
    }

    fn macs(&self) -> u64 {
        let all = 0..self.grid.sides[0].tiles();
        let products: usize = (0..self.grid.scheme.planes()).map(|plane| self.grid.slots(plane, &all).1).sum();
        count(&[products, self.weights.depth(), self.output.padded_channels()])
    }

    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize) {
        for (blocks, rows) in self.pieces(part, parts) {
            let piece = self.piece(place, &blocks, &rows);
            // SAFETY: the piece belongs to this part. Its input is transformed before the products are computed, and
            // these before the output.
            unsafe {
                self.transform(place, &piece);
                self.products(place, &piece);
                self.outputs(place, &piece);
            }
        }
    }
}

/// Bytes of the products of one row of tiles. `None` if it overflows.
fn strip_row(grid: &Grid, channels: usize) -> Option<usize> {
    let padded = round_up(channels, UNIT).ok()?;
    product(&[grid.sides[1].tiles(), padded, grid.scheme.planes(), size_of::<f32>()]).ok()
}
