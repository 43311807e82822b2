//! From a file to a graph.

use std::collections::{HashMap, HashSet};

use super::file::File;
use super::network::{Network, Value};
use super::operator::Operator;
use super::{Error, Imported};
use crate::engine::graph::{self, Builder, Graph, NodeId};
use crate::engine::onnx::{INPUT, OUTPUT, PARTS, is_reserved};
use crate::engine::op::{Op, Padding};

/// The network of `file`.
///
/// # Errors
/// Any [`Error`].
pub(super) fn network(file: &File) -> Result<Imported, Error> {
    let live = live(file);
    let mut network = Network::new(file, &live);
    for &operator in &live {
        network.node(operator)?;
    }
    let output = file.graph().output.first().map_or("", |output| output.name.as_str());
    let last = match network.output(output) {
        Some(Value::Item(handle, Padding { top: 0, left: 0, bottom: 0, right: 0 })) => handle.item,
        _ => return Err(Error::Output { name: output.to_owned() }),
    };
    let parameters = network.parameters;
    let (graph, rows) = build(network, last)?;
    let (size, metadata, producer) = (file.size(), file.metadata(), file.producer());
    let imported = Imported { graph, rows, size, metadata, producer, parameters };
    if let Some([height, width]) = file.size() {
        imported.shapes(height, width).map_err(Error::Graph)?;
    }
    Ok(imported)
}

/// The nodes that the output depends on, in order.
fn live(file: &File) -> Vec<Operator<'_>> {
    let graph = file.graph();
    let mut needed: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let mut live = Vec::new();
    for node in graph.node.iter().rev() {
        if node.output.iter().any(|output| needed.contains(output.as_str())) {
            needed.extend(node.input.iter().filter(|input| !input.is_empty()).map(String::as_str));
            live.push(Operator::new(node));
        }
    }
    live.reverse();
    live
}

/// The graph of the items that item `last` depends on, and its convolutions whose value is known to be one pixel.
fn build(network: Network<'_>, last: usize) -> Result<(Graph, Vec<NodeId>), Error> {
    let mut needed = vec![false; network.items.len()];
    needed[last] = true;
    // Every item comes after its inputs.
    for (index, item) in network.items.iter().enumerate().rev() {
        if needed[index] {
            item.inputs.iter().for_each(|&input| needed[input] = true);
        }
    }
    // The graph has an input even if the output does not depend on it.
    needed[0] = true;
    let mut builder = Builder::new();
    let mut names = Names::default();
    let mut nodes: Vec<Option<NodeId>> = Vec::with_capacity(network.items.len());
    let mut rows = Vec::new();
    for (index, item) in network.items.into_iter().enumerate() {
        if !needed[index] {
            nodes.push(None);
            continue;
        }
        let name = match index {
            0 => names.take(&item.name, INPUT),
            index if index == last => names.take(&item.name, OUTPUT),
            _ => names.take(&item.name, ""),
        };
        let inputs: Vec<NodeId> = item.inputs.iter().filter_map(|&input| nodes.get(input).copied()?).collect();
        let is_row = item.size == Some([1, 1]) && matches!(item.op, Op::Conv(_));
        let node = add(&mut builder, &name, &inputs, item.op)?;
        nodes.push(Some(node));
        rows.extend(is_row.then_some(node));
    }
    let unknown = || Error::Graph(graph::Error::UnknownNode { name: OUTPUT.to_owned() });
    let graph = builder.finish(nodes.get(last).copied().flatten().ok_or_else(unknown)?).map_err(Error::Graph)?;
    Ok((graph, rows))
}

/// Adds the node of `op`.
fn add(builder: &mut Builder, name: &str, inputs: &[NodeId], op: Op) -> Result<NodeId, Error> {
    let finite = |values: &[f32]| {
        let fail = || Error::Tensor { name: name.to_owned(), problem: "has weights that are not finite".to_owned() };
        if values.iter().all(|value| value.is_finite()) { Ok(()) } else { Err(fail()) }
    };
    let unknown = || Error::Graph(graph::Error::UnknownNode { name: name.to_owned() });
    let first = || inputs.first().copied().ok_or_else(unknown);
    match op {
        Op::Input { channels } => builder.input(name, channels),
        Op::Conv(conv) => {
            finite(&conv.weight).and_then(|()| finite(&conv.bias))?;
            builder.conv(name, first()?, conv)
        }
        Op::MaxPool(pool) => builder.max_pool(name, first()?, pool),
        Op::AvgPool { pool, count_include_pad } => builder.avg_pool(name, first()?, pool, count_include_pad),
        Op::Concat => builder.concat(name, inputs),
        Op::Add => match inputs[..] {
            [first, second] => builder.add(name, first, second),
            _ => return Err(unknown()),
        },
        Op::GlobalAverage => builder.global_average(name, first()?),
        Op::Linear(linear) => {
            finite(&linear.weight).and_then(|()| finite(&linear.bias))?;
            builder.linear(name, first()?, linear)
        }
        Op::Softmax => builder.softmax(name, first()?),
        Op::Affine(affine) => {
            finite(&affine.scale).and_then(|()| finite(&affine.shift))?;
            builder.affine(name, first()?, affine)
        }
        Op::Activation(activation) => builder.activation(name, first()?, activation),
    }
    .map_err(Error::Graph)
}

/// Maximum length of a node name in bytes; longer ones are cut. Readers of a node refer to it by name.
const MAX_NAME: usize = 256;

/// Names in the graph; each leaves room for the names that an ONNX model derives from it.
#[derive(Default)]
struct Names {
    taken: HashSet<String>,
    /// The last number tried for each name that was taken.
    numbers: HashMap<String, u64>,
}

impl Names {
    /// `name`, changed if it is taken or too long. The model's name `own` is allowed.
    fn take(&mut self, name: &str, own: &str) -> String {
        let name = &name[..name.floor_char_boundary(MAX_NAME)];
        let is_free = |names: &Self, name: &str| (name == own || !is_reserved(name)) && names.is_free(name);
        let mut candidate = name.to_owned();
        if !is_free(self, name) {
            // Numbers stay taken, so each is tried once, however often the name occurs.
            let mut number = self.numbers.get(name).copied().unwrap_or(1);
            loop {
                number += 1;
                candidate = format!("{name}_{number}");
                if is_free(self, &candidate) {
                    break;
                }
            }
            self.numbers.insert(name.to_owned(), number);
        }
        self.taken.insert(candidate.clone());
        candidate
    }

    /// Whether neither the name nor a name derived from it is taken.
    fn is_free(&self, name: &str) -> bool {
        if self.taken.contains(name) {
            return false;
        }
        // A name conflicts with names that it derives from, and with names derived from it.
        let is_part_of_one =
            name.rsplit_once('.').is_some_and(|(stem, part)| PARTS.contains(&part) && self.taken.contains(stem));
        !is_part_of_one && !PARTS.iter().any(|part| self.taken.contains(&format!("{name}.{part}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_changed_where_they_are_taken_and_leave_room_for_their_parts() {
        let mut names = Names::default();
        let mut take = |name: &str| names.take(name, "");
        assert_eq!(["a", "a", "a_2", "a", "a_2"].map(&mut take), ["a", "a_2", "a_2_2", "a_3", "a_2_3"]);
        assert_eq!(["a.conv", "b.gate", "b", "b.other"].map(&mut take), ["a.conv_2", "b.gate", "b_2", "b.other"]);
        assert_eq!(["input", "c.weight.bias", "c.weight"].map(&mut take), ["input_2", "c.weight.bias", "c.weight_2"]);
        let long = "ü".repeat(1000);
        assert_eq!(take(&long), "ü".repeat(128));
        assert_eq!(take(&long), format!("{}_2", "ü".repeat(128)));
    }
}
