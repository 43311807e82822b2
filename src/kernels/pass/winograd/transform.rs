//! Maps transformed to the points of a Winograd convolution.

use std::ops::Range;

use super::tiles::{Edge, Grid, Scheme, plane_length};
use crate::kernels::error::{PassError, check};
use crate::kernels::parts::share;
use crate::kernels::pass::map::{Map, check_maps};
use crate::kernels::pass::place::Place;
use crate::kernels::pass::step::{Needs, Pass};
use crate::kernels::size::{UNIT, product, round_up};
use crate::kernels::tile::WinogradInput;

/// The transform of a map in memory, which any number of convolutions may read: `[point][tile][channel]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transform {
    /// Its position, in values from the beginning.
    pub offset: usize,
    /// Rows of the map.
    pub height: usize,
    /// Pixels of a row of the map.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// The tiles.
    pub scheme: Scheme,
}

impl Transform {
    /// The transform of `map`, at `offset`.
    #[must_use]
    pub fn of(map: &Map, scheme: Scheme, offset: usize) -> Self {
        Self { offset, height: map.height, width: map.width, channels: map.channels, scheme }
    }

    /// Number of values that it takes in memory; `None` if it overflows.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        product(&[self.plane().ok()?, self.scheme.planes()]).ok()
    }

    /// The tiles.
    pub(super) fn grid(&self) -> Grid {
        Grid::new(self.scheme, self.height, self.width)
    }

    /// Values from one tile to the next.
    pub(super) fn stride(&self) -> usize {
        self.channels.next_multiple_of(UNIT)
    }

    /// Values from one plane to the next.
    pub(super) fn plane(&self) -> Result<usize, PassError> {
        let [rows, columns] = self.grid().sides.map(|side| side.tiles());
        plane_length(product(&[rows, columns, round_up(self.channels, UNIT)?])?)
    }

    /// A map in the same place that covers the whole transform: one pixel, whose channels are all values of all planes.
    pub(super) fn as_map(&self) -> Result<Map, PassError> {
        check(self.channels > 0, "pixels are too close")?;
        let length = product(&[self.plane()?, self.scheme.planes()])?;
        Ok(Map { offset: self.offset, height: 1, width: 1, channels: length, stride: length })
    }
}

/// See the module.
#[derive(Debug)]
pub(in crate::kernels) struct TransformPass {
    input: Map,
    output: Transform,
    grid: Grid,
    /// Values from one plane to the next.
    plane: usize,
}

impl TransformPass {
    pub(in crate::kernels) fn new(length: usize, input: Map, output: Transform) -> Result<Self, PassError> {
        check_maps(&[input], &output.as_map()?, length)?;
        check(Transform::of(&input, output.scheme, output.offset) == output, "the transform is of another map")?;
        check(input.stride.is_multiple_of(UNIT), "the input is not padded to whole units")?;
        Ok(Self { input, output, grid: output.grid(), plane: output.plane()? })
    }
}

impl Pass for TransformPass {
    fn algorithm(&self) -> &'static str {
        "transform"
    }

    fn needs(&self) -> Needs {
        let nowhere = Needs { values: usize::MAX, scratch: 0 };
        self.output.as_map().map_or(nowhere, |planes| Needs::of(&[self.input, planes], 0))
    }

    fn macs(&self) -> u64 {
        0
    }

    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize) {
        let Self { input, output, grid, plane } = self;
        let to = place.base.wrapping_add(output.offset);
        // SAFETY: the map lies in memory, with whole units, and the planes have room for every tile, of which this part
        // has its share.
        unsafe { transform(place, input, grid, share(grid.tiles(), part, parts), 0, to, *plane) }
    }
}

/// Transforms the tiles `tiles` of `input`, row by row, to planes at `to` whose first row of tiles is number `from`.
///
/// # Safety
/// - The map lies in memory, with pixels of whole units.
/// - The planes have room for these tiles, in whole units of the channels, and overlap no part of the map.
/// - Nothing else reads or writes these tiles.
pub(super) unsafe fn transform(
    place: &Place<'_>,
    input: &Map,
    grid: &Grid,
    tiles: Range<usize>,
    from: usize,
    to: *mut f32,
    plane: usize,
) {
    let columns = grid.sides[1].tiles();
    let row_stride = input.width * input.stride;
    for index in tiles {
        let tile = [index / columns, index % columns];
        let [rows_read, columns_read] = [grid.sides[0].read(tile[0]), grid.sides[1].read(tile[1])];
        let edges = grid.edges(tile);
        let offsets = grid.offsets(tile, from, plane, stride(input));
        let first = place.pixel(input, grid.sides[0].start(tile[0]) * input.width + grid.sides[1].start(tile[1]));
        let call = WinogradInput {
            input: first.wrapping_sub(row_stride + input.stride),
            row_stride,
            stride: input.stride,
            top: rows_read.start,
            bottom: rows_read.end,
            left: columns_read.start,
            right: columns_read.end,
            out: to,
            rows: offsets[0],
            columns: offsets[1],
            lanes: input.channels.next_multiple_of(place.kernels.step()),
        };
        debug_assert!(call.lanes <= input.stride && (tile[0] >= from), "tile {tile:?} of {input:?}");
        // SAFETY: the part of the patch that is read lies in the map, with whole steps of a pixel in its stride, and
        // the planes have room for the tile in all points of its edges.
        unsafe { place.kernels.winograd_input(edges.map(Edge::kernel), &call) }
    }
}

/// Values from one tile to the next in the transform of a map.
pub(super) fn stride(map: &Map) -> usize {
    map.channels.next_multiple_of(UNIT)
}
