//! ONNX files as today's exporters write them: weights beside them, half precision, batches, several outputs; and what
//! their last layer makes of the scores.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::onnx::{info, int, integers, ints, model, node, tensor};
use common::{Outcome, data, folder, run};
use hardnetd::engine::onnx::bytes;
use hardnetd::protobuf::{
    DataLocation, DataType, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto, ValueType,
};
use serde_json::Value;

/// Classes of the network.
const CLASSES: i64 = 4;

/// A mean over the picture and a linear layer with the output `logits`, then `end`.
fn classifier(end: &[NodeProto]) -> ModelProto {
    let weight = TensorProto {
        float_data: (0_i16..12).map(|index| f32::from(index % 5) * 0.4 - 0.5).collect(),
        ..tensor("w", &[CLASSES, 3])
    };
    let bias = TensorProto { float_data: vec![0.1, -0.2, 0.3, 0.0], ..tensor("b", &[CLASSES]) };
    let mut gemm = node("Gemm", "logits", &["row", "w", "b"]);
    gemm.attribute = vec![int("transB", 1)];
    let mut flatten = node("Flatten", "row", &["mean"]);
    flatten.attribute = vec![int("axis", 1)];
    let nodes = [node("GlobalAveragePool", "mean", &["x"]), flatten, gemm];
    let last = end.last().map_or("logits", |node| &node.name).to_owned();
    model(GraphProto {
        node: nodes.into_iter().chain(end.iter().cloned()).collect(),
        initializer: vec![weight, bias],
        input: vec![info("x", &[1, 3, 32, 32], DataType::Float)],
        output: vec![info(&last, &[1, CLASSES], DataType::Float)],
        ..Default::default()
    })
}

fn with_graph(mut proto: ModelProto, change: impl FnOnce(&mut GraphProto)) -> ModelProto {
    change(proto.graph.as_mut().unwrap());
    proto
}

fn write(folder: &Path, proto: &ModelProto) -> PathBuf {
    let path = folder.join("net.onnx");
    fs::write(&path, bytes(proto)).unwrap();
    path
}

fn classify(path: &Path, backend: &str) -> Outcome {
    let picture = data("photos/coffee.jpg");
    let [path, picture] = [path, &picture].map(|path| path.to_str().unwrap());
    run(["classify", "--json", "--top", "4", "--backend", backend, "--model", path, picture])
}

/// The scores of all classes, in the order of the classes.
fn scores(outcome: &Outcome) -> Vec<f64> {
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let pictures: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let mut top: Vec<_> = pictures[0]["top"].as_array().unwrap().clone();
    top.sort_by_key(|class| class["index"].as_u64());
    top.iter().map(|class| class["score"].as_f64().unwrap()).collect()
}

fn are_close(found: &[f64], expected: &[f64], within: f64) {
    let close = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < within);
    assert!(close, "{found:?} instead of {expected:?}");
}

/// The scores that the network's logits have after a softmax.
fn expected(folder: &Path) -> Vec<f64> {
    scores(&classify(&write(folder, &classifier(&[])), "native"))
}

#[test]
fn weights_in_another_file_are_read_and_what_is_wrong_with_that_file_is_told() {
    let folder = folder();
    let expected = expected(folder.path());
    let mut part = vec![0xaa; 16];
    let entry = |key: &str, value: String| StringStringEntryProto { key: key.into(), value };
    let location = |location: &str| {
        let mut part = vec![0xaa; 16];
        with_graph(classifier(&[]), |graph| {
            for tensor in &mut graph.initializer {
                let values: Vec<u8> = tensor.float_data.drain(..).flat_map(f32::to_le_bytes).collect();
                tensor.data_location = Some(DataLocation::External as i32);
                tensor.external_data = vec![
                    entry("location", location.into()),
                    entry("offset", part.len().to_string()),
                    entry("length", values.len().to_string()),
                ];
                part.extend(values);
            }
        })
    };
    for tensor in &classifier(&[]).graph.unwrap().initializer {
        part.extend(tensor.float_data.iter().flat_map(|value| value.to_le_bytes()));
    }
    let path = write(folder.path(), &location("net.onnx.data"));
    let missing = classify(&path, "auto");
    assert_eq!(missing.code(), 66, "{}", missing.stderr);
    let message = missing.message();
    assert!(message.contains("`net.onnx.data`") && message.contains("keep it in the folder"), "{message}");

    fs::write(folder.path().join("net.onnx.data"), &part).unwrap();
    for backend in ["native", "tract"] {
        are_close(&scores(&classify(&path, backend)), &expected, 1e-6);
    }
    fs::write(folder.path().join("net.onnx.data"), &part[..part.len() - 1]).unwrap();
    let short = classify(&path, "auto");
    assert_eq!(short.code(), 65, "{}", short.stderr);
    assert!(short.message().contains("that file has"), "{}", short.stderr);

    for outside in ["../net.onnx.data", "/etc/passwd"] {
        let outcome = classify(&write(folder.path(), &location(outside)), "auto");
        assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
        assert!(outcome.message().contains("outside of the folder"), "{}", outcome.stderr);
    }
}

#[test]
fn probabilities_are_used_as_they_are_whatever_runs_the_network() {
    let folder = folder();
    let expected = expected(folder.path());
    // tract alone knows this one, which does nothing here: its slope is 1.
    let mut leaky = node("LeakyRelu", "leaky", &["logits"]);
    leaky.attribute = vec![hardnetd::protobuf::AttributeProto {
        name: "alpha".into(),
        r#type: hardnetd::protobuf::AttributeType::Float as i32,
        f: 1.0,
        ..Default::default()
    }];
    for (before, backend) in [(vec![], "native"), (vec![], "tract"), (vec![leaky.clone()], "auto")] {
        let last = before.last().map_or("logits", |node: &NodeProto| &node.name).to_owned();
        let with = |kind: &str| [before.clone(), vec![node(kind, "scores", &[&last])]].concat();
        let softmax = scores(&classify(&write(folder.path(), &classifier(&with("Softmax"))), backend));
        are_close(&softmax, &expected, 1e-5);
        let sigmoid = scores(&classify(&write(folder.path(), &classifier(&with("Sigmoid"))), backend));
        // Of each class by itself: softmax and sigmoid agree on the logits up to a constant.
        let logit = |p: f64| (p / (1.0 - p)).ln();
        let shift = logit(sigmoid[0]) - expected[0].ln();
        let logits = expected.iter().map(|p| p.ln() + shift);
        are_close(&sigmoid, &logits.map(|x| 1.0 / (1.0 + (-x).exp())).collect::<Vec<_>>(), 1e-4);
    }
}

#[test]
fn what_leaves_no_score_for_each_class_is_refused() {
    let folder = folder();
    let end = |kind: &str| vec![node(kind, "best", &["logits"])];
    for kind in ["ArgMax", "Hardmax"] {
        let outcome = classify(&write(folder.path(), &classifier(&end(kind))), "auto");
        assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
        assert!(outcome.message().contains(&format!("ends in {kind} (`best`)")), "{}", outcome.stderr);
    }
    // A feature map, and the same on tract.
    for kind in ["Relu", "Softsign"] {
        let proto = with_graph(classifier(&[]), |graph| {
            graph.node = vec![node(kind, "map", &["x"])];
            graph.output = vec![info("map", &[1, 3, 32, 32], DataType::Float)];
        });
        let outcome = classify(&write(folder.path(), &proto), "auto");
        assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
        assert!(outcome.message().contains("not a score for each class"), "{kind}: {}", outcome.stderr);
    }
}

#[test]
fn half_precision_batches_and_several_outputs_give_the_scores_of_the_plain_network() {
    let folder = folder();
    let expected = expected(folder.path());
    let half = with_graph(classifier(&[]), |graph| {
        let half_type = |value: &mut hardnetd::protobuf::ValueInfoProto| {
            let kind = value.r#type.as_mut().and_then(|kind| kind.value.as_mut()).unwrap();
            let ValueType::TensorType(tensor) = kind;
            tensor.elem_type = DataType::Float16 as i32;
        };
        graph.input.iter_mut().chain(&mut graph.output).for_each(half_type);
        for tensor in &mut graph.initializer {
            tensor.data_type = DataType::Float16 as i32;
            let bits = |value: f32| half::f16::from_f32(value).to_le_bytes();
            tensor.raw_data = tensor.float_data.drain(..).flat_map(bits).collect();
        }
    });
    for backend in ["native", "tract"] {
        are_close(&scores(&classify(&write(folder.path(), &half), backend)), &expected, 1e-3);
    }

    let batch = with_graph(classifier(&[]), |graph| {
        graph.input = vec![info("x", &[8, 3, 32, 32], DataType::Float)];
        graph.output = vec![info("logits", &[8, CLASSES], DataType::Float)];
        graph.initializer.push(integers("shape", &[8, 3]));
        graph.node[1] = node("Reshape", "row", &["mean", "shape"]);
    });
    let outcome = classify(&write(folder.path(), &batch), "native");
    are_close(&scores(&outcome), &expected, 1e-6);
    assert!(outcome.stderr.contains("batches of 8"), "{}", outcome.stderr);

    let several = with_graph(classifier(&[]), |graph| {
        graph.output.insert(0, info("mean", &[1, 3, 1, 1], DataType::Float));
    });
    for backend in ["native", "tract"] {
        let outcome = classify(&write(folder.path(), &several), backend);
        are_close(&scores(&outcome), &expected, 1e-6);
        assert!(outcome.stderr.contains("unused (see --output): mean"), "{}", outcome.stderr);
    }
}

#[test]
fn a_network_with_channels_last_is_told_with_the_exporters_option() {
    let folder = folder();
    let last = with_graph(classifier(&[]), |graph| {
        graph.input = vec![info("x", &[1, 32, 32, 3], DataType::Float)];
        let mut transpose = node("Transpose", "first", &["x"]);
        transpose.attribute = vec![ints("perm", &[0, 3, 1, 2])];
        graph.node[0].input = vec!["first".into()];
        graph.node.insert(0, transpose);
    });
    let outcome = classify(&write(folder.path(), &last), "auto");
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("--inputs-as-nchw"), "{}", outcome.stderr);
}

#[test]
fn the_normalisation_of_the_file_beside_a_network_is_that_of_the_options() {
    let folder = folder();
    let plain = expected(folder.path());
    let path = write(folder.path(), &classifier(&[]));
    let picture = data("photos/coffee.jpg");
    let [network, picture] = [&path, &picture].map(|path| path.to_str().unwrap());
    let arguments = ["classify", "--json", "--top", "4", "--model", network, picture];
    let asked = scores(&run(arguments.into_iter().chain(["--mean", "0.5", "--std", "0.5,0.5,0.5"])));
    assert_ne!(asked, plain);
    let outcome = run(arguments);
    assert!(outcome.stderr.contains("does not say how pictures are normalised"), "{}", outcome.stderr);
    fs::write(folder.path().join("net.onnx.toml"), "mean = 0.5\nstd = [0.5, 0.5, 0.5]\n").unwrap();
    are_close(&scores(&run(arguments)), &asked, 1e-9);
    fs::write(folder.path().join("net.onnx.toml"), "means = 0.5\n").unwrap();
    let outcome = run(arguments);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("net.onnx.toml"), "{}", outcome.stderr);
}

/// Logits of a network of one convolution over the whole picture, from its sigmoids; `change` rebuilds it from the value
/// `conv`, the constant `c` and the last node, `scores`.
fn through_convolution(folder: &Path, change: impl Fn(&str) -> Vec<NodeProto>, backend: &str) -> Vec<f64> {
    let values = |count: i16, scale: f32| (0..count).map(|i| (f32::from(i % 7) - 3.0) * scale).collect();
    let proto = with_graph(classifier(&[]), |graph| {
        graph.initializer = vec![
            TensorProto {
                float_data: values(CLASSES as i16 * 3 * 16 * 16, 0.01),
                ..tensor("w", &[CLASSES, 3, 16, 16])
            },
            TensorProto { float_data: vec![0.8, -0.9, 1.1, -1.3], ..tensor("b", &[CLASSES]) },
            TensorProto { float_data: vec![0.7, -0.4, 0.3, 0.9], ..tensor("c", &[1, CLASSES, 1, 1]) },
        ];
        let flatten = node("Flatten", "row", &["last"]);
        let sigmoid = node("Sigmoid", "scores", &["row"]);
        let mut conv = node("Conv", "conv", &["x", "w", "b"]);
        // One window: the next one would begin behind the picture.
        conv.attribute = vec![ints("strides", &[17, 17])];
        graph.node = [vec![conv], change("conv"), vec![flatten, sigmoid]].concat();
        graph.output = vec![info("scores", &[1, CLASSES], DataType::Float)];
    });
    let scores = scores(&classify(&write(folder, &proto), backend));
    scores.into_iter().map(|p| (p / (1.0 - p)).ln()).collect()
}

#[test]
fn a_constant_minus_a_convolution_and_divided_by_it_are_what_they_say_on_either_engine() {
    let folder = folder();
    let logits = through_convolution(folder.path(), |conv| vec![node("Identity", "last", &[conv])], "native");
    let constants = [0.7, -0.4, 0.3, 0.9];
    for (kind, of) in [("Sub", (|c, x| c - x) as fn(f64, f64) -> f64), ("Div", |c, x| c / x)] {
        let expected: Vec<f64> = constants.iter().zip(&logits).map(|(c, x)| of(*c, *x)).collect();
        let found = through_convolution(folder.path(), |conv| vec![node(kind, "last", &["c", conv])], "auto");
        are_close(&found, &expected, 1e-3);
        // The second node makes it one for tract.
        let on_tract = |conv: &str| vec![node(kind, "before", &["c", conv]), node("Softsign", "last", &["before"])];
        let expected: Vec<f64> = expected.iter().map(|x| x / (1.0 + x.abs())).collect();
        are_close(&through_convolution(folder.path(), on_tract, "auto"), &expected, 1e-3);
    }
}

#[test]
fn of_several_outputs_the_one_that_is_asked_for_is_used() {
    let folder = folder();
    let expected = expected(folder.path());
    let negative = classifier(&[node("Neg", "negative", &["logits"])]);
    let path = write(
        folder.path(),
        &with_graph(negative, |graph| {
            let output = |name: &str| info(name, &[1, CLASSES], DataType::Float);
            graph.output = vec![output("negative"), output("logits")];
        }),
    );
    let classify = |more: &[&str]| {
        let picture = data("photos/coffee.jpg");
        let known = ["classify", "--json", "--top", "4", "--model", path.to_str().unwrap(), picture.to_str().unwrap()];
        run(known.iter().chain(more))
    };
    let first = classify(&[]);
    assert!(first.stderr.contains("unused (see --output): logits"), "{}", first.stderr);
    let first = scores(&first);
    assert!((first[0] - expected[0]).abs() > 0.01, "the other one: {first:?}");
    for backend in ["native", "tract"] {
        are_close(&scores(&classify(&["--output", "logits", "--backend", backend])), &expected, 1e-4);
    }
    let outcome = classify(&["--output", "nothing"]);
    assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
    assert!(outcome.message().contains("no output `nothing`; its outputs are negative, logits"), "{}", outcome.stderr);
    let outcome = run(["classify", "--output", "a", data("photos/coffee.jpg").to_str().unwrap()]);
    assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
    assert!(outcome.message().contains("has one output"), "{}", outcome.stderr);
}

#[test]
fn a_network_that_takes_bytes_gets_a_pictures_own_values() {
    let folder = folder();
    let shares = run([
        "classify",
        "--json",
        "--top",
        "4",
        "--mean",
        "0",
        "--std",
        "1",
        "--model",
        write(folder.path(), &classifier(&[])).to_str().unwrap(),
        data("photos/coffee.jpg").to_str().unwrap(),
    ]);
    let expected = scores(&shares);
    let bytes = with_graph(classifier(&[]), |graph| {
        let mut cast = node("Cast", "cast", &["x"]);
        cast.attribute = vec![int("to", DataType::Float as i64)];
        let share = TensorProto { float_data: vec![1.0 / 255.0], ..tensor("share", &[1]) };
        graph.initializer.push(share);
        graph.node[0].input = vec!["shares".into()];
        graph.node.splice(0..0, [cast, node("Mul", "shares", &["cast", "share"])]);
        graph.input = vec![info("x", &[1, 3, 32, 32], DataType::Uint8)];
    });
    let path = write(folder.path(), &bytes);
    for backend in ["native", "tract"] {
        let outcome = classify(&path, backend);
        assert!(!outcome.stderr.contains("ImageNet"), "nothing is assumed: {}", outcome.stderr);
        are_close(&scores(&outcome), &expected, 1e-4);
    }
    let picture = data("photos/coffee.jpg");
    let [path, picture] = [&path, &picture].map(|path| path.to_str().unwrap());
    let outcome = run(["classify", "--mean", "0.5", "--std", "0.5", "--model", path, picture]);
    assert!(outcome.stderr.contains("takes a picture's own values, as bytes"), "{}", outcome.stderr);
}

#[test]
fn a_size_beside_a_network_of_another_size_is_not_used_and_said_so() {
    let folder = folder();
    let path = write(folder.path(), &classifier(&[]));
    fs::write(folder.path().join("net.onnx.toml"), "mean = 0.5\nstd = 0.5\nsize = \"48x64\"\n").unwrap();
    let outcome = classify(&path, "native");
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the size 48x64 in the settings beside"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("is for 32x32"), "{}", outcome.stderr);
    fs::write(folder.path().join("net.onnx.toml"), "mean = 0.5\nstd = 0.5\nsize = \"32x32\"\n").unwrap();
    let outcome = classify(&path, "native");
    assert!(!outcome.stderr.contains("is not used"), "{}", outcome.stderr);
}

#[test]
fn if_neither_engine_runs_a_network_both_reasons_are_told() {
    let folder = folder();
    let path = write(folder.path(), &classifier(&[node("Bernoulli", "chance", &["logits"])]));
    let outcome = classify(&path, "auto");
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    for part in ["neither engine can run it (native: `chance` (Bernoulli)", "tract is only given operators of image"] {
        assert!(outcome.message().contains(part), "{part}: {}", outcome.stderr);
    }
}

#[test]
fn a_new_operator_set_is_no_reason_for_a_warning() {
    let folder = folder();
    let mut proto = classifier(&[]);
    proto.opset_import[0].version = 20;
    let outcome = classify(&write(folder.path(), &proto), "tract");
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("operator set"), "{}", outcome.stderr);
}
