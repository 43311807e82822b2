//! What a model is and costs, for people and programs.

use std::sync::Arc;

use serde::Serialize;

use super::definition::CLASSES;
use super::metadata::Source;
use super::open::{Place, find};
use super::taught::Lesson;
use super::{Definition, Error, ModelOptions, NetworkDefinition, Onnx, Training};
use crate::engine::cost::{Cost, NodeCost, cost};
use crate::engine::graph::Graph;
use crate::engine::modules::{module, of_nodes};
use crate::hardnet::{self, Architecture, Entry, Published, entries};
use crate::weights::StateDict;

/// A model at one input size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Description {
    /// Name of the model.
    pub name: String,
    /// Number of classes.
    pub classes: usize,
    /// Their names. None if the model has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<Arc<str>>>,
    /// Whether the weights have been trained.
    pub training: Training,
    /// The file that the weights were imported from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// How it was taught, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taught: Option<Lesson>,
    /// The part of pictures that it looks at: x, y, width and height in shares of their sides. None if it takes a centre
    /// crop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<[f64; 4]>,
    /// The weights that have been published for the network, if the model has none of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<&'static Published>,
    /// Rows and columns of the input that the costs apply to.
    pub input: [usize; 2],
    /// Sums over all stages.
    #[serde(flatten)]
    pub total: Figures,
    /// Bytes of the weights as 32-bit floats, batch norms folded.
    pub weights_bytes: u64,
    /// Peak bytes of layer outputs that are needed at the same time.
    pub peak_activation_bytes: u64,
    /// The network's modules, in order.
    pub stages: Vec<Stage>,
}

/// One module of a network: a convolution, a block, the head. For a network that is not of the family: the part that
/// works at one resolution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Name of the module.
    pub name: String,
    /// Channels, rows and columns of its output.
    pub output: [usize; 3],
    /// Its share of the costs.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Costs that add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Learnable parameters: convolutions, scales and offsets of batch norms, linear layers.
    pub parameters: u64,
    /// Multiply-accumulates of convolutions and the linear layer.
    pub macs: u64,
    /// Values that convolutions read and write (CIO, arXiv:1909.00948, 3).
    pub cio: u64,
}

/// Describes the model called `name`, as [`Definition::open`] finds it, for inputs of `size` (rows, columns; `None`:
/// the model's own).
///
/// # Errors
/// If the name is unknown, the file is unusable, or the network does not support the size.
pub fn describe(name: &str, size: Option<[usize; 2]>) -> Result<Description, Error> {
    let options = ModelOptions { size, ..ModelOptions::default() };
    let (definition, published) = match find(name)? {
        Place::Architecture(architecture) => {
            let published = hardnet::published(name).collect();
            (Definition::of_family(architecture, StateDict::new(), CLASSES, Training::Seeded), published)
        }
        Place::BuiltIn | Place::File(_) => (Definition::open(name, &options)?, Vec::new()),
    };
    let parameters = definition.parameters();
    let taught_graph = definition.taught.is_some().then(|| definition.graph()).transpose()?;
    let Definition { network, classes, transform, training, source, taught, labels, .. } = definition;
    let [height, width] = size.unwrap_or([transform.height, transform.width]);
    let of = |graph: &Graph| cost(graph, height, width);
    let (name, stages, Cost { nodes, peak_activation_bytes }) = match network {
        NetworkDefinition::Family { architecture, state } => {
            // The weights of a file must fit; without a file, there are none.
            let graph = match taught_graph {
                Some(graph) => Ok(graph),
                None if state.is_empty() => hardnet::skeleton(&architecture, classes),
                None => hardnet::build(&architecture, classes, &state),
            };
            let Cost { nodes, peak_activation_bytes } = of(&graph.map_err(Error::Network)?)?;
            let mut stages = modules(&architecture, classes, &nodes);
            if let (Some(taught), Some(linear)) = (&taught, stages.last_mut()) {
                linear.figures.parameters += taught.extra_weights(&architecture) as u64;
            }
            (architecture.name.into_owned(), stages, Cost { nodes, peak_activation_bytes })
        }
        NetworkDefinition::Onnx(network) => {
            let Onnx { graph, path, name, .. } = *network;
            let cost = of(&graph.map_err(|reason| Error::NoGraph { path, reason })?)?;
            (name, resolutions(&cost.nodes), cost)
        }
    };
    let sum = |figure: fn(&Figures) -> u64| stages.iter().map(|stage| figure(&stage.figures)).sum();
    Ok(Description {
        name,
        classes,
        labels,
        training,
        source,
        taught: taught.map(|taught| taught.lesson),
        region: transform.region.map(|region| region.shares()),
        published,
        input: [height, width],
        total: Figures { parameters, macs: sum(|f| f.macs), cio: sum(|f| f.cio) },
        weights_bytes: nodes.iter().map(|node| node.weights * size_of::<f32>() as u64).sum(),
        peak_activation_bytes,
        stages,
    })
}

/// Groups the nodes by the height and width of their outputs. Parameters are those that remain after batch norms are
/// folded.
fn resolutions(nodes: &[NodeCost]) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for NodeCost { shape, macs, weights, cio, .. } in nodes.iter().skip(1) {
        let output = [shape.channels, shape.height, shape.width];
        if stages.last().is_none_or(|stage| stage.output[1..] != output[1..]) {
            let name = format!("{}x{}", shape.height, shape.width);
            stages.push(Stage { name, output, figures: Figures::default() });
        }
        if let Some(stage) = stages.last_mut() {
            stage.output = output;
            stage.figures.parameters += weights;
            stage.figures.macs += macs;
            stage.figures.cio += cio;
        }
    }
    stages
}

/// Groups the nodes by their top-level module.
fn modules(architecture: &Architecture, classes: usize, nodes: &[NodeCost]) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let nodes = || nodes.iter().filter(|node| node.name != "input");
    for (node, name) in nodes().zip(of_nodes(nodes().map(|node| &*node.name))) {
        if stages.last().is_none_or(|stage| stage.name != name) {
            stages.push(Stage { name: name.to_owned(), output: [0; 3], figures: Figures::default() });
        }
        if let Some(stage) = stages.last_mut() {
            stage.output = [node.shape.channels, node.shape.height, node.shape.width];
            stage.figures.macs += node.macs;
            stage.figures.cio += node.cio;
        }
    }
    // The linear layer of a taught model is in the network's last module, but behind the means of maps.
    let of = |stage: &Stage, key: &str| key.strip_prefix(&stage.name).is_some_and(|rest| rest.starts_with('.'));
    for Entry { key, shape, kind } in entries(architecture, classes) {
        let stage = stages.iter_mut().rev().find(|stage| stage.name == module(&key) || of(stage, &key));
        if let Some(stage) = stage.filter(|_| kind.is_parameter()) {
            stage.figures.parameters += shape.iter().product::<usize>() as u64;
        }
    }
    stages
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::inference;

    #[test]
    fn stages_add_up_to_the_published_figures() {
        for (name, parameters, macs) in [
            ("hardnet39ds", 3_488_228, 429_471_474),
            ("hardnet68ds", 4_180_602, 775_281_526),
            ("hardnet68", 17_565_348, 4_246_114_304),
            ("hardnet85", 36_670_212, 9_074_081_584),
        ] {
            let description = describe(name, None).unwrap();
            assert_eq!((description.total.parameters, description.total.macs), (parameters, macs), "{name}");
            assert!(description.total.cio > 0 && description.peak_activation_bytes > 0);
        }
    }

    #[test]
    fn a_stage_is_a_top_level_module() {
        let description = describe("HarDNet-39-DS", Some([320, 256])).unwrap();
        assert_eq!(description.total.macs, 700_530_080);
        let first = &description.stages[0];
        assert_eq!((first.name.as_str(), first.output), ("base.0", [24, 160, 128]));
        assert_eq!(first.figures.parameters, 24 * 27 + 48);
        assert_eq!(first.figures.cio, (3 * 320 * 256 + 24 * 160 * 128) as u64);
        assert_eq!(description.stages.last().unwrap().output, [1000, 1, 1]);
        assert_eq!(description.stages.len(), 15);
    }

    #[test]
    fn a_size_that_is_too_small_and_an_unknown_name_are_errors() {
        assert!(matches!(describe("hardnet68", Some([8, 8])), Err(Error::Inference(inference::Error::Size(_)))));
        assert!(matches!(describe("hardnet40", None), Err(Error::Unknown { .. })));
    }
}
