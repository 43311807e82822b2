//! The tiles of a network's convolutions by Winograd: large tiles need few products, small ones have small rounding errors.

use std::collections::HashSet;

use super::super::graph::{Graph, Op, Shape};
use super::convolution;
use crate::kernels::pass::Scheme;
use crate::kernels::runtime::Builder;

/// Maximum length of sums, in input channels, for tiles larger than 2 × 2: errors grow with the length. No published
/// network has longer sums.
const MAX_DEPTH: usize = 1536;

/// Chooses tiles.
#[derive(Debug)]
pub(super) struct Tiles {
    /// Whether depthwise convolutions prevail. They magnify the errors of the maps before them, since their sums of nine
    /// values are too short to average them out, and leave little to do for other convolutions, whatever their tiles.
    is_depthwise: bool,
    /// Sizes of maps that long sums are computed of. Maps of one size have the same tiles: a convolution reads several of
    /// them, and each may have several readers.
    long: HashSet<[usize; 2]>,
}

impl Tiles {
    /// The tiles for `graph`, whose nodes have these `shapes`.
    pub(super) fn new(graph: &Graph, shapes: &[Shape]) -> Self {
        let (mut depthwise, mut full, mut long) = (0_usize, 0_usize, HashSet::new());
        for (node, shape) in graph.nodes().iter().zip(shapes) {
            match &node.op {
                Op::Conv(conv) if conv.is_depthwise() => depthwise += 1,
                Op::Conv(conv) if conv.groups == 1 && Builder::is_winograd(&convolution(conv)) => {
                    full += 1;
                    if conv.in_channels > MAX_DEPTH {
                        long.insert([shape.height, shape.width]);
                    }
                }
                _ => {}
            }
        }
        Self { is_depthwise: depthwise > full, long }
    }

    /// The tiles of maps of this size.
    pub(super) fn scheme(&self, Shape { height, width, .. }: Shape) -> Scheme {
        if self.is_depthwise || self.long.contains(&[height, width]) {
            Scheme::Two
        } else {
            Scheme::fastest(height, width)
        }
    }
}
