//! Passes: one layer each, or a few that are better done together, over maps in memory.
//!
//! A pass is checked when it is made. It then knows addresses and lengths, and runs without another look,
//! in as many parts as there are threads: parts write disjoint values and read nothing that another part of
//! the same pass writes.

mod blocks;
mod conv;
mod depthwise;
mod elementwise;
mod fused;
mod grouped;
mod pool;
mod strassen;
mod winograd;

use std::fmt::Debug;
use std::ops::Range;

use super::memory::Weights;
use super::{Kernels, UNIT};

pub(super) use blocks::Blocks;
pub(super) use conv::ConvPass;
pub use conv::{Convolution, MAX_SEGMENTS};
pub use depthwise::Depthwise;
pub(super) use depthwise::DepthwisePass;
pub(super) use elementwise::{AddPass, AffinePass, CopyPass};
pub use elementwise::{Affine, Function};
pub(super) use fused::FusedPass;
pub(super) use grouped::GroupedPass;
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
        Self { offset, height, width, channels, stride: channels.next_multiple_of(UNIT) }
    }

    /// Number of pixels.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Number of values that it takes in memory; nothing when that overflows.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        self.height.checked_mul(self.width)?.checked_mul(self.stride)
    }

    /// Channels in whole units.
    fn padded_channels(&self) -> usize {
        self.channels.checked_next_multiple_of(UNIT).unwrap_or(usize::MAX)
    }

    /// Values of a pixel that passes may touch: all channels, in whole units where there is room.
    fn touched(&self) -> usize {
        self.padded_channels().min(self.stride)
    }

    /// From the first value to the last one that passes may touch.
    fn range(&self) -> Option<Range<usize>> {
        let Some(last) = self.height.checked_mul(self.width)?.checked_sub(1) else {
            return Some(self.offset..self.offset);
        };
        let end = self.offset.checked_add(last.checked_mul(self.stride)?)?.checked_add(self.touched())?;
        Some(self.offset..end)
    }

    /// Whether the first `width` values of its pixels and all values of the pixels of `other` that passes may touch
    /// lie beside each other in the pixels of a third map.
    fn is_beside(&self, width: usize, other: &Self) -> bool {
        if self.stride != other.stride || self.stride == 0 {
            return false;
        }
        let [here, there] = [self.offset, other.offset].map(|offset| offset % self.stride);
        let distance = if there >= here { there - here } else { there + self.stride - here };
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

/// What a pass runs on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) kernels: &'static Kernels,
    pub(super) weights: &'a Weights,
    /// The first of the activations, which reach as far as every map of every pass.
    pub(super) base: *mut f32,
    /// Scratch of the part that runs: at least [`Pass::scratch`] values of its own.
    pub(super) scratch: *mut f32,
}

impl Place<'_> {
    /// The address of pixel `index` of `map`.
    fn pixel(&self, map: &Map, index: usize) -> *mut f32 {
        self.base.wrapping_add(map.offset + index * map.stride)
    }
}

/// One step of a program.
pub(super) trait Pass: Debug + Send + Sync {
    /// What it is called in the plan: the algorithm.
    fn algorithm(&self) -> &'static str;

    /// Values of scratch that every part needs for itself.
    fn scratch(&self) -> usize {
        0
    }

    /// Multiply-accumulates that it executes.
    fn macs(&self) -> u64;

    /// Does part number `part` of `parts`.
    ///
    /// # Safety
    /// `place` belongs to the program that the pass was made for. No other pass runs on its activations at
    /// the same time, and every part has scratch of its own.
    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize);
}

/// The share of part number `part` of `parts` in `0..count`.
fn share(count: usize, part: usize, parts: usize) -> Range<usize> {
    count * part / parts..count * (part + 1) / parts
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

/// The product; an error where it is beyond all numbers.
fn product(factors: &[usize]) -> Result<usize, PassError> {
    let product = factors.iter().try_fold(1, |product: usize, factor| product.checked_mul(*factor));
    product.ok_or(PassError("a length is beyond all numbers"))
}

/// The channels of all maps together.
fn channels(maps: &[Map]) -> Result<usize, PassError> {
    let sum = maps.iter().try_fold(0, |sum: usize, map| sum.checked_add(map.channels));
    sum.ok_or(PassError("a length is beyond all numbers"))
}

/// The product, for the record.
fn count(factors: &[usize]) -> u64 {
    factors.iter().fold(1, |product, factor| product.saturating_mul(*factor as u64))
}

/// Whether the maps lie in memory of `length` values, and `output` overlaps none of `inputs`, which are read in whole
/// units.
pub(super) fn check_maps(inputs: &[Map], output: &Map, length: usize) -> Result<(), PassError> {
    check_memory(inputs, output, length, Map::touched)
}

/// As [`check_maps`], for a pass that reads the channels of its inputs and nothing behind them.
pub(super) fn check_channels(inputs: &[Map], output: &Map, length: usize) -> Result<(), PassError> {
    check_memory(inputs, output, length, |map| map.channels)
}

fn check_memory(inputs: &[Map], output: &Map, length: usize, read: impl Fn(&Map) -> usize) -> Result<(), PassError> {
    let inside = |map: &Map| map.range().is_some_and(|range| range.end <= length && !range.is_empty());
    check(inputs.iter().chain([output]).all(inside), "a map does not lie in memory")?;
    check(inputs.iter().all(|map| map.channels > 0 && map.stride >= map.channels), "pixels are too close")?;
    // A multiple of the unit that holds the channels holds them padded, too.
    let padded = output.stride.is_multiple_of(UNIT) && output.stride >= output.channels;
    check(padded, "the output is not padded to whole units")?;
    let apart = |input: &Map| match (input.range(), output.range()) {
        (Some(from), Some(to)) => from.end <= to.start || to.end <= from.start || input.is_beside(read(input), output),
        _ => false,
    };
    check(inputs.iter().all(apart), "the output overlaps an input")
}
