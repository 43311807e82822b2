#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;
use crate::engine::graph::Builder;

fn conv(activation: Activation) -> Conv {
    Conv {
        in_channels: 2,
        out_channels: 2,
        window: Window { kernel: [1, 3], stride: [1, 2], padding: Padding { top: 0, left: 1, bottom: 0, right: 2 } },
        groups: 2,
        weight: vec![1.0; 6].into(),
        bias: vec![-1.0, 0.5].into(),
        activation,
    }
}

fn operators(graph: &GraphProto) -> Vec<(&str, &str, Vec<&str>, &str)> {
    graph
        .node
        .iter()
        .map(|node| {
            let inputs = node.input.iter().map(String::as_str).collect();
            (node.name.as_str(), node.op_type.as_str(), inputs, node.output[0].as_str())
        })
        .collect()
}

#[test]
fn nodes_values_and_weights_carry_the_names_of_the_graph() {
    let mut graph = Builder::new();
    let image = graph.input("image", 2).unwrap();
    let clipped = graph.conv("a", image, conv(Activation::Relu6)).unwrap();
    let plain = graph.conv("b", clipped, conv(Activation::None)).unwrap();
    let mean = graph.global_average("mean", plain).unwrap();
    let linear = Linear { in_channels: 2, out_channels: 3, weight: vec![0.0; 6].into(), bias: vec![0.0; 3].into() };
    let scores = graph.linear("classes", mean, linear).unwrap();
    let proto = model(&graph.finish(scores).unwrap(), 5, 7).unwrap();
    assert_eq!((proto.ir_version, proto.opset_import[0].version), (7, 14));
    let graph = proto.graph.unwrap();
    assert_eq!(
        operators(&graph),
        [
            ("a.conv", "Conv", vec!["input", "a.weight", "a.bias"], "a.conv"),
            ("a", "Clip", vec!["a.conv", "relu6.min", "relu6.max"], "a"),
            ("b", "Conv", vec!["a", "b.weight", "b.bias"], "b"),
            ("mean", "GlobalAveragePool", vec!["b"], "mean"),
            ("classes.flatten", "Flatten", vec!["mean"], "classes.flatten"),
            ("classes", "Gemm", vec!["classes.flatten", "classes.weight", "classes.bias"], "logits"),
        ]
    );
    let weight = &graph.initializer[0];
    assert_eq!((weight.name.as_str(), &weight.dims[..]), ("a.weight", &[2, 1, 1, 3][..]));
    assert_eq!(weight.raw_data, 1.0_f32.to_le_bytes().repeat(6));
    let bounds: Vec<_> = graph.initializer.iter().filter(|tensor| tensor.dims.is_empty()).collect();
    assert_eq!(bounds.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(), ["relu6.min", "relu6.max"]);
    let attribute = |name| &graph.node[0].attribute.iter().find(|attribute| attribute.name == name).unwrap().ints;
    assert_eq!(attribute("kernel_shape"), &[1, 3]);
    assert_eq!(attribute("strides"), &[1, 2]);
    assert_eq!(attribute("pads"), &[0, 1, 0, 2]);
    assert_eq!(graph.input[0], value_info("input", &[1, 2, 5, 7]).unwrap());
    assert_eq!(graph.output[0], value_info("logits", &[1, 3]).unwrap());
}

#[test]
fn scales_shifts_and_activations_are_several_nodes() {
    let mut graph = Builder::new();
    let image = graph.input("image", 2).unwrap();
    let values: crate::engine::graph::Values = vec![1.0, 2.0].into();
    let affine = |activation| Affine { scale: values.clone(), shift: values.clone(), activation };
    let a = graph.affine("a", image, affine(Activation::None)).unwrap();
    let b = graph.affine("b", a, affine(Activation::HardSwish)).unwrap();
    let c = graph.activation("c", b, Activation::Silu).unwrap();
    let linear = Linear { in_channels: 2, out_channels: 2, weight: vec![0.0; 4].into(), bias: values.clone() };
    let d = graph.linear("d", c, linear).unwrap();
    let e = graph.affine("e", d, affine(Activation::Relu)).unwrap();
    let proto = model(&graph.finish(e).unwrap(), 1, 1).unwrap().graph.unwrap();
    assert_eq!(
        operators(&proto),
        [
            ("a.product", "Mul", vec!["input", "a.scale"], "a.product"),
            ("a", "Add", vec!["a.product", "a.shift"], "a"),
            ("b.product", "Mul", vec!["a", "b.scale"], "b.product"),
            ("b.sum", "Add", vec!["b.product", "b.shift"], "b.sum"),
            ("b", "HardSwish", vec!["b.sum"], "b"),
            ("c.gate", "Sigmoid", vec!["b"], "c.gate"),
            ("c", "Mul", vec!["b", "c.gate"], "c"),
            ("d.flatten", "Flatten", vec!["c"], "d.flatten"),
            ("d", "Gemm", vec!["d.flatten", "d.weight", "d.bias"], "d"),
            ("e.product", "Mul", vec!["d", "e.scale"], "e.product"),
            ("e.sum", "Add", vec!["e.product", "e.shift"], "e.sum"),
            ("e", "Relu", vec!["e.sum"], "logits"),
        ]
    );
    let dims = |name| &proto.initializer.iter().find(|tensor| tensor.name == name).unwrap().dims[..];
    assert_eq!((dims("a.scale"), dims("e.shift")), (&[2, 1, 1][..], &[2][..]));
}

#[test]
fn the_bytes_of_a_model_are_its_protobuf_encoding() {
    let mut graph = Builder::new();
    let image = graph.input("image", 2).unwrap();
    let model = model(&graph.finish(image).unwrap(), 4, 4).unwrap();
    let bytes = bytes(&model);
    assert_eq!(bytes[..2], [0x08, 7]);
    assert_eq!(ModelProto::decode(bytes.as_slice()).unwrap(), model);
}

#[test]
fn names_that_the_model_needs_cannot_be_taken() {
    for taken in ["logits", "input", "last.weight", "relu6.max"] {
        let mut graph = Builder::new();
        let image = graph.input("image", 2).unwrap();
        let node = graph.softmax(taken, image).unwrap();
        let last = graph.conv("last", node, conv(Activation::Relu6)).unwrap();
        let error = model(&graph.finish(last).unwrap(), 4, 4).unwrap_err();
        assert!(matches!(error, Error::Name { name } if name == taken));
    }
}

#[test]
fn the_output_node_cannot_be_called_like_the_input() {
    let mut graph = Builder::new();
    let image = graph.input("image", 2).unwrap();
    let last = graph.softmax("input", image).unwrap();
    let error = model(&graph.finish(last).unwrap(), 4, 4).unwrap_err();
    assert!(matches!(error, Error::Name { name } if name == "input"));
}

#[test]
fn sizes_that_do_not_fit_and_empty_networks_are_handled() {
    let mut graph = Builder::new();
    let image = graph.input("image", 2).unwrap();
    let graph = graph.finish(image).unwrap();
    assert!(matches!(model(&graph, 0, 4), Err(Error::Graph(_))));
    assert!(matches!(model(&graph, usize::MAX, 4), Err(Error::TooLarge { .. })));
    let proto = model(&graph, 4, 4).unwrap().graph.unwrap();
    assert_eq!(operators(&proto), [("logits", "Identity", vec!["input"], "logits")]);
}
