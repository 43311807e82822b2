//! Operations on individual values: sums, scales and shifts, functions, copies.

use super::clamp::Clamp;
use super::map::{Map, channels, check_maps};
use super::place::Place;
use super::step::{Needs, Pass};
use super::unit::{read, write};
use crate::kernels::error::{PassError, check};
use crate::kernels::memory::{Packed, Weights};
use crate::kernels::parts::share;
use crate::kernels::size::UNIT;

/// A function applied to every value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// Clamped.
    Clamp(Clamp),
    /// `min(max(x / 6 + 1 / 2, 0), 1)`.
    HardSigmoid,
    /// `x * min(max(x / 6 + 1 / 2, 0), 1)`.
    HardSwish,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x / (1 + exp(-x))`.
    Silu,
}

impl Function {
    fn apply(self, values: [f32; UNIT]) -> [f32; UNIT] {
        let hard = |value: f32| (value / 6.0 + 0.5).clamp(0.0, 1.0);
        let sigmoid = |value: f32| 1.0 / (1.0 + (-value).exp());
        match self {
            Self::Clamp(Clamp { low, high }) => values.map(|value| value.max(low).min(high)),
            Self::HardSigmoid => values.map(hard),
            Self::HardSwish => values.map(|value| value * hard(value)),
            Self::Sigmoid => values.map(sigmoid),
            Self::Silu => values.map(|value| value * sigmoid(value)),
        }
    }
}

/// `function(scale · x + shift)`, per channel.
#[derive(Debug, Clone, Copy)]
pub struct Affine<'a> {
    /// `[channels]`; `None` means 1.
    pub scale: Option<&'a [f32]>,
    /// `[channels]`; `None` means 0.
    pub shift: Option<&'a [f32]>,
    /// Applied to the result.
    pub function: Function,
}

/// See [`Affine`].
#[derive(Debug)]
pub(in crate::kernels) struct AffinePass {
    input: Map,
    output: Map,
    scale: Packed,
    shift: Packed,
    function: Function,
}

impl AffinePass {
    pub(in crate::kernels) fn new(
        weights: &mut Weights,
        length: usize,
        input: Map,
        affine: &Affine<'_>,
        output: Map,
    ) -> Result<Self, PassError> {
        check_maps(&[input], &output, length)?;
        check_same(&input, &output)?;
        let fits = |values: Option<&[f32]>| values.is_none_or(|values| values.len() == input.channels);
        check(fits(affine.scale) && fits(affine.shift), "a scale or shift has another length")?;
        let mut push = |values: Option<&[f32]>, default: f32| {
            weights.push(output.stride, |lane| match values {
                Some(values) => values.get(lane).copied().unwrap_or(0.0),
                None => default,
            })
        };
        let (scale, shift) = (push(affine.scale, 1.0)?, push(affine.shift, 0.0)?);
        Ok(Self { input, output, scale, shift, function: affine.function })
    }
}

fn check_same(input: &Map, output: &Map) -> Result<(), PassError> {
    let same = (input.height, input.width, input.channels) == (output.height, output.width, output.channels);
    check(same, "the output has another size than the input")?;
    check(input.stride.is_multiple_of(UNIT), "the input is not padded to whole units")
}

impl Pass for AffinePass {
    fn algorithm(&self) -> &'static str {
        "affine"
    }

    fn needs(&self) -> Needs {
        Needs::of(&[self.input, self.output], 0)
    }

    fn macs(&self) -> u64 {
        0
    }

    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize) {
        let lanes = self.output.padded_channels();
        let [scales, shifts] = [self.scale, self.shift].map(|packed| place.weights.at(packed, 0, lanes));
        for pixel in share(self.output.pixels(), part, parts) {
            for lane in (0..self.output.channels).step_by(UNIT) {
                // SAFETY: the pixel lies in the map, the unit in the pixel, and the weights are as long as a pixel.
                let (mut values, scale, shift) = unsafe {
                    let value = read(place.pixel(&self.input, pixel).wrapping_add(lane));
                    (value, read(scales.wrapping_add(lane)), read(shifts.wrapping_add(lane)))
                };
                for ((value, scale), shift) in values.iter_mut().zip(scale).zip(shift) {
                    *value = *value * scale + shift;
                }
                let out = place.pixel(&self.output, pixel).wrapping_add(lane);
                // SAFETY: the unit lies in the pixel of the output, which belongs to this part.
                unsafe { write(out, self.function.apply(values)) }
            }
        }
    }
}

/// The sum of two maps.
#[derive(Debug)]
pub(in crate::kernels) struct AddPass {
    inputs: [Map; 2],
    output: Map,
    clamp: Clamp,
}

impl AddPass {
    pub(in crate::kernels) fn new(
        length: usize,
        inputs: [Map; 2],
        clamp: Clamp,
        output: Map,
    ) -> Result<Self, PassError> {
        check_maps(&inputs, &output, length)?;
        inputs.iter().try_for_each(|input| check_same(input, &output))?;
        Ok(Self { inputs, output, clamp })
    }
}

impl Pass for AddPass {
    fn algorithm(&self) -> &'static str {
        "add"
    }

    fn needs(&self) -> Needs {
        let [first, second] = self.inputs;
        Needs::of(&[first, second, self.output], 0)
    }

    fn macs(&self) -> u64 {
        0
    }

    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize) {
        for pixel in share(self.output.pixels(), part, parts) {
            for lane in (0..self.output.channels).step_by(UNIT) {
                // SAFETY: the pixels lie in the maps, and the unit in the pixels.
                let [mut sum, other] =
                    self.inputs.map(|input| unsafe { read(place.pixel(&input, pixel).wrapping_add(lane)) });
                for (sum, other) in sum.iter_mut().zip(other) {
                    *sum = (*sum + other).max(self.clamp.low).min(self.clamp.high);
                }
                let out = place.pixel(&self.output, pixel).wrapping_add(lane);
                // SAFETY: the unit lies in the pixel of the output, which belongs to this part.
                unsafe { write(out, sum) }
            }
        }
    }
}

/// Concatenation of maps, channel by channel.
#[derive(Debug)]
pub(in crate::kernels) struct CopyPass {
    inputs: Vec<Map>,
    output: Map,
}

impl CopyPass {
    pub(in crate::kernels) fn new(length: usize, inputs: &[Map], output: Map) -> Result<Self, PassError> {
        check_maps(inputs, &output, length)?;
        let size = [output.height, output.width];
        check(inputs.iter().all(|map| [map.height, map.width] == size), "the inputs have another size")?;
        check(channels(inputs)? == output.channels, "the output has another number of channels")?;
        Ok(Self { inputs: inputs.to_vec(), output })
    }
}

impl Pass for CopyPass {
    fn algorithm(&self) -> &'static str {
        "copy"
    }

    fn needs(&self) -> Needs {
        Needs::of(&self.inputs, 0).max(Needs::of(&[self.output], 0))
    }

    fn macs(&self) -> u64 {
        0
    }

    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize) {
        for pixel in share(self.output.pixels(), part, parts) {
            let mut out = place.pixel(&self.output, pixel);
            for map in &self.inputs {
                // SAFETY: the pixel lies in the input, the channels of all inputs fit into the pixel of the output,
                // which belongs to this part, and the maps do not overlap.
                unsafe { place.pixel(map, pixel).cast_const().copy_to_nonoverlapping(out, map.channels) }
                out = out.wrapping_add(map.channels);
            }
        }
    }
}
