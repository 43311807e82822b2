//! Models from weight files, through the whole program.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{data, folder, run};
use hardnetd::hardnet::{self, find};
use hardnetd::weights::StateDict;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

/// Writes weights as a safetensors file.
fn write(state: &StateDict, path: &Path) {
    let entries: Vec<(String, Vec<usize>, Vec<u8>)> = state
        .iter()
        .map(|(key, array)| {
            let bytes = array.data().iter().flat_map(|value| value.to_le_bytes()).collect();
            (key.to_owned(), array.shape().to_vec(), bytes)
        })
        .collect();
    let views = entries
        .iter()
        .map(|(key, shape, bytes)| (key.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn top(model: &str) -> Value {
    let photo = data("photos/coffee.jpg");
    let outcome = run(["classify", "--json", "--model", model, photo.to_str().unwrap()]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let pictures: Value = serde_json::from_str(&outcome.stdout).unwrap();
    pictures[0]["top"].clone()
}

#[test]
fn a_file_with_the_weights_of_a_model_is_that_model_trained() {
    let folder = folder();
    let path = folder.path().join("weights");
    write(&hardnet::seeded(find("hardnet39ds").unwrap(), 1000).unwrap(), &path);
    let path = path.to_str().unwrap();
    let (by_file, by_name) = (top(path), top("hardnet39ds"));
    for (file, name) in by_file.as_array().unwrap().iter().zip(by_name.as_array().unwrap()) {
        assert_eq!((&file["index"], &file["score"]), (&name["index"], &name["score"]));
        assert!(!file["label"].as_str().unwrap().starts_with("class "), "ImageNet names: {file}");
    }
    let records = run(["run", "--model", path, "--source", "test:ball?frames=1&live=false"]).records();
    assert_eq!(records[0]["model"]["name"], "hardnet39ds");
    assert_eq!(records[0]["model"]["trained"], true);
    let by_name = run(["run", "--model", "hardnet39ds", "--source", "test:ball?frames=1&live=false"]).records();
    assert_eq!(records[0]["model"]["digest"], by_name[0]["model"]["digest"]);
}

#[test]
fn weights_tell_their_number_of_classes() {
    let folder = folder();
    let path = folder.path().join("weights.safetensors");
    write(&hardnet::seeded(find("hardnet39ds").unwrap(), 3).unwrap(), &path);
    let top = top(path.to_str().unwrap());
    let top = top.as_array().unwrap();
    assert_eq!(top.len(), 3, "no more results than classes");
    assert!(top[0]["label"].as_str().unwrap().starts_with("class "));
    let info = run(["model", "info", "--json", path.to_str().unwrap()]);
    let info: Value = serde_json::from_str(&info.stdout).unwrap();
    assert_eq!((&info["name"], &info["classes"]), (&"hardnet39ds".into(), &3.into()));
    assert_eq!(info["parameters"], 3_488_228 - 997 * (1024 + 1));
}

#[test]
fn weights_that_do_not_fit_are_listed_with_both_shapes() {
    let folder = folder();
    let path = folder.path().join("weights.safetensors");
    let mut changed = StateDict::new();
    for (key, array) in hardnet::seeded(find("hardnet39ds").unwrap(), 3).unwrap().iter() {
        match key {
            "base.0.norm.bias" => {}
            "base.1.norm.weight" => {
                let half = hardnetd::weights::Array::new(vec![24], array.data()[..24].to_vec()).unwrap();
                changed.insert(key.to_owned(), half).unwrap();
            }
            _ => changed.insert(key.to_owned(), array.clone()).unwrap(),
        }
    }
    write(&changed, &path);
    let outcome = run(["run", "--model", path.to_str().unwrap()]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    for part in ["hardnet39ds", "`base.0.norm.bias` is missing", "`base.1.norm.weight` has shape [24], expected [48]"] {
        assert!(outcome.message().contains(part), "{part:?} is not in: {}", outcome.stderr);
    }
}

#[test]
fn a_file_that_is_no_model_is_unusable_data() {
    for (file, part) in [("formats/tiny_legacy.pth", "another network"), ("photos/coffee.jpg", "cannot read weights")] {
        let path = data(file);
        let outcome = run(["run", "--model", path.to_str().unwrap()]);
        assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
        assert!(outcome.message().contains(part), "{}", outcome.stderr);
    }
}
