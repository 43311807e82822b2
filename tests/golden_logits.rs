//! The networks compared with independently computed reference values, in 64-bit floating point.
//!
//! Each file in `tests/data/golden` holds the state dict's keys and shapes, the number of parameters, and
//! for input sizes the multiply-accumulates and the logits, all for seeded weights and the seeded input.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed unwrap is a failed test; figures are printed")]

use std::time::Instant;

use hardnetd::choice::{BackendChoice, MemoryMode};
use hardnetd::engine::graph::Graph;
use hardnetd::hardnet::{self, ARCHITECTURES, Architecture};
use hardnetd::inference::tract::TractPlan;
use hardnetd::inference::{Backend, Engine, Error, Network};
use hardnetd::kernels::Isa;
use hardnetd::kernels::runtime::Threads;
use hardnetd::model::{Model, ModelOptions, Training};
use hardnetd::tensor::Tensor;
use hardnetd::weights::seeded;
use serde_json::Value;

/// Maximum absolute difference of a logit: a correct 32-bit implementation stays below it; the logits have a standard
/// deviation of about 3.
const TOLERANCE: f64 = 1e-4;

fn golden(name: &str) -> Value {
    let path = format!("{}/tests/data/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn case(golden: &Value, height: usize, width: usize) -> &Value {
    let fits = |case: &&Value| number(&case["height"]) == height && number(&case["width"]) == width;
    golden["cases"].as_array().unwrap().iter().find(fits).unwrap()
}

/// The seeded input, which is numbered as `[1, 3, height, width]`.
fn input(height: usize, width: usize) -> Tensor {
    let mut tensor = Tensor::zeros(height, width, 3);
    for (index, value) in tensor.data_mut().iter_mut().enumerate() {
        let (pixel, channel) = (index / 3, index % 3);
        *value = seeded::input(channel * height * width + pixel);
    }
    tensor
}

fn graph(architecture: &Architecture) -> Graph {
    let classes = 1000;
    let state = hardnet::seeded(architecture, classes).unwrap();
    hardnet::build(architecture, classes, &state).unwrap()
}

/// Runs the network twice, to also test reused buffers, and compares with the reference.
fn check_logits(name: &str, network: &mut dyn Network, height: usize, width: usize, golden: &Value) {
    let input = input(height, width);
    let first = network.infer(&input).unwrap().to_vec();
    let start = Instant::now();
    let logits = network.infer(&input).unwrap();
    let elapsed = start.elapsed();
    assert_eq!(first, logits);

    let expected = numbers(&case(golden, height, width)["logits"]);
    assert_eq!(expected.len(), logits.len());
    let difference = logits.iter().zip(&expected).map(|(&found, &expected)| (f64::from(found) - expected).abs());
    let largest = difference.fold(0.0, f64::max);
    println!("{name} at {height} × {width}: {elapsed:?} per frame, largest difference {largest:.2e}");
    assert!(largest <= TOLERANCE, "{name}: {largest}");
}

fn check_model(name: &str) {
    let golden = golden(name);
    let start = Instant::now();
    let engine = Engine { backend: BackendChoice::Tract, ..Engine::default() };
    let model = Model::load(name, &ModelOptions { engine, ..ModelOptions::default() }).unwrap();
    println!("{name}: loaded in {:?}", start.elapsed());
    assert_eq!((model.name(), model.training(), model.classes()), (name, Training::Seeded, 1000));
    assert_eq!(model.parameters(), golden["parameters"].as_u64().unwrap());
    assert_eq!((&*model.labels()[0], &*model.labels()[999]), ("class 0", "class 999"));
    let (height, width) = model.input();
    check_logits(name, &mut *model.network(&Threads::one()).unwrap(), height, width, &golden);
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        for memory in MemoryMode::ALL.iter().copied() {
            let engine = Engine { backend: BackendChoice::Native, isa: isa.into(), memory };
            let model = Model::load(name, &ModelOptions { engine, ..ModelOptions::default() }).unwrap();
            assert_eq!(model.backend(), Backend::Native(isa));
            check_logits(name, &mut *model.network(&Threads::one()).unwrap(), height, width, &golden);
        }
    }
}

#[test]
fn hardnet39ds_has_the_reference_logits() {
    check_model("hardnet39ds");
}

#[test]
fn hardnet68ds_has_the_reference_logits() {
    check_model("hardnet68ds");
}

#[test]
fn hardnet68_has_the_reference_logits() {
    check_model("hardnet68");
}

#[test]
fn hardnet85_has_the_reference_logits() {
    check_model("hardnet85");
}

#[test]
fn another_input_size_has_the_reference_logits() {
    for (architecture, backend) in
        ARCHITECTURES.iter().flat_map(|a| [(a, BackendChoice::Native), (a, BackendChoice::Tract)])
    {
        let (name, engine) = (&architecture.name, Engine { backend, ..Engine::default() });
        let model =
            Model::load(name, &ModelOptions { size: Some([320, 256]), engine, ..ModelOptions::default() }).unwrap();
        assert_eq!(model.input(), (320, 256));
        check_logits(name, &mut *model.network(&Threads::one()).unwrap(), 320, 256, &golden(name));
    }
}

#[test]
fn every_network_has_the_reference_keys_shapes_and_counts() {
    for architecture in &ARCHITECTURES {
        let golden = golden(&architecture.name);
        let expected: Vec<(String, Vec<usize>)> = serde_json::from_value(golden["keys"].clone()).unwrap();
        let classes = number(&golden["classes"]);
        let entries = hardnet::entries(architecture, classes);
        let found: Vec<(String, Vec<usize>)> = entries.into_iter().map(|entry| (entry.key, entry.shape)).collect();
        assert_eq!(found, expected, "{}", architecture.name);
        assert_eq!(hardnet::parameters(architecture, classes), golden["parameters"].as_u64().unwrap());

        let graph = graph(architecture);
        for case in golden["cases"].as_array().unwrap() {
            let (height, width) = (number(&case["height"]), number(&case["width"]));
            assert_eq!(graph.macs(height, width).unwrap(), case["macs"].as_u64().unwrap(), "{}", architecture.name);
        }
    }
}

/// The output of every top-level module: shape, mean, standard deviation and first four values, which shows where a
/// fault begins.
#[test]
fn every_module_of_hardnet39ds_has_the_reference_output() {
    let (height, width) = (224, 224);
    let golden = golden("hardnet39ds");
    let graph = graph(&ARCHITECTURES[0]);
    let shapes = graph.shapes(height, width).unwrap();
    let input = input(height, width);
    let stages = case(&golden, height, width)["stages"].as_array().unwrap();
    // The last one, the head, gives the logits.
    for stage in &stages[..stages.len() - 1] {
        let module = stage["module"].as_str().unwrap();
        let id = graph.find(module).unwrap();
        let shape = shapes[id.index()];
        assert_eq!(numbers(&stage["shape"]), [1, shape.channels, shape.height, shape.width].map(|size| size as f64));

        let plan = TractPlan::compile(graph.up_to(id).unwrap(), height, width).unwrap();
        let mut network = plan.network().unwrap();
        let values = network.infer(&input).unwrap();
        assert_eq!(values.len(), shape.channels * shape.height * shape.width);
        let count = values.len() as f64;
        let mean = values.iter().copied().map(f64::from).sum::<f64>() / count;
        let variance = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
        let found = values[..4].iter().copied().map(f64::from).chain([mean, variance.sqrt()]);
        let expected =
            numbers(&stage["first"]).into_iter().chain([&stage["mean"], &stage["std"]].map(|v| v.as_f64().unwrap()));
        for (found, expected) in found.zip(expected) {
            assert!((found - expected).abs() <= TOLERANCE, "{module}: {found} instead of {expected}");
        }
    }
}

#[test]
fn a_wrong_shape_is_an_error_that_a_network_survives() {
    let model = Model::load("HarDNet-39-DS", &ModelOptions::default()).unwrap();
    let mut network = model.network(&Threads::one()).unwrap();
    let wrong = network.infer(&Tensor::zeros(224, 223, 3)).unwrap_err();
    assert!(matches!(wrong, Error::Input { expected: [224, 224, 3], found: [224, 223, 3] }));
    check_logits("hardnet39ds", &mut *network, 224, 224, &golden("hardnet39ds"));
}
