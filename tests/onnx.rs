//! ONNX files from PyTorch and PaddlePaddle, and files written by the program: the graph computes the same as the file.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed unwrap is a failed test; figures are printed")]

use std::fs;
use std::path::{Path, PathBuf};

use hardnetd::engine::graph::{Activation, Affine, Builder, Conv, Graph, Linear, Op, Padding, Window};
use hardnetd::engine::import::{self, File};
use hardnetd::engine::plan::PlanOptions;
use hardnetd::engine::{cost, onnx};
use hardnetd::hardnet::{self, ARCHITECTURES};
use hardnetd::inference::tract::TractPlan;
use hardnetd::inference::{Network as _, native};
use hardnetd::kernels::Isa;
use hardnetd::kernels::runtime::Threads;
use hardnetd::tensor::Tensor;
use hardnetd::weights::seeded;
use serde_json::Value;

/// The files and the results of PyTorch or PaddlePaddle in 64-bit floating point, for the seeded input.
fn golden() -> Vec<(PathBuf, [usize; 2], Vec<f64>)> {
    golden_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx"))
}

fn golden_in(folder: &Path) -> Vec<(PathBuf, [usize; 2], Vec<f64>)> {
    let text = fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let of = |(name, case): (String, Value)| {
        let logits = case["logits"].as_array().unwrap().iter().map(|logit| logit.as_f64().unwrap()).collect();
        (folder.join(format!("{name}.onnx")), [number(&case["height"]), number(&case["width"])], logits)
    };
    expected.into_iter().map(of).collect()
}

/// The seeded input, which is numbered as `[1, 3, height, width]`.
fn input([height, width]: [usize; 2]) -> Tensor {
    let mut tensor = Tensor::zeros(height, width, 3);
    for (index, value) in tensor.data_mut().iter_mut().enumerate() {
        let (pixel, channel) = (index / 3, index % 3);
        *value = seeded::input(channel * height * width + pixel);
    }
    tensor
}

fn run(plan: &TractPlan, size: [usize; 2]) -> Vec<f32> {
    plan.network().unwrap().infer(&input(size)).unwrap().to_vec()
}

fn compiled(graph: Graph, [height, width]: [usize; 2]) -> TractPlan {
    TractPlan::compile(graph, height, width).unwrap()
}

fn difference(found: &[f32], expected: impl IntoIterator<Item = f64>) -> f64 {
    let expected: Vec<f64> = expected.into_iter().collect();
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(&found, expected)| (f64::from(found) - expected).abs()).fold(0.0, f64::max)
}

/// Files with constants that tract does not compute.
const NOT_ON_TRACT: [&str; 1] = ["dynamo_norms.onnx"];

#[test]
fn networks_compute_what_computes_where_they_come_from() {
    for (path, size, expected) in golden() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(&path).unwrap();
        let imported = import::read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let plan = native::NativePlan::compile(
                imported.graph.clone(),
                size[0],
                size[1],
                PlanOptions { isa, ..PlanOptions::default() },
            )
            .unwrap();
            let mut network = plan.network(&Threads::one()).unwrap();
            let found = network.infer(&input(size)).unwrap();
            let error = difference(found, expected.iter().copied());
            assert!(error < 1e-4, "{name} {isa}: {error} between {found:?} and {expected:?}");
        }
        let found = run(&compiled(imported.graph, size), size);
        let error = difference(&found, expected.iter().copied());
        assert!(error < 1e-4, "{name}: {error} between {found:?} and {expected:?}");
        if NOT_ON_TRACT.contains(&name) {
            continue;
        }
        let original = TractPlan::from_onnx(File::parse(&bytes).unwrap(), size[0], size[1]).unwrap();
        let error = difference(&run(&original, size), expected);
        assert!(error < 1e-4, "{name} as it is: {error}");
    }
}

/// One of each operator of a graph.
fn everything() -> Graph {
    let values = |count: usize, seed: f32| (0..count).map(|index| (index as f32 * seed).sin()).collect();
    let conv = |in_channels: usize, out_channels: usize, window: Window, groups: usize, activation| Conv {
        in_channels,
        out_channels,
        window,
        groups,
        weight: values(out_channels * in_channels / groups * window.kernel[0] * window.kernel[1], 0.7),
        bias: values(out_channels, 1.3),
        activation,
    };
    let mut graph = Builder::new();
    let image = graph.input("image", 3).unwrap();
    let padding = Padding { top: 0, left: 2, bottom: 1, right: 0 };
    let odd = Window { kernel: [1, 3], stride: [2, 1], padding };
    let mut node = graph.conv("odd", image, conv(3, 6, odd, 3, Activation::None)).unwrap();
    for (index, activation) in ACTIVATIONS.into_iter().enumerate() {
        let next = conv(6, 6, Window::square(1, 1, 0), 1, activation);
        node = graph.conv(&format!("conv{index}"), node, next).unwrap();
        let affine = Affine { scale: values(6, 2.1), shift: values(6, 0.4), activation };
        let both = graph.affine(&format!("affine{index}"), node, affine).unwrap();
        let both = graph.add(&format!("sum{index}"), node, both).unwrap();
        node = graph.activation(&format!("activation{index}"), both, activation).unwrap();
    }
    let plain = Affine { scale: values(6, 0.9), shift: values(6, 3.3), activation: Activation::None };
    let affine = graph.affine("affine", node, plain).unwrap();
    let joined = graph.concat("joined", &[affine, node, affine]).unwrap();
    let pooled = graph.max_pool("max", joined, Window::square(3, 2, 1)).unwrap();
    let pooled = graph.avg_pool("with", pooled, Window::square(2, 1, 1), true).unwrap();
    let pooled = graph.avg_pool("without", pooled, Window::square(3, 1, 1), false).unwrap();
    let pooled = graph.softmax("pixels", pooled).unwrap();
    let mean = graph.global_average("mean", pooled).unwrap();
    let linear = |in_channels: usize, out_channels: usize| Linear {
        in_channels,
        out_channels,
        weight: values(in_channels * out_channels, 0.3),
        bias: values(out_channels, 0.8),
    };
    let first = graph.linear("first", mean, linear(18, 8)).unwrap();
    let second = graph.linear("second", first, linear(8, 8)).unwrap();
    let gate = graph.activation("gate", second, Activation::Silu).unwrap();
    let sum = graph.add("sum", gate, first).unwrap();
    let joined = graph.concat("vector", &[sum, first]).unwrap();
    let last = graph.softmax("classes", joined).unwrap();
    graph.finish(last).unwrap()
}

const ACTIVATIONS: [Activation; 6] = [
    Activation::Relu,
    Activation::Relu6,
    Activation::HardSigmoid,
    Activation::HardSwish,
    Activation::Sigmoid,
    Activation::Silu,
];

fn written(graph: &Graph, [height, width]: [usize; 2]) -> Vec<u8> {
    onnx::bytes(&onnx::model(graph, height, width).unwrap())
}

#[test]
fn a_graph_that_was_written_is_read_again() {
    let state = hardnet::seeded(&ARCHITECTURES[0], 1000).unwrap();
    let hardnet = hardnet::build(&ARCHITECTURES[0], 1000, &state).unwrap();
    for (graph, size) in [(hardnet, [64, 64]), (everything(), [12, 10])] {
        let bytes = written(&graph, size);
        let imported = import::read(&bytes).unwrap();
        let [height, width] = size;
        let mut before = cost::cost(&graph, height, width).unwrap();
        assert_eq!(imported.parameters, before.nodes.iter().map(|node| node.weights).sum::<u64>());
        assert_eq!((imported.size, imported.metadata.len()), (Some(size), 0));
        assert_eq!(imported.producer, concat!("hardnetd ", env!("CARGO_PKG_VERSION")));
        // The model calls its input `input`.
        before.nodes[0].name = "input".to_owned();
        assert_eq!(cost::cost(&imported.graph, height, width).unwrap(), before);
        assert_eq!(written(&imported.graph, size), bytes);
        let expected = run(&compiled(graph, size), size);
        let found = run(&compiled(imported.graph, size), size);
        assert!(difference(&found, expected.iter().copied().map(f64::from)) < 1e-5);
    }
}

fn golden_graph(name: &str) -> Graph {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx").join(name);
    import::read(&fs::read(path).unwrap()).unwrap().graph
}

/// A short form of what the nodes compute.
fn kinds(graph: &Graph) -> Vec<String> {
    let kind = |op: &Op| match op {
        Op::Conv(conv) => format!("conv {:?}", conv.activation),
        Op::Affine(affine) => format!("affine {:?}", affine.activation),
        Op::Activation(activation) => format!("{activation:?}"),
        Op::Input { .. } => "input".to_owned(),
        Op::MaxPool(_) => "max".to_owned(),
        Op::AvgPool { .. } => "mean".to_owned(),
        Op::Concat => "concat".to_owned(),
        Op::Add => "add".to_owned(),
        Op::GlobalAverage => "global".to_owned(),
        Op::Linear(_) => "linear".to_owned(),
        Op::Softmax => "softmax".to_owned(),
    };
    graph.nodes().iter().map(|node| kind(&node.op)).collect()
}

#[test]
fn norms_and_activations_go_into_what_is_before_them() {
    let expected = "input, conv Relu, max, conv Relu, conv None, conv None, add, Relu, global, linear";
    assert_eq!(kinds(&golden_graph("resnet.onnx")).join(", "), expected);
    assert_eq!(kinds(&golden_graph("resnet_norms.onnx")).join(", "), expected);
    let expected = "input, conv Relu, affine Relu, conv Relu, conv None, concat, affine Relu, conv None, mean, \
                    affine Relu, global, linear";
    assert_eq!(kinds(&golden_graph("densenet.onnx")).join(", "), expected);
    assert_eq!(kinds(&golden_graph("densenet_norms.onnx")).join(", "), expected);
    let expected =
        "input, conv HardSwish, conv HardSwish, conv HardSwish, conv None, add, global, conv HardSwish, linear";
    assert_eq!(kinds(&golden_graph("mobilenet_v3.onnx")).join(", "), expected);
    assert_eq!(kinds(&golden_graph("mobilenet_v3_14.onnx")).join(", "), expected);
    assert_eq!(kinds(&golden_graph("silu.onnx")).join(", "), expected.replace("HardSwish", "Silu"));
    let expected = "input, conv Silu, global, linear";
    assert_eq!(kinds(&golden_graph("mean_squeeze.onnx")).join(", "), expected);
    let expected = "input, affine None, conv HardSwish, conv Relu, max, conv HardSwish, mean, Sigmoid, affine None, \
                    affine None, add, affine None, global, linear";
    assert_eq!(kinds(&golden_graph("composed.onnx")).join(", "), expected);
}

#[test]
fn a_linear_layer_of_a_map_is_a_convolution_as_large_as_the_map() {
    let graph = golden_graph("vgg.onnx");
    assert_eq!(kinds(&graph)[4..].join(", "), "max, conv Relu, conv Relu, linear");
    let Op::Conv(conv) = &graph.nodes()[5].op else { panic!("no convolution") };
    assert_eq!((conv.in_channels, conv.out_channels), (4, 8));
    assert_eq!(conv.window, Window { kernel: [3, 4], stride: [1, 1], padding: Padding::default() });
    assert_eq!(graph.macs(12, 16), Ok(192 * 108 + 48 * 144 + 48 * 8 + 48 + 30));
}

#[test]
fn a_file_that_leaves_the_size_open_fits_every_size() {
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx/view_11.onnx")).unwrap();
    let imported = import::read(&bytes).unwrap();
    assert_eq!((imported.size, imported.producer.as_str(), imported.parameters), (None, "pytorch 2.0.1", 137));
    for size in [[7, 9], [20, 16]] {
        let original = TractPlan::from_onnx(File::parse(&bytes).unwrap(), size[0], size[1]).unwrap();
        let found = run(&compiled(imported.graph.clone(), size), size);
        assert!(difference(&found, run(&original, size).into_iter().map(f64::from)) < 1e-5);
    }
}

#[test]
fn a_network_that_no_graph_holds_runs_as_it_is_or_is_an_error() {
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx/vgg.onnx")).unwrap();
    let with = |operator: &str| {
        let mut proto = File::parse(&bytes).unwrap().into_proto();
        let node = proto.graph.as_mut().unwrap().node.iter_mut().find(|node| node.op_type == "Relu").unwrap();
        node.op_type = operator.to_owned();
        File::parse(&onnx::bytes(&proto)).unwrap()
    };
    assert!(with("LeakyRelu").network().is_err());
    let plan = TractPlan::from_onnx(with("LeakyRelu"), 12, 16).unwrap();
    assert_eq!(plan.outputs(), 5);
    assert!(run(&plan, [12, 16]).iter().all(|logit| logit.is_finite()));
    assert!(TractPlan::from_onnx(with("LeakyRelu"), 24, 16).is_err(), "the size is another");
    assert!(TractPlan::from_onnx(with("Unknown"), 12, 16).is_err());
}
