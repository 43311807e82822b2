//! Compares with crops and statistics that torchvision and Pillow computed from PNG files.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;

/// Pillow rounds to 8 bits after each of its two passes. This moves a pixel by at most half a step in the first,
/// propagated by weights of sum 1, and half a step in the second.
pub(super) const TWO_ROUNDINGS: f32 = 1.0;

/// The two roundings nearly cancel over a whole picture, because they have no common sign.
const STATISTICS: f64 = 2e-3;

pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/preprocess")
}

pub(super) fn cases() -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let cases = manifest["cases"].as_array().unwrap().clone();
    assert!(cases.len() >= 8, "the manifest has lost cases");
    cases
}

pub(super) fn open(case: &Value, key: &str) -> image::DynamicImage {
    image::open(folder().join(case[key].as_str().unwrap())).unwrap()
}

/// The file as it would reach a preprocessor: grey unchanged, the rest as RGB without alpha.
fn tensor(image: &image::DynamicImage) -> Tensor {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (format, data) = match image.as_luma8() {
        Some(grey) => (PixelFormat::Gray8, grey.as_raw().clone()),
        None => (PixelFormat::Rgb, image.to_rgb8().into_raw()),
    };
    preprocess(Transform::IMAGENET, &Picture::packed(file_layout(format, width, height), &data).unwrap())
}

pub(super) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn every_pixel_is_within_one_step_of_pillow() {
    let Transform { mean, std, .. } = Transform::IMAGENET;
    for case in cases() {
        let found = tensor(&open(&case, "image"));
        let expected = open(&case, "expected_crop").to_rgb8();
        assert_eq!((expected.height(), expected.width()), (224, 224));
        for (index, (found, expected)) in found.data().iter().zip(expected.as_raw()).enumerate() {
            let channel = index % 3;
            let found = (found * std[channel] + mean[channel]) * 255.0;
            let difference = (found - f32::from(*expected)).abs();
            let place = (index / 3 % 224, index / 3 / 224, channel);
            assert!(difference <= TWO_ROUNDINGS, "{} at {place:?}: {found}, Pillow {expected}", case["image"]);
        }
    }
}

#[test]
fn the_tensor_has_the_statistics_of_torchvision() {
    for case in cases() {
        let found = tensor(&open(&case, "image"));
        let (mean, std) = (numbers(&case["tensor_mean"]), numbers(&case["tensor_std"]));
        for channel in 0..3 {
            let values: Vec<f64> = found.data().iter().skip(channel).step_by(3).copied().map(f64::from).collect();
            let count = values.len() as f64;
            let found_mean = values.iter().sum::<f64>() / count;
            let found_std = (values.iter().map(|value| (value - found_mean).powi(2)).sum::<f64>() / count).sqrt();
            assert!((found_mean - mean[channel]).abs() < STATISTICS, "{}: mean {found_mean}", case["image"]);
            assert!((found_std - std[channel]).abs() < STATISTICS, "{}: deviation {found_std}", case["image"]);
        }
    }
}

#[test]
fn the_first_values_are_those_of_torchvision() {
    let step = TWO_ROUNDINGS / 255.0 / Transform::IMAGENET.std[0];
    for case in cases() {
        let found = tensor(&open(&case, "image"));
        let expected = numbers(&case["tensor_first_row_red"]);
        for (found, expected) in found.data().iter().step_by(3).zip(expected) {
            assert!((found - expected as f32).abs() <= step, "{}: {found}, expected {expected}", case["image"]);
        }
    }
}
