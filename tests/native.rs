//! The native engine compared with the same networks in 64-bit floating point, on every instruction set of this
//! processor, and with tract.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::borrow::Cow;
use std::sync::Arc;

use common::{data, run};
use hardnetd::choice::MemoryMode;
use hardnetd::engine::graph::{self, Activation, Builder, Conv, Graph, Linear, Padding, Window};
use hardnetd::engine::plan::{Error, Plan, PlanOptions};
use hardnetd::engine::reference;
use hardnetd::engine::run::Runner;
use hardnetd::hardnet::{self, ARCHITECTURES, Architecture, Block};
use hardnetd::inference::{Network, native, tract};
use hardnetd::kernels::Isa;
use hardnetd::kernels::runtime::Threads;
use hardnetd::tensor::Tensor;
use hardnetd::weights::seeded;

/// Maximum difference of a logit; their standard deviation is about 3.
const TOLERANCE: f64 = 1e-4;

/// The seeded input.
fn input(height: usize, width: usize) -> Tensor {
    let mut tensor = Tensor::zeros(height, width, 3);
    for (index, value) in tensor.data_mut().iter_mut().enumerate() {
        let (pixel, channel) = (index / 3, index % 3);
        *value = seeded::input(channel * height * width + pixel);
    }
    tensor
}

fn seeded_graph(architecture: &Architecture, classes: usize) -> Graph {
    let state = hardnet::seeded(architecture, classes).unwrap();
    hardnet::build(architecture, classes, &state).unwrap()
}

/// Every instruction set of this processor, with every memory mode.
fn options() -> impl Iterator<Item = PlanOptions> {
    let isas = Isa::ALL.into_iter().filter(|isa| isa.is_available());
    isas.flat_map(|isa| MemoryMode::ALL.iter().map(move |&memory| PlanOptions { isa, memory }))
}

/// The output in 64-bit floating point.
fn expected(graph: &Graph, input: &Tensor) -> Vec<f64> {
    let mut values = Vec::new();
    reference::run::<graph::Error>(graph, input, |id, map| {
        if id == graph.output() {
            values.clone_from(&map.values);
        }
        Ok(())
    })
    .unwrap();
    values
}

/// Compares results computed in memory that initially holds NaN.
fn check(graph: &Graph, height: usize, width: usize, name: &str) {
    let input = input(height, width);
    let expected = expected(graph, &input);
    for options in options() {
        let plan = Arc::new(Plan::new(graph.clone(), height, width, options).unwrap());
        for threads in [1, 3] {
            let mut runner = Runner::new(Arc::clone(&plan), &Threads::new(threads, |_| ())).unwrap();
            let mut found = vec![f32::NAN; plan.outputs()];
            runner.memory().fill(f32::NAN);
            runner.run(input.data(), &mut found).unwrap();
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                let difference = (f64::from(*found) - expected).abs();
                let message = format!("{name} {options:?} {height}x{width} {threads}: {found} instead of {expected}");
                assert!(difference <= TOLERANCE, "{message}");
            }
        }
    }
}

#[test]
fn the_family_computes_what_it_should_at_odd_sizes() {
    for architecture in &ARCHITECTURES {
        let graph = seeded_graph(architecture, 10);
        check(&graph, 64, 64, &architecture.name);
        check(&graph, 33, 47, &architecture.name);
    }
}

/// A reproducible number from 0 to `below - 1`.
fn random(name: &str, index: usize, below: usize) -> usize {
    (seeded::uniform(name, index) * below as f64) as usize
}

/// A small, reproducible table.
fn table(index: usize) -> Architecture {
    let pick = |what: &str, below: usize| random(what, index, below);
    let block = |number: usize| Block {
        growth: 3 + random("growth", index * 8 + number, 14),
        layers: 1 + random("layers", index * 8 + number, 9),
        transition: 4 + random("transition", index * 8 + number, 40),
        downsample: random("downsample", index * 8 + number, 2) == 1,
    };
    Architecture {
        name: Cow::Owned(format!("table-{index}")),
        stem: [2 + pick("first", 20), 2 + pick("second", 30)],
        second_kernel: 1 + 2 * pick("kernel", 3),
        multiplier: 1.2 + pick("multiplier", 9) as f64 / 10.0,
        depthwise: pick("depthwise", 2) == 1,
        dropout_after: None,
        blocks: (0..1 + pick("blocks", 3)).map(block).collect(),
    }
}

#[test]
fn two_hundred_random_tables_agree_with_tract() {
    for index in 0..200 {
        let architecture = table(index);
        assert_eq!(architecture.problems(), Vec::<String>::new());
        let classes = 1 + random("classes", index, 20);
        let graph = seeded_graph(&architecture, classes);
        let size = |what| 32 + random(what, index, 25);
        let (height, width) = (size("height"), size("width"));
        let input = input(height, width);
        let plan = tract::TractPlan::compile(graph.clone(), height, width).unwrap();
        let expected = plan.network().unwrap().infer(&input).unwrap().to_vec();
        assert_eq!(expected.len(), classes);
        for options in options() {
            let plan = native::NativePlan::compile(graph.clone(), height, width, options).unwrap();
            let threads = Threads::new(1 + index % 3, |_| ());
            let mut network = plan.network(&threads).unwrap();
            let found = network.infer(&input).unwrap();
            assert_eq!(found.len(), classes);
            for (found, expected) in found.iter().zip(&expected) {
                let near = (f64::from(*found) - f64::from(*expected)).abs() <= TOLERANCE;
                assert!(near, "{architecture:?} {options:?} {height}x{width}: {found} instead of {expected}");
            }
        }
    }
}

fn conv(read: usize, write: usize, window: Window, groups: usize, activation: Activation) -> Conv {
    let count = read / groups * write * window.kernel[0] * window.kernel[1];
    let value = |name: &str, index: usize| (seeded::uniform(name, index) - 0.5) as f32;
    Conv {
        in_channels: read,
        out_channels: write,
        window,
        groups,
        weight: (0..count).map(|index| value("weight", index)).collect(),
        bias: (0..write).map(|index| value("bias", index)).collect(),
        activation,
    }
}

/// One of each operator that the engine supports, on values that are concatenated, shared and reused.
#[test]
fn every_operator_computes_what_it_should() {
    let mut builder = Builder::new();
    let image = builder.input("image", 3).unwrap();
    let wide = builder.conv("wide", image, conv(3, 12, Window::square(7, 2, 3), 1, Activation::Silu)).unwrap();
    let plain = builder.conv("plain", wide, conv(12, 12, Window::square(5, 1, 2), 12, Activation::HardSwish)).unwrap();
    let both = builder.concat("both", &[wide, plain]).unwrap();
    let pooled = builder.max_pool("max", both, Window::square(3, 2, 1)).unwrap();
    let mean = builder.avg_pool("mean", pooled, Window::square(3, 1, 1), true).unwrap();
    let other = builder.avg_pool("other", pooled, Window::square(3, 1, 1), false).unwrap();
    let sum = builder.add("sum", mean, other).unwrap();
    let relu = builder.activation("relu", sum, Activation::Relu).unwrap();
    let point = builder.conv("point", relu, conv(24, 19, Window::square(1, 1, 0), 1, Activation::Relu6)).unwrap();
    let deep = builder.conv("deep", point, conv(19, 19, Window::square(3, 2, 1), 19, Activation::None)).unwrap();
    let shared = builder.conv("shared", relu, conv(24, 7, Window::square(1, 1, 0), 1, Activation::Relu)).unwrap();
    let again = builder.conv("again", shared, conv(7, 7, Window::square(3, 1, 1), 7, Activation::Sigmoid)).unwrap();
    let twice = builder.concat("twice", &[shared, again]).unwrap();
    let twice = builder.conv("last", twice, conv(14, 19, Window::square(3, 2, 1), 1, Activation::HardSigmoid)).unwrap();
    let end = builder.concat("end", &[deep, twice]).unwrap();
    let flat = builder.global_average("average", end).unwrap();
    let weight = (0..38 * 5).map(|index| (seeded::uniform("linear", index) - 0.5) as f32).collect();
    let linear = Linear { in_channels: 38, out_channels: 5, weight, bias: vec![0.25; 5].into() };
    let scores = builder.linear("linear", flat, linear).unwrap();
    let graph = builder.finish(scores).unwrap();
    for (height, width) in [(32, 32), (41, 67)] {
        check(&graph, height, width, "everything");
    }
}

/// Groups that fill units, groups that do not, and last ones with fewer next to them; outputs more and fewer than
/// inputs.
#[test]
fn convolutions_in_groups_compute_what_they_should() {
    let cases = [
        (16, 16, 2),
        (16, 32, 4),
        (32, 64, 4),
        (12, 24, 3),
        (10, 6, 2),
        (6, 20, 2),
        (9, 15, 3),
        (21, 7, 7),
        (20, 20, 4),
        (11, 22, 11),
        (5, 35, 5),
        (72, 48, 3),
        (24, 24, 12),
        (18, 90, 9),
    ];
    let windows = [Window::square(3, 1, 1), Window::square(3, 2, 1), Window::square(1, 1, 0), Window::square(5, 3, 2)];
    let one_sided = Padding { top: 0, left: 2, bottom: 1, right: 0 };
    let wide = Window { kernel: [2, 3], stride: [1, 2], padding: one_sided };
    for (read, write, groups) in cases {
        for window in windows.into_iter().chain([wide]) {
            let mut builder = Builder::new();
            let image = builder.input("image", 3).unwrap();
            let first = conv(3, read, Window::square(3, 1, 1), 1, Activation::None);
            let first = builder.conv("first", image, first).unwrap();
            let grouped = conv(read, write, window, groups, Activation::Relu6);
            let grouped = builder.conv("grouped", first, grouped).unwrap();
            let graph = builder.finish(grouped).unwrap();
            // Three threads divide the channels, and the pixels.
            for (height, width) in [(7, 9), (33, 31)] {
                check(&graph, height, width, &format!("{read} to {write} in {groups} {window:?}"));
            }
        }
    }
}

/// After a concatenation, on the image itself, before an operator that is fused with a convolution, and in a row.
#[test]
fn convolutions_in_groups_have_any_neighbours() {
    let mut builder = Builder::new();
    let image = builder.input("image", 3).unwrap();
    let wide = builder.conv("wide", image, conv(3, 9, Window::square(3, 1, 1), 3, Activation::HardSwish)).unwrap();
    let both = builder.concat("both", &[wide, image]).unwrap();
    let point = builder.conv("point", both, conv(12, 18, Window::square(1, 1, 0), 2, Activation::Relu)).unwrap();
    let deep = builder.conv("deep", point, conv(18, 18, Window::square(3, 2, 1), 18, Activation::None)).unwrap();
    let again = builder.conv("again", deep, conv(18, 24, Window::square(3, 1, 1), 6, Activation::None)).unwrap();
    let last = builder.conv("last", again, conv(24, 16, Window::square(3, 1, 1), 2, Activation::Silu)).unwrap();
    let end = builder.concat("end", &[again, last]).unwrap();
    let graph = builder.finish(end).unwrap();
    for (height, width) in [(32, 32), (19, 67)] {
        check(&graph, height, width, "neighbours");
    }
}

#[test]
fn groups_do_not_fill_the_memory_with_zeros() {
    let mut builder = Builder::new();
    let image = builder.input("image", 3).unwrap();
    let wide = builder.conv("wide", image, conv(3, 8192, Window::square(1, 1, 0), 1, Activation::None)).unwrap();
    let large = Window::square(20, 1, 9);
    let grouped = builder.conv("grouped", wide, conv(8192, 384, large, 128, Activation::None)).unwrap();
    let graph = builder.finish(grouped).unwrap();
    let error = Plan::new(graph, 8, 8, PlanOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { node, .. } if node == "grouped"), "{error}");
}

/// A product has a limited number of segments: more maps are copied into one, larger kernels are rejected.
#[test]
fn kernels_of_any_size_over_any_number_of_maps_run_or_are_named() {
    let large = |side: usize| {
        let mut builder = Builder::new();
        let image = builder.input("image", 3).unwrap();
        let point = |name: &str, builder: &mut Builder| {
            builder.conv(name, image, conv(3, 2, Window::square(1, 1, 0), 1, Activation::None)).unwrap()
        };
        let both = [point("a", &mut builder), point("b", &mut builder)];
        let both = builder.concat("both", &both).unwrap();
        let large = conv(4, 5, Window::square(side, 1, side / 2), 1, Activation::None);
        let large = builder.conv("large", both, large).unwrap();
        builder.finish(large).unwrap()
    };
    check(&large(17), 20, 24, "17 × 17");
    let error = Plan::new(large(23), 24, 24, PlanOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { node, .. } if node == "large"), "{error}");
}

#[test]
fn what_the_engine_does_not_know_is_named() {
    let mut builder = Builder::new();
    let image = builder.input("image", 4).unwrap();
    let beside = builder.conv("beside", image, conv(4, 6, Window::square(1, 1, 1), 1, Activation::None)).unwrap();
    let graph = builder.finish(beside).unwrap();
    let plan = |height, isa| Plan::new(graph.clone(), height, 8, PlanOptions { isa, ..PlanOptions::default() });
    let error = plan(8, Isa::Scalar).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { node, .. } if node == "beside"), "{error}");
    assert!(matches!(plan(usize::MAX, Isa::Scalar), Err(Error::Graph(_))));
    let other = Isa::ALL.into_iter().find(|isa| !isa.is_available()).unwrap();
    assert!(matches!(plan(8, other), Err(Error::Isa { .. })));
}

/// Weights of 3 × 3 convolutions on small maps are stored untransformed: little more than the network has.
#[test]
fn lean_plans_take_little_memory() {
    let architecture = ARCHITECTURES.iter().find(|architecture| architecture.name == "hardnet68").unwrap();
    let graph = seeded_graph(architecture, 10);
    let values: usize = graph.nodes().iter().map(|node| node.op.values() as usize).sum();
    let plan = |memory| Plan::new(graph.clone(), 224, 224, PlanOptions { memory, ..PlanOptions::default() }).unwrap();
    let [fast, lean] = [MemoryMode::Fast, MemoryMode::Lean].map(plan);
    assert!(lean.weight_bytes() * 10 < values * size_of::<f32>() * 12, "{}", lean.weight_bytes());
    assert!(fast.weight_bytes() > 2 * lean.weight_bytes());
    let lean_steps = |plan: &Plan| plan.steps().iter().filter(|step| step.algorithm.ends_with("lean")).count();
    assert!(lean_steps(&fast) == 0 && lean_steps(&lean) > 20);
}

/// Packing takes the weights out of the graph; other owners keep them.
#[test]
fn a_graph_that_is_shared_keeps_its_weights() {
    let graph = seeded_graph(&ARCHITECTURES[0], 3);
    let values = |graph: &Graph| graph.nodes().iter().map(|node| node.op.values()).sum::<u64>();
    let before = values(&graph);
    Plan::new(graph.clone(), 64, 64, PlanOptions::default()).unwrap();
    assert_eq!(values(&graph), before);
    check(&graph, 64, 64, "again");
}

#[test]
fn the_back_end_can_be_chosen() {
    let photo = data("photos/coffee.jpg");
    let photo = photo.to_str().unwrap();
    let top = |arguments: &[&str]| {
        let outcome = run([&["classify", "--json", photo], arguments].concat());
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        let pictures: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        pictures[0]["top"].as_array().unwrap().clone()
    };
    let tract = top(&["--backend", "tract"]);
    for arguments in [vec![], vec!["--backend", "native"], vec!["--isa", "scalar"], vec!["--memory", "lean"]] {
        for (found, expected) in top(&arguments).iter().zip(&tract) {
            assert_eq!(found["index"], expected["index"]);
            let difference = found["score"].as_f64().unwrap() - expected["score"].as_f64().unwrap();
            assert!(difference.abs() < 1e-5, "{arguments:?}: {found} instead of {expected}");
        }
    }
    let source = "test:ball?frames=1&live=false";
    assert_eq!(run(["run", "--backend", "native", "--isa", "scalar", "--source", source]).records().len(), 1);
    assert_eq!(run(["run", "--memory", "lean", "--source", source]).records().len(), 1);
    assert_eq!(run(["run", "--threads", "2", "--source", source]).records().len(), 1);
    assert_eq!(run(["run", "--backend", "cuda"]).code(), 64);
    assert_eq!(run(["run", "--memory", "none"]).code(), 64);
    assert_eq!(run(["classify", "--memory", "none", photo]).code(), 64);
    assert_eq!(run(["classify", "--isa", "sse9", photo]).code(), 64);
    let missing = Isa::ALL.into_iter().find(|isa| !isa.is_available()).unwrap();
    assert_eq!(run(["classify", "--isa", missing.name(), photo]).code(), 69);
}
