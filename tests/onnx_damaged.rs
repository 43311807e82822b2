//! Damaged and unsupported ONNX files: one clear error, in little memory, and never a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::error::Error as _;
use std::fs;
use std::path::Path;

use common::onnx::{info, int, ints, model, node, tensor};
use hardnetd::engine::import::{self, File};
use hardnetd::engine::onnx;
use hardnetd::exit::Exit;
use hardnetd::protobuf::{AttributeProto, DataType, GraphProto, ModelProto, StringStringEntryProto, TensorProto};
use prost::Message as _;

/// image 3 × 8 × 8 → conv 4 → pool → mean → flat → scores 5.
fn sound() -> ModelProto {
    let mut pool = node("MaxPool", "pool", &["conv"]);
    pool.attribute = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    let nodes = vec![
        node("Conv", "conv", &["image", "w", "b"]),
        pool,
        node("GlobalAveragePool", "mean", &["pool"]),
        node("Flatten", "flat", &["mean"]),
        node("Gemm", "scores", &["flat", "m"]),
    ];
    model(GraphProto {
        node: nodes,
        initializer: vec![tensor("w", &[4, 3, 3, 3]), tensor("b", &[4]), tensor("m", &[4, 5])],
        input: vec![info("image", &[1, 3, 8, 8], DataType::Float)],
        output: vec![info("scores", &[1, 5], DataType::Float)],
        ..Default::default()
    })
}

/// The error message with its causes.
fn message(bytes: &[u8]) -> String {
    let error = import::read(bytes).expect_err("the file is refused");
    assert_eq!(error.exit(), Exit::Data);
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}

/// The message for the valid model after a change to its graph.
fn changed(change: impl FnOnce(&mut GraphProto)) -> String {
    let mut model = sound();
    change(model.graph.as_mut().unwrap());
    message(&onnx::bytes(&model))
}

#[test]
fn the_model_that_is_changed_here_is_read_when_nothing_is_wrong() {
    let imported = import::read(&onnx::bytes(&sound())).unwrap();
    assert_eq!((imported.size, imported.parameters), (Some([8, 8]), 108 + 4 + 20));
}

#[test]
fn what_is_no_onnx_file_is_refused() {
    assert_eq!(message(b""), "the file holds no ONNX graph");
    assert_eq!(message(b"\x08\x07"), "the file holds no ONNX graph");
    assert_eq!(message(b"\x7fELF"), "this is not an ONNX file, or it is damaged: a field of unknown type at byte 0");
    assert_eq!(message(&[0x3a, 100, 0]), "this is not an ONNX file, or it is damaged: a truncated field at byte 0");
    assert!(message(&[0x3a; 300]).starts_with("this is not an ONNX file, or it is damaged: "));
    let empty = ModelProto { graph: Some(GraphProto::default()), ..Default::default() };
    assert_eq!(message(&onnx::bytes(&empty)), "the network has 0 inputs (), but 1 is supported");
}

#[test]
fn every_truncation_is_an_error_and_no_flipped_bit_a_panic() {
    for name in ["vgg", "composed", "view_11", "densenet_norms", "mobilenet_v3_14"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/onnx/{name}.onnx"));
        let mut bytes = fs::read(path).unwrap();
        // The operator set comes last, in a field of four bytes; without it, the file is complete.
        for length in 0..bytes.len() - 4 {
            message(&bytes[..length]);
        }
        for at in 0..bytes.len() {
            for bit in (0..8).filter(|bit| at < 400 || at % 8 == *bit) {
                bytes[at] ^= 1 << bit;
                let _ = import::read(&bytes);
                bytes[at] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn inputs_and_outputs_that_are_not_those_of_a_classifier_are_refused() {
    let input = |dims: &[i64], data_type| {
        let info = info("image", dims, data_type);
        changed(|graph| graph.input = vec![info])
    };
    let float = DataType::Float;
    assert_eq!(
        input(&[1, 3, 8], float),
        "the input `image` has 3 axes, and 4 are needed: batch, channels, height, width"
    );
    assert!(input(&[1, 8, 8, 3], float).starts_with("the input `image` has its channels last (NHWC)"));
    assert_eq!(input(&[1, -1, 8, 8], float), "the input `image` has an open number of channels");
    assert_eq!(input(&[1, 1 << 40, 8, 8], float), "the input `image` has 1099511627776 channels, more than any image");
    let bytes = input(&[1, 3, 8, 8], DataType::Uint8);
    assert_eq!(bytes, "`conv` (Conv): it reads the bytes of `image`: expected a Cast to FLOAT before");
    let integers = input(&[1, 3, 8, 8], DataType::Int32);
    let expected = "has the type INT32, but a floating-point type or UINT8 is required, such as FLOAT";
    assert_eq!(integers, format!("the input `image` {expected}"));
    let two = changed(|graph| graph.input.push(info("mask", &[1, 3, 8, 8], float)));
    assert_eq!(two, "the network has 2 inputs (image, mask), but 1 is supported");
    let none = changed(|graph| graph.output.clear());
    assert_eq!(none, "no node makes the output ``");
    let other = changed(|graph| graph.output[0].name = "logits".to_owned());
    assert_eq!(other, "no node makes the output `logits`");
    let mut listed = sound();
    let graph = listed.graph.as_mut().unwrap();
    graph.input.push(info("w", &[4, 3, 3, 3], float));
    assert!(import::read(&onnx::bytes(&listed)).is_ok(), "weights among the inputs do not count");
}

#[test]
fn tensors_that_cannot_be_used_are_named() {
    let first = |change: &dyn Fn(&mut TensorProto)| changed(|graph| change(&mut graph.initializer[0]));
    let external = first(&|tensor| {
        tensor.data_location = Some(1);
        let entry = |key: &str, value: &str| StringStringEntryProto { key: key.to_owned(), value: value.to_owned() };
        tensor.external_data = vec![entry("location", "weights.bin")];
    });
    assert_eq!(external, "the tensor `w` has its data in `weights.bin`: files beside this one are not read");
    let short = first(&|tensor| tensor.float_data.truncate(7));
    assert_eq!(short, "the tensor `w` has the shape [4, 3, 3, 3], the type FLOAT and 7 values");
    let raw = first(&|tensor| tensor.raw_data = vec![0; 9]);
    assert_eq!(raw, "the tensor `w` has the shape [4, 3, 3, 3], the type FLOAT and 9 bytes of data");
    let huge = first(&|tensor| tensor.dims = vec![1 << 40, 1 << 40]);
    assert!(huge.starts_with("the tensor `w` has the shape [1099511627776, 1099511627776]"), "{huge}");
    let negative = first(&|tensor| tensor.dims = vec![-4, 3, 3, 3]);
    assert_eq!(negative, "the tensor `w` has the shape [-4, 3, 3, 3]");
    let quantised = first(&|tensor| {
        tensor.data_type = DataType::Int8 as i32;
        tensor.raw_data = vec![1; 108];
    });
    assert_eq!(quantised, "the tensor `w` holds INT8 values: quantised networks are not supported");
    let strings = first(&|tensor| tensor.data_type = DataType::String as i32);
    assert_eq!(strings, "the tensor `w` holds values of the type STRING, which is not supported");
    let infinite = first(&|tensor| tensor.float_data[3] = f32::INFINITY);
    assert_eq!(infinite, "the tensor `conv` has weights that are not finite");
    let twice = changed(|graph| graph.initializer.push(tensor("w", &[1])));
    assert_eq!(twice, "the tensor `w` occurs twice");
}

#[test]
fn nodes_in_no_order_in_which_they_can_run_are_refused() {
    let missing = changed(|graph| {
        graph.initializer.remove(0);
    });
    assert_eq!(
        missing,
        "`conv` (Conv): it reads `w`, which is neither an input nor a tensor of the file, and no node produces it"
    );
    let unsorted = changed(|graph| graph.node.swap(1, 2));
    assert_eq!(
        unsorted,
        "`mean` (GlobalAveragePool): it reads `pool`, which `pool` produces only later, or in a cycle"
    );
    let cyclic = changed(|graph| graph.node[0].input[0] = "mean".to_owned());
    assert_eq!(cyclic, "`conv` (Conv): it reads `mean`, which `mean` produces only later, or in a cycle");
    let twice = changed(|graph| graph.node[1].output = vec!["conv".to_owned()]);
    assert_eq!(twice, "`pool` (MaxPool): its output `conv` already exists");
    let branch = changed(|graph| {
        let graphs = Some(GraphProto::default());
        graph.node[0].attribute.push(AttributeProto { name: "body".to_owned(), g: graphs, ..Default::default() });
    });
    assert_eq!(branch, "`conv` (Conv): branches and loops are not supported");
}

#[test]
fn operators_that_are_not_supported_are_named() {
    for (operator, problem) in [
        ("Resize", "this operator is not supported"),
        ("ConvTranspose", "this operator is not supported"),
        ("LogSoftmax", "this operator is not supported"),
        ("QLinearConv", "quantised networks are not supported"),
        ("DequantizeLinear", "quantised networks are not supported"),
    ] {
        let found = changed(|graph| graph.node[2].op_type = operator.to_owned());
        assert_eq!(found, format!("`mean` ({operator}): {problem}"));
    }
    let domain = changed(|graph| graph.node[2].domain = "com.example".to_owned());
    assert_eq!(domain, "`mean` (com.example.GlobalAveragePool): this operator is not supported");
    let unnamed = changed(|graph| {
        graph.node[2].name.clear();
        graph.node[2].op_type = "Resize".to_owned();
    });
    assert_eq!(unnamed, "`mean` (Resize): this operator is not supported");
    let mut unused = sound();
    unused.graph.as_mut().unwrap().node.push(node("Resize", "other", &["conv"]));
    assert!(import::read(&onnx::bytes(&unused)).is_ok(), "what the output does not need does not matter");
}

#[test]
fn attributes_that_are_not_supported_are_named() {
    let with = |index: usize, attribute: AttributeProto| changed(|graph| graph.node[index].attribute.push(attribute));
    assert_eq!(with(0, ints("dilations", &[2, 2])), "`conv` (Conv): a dilation of 2 × 2 is not supported");
    assert_eq!(
        with(0, int("group", 2)),
        "`conv` (Conv): weights of the shape [4, 3, 3, 3] do not fit a map of 3 channels"
    );
    assert_eq!(with(0, ints("pads", &[0, -1, 0, 0])), "`conv` (Conv): `pads` is -1: expected 0 to 8192");
    assert_eq!(with(0, ints("pads", &[1, 1])), "`conv` (Conv): the padding [1, 1] is not supported");
    assert_eq!(with(0, ints("strides", &[0, 1])), "`conv` (Conv): `strides` is 0: expected 1 to 8192");
    assert_eq!(with(0, int("strides", 2)), "`conv` (Conv): its attribute `strides` has another type than INTS");
    assert_eq!(
        with(0, ints("kernel_shape", &[3])),
        "`conv` (Conv): its attribute `kernel_shape` is [3]; only windows over two axes are supported"
    );
    let ceil = "`pool` (MaxPool): sizes that round up (`ceil_mode` 1) are not supported";
    assert_eq!(with(1, int("ceil_mode", 1)), ceil);
    assert_eq!(with(4, int("transA", 1)), "`scores` (Gemm): `transA` is not supported");
    let many = with(0, ints("pads", &[i64::MAX; 4]));
    assert!(many.contains("`conv`"), "{many}");
    let large = with(0, ints("strides", &[8192, 8192]));
    assert_eq!(large, "`pool` (MaxPool): the sizes of what it reads do not fit it");
    let flat = changed(|graph| graph.node[3].attribute.push(int("axis", 2)));
    assert_eq!(flat, "`flat` (Flatten): only flattening all but the batch is supported, axis 1");
    let product = changed(|graph| graph.node[3] = node("Mul", "flat", &["mean", "mean"]));
    assert_eq!(product, "`flat` (Mul): a product of two values is supported only for HardSwish and SiLU");
    let clip = changed(|graph| {
        graph.node[2] = node("Clip", "mean", &["pool", "low"]);
        graph.initializer.push(TensorProto { dims: vec![], ..tensor("low", &[1]) });
    });
    assert!(clip.starts_with("`mean` (Clip): bounds of 0.5 and "), "{clip}");
    let gemm = changed(|graph| graph.initializer[2] = tensor("m", &[6, 5]));
    assert_eq!(gemm, "`scores` (Gemm): weights for 6 values do not fit what it reads, with 4 channels");
    let second = changed(|graph| {
        graph.node[1].output.push("indices".to_owned());
        graph.node[2] = node("Add", "mean", &["pool", "indices"]);
    });
    assert_eq!(second, "`pool` (MaxPool): its second output is not supported");
}

#[test]
fn a_small_file_cannot_fill_the_memory() {
    // Nodes without content: two bytes each in the file, hundreds in memory.
    let nodes = [0x0a, 0].repeat(2 << 20);
    let mut bytes = vec![0x3a];
    prost::encoding::encode_varint(nodes.len() as u64, &mut bytes);
    bytes.extend(nodes);
    let decoded = "decoded, the file takes more than 67108864 bytes, out of proportion to its length";
    assert_eq!(message(&bytes), decoded);

    // Channels that double with every node.
    let doubled = changed(|graph| {
        graph.node.truncate(1);
        for index in 0..60 {
            let before = if index == 0 { "conv".to_owned() } else { format!("c{}", index - 1) };
            let mut concat = node("Concat", &format!("c{index}"), &[&before, &before]);
            concat.attribute = vec![int("axis", 1)];
            graph.node.push(concat);
        }
        graph.output[0].name = "c59".to_owned();
    });
    assert_eq!(doubled, "`c18` (Concat): 2097152 channels are more than any network has");

    // The same weights over and over.
    let reused = changed(|graph| {
        graph.node.truncate(1);
        graph.initializer.push(tensor("v", &[1024, 4, 1, 1]));
        graph.initializer.push(tensor("u", &[1024, 1024, 1, 1]));
        graph.node.push(node("Conv", "c0", &["conv", "v"]));
        for index in 1..100 {
            graph.node.push(node("Conv", &format!("c{index}"), &[&format!("c{}", index - 1), "u"]));
        }
        graph.output[0].name = "c99".to_owned();
    });
    assert_eq!(reused, "`c16` (Conv): its weights are out of proportion to the size of the file");

    // Extents without values.
    let empty = changed(|graph| graph.initializer[2] = tensor("m", &[1 << 40, 0]));
    assert_eq!(empty, "`scores` (Gemm): weights of the shape [1099511627776, 0] are not supported");
}

#[test]
fn a_file_is_sound_or_refused_before_its_operators_are_read() {
    let mut model = sound();
    model.graph.as_mut().unwrap().node[2].op_type = "GlobalMaxPool".to_owned();
    let bytes = onnx::bytes(&model);
    assert_eq!(message(&bytes), "`mean` (GlobalMaxPool): this operator is not supported");
    let file = File::parse(&bytes).unwrap();
    assert_eq!((file.channels(), file.size()), (3, Some([8, 8])));
    assert_eq!(ModelProto::decode(bytes.as_slice()).unwrap(), file.into_proto());
}
