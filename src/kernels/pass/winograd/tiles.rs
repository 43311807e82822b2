//! How a map is covered with tiles, and where the values of a tile are in a transform.

use std::ops::Range;

use super::kept::Kept;
use crate::kernels::error::PassError;
use crate::kernels::size::{LINE, product};
use crate::kernels::tile::MAX_POINTS;

/// Taps of a kernel.
pub(super) const TAPS: usize = 9;

/// Cost of reading a weight in a point, in products with it: larger tiles have fewer products and more weights.
const WEIGHT_COST: usize = 6;

/// The tiles of a map: full ones, and smaller ones at its end. Rounding errors of 2 × 2 are those of the plain convolution,
/// of 4 × 4 five times and of 6 × 6 ten times as large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Tiles of 2 × 2, in 16 points.
    Two,
    /// Tiles of 4 × 4, in 36 points.
    Four,
    /// Tiles of 6 × 6, in 64 points.
    Six,
}

impl Scheme {
    /// The fastest scheme for a map: the one with the fewest products and weights.
    #[must_use]
    pub fn fastest(height: usize, width: usize) -> Self {
        let cost = |scheme: &Self| {
            let [rows, columns] = Grid::new(*scheme, height, width).sides.map(|side| side.products(0..side.tiles()));
            rows.saturating_mul(columns).saturating_add(WEIGHT_COST * scheme.planes())
        };
        [Self::Two, Self::Four, Self::Six].into_iter().min_by_key(cost).unwrap_or(Self::Four)
    }

    /// Its name in the plan, with weights in this form.
    pub(super) fn name(self, kept: Kept) -> &'static str {
        match (self, kept) {
            (Self::Two, Kept::Points) => "winograd 2",
            (Self::Two, Kept::Taps) => "winograd 2 lean",
            (Self::Four, Kept::Points) => "winograd 4",
            (Self::Four, Kept::Taps) => "winograd 4 lean",
            (Self::Six, Kept::Points) => "winograd 6",
            (Self::Six, Kept::Taps) => "winograd 6 lean",
        }
    }

    /// Its name in the plan if the map is transformed strip by strip.
    pub(super) fn strip_name(self) -> &'static str {
        match self {
            Self::Two => "winograd 2 in strips",
            Self::Four => "winograd 4 in strips",
            Self::Six => "winograd 6 in strips",
        }
    }

    /// Rows and columns of a tile.
    fn edge(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
            Self::Six => 6,
        }
    }

    /// Points in one dimension.
    pub(super) fn points(self) -> usize {
        self.edge() + 2
    }

    /// Planes of a transform: points in two dimensions.
    pub(super) fn planes(self) -> usize {
        self.points() * self.points()
    }

    /// Index of its kernel in a table.
    pub(super) fn kernel(self) -> usize {
        self.edge() / 2 - 1
    }
}

/// The rows or the columns of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edge {
    /// Outputs: 1, 2, 4 or 6.
    pub(super) length: usize,
    /// Number of its last point, which is ∞.
    last: usize,
}

impl Edge {
    /// Number of points.
    pub(super) fn points(self) -> usize {
        self.length + 2
    }

    /// Index of its kernels in a table.
    pub(super) fn kernel(self) -> usize {
        self.length / 2
    }

    /// Number of its `index`-th point.
    pub(super) fn point(self, index: usize) -> usize {
        if index + 1 < self.points() { index } else { self.last }
    }

    /// Whether it has this point.
    fn has(self, point: usize) -> bool {
        point == self.last || point + 1 < self.points()
    }
}

/// The height or width of a map, divided into edges of tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Side {
    /// Pixels.
    length: usize,
    /// The edge of all tiles but the smaller one.
    edge: Edge,
    /// Number of these tiles. The last one may extend beyond the map.
    full: usize,
    /// The smaller tile after them.
    rest: Option<Edge>,
}

impl Side {
    fn new(scheme: Scheme, length: usize) -> Self {
        let last = scheme.points() - 1;
        let edge = Edge { length: scheme.edge(), last };
        let (full, rest) = (length / edge.length, length % edge.length);
        // There are no tiles of three or five: the next larger one costs fewer products than two smaller ones.
        match [0, 1, 2, 4].into_iter().find(|smaller| rest <= *smaller && *smaller < edge.length) {
            Some(0) => Self { length, edge, full, rest: None },
            Some(smaller) => Self { length, edge, full, rest: Some(Edge { length: smaller, last }) },
            None => Self { length, edge, full: full + 1, rest: None },
        }
    }

    /// Products in all points of these tiles.
    pub(super) fn products(self, tiles: Range<usize>) -> usize {
        let rest = self.rest.filter(|_| tiles.end > self.full).map_or(0, Edge::points);
        tiles.end.min(self.full).saturating_sub(tiles.start).saturating_mul(self.edge.points()).saturating_add(rest)
    }

    /// Number of tiles.
    pub(super) fn tiles(self) -> usize {
        self.full + usize::from(self.rest.is_some())
    }

    /// The edge of a tile.
    pub(super) fn edge(self, tile: usize) -> Edge {
        self.rest.filter(|_| tile == self.full).unwrap_or(self.edge)
    }

    /// First pixel of a tile.
    pub(super) fn start(self, tile: usize) -> usize {
        tile * self.edge.length
    }

    /// Pixels of a tile that lie in the map.
    pub(super) fn inside(self, tile: usize) -> usize {
        self.edge(tile).length.min(self.length - self.start(tile))
    }

    /// The pixels that a tile reads, as far as they lie in the map, counted from the one before the tile.
    pub(super) fn read(self, tile: usize) -> Range<usize> {
        let before = usize::from(tile == 0);
        before..self.edge(tile).points().min(self.length + 1 - self.start(tile))
    }

    /// Number of tiles that have a point: these are the first ones.
    pub(super) fn having(self, point: usize) -> usize {
        self.full + usize::from(self.rest.is_some_and(|edge| edge.has(point)))
    }
}

/// The tiles of a map.
///
/// Its transform has a plane for every point of the rows and every point of the columns. A plane contains, row by row,
/// the tiles that have this point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) scheme: Scheme,
    /// The rows of tiles, and the columns.
    pub(super) sides: [Side; 2],
}

impl Grid {
    pub(super) fn new(scheme: Scheme, height: usize, width: usize) -> Self {
        Self { scheme, sides: [height, width].map(|length| Side::new(scheme, length)) }
    }

    /// Number of tiles.
    pub(super) fn tiles(&self) -> usize {
        self.sides[0].tiles() * self.sides[1].tiles()
    }

    /// The tiles of the rows `rows` that have the point of `plane`: their start in the plane, and their number.
    pub(super) fn slots(&self, plane: usize, rows: &Range<usize>) -> (usize, usize) {
        let points = self.scheme.points();
        let columns = self.sides[1].having(plane % points);
        let end = self.sides[0].having(plane / points).min(rows.end);
        (rows.start * columns, end.saturating_sub(rows.start) * columns)
    }

    /// Positions of a tile's products or inputs: for each of its points, the sum of one of the first and one of the
    /// second. Planes are `plane` values long, tiles are `stride` values apart, and the first row of tiles is number
    /// `from`.
    pub(super) fn offsets(
        &self,
        tile: [usize; 2],
        from: usize,
        plane: usize,
        stride: usize,
    ) -> [[usize; MAX_POINTS]; 2] {
        let edges = self.edges(tile);
        let mut offsets = [[0; MAX_POINTS]; 2];
        for (index, offset) in offsets[0].iter_mut().enumerate().take(edges[0].points()) {
            *offset = edges[0].point(index) * self.scheme.points() * plane;
        }
        for (index, offset) in offsets[1].iter_mut().enumerate().take(edges[1].points()) {
            let point = edges[1].point(index);
            let slot = (tile[0] - from) * self.sides[1].having(point) + tile[1];
            *offset = point * plane + slot * stride;
        }
        offsets
    }

    /// The edges of a tile.
    pub(super) fn edges(&self, tile: [usize; 2]) -> [Edge; 2] {
        [self.sides[0].edge(tile[0]), self.sides[1].edge(tile[1])]
    }
}

/// The length of a plane that holds `length` values: an odd number of cache lines. Planes that are a power of two apart
/// would share a few cache sets.
pub(super) fn plane_length(length: usize) -> Result<usize, PassError> {
    product(&[length.div_ceil(LINE) | 1, LINE])
}
