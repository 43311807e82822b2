//! Maps, and checks that a pass may touch them.

use std::ops::Range;

use crate::kernels::error::{PassError, check};
use crate::kernels::size::{self, UNIT, product};

/// A map in memory: NHWC, rows without gaps between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Map {
    /// Position of channel 0 of the first pixel, in values from the beginning.
    pub offset: usize,
    /// Rows.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// Values from one pixel to the next, at least `channels`. For maps that passes write, a multiple of [`UNIT`].
    pub stride: usize,
}

impl Map {
    /// A map with pixels padded to whole units.
    #[must_use]
    pub fn padded(offset: usize, height: usize, width: usize, channels: usize) -> Self {
        // Every pass rejects a length that is too large for this.
        let stride = channels.checked_next_multiple_of(UNIT).unwrap_or(channels);
        Self { offset, height, width, channels, stride }
    }

    /// Number of pixels.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// Number of values that it takes in memory; `None` if it overflows.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        product(&[self.height, self.width, self.stride]).ok()
    }

    /// Channels in whole units.
    pub(super) fn padded_channels(&self) -> usize {
        self.channels.checked_next_multiple_of(UNIT).unwrap_or(usize::MAX)
    }

    /// Values of a pixel that passes may touch: all channels, in whole units if there is room.
    pub(super) fn touched(&self) -> usize {
        self.padded_channels().min(self.stride)
    }

    /// From the first value to the end of the first `width` values of the last pixel.
    pub(super) fn range(&self, width: usize) -> Result<Range<usize>, PassError> {
        let Some(last) = product(&[self.height, self.width])?.checked_sub(1) else {
            return Ok(self.offset..self.offset);
        };
        Ok(self.offset..size::sum([self.offset, product(&[last, self.stride])?, width])?)
    }

    /// Whether the first `width` values of its pixels and all values of the pixels of `other` that passes may touch lie
    /// next to each other in the pixels of a third map.
    fn is_beside(&self, width: usize, other: &Self) -> bool {
        if self.stride != other.stride || self.stride == 0 {
            return false;
        }
        let [here, there] = [self.offset, other.offset].map(|offset| offset % self.stride);
        let distance = if there >= here { there - here } else { self.stride - (here - there) };
        width <= distance && distance.checked_add(other.touched()).is_some_and(|end| end <= self.stride)
    }
}

/// Checks that windows of `kernel` rows and columns, `stride` apart, fit `input` and `output`: every window has a value
/// of the map. The first `before` rows and columns are padding, and so is everything beyond the end of the map.
pub(super) fn check_windows(
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
        // The end of a window is computed, too.
        last.checked_add(kernel[axis])?;
        Some(last < inputs[axis].checked_add(before[axis])?)
    };
    let inside = [0, 1].into_iter().all(|axis| begins(axis).unwrap_or(false));
    check(inside, "the output has more windows than the input")
}

/// The total number of channels of all maps.
pub(super) fn channels(maps: &[Map]) -> Result<usize, PassError> {
    size::sum(maps.iter().map(|map| map.channels))
}

/// Checks that the maps lie in memory of `length` values, and that `output` overlaps none of `inputs`, which are read
/// in whole units.
pub(super) fn check_maps(inputs: &[Map], output: &Map, length: usize) -> Result<(), PassError> {
    check_memory(inputs, output, length, Map::touched)
}

/// Like [`check_maps`], for a pass that reads the channels of its inputs and nothing after them.
pub(super) fn check_channels(inputs: &[Map], output: &Map, length: usize) -> Result<(), PassError> {
    check_memory(inputs, output, length, |map| map.channels.min(map.stride))
}

fn check_memory(inputs: &[Map], output: &Map, length: usize, read: impl Fn(&Map) -> usize) -> Result<(), PassError> {
    let range =
        |map: &Map, width: usize| map.range(width).ok().filter(|range| range.end <= length && !range.is_empty());
    let to = range(output, output.touched());
    let Some(to) = to else { return Err(PassError("a map does not lie in memory")) };
    for input in inputs {
        // If there are no channels, another check reports that.
        check(range(input, read(input).max(1)).is_some(), "a map does not lie in memory")?;
    }
    // For maps of one pixel, nothing else bounds the stride.
    inputs.iter().chain([output]).try_for_each(|map| size::addressable(map.stride).map(drop))?;
    check(inputs.iter().all(|map| map.channels > 0 && map.stride >= map.channels), "pixels are too close")?;
    // A multiple of the unit that holds the channels also holds the padded channels.
    let padded = output.stride.is_multiple_of(UNIT) && output.stride >= output.channels;
    check(padded, "the output is not padded to whole units")?;
    let apart = |input: &Map| {
        let from = range(input, read(input));
        from.is_some_and(|from| from.end <= to.start || to.end <= from.start) || input.is_beside(read(input), output)
    };
    check(inputs.iter().all(apart), "the output overlaps an input")
}
