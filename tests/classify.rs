//! `hardnetd classify`: photographs in, classes out.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::process::Command;

use common::{Running, data, folder, hardnetd, run};
use serde_json::Value;

fn classify(files: &[&str]) -> Value {
    let outcome = run(["classify", "--json"].iter().chain(files));
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    serde_json::from_str(&outcome.stdout).unwrap()
}

#[test]
fn json_is_an_array_with_an_object_for_each_picture() {
    let files = ["chelsea", "coffee", "rocket"].map(|name| data(&format!("photos/{name}.jpg")).display().to_string());
    let pictures = classify(&files.each_ref().map(String::as_str));
    let pictures = pictures.as_array().unwrap();
    assert_eq!(pictures.len(), 3);
    for (picture, file) in pictures.iter().zip(&files) {
        assert_eq!(picture["file"], file.as_str());
        let scores: Vec<f64> =
            picture["top"].as_array().unwrap().iter().map(|t| t["score"].as_f64().unwrap()).collect();
        assert_eq!(scores.len(), 5);
        assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]), "{scores:?}");
        assert!(scores.iter().sum::<f64>() <= 1.0);
    }
}

#[test]
fn the_exif_orientation_is_honoured() {
    let folder = folder();
    // Rotated by a quarter turn without loss, so that only the orientation tag distinguishes the two.
    let upright = image::open(data("photos/coffee.jpg")).unwrap().into_rgb8();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let encode = |image: &image::RgbImage| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 100).encode_image(image).unwrap();
        bytes.into_inner()
    };
    std::fs::write(path("upright.jpg"), encode(&upright)).unwrap();
    let lying = encode(&image::imageops::rotate270(&upright));
    std::fs::write(path("turned.jpg"), common::with_orientation(&lying, 6)).unwrap();
    std::fs::write(path("lying.jpg"), &lying).unwrap();
    let pictures = classify(&[&path("upright.jpg"), &path("turned.jpg"), &path("lying.jpg")]);
    let scores = |index: usize| -> Vec<(u64, f64)> {
        let top = pictures[index]["top"].as_array().unwrap();
        top.iter().map(|t| (t["index"].as_u64().unwrap(), t["score"].as_f64().unwrap())).collect()
    };
    let distance = |a: Vec<(u64, f64)>, b: Vec<(u64, f64)>| -> f64 {
        a.iter().map(|(index, score)| b.iter().find(|(i, _)| i == index).map_or(1.0, |(_, s)| (s - score).abs())).sum()
    };
    assert!(distance(scores(0), scores(1)) < 0.1, "{pictures}");
    assert!(distance(scores(0), scores(2)) > 0.1, "{pictures}");
}

#[test]
fn a_broken_picture_among_others_is_reported_and_the_others_are_classified() {
    let folder = folder();
    let broken = folder.path().join("broken.png");
    std::fs::write(&broken, "no").unwrap();
    let good = data("photos/rocket.jpg");
    let outcome = run(["classify", "--json", broken.to_str().unwrap(), good.to_str().unwrap()]);
    assert_eq!(outcome.code(), 65, "{}", outcome.stderr);
    let pictures: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(pictures[0]["error"].as_str().unwrap().contains("broken.png"));
    assert_eq!(pictures[1]["top"].as_array().unwrap().len(), 5);
    assert!(outcome.stderr.contains("1 of 2 pictures"), "{}", outcome.stderr);
}

#[test]
fn away_from_a_terminal_lines_are_separated_by_tabs() {
    let outcome = run(["classify", "--top", "2", data("photos/coffee.jpg").to_str().unwrap()]);
    let lines: Vec<Vec<&str>> = outcome.stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.len(), 2, "{}", outcome.stdout);
    assert!(lines[0][0].ends_with("coffee.jpg") && lines[0][1] == "1" && lines[1][1] == "2");
    assert_eq!(lines[0][3], "good picture");
}

#[test]
fn on_a_terminal_a_table_is_printed() {
    let mut command = Command::new("script");
    let line = format!("{} classify {}", env!("CARGO_BIN_EXE_hardnetd"), data("photos/rocket.jpg").display());
    command.args(["-qec", &line, "/dev/null"]).stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let outcome = Running::start(&mut command).finish();
    assert!(outcome.stdout.contains("Label") && outcome.stdout.contains("rocket.jpg"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains(" %"), "{}", outcome.stdout);
}

#[test]
fn grey_and_transparent_pngs_are_classified() {
    for name in ["grey_400x300.png", "rgba_300x400.png"] {
        let path = data(&format!("preprocess/{name}"));
        let mut command = hardnetd(["classify", path.to_str().unwrap()]);
        assert_eq!(Running::start(&mut command).finish().code(), 0, "{name}");
    }
}
