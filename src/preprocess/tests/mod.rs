//! Tests of the whole module: against Pillow's crops, to a step and bit for bit, over all formats, and at the limits.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed step is a failed test")]

mod formats;
mod golden;
mod instructions;
mod limits;
mod reference;
mod siting;

use super::{Preprocessor, Transform};
use crate::frame::{Color, Layout, Picture, PixelAspect, PixelFormat};
use crate::tensor::Tensor;

/// Sums are rounded to 1 / 128 of a code for every row and column of a window, up and down: this much with the few rows and
/// columns of most tests.
const FIXED_POINT: f32 = 0.2 / 255.0;

/// The result of `transform` for `picture`, with a separate preprocessor.
fn preprocess(transform: Transform, picture: &Picture<'_>) -> Tensor {
    let mut out = Tensor::zeros(transform.height, transform.width, 3);
    Preprocessor::new(transform).unwrap().run(picture, &mut out).unwrap();
    out
}

/// A transform that leaves colours in 0 to 1.
fn plain(resize: usize, height: usize, width: usize) -> Transform {
    Transform { resize, height, width, mean: [0.0; 3], std: [1.0; 3], region: None }
}

/// The full-range layout of image files.
fn file_layout(format: PixelFormat, width: usize, height: usize) -> Layout {
    Layout { format, width, height, color: Color::RGB, aspect: PixelAspect::SQUARE }
}

/// Pseudo-random bytes: the upper 8 bits of a linear congruential generator that starts at `seed`.
fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

/// The largest difference between two tensors.
fn difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.data().len(), b.data().len());
    a.data().iter().zip(b.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
