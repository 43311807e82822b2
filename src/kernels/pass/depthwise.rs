//! Depthwise convolution: every channel is filtered separately.

use super::clamp::Clamp;
use super::map::{Map, check_maps, check_windows};
use super::place::Place;
use super::step::{Needs, Pass};
use super::unit::{read, write};
use crate::kernels::error::{PassError, check};
use crate::kernels::memory::{Packed, Weights};
use crate::kernels::parts::share;
use crate::kernels::size::{UNIT, count, product, round_up};
use crate::kernels::tile;

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
    /// The clamping of results.
    pub clamp: Clamp,
}

impl Depthwise<'_> {
    /// Whether the row kernels support it: 3 × 3, padding 1, stride 1 or 2 in both directions.
    pub(in crate::kernels) fn is_regular(&self, input: [usize; 2], output: [usize; 2]) -> bool {
        let [down, across] = self.stride;
        let size = |length: usize| length.div_ceil(down.max(1));
        self.kernel == [3, 3]
            && (self.top, self.left) == (1, 1)
            && down == across
            && (1..=2).contains(&down)
            && output == input.map(size)
    }
}

/// Weights for the row kernels: `[10][lanes]`, nine taps and the bias.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taps {
    weights: Packed,
    /// Channels, padded to whole units.
    lanes: usize,
    stride: usize,
    clamp: Clamp,
}

impl Taps {
    /// Packs a regular depthwise convolution of `channels`.
    ///
    /// # Errors
    /// If the weights do not fit into memory.
    pub(super) fn pack(weights: &mut Weights, channels: usize, layer: &Depthwise<'_>) -> Result<Self, PassError> {
        let lanes = round_up(channels, UNIT)?;
        let packed = weights.push(product(&[lanes, 10])?, |index| match (index % lanes, index / lanes) {
            (channel, _) if channel >= channels => 0.0,
            (channel, 9) => layer.bias[channel],
            (channel, tap) => layer.weight[channel * 9 + tap],
        })?;
        Ok(Self { weights: packed, lanes, stride: layer.stride[0], clamp: layer.clamp })
    }

    /// One row of the output for `count` channels from number `first` on, both multiples of the kernels' step. The
    /// three rows of the input and the output are at the first of these channels.
    ///
    /// # Safety
    /// - The duties of [`tile::Depthwise`] for these channels, except for the weights.
    /// - The channels are whole steps, and among the packed ones, padded to whole units.
    pub(super) unsafe fn run(&self, place: &Place<'_>, first: usize, count: usize, mut row: tile::Depthwise) {
        let step = place.kernels.step();
        debug_assert!(first + count <= self.lanes && count.is_multiple_of(step), "{count} channels from {first} on");
        row.weights = place.weights.at(self.weights, first, 9 * self.lanes + count);
        row.weight_stride = self.lanes;
        (row.low, row.high) = (self.clamp.low, self.clamp.high);
        let mut left = count / step;
        while left > 0 {
            let steps = left.min(place.kernels.most_depthwise_steps());
            // SAFETY: the rows are readable and the output is writable for these channels, and all ten places of the
            // weights were requested.
            unsafe { place.kernels.depthwise(steps, self.stride, &row) }
            let width = steps * step;
            row.rows = row.rows.map(|at| at.wrapping_add(width));
            row.out = row.out.wrapping_add(width);
            row.weights = row.weights.wrapping_add(width);
            left -= steps;
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(in crate::kernels) struct DepthwisePass {
    input: Map,
    output: Map,
    kernel: [usize; 2],
    stride: [usize; 2],
    top: usize,
    left: usize,
    clamp: Clamp,
    form: DepthwiseMethod,
}

#[derive(Debug)]
enum DepthwiseMethod {
    /// With the row kernels; and a row of zeros.
    Regular(Taps, Packed),
    /// With plain loops; `[tap][lanes]` weights and `[lanes]` biases.
    Plain { weights: Packed, bias: Packed, lanes: usize },
}

impl DepthwisePass {
    pub(in crate::kernels) fn new(
        weights: &mut Weights,
        length: usize,
        input: Map,
        layer: &Depthwise<'_>,
        output: Map,
    ) -> Result<Self, PassError> {
        check_maps(&[input], &output, length)?;
        let Depthwise { kernel, stride, top, left, clamp, .. } = *layer;
        let taps = product(&kernel)?;
        check(input.channels == output.channels, "a depthwise convolution keeps the channels")?;
        check(input.stride.is_multiple_of(UNIT), "the input is not padded to whole units")?;
        check_windows(&input, &output, kernel, stride, [top, left])?;
        check(layer.weight.len() == product(&[input.channels, taps])?, "the weight has another length")?;
        check(layer.bias.len() == input.channels, "the bias has another length")?;
        let form = if layer.is_regular([input.height, input.width], [output.height, output.width]) {
            let zeros = weights.push(product(&[input.width, input.stride])?, |_| 0.0)?;
            DepthwiseMethod::Regular(Taps::pack(weights, input.channels, layer)?, zeros)
        } else {
            let lanes = round_up(input.channels, UNIT)?;
            let at = |channel: usize| Some(channel).filter(|channel| *channel < input.channels);
            let packed = weights.push(product(&[taps, lanes])?, |index| {
                at(index % lanes).map_or(0.0, |channel| layer.weight[channel * taps + index / lanes])
            })?;
            let bias = weights.push(lanes, |lane| at(lane).map_or(0.0, |channel| layer.bias[channel]))?;
            DepthwiseMethod::Plain { weights: packed, bias, lanes }
        };
        Ok(Self { input, output, kernel, stride, top, left, clamp, form })
    }

    /// One row of the output by plain loops, with `[tap][lanes]` weights and `[lanes]` biases.
    ///
    /// # Safety
    /// - The duties of [`Pass::run`]; the row belongs to this part.
    /// - There are as many weights and biases, and `lanes` is the number of padded channels.
    unsafe fn plain_row(&self, place: &Place<'_>, y: usize, [weights, bias]: [*const f32; 2], lanes: usize) {
        let Self { input, output, .. } = self;
        for x in 0..output.width {
            for unit in 0..output.channels.div_ceil(UNIT) {
                let lane = unit * UNIT;
                // SAFETY: there are as many biases as padded channels.
                let mut sum = unsafe { read(bias.wrapping_add(lane)) };
                for row in 0..self.kernel[0] {
                    for column in 0..self.kernel[1] {
                        let source = (y * self.stride[0] + row).checked_sub(self.top).filter(|y| *y < input.height);
                        let across = (x * self.stride[1] + column).checked_sub(self.left).filter(|x| *x < input.width);
                        let (Some(source), Some(across)) = (source, across) else { continue };
                        let tap = row * self.kernel[1] + column;
                        // SAFETY: the pixel lies in the map, and the weights hold every tap.
                        let (value, weight) = unsafe {
                            let pixel = place.pixel(input, source * input.width + across).wrapping_add(lane);
                            (read(pixel), read(weights.wrapping_add(tap * lanes + lane)))
                        };
                        for ((sum, value), weight) in sum.iter_mut().zip(value).zip(weight) {
                            *sum += value * weight;
                        }
                    }
                }
                let clamped = sum.map(|value| value.max(self.clamp.low).min(self.clamp.high));
                let out = place.pixel(output, y * output.width + x).wrapping_add(lane);
                // SAFETY: the unit lies in the pixel of the output, which belongs to this part.
                unsafe { write(out, clamped) }
            }
        }
    }
}

impl Pass for DepthwisePass {
    fn algorithm(&self) -> &'static str {
        "depthwise"
    }

    fn needs(&self) -> Needs {
        Needs::of(&[self.input, self.output], 0)
    }

    fn macs(&self) -> u64 {
        count(&[self.output.pixels(), self.output.padded_channels(), self.kernel[0], self.kernel[1]])
    }

    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize) {
        let Self { input, output, .. } = self;
        for y in share(output.height, part, parts) {
            match self.form {
                DepthwiseMethod::Regular(taps, zeros) => {
                    let row = |y: Option<usize>| match y.filter(|y| *y < input.height) {
                        Some(y) => place.pixel(input, y * input.width).cast_const(),
                        None => place.weights.at(zeros, 0, input.width * input.stride),
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
                    // SAFETY: rows of the input and the row of zeros are as long as the map is wide, with pixels of
                    // whole units. The row of the output belongs to this part, and overlaps no input.
                    unsafe { taps.run(place, 0, output.channels.next_multiple_of(place.kernels.step()), call) }
                }
                DepthwiseMethod::Plain { weights, bias, lanes } => {
                    let weights = place.weights.at(weights, 0, self.kernel[0] * self.kernel[1] * lanes);
                    let bias = place.weights.at(bias, 0, lanes);
                    // SAFETY: the row belongs to this part, and weights and biases were requested with these lengths.
                    unsafe { self.plain_row(place, y, [weights, bias], lanes) }
                }
            }
        }
    }
}
