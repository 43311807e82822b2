//! Builds a graph from an architecture and weights.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::engine::graph::{self, Activation, Builder, Conv, Graph, Linear, NodeId, Window};
use crate::exit::Exit;
use crate::hardnet::layout::{self, Entry, Layer, Module, module_entries};
use crate::hardnet::table::Architecture;
use crate::weights::{self, Array, EntryRole, StateDict, seeded as rule};

/// Added to the variance by a batch norm.
pub(super) const EPSILON: f64 = 1e-5;

/// Suffixes of the entries that the profiler `thop` leaves in a network.
const PROFILER: [&str; 2] = ["total_ops", "total_params"];

/// Maximum number of problems that a message lists. With another network's weights, nearly every entry is one.
const PROBLEMS_SHOWN: usize = 10;

/// Why a network cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Entries of the state dict are missing, unknown, misshapen, or have unusable values.
    #[error("the weights do not fit {architecture}: {}", list(.problems))]
    Weights {
        /// Name of the architecture.
        architecture: String,
        /// All problems, in the order of the network.
        problems: Vec<Problem>,
    },
    /// The weights cannot be generated.
    #[error("cannot generate weights for {architecture}")]
    Seeded {
        /// Name of the architecture.
        architecture: String,
        /// Why.
        #[source]
        source: weights::Error,
    },
    /// The network has no consistent graph.
    #[error("cannot build {architecture}")]
    Graph {
        /// Name of the architecture.
        architecture: String,
        /// Why.
        #[source]
        source: graph::Error,
    },
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Weights { .. } => Exit::Data,
            Self::Seeded { source, .. } => source.exit(),
            Self::Graph { source, .. } => source.exit(),
        }
    }
}

/// A problem of a state dict.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Problem {
    /// An entry is missing or has another shape.
    #[error(transparent)]
    Entry(#[from] weights::Error),
    /// The network has no such entry.
    #[error("`{key}` with shape {shape:?} is not expected")]
    Unexpected {
        /// The key.
        key: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The weights of a module are not finite after its batch norm is folded into them: a value is NaN or infinite, or
    /// a variance is negative.
    #[error("the weights of `{module}` are not finite")]
    NotFinite {
        /// The module.
        module: String,
    },
}

/// The first problems, and the number of the others.
pub(super) fn list<P: ToString>(problems: &[P]) -> String {
    let shown: Vec<String> = problems.iter().take(PROBLEMS_SHOWN).map(ToString::to_string).collect();
    let text = shown.join("; ");
    match problems.len().checked_sub(PROBLEMS_SHOWN) {
        Some(more @ 1..) => format!("{text}; and {more} more"),
        _ => text,
    }
}

/// Seeded weights for a network with `classes` classes.
///
/// # Errors
/// [`Error::Seeded`] if memory for that many classes cannot be reserved.
pub fn seeded(architecture: &Architecture, classes: usize) -> Result<StateDict, Error> {
    let mut state = StateDict::new();
    for layout::Entry { key, shape, kind } in layout::entries(architecture, classes) {
        rule::array(&key, &shape, kind)
            .and_then(|array| state.insert(key, array))
            .map_err(|source| Error::Seeded { architecture: architecture.name.to_string(), source })?;
    }
    Ok(state)
}

/// Gives `state` a head for `classes` classes with seeded weights, replacing any existing head.
///
/// # Errors
/// [`Error::Seeded`] if memory for that many classes cannot be reserved.
pub fn with_new_head(architecture: &Architecture, classes: usize, state: &mut StateDict) -> Result<(), Error> {
    for layout::Entry { key, shape, kind } in layout::entries(architecture, classes) {
        if matches!(kind, EntryRole::LinearWeight | EntryRole::LinearBias) {
            let array = rule::array(&key, &shape, kind)
                .map_err(|source| Error::Seeded { architecture: architecture.name.to_string(), source })?;
            state.replace(key, array);
        }
    }
    Ok(())
}

/// The graph of a network with `classes` classes and zero weights, for its shapes and costs.
///
/// # Errors
/// [`Error::Seeded`] if memory for that many classes cannot be reserved.
pub fn skeleton(architecture: &Architecture, classes: usize) -> Result<Graph, Error> {
    let mut state = StateDict::new();
    for layout::Entry { key, shape, .. } in layout::entries(architecture, classes) {
        weights::Array::from_fn(&shape, |_| 0.0)
            .and_then(|array| state.insert(key, array))
            .map_err(|source| Error::Seeded { architecture: architecture.name.to_string(), source })?;
    }
    build_out_of(architecture, classes, state)
}

/// The graph of a network with `classes` classes and the weights of `state`, with batch norms folded into the
/// convolutions. Nodes have the names of the modules; the output is the logits, without softmax.
///
/// Batch counts may be missing and are not read.
///
/// # Errors
/// [`Error::Weights`] with all problems of `state`.
pub fn build(architecture: &Architecture, classes: usize, state: &StateDict) -> Result<Graph, Error> {
    assemble(architecture, classes, Cow::Borrowed(state))
}

/// The same graph, with weights that reuse the memory of `state`.
///
/// # Errors
/// [`Error::Weights`] with all problems of `state`.
pub fn build_out_of(architecture: &Architecture, classes: usize, state: StateDict) -> Result<Graph, Error> {
    assemble(architecture, classes, Cow::Owned(state))
}

fn assemble(architecture: &Architecture, classes: usize, mut state: Cow<'_, StateDict>) -> Result<Graph, Error> {
    let failed = |source| Error::Graph { architecture: architecture.name.to_string(), source };
    let mut problems = Vec::new();
    let mut builder = Builder::new();
    // `None` is a module that could not be built, or one that follows it: only its weights are checked.
    let mut nodes: Vec<Option<NodeId>> = Vec::new();
    for module in layout::modules(architecture, classes) {
        let weights = match Weights::read(&module, &mut state) {
            Ok(weights) => Some(weights),
            Err(found) => {
                problems.extend(found);
                None
            }
        };
        let inputs: Option<Vec<NodeId>> = module.inputs.iter().map(|&input| nodes.get(input).copied()?).collect();
        let node = match (weights, inputs) {
            (Some(weights), Some(inputs)) => Some(add(&mut builder, &module, &inputs, weights).map_err(failed)?),
            _ => None,
        };
        nodes.push(node);
    }
    let entries = layout::entries(architecture, classes);
    let known: HashSet<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    let unexpected =
        state.iter().filter(|(key, _)| !known.contains(key) && !PROFILER.iter().any(|end| key.ends_with(end)));
    problems.extend(
        unexpected.map(|(key, array)| Problem::Unexpected { key: key.to_owned(), shape: array.shape().to_vec() }),
    );
    match nodes.last() {
        Some(&Some(output)) if problems.is_empty() => builder.finish(output).map_err(failed),
        _ => Err(Error::Weights { architecture: architecture.name.to_string(), problems }),
    }
}

/// Weight and bias of a module in the form that its node needs; both are empty for a module without weights.
#[derive(Debug, Default, PartialEq)]
struct Weights {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Weights {
    /// Takes the weights of `module` out of a state dict if it is owned; or returns all its problems.
    fn read(module: &Module, state: &mut Cow<'_, StateDict>) -> Result<Self, Vec<Problem>> {
        let entries: Vec<_> =
            module_entries(module).into_iter().filter(|entry| entry.kind != EntryRole::BatchCount).collect();
        let check = |entry: &Entry| state.values(&entry.key, &entry.shape).err().map(Problem::Entry);
        let problems: Vec<Problem> = entries.iter().filter_map(check).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let values = entries.iter().filter_map(|entry| match state {
            Cow::Borrowed(state) => state.get(&entry.key).map(|array| array.data().to_vec()),
            Cow::Owned(state) => state.take(&entry.key).map(Array::into_data),
        });
        let mut values = values.collect::<Vec<_>>().into_iter();
        let mut next = || values.next().unwrap_or_default();
        let weights = match entries.len() {
            0 => Self::default(),
            2 => Self { weight: next(), bias: next() },
            _ => fold(next(), &BatchNorm { scale: next(), offset: next(), mean: next(), variance: next() }),
        };
        if weights.weight.iter().chain(&weights.bias).all(|value| value.is_finite()) {
            Ok(weights)
        } else {
            Err(vec![Problem::NotFinite { module: module.name.clone() }])
        }
    }
}

/// The four vectors of a batch norm, each `[channels]`.
struct BatchNorm {
    scale: Vec<f32>,
    offset: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
}

/// The convolution that equals one with `weight` (`[out, …]`, no bias) followed by the batch norm: the weights times
/// `scale / sqrt(variance + EPSILON)`, and `offset - mean * scale / sqrt(variance + EPSILON)` as the bias. Computed in
/// 64-bit floating point and rounded once.
fn fold(mut weight: Vec<f32>, norm: &BatchNorm) -> Weights {
    let per_channel = weight.len() / norm.scale.len().max(1);
    let mut bias = Vec::with_capacity(norm.scale.len());
    for (channel, weight) in weight.chunks_exact_mut(per_channel.max(1)).enumerate() {
        let at = |values: &[f32]| f64::from(values[channel]);
        let factor = at(&norm.scale) / (at(&norm.variance) + EPSILON).sqrt();
        for value in weight {
            *value = (f64::from(*value) * factor) as f32;
        }
        bias.push((at(&norm.offset) - at(&norm.mean) * factor) as f32);
    }
    Weights { weight, bias }
}

/// Adds the node of `module` with its weights.
fn add(builder: &mut Builder, module: &Module, inputs: &[NodeId], weights: Weights) -> Result<NodeId, graph::Error> {
    let Module { name, channels, .. } = module;
    let channels = *channels;
    let Weights { weight, bias } = weights;
    let unknown = || graph::Error::UnknownNode { name: name.clone() };
    let first = || inputs.first().copied().ok_or_else(unknown);
    match module.layer {
        Layer::Input => builder.input(name, channels),
        Layer::Conv { in_channels, kernel, stride } => {
            let conv = Conv {
                in_channels,
                out_channels: channels,
                window: Window::square(kernel, stride, kernel / 2),
                groups: 1,
                weight: weight.into(),
                bias: bias.into(),
                activation: Activation::Relu6,
            };
            builder.conv(name, first()?, conv)
        }
        Layer::Depthwise { stride } => {
            let conv = Conv {
                in_channels: channels,
                out_channels: channels,
                window: Window::square(3, stride, 1),
                groups: channels,
                weight: weight.into(),
                bias: bias.into(),
                activation: Activation::None,
            };
            builder.conv(name, first()?, conv)
        }
        Layer::MaxPool { kernel, padding } => builder.max_pool(name, first()?, Window::square(kernel, 2, padding)),
        Layer::Concat => builder.concat(name, inputs),
        Layer::GlobalAverage => builder.global_average(name, first()?),
        Layer::Linear { in_channels } => {
            let linear = Linear { in_channels, out_channels: channels, weight: weight.into(), bias: bias.into() };
            builder.linear(name, first()?, linear)
        }
    }
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
