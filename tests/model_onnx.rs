//! ONNX files through the whole program: exported models, and third-party networks.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{Outcome, data, folder, run};
use serde_json::Value;

fn ok(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    outcome
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn top(model: &str, arguments: &[&str]) -> Vec<Value> {
    let photo = data("photos/coffee.jpg");
    let outcome = ok(run([&["classify", "--json", "--model", model, text(&photo)], arguments].concat()));
    let pictures: Value = serde_json::from_str(&outcome.stdout).unwrap();
    pictures[0]["top"].as_array().unwrap().clone()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&ok(run(arguments)).stdout).unwrap()
}

#[test]
fn an_exported_model_is_the_same_model() {
    let folder = folder();
    let file = folder.path().join("exported.onnx");
    for name in ["hardnet39ds", "hardnet68"] {
        ok(run(["model", "export", name, "--force", "--output", text(&file)]));
        let (exported, built_in) = (top(text(&file), &[]), top(name, &[]));
        assert_eq!(exported.len(), 5);
        for (exported, built_in) in exported.iter().zip(&built_in) {
            assert_eq!((&exported["index"], &exported["label"]), (&built_in["index"], &built_in["label"]));
            let [a, b] = [exported, built_in].map(|entry| entry["score"].as_f64().unwrap());
            assert!((a - b).abs() <= 1e-4, "{a} and {b}");
        }
        let (file, built_in) =
            (json(&["model", "info", "--json", text(&file)]), json(&["model", "info", "--json", name]));
        assert_eq!(file["name"], name);
        for key in ["classes", "input", "macs", "cio", "weights_bytes", "peak_activation_bytes", "training"] {
            assert_eq!(file[key], built_in[key], "{key}");
        }
    }
    // The metadata says that the weights are untrained, and the record repeats it.
    let records = run(["run", "--model", text(&file), "--source", "test:ball?frames=1&live=false"]).records();
    assert_eq!(records[0]["model"]["name"], "hardnet68");
    assert_eq!(records[0]["model"]["trained"], false);
}

#[test]
fn an_exported_model_has_the_reference_logits() {
    let folder = folder();
    let file = folder.path().join("exported.onnx");
    for size in ["224x224", "320x256"] {
        ok(run(["model", "export", "hardnet39ds", "--force", "--size", size, "--output", text(&file)]));
        let reference = data("golden/hardnet39ds.json");
        let found = json(&["model", "verify", text(&file), "--json", "--reference", text(&reference)]);
        let largest = found["file"]["largest"].as_f64().unwrap();
        assert!(largest > 0.0 && largest <= 1e-4, "{size}: {largest}");
    }
}

#[test]
fn weights_come_back_out_of_an_exported_model() {
    let folder = folder();
    let (file, model) = (folder.path().join("exported.onnx"), folder.path().join("model.safetensors"));
    ok(run(["model", "export", "hardnet68ds", "--output", text(&file)]));
    let imported = ok(run(["model", "import", text(&file), "--output", text(&model)])).stdout;
    assert!(imported.contains("hardnet68ds, 1000 classes, input 224x224, seeded weights"), "{imported}");
    for (a, b) in top(text(&model), &[]).iter().zip(&top("hardnet68ds", &[])) {
        assert_eq!(a["index"], b["index"]);
        assert!((a["score"].as_f64().unwrap() - b["score"].as_f64().unwrap()).abs() <= 1e-4);
    }
    let other = run(["model", "import", text(&file), "--arch", "hardnet39ds", "--output", "never.safetensors"]);
    assert_eq!(other.code(), 65, "{}", other.stderr);
    assert!(!other.stderr.contains("panicked"));
}

#[test]
fn a_network_for_one_size_says_so() {
    let folder = folder();
    let file = folder.path().join("small.onnx");
    ok(run(["model", "export", "hardnet39ds", "--size", "64x96", "--output", text(&file)]));
    assert_eq!(json(&["model", "info", "--json", text(&file)])["input"], serde_json::json!([64, 96]));
    let outcome = run(["model", "info", text(&file), "--size", "224x224"]);
    assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
    assert!(outcome.message().contains("is only for inputs of 64x96"), "{}", outcome.stderr);
    let refused = run(["model", "export", text(&file), "--output", text(&folder.path().join("x.safetensors"))]);
    assert_eq!(refused.code(), 65, "{}", refused.stderr);
    assert!(refused.message().contains("export it as .onnx"), "{}", refused.stderr);
}

#[test]
fn files_of_ones_own_are_listed_beside_the_published_ones() {
    let folder = folder();
    let file = folder.path().join("mine.onnx");
    ok(run(["model", "export", "hardnet39ds", "--output", text(&file)]));
    let list = json(&["model", "list", "--json", text(&file)]);
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 6);
    assert_eq!(list[5]["macs"], list[1]["macs"]);
}

#[test]
fn what_is_no_network_is_refused_in_one_line() {
    let folder = folder();
    let file = folder.path().join("exported.onnx");
    ok(run(["model", "export", "hardnet39ds", "--size", "32x32", "--output", text(&file)]));
    let whole = std::fs::read(&file).unwrap();
    let broken = folder.path().join("broken.onnx");
    for content in [&whole[..whole.len() / 2], &b""[..], &b"not a network"[..]] {
        std::fs::write(&broken, content).unwrap();
        let outcome = run(["run", "--model", text(&broken)]);
        assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
        assert!(outcome.message().contains("broken.onnx") && outcome.message().lines().count() == 1);
    }
}
