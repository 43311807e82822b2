//! Small, large and extreme pictures, other crops, changes of layout, and errors.

use super::super::{Error, MAX_RESIZE, MIN_SIDE};
use super::*;

/// Windows of many pixels lose more by rounding than what is added for it.
const LONG_WINDOWS: f32 = 1.0 / 255.0;

/// The definition, from the documentation of torchvision and Pillow: the value of one pixel of the crop in 0 to 1, for
/// an RGB picture without padding.
fn pixel(data: &[u8], layout: &Layout, transform: &Transform, y: usize, x: usize) -> [f64; 3] {
    let PixelAspect { width, height } = layout.aspect;
    let (wide, high) = (layout.width * width as usize, layout.height * height as usize);
    let short = wide.min(high);
    let weights = |i: usize, length: usize, shown: usize, crop: usize| -> Vec<(usize, f64)> {
        let resized = (transform.resize as f64 * shown as f64 / short as f64).floor();
        let first = ((resized - crop as f64) / 2.0).round_ties_even();
        let scale = length as f64 / resized;
        let support = scale.max(1.0);
        let centre = (first + i as f64 + 0.5) * scale;
        let triangle = |j: usize| 1.0 - ((j as f64 + 0.5 - centre) / support).abs();
        let weights: Vec<_> = (0..length).map(|j| (j, triangle(j))).filter(|(_, weight)| *weight > 0.0).collect();
        let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
        weights.into_iter().map(|(j, weight)| (j, weight / total)).collect()
    };
    let across = weights(x, layout.width, wide, transform.width);
    let mut colour = [0.0; 3];
    for (row, down) in weights(y, layout.height, high, transform.height) {
        for (column, across) in &across {
            for (channel, colour) in colour.iter_mut().enumerate() {
                *colour += down * across * f64::from(data[(row * layout.width + column) * 3 + channel]) / 255.0;
            }
        }
    }
    colour
}

#[test]
fn pixels_that_are_not_square_are_classified_as_they_are_shown() {
    for (width, height, aspect) in [(120, 90, (4, 3)), (90, 120, (16, 11)), (64, 64, (1, 2)), (77, 33, (10, 39))] {
        let aspect = PixelAspect { width: aspect.0, height: aspect.1 };
        let layout = Layout { aspect, ..file_layout(PixelFormat::Rgb, width, height) };
        let data = noise(width * height * 3, 1);
        let transform = plain(32, 29, 30);
        let found = preprocess(transform, &Picture::packed(layout, &data).unwrap());
        for (index, found) in found.data().chunks_exact(3).enumerate() {
            let expected = pixel(&data, &layout, &transform, index / 30, index % 30);
            let near = found.iter().zip(expected).all(|(a, b)| (a - b as f32).abs() < FIXED_POINT);
            assert!(near, "{layout:?}, pixel {index}: {found:?}, expected {expected:?}");
        }
    }
}

#[test]
fn noise_of_any_size_agrees_with_the_definition() {
    let sizes = [(300, 260), (77, 131), (8, 30), (33, 9), (999, 8), (40, 1001), (64, 64)];
    // Crops that are, and are not, whole bands of rows.
    let crops = [(32, 32), (29, 30), (1, 1), (6, 31), (27, 3)];
    for (width, height) in sizes {
        let layout = file_layout(PixelFormat::Rgb, width, height);
        let data = noise(width * height * 3, 1);
        for (rows, columns) in crops {
            let transform = plain(32, rows, columns);
            let found = preprocess(transform, &Picture::packed(layout, &data).unwrap());
            for (index, found) in found.data().chunks_exact(3).enumerate() {
                let expected = pixel(&data, &layout, &transform, index / columns, index % columns);
                let near = found.iter().zip(expected).all(|(a, b)| (a - b as f32).abs() < FIXED_POINT);
                assert!(near, "{width}×{height} to {rows}×{columns}, pixel {index}: {found:?}, expected {expected:?}");
            }
        }
    }
}

#[test]
fn extreme_aspect_ratios_keep_an_even_colour_even() {
    for (width, height) in [(8, 60_000), (60_000, 8), (65_535, 9), (9, 65_535)] {
        for format in [PixelFormat::Gray8, PixelFormat::Yuy2, PixelFormat::Bgrx] {
            let color = Color { matrix: crate::frame::Matrix::Bt601, ..Color::RGB };
            let layout = Layout { color, ..file_layout(format, width, height) };
            let data = vec![128; width.next_multiple_of(2) * 4 * height];
            let found = preprocess(plain(256, 224, 224), &Picture::packed(layout, &data).unwrap());
            let even = found.data().iter().all(|value| (value - 128.0 / 255.0).abs() < LONG_WINDOWS);
            assert!(even, "{width}×{height} {format:?}");
        }
    }
}

#[test]
fn windows_of_hundreds_of_pixels_keep_an_even_colour_even() {
    for (format, width, height) in [(PixelFormat::Gray8, 4320, 7680), (PixelFormat::Gray16, 3840, 2160)] {
        for code in [0_u8, 1, 164, 255] {
            let bytes = if format == PixelFormat::Gray16 { 2 } else { 1 };
            let color = Color { matrix: crate::frame::Matrix::Bt709, ..Color::RGB };
            let layout = Layout { color, ..file_layout(format, width, height) };
            // Both bytes of 16 bits: the same share of the range.
            let data = vec![code; width * height * bytes];
            let found = preprocess(plain(37, 32, 32), &Picture::packed(layout, &data).unwrap());
            let expected = f32::from(code) / 255.0;
            let even = found.data().iter().all(|value| (value - expected).abs() < LONG_WINDOWS);
            assert!(even, "{width}×{height} {format:?} {code}: {:?}", &found.data()[..3]);
        }
    }
}

#[test]
fn a_new_layout_gets_new_tables() {
    let data = noise(400 * 400 * 3, 1);
    let mut preprocessor = Preprocessor::new(Transform::IMAGENET).unwrap();
    let mut out = Tensor::zeros(224, 224, 3);
    for (width, height) in [(400, 300), (300, 400), (300, 400), (64, 48)] {
        for format in [PixelFormat::Rgb, PixelFormat::Gray8, PixelFormat::Bgr] {
            let picture = Picture::packed(file_layout(format, width, height), &data).unwrap();
            preprocessor.run(&picture, &mut out).unwrap();
            let fresh = preprocess(Transform::IMAGENET, &picture);
            assert_eq!(difference(&out, &fresh), 0.0, "{width}×{height} {format:?}");
        }
    }
}

#[test]
fn pictures_that_are_too_small_are_named_with_the_minimum() {
    let data = [0; 100 * MIN_SIDE];
    let mut preprocessor = Preprocessor::new(Transform::IMAGENET).unwrap();
    let mut out = Tensor::zeros(224, 224, 3);
    for (width, height) in [(1, 1), (7, 100), (100, 7)] {
        let picture = Picture::packed(file_layout(PixelFormat::Gray8, width, height), &data).unwrap();
        let error = preprocessor.run(&picture, &mut out).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the picture is {width}×{height} pixels: it must have at least 8 on each side")
        );
    }
    let picture = Picture::packed(file_layout(PixelFormat::Gray8, MIN_SIDE, 100), &data).unwrap();
    assert_eq!(preprocessor.run(&picture, &mut out), Ok(()));
}

#[test]
fn a_tensor_of_another_shape_is_refused_and_left_alone() {
    let data = [255; 300 * 300];
    let picture = Picture::packed(file_layout(PixelFormat::Gray8, 300, 300), &data).unwrap();
    let mut preprocessor = Preprocessor::new(Transform::IMAGENET).unwrap();
    for found in [[224, 224, 1], [224, 223, 3], [223, 224, 3], [1, 224 * 224, 3]] {
        let mut out = Tensor::zeros(found[0], found[1], found[2]);
        let error = preprocessor.run(&picture, &mut out).unwrap_err();
        assert_eq!(error, Error::Shape { found, expected: [224, 224, 3] });
        assert!(out.data().iter().all(|value| *value == 0.0));
    }
}

#[test]
fn transforms_that_cannot_work_are_refused() {
    let crops = [(256, 257, 224), (256, 224, 257), (256, 0, 224), (256, 224, 0), (0, 0, 0)];
    for (resize, height, width) in crops {
        let error = Preprocessor::new(plain(resize, height, width)).unwrap_err();
        assert_eq!(error, Error::Crop { resize, height, width });
    }
    let error = Preprocessor::new(plain(MAX_RESIZE + 1, 1, 1)).unwrap_err();
    assert_eq!(error, Error::Resize { resize: MAX_RESIZE + 1 });
    for (mean, std) in [(0.0, 0.0), (0.0, -1.0), (f32::NAN, 1.0), (0.0, f32::INFINITY), (0.0, 1e-40)] {
        let transform = Transform { mean: [0.5, mean, 0.5], std: [1.0, std, 1.0], ..Transform::IMAGENET };
        assert!(matches!(Preprocessor::new(transform), Err(Error::Normalisation { .. })), "{mean} {std}");
    }
}
