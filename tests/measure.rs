//! Measurements in the field, with the real pipeline and a meter whose power is known.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Running, folder, hardnetd, run, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// Watts of the simulated meter.
const WATTS: f64 = 5.0;

/// A configuration with a test pattern and a meter, and a file for the measurement.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new(meter: &str) -> Self {
        let folder = folder();
        fs::write(folder.path().join("curve.csv"), format!("0,{WATTS}\n10000,{WATTS}\n")).unwrap();
        let meter = meter.replace("FOLDER", folder.path().to_str().unwrap());
        let text = format!(
            "[device]\nname = \"bench\"\nstop_timeout_s = 30.0\n[[stream]]\nname = \"a\"\nsource = \"test:ball?size=320x240\"\n{meter}"
        );
        fs::write(folder.path().join("hardnetd.toml"), text).unwrap();
        Self { folder }
    }

    fn with_meter() -> Self {
        Self::new("[power]\nmeter = \"simulated:FOLDER/curve.csv\"\n")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, what: &str) -> Running {
        let (config, output) = (self.path("hardnetd.toml"), self.path("a.jsonl"));
        let (config, output) = (config.to_str().unwrap(), output.to_str().unwrap());
        Running::start(&mut hardnetd(["measure", what, "--quick", "-c", config, "-o", output]))
    }

    /// The figures of the measurement, as JSON.
    fn figures(&self) -> Value {
        let outcome = run(["measure", "report", "--json", self.path("a.jsonl").to_str().unwrap()]);
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        serde_json::from_str::<Value>(&outcome.stdout).unwrap()[0]["figures"].clone()
    }

    /// Waits until the file has `count` phases of this kind.
    fn wait_for_phase(&self, phase: &str, count: usize) {
        let of_phase = format!("\"phase\":\"{phase}\"");
        wait_for(phase, || {
            let text = fs::read_to_string(self.path("a.jsonl")).ok()?;
            (text.matches(&of_phase).count() >= count).then_some(())
        });
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_quick_run_ends_by_itself_with_five_windows_and_their_energy() {
    let bench = Bench::with_meter();
    let outcome = bench.start("run").finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    for part in ["| bench | run |", "of 5 |", "quick: short windows", "simulated", "J/result"] {
        assert!(outcome.stdout.contains(part), "{part}: {}", outcome.stdout);
    }
    let figures = bench.figures();
    let point = &figures["points"][0];
    for watts in [&point["idle_w"][0], &point["idle_w"][1], &point["capture_w"]] {
        assert!((number(watts) - WATTS).abs() < 0.01, "{point}");
    }
    let windows = point["windows"].as_array().unwrap();
    assert_eq!(windows.len(), 5);
    // The lines of the file are all that figures come from.
    let text = fs::read_to_string(bench.path("a.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for window in windows {
        let (from, to) = (window["from_ns"].as_u64().unwrap(), window["to_ns"].as_u64().unwrap());
        let is_inside =
            |line: &&Value| line["record"] == "inference" && (from..to).contains(&line["at_ns"].as_u64().unwrap());
        let mut infer: Vec<u64> =
            lines.iter().filter(is_inside).map(|line| line["infer_us"].as_u64().unwrap()).collect();
        infer.sort_unstable();
        assert_eq!(window["inferences"], infer.len());
        assert!(!infer.is_empty(), "{window}");
        let median = infer[infer.len().div_ceil(2) - 1];
        assert_eq!(number(&window["infer_ms"]["p50"]), median as f64 / 1000.0);
        let seconds = (to - from) as f64 / 1e9;
        let exact = WATTS * seconds / infer.len() as f64;
        assert!((number(&window["gross_j"]) / exact - 1.0).abs() < 0.005, "{window} {exact}");
        assert!(number(&window["net_j"]).abs() < 0.005 * exact, "the meter tells the same when idle: {window}");
    }
    assert_eq!(lines[0]["record"], "environment");
    assert_eq!(lines[0]["schema"], "hardnetd.measure.v1");
    assert_eq!(lines.last().unwrap()["record"], "end");
    let again = run(["measure", "report", bench.path("a.jsonl").to_str().unwrap()]);
    assert_eq!(again.stdout, outcome.stdout, "a report is the same at every time");
    let csv = bench.path("a.csv");
    let outcome = run(["measure", "report", bench.path("a.jsonl").to_str().unwrap(), "--csv", csv.to_str().unwrap()]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert_eq!(fs::read_to_string(csv).unwrap().lines().count(), 6);
}

#[test]
fn a_measurement_that_is_stopped_or_killed_keeps_what_it_has() {
    for (signal, code, note) in
        [(Signal::INT, Some(75), "interrupted: stopped by a signal"), (Signal::KILL, None, "incomplete: ")]
    {
        let bench = Bench::with_meter();
        let running = bench.start("run");
        bench.wait_for_phase("window", 2);
        running.signal(signal);
        let outcome = running.finish();
        assert_eq!(outcome.status.code(), code, "{}", outcome.stderr);
        let figures = bench.figures();
        assert!(figures["notes"].to_string().contains(note), "{figures}");
        let windows = figures["points"][0]["windows"].as_array().unwrap();
        let of = |window: usize| windows[window]["reasons"].to_string();
        assert!(windows.len() >= 2 && !of(0).contains("interrupted"), "{figures}");
        assert!(of(windows.len() - 1).contains("interrupted"), "{figures}");
    }
}

#[test]
fn a_baseline_has_no_windows_and_a_machine_without_a_meter_says_so() {
    let bench = Bench::new("");
    let outcome = bench.start("baseline").finish();
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let figures = bench.figures();
    assert_eq!(figures["points"][0]["windows"], Value::Array(Vec::new()));
    // Unless this machine has a sensor of its own.
    if figures["rail"].is_null() {
        for part in ["power: unavailable", "rapl: no zone under /sys/class/powercap", "capturing unavailable"] {
            assert!(outcome.stdout.contains(part), "{part}: {}", outcome.stdout);
        }
    }
}

#[test]
fn a_file_that_exists_is_not_written_over_and_a_wrong_one_is_named_with_its_line() {
    let bench = Bench::with_meter();
    let file = bench.path("a.jsonl");
    let environment = r#"{"record":"environment","schema":"hardnetd.measure.v1"}"#;
    fs::write(&file, "mine\n").unwrap();
    let outcome = bench.start("run").finish();
    assert_eq!(outcome.code(), 64, "{}", outcome.stderr);
    assert!(outcome.message().contains("a.jsonl") && outcome.message().contains("exists"), "{}", outcome.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine\n");
    let report = |path: &Path| run(["measure", "report", path.to_str().unwrap()]);
    for (text, part) in [
        ("mine\n".to_owned(), "line 1"),
        (String::new(), "the file is empty"),
        (format!("{environment}\n{environment}\n"), "line 2: a second environment"),
        (format!("{environment}\nnonsense\n{environment}\n"), "line 2"),
        ("{\"record\":\"environment\",\"schema\":\"other\"}\n".to_owned(), "the schema is \"other\""),
    ] {
        fs::write(&file, &text).unwrap();
        let outcome = report(&file);
        assert_eq!(outcome.code(), 65, "{text}: {}", outcome.stderr);
        assert!(
            outcome.message().contains(part) && outcome.message().contains("hardnetd.measure.v1"),
            "{}",
            outcome.stderr
        );
    }
    assert_eq!(report(&bench.path("none.jsonl")).code(), 66);
}
