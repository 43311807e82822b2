//! The single description of a network: operators in an order in which they can run.
//!
//! A graph has one input and one output, batch 1, and no fixed size: height and width are arguments where they matter,
//! of [`Graph::shapes`] and [`Graph::macs`]. Values are either maps of `height × width × channels`, or flat vectors of
//! channels, which a linear layer computes from a 1 × 1 map. Operators have the meaning of the ONNX operators of the
//! same name.
//!
//! A [`Builder`] checks everything that does not depend on the size, so a [`Graph`] is consistent by
//! construction.

use std::collections::HashSet;

use crate::exit::Exit;

use super::op::rule;
pub use super::op::{Activation, Affine, Conv, Linear, Op, Padding, Values, Window};

/// Why a graph cannot be built, or does not support a size.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Two nodes have the same name.
    #[error("two nodes are called `{name}`")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// An input of a node, or the output of the graph, is not a node of this graph.
    #[error("`{name}` refers to a node that does not exist")]
    UnknownNode {
        /// The node with the reference.
        name: String,
    },
    /// The graph does not have exactly one input.
    #[error("a graph has exactly one input, but this one has {found}")]
    Inputs {
        /// Number of input nodes.
        found: usize,
    },
    /// A node gets the wrong number of channels.
    #[error("`{name}` expects {expected} channels, got {found}")]
    Channels {
        /// The node.
        name: String,
        /// Channels that it expects.
        expected: usize,
        /// Channels that it gets.
        found: usize,
    },
    /// A weight or bias has the wrong number of values.
    #[error("the {part} of `{name}` has {found} values but needs {expected}")]
    Length {
        /// The node.
        name: String,
        /// `weight`, `bias`, `scale` or `shift`.
        part: &'static str,
        /// Number of values that the node's shape requires.
        expected: usize,
        /// Number of values given.
        found: usize,
    },
    /// A parameter of a node is outside the operator's limits.
    #[error("`{name}`: {rule}")]
    Parameter {
        /// The node.
        name: String,
        /// The rule that is violated.
        rule: &'static str,
    },
    /// A vector is used in place of a map, or the two are mixed.
    #[error("`{name}` cannot read a vector here")]
    Flat {
        /// The node.
        name: String,
    },
    /// The graph's input is too small, or so large that sizes overflow.
    #[error("an input of {height} × {width} does not fit the network at `{name}`")]
    Size {
        /// The node that fails.
        name: String,
        /// Height of the input of the graph.
        height: usize,
        /// Width of the input of the graph.
        width: usize,
    },
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        Exit::Data
    }
}

/// A node of the graph or builder that issued it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(usize);

impl NodeId {
    /// Position of the node in [`Graph::nodes`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

/// One operator in the graph.
#[derive(Debug, Clone)]
pub struct Node {
    /// Name, unique in the graph.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Its inputs, in the operator's order.
    pub inputs: Vec<NodeId>,
    /// Channels of its output.
    pub channels: usize,
    /// Whether its output is a vector rather than a map.
    pub flat: bool,
}

/// Size of a value. A vector has height and width 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

/// A network.
#[derive(Debug, Clone)]
pub struct Graph {
    nodes: Vec<Node>,
    input: NodeId,
    output: NodeId,
}

impl Graph {
    /// All nodes; every node comes after its inputs.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All nodes, moved out of the graph.
    #[must_use]
    pub fn into_nodes(self) -> Vec<Node> {
        self.nodes
    }

    /// All nodes' ids, in the order of [`nodes`](Self::nodes).
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId)
    }

    /// The node of `id`, if it belongs to the graph.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0)
    }

    /// The node called `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().position(|node| node.name == name).map(NodeId)
    }

    /// The node that is the network's input.
    #[must_use]
    pub fn input(&self) -> NodeId {
        self.input
    }

    /// The node whose value is the network's output.
    #[must_use]
    pub fn output(&self) -> NodeId {
        self.output
    }

    /// The front part of the network: the nodes up to `output`, whose value becomes the output.
    ///
    /// # Errors
    /// [`Error::UnknownNode`] if `output` is not a node, [`Error::Inputs`] if it comes before the input.
    pub fn up_to(&self, output: NodeId) -> Result<Self, Error> {
        if output.0 >= self.nodes.len() {
            return Err(Error::UnknownNode { name: "output".to_owned() });
        }
        if output < self.input {
            return Err(Error::Inputs { found: 0 });
        }
        Ok(Self { nodes: self.nodes[..=output.0].to_vec(), input: self.input, output })
    }

    /// A builder that adds nodes to the network, whose ids stay valid.
    #[must_use]
    pub fn into_builder(self) -> Builder {
        let names = self.nodes.iter().map(|node| node.name.clone()).collect();
        Builder { nodes: self.nodes, names }
    }

    /// The shape of every node's output, in the order of [`nodes`](Self::nodes), for an input of
    /// `height × width` pixels.
    ///
    /// # Errors
    /// [`Error::Size`] if a window does not fit into its input, a linear layer would read more than 1 × 1, concatenated
    /// maps differ in size, or a size overflows.
    pub fn shapes(&self, height: usize, width: usize) -> Result<Vec<Shape>, Error> {
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let sizes = node.inputs.iter().filter_map(|id| shapes.get(id.0)).map(|shape| [shape.height, shape.width]);
            let size = match &node.op {
                Op::Input { .. } => Some([height, width]).filter(|size| !size.contains(&0)),
                op => op.output_size(sizes),
            };
            let [rows, columns] = size.ok_or_else(|| Error::Size { name: node.name.clone(), height, width })?;
            shapes.push(Shape { height: rows, width: columns, channels: node.channels });
        }
        Ok(shapes)
    }

    /// Multiply-accumulates of all convolutions and linear layers for an input of `height × width` pixels. Products
    /// with padding count, biases do not. The number saturates.
    ///
    /// # Errors
    /// The errors of [`shapes`](Self::shapes).
    pub fn macs(&self, height: usize, width: usize) -> Result<u64, Error> {
        let shapes = self.shapes(height, width)?;
        let macs = self.nodes.iter().zip(shapes).map(|(node, shape)| {
            let pixels = (shape.height as u64).saturating_mul(shape.width as u64);
            pixels.saturating_mul(node.op.weights() as u64)
        });
        Ok(macs.fold(0, u64::saturating_add))
    }
}

/// Builds a graph node by node.
#[derive(Debug, Default)]
pub struct Builder {
    nodes: Vec<Node>,
    names: HashSet<String>,
}

impl Builder {
    /// A builder without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The network's input: a map of `channels`.
    ///
    /// # Errors
    /// [`Error::Duplicate`] if the name is taken, [`Error::Parameter`] if there are no channels.
    pub fn input(&mut self, name: &str, channels: usize) -> Result<NodeId, Error> {
        rule(name, channels > 0, "an input has at least one channel")?;
        self.push(name, Op::Input { channels }, &[], channels, false)
    }

    /// A convolution with its bias and activation.
    ///
    /// # Errors
    /// Any [`Error`] except [`Error::Inputs`] and [`Error::Size`].
    pub fn conv(&mut self, name: &str, input: NodeId, conv: Conv) -> Result<NodeId, Error> {
        self.map_channels(name, input, Some(conv.in_channels))?;
        conv.check(name)?;
        let channels = conv.out_channels;
        self.push(name, Op::Conv(conv), &[input], channels, false)
    }

    /// The maximum over a window; padding never wins.
    ///
    /// # Errors
    /// Any [`Error`] except [`Error::Inputs`] and [`Error::Size`].
    pub fn max_pool(&mut self, name: &str, input: NodeId, pool: Window) -> Result<NodeId, Error> {
        let channels = self.map_channels(name, input, None)?;
        pool.check_pool(name)?;
        self.push(name, Op::MaxPool(pool), &[input], channels, false)
    }

    /// The mean over a window; `count_include_pad` says whether padding counts as zeros in it.
    ///
    /// # Errors
    /// Any [`Error`] except [`Error::Inputs`] and [`Error::Size`].
    pub fn avg_pool(
        &mut self,
        name: &str,
        input: NodeId,
        pool: Window,
        count_include_pad: bool,
    ) -> Result<NodeId, Error> {
        let channels = self.map_channels(name, input, None)?;
        pool.check_pool(name)?;
        self.push(name, Op::AvgPool { pool, count_include_pad }, &[input], channels, false)
    }

    /// Concatenates the channels of all inputs, in order.
    ///
    /// # Errors
    /// Any [`Error`] except [`Error::Inputs`] and [`Error::Size`].
    pub fn concat(&mut self, name: &str, inputs: &[NodeId]) -> Result<NodeId, Error> {
        let flat = self.common_form(name, inputs)?;
        let mut channels = 0_usize;
        for &input in inputs {
            let sum = channels.checked_add(self.operand(name, input)?.channels);
            channels = sum.ok_or(Error::Parameter { name: name.to_owned(), rule: "too many channels" })?;
        }
        self.push(name, Op::Concat, inputs, channels, flat)
    }

    /// The sum of two values of the same shape.
    ///
    /// # Errors
    /// Any [`Error`] except [`Error::Inputs`] and [`Error::Size`].
    pub fn add(&mut self, name: &str, first: NodeId, second: NodeId) -> Result<NodeId, Error> {
        let flat = self.common_form(name, &[first, second])?;
        let expected = self.operand(name, first)?.channels;
        let found = self.operand(name, second)?.channels;
        if expected != found {
            return Err(Error::Channels { name: name.to_owned(), expected, found });
        }
        self.push(name, Op::Add, &[first, second], expected, flat)
    }

    /// The mean of every channel over the whole map, as a map of 1 × 1.
    ///
    /// # Errors
    /// Any [`Error`] except [`Error::Inputs`] and [`Error::Size`].
    pub fn global_average(&mut self, name: &str, input: NodeId) -> Result<NodeId, Error> {
        let channels = self.map_channels(name, input, None)?;
        self.push(name, Op::GlobalAverage, &[input], channels, false)
    }

    /// A linear layer, from a vector or a 1 × 1 map to a vector.
    ///
    /// # Errors
    /// Any [`Error`] except [`Error::Inputs`] and [`Error::Size`].
    pub fn linear(&mut self, name: &str, input: NodeId, linear: Linear) -> Result<NodeId, Error> {
        let found = self.operand(name, input)?.channels;
        if found != linear.in_channels {
            return Err(Error::Channels { name: name.to_owned(), expected: linear.in_channels, found });
        }
        linear.check(name)?;
        let channels = linear.out_channels;
        self.push(name, Op::Linear(linear), &[input], channels, true)
    }

    /// The softmax over the channels of each pixel.
    ///
    /// # Errors
    /// Any [`Error`] except [`Error::Inputs`] and [`Error::Size`].
    pub fn softmax(&mut self, name: &str, input: NodeId) -> Result<NodeId, Error> {
        let &Node { channels, flat, .. } = self.operand(name, input)?;
        self.push(name, Op::Softmax, &[input], channels, flat)
    }

    /// A scale and a shift per channel, with an activation.
    ///
    /// # Errors
    /// Any [`Error`] except [`Error::Inputs`] and [`Error::Size`].
    pub fn affine(&mut self, name: &str, input: NodeId, affine: Affine) -> Result<NodeId, Error> {
        let &Node { channels, flat, .. } = self.operand(name, input)?;
        affine.check(name, channels)?;
        self.push(name, Op::Affine(affine), &[input], channels, flat)
    }

    /// A function applied to every value.
    ///
    /// # Errors
    /// Any [`Error`] except [`Error::Inputs`] and [`Error::Size`].
    pub fn activation(&mut self, name: &str, input: NodeId, activation: Activation) -> Result<NodeId, Error> {
        let &Node { channels, flat, .. } = self.operand(name, input)?;
        rule(name, activation != Activation::None, "a node that is an activation has one")?;
        self.push(name, Op::Activation(activation), &[input], channels, flat)
    }

    /// Channels of `id`, a node made earlier.
    #[must_use]
    pub fn channels(&self, id: NodeId) -> Option<usize> {
        self.nodes.get(id.0).map(|node| node.channels)
    }

    /// The finished graph with the output `output`.
    ///
    /// # Errors
    /// [`Error::UnknownNode`] if `output` is not a node, [`Error::Inputs`] if there is not exactly one input.
    pub fn finish(self, output: NodeId) -> Result<Graph, Error> {
        if output.0 >= self.nodes.len() {
            return Err(Error::UnknownNode { name: "output".to_owned() });
        }
        let mut inputs = self.nodes.iter().enumerate().filter(|(_, node)| matches!(node.op, Op::Input { .. }));
        match (inputs.next(), inputs.count()) {
            (Some((input, _)), 0) => Ok(Graph { nodes: self.nodes, input: NodeId(input), output }),
            (first, more) => Err(Error::Inputs { found: usize::from(first.is_some()) + more }),
        }
    }

    fn push(&mut self, name: &str, op: Op, inputs: &[NodeId], channels: usize, flat: bool) -> Result<NodeId, Error> {
        if !self.names.insert(name.to_owned()) {
            return Err(Error::Duplicate { name: name.to_owned() });
        }
        self.nodes.push(Node { name: name.to_owned(), op, inputs: inputs.to_vec(), channels, flat });
        Ok(NodeId(self.nodes.len() - 1))
    }

    fn operand(&self, name: &str, id: NodeId) -> Result<&Node, Error> {
        self.nodes.get(id.0).ok_or_else(|| Error::UnknownNode { name: name.to_owned() })
    }

    /// Channels of a map; must equal `expected` if given.
    fn map_channels(&self, name: &str, id: NodeId, expected: Option<usize>) -> Result<usize, Error> {
        let node = self.operand(name, id)?;
        if node.flat {
            return Err(Error::Flat { name: name.to_owned() });
        }
        match expected {
            Some(expected) if expected != node.channels => {
                Err(Error::Channels { name: name.to_owned(), expected, found: node.channels })
            }
            _ => Ok(node.channels),
        }
    }

    /// Whether all inputs are vectors; an error if there are none, or if vectors and maps are mixed.
    fn common_form(&self, name: &str, inputs: &[NodeId]) -> Result<bool, Error> {
        let forms = inputs.iter().map(|&id| Ok(self.operand(name, id)?.flat)).collect::<Result<Vec<_>, Error>>()?;
        let first = forms.first().copied();
        let flat = first.ok_or(Error::Parameter { name: name.to_owned(), rule: "at least one input is needed" })?;
        if forms.iter().all(|&form| form == flat) { Ok(flat) } else { Err(Error::Flat { name: name.to_owned() }) }
    }
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
