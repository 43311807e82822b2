//! Writes nodes that tract (0.23) computes wrongly in a form that it computes correctly.

use std::collections::HashSet;

use crate::protobuf::{GraphProto, NodeProto, TensorProto};

/// Rewrites, in a graph in the order of computation:
///
/// - a constant minus a value as the constant plus the negative value, and a constant divided by a value as the constant
///   times the reciprocal: after a convolution, tract takes the operands for each other;
/// - a convolution or pool of one pixel with `auto_pad`, which needs no padding: with a stride, tract pads it.
pub(super) fn rewrite(graph: &mut GraphProto) {
    let mut names: HashSet<String> = graph.initializer.iter().map(|tensor: &TensorProto| tensor.name.clone()).collect();
    let mut constants = names.clone();
    names.extend(graph.input.iter().map(|input| input.name.clone()));
    names.extend(graph.node.iter().flat_map(|node| node.output.iter().cloned()));
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        if matches!(node.op_type.as_str(), "Constant" | "Identity" | "Cast")
            && node.input.iter().all(|input| constants.contains(input))
        {
            constants.extend(node.output.iter().cloned());
        }
        without_padding_of_one_pixel(graph, &mut node);
        nodes.extend(with_constant_second(&mut node, &constants, &mut names));
        nodes.push(node);
    }
    graph.node = nodes;
}

/// Turns `node` into a sum or product if its first operand is a constant; returns the node that then comes before it.
fn with_constant_second(
    node: &mut NodeProto,
    constants: &HashSet<String>,
    names: &mut HashSet<String>,
) -> Option<NodeProto> {
    let (before, instead) = match node.op_type.as_str() {
        "Sub" => ("Neg", "Add"),
        "Div" => ("Reciprocal", "Mul"),
        _ => return None,
    };
    let [first, second] = &node.input[..] else { return None };
    // The attributes of the first operator sets say how to broadcast.
    if !constants.contains(first) || constants.contains(second) || !node.attribute.is_empty() {
        return None;
    }
    let mut name = format!("{}/{before}", node.output.first()?);
    while !names.insert(name.clone()) {
        name.push('_');
    }
    let (output, input) = (vec![name.clone()], vec![second.clone()]);
    let operand = NodeProto { op_type: before.to_owned(), name: name.clone(), input, output, ..NodeProto::default() };
    (node.op_type, node.input) = (instead.to_owned(), vec![name, first.clone()]);
    Some(operand)
}

fn without_padding_of_one_pixel(graph: &GraphProto, node: &mut NodeProto) {
    let ints = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name).map(|it| it.ints.clone());
    let kernel = ints("kernel_shape").or_else(|| {
        let weight = graph.initializer.iter().find(|tensor| node.input.get(1) == Some(&tensor.name))?;
        weight.dims.get(2..).map(<[i64]>::to_vec)
    });
    let is_window = matches!(node.op_type.as_str(), "Conv" | "MaxPool" | "AveragePool");
    if is_window && kernel.is_some_and(|kernel| !kernel.is_empty() && kernel.iter().all(|side| *side == 1)) {
        let is_automatic = |name: &[u8]| matches!(name, b"SAME_UPPER" | b"SAME_LOWER" | b"VALID");
        node.attribute.retain(|attribute| attribute.name != "auto_pad" || !is_automatic(&attribute.s));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::AttributeProto;

    fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: operator.into(),
            name: output.into(),
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    #[test]
    fn a_constant_first_operand_becomes_the_second_one() {
        let mut graph = GraphProto {
            node: vec![
                node("Constant", &[], "c"),
                node("Sub", &["c", "x"], "a"),
                node("Div", &["w", "a"], "b"),
                node("Sub", &["b", "c"], "d"),
                node("Div", &["d", "a"], "a/Neg"),
            ],
            initializer: vec![TensorProto { name: "w".into(), ..TensorProto::default() }],
            ..GraphProto::default()
        };
        rewrite(&mut graph);
        let found =
            graph.node.iter().map(|node| format!("{} = {}({})", node.output[0], node.op_type, node.input.join(", ")));
        let found: Vec<_> = found.collect();
        let expected = [
            "c = Constant()",
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
    fn windows_of_one_pixel_have_no_automatic_padding() {
        let auto = AttributeProto { name: "auto_pad".into(), s: b"SAME_UPPER".to_vec(), ..AttributeProto::default() };
        let kernel =
            |side: i64| AttributeProto { name: "kernel_shape".into(), ints: vec![side; 2], ..Default::default() };
        for (side, left) in [(1, 1), (3, 2)] {
            let mut conv = node("Conv", &["x", "w"], "y");
            conv.attribute = vec![auto.clone(), kernel(side)];
            let mut graph = GraphProto { node: vec![conv], ..GraphProto::default() };
            rewrite(&mut graph);
            assert_eq!(graph.node[0].attribute.len(), left);
        }
    }
}
