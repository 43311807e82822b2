//! The nodes of a graph as layers: which maps each one reads and writes.

use std::collections::HashMap;

use super::super::graph::{Activation, Conv, Graph, Node, Op, Padding, Shape, Window};
use super::tiles::Tiles;
use super::{Error, clamp, concatenate, convolution, fuses, grouped_weights, is_grouped};
use crate::kernels::UNIT;
use crate::kernels::pass::{MAX_SEGMENTS, Map, Scheme};
use crate::kernels::runtime::Builder;

/// Maximum packed weights of a grouped convolution: packing needs more values than the network has.
const MAX_GROUPED: usize = 1 << 26;
/// Minimum number of input channels at which transforms pay off.
const WINOGRAD_CHANNELS: usize = 16;
/// Minimum number of rows and columns at which they pay off.
const WINOGRAD_SIDE: usize = 4;

/// A map.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buffer {
    pub(super) shape: Shape,
    /// Values from one pixel to the next.
    pub(super) stride: usize,
    /// Whether it is the network's input, whose pixels are not padded.
    pub(super) is_input: bool,
    /// The tiles if it holds the Winograd transform of a map of that shape instead of the map.
    pub(super) scheme: Option<Scheme>,
    /// The map whose pixels contain this one.
    pub(super) part: Option<Part>,
}

/// Where a map lies in another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Number of the other map.
    pub(super) of: usize,
    /// The channel of the other map at which the part begins.
    pub(super) channel: usize,
}

/// The work of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Work {
    /// The operator of its node.
    Node,
    /// The pointwise convolution of another node, and the depthwise one of its own.
    Fused {
        /// Position of the pointwise node.
        pointwise: usize,
    },
    /// The activation of its node, if the node's pass does not include it.
    Activation(Activation),
    /// Concatenates maps.
    Copy,
    /// The Winograd transform of a map.
    Transform(Scheme),
    /// The convolution of its node, on transforms.
    Winograd(Scheme),
    /// The convolution of its node by Winograd, strip by strip, on a map without other readers.
    Strips(Scheme),
}

/// A step that reads maps and writes one.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// Name of the node.
    pub(super) name: String,
    /// Position of the node.
    pub(super) node: usize,
    pub(super) work: Work,
    /// Numbers of its input maps.
    pub(super) inputs: Vec<usize>,
    /// Number of its output map.
    pub(super) output: usize,
}

impl Layer {
    /// Positions of the nodes that its pass computes.
    pub(super) fn nodes(&self) -> impl Iterator<Item = usize> + use<> {
        let (own, before) = match self.work {
            Work::Node | Work::Winograd(_) | Work::Strips(_) => (Some(self.node), None),
            Work::Fused { pointwise } => (Some(self.node), Some(pointwise)),
            Work::Activation(_) | Work::Copy | Work::Transform(_) => (None, None),
        };
        own.into_iter().chain(before)
    }
}

/// All layers, in an order in which they can run.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) layers: Vec<Layer>,
    pub(super) buffers: Vec<Buffer>,
    /// Number of the input's map.
    pub(super) input: usize,
    /// Number of the output's map.
    pub(super) output: usize,
    /// Numbers of the transforms, by number of the map.
    transforms: HashMap<usize, usize>,
    tiles: Tiles,
}

impl Layers {
    /// The layers of `graph`, whose nodes have these `shapes`.
    pub(super) fn new(graph: &Graph, shapes: &[Shape]) -> Result<Self, Error> {
        let nodes = graph.nodes();
        let (used, readers) = readers(graph);
        let (layers, buffers, transforms, tiles) = (vec![], vec![], HashMap::new(), Tiles::new(graph, shapes));
        let mut layers = Self { layers, buffers, input: 0, output: 0, transforms, tiles };
        // The maps that hold each node's value, with their channels concatenated.
        let mut values: Vec<Vec<usize>> = Vec::with_capacity(nodes.len());
        let mut concatenations: Vec<Vec<usize>> = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let read: Vec<usize> = node.inputs.iter().flat_map(|input| values[input.index()].clone()).collect();
            let unsupported = |what| Error::Unsupported { node: node.name.clone(), what };
            let value = match &node.op {
                _ if !used[index] => vec![],
                Op::Input { .. } => {
                    layers.input = layers.buffer(shapes[index], true);
                    vec![layers.input]
                }
                Op::Concat => {
                    concatenations.push(read.clone());
                    read
                }
                Op::Softmax => return Err(unsupported("softmax before the end")),
                Op::Conv(conv) if is_grouped(conv) && grouped_weights(conv).is_none_or(|count| count > MAX_GROUPED) => {
                    return Err(unsupported("convolution in groups with this many weights"));
                }
                Op::Conv(conv) if !conv.is_depthwise() && taps(conv) > MAX_SEGMENTS => {
                    return Err(unsupported("a kernel of more than 512 pixels"));
                }
                Op::Conv(conv) if is_beside_the_map(&conv.window) => {
                    return Err(unsupported("a padding as large as the kernel"));
                }
                Op::Conv(conv) => {
                    // A depthwise convolution is fused with the pointwise one before it.
                    let before = node.inputs.first().map(|input| input.index()).filter(|_| conv.is_depthwise());
                    let pointwise = before.filter(|before| readers[*before] == 1).filter(|&before| {
                        matches!(&nodes[before].op, Op::Conv(first)
                            if first.groups == 1 && fuses(first, conv, shapes[before], shapes[index]))
                    });
                    // Conversely: this one will be fused.
                    let follower =
                        (readers[index] == 1 && conv.groups == 1).then(|| follower(graph, &used, index)).flatten();
                    let is_taken = follower.is_some_and(|after| {
                        matches!(&nodes[after].op, Op::Conv(second)
                            if second.is_depthwise() && fuses(conv, second, shapes[index], shapes[after]))
                    });
                    match pointwise {
                        _ if is_taken => read,
                        Some(pointwise) => {
                            let work = Work::Fused { pointwise };
                            layers.layer(graph, index, work, read, shapes[index], conv.activation)
                        }
                        None if conv.groups > 1 => {
                            let read = layers.joined(graph, index, read, shapes);
                            layers.layer(graph, index, Work::Node, read, shapes[index], conv.activation)
                        }
                        None if conv.groups == 1 && layers.suit_winograd(conv, &read, shapes[index]) => {
                            let is_alone = node.inputs.first().is_some_and(|input| readers[input.index()] == 1);
                            let scheme = layers.tiles.scheme(shapes[index]);
                            let (work, read) = if is_alone && layers.suit_strips(conv, scheme, &read) {
                                (Work::Strips(scheme), read)
                            } else {
                                let maps = read.into_iter();
                                let maps = maps.map(|map| layers.transformed(graph, index, map, scheme)).collect();
                                (Work::Winograd(scheme), maps)
                            };
                            layers.layer(graph, index, work, read, shapes[index], conv.activation)
                        }
                        None => {
                            let is_many = read.len() > MAX_SEGMENTS / taps(conv);
                            let read = if is_many { layers.joined(graph, index, read, shapes) } else { read };
                            layers.layer(graph, index, Work::Node, read, shapes[index], conv.activation)
                        }
                    }
                }
                Op::Linear(_) => layers.layer(graph, index, Work::Node, read, shapes[index], Activation::None),
                Op::Add => {
                    let mut operands = Vec::new();
                    for input in &node.inputs {
                        let value = values[input.index()].clone();
                        operands.extend(layers.joined(graph, input.index(), value, shapes));
                    }
                    layers.layer(graph, index, Work::Node, operands, shapes[index], Activation::None)
                }
                Op::MaxPool(_) | Op::AvgPool { .. } | Op::GlobalAverage | Op::Affine(_) | Op::Activation(_) => {
                    let read = match node.inputs.first() {
                        Some(input) => layers.joined(graph, input.index(), read, shapes),
                        None => read,
                    };
                    layers.layer(graph, index, Work::Node, read, shapes[index], Activation::None)
                }
            };
            values.push(value);
        }
        let end = graph.output().index();
        let output = layers.joined(graph, end, values[end].clone(), shapes);
        layers.output = output.first().copied().unwrap_or(layers.input);
        concatenate::concatenate(&mut layers, graph, &concatenations);
        Ok(layers)
    }

    fn buffer(&mut self, shape: Shape, is_input: bool) -> usize {
        let stride = if is_input { shape.channels } else { shape.channels.next_multiple_of(UNIT) };
        self.buffers.push(Buffer { shape, stride, is_input, scheme: None, part: None });
        self.buffers.len() - 1
    }

    /// Whether to compute a convolution of these maps to one of the shape `output` by Winograd.
    fn suit_winograd(&self, conv: &Conv, read: &[usize], output: Shape) -> bool {
        let large = |map: &usize| {
            let Buffer { shape, is_input, .. } = self.buffers[*map];
            let keeps_its_size = (shape.height, shape.width) == (output.height, output.width);
            !is_input && keeps_its_size && shape.height.min(shape.width) >= WINOGRAD_SIDE
        };
        conv.in_channels >= WINOGRAD_CHANNELS && Builder::is_winograd(&convolution(conv)) && read.iter().all(large)
    }

    /// Whether these maps are a single one that should be transformed strip by strip.
    fn suit_strips(&self, conv: &Conv, scheme: Scheme, read: &[usize]) -> bool {
        let &[map] = read else { return false };
        let Shape { height, width, channels } = self.buffers[map].shape;
        Builder::suits_strips(&Map::padded(0, height, width, channels), scheme, conv.out_channels)
    }

    /// The transform of a map; adds a layer for node `index` unless it already exists.
    fn transformed(&mut self, graph: &Graph, index: usize, map: usize, scheme: Scheme) -> usize {
        if let Some(&transform) = self.transforms.get(&map) {
            return transform;
        }
        self.buffers.push(Buffer { scheme: Some(scheme), ..self.buffers[map] });
        let transform = self.buffers.len() - 1;
        self.transforms.insert(map, transform);
        self.push(graph, index, Work::Transform(scheme), vec![map], transform);
        transform
    }

    /// Adds the layer of node `index`, and a layer for its activation if passes do not include it.
    fn layer(
        &mut self,
        graph: &Graph,
        index: usize,
        work: Work,
        inputs: Vec<usize>,
        shape: Shape,
        activation: Activation,
    ) -> Vec<usize> {
        let mut output = self.buffer(shape, false);
        self.push(graph, index, work, inputs, output);
        if clamp(activation).is_none() {
            let before = output;
            output = self.buffer(shape, false);
            self.push(graph, index, Work::Activation(activation), vec![before], output);
        }
        vec![output]
    }

    fn push(&mut self, graph: &Graph, node: usize, work: Work, inputs: Vec<usize>, output: usize) {
        let name = graph.nodes()[node].name.clone();
        self.layers.push(Layer { name, node, work, inputs, output });
    }

    /// The value of node `index` in a single map with padded pixels, copied if necessary.
    fn joined(&mut self, graph: &Graph, index: usize, value: Vec<usize>, shapes: &[Shape]) -> Vec<usize> {
        match value[..] {
            [only] if !self.buffers[only].is_input => value,
            _ => {
                let channels = value.iter().map(|map| self.buffers[*map].shape.channels).sum();
                let output = self.buffer(Shape { channels, ..shapes_of(self, &value, shapes[index]) }, false);
                self.push(graph, index, Work::Copy, value, output);
                vec![output]
            }
        }
    }
}

/// Whether a window can consist of padding only.
fn is_beside_the_map(window: &Window) -> bool {
    let [rows, columns] = window.kernel;
    let Padding { top, left, bottom, right } = window.padding;
    top.max(bottom) >= rows || left.max(right) >= columns
}

/// Pixels of a kernel: at least 1.
fn taps(conv: &Conv) -> usize {
    let [rows, columns] = conv.window.kernel;
    rows.saturating_mul(columns).max(1)
}

/// The size of the maps of a value.
fn shapes_of(layers: &Layers, value: &[usize], otherwise: Shape) -> Shape {
    value.first().map_or(otherwise, |map| layers.buffers[*map].shape)
}

/// The first node that reads node `index`, among those that the output depends on.
fn follower(graph: &Graph, used: &[bool], index: usize) -> Option<usize> {
    let reads = |node: &Node| node.inputs.iter().any(|input| input.index() == index);
    graph.nodes().iter().zip(used).position(|(node, used)| *used && reads(node))
}

/// For every node, whether the output depends on it, and how often it is read, including by the end of the network.
fn readers(graph: &Graph) -> (Vec<bool>, Vec<usize>) {
    let nodes = graph.nodes();
    let (mut used, mut readers) = (vec![false; nodes.len()], vec![0; nodes.len()]);
    used[graph.output().index()] = true;
    readers[graph.output().index()] = 1;
    for index in (0..nodes.len()).rev() {
        if used[index] {
            for input in &nodes[index].inputs {
                used[input.index()] = true;
                readers[input.index()] += 1;
            }
        }
    }
    // The input is always present.
    used[graph.input().index()] = true;
    (used, readers)
}
