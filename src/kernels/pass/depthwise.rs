//! Depthwise convolution: every channel is filtered on its own.

use super::super::memory::Weights;
use super::super::tile;
use super::super::{Kernels, UNIT};
use super::{Clamp, Map, Pass, PassError, Place, check, check_maps, share};

/// A depthwise convolution with dilation 1.
#[derive(Debug, Clone, Copy)]
pub struct Depthwise<'a> {
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Rows of zeros above the map.
    pub top: usize,
    /// Columns of zeros to the left of it.
    pub left: usize,
    /// `[channels, kernel rows, kernel columns]`, row-major.
    pub weight: &'a [f32],
    /// `[channels]`.
    pub bias: &'a [f32],
    /// What results are clamped to.
    pub clamp: Clamp,
}

impl Depthwise<'_> {
    /// Whether the kernels for rows can do it: 3 × 3, padding 1, stride 1 or 2 in both directions.
    pub(in super::super) fn is_regular(&self, input: [usize; 2], output: [usize; 2]) -> bool {
        let [down, across] = self.stride;
        let size = |length: usize| (length - 1) / down.max(1) + 1;
        self.kernel == [3, 3]
            && (self.top, self.left) == (1, 1)
            && down == across
            && (1..=2).contains(&down)
            && output == input.map(size)
    }
}

/// Weights for the kernels of rows: for every group of units `[10][group]`, nine taps and the bias.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    weights: usize,
    units: usize,
    stride: usize,
    clamp: Clamp,
}

impl Rows {
    /// Packs a regular depthwise convolution of `channels`.
    pub(super) fn pack(kernels: &Kernels, weights: &mut Weights, channels: usize, layer: &Depthwise<'_>) -> Self {
        let units = channels.div_ceil(UNIT);
        let group = kernels.depthwise_units;
        let start = weights.push(units * UNIT * 10, |index| {
            // All groups but the last are of `group` units.
            let first = index / (group * UNIT * 10) * group;
            let width = group.min(units - first) * UNIT;
            let rest = index - first * UNIT * 10;
            let (tap, channel) = (rest / width, first * UNIT + rest % width);
            match (channel < channels, tap) {
                (false, _) => 0.0,
                (true, 9) => layer.bias[channel],
                (true, tap) => layer.weight[channel * 9 + tap],
            }
        });
        Self { weights: start, units, stride: layer.stride[0], clamp: layer.clamp }
    }

    /// One row of the output for `count` units from number `first` on, which is a multiple of the units of a
    /// group. The three rows of the input and the output are at the first of these units.
    ///
    /// # Safety
    /// The rows are readable and the output is writable for these units, as [`tile::Depthwise`] asks for.
    pub(super) unsafe fn run(&self, place: &Place<'_>, first: usize, count: usize, mut row: tile::Depthwise) {
        row.low = self.clamp.low;
        row.high = self.clamp.high;
        let mut unit = first;
        while unit < first + count {
            let group = place.kernels.depthwise_units.min(self.units - unit);
            // A group that is cut by the end of the range is done unit by unit; its weights are wider.
            let width = group.min(first + count - unit);
            row.weight_stride = group * UNIT;
            for part in if width == group { 0..1 } else { 0..width } {
                let units = if width == group { group } else { 1 };
                let lane = part * UNIT;
                let offset = (unit - first) * UNIT + lane;
                let call = tile::Depthwise {
                    rows: row.rows.map(|at| at.wrapping_add(offset)),
                    out: row.out.wrapping_add(offset),
                    weights: place.weights.at(self.weights + unit * UNIT * 10 + lane),
                    ..row
                };
                // SAFETY: the caller's rows and output hold these units, and the weights were packed so.
                unsafe { place.kernels.depthwise[units - 1][self.stride - 1](&call) }
            }
            unit += width;
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(in super::super) struct DepthwisePass {
    input: Map,
    output: Map,
    kernel: [usize; 2],
    stride: [usize; 2],
    top: usize,
    left: usize,
    clamp: Clamp,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// By the kernels for rows; and where a row of zeros is.
    Regular(Rows, usize),
    /// Plainly; where `[tap][units]` weights and the biases are.
    Plain { weights: usize, bias: usize },
}

impl DepthwisePass {
    pub(in super::super) fn new(
        kernels: &'static Kernels,
        weights: &mut Weights,
        length: usize,
        input: Map,
        layer: &Depthwise<'_>,
        output: Map,
    ) -> Result<Self, PassError> {
        check_maps(&[input], &output, length)?;
        let Depthwise { kernel, stride, top, left, clamp, .. } = *layer;
        let taps = kernel[0] * kernel[1];
        check(input.channels == output.channels, "a depthwise convolution keeps the channels")?;
        check(input.stride.is_multiple_of(UNIT), "the input is not padded to whole units")?;
        check(taps > 0 && !stride.contains(&0), "kernels and strides are at least 1")?;
        check(layer.weight.len() == input.channels * taps, "the weight has another length")?;
        check(layer.bias.len() == input.channels, "the bias has another length")?;
        let form = if layer.is_regular([input.height, input.width], [output.height, output.width]) {
            let zeros = weights.push(input.width * input.stride, |_| 0.0);
            Form::Regular(Rows::pack(kernels, weights, input.channels, layer), zeros)
        } else {
            let lanes = output.stride;
            let at = |channel: usize| Some(channel).filter(|channel| *channel < input.channels);
            let packed = weights.push(taps * lanes, |index| {
                at(index % lanes).map_or(0.0, |channel| layer.weight[channel * taps + index / lanes])
            });
            let bias = weights.push(lanes, |lane| at(lane).map_or(0.0, |channel| layer.bias[channel]));
            Form::Plain { weights: packed, bias }
        };
        Ok(Self { input, output, kernel, stride, top, left, clamp, form })
    }

    /// One row of the output by plain loops.
    ///
    /// # Safety
    /// Those of [`Pass::run`].
    unsafe fn plain_row(&self, place: &Place<'_>, y: usize, weights: usize, bias: usize) {
        let Self { input, output, .. } = self;
        for x in 0..output.width {
            for unit in 0..output.channels.div_ceil(UNIT) {
                let lane = unit * UNIT;
                // SAFETY: the biases are as long as a pixel of the output.
                let mut sum = unsafe { read(place.weights.at(bias + lane)) };
                for row in 0..self.kernel[0] {
                    for column in 0..self.kernel[1] {
                        let source = (y * self.stride[0] + row).checked_sub(self.top).filter(|y| *y < input.height);
                        let across = (x * self.stride[1] + column).checked_sub(self.left).filter(|x| *x < input.width);
                        let (Some(source), Some(across)) = (source, across) else { continue };
                        let tap = row * self.kernel[1] + column;
                        // SAFETY: the pixel lies in the map, and the weights hold every tap.
                        let (value, weight) = unsafe {
                            let pixel = place.pixel(input, source * input.width + across).wrapping_add(lane);
                            (read(pixel), read(place.weights.at(weights + tap * output.stride + lane)))
                        };
                        for ((sum, value), weight) in sum.iter_mut().zip(value).zip(weight) {
                            *sum += value * weight;
                        }
                    }
                }
                let clamped = sum.map(|value| value.max(self.clamp.low).min(self.clamp.high));
                let out = place.pixel(output, y * output.width + x).wrapping_add(lane);
                // SAFETY: the unit lies in the pixel of the output.
                unsafe { out.cast::<[f32; UNIT]>().write_unaligned(clamped) }
            }
        }
    }
}

/// A unit of values.
///
/// # Safety
/// The address is readable for a unit.
pub(super) unsafe fn read(at: *const f32) -> [f32; UNIT] {
    // SAFETY: the caller's.
    unsafe { at.cast::<[f32; UNIT]>().read_unaligned() }
}

impl Pass for DepthwisePass {
    fn algorithm(&self) -> &'static str {
        "depthwise"
    }

    fn macs(&self) -> u64 {
        (self.output.pixels() * self.output.stride * self.kernel[0] * self.kernel[1]) as u64
    }

    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize) {
        let Self { input, output, .. } = self;
        for y in share(output.height, part, parts) {
            match self.form {
                Form::Regular(rows, zeros) => {
                    let row = |y: Option<usize>| match y.filter(|y| *y < input.height) {
                        Some(y) => place.pixel(input, y * input.width).cast_const(),
                        None => place.weights.at(zeros),
                    };
                    let centre = y * self.stride[0];
                    let call = tile::Depthwise {
                        rows: [row(centre.checked_sub(1)), row(Some(centre)), row(Some(centre + 1))],
                        in_stride: input.stride,
                        in_width: input.width,
                        out: place.pixel(output, y * output.width),
                        out_stride: output.stride,
                        out_width: output.width,
                        weights: std::ptr::null(),
                        weight_stride: 0,
                        low: 0.0,
                        high: 0.0,
                    };
                    // SAFETY: rows of the input and the row of zeros are as long as the map is wide, and the
                    // row of the output belongs to this part.
                    unsafe { rows.run(place, 0, output.channels.div_ceil(UNIT), call) }
                }
                // SAFETY: the caller's.
                Form::Plain { weights, bias } => unsafe { self.plain_row(place, y, weights, bias) },
            }
        }
    }
}
