//! ONNX files from PyTorch, and those that the program writes: the graph computes what the file computes.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed unwrap is a failed test; figures are printed")]

use std::fs;
use std::path::{Path, PathBuf};

use hardnetd::classifier::Classifier as _;
use hardnetd::classifier::tract::Plan;
use hardnetd::engine::graph::{Graph, Op};
use hardnetd::engine::import::{self, File};
use hardnetd::engine::{cost, onnx};
use hardnetd::hardnet::{self, ARCHITECTURES};
use hardnetd::tensor::Tensor;
use hardnetd::weights::seeded;
use serde_json::Value;

/// The files and what PyTorch computes with them, in 64-bit floating point, for the seeded input.
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

/// The seeded input, which is numbered `[1, 3, height, width]`.
fn input([height, width]: [usize; 2]) -> Tensor {
    let mut tensor = Tensor::zeros(height, width, 3);
    for (index, value) in tensor.data_mut().iter_mut().enumerate() {
        let (pixel, channel) = (index / 3, index % 3);
        *value = seeded::input(channel * height * width + pixel);
    }
    tensor
}

fn run(plan: &Plan, size: [usize; 2]) -> Vec<f32> {
    let mut logits = vec![f32::NAN; plan.logits()];
    plan.classifier().unwrap().infer(&input(size), &mut logits).unwrap();
    logits
}

fn compiled(graph: Graph, [height, width]: [usize; 2]) -> Plan {
    Plan::compile(graph, height, width).unwrap()
}

fn difference(found: &[f32], expected: impl IntoIterator<Item = f64>) -> f64 {
    let expected: Vec<f64> = expected.into_iter().collect();
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(&found, expected)| (f64::from(found) - expected).abs()).fold(0.0, f64::max)
}

#[test]
fn networks_from_pytorch_compute_what_pytorch_computes() {
    for (path, size, expected) in golden() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(&path).unwrap();
        let imported = import::read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = run(&compiled(imported.graph, size), size);
        let error = difference(&found, expected.iter().copied());
        assert!(error < 1e-4, "{name}: {error} between {found:?} and {expected:?}");
        let original = Plan::from_onnx(File::parse(&bytes).unwrap(), size[0], size[1]).unwrap();
        let error = difference(&run(&original, size), expected);
        assert!(error < 1e-4, "{name} as it is: {error}");
    }
}

/// Compares networks in a folder with what PyTorch computes with them, and prints what it finds.
#[test]
#[ignore = "needs networks of full size in the folder of the environment variable HARDNETD_ONNX"]
fn large_networks_compute_what_pytorch_computes() {
    let folder = PathBuf::from(std::env::var_os("HARDNETD_ONNX").unwrap());
    for (path, size, expected) in golden_in(&folder) {
        let bytes = fs::read(&path).unwrap();
        let imported = import::read(&bytes).unwrap();
        let scale = expected.iter().fold(0.0, |scale: f64, logit| scale.max(logit.abs()));
        let macs = imported.graph.macs(size[0], size[1]).unwrap();
        let (parameters, nodes) = (imported.parameters, imported.graph.nodes().len());
        let found = run(&compiled(imported.graph, size), size);
        let error = difference(&found, expected.iter().copied());
        let original = Plan::from_onnx(File::parse(&bytes).unwrap(), size[0], size[1]).unwrap();
        let original = run(&original, size);
        println!(
            "{}: {macs} multiply-accumulates, {parameters} parameters, {nodes} nodes; largest logit {scale:.3}, \
             difference to PyTorch {error:.2e}, of the original {:.2e}, between both {:.2e}",
            path.display(),
            difference(&original, expected),
            difference(&found, original.iter().copied().map(f64::from)),
        );
        assert!(error < 1e-4 * scale.max(1.0));
    }
}
