//! `hardnetd bench` with real runs, as short as they can be: what is printed, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::io::Write as _;
use std::process::Stdio;

use common::{Outcome, data, folder, hardnetd as program, run};
use hardnetd::engine::import::File;
use hardnetd::engine::onnx;
use serde_json::Value;

/// The smallest useful measurement.
const SHORT: [&str; 7] = ["bench", "--model", "hardnet39ds", "--size", "64x64", "--seconds", "0.2"];

fn bench(arguments: &[&str]) -> Outcome {
    let outcome = run([&SHORT[..], arguments].concat());
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    outcome
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("{key} in {row}"))
}

#[test]
fn cores_are_counted_before_threads_are_pinned_to_them() {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let cores = (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).count();
    let threads = cores.min(2).to_string();
    let report: Value = serde_json::from_str(&bench(&["--json", "--threads", &threads]).stdout).unwrap();
    assert_eq!(report["host"]["cores"], cores);
}

#[test]
fn a_row_has_all_figures_and_they_fit_together() {
    let report: Value = serde_json::from_str(&bench(&["--json", "--model", "hardnet68ds"]).stdout).unwrap();
    assert_eq!(keys(&report), ["host", "rows", "schema"]);
    assert_eq!(report["schema"], "hardnetd.bench.v1");
    assert!(report["host"]["cores"].as_u64().unwrap() >= 1);
    assert!(report["host"]["isa"].as_array().unwrap().contains(&"scalar".into()));
    // Not measured if it would take more memory than the models did.
    let rates = ["memory_read_gb_s", "memory_copy_gb_s"].map(|rate| &report["host"][rate]);
    assert!(rates.iter().all(|rate| rate.is_null() || rate.as_f64().is_some_and(|rate| rate > 0.0)), "{rates:?}");
    let rows = report["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["model"].as_str().unwrap()).collect();
    assert_eq!(names, ["hardnet39ds", "hardnet68ds"]);
    for row in rows {
        let expected = [
            "backend",
            "fma_peak_gflops",
            "gmac",
            "gmacs_per_s",
            "isa",
            "load_ms",
            "median_ms",
            "memory",
            "min_ms",
            "model",
            "p90_ms",
            "peak_isa",
            "peak_memory_mb",
            "percent_of_peak",
            "runs",
            "size",
            "threads",
        ];
        assert_eq!(keys(row), expected);
        assert_eq!((&row["backend"], &row["size"][0], &row["size"][1]), (&"native".into(), &64.into(), &64.into()));
        assert_eq!((&row["threads"], &row["memory"]), (&1.into(), &"fast".into()));
        assert_eq!(row["peak_isa"], row["isa"]);
        let [least, median, p90] = ["min_ms", "median_ms", "p90_ms"].map(|key| number(row, key));
        assert!(0.0 < least && least <= median && median <= p90, "{row}");
        assert!(row["runs"].as_u64().unwrap() >= 1 && number(row, "load_ms") > 0.0, "{row}");
        let (rate, peak) = (number(row, "gmacs_per_s"), number(row, "fma_peak_gflops"));
        assert!((rate - number(row, "gmac") / median * 1e3).abs() < 1e-6 * rate, "{row}");
        assert!((number(row, "percent_of_peak") - 200.0 * rate / peak).abs() < 1e-6 * 200.0 * rate / peak, "{row}");
        assert!(number(row, "peak_memory_mb") > 10.0, "{row}");
    }
    assert!(number(&rows[0], "gmac") < number(&rows[1], "gmac"));
}

#[test]
fn the_table_names_the_machine_and_every_row() {
    let outcome = bench(&["--memory", "fast", "--memory", "lean"]);
    assert!(outcome.stdout.contains("  fast  ") && outcome.stdout.contains("  lean  "), "{}", outcome.stdout);
    let outcome = bench(&["--backend", "auto", "--backend", "tract"]);
    assert!(outcome.stdout.contains(" core") && outcome.stdout.contains("GFLOP/s"), "{}", outcome.stdout);
    assert_eq!(outcome.stdout.matches("hardnet39ds").count(), 2, "{}", outcome.stdout);
    assert!(outcome.stdout.contains("peak memory of the process"), "{}", outcome.stdout);
    assert_eq!(outcome.stderr, "", "no bar where no terminal shows it");
}

#[test]
fn an_instruction_set_that_the_processor_lacks_is_left_out_with_a_warning() {
    let lacking = if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" };
    let warning = format!("{lacking} is left out: this processor does not support it");
    for more in [&["--json"][..], &["--json", "--stages"]] {
        let arguments = ["bench", "--model", "hardnet39ds", "--size", "64x64", "--seconds", "0.01"];
        let outcome = run([&arguments[..], &["--isa", lacking, "--isa", "scalar"], more].concat());
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let rows: Vec<&Value> = report["rows"].as_array().unwrap().iter().map(|row| &row["isa"]).collect();
        assert_eq!(rows, ["scalar"]);
        assert_eq!(outcome.stderr.matches(&warning).count(), 1, "{}", outcome.stderr);
    }
    let none = run([&SHORT[..], &["--isa", lacking]].concat());
    assert_eq!((none.code(), none.stdout.as_str()), (69, ""), "{}", none.stderr);
    assert!(none.message().ends_with(&format!("this processor does not have {lacking}")), "{}", none.stderr);
}

#[test]
fn stages_are_the_modules_and_their_arithmetic_adds_up() {
    let arguments = ["bench", "--model", "hardnet39ds", "--size", "64x64", "--seconds", "0.01", "--stages"];
    let outcome = run([&arguments[..], &["--json"]].concat());
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(report["schema"], "hardnetd.bench.stages.v1");
    assert!(number(&report["host"], "memory_read_gb_s") > 0.0 && number(&report["host"], "memory_copy_gb_s") > 0.0);
    let stages = report["rows"][0]["stages"].as_array().unwrap();
    let described = run(["model", "info", "hardnet39ds", "--size", "64x64", "--json"]);
    let described: Value = serde_json::from_str(&described.stdout).unwrap();
    let expected = described["stages"].as_array().unwrap();
    assert_eq!(stages.len(), expected.len());
    let mut until = 0.0;
    for (stage, expected) in stages.iter().zip(expected) {
        assert_eq!((&stage["name"], &stage["output"]), (&expected["name"], &expected["output"]));
        assert!((number(stage, "gmac") * 1e9 - number(expected, "macs")).abs() < 1.0, "{stage}");
        assert!((number(stage, "until_ms") - until - number(stage, "difference_ms")).abs() < 1e-9, "{stage}");
        until = number(stage, "until_ms");
        assert!(stage["runs"].as_u64().unwrap() >= 1);
    }
    let table = run(arguments).stdout;
    assert!(table.contains("base.0") && table.contains("Difference"), "{table}");
}

/// The outcome of `bench --slices` with `requests`.
fn slices(requests: &str) -> Outcome {
    let mut command = program(["bench", "--model", "hardnet39ds", "--size", "64x64", "--slices"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(requests.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Outcome {
        status: output.status,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn slices_are_run_as_they_are_asked_for() {
    let outcome = slices("run 2\nrun 1\n");
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let lines: Vec<Value> = outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(keys(&lines[0]), ["backend", "isa", "load_ms", "logits", "memory", "model", "size", "threads"]);
    assert_eq!(lines[0]["logits"].as_array().unwrap().len(), 1000);
    let runs: Vec<usize> = lines[1..].iter().map(|line| line["ms"].as_array().unwrap().len()).collect();
    assert_eq!(runs, [2, 1]);
}

#[test]
fn a_line_that_asks_for_no_slice_ends_the_program() {
    let outcome = slices("run 0\nrun 1\n");
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.message().contains("expected `run N`"), "{}", outcome.stderr);
    assert_eq!(outcome.stdout.lines().count(), 1);
}

#[test]
fn arithmetic_that_is_unknown_is_left_out() {
    let mut proto = File::parse(&std::fs::read(data("onnx/view_11.onnx")).unwrap()).unwrap().into_proto();
    let node = proto.graph.as_mut().unwrap().node.iter_mut().find(|node| node.op_type == "Relu").unwrap();
    node.op_type = "LeakyRelu".to_owned();
    let folder = folder();
    let path = folder.path().join("leaky.onnx");
    std::fs::write(&path, onnx::bytes(&proto)).unwrap();
    let model = ["bench", "--model", path.to_str().unwrap(), "--size", "64x64", "--seconds", "0.001"];
    let outcome = run([&model[..], &["--json"]].concat());
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let row = &serde_json::from_str::<Value>(&outcome.stdout).unwrap()["rows"][0];
    let unknown = ["gmac", "gmacs_per_s", "percent_of_peak"].map(|key| row[key].is_null());
    assert!(unknown == [true; 3] && number(row, "median_ms") > 0.0, "{row}");
    let stages = run([&model[..], &["--stages"]].concat());
    assert_eq!(stages.code(), 65, "{}", stages.stderr);
    assert!(stages.message().contains("unknown parts"), "{}", stages.stderr);
}

#[test]
fn what_cannot_be_measured_is_refused_with_its_own_code() {
    for (arguments, code, part) in [
        (&["--model", "hardnet40"][..], 66, "`hardnet40` is not the name of a model"),
        (&["--backend", "onnxruntime"], 64, "possible values: auto, native, tract"),
        (&["--isa", "sse9"], 64, "possible values: auto, scalar, avx2, avx512, neon"),
        (&["--backend", "tract", "--isa", "scalar"], 64, "scalar is for the native engine; leave --isa out"),
        (&["--backend", "tract", "--memory", "lean"], 64, "lean is for the native engine; leave --memory out"),
        (&["--memory", "none"], 64, "possible values: fast, lean"),
        (&["--backend", "tract", "--threads", "2"], 64, "2 threads are for the native engine; leave --threads out"),
        (&["--threads", "0"], 64, "1..=64"),
        (&["--threads", "64"], 64, "--threads 64 needs as many cores"),
        (&["--seconds", "0"], 64, "expected seconds above 0"),
        (&["--seconds", "nan"], 64, "expected seconds above 0"),
        (&["--size", "8x8"], 64, "expected rows and columns"),
        (&["--slices"], 64, "slices measure one row, and there are 4"),
        (&["--slices", "--json"], 64, "cannot be used with"),
    ] {
        let outcome = run([&["bench"], arguments].concat());
        assert_eq!(outcome.code(), code, "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.message().contains(part), "{arguments:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "", "{arguments:?}");
    }
}

#[test]
fn preprocessing_is_measured_beside_its_peers_and_the_floor() {
    let outcome = run(["bench", "--preprocess", "--seconds", "0.02", "--json"]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(report["schema"], "hardnetd.bench.preprocess.v1");
    let rows = report["rows"].as_array().unwrap();
    let sizes: Vec<&Value> = rows.iter().map(|row| &row["size"]).collect();
    assert_eq!(
        sizes,
        [&[640, 480], &[1280, 720], &[1920, 1080], &[3840, 2160]].map(|size| Value::from(&size[..])).each_ref()
    );
    for row in rows {
        let [fused, peer, floor] = ["fused_ms", "videoconvertscale_ms", "floor_ms"].map(|key| number(row, key));
        assert!(fused > 0.0 && peer > 0.0 && floor > 0.0, "{row}");
        let other = row["rgb_fast_image_resize_ms"].as_f64();
        assert_eq!(other.is_some(), cfg!(feature = "peers"), "{row}");
        let faster = other.map_or(peer, |other| other.min(peer));
        assert!((number(row, "of_faster_peer") - fused / faster).abs() < 1e-9, "{row}");
        assert!((number(row, "of_floor") - fused / floor).abs() < 1e-9, "{row}");
    }
    // Of 1080 lines, 953 by 953 samples of luma matter, and a quarter of that of each chroma, two bytes wide.
    let bytes = rows[2]["floor_bytes"].as_u64().unwrap();
    assert!((1_350_000..1_380_000).contains(&bytes), "{bytes}");
    let shown = run(["bench", "--preprocess", "--seconds", "0.02"]).stdout;
    assert!(shown.contains("1920x1080 NV12") && shown.contains("Of the floor"), "{shown}");
    let refused = run(["bench", "--preprocess", "--model", "signal"]);
    assert_eq!(refused.code(), 64, "{}", refused.stderr);
}
