//! Maximum over windows, mean over maps, and their gradients.

use super::window::{Size, Window};

/// The maximum over each window of one picture. `map` is of `size`, `out` the map of all windows.
///
/// # Panics
/// If lengths do not fit.
pub fn largest(window: Window, size: Size, map: &[f32], out: &mut [f32]) {
    each_window(window, size, out.len(), |pixel, inputs| {
        let to = &mut out[pixel * size.channels..][..size.channels];
        to.fill(f32::NEG_INFINITY);
        for input in inputs {
            for (to, value) in to.iter_mut().zip(&map[input * size.channels..]) {
                *to = to.max(*value);
            }
        }
    });
}

/// Adds the gradient of [`largest`] to `gradient`, which is of `size`: that of each window goes to its first maximum.
/// `out` and `out_gradient` are the result of [`largest`] and the gradient with respect to it.
///
/// # Panics
/// If lengths do not fit.
pub fn largest_gradient(
    window: Window,
    size: Size,
    map: &[f32],
    [out, out_gradient]: [&[f32]; 2],
    gradient: &mut [f32],
) {
    let channels = size.channels;
    each_window(window, size, out.len(), |pixel, inputs| {
        for channel in 0..channels {
            let (value, share) = (out[pixel * channels + channel], out_gradient[pixel * channels + channel]);
            let found = inputs.iter().find(|input| map[**input * channels + channel] == value);
            if let Some(input) = found {
                gradient[input * channels + channel] += share;
            }
        }
    });
}

/// Calls `each` with the number of every window and the pixels under it that are in the map.
fn each_window(
    window: Window,
    Size { height, width, channels }: Size,
    out: usize,
    mut each: impl FnMut(usize, &[usize]),
) {
    let Window { kernel, stride, padding } = window;
    let [out_height, out_width] = window.over(height, width);
    assert_eq!(out, out_height * out_width * channels, "the map of all windows");
    let along = |position: usize, side: usize| {
        let start = (position * stride).saturating_sub(padding);
        start..(position * stride + kernel - padding).min(side)
    };
    let mut inputs = Vec::with_capacity(kernel * kernel);
    for y in 0..out_height {
        for x in 0..out_width {
            inputs.clear();
            inputs.extend(along(y, height).flat_map(|row| along(x, width).map(move |column| row * width + column)));
            each(y * out_width + x, &inputs);
        }
    }
}

/// The mean of every channel over the pixels of one picture, into `out`, `[channels]`.
///
/// # Panics
/// If `map` has no pixel.
pub fn mean(map: &[f32], out: &mut [f32]) {
    let pixels = map.len() / out.len();
    assert!(pixels > 0, "a map has pixels");
    out.fill(0.0);
    for pixel in map.chunks_exact(out.len()) {
        out.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
    }
    out.iter_mut().for_each(|sum| *sum /= pixels as f32);
}

/// The gradient of [`mean`]: every pixel of `gradient` gets its share of `of`, `[channels]`.
pub fn mean_gradient(of: &[f32], gradient: &mut [f32]) {
    let share = of.len() as f32 / gradient.len() as f32;
    for pixel in gradient.chunks_exact_mut(of.len()) {
        pixel.iter_mut().zip(of).for_each(|(to, value)| *to = value * share);
    }
}
