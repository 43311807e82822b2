//! Depthwise 3 × 3 convolution with padding 1 over one picture, and its gradients.
//!
//! Weights are `[3, 3, channels]`. Channels are taken eight at a time; the last lanes of a map overlap the ones
//! before them if the number of channels is no multiple, which computes some values twice.

use std::ops::Range;

use super::window::Size;
use super::{Arithmetic, dispatch};

/// Channels that are computed together.
const LANES: usize = 8;

type Lanes = [f32; LANES];

/// A map and the weights that filter it.
#[derive(Debug)]
pub struct Filter<'a> {
    /// The size of `map`.
    pub size: Size,
    /// Rows and columns from one output to the next: 1 or 2.
    pub stride: usize,
    /// `[height, width, channels]`.
    pub map: &'a [f32],
    /// `[3, 3, channels]`.
    pub weights: &'a [f32],
    /// `[ceil(height / stride), ceil(width / stride), channels]`.
    pub out: &'a mut [f32],
}

/// Where the channels begin that are computed together, and how many of them have been computed before.
fn lanes(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..channels.div_ceil(LANES)).map(move |index| {
        let last = channels.saturating_sub(LANES);
        let start = (index * LANES).min(last);
        (start, index * LANES - start)
    })
}

/// Up to [`LANES`] values; the others are zero.
#[inline(always)]
fn load(from: &[f32]) -> Lanes {
    match from.first_chunk() {
        Some(lanes) => *lanes,
        None => std::array::from_fn(|lane| from.get(lane).copied().unwrap_or_default()),
    }
}

#[inline(always)]
fn store(lanes: &Lanes, to: &mut [f32]) {
    match to.first_chunk_mut() {
        Some(all) => *all = *lanes,
        None => to.iter_mut().zip(lanes).for_each(|(to, value)| *to = *value),
    }
}

#[inline(always)]
fn multiply_add<A: Arithmetic>(a: &Lanes, b: &Lanes, c: &mut Lanes) {
    for lane in 0..LANES {
        c[lane] = A::multiply_add(a[lane], b[lane], c[lane]);
    }
}

/// Positions under a window at `position`: those of its three that are in `0..side`, each with its tap.
#[inline(always)]
fn taps(position: usize, stride: usize, side: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    (0..3).filter_map(move |tap| (position * stride + tap).checked_sub(1).filter(|at| *at < side).map(|at| (tap, at)))
}

fn check(size: Size, stride: usize, lengths: [usize; 3]) {
    let out = size.height.div_ceil(stride) * size.width.div_ceil(stride) * size.channels;
    assert_eq!(lengths, [size.values(), 9 * size.channels, out], "map, weights and output of {size:?}");
}

/// Outputs of a row or column whose whole window lies in `0..side`.
fn interior(stride: usize, side: usize) -> Range<usize> {
    // The window of output `x` begins at `x * stride - 1`.
    1..((side + stride).saturating_sub(2) / stride).max(1)
}

/// The values from the first to the last of three pixels of a row, of which `lanes` channels from `lane` are read.
#[inline(always)]
fn line(size: Size, row: usize, column: usize, lane: usize, lanes: usize) -> Range<usize> {
    let start = (row * size.width + column) * size.channels + lane;
    start..start + 2 * size.channels + lanes
}

/// Filters a map: see [`Filter`].
///
/// # Panics
/// If lengths do not fit.
pub fn forward(call: Filter<'_>) {
    #[inline(always)]
    fn body<A: Arithmetic>(call: Filter<'_>) {
        let Filter { size, stride, map, weights, out } = call;
        let Size { height, width, channels } = size;
        let (out_height, out_width) = (height.div_ceil(stride), width.div_ceil(stride));
        let (rows, columns) = (interior(stride, height), interior(stride, width));
        for y in 0..out_height {
            for (lane, _) in lanes(channels) {
                let end = channels.min(lane + LANES);
                let weight: [Lanes; 9] =
                    std::array::from_fn(|tap| load(&weights[tap * channels + lane..][..end - lane]));
                for x in 0..out_width {
                    let mut sum = [0.0; LANES];
                    if rows.contains(&y) && columns.contains(&x) {
                        for row in 0..3 {
                            let line = &map[line(size, y * stride + row - 1, x * stride - 1, lane, end - lane)];
                            for column in 0..3 {
                                let values = load(&line[column * channels..][..end - lane]);
                                multiply_add::<A>(&values, &weight[3 * row + column], &mut sum);
                            }
                        }
                    } else {
                        for (row, at_row) in taps(y, stride, height) {
                            for (column, at) in taps(x, stride, width) {
                                let start = (at_row * width + at) * channels;
                                let values = load(&map[start + lane..start + end]);
                                multiply_add::<A>(&values, &weight[3 * row + column], &mut sum);
                            }
                        }
                    }
                    let start = (y * out_width + x) * channels;
                    store(&sum, &mut out[start + lane..start + end]);
                }
            }
        }
    }
    check(call.size, call.stride, [call.map.len(), call.weights.len(), call.out.len()]);
    dispatch!(body, call: Filter<'_>)
}

/// The gradient with respect to a map that was filtered.
#[derive(Debug)]
pub struct MapGradient<'a> {
    /// The size of the map.
    pub size: Size,
    /// Rows and columns from one output to the next: 1 or 2.
    pub stride: usize,
    /// The gradient with respect to the output, of its size.
    pub out: &'a [f32],
    /// `[3, 3, channels]`.
    pub weights: &'a [f32],
    /// `[height, width, channels]`; overwritten.
    pub map: &'a mut [f32],
}

/// Computes the gradient with respect to a map: see [`MapGradient`].
///
/// # Panics
/// If lengths do not fit.
pub fn map_gradient(call: MapGradient<'_>) {
    /// Outputs whose window holds `position`, each with the tap under which it lies.
    #[inline(always)]
    fn readers(position: usize, stride: usize, side: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..3).filter_map(move |tap| {
            let at = (position + 1).checked_sub(tap).filter(|at| at.is_multiple_of(stride))? / stride;
            (at < side).then_some((tap, at))
        })
    }
    #[inline(always)]
    fn body<A: Arithmetic>(call: MapGradient<'_>) {
        let MapGradient { size: Size { height, width, channels }, stride, out, weights, map } = call;
        let (out_height, out_width) = (height.div_ceil(stride), width.div_ceil(stride));
        for y in 0..height {
            for (lane, _) in lanes(channels) {
                let end = channels.min(lane + LANES);
                let weight: [Lanes; 9] =
                    std::array::from_fn(|tap| load(&weights[tap * channels + lane..][..end - lane]));
                for x in 0..width {
                    let mut sum = [0.0; LANES];
                    for (row, at_row) in readers(y, stride, out_height) {
                        for (column, at) in readers(x, stride, out_width) {
                            let start = (at_row * out_width + at) * channels;
                            multiply_add::<A>(
                                &load(&out[start + lane..start + end]),
                                &weight[3 * row + column],
                                &mut sum,
                            );
                        }
                    }
                    let start = (y * width + x) * channels;
                    store(&sum, &mut map[start + lane..start + end]);
                }
            }
        }
    }
    check(call.size, call.stride, [call.map.len(), call.weights.len(), call.out.len()]);
    if call.stride == 1 {
        // The same filter, mirrored.
        let MapGradient { size, stride, out, weights, map } = call;
        let mirrored: Vec<f32> = weights.chunks_exact(size.channels).rev().flatten().copied().collect();
        return forward(Filter { size, stride, map: out, weights: &mirrored, out: map });
    }
    dispatch!(body, call: MapGradient<'_>)
}

/// The gradient with respect to the weights of a filter.
#[derive(Debug)]
pub struct WeightGradient<'a> {
    /// The size of `map`.
    pub size: Size,
    /// Rows and columns from one output to the next: 1 or 2.
    pub stride: usize,
    /// `[height, width, channels]`.
    pub map: &'a [f32],
    /// The gradient with respect to the output, of its size.
    pub out: &'a [f32],
    /// `[3, 3, channels]`; added to.
    pub weights: &'a mut [f32],
}

/// Adds the gradient with respect to the weights: see [`WeightGradient`].
///
/// # Panics
/// If lengths do not fit.
pub fn weight_gradient(call: WeightGradient<'_>) {
    #[inline(always)]
    fn body<A: Arithmetic>(call: WeightGradient<'_>) {
        let WeightGradient { size, stride, map, out, weights } = call;
        let Size { height, width, channels } = size;
        let (out_height, out_width) = (height.div_ceil(stride), width.div_ceil(stride));
        let (rows, columns) = (interior(stride, height), interior(stride, width));
        for y in 0..out_height {
            for (lane, done) in lanes(channels) {
                let end = channels.min(lane + LANES);
                let mut sums = [[0.0; LANES]; 9];
                for x in 0..out_width {
                    let start = (y * out_width + x) * channels;
                    let gradient = load(&out[start + lane..start + end]);
                    if rows.contains(&y) && columns.contains(&x) {
                        for row in 0..3 {
                            let line = &map[line(size, y * stride + row - 1, x * stride - 1, lane, end - lane)];
                            for column in 0..3 {
                                let values = load(&line[column * channels..][..end - lane]);
                                multiply_add::<A>(&values, &gradient, &mut sums[3 * row + column]);
                            }
                        }
                        continue;
                    }
                    for (row, at_row) in taps(y, stride, height) {
                        for (column, at) in taps(x, stride, width) {
                            let start = (at_row * width + at) * channels;
                            let values = load(&map[start + lane..start + end]);
                            multiply_add::<A>(&values, &gradient, &mut sums[3 * row + column]);
                        }
                    }
                }
                for (tap, sum) in sums.iter().enumerate() {
                    let to = &mut weights[tap * channels + lane..tap * channels + end];
                    to.iter_mut().zip(sum).skip(done).for_each(|(to, value)| *to += value);
                }
            }
        }
    }
    check(call.size, call.stride, [call.map.len(), call.weights.len(), call.out.len()]);
    dispatch!(body, call: WeightGradient<'_>)
}
