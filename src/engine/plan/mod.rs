//! Compiles a graph for one instruction set and one input size.
//!
//! Nodes become layers (`layers`): concatenations become lists of inputs, and a pointwise convolution is fused with a
//! depthwise one that follows it. Every layer's output gets a place in memory until its last read (`place`); then the
//! layers become the passes of a program.

mod concatenate;
mod layers;
mod place;
#[cfg(test)]
mod tests;
mod tiles;

use std::sync::Arc;

use serde::Serialize;

use super::graph::{self, Activation, Conv, Graph, Node, Op, Shape};
use crate::choice::MemoryMode;
use crate::exit::Exit;
use crate::kernels::pass::{
    Affine, Clamp, Convolution, Depthwise, Function, Kept, Map, PassError, Pool, Reduce, Transform,
};
use crate::kernels::runtime::{Builder, Program, Summary};
use crate::kernels::{Isa, Kernels};
use layers::{Layer, Layers, Work};

/// Values between maps that are placed apart.
#[cfg(any(test, fuzzing))]
const GAP: usize = 4 * crate::kernels::size::LINE;

/// Maximum pixels of a map for which saving memory pays off: larger maps come with few weights.
const LEAN_PIXELS: usize = 28 * 28;

/// Why a graph cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The graph does not support the requested size.
    #[error("the network does not support this input size")]
    Graph(#[from] graph::Error),
    /// The processor lacks the instruction set.
    #[error("this processor does not have {isa}")]
    Isa {
        /// The instruction set.
        isa: Isa,
    },
    /// The engine has no pass for a node.
    #[error("`{node}`: {what} is not supported")]
    Unsupported {
        /// Name of the node.
        node: String,
        /// The unsupported operation.
        what: &'static str,
    },
    /// The packed weights do not fit into memory.
    #[error("the packed weights ({bytes} bytes) do not fit into memory")]
    Weights {
        /// Their size in bytes.
        bytes: usize,
    },
    /// The maps do not fit into memory.
    #[error("`{node}` does not fit into memory")]
    TooLarge {
        /// Name of the node.
        node: String,
    },
    /// A pass does not fit: a bug in the plan.
    #[error("`{node}` cannot be planned")]
    Pass {
        /// Name of the node.
        node: String,
        /// The reason.
        #[source]
        source: PassError,
    },
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Graph(error) => error.exit(),
            Self::Isa { .. } => Exit::Unavailable,
            Self::Unsupported { .. } | Self::TooLarge { .. } | Self::Weights { .. } => Exit::Data,
            Self::Pass { .. } => Exit::Internal,
        }
    }
}

/// How to store the weights of a Winograd convolution with the output `map`.
fn kept(memory: MemoryMode, map: &Map) -> Kept {
    match memory {
        MemoryMode::Lean if map.pixels() <= LEAN_PIXELS => Kept::Taps,
        _ => Kept::Points,
    }
}

/// Options for a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanOptions {
    /// The instruction set.
    pub isa: Isa,
    /// The trade-off between memory and speed.
    pub memory: MemoryMode,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self { isa: Isa::best(), memory: MemoryMode::default() }
    }
}

/// A program, with the places of its input and output.
#[derive(Debug)]
pub struct Plan {
    program: Arc<Program>,
    input: Map,
    output: Map,
    steps: Vec<Step>,
    activation_bytes: usize,
    /// Values between maps that belong to no map, if maps were placed apart.
    #[cfg(any(test, fuzzing))]
    gaps: Vec<std::ops::Range<usize>>,
}

/// A pass in readable form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Name of the node whose output it computes.
    pub node: String,
    /// The algorithm.
    pub algorithm: &'static str,
    /// Rows, columns and channels of the output.
    pub output: [usize; 3],
    /// Multiply-accumulates executed, padding included.
    pub macs: u64,
    /// Bytes of the maps read.
    pub read: usize,
    /// Bytes of the map written.
    pub written: usize,
    /// Where the output is, in bytes from the start of the activations.
    pub offset: usize,
}

impl Plan {
    /// Compiles `graph` for inputs of `height × width` pixels. Weights of the graph that are not shared are freed as
    /// they are packed.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn new(graph: Graph, height: usize, width: usize, options: PlanOptions) -> Result<Self, Error> {
        Self::with(graph, [height, width], options, None)
    }

    /// The same program, but maps never share memory and have [`Self::gaps`] between them, which reveals passes that
    /// access memory outside their maps.
    ///
    /// # Errors
    /// Any [`Error`].
    #[cfg(any(test, fuzzing))]
    pub fn apart(graph: Graph, height: usize, width: usize, options: PlanOptions) -> Result<Self, Error> {
        Self::with(graph, [height, width], options, Some(GAP))
    }

    /// Values between maps, which no pass may touch.
    #[cfg(any(test, fuzzing))]
    #[must_use]
    pub fn gaps(&self) -> &[std::ops::Range<usize>] {
        &self.gaps
    }

    fn with(
        graph: Graph,
        [height, width]: [usize; 2],
        options: PlanOptions,
        gap: Option<usize>,
    ) -> Result<Self, Error> {
        let PlanOptions { isa, memory } = options;
        let kernels = Kernels::of(isa).ok_or(Error::Isa { isa })?;
        let shapes = graph.shapes(height, width)?;
        let layers = Layers::new(&graph, &shapes)?;
        let (maps, length) = place::place_with(&layers, gap)?;
        let mut nodes = graph.into_nodes();
        let emit = |builder: &mut Builder, nodes: &[Node], layer: &Layer| {
            let inputs = concatenate::joined(&layers.buffers, &layer.inputs, &maps);
            emit(builder, nodes, layer, &inputs, maps[layer.output], memory)
                .map_err(|source| Error::Pass { node: layer.name.clone(), source })
        };
        let mut counting = Builder::counting(kernels, length);
        layers.layers.iter().try_for_each(|layer| emit(&mut counting, &nodes, layer))?;
        let weights = counting.weight_length();
        drop(counting);
        let builder = Builder::with_room(kernels, length, weights);
        let mut builder = builder.ok_or(Error::Weights { bytes: weights.saturating_mul(size_of::<f32>()) })?;
        let last_use = last_use(&layers, nodes.len());
        for (index, layer) in layers.layers.iter().enumerate() {
            emit(&mut builder, &nodes, layer)?;
            for node in layer.nodes().filter(|node| last_use[*node] == index) {
                nodes[node].op.forget_values();
            }
        }
        let program = builder.finish();
        let bytes =
            |number: usize| place::length_of(&layers.buffers[number], &maps[number]).unwrap_or(0) * size_of::<f32>();
        let step = |(layer, Summary { algorithm, macs }): (&Layer, Summary)| {
            let map = maps[layer.output];
            Step {
                node: layer.name.clone(),
                algorithm,
                output: [map.height, map.width, map.channels],
                macs,
                read: layer.inputs.iter().map(|input| bytes(*input)).sum(),
                written: bytes(layer.output),
                offset: map.offset * size_of::<f32>(),
            }
        };
        let steps = layers.layers.iter().zip(program.summaries()).map(step).collect();
        let (input, output) = (maps[layers.input], maps[layers.output]);
        let activation_bytes = program.room(1) * size_of::<f32>();
        Ok(Self {
            program: Arc::new(program),
            input,
            output,
            steps,
            activation_bytes,
            #[cfg(any(test, fuzzing))]
            gaps: gap.map(|_| place::gaps(&layers, &maps, length)).unwrap_or_default(),
        })
    }

    /// The instruction set.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.program.kernels().isa()
    }

    /// The passes in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether its weights have reached their final memory pages; until then, runs may be slightly slower.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.program.is_settled()
    }

    /// Bytes of packed weights.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        self.program.weight_bytes()
    }

    /// Bytes of maps, and of the scratch of one thread.
    #[must_use]
    pub fn activation_bytes(&self) -> usize {
        self.activation_bytes
    }

    /// Rows, columns and channels of the input.
    #[must_use]
    pub fn input(&self) -> [usize; 3] {
        [self.input.height, self.input.width, self.input.channels]
    }

    /// Channels, rows and columns of the output.
    #[must_use]
    pub fn output_shape(&self) -> [usize; 3] {
        [self.output.channels, self.output.height, self.output.width]
    }

    /// Number of values of the output.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.output.pixels() * self.output.channels
    }

    /// The program.
    pub(super) fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// The map of the input.
    pub(super) fn input_map(&self) -> &Map {
        &self.input
    }

    /// The map of the output.
    pub(super) fn output_map(&self) -> &Map {
        &self.output
    }
}

/// The range of a clamping activation; `None` for one that does not clamp.
fn clamp(activation: Activation) -> Option<Clamp> {
    match activation {
        Activation::None => Some(Clamp::NONE),
        Activation::Relu => Some(Clamp::RELU),
        Activation::Relu6 => Some(Clamp::RELU6),
        Activation::HardSigmoid | Activation::HardSwish | Activation::Sigmoid | Activation::Silu => None,
    }
}

fn function(activation: Activation) -> Function {
    match activation {
        Activation::HardSigmoid => Function::HardSigmoid,
        Activation::HardSwish => Function::HardSwish,
        Activation::Sigmoid => Function::Sigmoid,
        Activation::Silu => Function::Silu,
        clamping => Function::Clamp(clamp(clamping).unwrap_or(Clamp::NONE)),
    }
}

fn convolution(conv: &Conv) -> Convolution<'_> {
    Convolution {
        kernel: conv.window.kernel,
        stride: conv.window.stride,
        top: conv.window.padding.top,
        left: conv.window.padding.left,
        weight: &conv.weight,
        bias: &conv.bias,
        clamp: clamp(conv.activation).unwrap_or(Clamp::NONE),
    }
}

/// Whether a convolution has groups of more than one channel.
fn is_grouped(conv: &Conv) -> bool {
    conv.groups > 1 && !conv.is_depthwise()
}

/// Number of packed weights of a grouped convolution; `None` if it overflows.
fn grouped_weights(conv: &Conv) -> Option<usize> {
    Builder::grouped_weights(&convolution(conv), conv.groups)
}

fn depthwise(conv: &Conv) -> Depthwise<'_> {
    let Convolution { kernel, stride, top, left, weight, bias, clamp } = convolution(conv);
    Depthwise { kernel, stride, top, left, weight, bias, clamp }
}

/// Whether a convolution and the depthwise one after it can be one pass.
fn fuses(first: &Conv, second: &Conv, between: Shape, after: Shape) -> bool {
    clamp(first.activation).is_some()
        && Builder::fuses(
            &convolution(first),
            &depthwise(second),
            [between.height, between.width],
            [after.height, after.width],
        )
}

/// Checks whether `graph` can be compiled for inputs of `height × width` pixels, regardless of instruction set and
/// memory for weights.
///
/// # Errors
/// Any [`Error`] except [`Error::Isa`], [`Error::Weights`] and [`Error::Pass`].
pub fn check(graph: &Graph, height: usize, width: usize) -> Result<(), Error> {
    place::place(&Layers::new(graph, &graph.shapes(height, width)?)?).map(drop)
}

/// For every node, the number of the last layer whose passes hold its values.
fn last_use(layers: &Layers, nodes: usize) -> Vec<usize> {
    let mut last = vec![0; nodes];
    for (index, layer) in layers.layers.iter().enumerate() {
        layer.nodes().for_each(|node| last[node] = index);
    }
    last
}

/// Makes the passes of a layer.
fn emit(
    builder: &mut Builder,
    nodes: &[Node],
    layer: &Layer,
    inputs: &[Map],
    output: Map,
    memory: MemoryMode,
) -> Result<(), PassError> {
    let op = |index: usize| &nodes[index].op;
    let (&first, node) = (inputs.first().unwrap_or(&output), layer.node);
    match (layer.work, op(node)) {
        (Work::Copy, _) => builder.copy(inputs, output),
        (Work::Transform(scheme), _) => builder.transform(first, Transform::of(&output, scheme, output.offset)),
        (Work::Winograd(scheme), Op::Conv(conv)) => {
            let inputs: Vec<_> = inputs.iter().map(|map| Transform::of(map, scheme, map.offset)).collect();
            builder.winograd(&inputs, &convolution(conv), kept(memory, &output), output)
        }
        (Work::Strips(scheme), Op::Conv(conv)) => builder.winograd_in_strips(first, scheme, &convolution(conv), output),
        (Work::Activation(activation), _) => {
            builder.affine(first, &Affine { scale: None, shift: None, function: function(activation) }, output)
        }
        (Work::Fused { pointwise }, Op::Conv(second)) => match op(pointwise) {
            Op::Conv(pointwise) => builder.fused(inputs, &convolution(pointwise), &depthwise(second), output),
            _ => builder.depthwise(first, &depthwise(second), output),
        },
        (_, Op::Conv(conv)) if is_grouped(conv) => builder.grouped(first, &convolution(conv), conv.groups, output),
        (_, Op::Conv(conv)) if conv.groups > 1 => builder.depthwise(first, &depthwise(conv), output),
        (_, Op::Conv(conv)) => builder.convolution(inputs, &convolution(conv), output),
        (_, Op::Linear(linear)) => {
            let layer = Convolution {
                kernel: [1, 1],
                stride: [1, 1],
                top: 0,
                left: 0,
                weight: &linear.weight,
                bias: &linear.bias,
                clamp: Clamp::NONE,
            };
            builder.convolution(inputs, &layer, output)
        }
        (_, Op::MaxPool(window)) => builder.pool(first, pool(window, Reduce::Max), output),
        (_, Op::AvgPool { pool: window, count_include_pad }) => {
            let reduce = if *count_include_pad { Reduce::MeanWithPadding } else { Reduce::Mean };
            builder.pool(first, pool(window, reduce), output)
        }
        (_, Op::GlobalAverage) => builder.average(first, output),
        (_, Op::Add) => match inputs {
            &[a, b] => builder.add([a, b], Clamp::NONE, output),
            // Both operands are the same map.
            _ => builder.add([first, first], Clamp::NONE, output),
        },
        (_, Op::Affine(affine)) => {
            let (scale, shift) = (Some(&*affine.scale), Some(&*affine.shift));
            builder.affine(first, &Affine { scale, shift, function: function(affine.activation) }, output)
        }
        (_, Op::Activation(activation)) => {
            builder.affine(first, &Affine { scale: None, shift: None, function: function(*activation) }, output)
        }
        (_, Op::Input { .. } | Op::Concat | Op::Softmax) => builder.copy(inputs, output),
    }
}

fn pool(window: &graph::Window, reduce: Reduce) -> Pool {
    let graph::Window { kernel, stride, padding } = *window;
    Pool { kernel, stride, top: padding.top, left: padding.left, reduce }
}
