//! Passes: one layer each, or a few that are better done together, over maps in memory.
//!
//! A pass is checked when it is made. It then knows addresses and lengths, and runs without another look at every
//! pixel, in as many parts as there are threads: parts write disjoint values and read nothing that another part of
//! the same pass writes.
//!
//! # Safety
//!
//! For every pass, what its constructor has to check and its run has to keep:
//!
//! - Inputs and output lie in memory, up to the last value that is touched: whole units for passes that read units, whose
//!   inputs have pixels of whole units; channels alone for products, whose inputs may have anything behind them.
//! - The output has whole units, and overlaps no input but beside it. A transform counts with all of its planes.
//! - Every window has a pixel of the map; neither the begin nor the end of one overflows, nor the distance of two, which
//!   is bounded for maps of one pixel, too.
//! - Weights and biases have the length that channels and taps ask for: what is packed is packed from slices, whose
//!   bounds are checked.
//! - Blocks of output channels are whole steps, and together no wider than the padded channels.
//! - `Pass::needs` has no default. Its scratch is the sum of the lengths that `Scratch::split` takes apart in a run; a
//!   pass of passes needs what the largest of them needs.
//! - A part may have nothing to do: with more parts than pixels, rows or blocks its share is empty, and no count of it
//!   divides anything.
//! - Addresses that are only asked for ahead of their use may lie anywhere; they are computed with operations that wrap.

mod blocks;
mod conv;
mod depthwise;
mod elementwise;
mod fused;
mod grouped;
mod place;
mod pool;
mod strassen;
mod winograd;

use std::fmt::Debug;
use std::ops::Range;

use super::UNIT;
use super::size::{self, count, product};

pub(super) use blocks::Blocks;
pub(super) use conv::ConvPass;
pub use conv::{Convolution, MAX_SEGMENTS};
pub use depthwise::Depthwise;
pub(super) use depthwise::DepthwisePass;
pub(super) use elementwise::{AddPass, AffinePass, CopyPass};
pub use elementwise::{Affine, Function};
pub(super) use fused::FusedPass;
pub(super) use grouped::GroupedPass;
pub(super) use place::{Needs, Place, Scratch};
pub(super) use pool::{AveragePass, PoolPass};
pub use pool::{Pool, Reduce};
pub use winograd::{Kept, Scheme, Transform};
pub(super) use winograd::{TransformPass, WinogradPass};

/// A map in memory: NHWC, rows without gaps between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Map {
    /// Where channel 0 of the first pixel is, in values from the beginning.
    pub offset: usize,
    /// Rows.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// Values from one pixel to the next, at least `channels`. Maps that passes write have a multiple of
    /// [`UNIT`].
    pub stride: usize,
}

impl Map {
    /// A map whose pixels are padded to whole units.
    #[must_use]
    pub fn padded(offset: usize, height: usize, width: usize, channels: usize) -> Self {
        // What is too long for that is refused by every pass.
        let stride = channels.checked_next_multiple_of(UNIT).unwrap_or(channels);
        Self { offset, height, width, channels, stride }
    }

    /// Number of pixels.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// Number of values that it takes in memory; nothing when that overflows.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        product(&[self.height, self.width, self.stride]).ok()
    }

    /// Channels in whole units.
    fn padded_channels(&self) -> usize {
        self.channels.checked_next_multiple_of(UNIT).unwrap_or(usize::MAX)
    }

    /// Values of a pixel that passes may touch: all channels, in whole units where there is room.
    fn touched(&self) -> usize {
        self.padded_channels().min(self.stride)
    }

    /// From the first value to the end of the first `width` values of the last pixel.
    fn range(&self, width: usize) -> Result<Range<usize>, PassError> {
        let Some(last) = product(&[self.height, self.width])?.checked_sub(1) else {
            return Ok(self.offset..self.offset);
        };
        Ok(self.offset..size::sum([self.offset, product(&[last, self.stride])?, width])?)
    }

    /// Whether the first `width` values of its pixels and all values of the pixels of `other` that passes may touch
    /// lie beside each other in the pixels of a third map.
    fn is_beside(&self, width: usize, other: &Self) -> bool {
        if self.stride != other.stride || self.stride == 0 {
            return false;
        }
        let [here, there] = [self.offset, other.offset].map(|offset| offset % self.stride);
        let distance = if there >= here { there - here } else { self.stride - (here - there) };
        width <= distance && distance.checked_add(other.touched()).is_some_and(|end| end <= self.stride)
    }
}

/// Least and largest value of a result: what a clamping activation leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clamp {
    /// The least.
    pub low: f32,
    /// The largest.
    pub high: f32,
}

impl Clamp {
    /// Every value stays as it is.
    pub const NONE: Self = Self { low: f32::NEG_INFINITY, high: f32::INFINITY };
    /// `max(x, 0)`.
    pub const RELU: Self = Self { low: 0.0, high: f32::INFINITY };
    /// `min(max(x, 0), 6)`.
    pub const RELU6: Self = Self { low: 0.0, high: 6.0 };
}

/// A pass cannot be made: its parts do not fit together. It is a fault of who asks for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a pass cannot be made: {0}")]
pub struct PassError(pub(super) &'static str);

/// An error unless `holds`.
pub(super) fn check(holds: bool, rule: &'static str) -> Result<(), PassError> {
    if holds { Ok(()) } else { Err(PassError(rule)) }
}

/// One step of a program.
pub(super) trait Pass: Debug + Send + Sync {
    /// What it is called in the plan: the algorithm.
    fn algorithm(&self) -> &'static str;

    /// What it needs of the program: as far as its maps reach, and the scratch that every part takes from
    /// [`Place::scratch`].
    fn needs(&self) -> Needs;

    /// Multiply-accumulates that it executes.
    fn macs(&self) -> u64;

    /// Does part number `part` of `parts`.
    ///
    /// # Safety
    /// `place` belongs to the program that the pass was made for: its kernels, its weights, and activations for
    /// [`Needs::values`]. No other pass runs on these activations at the same time, all parts of this one have the same
    /// `parts` and a `part` below it of their own, and scratch of their own, of any length: less than
    /// [`Needs::scratch`] is a panic.
    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize);
}

/// The share of part number `part` of `parts` in `0..count`. Some shares are empty if `count` is less than `parts`.
fn share(count: usize, part: usize, parts: usize) -> Range<usize> {
    // `count * part / parts`, in numbers that are no larger than these.
    let (each, rest) = (count / parts, count % parts);
    let start = |part: usize| each * part + rest * part / parts;
    start(part)..start(part + 1)
}

/// Whether windows of `kernel` rows and columns, `stride` apart, fit `input` and `output`: every window has
/// a value of the map, whose first `before` rows and columns are padding. What lies beyond its end is, too.
fn check_windows(
    input: &Map,
    output: &Map,
    kernel: [usize; 2],
    stride: [usize; 2],
    before: [usize; 2],
) -> Result<(), PassError> {
    check(!kernel.contains(&0) && !stride.contains(&0), "kernels and strides are at least 1")?;
    check(before[0] < kernel[0] && before[1] < kernel[1], "no window lies in padding alone")?;
    let [inputs, outputs] = [input, output].map(|map| [map.height, map.width]);
    let begins = |axis: usize| {
        let last = outputs[axis].checked_sub(1)?.checked_mul(stride[axis])?;
        // Where a window ends is computed, too.
        last.checked_add(kernel[axis])?;
        Some(last < inputs[axis].checked_add(before[axis])?)
    };
    let inside = [0, 1].into_iter().all(|axis| begins(axis).unwrap_or(false));
    check(inside, "the output has more windows than the input")
}

/// The channels of all maps together.
fn channels(maps: &[Map]) -> Result<usize, PassError> {
    size::sum(maps.iter().map(|map| map.channels))
}

/// Whether the maps lie in memory of `length` values, and `output` overlaps none of `inputs`, which are read in whole
/// units.
pub(super) fn check_maps(inputs: &[Map], output: &Map, length: usize) -> Result<(), PassError> {
    check_memory(inputs, output, length, Map::touched)
}

/// As [`check_maps`], for a pass that reads the channels of its inputs and nothing behind them.
pub(super) fn check_channels(inputs: &[Map], output: &Map, length: usize) -> Result<(), PassError> {
    check_memory(inputs, output, length, |map| map.channels.min(map.stride))
}

fn check_memory(inputs: &[Map], output: &Map, length: usize, read: impl Fn(&Map) -> usize) -> Result<(), PassError> {
    let range =
        |map: &Map, width: usize| map.range(width).ok().filter(|range| range.end <= length && !range.is_empty());
    let to = range(output, output.touched());
    let Some(to) = to else { return Err(PassError("a map does not lie in memory")) };
    for input in inputs {
        // Where there are no channels, that is what is wrong.
        check(range(input, read(input).max(1)).is_some(), "a map does not lie in memory")?;
    }
    // Those of maps of one pixel are bounded by nothing else.
    inputs.iter().chain([output]).try_for_each(|map| size::addressable(map.stride).map(drop))?;
    check(inputs.iter().all(|map| map.channels > 0 && map.stride >= map.channels), "pixels are too close")?;
    // A multiple of the unit that holds the channels holds them padded, too.
    let padded = output.stride.is_multiple_of(UNIT) && output.stride >= output.channels;
    check(padded, "the output is not padded to whole units")?;
    let apart = |input: &Map| {
        let from = range(input, read(input));
        from.is_some_and(|from| from.end <= to.start || to.end <= from.start) || input.is_beside(read(input), output)
    };
    check(inputs.iter().all(apart), "the output overlaps an input")
}
