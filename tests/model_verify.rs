//! `hardnetd model verify`: agreement, and differences with their place.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Outcome, data, folder, run};
use serde_json::Value;

fn ok(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    outcome
}

fn golden() -> Value {
    serde_json::from_str(&std::fs::read_to_string(data("golden/hardnet39ds.json")).unwrap()).unwrap()
}

#[test]
fn a_model_agrees_with_64_bit_arithmetic_and_with_reference_values() {
    let reference = data("golden/hardnet39ds.json");
    let arguments = ["model", "verify", "hardnet39ds", "--json", "--reference", reference.to_str().unwrap()];
    let found: Value = serde_json::from_str(&ok(run(arguments)).stdout).unwrap();
    let stages = found["stages"].as_array().unwrap();
    assert_eq!(stages.len(), 15);
    for stage in stages {
        assert!(stage["float64"].as_f64().unwrap() < 1e-4, "{stage}");
        assert!(stage["file"].as_f64().unwrap() < 1e-4, "{stage}");
    }
    assert_eq!((&found["float64"]["first"], &found["file"]["first"]), (&Value::Null, &Value::Null));
    assert!(found["float64"]["largest"].as_f64().unwrap() > 0.0, "the two are computed apart");
}

#[test]
fn the_first_module_that_differs_is_named() {
    let folder = folder();
    let mut golden = golden();
    let stages = golden["cases"][0]["stages"].as_array_mut().unwrap();
    stages[4]["mean"] = (stages[4]["mean"].as_f64().unwrap() + 0.01).into();
    stages[9]["first"][2] = 99.0.into();
    let path = folder.path().join("reference.json");
    std::fs::write(&path, golden.to_string()).unwrap();
    let outcome = run(["model", "verify", "hardnet39ds", "--reference", path.to_str().unwrap()]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("first at base.4"), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("DIFFERS from base.4 on"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("at base.9") && outcome.stdout.contains("agrees"), "{}", outcome.stdout);
}

#[test]
fn the_size_can_be_chosen_and_the_reference_must_have_it() {
    let reference = data("golden/hardnet39ds.json");
    let reference = reference.to_str().unwrap();
    ok(run(["model", "verify", "hardnet39ds", "--size", "320x256", "--reference", reference]));
    ok(run(["model", "verify", "hardnet39ds", "--size", "33x47"]));
    for (arguments, code, part) in [
        (vec!["--size", "64x64", "--reference", reference], 65, "224x224, 320x256, not 64x64"),
        (vec!["--reference", "/nowhere.json"], 66, "/nowhere.json"),
        (vec!["--reference", file!()], 65, "expected JSON"),
        (vec!["--tolerance", "nan"], 64, "0 or more"),
    ] {
        let outcome = run([vec!["model", "verify", "hardnet39ds"], arguments].concat());
        assert_eq!(outcome.code(), code, "{}", outcome.stderr);
        assert!(outcome.message().contains(part), "{}", outcome.stderr);
    }
}
