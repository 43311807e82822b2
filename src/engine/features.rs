//! The features of a picture: the values that a network's last linear layer reads, alone or beside the means of earlier
//! maps.
//!
//! A classifier of the family ends in a global average and a linear layer. What lies between them describes the whole
//! picture by a few hundred numbers. Means of an earlier map over a grid of cells also say where something is. All of it
//! is part of the graph, so that every engine computes it: a grid of n × n means is an average pool whose windows cover
//! the map, and a convolution with n × n ones and zeros turns its pixels into channels. Without the border of the map, the
//! pool is finer, and the convolution takes the means of its inner pixels.

use super::graph::{self, Activation, Builder, Conv, Graph, Linear, NodeId, Op, Padding, Shape, Window};
use super::modules;
use crate::exit::Exit;

/// Maximum cells along each side of a grid.
pub const MAX_CELLS: usize = 8;

/// Least border of a map, in pixels: the padding of the two or three convolutions before an early map reaches so far.
const LEAST_BORDER: usize = 2;

/// At most this part of a side is border. The kernel of the convolution then has at most 20 × 20 pixels,
/// whatever the size of the map.
const BORDERS: usize = 14;

/// Name of the node that joins the features of several maps.
const JOINED: &str = "features";

/// The means of a map over a grid of cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    /// The map: the name of a node, or of a module, whose last map is taken.
    pub map: String,
    /// Cells along each side, 1 to [`MAX_CELLS`].
    pub cells: usize,
    /// Whether the border of the map belongs to no cell, if the map has room for it: a 14th of each side, rounded down, at
    /// least two pixels; at the right and at the bottom also the remainder of the division. The padding of the convolutions shows there, so that the map of an even picture is
    /// not even.
    pub inner: bool,
}

/// Why a network has no features of that kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The network does not end in a linear layer.
    #[error("the network does not end in a linear layer, so it has no features")]
    NoLinear,
    /// There is no such map.
    #[error("the network has no module `{map}`; its modules are {}", modules.join(", "))]
    NoMap {
        /// The name.
        map: String,
        /// The modules with maps.
        modules: Vec<String>,
    },
    /// The grid has more cells than the map has pixels, or too many.
    #[error(
        "the map of `{map}` has {height} × {width} pixels, from which {cells} × {cells} means cannot be taken: at most one \
         for each pixel, and {MAX_CELLS} × {MAX_CELLS}, are possible"
    )]
    Cells {
        /// The map.
        map: String,
        /// Its rows.
        height: usize,
        /// Its columns.
        width: usize,
        /// Cells along each side.
        cells: usize,
    },
    /// A grid is given twice.
    #[error("the means of `{map}` over {cells} × {cells} cells are given twice")]
    Twice {
        /// The map.
        map: String,
        /// Cells along each side.
        cells: usize,
    },
    /// The nodes cannot be added.
    #[error(transparent)]
    Graph(#[from] graph::Error),
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoLinear => Exit::Data,
            Self::NoMap { .. } | Self::Cells { .. } | Self::Twice { .. } => Exit::Usage,
            Self::Graph(error) => error.exit(),
        }
    }
}

/// The network without its last linear layer, for inputs of `[height, width]`: its output are the values that the layer
/// reads, then for each of `grids` the means over its cells, channel by channel and in each from left to right and from
/// top to bottom.
///
/// # Errors
/// Any [`Error`].
pub fn features(graph: &Graph, size: [usize; 2], grids: &[Grid]) -> Result<Graph, Error> {
    let (input, _) = last_linear(graph)?;
    if grids.is_empty() {
        return Ok(graph.up_to(input)?);
    }
    let (mut builder, joined) = join(graph, input, size, grids)?;
    // A network that was exported from one with such features has a node of that name.
    let names = std::iter::once(JOINED.to_owned()).chain((2..).map(|number| format!("{JOINED}-{number}")));
    let name = names.into_iter().find(|name| graph.find(name).is_none()).unwrap_or_default();
    let output = builder.concat(&name, &joined)?;
    Ok(builder.finish(output)?)
}

/// The means of the first map whose sides are at most a quarter of the input's, over up to `cells` × `cells` cells: they
/// change with what is where in the picture, even in an untrained network. The border is left out if the map has room for
/// it. `None` if there is no such map of two pixels or more along each side.
///
/// # Errors
/// [`Error::Graph`] if the network does not support that size.
pub fn early_grid(graph: &Graph, size: [usize; 2], cells: usize) -> Result<Option<Grid>, Error> {
    let shapes = graph.shapes(size[0], size[1])?;
    Ok(early(graph, &shapes, size).and_then(|(map, end)| {
        let side = shapes[end.index()].height.min(shapes[end.index()].width);
        (side > 1).then(|| Grid { map, cells: cells.min(side), inner: true })
    }))
}

/// The first module whose map has sides of at most a quarter of the input's, and the map.
fn early(graph: &Graph, shapes: &[Shape], size: [usize; 2]) -> Option<(String, NodeId)> {
    let is_early = |end: &NodeId| {
        let (shape, node) = (shapes[end.index()], &graph.nodes()[end.index()]);
        !node.flat && shape.height <= size[0].div_ceil(4) && shape.width <= size[1].div_ceil(4)
    };
    modules::ends(graph).into_iter().find(|(_, end)| is_early(end))
}

/// The means of the last map that has at least a sixteenth of the input's rows and columns, and at least `cells` of each,
/// over `cells` × `cells` cells: they tell shapes apart, if the network has been trained, also those of things that it was
/// not trained for. None if there is no such map behind the one of [`early_grid`].
///
/// # Errors
/// [`Error::Graph`] if the network does not support that size.
pub fn late_grid(graph: &Graph, size: [usize; 2], cells: usize) -> Result<Option<Grid>, Error> {
    let shapes = graph.shapes(size[0], size[1])?;
    let Some((_, early)) = early(graph, &shapes, size) else { return Ok(None) };
    let is_late = |end: &NodeId| {
        let (shape, node) = (shapes[end.index()], &graph.nodes()[end.index()]);
        !node.flat && shape.height >= size[0].div_ceil(16).max(cells) && shape.width >= size[1].div_ceil(16).max(cells)
    };
    let found = modules::ends(graph).into_iter().rev().find(|(_, end)| is_late(end));
    Ok(found.filter(|(_, end)| *end > early).map(|(map, _)| Grid { map, cells, inner: false }))
}

/// Numbers of features: those that the last linear layer reads, then those of each grid.
///
/// # Errors
/// [`Error::NoLinear`], [`Error::NoMap`].
pub fn lengths(graph: &Graph, grids: &[Grid]) -> Result<Vec<usize>, Error> {
    let (input, _) = last_linear(graph)?;
    let channels = |id: NodeId| graph.nodes()[id.index()].channels;
    let of = |grid: &Grid| Ok(channels(map_before(graph, input, &grid.map)?).saturating_mul(grid.cells * grid.cells));
    std::iter::once(Ok(channels(input))).chain(grids.iter().map(of)).collect()
}

/// The network with another last linear layer, of the same name, which reads the [`features`].
///
/// # Errors
/// Any [`Error`]; [`Error::Graph`] if the layer reads another number of values.
pub fn with_head(graph: &Graph, size: [usize; 2], grids: &[Grid], head: Linear) -> Result<Graph, Error> {
    let (_, name) = last_linear(graph)?;
    let name = name.to_owned();
    let features = features(graph, size, grids)?;
    let input = features.output();
    let mut builder = features.into_builder();
    let output = builder.linear(&name, input, head)?;
    Ok(builder.finish(output)?)
}

/// The input of the last linear layer, and the name of the layer.
fn last_linear(graph: &Graph) -> Result<(NodeId, &str), Error> {
    match graph.node(graph.output()) {
        Some(node) if matches!(node.op, Op::Linear(_)) => {
            node.inputs.first().map(|input| (*input, &*node.name)).ok_or(Error::NoLinear)
        }
        _ => Err(Error::NoLinear),
    }
}

/// The node called `name`, or the last one of the module of that name.
fn map(graph: &Graph, name: &str) -> Option<NodeId> {
    let end = || modules::ends(graph).into_iter().find(|(module, _)| module == name).map(|(_, end)| end);
    graph.find(name).or_else(end)
}

/// The map called `name` that is not behind `input`. Vectors and pixels are no maps.
fn map_before(graph: &Graph, input: NodeId, name: &str) -> Result<NodeId, Error> {
    let is_map = |id: &NodeId| !graph.nodes()[id.index()].flat && *id <= input && *id > graph.input();
    map(graph, name).filter(is_map).ok_or_else(|| {
        let modules = modules::ends(graph).into_iter().filter(|(_, end)| is_map(end)).map(|(name, _)| name);
        Error::NoMap { map: name.to_owned(), modules: modules.collect() }
    })
}

/// The network up to `input`, and the nodes with `input` and the means.
fn join(
    graph: &Graph,
    input: NodeId,
    [height, width]: [usize; 2],
    grids: &[Grid],
) -> Result<(Builder, Vec<NodeId>), Error> {
    let shapes = graph.shapes(height, width)?;
    let mut builder = graph.up_to(input)?.into_builder();
    let mut joined = vec![input];
    for (index, grid) in grids.iter().enumerate() {
        let Grid { map, cells, inner } = grid;
        if grids[..index].contains(grid) {
            return Err(Error::Twice { map: map.clone(), cells: *cells });
        }
        let id = map_before(graph, input, map)?;
        let Shape { height, width, channels } = shapes[id.index()];
        let too_many = || Error::Cells { map: map.clone(), height, width, cells: *cells };
        let Pool { window, pixels, around } = pool([height, width], *cells, *inner).ok_or_else(too_many)?;
        let name = format!("{cells}{}", if *inner { "-inner" } else { "" });
        let means = builder.avg_pool(&format!("{map}.cells-{name}"), id, window, false)?;
        joined.push(match (pixels, around) {
            ([1, 1], 0) => means,
            _ => builder.conv(&format!("{map}.features-{name}"), means, unfold(channels, pixels, around, *cells))?,
        });
    }
    Ok((builder, joined))
}

/// A pool whose pixels are cells, or parts of cells.
struct Pool {
    window: Window,
    /// Rows and columns of its pixels that belong to cells.
    pixels: [usize; 2],
    /// Rows and columns on each side of these that belong to none.
    around: usize,
}

/// The pool of a map of `[height, width]` for `cells` × `cells` means. None if there are more cells than pixels, or more
/// than [`MAX_CELLS`].
fn pool([height, width]: [usize; 2], cells: usize, inner: bool) -> Option<Pool> {
    if !(1..=MAX_CELLS).contains(&cells) {
        return None;
    }
    // Pixels of the pool are as large as the border: the first and the last of each row and column belong to no cell, nor
    // does the remainder of the division.
    let border = [height, width].map(|side| LEAST_BORDER.max(side / BORDERS));
    let pixels = [height / border[0], width / border[1]].map(|pixels| pixels.saturating_sub(2));
    if inner && pixels[0].min(pixels[1]) >= cells {
        let window = Window { kernel: border, stride: border, padding: Padding::default() };
        return Some(Pool { window, pixels, around: 1 });
    }
    // The windows divide the map; they overlap where a side is not a multiple.
    let along = |side: usize| {
        let stride = side / cells;
        (stride > 0).then(|| (side - (cells - 1) * stride, stride))
    };
    let ((rows, down), (columns, right)) = (along(height)?, along(width)?);
    let window = Window { kernel: [rows, columns], stride: [down, right], padding: Padding::default() };
    Some(Pool { window, pixels: [cells; 2], around: 0 })
}

/// The convolution that makes a channel of each of `cells` × `cells` means, for each of `channels`: those of the
/// `[rows, columns]` pixels of a map that has `around` more on each side. Cells overlap where a side is not a multiple.
fn unfold(channels: usize, [rows, columns]: [usize; 2], around: usize, cells: usize) -> Conv {
    let kernel = [rows, columns].map(|side| side + 2 * around);
    let part = |cell: usize, side: usize| around + cell * side / cells..around + ((cell + 1) * side).div_ceil(cells);
    let mut one = Vec::with_capacity(cells * cells * kernel[0] * kernel[1]);
    for cell in 0..cells * cells {
        let (down, right) = (part(cell / cells, rows), part(cell % cells, columns));
        let share = 1.0 / (down.len() * right.len()) as f32;
        for row in 0..kernel[0] {
            let is_inside = |column: usize| down.contains(&row) && right.contains(&column);
            one.extend((0..kernel[1]).map(|column| if is_inside(column) { share } else { 0.0 }));
        }
    }
    Conv {
        in_channels: channels,
        out_channels: channels * cells * cells,
        window: Window { kernel, stride: [1, 1], padding: Padding::default() },
        groups: channels,
        weight: one.repeat(channels).into(),
        bias: vec![0.0; channels * cells * cells].into(),
        activation: Activation::None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::ops::Range;

    use super::super::reference;
    use super::*;
    use crate::engine::plan::{Plan, PlanOptions};
    use crate::engine::run::Runner;
    use crate::kernels::runtime::Threads;
    use crate::tensor::Tensor;

    fn linear(in_channels: usize, out_channels: usize) -> Linear {
        let value = |index: usize| (index * 7 % 11) as f32 / 11.0 - 0.5;
        Linear {
            in_channels,
            out_channels,
            weight: (0..in_channels * out_channels).map(value).collect(),
            bias: (0..out_channels).map(value).collect(),
        }
    }

    /// Two convolutions, a global average and a linear layer.
    fn network() -> Graph {
        let conv = |in_channels: usize, out_channels: usize, stride: usize| Conv {
            in_channels,
            out_channels,
            window: Window::square(3, stride, 1),
            groups: 1,
            weight: (0..in_channels * out_channels * 9).map(|index| (index * 5 % 13) as f32 / 13.0 - 0.4).collect(),
            bias: vec![0.1; out_channels].into(),
            activation: Activation::Relu6,
        };
        let mut builder = Builder::new();
        let input = builder.input("input", 3).unwrap();
        let first = builder.conv("base.0", input, conv(3, 8, 2)).unwrap();
        let second = builder.conv("base.1", first, conv(8, 24, 2)).unwrap();
        let mean = builder.global_average("base.2.0", second).unwrap();
        let output = builder.linear("base.2.3", mean, linear(24, 5)).unwrap();
        builder.finish(output).unwrap()
    }

    fn grid(map: &str, cells: usize) -> Grid {
        Grid { map: map.into(), cells, inner: false }
    }

    fn input(height: usize, width: usize) -> Tensor {
        let mut input = Tensor::zeros(height, width, 3);
        input
            .data_mut()
            .iter_mut()
            .enumerate()
            .for_each(|(index, value)| *value = (index * 31 % 101) as f32 / 50.0 - 1.0);
        input
    }

    fn run(graph: Graph, input: &Tensor) -> Vec<f32> {
        let plan = Plan::new(graph, input.height(), input.width(), PlanOptions::default()).unwrap();
        let mut output = vec![0.0; plan.outputs()];
        Runner::new(plan.into(), &Threads::one()).unwrap().run(input.data(), &mut output).unwrap();
        output
    }

    /// Sums of a few hundred products of numbers near 1.
    const ROUNDING: f32 = 1e-4;

    #[test]
    fn features_are_the_means_of_the_cells_of_each_map() {
        let (graph, input) = (network(), input(36, 28));
        let features = features(&graph, [36, 28], &[grid("base.0", 3), grid("base.1", 1)]).unwrap();
        let found = run(features, &input);
        assert_eq!(found.len(), 24 + 8 * 9 + 24);
        let mut maps = Vec::new();
        let visited = reference::run::<graph::Error>(&graph, &input, |_, map| {
            maps.push(map.clone());
            Ok(())
        });
        visited.unwrap();
        let mean = |name: &str, channel: usize, rows: Range<usize>, columns: Range<usize>| {
            let map = &maps[graph.find(name).unwrap().index()];
            let at =
                |row: usize, column: usize| map.values[(channel * map.shape.height + row) * map.shape.width + column];
            let pixels = rows.clone().flat_map(|row| columns.clone().map(move |column| (row, column)));
            let sum: f64 = pixels.map(|(row, column)| at(row, column)).sum();
            (sum / (rows.len() * columns.len()) as f64) as f32
        };
        for channel in 0..24 {
            let whole = mean("base.1", channel, 0..9, 0..7);
            assert!((found[channel] - whole).abs() < ROUNDING && (found[24 + 72 + channel] - whole).abs() < ROUNDING);
        }
        for channel in 0..8 {
            for cell in 0..9 {
                // 18 rows in three parts; 14 columns in three parts of 6 that begin every 4.
                let (row, column) = (cell / 3 * 6, cell % 3 * 4);
                let expected = mean("base.0", channel, row..row + 6, column..column + 6);
                assert!((found[24 + channel * 9 + cell] - expected).abs() < ROUNDING, "{channel}, {cell}");
            }
        }
    }

    #[test]
    fn a_head_on_the_features_computes_their_products() {
        let (graph, input) = (network(), input(32, 32));
        let grids = [grid("base.0", 2)];
        let read = run(features(&graph, [32, 32], &grids).unwrap(), &input);
        let head = linear(read.len(), 3);
        let found = run(with_head(&graph, [32, 32], &grids, head.clone()).unwrap(), &input);
        for (row, found) in found.iter().enumerate() {
            let weights = &head.weight[row * read.len()..(row + 1) * read.len()];
            let expected = head.bias[row] + weights.iter().zip(&read).map(|(w, x)| w * x).sum::<f32>();
            assert!((found - expected).abs() < ROUNDING, "{found} {expected}");
        }
        let plain = with_head(&graph, [32, 32], &[], linear(24, 5)).unwrap();
        assert_eq!(run(plain, &input), run(graph, &input));
    }

    #[test]
    fn the_early_map_is_the_first_of_a_quarter_of_the_size() {
        let inner = |cells: usize| Some(Grid { inner: true, ..grid("base.1", cells) });
        assert_eq!(early_grid(&network(), [32, 32], 3).unwrap(), inner(3));
        assert_eq!(early_grid(&network(), [8, 8], 3).unwrap(), inner(2));
        assert_eq!(early_grid(&network(), [4, 4], 3).unwrap(), None);
    }

    #[test]
    fn without_the_border_an_even_picture_has_even_means() {
        let mut input = Tensor::zeros(80, 96, 3);
        input.data_mut().fill(-0.7);
        let spread = |inner: bool| {
            let grid = Grid { inner, ..grid("base.1", 3) };
            let means = run(features(&network(), [80, 96], &[grid]).unwrap(), &input)[24..].to_vec();
            let widest = |cells: &[f32]| {
                let most = cells.iter().copied().fold(f32::MIN, f32::max);
                most - cells.iter().copied().fold(f32::MAX, f32::min)
            };
            means.chunks_exact(9).map(widest).fold(0.0, f32::max)
        };
        assert!(spread(false) > 1e-3 && spread(true) < 1e-6, "{} {}", spread(false), spread(true));
    }

    #[test]
    fn the_means_without_the_border_are_those_of_the_pixels_inside() {
        let (graph, input) = (network(), input(60, 52));
        let inner = Grid { inner: true, ..grid("base.1", 2) };
        let found = run(features(&graph, [60, 52], &[inner]).unwrap(), &input);
        let mut maps = Vec::new();
        let visited = reference::run::<graph::Error>(&graph, &input, |_, map| {
            maps.push(map.clone());
            Ok(())
        });
        visited.unwrap();
        let map = &maps[graph.find("base.1").unwrap().index()];
        // 15 × 13 pixels: seven and six rows and columns of two, of which five and four are inside, in two parts that
        // share the row in the middle.
        assert_eq!((map.shape.height, map.shape.width), (15, 13));
        for channel in 0..24 {
            for (cell, (rows, columns)) in
                [(2..8, 2..6), (2..8, 6..10), (6..12, 2..6), (6..12, 6..10)].into_iter().enumerate()
            {
                let pixels = rows.flat_map(|row| columns.clone().map(move |column| (row, column)));
                let values = pixels.map(|(row, column)| map.values[(channel * 15 + row) * 13 + column]);
                let expected = values.sum::<f64>() / 24.0;
                let found = f64::from(found[24 + channel * 4 + cell]);
                assert!((found - expected).abs() < f64::from(ROUNDING), "{channel}, {cell}: {found} {expected}");
            }
        }
    }

    #[test]
    fn the_late_map_is_the_last_of_a_sixteenth_of_the_size() {
        let conv = |stride: usize| Conv {
            in_channels: 24,
            out_channels: 24,
            window: Window::square(3, stride, 1),
            groups: 24,
            weight: vec![0.1; 24 * 9].into(),
            bias: vec![0.0; 24].into(),
            activation: Activation::None,
        };
        let graph = network();
        let mut builder = graph.up_to(graph.find("base.1").unwrap()).unwrap().into_builder();
        let mut last = graph.find("base.1").unwrap();
        for (name, stride) in [("base.2", 2), ("base.3", 2), ("base.4", 1), ("base.5", 2)] {
            last = builder.conv(name, last, conv(stride)).unwrap();
        }
        let mean = builder.global_average("base.6.0", last).unwrap();
        let output = builder.linear("base.6.3", mean, linear(24, 5)).unwrap();
        let deep = builder.finish(output).unwrap();
        assert_eq!(late_grid(&deep, [64, 64], 2).unwrap(), Some(grid("base.4", 2)));
        assert_eq!(lengths(&deep, &[grid("base.4", 2), grid("base.1", 1)]).unwrap(), [24, 96, 24]);
        // A map of one pixel has no four cells.
        assert_eq!(late_grid(&deep, [16, 16], 2).unwrap(), Some(grid("base.2", 2)));
        assert_eq!(late_grid(&network(), [64, 64], 2).unwrap(), None);
    }

    #[test]
    fn a_map_that_is_not_there_and_too_many_cells_are_named() {
        let graph = network();
        let error = |map: &str, cells: usize| features(&graph, [32, 32], &[grid(map, cells)]).unwrap_err().to_string();
        assert!(error("base.7", 2).contains("no module `base.7`; its modules are base.0, base.1"));
        assert!(error("input", 2).contains("no module `input`"));
        assert!(error("base.1", 0).contains("8 × 8 pixels"));
        assert!(error("base.1", 9).contains("9 × 9 means"));
        let small = features(&graph, [12, 12], &[grid("base.1", 4)]).unwrap_err();
        assert!(matches!(small, Error::Cells { height: 3, width: 3, .. }), "{small}");
        let twice = [grid("base.0", 2), grid("base.1", 2), grid("base.0", 2)];
        let twice = features(&graph, [32, 32], &twice).unwrap_err();
        assert!(matches!(twice, Error::Twice { cells: 2, .. }), "{twice}");
    }

    #[test]
    fn maps_of_any_size_have_small_kernels_and_a_border_only_if_there_is_room() {
        for (height, width) in [(1, 1), (2, 9), (9, 9), (10, 10), (27, 41), (36, 64), (41, 41), (55, 16), (512, 2048)] {
            for cells in 1..=4 {
                let Some(Pool { window, pixels, around }) = pool([height, width], cells, true) else {
                    assert!(height.min(width) < cells);
                    continue;
                };
                let sides = [height, width].map(|side| side / LEAST_BORDER.max(side / BORDERS));
                assert_eq!(around == 1, sides[0].min(sides[1]) >= cells + 2, "{height} x {width}, {cells}");
                let kernel = pixels.map(|side| side + 2 * around);
                assert!(kernel[0].max(kernel[1]) <= 20 && window.kernel[0] <= height && window.kernel[1] <= width);
            }
        }
        assert!(pool([64, 64], 0, true).is_none() && pool([64, 64], MAX_CELLS + 1, true).is_none());
    }

    #[test]
    fn a_network_without_a_linear_layer_at_its_end_has_no_features() {
        let graph = network().up_to(network().find("base.1").unwrap()).unwrap();
        assert_eq!(features(&graph, [32, 32], &[]).unwrap_err(), Error::NoLinear);
    }
}
