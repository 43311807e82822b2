//! The model that comes with the program: every pattern through the real pipeline, and photographs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{Outcome, data, encode, folder, run};
use serde_json::Value;

/// Patterns of `videotestsrc` and how the model names them. `blink` alternates between two states, and `bar` and `ball`
/// are partly out of the network's sight.
const PATTERNS: [(&str, &str); 23] = [
    ("smpte", "pattern smpte"),
    ("smpte75", "pattern smpte75"),
    ("smpte100", "pattern smpte100"),
    ("smpte-rp-219", "pattern smpte-rp-219"),
    ("snow", "pattern snow"),
    ("red", "pattern red"),
    ("green", "pattern green"),
    ("blue", "pattern blue"),
    ("zone-plate", "pattern grey"),
    ("chroma-zone-plate", "pattern grey"),
    ("checkers-1", "pattern checkers"),
    ("checkers-2", "pattern checkers"),
    ("checkers-4", "pattern checkers"),
    ("checkers-8", "pattern checkers"),
    ("circular", "pattern circular"),
    ("gamut", "pattern gamut"),
    ("pinwheel", "pattern pinwheel"),
    ("spokes", "pattern spokes"),
    ("gradient", "pattern gradient"),
    ("colors", "pattern colors"),
    ("black", "black"),
    ("white", "over-exposed"),
    ("solid-color", "over-exposed"),
];

/// Runs the program with a stream per source and returns the labels of each stream, which has the source's name.
fn labels(sources: &[(String, String)]) -> BTreeMap<String, Vec<String>> {
    let folder = folder();
    let path = folder.path().join("streams.toml");
    let stream = |(name, source): &(String, String)| format!("[[stream]]\nname = \"{name}\"\nsource = \"{source}\"\n");
    let text: String = sources.iter().map(stream).collect();
    fs::write(&path, text).unwrap();
    let mut labels: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in run(["run", "-c", path.to_str().unwrap(), "--sink", "stdout"]).records() {
        assert_eq!((&record["model"]["name"], &record["model"]["trained"]), (&"signal".into(), &true.into()));
        let label = record["top"][0]["label"].as_str().unwrap().to_owned();
        labels.entry(record["stream"].as_str().unwrap().to_owned()).or_default().push(label);
    }
    labels
}

/// Fails unless every frame of every pattern has its name.
fn assert_named(sources: &[(String, String)], frames: usize) {
    let labels = labels(sources);
    let mut wrong = Vec::new();
    for (name, _) in sources {
        let found = labels.get(name).map(Vec::as_slice).unwrap_or_default();
        let pattern = name.split('_').next().unwrap();
        let expected = PATTERNS.iter().find(|(known, _)| *known == pattern).unwrap().1;
        if found.len() != frames || found.iter().any(|label| label != expected) {
            wrong.push(format!("{name}: {found:?}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_pattern_has_its_name_at_every_size() {
    for [width, height] in [[320, 240], [640, 480], [1280, 720], [1920, 1080]] {
        let source = |(pattern, _): &(&str, &str)| {
            let address = format!("test:{pattern}?size={width}x{height}&frames=3&live=false");
            (format!("{pattern}_{width}"), address)
        };
        assert_named(&PATTERNS.iter().map(source).collect::<Vec<_>>(), 3);
    }
}

#[test]
fn patterns_have_their_names_through_h264_and_mjpeg_at_low_bit_rates() {
    let folder = folder();
    let mut sources = Vec::new();
    for (pattern, _) in PATTERNS {
        for (codec, text) in [
            ("h264", "x264enc bitrate=256 speed-preset=ultrafast key-int-max=6 ! mp4mux"),
            ("mjpeg", "jpegenc quality=25 ! avimux"),
        ] {
            let path = folder.path().join(format!("{pattern}.{codec}"));
            // As cameras do it, with a quarter of the colours.
            let caps = "video/x-raw,format=I420,width=640,height=360,framerate=10/1";
            encode(&format!("videotestsrc pattern={pattern} num-buffers=6 ! {caps} ! {text}"), &path);
            sources.push((format!("{pattern}_{codec}"), path.to_str().unwrap().to_owned()));
        }
    }
    assert_named(&sources, 6);
}

fn ok(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    outcome
}

#[test]
fn photographs_are_good_pictures() {
    let files = ["chelsea", "coffee", "rocket"].map(|name| data(&format!("photos/{name}.jpg")).display().to_string());
    let text = ok(run(["classify".to_owned(), "--json".to_owned()].into_iter().chain(files))).stdout;
    let pictures: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(pictures.len(), 3);
    for picture in pictures {
        assert_eq!(picture["top"][0]["label"], "good picture", "{picture}");
    }
}
