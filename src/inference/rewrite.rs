//! Writes nodes that tract (0.23) computes wrongly in a form that it computes correctly.

use std::collections::{HashMap, HashSet};

use crate::protobuf::{AttributeProto, AttributeType, DataType, GraphProto, NodeProto, TensorProto};

/// Operator set from which all reductions have their axes as an input.
const AXES_AS_INPUT: i64 = 18;

/// Rewrites, in a graph in the order of computation, of the given operator set:
///
/// - a constant minus a value as the constant plus the negative value, and a constant divided by a value as the constant
///   times the reciprocal: after a convolution, tract takes the operands for each other;
/// - Celu and Swish with their factor as other functions, which tract ignores or misplaces;
/// - Softplus, ReduceLogSumExp and LogSoftmax for values less than zero: tract takes the logarithm of exponentials of any
///   size, which are infinite or zero;
/// - Mean as a sum times a number: tract divides by one of as many axes as the first value has;
/// - the default of ConstantOfShape, a float: tract makes a double of it;
/// - the first form of Resize, which rounds down: tract rounds to the nearest pixel;
/// - omitted inputs at the end of the list: tract reads some of them.
pub(super) fn rewrite(graph: &mut GraphProto, operator_set: i64) {
    let mut rewriter = Rewriter { operator_set, names: HashSet::new(), floats: HashMap::new(), nodes: Vec::new() };
    rewriter.names.extend(graph.input.iter().map(|input| input.name.clone()));
    rewriter.names.extend(graph.node.iter().flat_map(|node| node.output.iter().cloned()));
    for tensor in &graph.initializer {
        rewriter.names.insert(tensor.name.clone());
        rewriter.floats.insert(tensor.name.clone(), is_float(tensor.data_type));
    }
    for mut node in std::mem::take(&mut graph.node) {
        while node.input.last().is_some_and(String::is_empty) {
            node.input.pop();
        }
        rewriter.learn(&node);
        rewriter.rewrite(&mut node);
        rewriter.nodes.push(node);
    }
    graph.node = rewriter.nodes;
}

/// Rewrites one node after the other.
struct Rewriter {
    operator_set: i64,
    /// The names of all values.
    names: HashSet<String>,
    /// The constants, and whether their values are floats.
    floats: HashMap<String, bool>,
    /// The nodes so far.
    nodes: Vec<NodeProto>,
}

impl Rewriter {
    /// Remembers the outputs of `node` if they are constants.
    fn learn(&mut self, node: &NodeProto) {
        let kind = node.op_type.as_str();
        // The sizes of all maps are known.
        let is_size = matches!(kind, "Shape" | "Size");
        if !is_size && !node.input.iter().all(|input| input.is_empty() || self.floats.contains_key(input)) {
            return;
        }
        let input = |index: usize| node.input.get(index).and_then(|name| self.floats.get(name)).copied();
        let float = match kind {
            "Shape" | "Size" => false,
            "Constant" | "ConstantOfShape" => {
                let value = attribute(node, "value").and_then(|value| value.t.as_ref());
                let default = kind == "ConstantOfShape" || attribute(node, "value_float").is_some();
                let default = default || attribute(node, "value_floats").is_some();
                value.map_or(default, |tensor| is_float(tensor.data_type))
            }
            "Cast" => attribute(node, "to").is_some_and(|to| i32::try_from(to.i).is_ok_and(is_float)),
            "CastLike" | "Where" => input(1).unwrap_or(false),
            _ => input(0).unwrap_or(false),
        };
        self.floats.extend(node.output.iter().map(|output| (output.clone(), float)));
    }

    fn rewrite(&mut self, node: &mut NodeProto) {
        let (Some(output), Some(x)) = (node.output.first().cloned(), node.input.first().cloned()) else { return };
        let alpha = attribute(node, "alpha").map_or(1.0, |alpha| alpha.f);
        match node.op_type.as_str() {
            "Sub" => self.constant_second(node, &output, "Neg", "Add"),
            "Div" => self.constant_second(node, &output, "Reciprocal", "Mul"),
            "Celu" if alpha != 1.0 => {
                let factor = self.number(&output, alpha);
                let part = self.add(&output, "Div", &[&x, &factor], vec![]);
                let part = self.add(&output, "Elu", &[&part], vec![]);
                replace(node, "Mul", [part, factor]);
            }
            "Swish" if alpha != 1.0 => {
                let factor = self.number(&output, alpha);
                let part = self.add(&output, "Mul", &[&x, &factor], vec![]);
                let part = self.add(&output, "Sigmoid", &[&part], vec![]);
                replace(node, "Mul", [x, part]);
            }
            "Softplus" => {
                let part = self.add(&output, "Abs", &[&x], vec![]);
                let part = self.add(&output, "Neg", &[&part], vec![]);
                let part = self.add(&output, "Softplus", &[&part], vec![]);
                let positive = self.add(&output, "Relu", &[&x], vec![]);
                replace(node, "Add", [positive, part]);
            }
            "ReduceLogSumExp" => {
                let axes = node.input.get(1).cloned();
                let read = |first| [Some(first), axes.as_deref()].into_iter().flatten().collect::<Vec<&str>>();
                let mut kept = node.attribute.clone();
                kept.retain(|attribute| attribute.name != "keepdims");
                let kept = self.add(&output, "ReduceMax", &read(&x), kept);
                let part = self.add(&output, "Sub", &[&x, &kept], vec![]);
                let part = self.add(&output, "ReduceLogSumExp", &read(&part), node.attribute.clone());
                let largest = self.add(&output, "ReduceMax", &read(&x), node.attribute.clone());
                replace(node, "Add", [part, largest]);
            }
            "Mean" => {
                let factor = self.number(&output, 1.0 / node.input.len() as f32);
                let values: Vec<&str> = node.input.iter().map(String::as_str).collect();
                let sum = self.add(&output, "Sum", &values, vec![]);
                replace(node, "Mul", [sum, factor]);
            }
            "LogSoftmax" => self.log_softmax(node, &output, &x),
            "ConstantOfShape" if attribute(node, "value").is_none() => {
                let (dims, data_type) = (vec![1], DataType::Float as i32);
                let zero = TensorProto { dims, data_type, float_data: vec![0.0], ..TensorProto::default() };
                let (name, r#type) = ("value".to_owned(), AttributeType::Tensor as i32);
                node.attribute.push(AttributeProto { name, r#type, t: Some(zero), ..AttributeProto::default() });
            }
            "Resize" if self.operator_set == 10 => {
                let (name, r#type) = ("nearest_mode".to_owned(), AttributeType::String as i32);
                let s = b"floor".to_vec();
                node.attribute.push(AttributeProto { name, r#type, s, ..AttributeProto::default() });
            }
            _ => {}
        }
    }

    /// Turns `node` into a sum or product if its first operand is a constant of floats.
    fn constant_second(&mut self, node: &mut NodeProto, output: &str, before: &str, instead: &str) {
        let [first, second] = &node.input[..] else { return };
        // The attributes of the first operator sets say how to broadcast.
        let is_float = self.floats.get(first) == Some(&true);
        if is_float && !self.floats.contains_key(second) && node.attribute.is_empty() {
            let first = first.clone();
            let second = self.add(output, before, &[second], vec![]);
            replace(node, instead, [second, first]);
        }
    }

    fn log_softmax(&mut self, node: &mut NodeProto, output: &str, x: &str) {
        let axis = attribute(node, "axis").map(|axis| axis.i);
        // Before operator set 13, it covers all axes from this one on.
        if self.operator_set < 13 && axis != Some(-1) {
            return;
        }
        let axes = |name: &str| {
            let (name, r#type, ints) = (name.to_owned(), AttributeType::Ints as i32, vec![axis.unwrap_or(-1)]);
            vec![AttributeProto { name, r#type, ints, ..AttributeProto::default() }]
        };
        let (input, attributes) = if self.operator_set < AXES_AS_INPUT {
            (None, axes("axes"))
        } else {
            (Some(self.add(output, "Constant", &[], axes("value_ints"))), vec![])
        };
        let read = |first| [Some(first), input.as_deref()].into_iter().flatten().collect::<Vec<&str>>();
        let largest = self.add(output, "ReduceMax", &read(x), attributes.clone());
        let part = self.add(output, "Sub", &[x, &largest], vec![]);
        let sum = self.add(output, "ReduceLogSumExp", &read(&part), attributes);
        replace(node, "Sub", [part, sum]);
    }

    /// Adds a constant.
    fn number(&mut self, output: &str, value: f32) -> String {
        let (name, r#type) = ("value_float".to_owned(), AttributeType::Float as i32);
        let value = AttributeProto { name, r#type, f: value, ..AttributeProto::default() };
        self.add(output, "Constant", &[], vec![value])
    }

    /// Adds a node before the one that makes `output`; returns the name of its value.
    fn add(&mut self, output: &str, operator: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let mut name = format!("{output}/{operator}");
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        let input = inputs.iter().map(|&input| input.to_owned()).collect();
        let (op_type, output) = (operator.to_owned(), vec![name.clone()]);
        self.nodes.push(NodeProto { op_type, name: name.clone(), input, output, attribute, ..NodeProto::default() });
        name
    }
}

fn replace(node: &mut NodeProto, operator: &str, inputs: [String; 2]) {
    (node.op_type, node.input) = (operator.to_owned(), inputs.into());
    node.attribute.clear();
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

fn is_float(data_type: i32) -> bool {
    use DataType::{Bfloat16, Double, Float, Float16};
    matches!(DataType::try_from(data_type), Ok(Float | Double | Float16 | Bfloat16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: operator.into(),
            name: output.into(),
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    fn tensor(name: &str, data_type: DataType) -> TensorProto {
        TensorProto { name: name.into(), data_type: data_type as i32, ..TensorProto::default() }
    }

    /// The nodes after the rewriting, in short.
    fn rewritten(nodes: Vec<NodeProto>, operator_set: i64) -> Vec<String> {
        let initializer = vec![tensor("w", DataType::Float), tensor("n", DataType::Int64)];
        let mut graph = GraphProto { node: nodes, initializer, ..GraphProto::default() };
        rewrite(&mut graph, operator_set);
        let short = |node: &NodeProto| format!("{} = {}({})", node.output[0], node.op_type, node.input.join(", "));
        graph.node.iter().map(short).collect()
    }

    #[test]
    fn a_constant_first_operand_becomes_the_second_one() {
        let found = rewritten(
            vec![
                node("Unsqueeze", &["w", "n"], "c"),
                node("Sub", &["c", "x"], "a"),
                node("Div", &["w", "a"], "b"),
                node("Sub", &["b", "c"], "d"),
                node("Div", &["d", "a"], "a/Neg"),
            ],
            13,
        );
        let expected = [
            "c = Unsqueeze(w, n)",
            "a/Neg_ = Neg(x)",
            "a = Add(a/Neg_, c)",
            "b/Reciprocal = Reciprocal(a)",
            "b = Mul(b/Reciprocal, w)",
            "d = Sub(b, c)",
            "a/Neg = Div(d, a)",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn whole_numbers_keep_their_order() {
        let nodes = vec![node("Shape", &["x"], "s"), node("Div", &["n", "x"], "a"), node("Sub", &["s", "a"], "b")];
        assert_eq!(rewritten(nodes, 13), ["s = Shape(x)", "a = Div(n, x)", "b = Sub(s, a)"]);
    }

    #[test]
    fn exponentials_are_of_values_below_zero() {
        let found = rewritten(vec![node("Softplus", &["x"], "a"), node("LogSoftmax", &["a"], "b")], 18);
        let expected = [
            "a/Abs = Abs(x)",
            "a/Neg = Neg(a/Abs)",
            "a/Softplus = Softplus(a/Neg)",
            "a/Relu = Relu(x)",
            "a = Add(a/Relu, a/Softplus)",
            "b/Constant = Constant()",
            "b/ReduceMax = ReduceMax(a, b/Constant)",
            "b/Sub = Sub(a, b/ReduceMax)",
            "b/ReduceLogSumExp = ReduceLogSumExp(b/Sub, b/Constant)",
            "b = Sub(b/Sub, b/ReduceLogSumExp)",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn omitted_inputs_at_the_end_are_not_listed() {
        assert_eq!(rewritten(vec![node("Clip", &["x", "", "w", ""], "a")], 13), ["a = Clip(x, , w)"]);
    }
}
