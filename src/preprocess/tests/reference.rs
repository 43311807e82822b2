//! Tests the reference path bit for bit: Pillow's crops of pictures and of noise, and torchvision's values.

use sha2::{Digest, Sha256};

use super::golden::{TWO_ROUNDINGS, cases, folder, numbers, open};
use super::*;
use crate::preprocess::{Error, MIN_SIDE, Reference};

/// The fused path rounds its weights and its sums to `f32`: in units of 255.
const ARITHMETIC: f32 = 1e-2;

/// A noise picture, and Pillow's result for it.
#[derive(serde::Deserialize)]
struct Noise {
    width: usize,
    height: usize,
    seed: u32,
    levels: u32,
    resize: usize,
    crop: [usize; 2],
    sha256: String,
}

impl Noise {
    fn all() -> Vec<Self> {
        let text = std::fs::read_to_string(folder().join("noise.json")).unwrap();
        let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        let cases: Vec<Self> = serde_json::from_value(manifest["cases"].take()).unwrap();
        assert!(cases.len() >= 20, "the manifest has lost cases");
        cases
    }

    /// The bytes of the picture, or just black and white.
    fn data(&self) -> Vec<u8> {
        let bytes = noise(self.width * self.height * 3, self.seed);
        match self.levels {
            2 => bytes.into_iter().map(|byte| (byte >> 7) * 255).collect(),
            _ => bytes,
        }
    }

    fn layout(&self) -> Layout {
        file_layout(PixelFormat::Rgb, self.width, self.height)
    }

    fn transform(&self) -> Transform {
        plain(self.resize, self.crop[0], self.crop[1])
    }
}

/// Asserts that the fused path's tensor lies within a step of the crop, for a transform without normalisation.
fn assert_near(fused: &Tensor, crop: &[u8], name: &str) {
    for (index, (found, expected)) in fused.data().iter().zip(crop).enumerate() {
        let difference = (found * 255.0 - f32::from(*expected)).abs();
        assert!(difference <= TWO_ROUNDINGS + ARITHMETIC, "{name} at {index}: {found}, reference {expected}");
    }
}

#[test]
fn every_golden_crop_is_pillows_to_the_bit() {
    let transform = plain(256, 224, 224);
    for case in cases() {
        let rgb = open(&case, "image").to_rgb8();
        let layout = file_layout(PixelFormat::Rgb, rgb.width() as usize, rgb.height() as usize);
        let picture = Picture::packed(layout, &rgb).unwrap();
        let mut reference = Reference::new(transform).unwrap();
        let crop = reference.crop(&picture).unwrap();
        let expected = open(&case, "expected_crop").to_rgb8();
        assert!(crop == expected.as_raw().as_slice(), "{}", case["image"]);
        assert_near(&preprocess(transform, &picture), crop, &case["image"].to_string());
    }
}

#[test]
fn noise_of_any_size_and_transform_is_pillows_to_the_bit() {
    for case in Noise::all() {
        let name = format!("{}×{} to {}, {:?}", case.width, case.height, case.resize, case.crop);
        let data = case.data();
        let picture = Picture::packed(case.layout(), &data).unwrap();
        let mut reference = Reference::new(case.transform()).unwrap();
        let crop = reference.crop(&picture).unwrap();
        let digest: String = Sha256::digest(crop).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, case.sha256, "{name}");
        assert_near(&preprocess(case.transform(), &picture), crop, &name);
    }
}

#[test]
fn the_values_are_those_of_torchvision_to_the_bit() {
    for case in cases() {
        let rgb = open(&case, "image").to_rgb8();
        let layout = file_layout(PixelFormat::Rgb, rgb.width() as usize, rgb.height() as usize);
        let mut out = Tensor::zeros(224, 224, 3);
        let mut reference = Reference::new(Transform::IMAGENET).unwrap();
        reference.run(&Picture::packed(layout, &rgb).unwrap(), &mut out).unwrap();
        let expected: Vec<f32> = numbers(&case["tensor_first_row_red"]).iter().map(|value| *value as f32).collect();
        let found: Vec<f32> = out.data().iter().step_by(3).take(expected.len()).copied().collect();
        assert_eq!(found, expected, "{}", case["image"]);
    }
}

#[test]
fn a_stride_is_followed_and_a_new_size_gets_new_tables() {
    let data = noise(400 * 700 * 3, 3);
    let transform = plain(64, 64, 48);
    let mut reference = Reference::new(transform).unwrap();
    for (width, height) in [(300, 200), (200, 300), (200, 700), (300, 200), (90, 80)] {
        let layout = file_layout(PixelFormat::Rgb, width, height);
        let empty = crate::frame::Plane { data: &[], stride: 0 };
        let plane = crate::frame::Plane { data: &data, stride: 400 * 3 };
        let padded = Picture::new(layout, [plane, empty, empty]).unwrap();
        let packed: Vec<u8> = data.chunks(400 * 3).take(height).flat_map(|row| &row[..width * 3]).copied().collect();
        let found = reference.crop(&padded).unwrap();
        let mut fresh = Reference::new(transform).unwrap();
        let expected = fresh.crop(&Picture::packed(layout, &packed).unwrap()).unwrap();
        assert!(found == expected, "{width}×{height}");
    }
}

#[test]
fn the_reference_takes_only_rgb_of_a_usable_size_and_a_tensor_of_its_shape() {
    let data = vec![255; 300 * 300 * 4];
    let mut reference = Reference::new(Transform::IMAGENET).unwrap();
    let mut out = Tensor::zeros(224, 224, 3);
    for format in [PixelFormat::Gray8, PixelFormat::Bgr, PixelFormat::Rgbx, PixelFormat::Nv12] {
        let color = Color { matrix: crate::frame::Matrix::Bt601, ..Color::RGB };
        let layout = Layout { color, ..file_layout(format, 300, 300) };
        let plane = crate::frame::Plane { data: &data, stride: 1200 };
        let picture = Picture::new(layout, [plane; 3]).unwrap();
        assert_eq!(reference.run(&picture, &mut out), Err(Error::Format { format }));
    }
    let small = Picture::packed(file_layout(PixelFormat::Rgb, 300, MIN_SIDE - 1), &data).unwrap();
    assert_eq!(reference.run(&small, &mut out), Err(Error::TooSmall { width: 300, height: MIN_SIDE - 1 }));
    let picture = Picture::packed(file_layout(PixelFormat::Rgb, 300, 300), &data).unwrap();
    let mut other = Tensor::zeros(224, 224, 1);
    let expected = Error::Shape { found: [224, 224, 1], expected: [224, 224, 3] };
    assert_eq!(reference.run(&picture, &mut other), Err(expected));
    assert!(out.data().iter().chain(other.data()).all(|value| *value == 0.0));
    assert!(matches!(Reference::new(plain(32, 33, 8)), Err(Error::Crop { .. })));
    assert_eq!(reference.run(&picture, &mut out), Ok(()));
}
