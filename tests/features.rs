//! `hardnetd features`: pictures and streams in, features out.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::{data, folder, run};
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn floats(row: &Value) -> Vec<f32> {
    row["features"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

#[test]
fn a_numpy_file_has_the_features_that_the_lines_have() {
    let folder = folder();
    let photos = data("photos");
    let lined = run(["features", "--size", "64x64", "--map", "base.2:2", text(&photos)]);
    assert_eq!(lined.code(), 0, "{}", lined.stderr);
    let lined = lines(&lined.stdout);
    assert_eq!(lined.len(), 3);
    assert!(lined[0]["path"].as_str().unwrap().ends_with("chelsea.jpg"));
    assert_eq!(floats(&lined[0]).len(), 448 + 48 * 4);
    let output = folder.path().join("photos.npy");
    let broken = folder.path().join("broken.jpg");
    fs::write(&broken, "no").unwrap();
    let arguments = ["features", "--size", "64x64", "--map", "base.2:2", text(&photos), text(&broken)];
    let outcome = run(arguments.iter().chain(&["--output", text(&output)]));
    // The rows of the others are kept.
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("broken.jpg") && outcome.stderr.contains("1 of 4 pictures"), "{}", outcome.stderr);
    let names = lines(&outcome.stdout);
    assert!(names.len() == 3 && names[2].get("features").is_none(), "{}", outcome.stdout);
    let bytes = fs::read(&output).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"));
    let header = std::str::from_utf8(&bytes[10..128]).unwrap();
    assert!(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 640), }"), "{header}");
    let values: Vec<f32> = bytes[128..].as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
    assert_eq!(values, lined.iter().flat_map(floats).collect::<Vec<f32>>());
    let again = run(["features", text(&photos), "--output", text(&output)]);
    assert_eq!(again.code(), 64, "{}", again.stderr);
}

#[test]
fn frames_of_a_stream_are_numbered_and_a_region_shows_other_features() {
    let features = |region: &str| {
        let source = "test:smpte?live=false&frames=9&size=320x240";
        let outcome = run(["features", "--size", "64x64", "--source", source, "--frames", "2", "--region", region]);
        assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
        let rows = lines(&outcome.stdout);
        assert_eq!(rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1]);
        floats(&rows[0])
    };
    let (whole, part) = (features("0,0,1,1"), features("0,0,0.25,0.5"));
    assert!(whole.len() == 448 && whole != part);
}

#[test]
fn what_is_wrong_is_named() {
    let photo = data("photos/rocket.jpg");
    let photo = text(&photo);
    for (arguments, code, part) in [
        (&["features"][..], 64, "required"),
        (&["features", photo, "--region", "0,0,2,1"], 64, "width is 2"),
        (&["features", photo, "--map", "base.99"], 64, "no module `base.99`"),
        (&["features", photo, "--map", "base.2:9"], 64, "cells from 1 to 8"),
        (&["features", "/nowhere.jpg"], 66, "/nowhere.jpg"),
        (&["features", photo, "--region", "0,0,0.001,1"], 65, "the region 0,0,0.001,1 has 1×427 pixels"),
        (&["features", photo, "--output", "/nowhere/a.npy"], 74, "/nowhere/a.npy"),
    ] {
        let outcome = run(arguments);
        assert_eq!(outcome.code(), code, "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(part), "{arguments:?}: {}", outcome.stderr);
    }
}
