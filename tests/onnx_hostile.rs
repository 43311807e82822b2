//! Small ONNX files that ask for any amount of memory, through the whole program: one clear error, at once, whichever
//! backend would have computed them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::process::Stdio;

use common::onnx::{info, int, integers, ints, model, tensor};
use common::{Running, data, folder, run};
use hardnetd::engine::onnx;
use hardnetd::protobuf::{
    AttributeProto, AttributeType, DataType, Dimension, Extent, GraphProto, NodeProto, TensorProto, TensorShapeProto,
    TensorType, TypeProto, ValueType,
};

/// A node named after its operator.
fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    let name = format!("the-{}", operator.to_lowercase());
    NodeProto { output: vec![output.to_owned()], ..common::onnx::node(operator, &name, inputs) }
}

fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto { dims: dims.to_vec(), float_data: values.to_vec(), ..tensor(name, &[]) }
}

/// A network of `nodes`, the mean of each channel of `map`, and its four classes.
fn network(nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> Vec<u8> {
    let ends = vec![node("GlobalAveragePool", &["map"], "mean"), node("Flatten", &["mean"], "scores")];
    let weights = floats("w", &[4, 3, 1, 1], &[0.5; 12]);
    let graph = GraphProto {
        node: [nodes, ends].concat(),
        initializer: [constants, vec![weights]].concat(),
        input: vec![info("image", &[1, 3, 224, 224], DataType::Float)],
        output: vec![info("scores", &[1, 4], DataType::Float)],
        ..Default::default()
    };
    onnx::bytes(&model(graph))
}

/// Impossible windows for an image: the part of the message that names them, and the node. Unchecked, they hang or take
/// gigabytes.
fn windows() -> Vec<(&'static str, NodeProto)> {
    const MAX: i64 = i64::MAX;
    let conv = |name: &'static str, values: &[i64]| (name, with("Conv", &["image", "w"], &[(name, values)]));
    let pool = |name: &'static str, values: &[i64], kernel: &[i64]| {
        let all: Vec<(&str, &[i64])> = if name == "kernel" {
            vec![("kernel_shape", values)]
        } else {
            vec![("kernel_shape", kernel), (name, values)]
        };
        (name, with("MaxPool", &["image"], &all))
    };
    vec![
        conv("pads", &[MAX; 4]),
        conv("pads", &[-1; 4]),
        conv("strides", &[MAX; 2]),
        conv("strides", &[0; 2]),
        conv("dilations", &[1 << 32; 2]),
        pool("pads", &[MAX; 4], &[3, 3]),
        pool("strides", &[1 << 40; 2], &[1, 1]),
        pool("kernel", &[1 << 26, 1], &[]),
        pool("kernel", &[MAX; 2], &[]),
        pool("kernel", &[5000; 2], &[]),
        pool("pads", &[1 << 31; 4], &[2, 2]),
    ]
}

/// A node that makes the map, with lists as attributes.
fn with(operator: &str, inputs: &[&str], attributes: &[(&str, &[i64])]) -> NodeProto {
    let attribute = attributes.iter().map(|(name, values)| ints(name, values)).collect();
    NodeProto { attribute, ..node(operator, inputs, "map") }
}

/// A node that makes the map, of values as the type of this number in ONNX.
fn cast(from: &str, to: DataType) -> NodeProto {
    NodeProto { attribute: vec![int("to", to as i64)], ..node("Cast", &[from], "map") }
}

fn with_output(output: &str, node: NodeProto) -> NodeProto {
    NodeProto { output: vec![output.to_owned()], ..node }
}

#[test]
fn maps_whose_size_depends_on_the_picture_are_refused() {
    let folder = folder();
    let file = folder.path().join("hostile.onnx");
    let photo = data("photos/coffee.jpg");
    let mut cast = node("Cast", &["places"], "numbers");
    cast.attribute = vec![int("to", 1)];
    let nodes = vec![
        node("Conv", &["image", "w"], "conv"),
        node("NonZero", &["image"], "places"),
        cast,
        node("ReduceMean", &["numbers"], "mean-place"),
        node("Mul", &["conv", "mean-place"], "map"),
    ];
    fs::write(&file, network(nodes, vec![])).unwrap();
    let outcome = run(["classify", "--model", file.to_str().unwrap(), photo.to_str().unwrap()]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
}

#[test]
fn windows_that_no_image_has_are_refused_at_their_node() {
    let folder = folder();
    let photo = data("photos/coffee.jpg");
    for (named, window) in windows() {
        let file = folder.path().join("hostile.onnx");
        let operator = window.op_type.clone();
        // An exponential function, which only tract supports, keeps the network off the native engine.
        for nodes in [vec![window.clone()], vec![window, node("Exp", &["map"], "powers")]] {
            fs::write(&file, network(nodes, vec![])).unwrap();
            let outcome = run(["classify", "--model", file.to_str().unwrap(), photo.to_str().unwrap()]);
            assert_eq!(outcome.code(), 65, "{named}: {}", outcome.stderr);
            let message = outcome.message();
            assert!(message.contains(named) && message.contains(&operator), "{named}: {message}");
        }
    }
}

/// Unchecked, tract takes from half a minute to hours to prepare them.
#[test]
fn networks_of_more_nodes_than_tract_prepares_in_time_are_refused() {
    let folder = folder();
    let file = folder.path().join("hostile.onnx");
    let photo = data("photos/coffee.jpg");
    let mut chain = vec![node("Conv", &["image", "w"], "e0")];
    chain.extend((0..4000).map(|index| node("Add", &[&format!("e{index}"), "e0"], &format!("e{}", index + 1))));
    chain.push(node("Identity", &["e4000"], "map"));
    let mut dense = vec![node("Conv", &["image", "w"], "e0")];
    for index in 0..90 {
        let before: Vec<String> = (0..=index).map(|index| format!("e{index}")).collect();
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        dense.push(NodeProto { attribute: vec![int("axis", 1)], ..node("Concat", &before, &format!("j{index}")) });
        dense.push(node("Exp", &[&format!("j{index}")], &format!("e{}", index + 1)));
    }
    dense.push(node("Identity", &["e90"], "map"));
    let sum = vec![node("Conv", &["image", "w"], "e0"), node("Sum", &vec!["e0"; 10_000], "map")];
    for nodes in [chain, dense, sum] {
        fs::write(&file, network(nodes, vec![])).unwrap();
        let arguments = ["classify", "--backend", "tract", "--model", file.to_str().unwrap(), photo.to_str().unwrap()];
        let outcome = run(arguments);
        assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
        assert!(outcome.message().contains("tract prepares at most"), "{}", outcome.stderr);
    }
}

/// Unchecked, tract takes minutes or gigabytes to prepare them.
#[test]
fn what_tract_takes_apart_into_too_many_pieces_is_refused() {
    let folder = folder();
    let file = folder.path().join("hostile.onnx");
    let photo = data("photos/coffee.jpg");
    let shape = [&[1, 4][..], &[1; 500], &[224, 224]].concat();
    let axes = vec![
        node("Conv", &["image", "w"], "conv"),
        node("Reshape", &["conv", "long"], "reshaped"),
        node("Exp", &["reshaped"], "powers"),
        NodeProto { name: "back".to_owned(), ..node("Reshape", &["powers", "short"], "map") },
    ];
    let shapes = vec![integers("long", &shape), integers("short", &[1, 4, 224, 224])];
    let mut pools = vec![node("Conv", &["image", "w"], "p0")];
    for index in 0..60 {
        let pool = with("MaxPool", &[&format!("p{index}")], &[("kernel_shape", &[63; 2]), ("pads", &[31; 4])]);
        let output = format!("p{}", index + 1);
        pools.push(NodeProto { name: output.clone(), ..with_output(&output, pool) });
    }
    pools.push(node("Exp", &["p60"], "map"));
    for (part, nodes, constants) in [("(Reshape)", axes, shapes), ("(Exp)", pools, vec![])] {
        fs::write(&file, network(nodes, constants)).unwrap();
        let outcome =
            run(["classify", "--backend", "tract", "--model", file.to_str().unwrap(), photo.to_str().unwrap()]);
        assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
        assert!(outcome.message().contains(part), "{}", outcome.stderr);
    }
}

#[test]
fn numbers_that_an_operator_cannot_take_are_a_fault_of_the_file() {
    let folder = folder();
    let file = folder.path().join("divides.onnx");
    let photo = data("photos/coffee.jpg");
    let cast = |input: &str, output: &str, to| NodeProto {
        name: output.to_owned(),
        attribute: vec![int("to", to)],
        ..node("Cast", &[input], output)
    };
    let (integer, float) = (7, 1);
    let nodes = vec![
        node("Conv", &["image", "w"], "conv"),
        cast("conv", "whole", integer),
        node("Div", &["whole", "nothing"], "quotient"),
        cast("quotient", "map", float),
    ];
    fs::write(&file, network(nodes, vec![integers("nothing", &[0])])).unwrap();
    let outcome = run(["classify", "--backend", "tract", "--model", file.to_str().unwrap(), photo.to_str().unwrap()]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("Division by zero"), "{}", outcome.stderr);
}

#[test]
fn an_input_of_a_size_that_no_picture_has_is_a_fault_of_the_file() {
    let folder = folder();
    let file = folder.path().join("large.onnx");
    let mut large = GraphProto {
        node: vec![node("GlobalAveragePool", &["image"], "mean"), node("Flatten", &["mean"], "scores")],
        output: vec![info("scores", &[1, 3], DataType::Float)],
        ..Default::default()
    };
    large.input = vec![info("image", &[1, 3, 16_384, 16_384], DataType::Float)];
    fs::write(&file, onnx::bytes(&model(large))).unwrap();
    let outcome = run(["model", "info", file.to_str().unwrap()]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("16384x16384: expected sides from 32 to 8192"), "{}", outcome.stderr);
}

fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let conv = || node("Conv", &["image", "w"], "conv");
    let padded = |padding: i64| {
        let mut conv = node("Conv", &["image", "w"], "map");
        conv.attribute = vec![ints("pads", &[padding; 4])];
        network(vec![conv], vec![])
    };
    let pads = integers("p", &[0, 0, 200_000, 200_000, 0, 0, 200_000, 200_000]);
    let shape = || integers("s", &[1, 4, 300_000, 300_000]);
    let scalar = |name: &str, value: f32| floats(name, &[], &[value]);
    let added = || node("Add", &["conv", "k"], "map");
    vec![
        ("memory", padded(8_000)),
        ("a padded map", network(vec![conv(), node("Pad", &["conv", "p"], "map")], vec![pads])),
        ("the-constantofshape", network(vec![conv(), node("ConstantOfShape", &["s"], "k"), added()], vec![shape()])),
        (
            "the-expand",
            network(vec![conv(), node("Expand", &["v", "s"], "k"), added()], vec![shape(), scalar("v", 1.0)]),
        ),
        (
            "the-exp",
            network(
                vec![
                    with_output("conv", with("Conv", &["image", "w"], &[])),
                    with_output(
                        "pool",
                        with("MaxPool", &["conv"], &[("kernel_shape", &[224; 2]), ("pads", &[223; 4])]),
                    ),
                    node("Exp", &["pool"], "map"),
                ],
                vec![],
            ),
        ),
        (
            "the-convtranspose",
            network(
                vec![
                    with_output("large", with("ConvTranspose", &["image", "v"], &[("strides", &[1; 2])])),
                    node("GlobalMaxPool", &["large"], "map"),
                ],
                vec![floats("v", &[3, 4, 300, 300], &vec![0.5; 3 * 4 * 300 * 300])],
            ),
        ),
        (
            "the-range",
            network(
                vec![conv(), node("Range", &["from", "to", "step"], "k"), added()],
                vec![scalar("from", 0.0), scalar("to", 1e11), scalar("step", 1.0)],
            ),
        ),
        (
            "the-resize",
            network(
                vec![node("Resize", &["image", "", "by"], "large"), node("Conv", &["large", "w"], "map")],
                vec![floats("by", &[4], &[1.0, 1.0, 2000.0, 2000.0])],
            ),
        ),
        // Two constants that are repeated over each other.
        (
            "the-clip",
            network(
                vec![
                    conv(),
                    node("Clip", &["v", "h"], "k"),
                    node("ReduceMax", &["k"], "m"),
                    node("Add", &["conv", "m"], "map"),
                ],
                vec![floats("v", &[65_536, 1], &[0.5; 65_536]), floats("h", &[1, 65_536], &[0.5; 65_536])],
            ),
        ),
        // The shape behind an input that is left out.
        (
            "the-constantofshape",
            network(vec![conv(), node("ConstantOfShape", &["", "s"], "k"), added()], vec![shape()]),
        ),
        (
            "the-tile",
            network(
                vec![node("Tile", &["image", "by"], "large"), node("Conv", &["large", "w"], "map")],
                vec![integers("by", &[1, 1, 3000, 3000])],
            ),
        ),
    ]
}

/// Files of which the native engine names a node before: constants that are larger than they look.
fn growing() -> Vec<(&'static str, Vec<u8>)> {
    let conv = || node("Conv", &["image", "w"], "conv");
    let added = || node("Add", &["conv", "k"], "map");
    vec![
        // The type of a constant depends on the picture, and its values do not.
        (
            "the-constantofshape",
            network(
                vec![
                    conv(),
                    node("CastLike", &["v", "image"], "f"),
                    with_output("i", cast("f", DataType::Int64)),
                    node("ConstantOfShape", &["i"], "k"),
                    added(),
                ],
                vec![floats("v", &[1], &[5e8])],
            ),
        ),
        // Half of a number is not zero, nor are 32 bits of a product.
        (
            "the-constantofshape",
            network(
                vec![
                    conv(),
                    with_output("f", cast("one", DataType::Float)),
                    with_output("g", cast("two", DataType::Float)),
                    with_output("h", cast("many", DataType::Float)),
                    node("Div", &["f", "g"], "half"),
                    node("Mul", &["half", "h"], "product"),
                    with_output("i", cast("product", DataType::Int64)),
                    node("ConstantOfShape", &["i"], "k"),
                    added(),
                ],
                vec![integers("one", &[1]), integers("two", &[2]), integers("many", &[10_000_000])],
            ),
        ),
        // Rows and columns that are repeated over each other.
        (
            "the-constantofshape",
            network(
                vec![
                    conv(),
                    with_output("row", with("Reshape", &["s", "across"], &[])),
                    with_output("column", with("Reshape", &["s", "down"], &[])),
                    node("Mul", &["row", "column"], "all"),
                    with_output("flat", with("Reshape", &["all", "open"], &[])),
                    node("ConstantOfShape", &["flat"], "k"),
                    added(),
                ],
                vec![
                    integers("s", &[3000, 3000]),
                    integers("across", &[1, 2]),
                    integers("down", &[2, 1]),
                    integers("open", &[-1]),
                ],
            ),
        ),
        // Each result is small, and all of them together read much.
        (
            "the-reducemax",
            network(
                [
                    vec![conv(), node("ConstantOfShape", &["s"], "large")],
                    (0..12)
                        .map(|index| {
                            with_output(&format!("m{index}"), with("ReduceMax", &["large"], &[("axes", &[0])]))
                        })
                        .collect(),
                    vec![node("Add", &["conv", "m0"], "map")],
                ]
                .concat(),
                vec![integers("s", &[1 << 21])],
            ),
        ),
        // All of them stay until the network is prepared.
        (
            "the-neg",
            network(
                [
                    vec![conv(), node("ConstantOfShape", &["s"], "large")],
                    vec![node("Neg", &["large"], "less"), node("Neg", &["less"], "least")],
                    vec![with_output("m", with("ReduceMax", &["least"], &[("axes", &[0])]))],
                    vec![node("Add", &["conv", "m"], "map")],
                ]
                .concat(),
                vec![integers("s", &[3 << 20])],
            ),
        ),
        // Texts take many times the memory of numbers.
        (
            "the-cast",
            network(
                vec![
                    conv(),
                    node("ConstantOfShape", &["s"], "large"),
                    with_output("t", cast("large", DataType::String)),
                    with_output("f", cast("t", DataType::Float)),
                    with_output("k", with("ReduceMax", &["f"], &[("axes", &[0])])),
                    added(),
                ],
                vec![integers("s", &[1 << 21])],
            ),
        ),
    ]
}

/// Runs each file on both back ends: it is refused in one line that `is_about` what the file is named after.
fn refused(files: Vec<(&'static str, Vec<u8>)>, is_about: impl Fn(&str, &str) -> bool) {
    refused_by(&["native", "tract"], files, is_about);
}

fn refused_by(backends: &[&str], files: Vec<(&'static str, Vec<u8>)>, is_about: impl Fn(&str, &str) -> bool) {
    let folder = folder();
    let photo = data("photos/coffee.jpg");
    for (named, bytes) in files {
        let file = folder.path().join("hostile.onnx");
        fs::write(&file, bytes).unwrap();
        for backend in backends {
            let file = file.to_str().unwrap();
            let outcome = run(["classify", "--backend", *backend, "--model", file, photo.to_str().unwrap()]);
            assert_eq!(outcome.code(), 65, "{named}: {}", outcome.stderr);
            let message = outcome.message();
            let is_whole = message.contains("hostile") && message.lines().count() == 1;
            assert!(is_whole && is_about(message, named), "{named}: {message}");
        }
    }
}

#[test]
fn what_asks_for_any_amount_of_memory_is_refused_in_one_line() {
    refused(hostile(), |message, named| {
        message.contains(named) || named == "memory" && message.contains("MB for its maps")
    });
}

#[test]
fn constants_that_grow_unseen_are_refused_at_their_node() {
    refused_by(&["tract"], growing(), |message, named| message.contains(named));
}

/// Valid messages that are no valid ONNX: the part of the message that names them, and the file. Unchecked, they end in a
/// loop, take gigabytes, or are read differently by the two backends.
fn invalid() -> Vec<(&'static str, Vec<u8>)> {
    let order = |order: &[i64]| network(vec![with("Transpose", &["image"], &[("perm", order)])], vec![]);
    let tensor = |name: &str, tensor: TensorProto| AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Tensor as i32,
        t: Some(tensor),
        ..Default::default()
    };
    let decoy = NodeProto {
        attribute: vec![tensor("a", integers("", &[1])), tensor("value", integers("", &[65_536, 65_536]))],
        ..node("Constant", &[], "s")
    };
    let filled = |nodes: Vec<NodeProto>, constants| {
        let rest = [
            node("ConstantOfShape", &["s"], "k"),
            node("ReduceMax", &["k"], "m"),
            node("Conv", &["image", "w"], "conv"),
            node("Add", &["conv", "m"], "map"),
        ];
        network([nodes, rest.to_vec()].concat(), constants)
    };
    let without_a_mode = |nodes: Vec<NodeProto>, constants| {
        let rest = [node("Conv", &["image", "w"], "conv"), node("Dropout", &["conv", "", "mode"], "map")];
        network([nodes, rest.to_vec()].concat(), constants)
    };
    let strided = with("Conv", &["image", "w"], &[("strides", &[1; 2]), ("strides", &[2; 2])]);
    vec![
        ("`perm` is [0, 0, 0, 0]", order(&[0; 4])),
        ("`perm` is [0, 1, 3]", order(&[0, 1, 3])),
        ("`perm` is [-1, 0, 1, 2]", order(&[-1, 0, 1, 2])),
        ("has 2 attributes, but a constant has one", filled(vec![decoy], vec![])),
        ("has no name", filled(vec![node("Identity", &["t"], "s")], vec![integers("", &[1]), integers("t", &[1])])),
        ("`strides` occurs twice", network(vec![strided], vec![])),
        // tract reads a value of an empty tensor.
        ("Dropout", without_a_mode(vec![], vec![integers("mode", &[])])),
        (
            "Dropout",
            without_a_mode(
                vec![node("Slice", &["some", "from", "to"], "mode")],
                vec![integers("some", &[1, 2]), integers("from", &[1]), integers("to", &[1])],
            ),
        ),
        // tract writes beyond the classes that it has, and follows a tree in circles.
        ("TreeEnsembleClassifier", {
            let tree =
                NodeProto { domain: "ai.onnx.ml".to_owned(), ..node("TreeEnsembleClassifier", &["image"], "map") };
            network(vec![tree], vec![])
        }),
        ("LayerNormalization", {
            let norm =
                NodeProto { attribute: vec![int("axis", -9)], ..node("LayerNormalization", &["conv", "four"], "map") };
            network(vec![node("Conv", &["image", "w"], "conv"), norm], vec![floats("four", &[4], &[1.0; 4])])
        }),
        // tract computes with an empty map before anything else is known.
        ("Slice", {
            let ends = vec![integers("from", &[0]), integers("to", &[0]), integers("axes", &[2])];
            let none = node("Slice", &["image", "from", "to", "axes"], "none");
            network(vec![none, node("Conv", &["none", "w"], "map")], ends)
        }),
        ("Foo", network(vec![node("Foo", &["image", "w"], "map")], vec![floats("big", &[4], &[0.5; 4])])),
    ]
}

#[test]
fn what_onnx_does_not_allow_is_refused_at_its_node() {
    refused(invalid(), |message, named| message.contains(named));
}

#[test]
fn a_file_that_is_too_large_is_refused_before_it_is_read() {
    let folder = folder();
    let file = folder.path().join("hostile.onnx");
    fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    let outcome = run(["model", "info", file.to_str().unwrap()]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("the file has 1099511627776 bytes"), "{}", outcome.stderr);
}

/// tract parses the name of an extent as an expression, with a call for each bracket.
#[test]
fn the_name_of_an_open_extent_is_only_a_name() {
    let folder = folder();
    let file = folder.path().join("open.onnx");
    let photo = data("photos/coffee.jpg");
    let named = |name: &str| Dimension { value: Some(Extent::DimParam(name.to_owned())) };
    let known = |extent| Dimension { value: Some(Extent::DimValue(extent)) };
    let brackets = "(".repeat(100_000);
    let dim = vec![known(1), known(3), named(&brackets), named("a+a+a")];
    let mut image = info("image", &[], DataType::Float);
    let tensor = TensorType { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim }) };
    image.r#type = Some(TypeProto { value: Some(ValueType::TensorType(tensor)) });
    let graph = GraphProto {
        node: vec![
            node("Conv", &["image", "w"], "conv"),
            node("Exp", &["conv"], "map"),
            node("GlobalAveragePool", &["map"], "mean"),
            node("Flatten", &["mean"], "scores"),
        ],
        initializer: vec![floats("w", &[4, 3, 1, 1], &[0.5; 12])],
        input: vec![image],
        output: vec![info("scores", &[1, 4], DataType::Float)],
        ..Default::default()
    };
    fs::write(&file, onnx::bytes(&model(graph))).unwrap();
    let outcome = run(["classify", "--model", file.to_str().unwrap(), photo.to_str().unwrap()]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
}

/// Networks out of proportion to what would be made from them: the part of the message that names them, and the file.
fn multiplying() -> Vec<(&'static str, Vec<u8>)> {
    let conv = || node("Conv", &["image", "w"], "conv");
    let joined = |name: &str, inputs: &[&str]| {
        let mut joined = node("Concat", inputs, name);
        joined.attribute = vec![int("axis", 1)];
        joined
    };
    // Each of 200 concatenations has half a million parts.
    let mut nested = vec![node("Conv", &["image", "w"], "c0")];
    for index in 0..17 {
        let before = format!("c{index}");
        nested.push(joined(&format!("c{}", index + 1), &[&before, &before]));
    }
    nested.extend((0..200).map(|index| joined(&format!("d{index}"), &["c17", "c0"])));
    let needed: Vec<String> = (0..200).map(|index| format!("d{index}")).collect();
    let mut before = "d0".to_owned();
    for (index, next) in needed.iter().enumerate().skip(1) {
        nested.push(node("Add", &[&before, next], &format!("s{index}")));
        before = format!("s{index}");
    }
    nested.push(node("Identity", &[&before], "map"));
    // Sixteen million constants, twenty times.
    let shape = || integers("s", &[1, 4, 2000, 2000]);
    let mut constants = vec![conv()];
    let mut before = "conv".to_owned();
    for index in 0..20 {
        constants.push(node("ConstantOfShape", &["s"], &format!("k{index}")));
        constants.push(node("Add", &[&before, &format!("k{index}")], &format!("a{index}")));
        before = format!("a{index}");
    }
    constants.push(node("Identity", &[&before], "map"));
    // Large maps, all needed at the end; the maximum is for tract only.
    let mut maps = vec![conv()];
    let mut sum = "conv".to_owned();
    let wide: Vec<String> = (0..400).map(|index| format!("m{index}")).collect();
    maps.push(joined("wide", &["conv"; 500]));
    maps.extend(wide.iter().map(|name| node("Exp", &["wide"], name)));
    for (index, name) in wide.iter().enumerate() {
        maps.push(node("Max", &[&sum, name], &format!("x{index}")));
        sum = format!("x{index}");
    }
    maps.push(node("Identity", &[&sum], "map"));
    // An endless number of layers, for tract only.
    let mut deep = vec![node("Conv", &["image", "w"], "e0")];
    deep.extend((0..20_000).map(|index| node("Exp", &[&format!("e{index}")], &format!("e{}", index + 1))));
    deep.push(node("Identity", &["e20000"], "map"));
    vec![
        ("1048576 maps", network(nested, vec![])),
        ("ConstantOfShape", network(constants, vec![shape()])),
        ("Exp", network(maps, vec![])),
        ("20005 nodes", network(deep, vec![])),
    ]
}

#[test]
fn what_multiplies_a_small_file_is_refused_in_three_gigabytes() {
    let folder = folder();
    let photo = data("photos/coffee.jpg");
    for (named, bytes) in multiplying() {
        let file = folder.path().join("hostile.onnx");
        fs::write(&file, &bytes).unwrap();
        for backend in ["native", "tract"] {
            let program = env!("CARGO_BIN_EXE_hardnetd");
            let arguments =
                ["classify", "--backend", backend, "--model", file.to_str().unwrap(), photo.to_str().unwrap()];
            let mut command = std::process::Command::new("sh");
            command.args(["-c", "ulimit -v 3000000; exec \"$0\" \"$@\"", program]).args(arguments);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let outcome = Running::start(&mut command).finish();
            assert_eq!(outcome.code(), 65, "{named} on {backend}: {}", outcome.stderr);
            let message = outcome.message();
            // The native engine alone refuses some at the first operator that it does not support.
            let about = message.contains(named) || backend == "native" && message.contains("is not supported");
            assert!(about, "{named} on {backend}: {message}");
            assert_eq!(outcome.message().lines().count(), 1, "{}", outcome.stderr);
        }
    }
}

#[test]
fn a_convolution_of_padding_alone_is_computed_by_the_other_back_end() {
    let folder = folder();
    let file = folder.path().join("padded.onnx");
    let mut conv = node("Conv", &["image", "w"], "map");
    conv.attribute = vec![ints("pads", &[3; 4])];
    fs::write(&file, network(vec![conv], vec![])).unwrap();
    let photo = data("photos/coffee.jpg");
    let outcome = run(["classify", "--json", "--model", file.to_str().unwrap(), photo.to_str().unwrap()]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stdout.contains("\"score\""), "{}", outcome.stdout);
}
