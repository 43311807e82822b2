//! Extracts the weights of a network of the family from a graph with folded batch norms, such as an ONNX file for
//! inference: the names are lost, the order is not.

use super::build::EPSILON;
use super::layout::{Layer, Module, module_entries, modules};
use super::table::{ARCHITECTURES, Architecture};
use crate::engine::graph::{Activation, Conv, Graph, Linear, Op, Padding, Window};
use crate::weights::{Array, EntryRole, Error, StateDict};

/// The architecture with exactly the convolutions and the linear layer of `graph`, in order, with the number of classes
/// and the weights. The candidates are `wanted` or, if that is `None`, the published architectures; `None` if none
/// matches.
///
/// The batch norms of the result change nothing except for the bias of the folded convolution.
///
/// # Errors
/// If a second copy of the weights does not fit into memory.
pub fn weights_of(
    graph: &Graph,
    wanted: Option<&Architecture>,
) -> Result<Option<(Architecture, usize, StateDict)>, Error> {
    let layers: Vec<&Op> =
        graph.nodes().iter().map(|node| &node.op).filter(|op| matches!(op, Op::Conv(_) | Op::Linear(_))).collect();
    let Some(Op::Linear(Linear { out_channels: classes, .. })) = layers.last() else { return Ok(None) };
    let mut candidates = wanted.map_or_else(|| ARCHITECTURES.iter().collect(), |wanted| vec![wanted]).into_iter();
    let fitting = candidates.find_map(|architecture| {
        let modules = modules(architecture, *classes);
        let weighted: Vec<Module> = modules.into_iter().filter(|module| !module_entries(module).is_empty()).collect();
        let fits = weighted.len() == layers.len()
            && weighted.iter().zip(&layers).all(|(module, layer)| is_layer(module, layer));
        fits.then_some((architecture, weighted))
    });
    let Some((architecture, modules)) = fitting else { return Ok(None) };
    let mut state = StateDict::new();
    for (module, layer) in modules.iter().zip(layers) {
        let (weight, bias) = match layer {
            Op::Conv(Conv { weight, bias, .. }) | Op::Linear(Linear { weight, bias, .. }) => (weight, bias),
            _ => continue,
        };
        for entry in module_entries(module) {
            let constant = |value: f32| Array::from_fn(&entry.shape, |_| value);
            let array = match entry.kind {
                EntryRole::Convolution | EntryRole::LinearWeight => Array::from_fn(&entry.shape, |index| weight[index]),
                EntryRole::NormBias | EntryRole::LinearBias => Array::from_fn(&entry.shape, |index| bias[index]),
                EntryRole::NormWeight => constant(1.0),
                EntryRole::RunningVariance => constant((1.0 - EPSILON) as f32),
                EntryRole::RunningMean | EntryRole::BatchCount => constant(0.0),
            };
            state.insert(entry.key, array?)?;
        }
    }
    Ok(Some((architecture.clone(), *classes, state)))
}

/// Whether the operator is that of the module, apart from its weights.
fn is_layer(module: &Module, op: &Op) -> bool {
    let is_conv = |conv: &Conv, read: usize, kernel: usize, stride: usize, groups: usize| {
        let side = kernel / 2;
        let padding = Padding { top: side, left: side, bottom: side, right: side };
        let activation = if groups == 1 { Activation::Relu6 } else { Activation::None };
        (conv.in_channels, conv.out_channels, conv.groups) == (read, module.channels, groups)
            && conv.window == Window { kernel: [kernel; 2], stride: [stride; 2], padding }
            && conv.activation == activation
    };
    match (module.layer, op) {
        (Layer::Conv { in_channels, kernel, stride }, Op::Conv(conv)) => is_conv(conv, in_channels, kernel, stride, 1),
        (Layer::Depthwise { stride }, Op::Conv(conv)) => is_conv(conv, module.channels, 3, stride, module.channels),
        (Layer::Linear { in_channels }, Op::Linear(linear)) => linear.in_channels == in_channels,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::{build, find, seeded};
    use super::*;
    use crate::engine::graph::{Builder, NodeId};

    #[test]
    fn a_folded_graph_gives_weights_that_make_the_same_graph() {
        for name in ["hardnet39ds", "hardnet68"] {
            let architecture = find(name).unwrap();
            let graph = build(architecture, 7, &seeded(architecture, 7).unwrap()).unwrap();
            let (found, classes, state) = weights_of(&graph, None).unwrap().unwrap();
            assert_eq!((&found, classes), (architecture, 7));
            let again = build(&found, classes, &state).unwrap();
            for (node, again) in graph.nodes().iter().zip(again.nodes()) {
                if let (Op::Conv(conv), Op::Conv(again)) = (&node.op, &again.op) {
                    assert_eq!(conv.bias, again.bias);
                    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= a.abs() * 1e-6;
                    assert!(conv.weight.iter().zip(again.weight.iter()).all(close), "{}", node.name);
                }
            }
        }
    }

    #[test]
    fn other_graphs_are_not_taken_for_ours() {
        let architecture = find("hardnet39ds").unwrap();
        let graph = build(architecture, 7, &seeded(architecture, 7).unwrap()).unwrap();
        assert!(weights_of(&graph, find("hardnet68ds")).unwrap().is_none());
        let part = graph.up_to(graph.find("base.4").unwrap()).unwrap();
        assert!(weights_of(&part, None).unwrap().is_none());
        for change in
            [|conv: &mut Conv| conv.activation = Activation::Relu, |conv: &mut Conv| conv.window.padding.top = 0]
        {
            let mut other = Builder::new();
            let mut nodes = Vec::new();
            for (index, node) in graph.nodes().iter().enumerate() {
                let inputs: Vec<NodeId> = node.inputs.iter().map(|input| nodes[input.index()]).collect();
                nodes.push(match node.op.clone() {
                    Op::Input { channels } => other.input(&node.name, channels).unwrap(),
                    Op::Conv(mut conv) => {
                        if index == 1 {
                            change(&mut conv);
                        }
                        other.conv(&node.name, inputs[0], conv).unwrap()
                    }
                    Op::MaxPool(pool) => other.max_pool(&node.name, inputs[0], pool).unwrap(),
                    Op::Concat => other.concat(&node.name, &inputs).unwrap(),
                    Op::GlobalAverage => other.global_average(&node.name, inputs[0]).unwrap(),
                    Op::Linear(linear) => other.linear(&node.name, inputs[0], linear).unwrap(),
                    op => panic!("{op:?}"),
                });
            }
            let other = other.finish(*nodes.last().unwrap()).unwrap();
            assert!(weights_of(&other, None).unwrap().is_none());
        }
    }
}
