//! Every operator that tract is given, in small networks, compared with ONNX's own evaluator and onnxruntime; see
//! tests/data/operators.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Cursor, Read as _};

use common::data;
use hardnetd::choice::BackendChoice;
use hardnetd::engine::import::File;
use hardnetd::exit::Exit;
use hardnetd::inference::tract::TractPlan;
use hardnetd::inference::{Engine, Error, InferencePlan, Network};
use hardnetd::kernels::runtime::Threads;
use hardnetd::protobuf::{AttributeProto, AttributeType};
use hardnetd::tensor::Tensor;
use hardnetd::weights::seeded;
use prost::Message as _;

/// Height and width of the input.
const SIDE: usize = 32;

/// Maximum difference from the expected values, of the largest of them: rounding of sums in another order, and functions
/// as polynomials.
const TOLERANCE: f64 = 1e-4;

/// The same for values that pass through half precision, which is computed in single precision.
const HALF_TOLERANCE: f64 = 5e-3;

fn tolerance(name: &str) -> f64 {
    if ["cast_float16", "cast_bfloat16"].contains(&name) { HALF_TOLERANCE } else { TOLERANCE }
}

/// The networks that tract cannot run, or would compute wrongly: they are refused.
const REFUSED: [&str; 23] = [
    // Attributes of the first operator sets that say how to broadcast.
    "add_6_axis",
    "div_6_axis",
    "mul_6_axis",
    "pow_6_axis",
    "sub_6_axis",
    // Their padding depends on the shape that they shall have.
    "convtranspose_output_shape",
    "convtranspose_output_shape_odd",
    "convtranspose_output_shape_same_lower",
    "convtranspose_output_shape_same_upper",
    "convtranspose_same_lower_even",
    "convtranspose_same_upper_even",
    // Scales that depend on the picture.
    "dynamic_quantize",
    "dynamic_quantize_positive",
    "layer_normalization_minus_2",
    "layer_normalization_minus_3",
    "pad_13_negative",
    "pad_13_negative_edge",
    "pad_13_negative_only",
    "pad_13_negative_reflect",
    "pad_19_wrap",
    "pad_2_negative",
    // Only axes in order, and listed, are removed.
    "squeeze_11_all",
    "squeeze_13",
];

fn is_refused(name: &str) -> bool {
    // The corners of a map whose sides are not rounded down to whole pixels are elsewhere.
    let is_fraction = |end: &&str| name.contains("align_corners") && name.ends_with(*end);
    REFUSED.contains(&name) || ["_down", "_mixed", "_odd"].iter().any(is_fraction)
}

/// The networks by name, and what they compute.
fn networks() -> BTreeMap<String, (Vec<u8>, Vec<f64>)> {
    let text = fs::read_to_string(data("operators/expected.json")).unwrap();
    let expected: BTreeMap<String, Vec<f64>> = serde_json::from_str(&text).unwrap();
    let mut outer = zip::ZipArchive::new(fs::File::open(data("operators/networks.zip")).unwrap()).unwrap();
    let mut inner = Vec::new();
    outer.by_name("networks").unwrap().read_to_end(&mut inner).unwrap();
    let mut archive = zip::ZipArchive::new(Cursor::new(inner)).unwrap();
    assert_eq!(archive.len(), expected.len());
    let mut read = |name: &str| {
        let mut bytes = Vec::new();
        archive.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    expected.into_iter().map(|(name, values)| (name.clone(), (read(&name), values))).collect()
}

fn input() -> Tensor {
    let mut tensor = Tensor::zeros(SIDE, SIDE, 3);
    for (index, value) in tensor.data_mut().iter_mut().enumerate() {
        let (pixel, channel) = (index / 3, index % 3);
        *value = seeded::input(channel * SIDE * SIDE + pixel);
    }
    tensor
}

fn run(mut network: impl Network) -> Result<Vec<f32>, Error> {
    network.infer(&input()).map(<[f32]>::to_vec)
}

/// The network's values as tract computes them.
fn on_tract(bytes: &[u8]) -> Result<Vec<f32>, Error> {
    run(TractPlan::from_onnx(File::parse(bytes).unwrap(), SIDE, SIDE)?.network()?)
}

/// What is wrong with `found`, if anything.
fn problem(found: &Result<Vec<f32>, Error>, expected: &[f64], tolerance: f64) -> Option<String> {
    let found = match found {
        Ok(found) => found,
        Err(error) => return Some(format!("{error:?}")),
    };
    let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let close = |(found, expected): (&f32, &f64)| (f64::from(*found) - expected).abs() <= tolerance * largest;
    let right = found.len() == expected.len() && found.iter().zip(expected).all(close);
    (!right).then(|| format!("{found:?} instead of {expected:?}"))
}

#[test]
fn tract_computes_what_the_operators_say_or_refuses_them() {
    let mut problems = Vec::new();
    for (name, (bytes, expected)) in networks() {
        let found = on_tract(&bytes);
        if is_refused(&name) {
            assert!(found.is_err(), "{name} is not refused: {found:?}");
        } else if let Some(problem) = problem(&found, &expected, tolerance(&name)) {
            problems.push(format!("{name}: {problem}"));
        }
    }
    assert!(problems.is_empty(), "{}:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn the_engine_computes_what_the_operators_say_and_so_does_tract_for_the_graph() {
    let mut problems = Vec::new();
    let mut count = 0;
    for (name, (bytes, expected)) in networks() {
        let Ok(imported) = File::parse(&bytes).unwrap().network() else { continue };
        count += 1;
        for backend in [BackendChoice::Auto, BackendChoice::Tract] {
            let engine = Engine { backend, ..Engine::default() };
            let plan = InferencePlan::new(imported.graph.clone(), [SIDE; 2], engine, &name);
            let found = plan.and_then(|plan| Ok(plan.network(&Threads::one())?.infer(&input())?.to_vec()));
            if let Some(problem) = problem(&found, &expected, tolerance(&name)) {
                problems.push(format!("{name} {backend:?}: {problem}"));
            }
        }
    }
    assert!(problems.is_empty(), "{} of {count}:\n{}", problems.len(), problems.join("\n"));
    assert!(count > 100, "{count}");
}

#[test]
fn what_tract_would_compute_wrongly_is_refused_with_the_reason() {
    let networks = networks();
    for (name, reason) in [
        ("add_6_axis", "Add with `axis` is not supported"),
        ("convtranspose_output_shape", "ConvTranspose with `output_shape` is not supported"),
        (
            "resize_13_linear_align_corners_odd",
            "Resize with `align_corners` is supported on tract by whole factors only",
        ),
        ("layer_normalization_minus_2", "LayerNormalization with an axis"),
    ] {
        let error = on_tract(&networks[name].0).unwrap_err();
        assert!(error.to_string().contains(reason), "{name}: {error}");
        assert_eq!(error.exit(), Exit::Data);
    }
    let mut training = File::parse(&networks["batch_normalization_epsilon"].0).unwrap().into_proto();
    for node in training.graph.iter_mut().flat_map(|graph| &mut graph.node) {
        if node.op_type == "BatchNormalization" {
            let (name, r#type) = ("training_mode".to_owned(), AttributeType::Int as i32);
            node.attribute.push(AttributeProto { name, r#type, i: 1, ..AttributeProto::default() });
        }
    }
    let error = on_tract(&training.encode_to_vec()).unwrap_err();
    assert!(error.to_string().contains("BatchNormalization with `training_mode` is not supported"), "{error}");
    let error = on_tract(&networks["pad_13_negative"].0).unwrap_err();
    assert!(format!("{error:?}").contains("pads by a negative number"), "{error:?}");
}

#[test]
fn every_operator_that_tract_is_given_has_a_network() {
    let source = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/inference/operators.rs")).unwrap();
    let (_, list) = source.split_once("const OPERATORS").unwrap();
    let (list, _) = list.split_once("];").unwrap();
    let given: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
    let mut tested = BTreeSet::new();
    for (bytes, _) in networks().values() {
        let graph = File::parse(bytes).unwrap().into_proto().graph.unwrap();
        tested.extend(graph.node.into_iter().map(|node| node.op_type));
    }
    let tested: BTreeSet<&str> = tested.iter().map(String::as_str).collect();
    assert_eq!(given.difference(&tested).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert!(given.len() > 100, "{given:?}");
}
