//! `hardnetd model`: the list of models and their costs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::onnx::{info, int, model, node, tensor};
use common::{data, folder, run};
use hardnetd::engine::onnx::bytes;
use hardnetd::protobuf::{DataType, GraphProto};
use serde_json::Value;

fn json(arguments: &[&str]) -> Value {
    let outcome = run(arguments);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    serde_json::from_str(&outcome.stdout).unwrap()
}

#[test]
fn the_list_has_the_published_figures_of_the_family() {
    let list = json(&["model", "list", "--json"]);
    let figures: Vec<(&str, u64, u64)> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|model| {
            let number = |key: &str| model[key].as_u64().unwrap();
            (model["name"].as_str().unwrap(), number("parameters"), number("macs"))
        })
        .collect();
    assert_eq!(
        figures,
        [
            ("signal", 801_887, 62_964_864),
            ("hardnet39ds", 3_488_228, 429_471_474),
            ("hardnet68ds", 4_180_602, 775_281_526),
            ("hardnet68", 17_565_348, 4_246_114_304),
            ("hardnet85", 36_670_212, 9_074_081_584),
        ]
    );
    let table = run(["model", "list"]).stdout;
    assert!(table.contains("Parameters") && table.contains("36670212"), "{table}");
}

#[test]
fn a_file_that_cannot_be_used_hides_none_of_the_others() {
    let good = data("onnx/view_11.onnx");
    let good = good.to_str().unwrap();
    let names = |stdout: &str| {
        let list: Value = serde_json::from_str(stdout).unwrap();
        list.as_array().unwrap().len()
    };
    let one = run(["model", "list", "--json", "/nowhere.onnx", good]);
    assert_eq!((one.code(), names(&one.stdout)), (66, 6), "{}", one.stderr);
    assert_eq!(one.stderr.matches("/nowhere.onnx").count(), 1, "{}", one.stderr);
    let folder = folder();
    let broken = folder.path().join("broken.onnx");
    std::fs::write(&broken, "no network").unwrap();
    let two = run(["model", "list", "--json", "/nowhere.onnx", good, broken.to_str().unwrap()]);
    assert_eq!((two.code(), names(&two.stdout)), (66, 6), "{}", two.stderr);
    for name in ["/nowhere.onnx", "broken.onnx"] {
        assert_eq!(two.stderr.matches(name).count(), 1, "{}", two.stderr);
    }
    assert!(two.message().ends_with("2 of 8 models cannot be listed"), "{}", two.stderr);
}

#[test]
fn a_network_that_only_tract_runs_hides_none_of_the_others() {
    let folder = folder();
    let mut linear = node("Gemm", "logits", &["row", "w", "b"]);
    linear.attribute = vec![int("transB", 1)];
    let mean = node("GlobalAveragePool", "mean", &["x"]);
    let (flatten, unknown) = (node("Flatten", "row", &["mean"]), node("Softsign", "scores", &["logits"]));
    let network = model(GraphProto {
        node: vec![mean, flatten, linear, unknown],
        initializer: vec![tensor("w", &[4, 3]), tensor("b", &[4])],
        input: vec![info("x", &[1, 3, 32, 32], DataType::Float)],
        output: vec![info("scores", &[1, 4], DataType::Float)],
        ..Default::default()
    });
    let path = folder.path().join("softsign.onnx");
    std::fs::write(&path, bytes(&network)).unwrap();
    let good = data("onnx/view_11.onnx");
    let outcome = run(["model", "list", path.to_str().unwrap(), good.to_str().unwrap()]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.stdout.contains("view_11") && outcome.stdout.contains("hardnet85"), "{}", outcome.stdout);
    assert!(outcome.message().contains("softsign.onnx"), "{}", outcome.stderr);
}

#[test]
fn the_weights_to_fetch_are_listed_with_the_accuracy_of_each_training() {
    let table = run(["model", "list"]).stdout;
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    for row in [
        "hardnet39ds by the authors, source authors or github 72.08 90.43",
        "hardnet39ds by PaddleClas, source paddleclas 71.33 89.98",
        "hardnet85 by the authors, source authors 78.04 93.89",
        "hardnet85 by PaddleClas, source paddleclas 77.44 93.55",
    ] {
        assert!(rows.contains(&row.split(' ').collect()), "{row}: {table}");
    }
    let list = json(&["model", "list", "--json"]);
    let published = list[3]["published"].as_array().unwrap();
    assert_eq!(published.len(), 3);
    assert_eq!(published[1]["source"], "github");
    assert_eq!((&published[2]["trained_by"], &published[2]["top1"]), (&"PaddleClas".into(), &75.46.into()));
}

#[test]
fn a_model_is_shown_module_by_module_for_any_size() {
    let model = json(&["model", "info", "HarDNet-39-DS", "--size", "320x256", "--json"]);
    assert_eq!(model["macs"], 700_530_080);
    let stages = model["stages"].as_array().unwrap();
    assert_eq!(stages.len(), 15);
    let sum: u64 = stages.iter().map(|stage| stage["cio"].as_u64().unwrap()).sum();
    assert_eq!(model["cio"], sum);
    let table = run(["model", "info", "hardnet39ds"]).stdout;
    assert!(table.contains("base.14") && table.contains("total"), "{table}");
}

#[test]
fn the_plan_of_the_engine_is_shown_pass_by_pass() {
    let steps = json(&["model", "info", "hardnet39ds", "--plan", "--json"]);
    let steps = steps.as_array().unwrap();
    assert!(steps.iter().any(|step| step["algorithm"] == "pointwise+depthwise"), "{steps:?}");
    assert_eq!(steps.last().unwrap()["node"], "base.14.3");
    let table = run(["model", "info", "hardnet68", "--plan"]).stdout;
    assert!(table.contains("winograd") && table.contains("packed weights"), "{table}");
}

#[test]
fn wrong_sizes_and_names_are_refused() {
    for (arguments, code, part) in [
        (vec!["model", "info", "hardnet39ds", "--size", "224"], 64, "rows and columns"),
        (vec!["model", "info", "hardnet39ds", "--size", "0x0"], 64, "from 32 to 8192"),
        (vec!["model", "info", "resnet"], 66, "hardnet39ds"),
    ] {
        let outcome = run(&arguments);
        assert_eq!(outcome.code(), code, "{}", outcome.stderr);
        assert!(outcome.message().contains(part), "{}", outcome.stderr);
    }
}
