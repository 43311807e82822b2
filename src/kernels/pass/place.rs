//! What a pass runs on: weights, maps, and scratch of which it knows the length.

use super::super::Kernels;
use super::super::memory::Weights;
use super::Map;

/// What a pass runs on.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Place<'a> {
    pub(in super::super) kernels: &'static Kernels,
    pub(in super::super) weights: &'a Weights,
    /// The first of the activations, which reach as far as every map of every pass.
    pub(in super::super) base: *mut f32,
    /// Scratch of the part that runs, which nobody else uses: what [`Pass::needs`](super::Pass::needs) asks for.
    pub(in super::super) scratch: Scratch,
}

impl Place<'_> {
    /// The address of pixel `index` of `map`.
    pub(super) fn pixel(&self, map: &Map, index: usize) -> *mut f32 {
        debug_assert!(index < map.pixels(), "pixel {index} of {map:?}");
        self.base.wrapping_add(map.offset + index * map.stride)
    }
}

/// Memory that belongs to one part of a pass while it runs. Whoever takes an address of it says how many values are used
/// from there on, and every build looks whether there are as many.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Scratch {
    start: *mut f32,
    length: usize,
}

impl Scratch {
    /// `length` values from `start` on. Whoever runs a pass on them promises that they are writable.
    pub(in super::super) fn new(start: *mut f32, length: usize) -> Self {
        Self { start, length }
    }

    /// The address of the first value, from which on `length` are used. It panics where there are fewer.
    pub(super) fn room(self, length: usize) -> *mut f32 {
        assert!(length <= self.length, "a pass uses {length} values of scratch and has {}", self.length);
        self.start
    }

    /// The first `length` values, and the ones behind them. It panics where there are fewer.
    pub(super) fn split(self, length: usize) -> (Self, Self) {
        let start = self.room(length);
        (Self { start, length }, Self { start: start.wrapping_add(length), length: self.length - length })
    }
}

/// What a pass needs of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Needs {
    /// Values of activations: up to the end of the last map that it touches.
    pub(in super::super) values: usize,
    /// Values of scratch that every part needs for itself.
    pub(in super::super) scratch: usize,
}

impl Needs {
    /// What a pass needs that touches whole units of `maps`, with so many values of scratch.
    pub(super) fn of(maps: &[Map], scratch: usize) -> Self {
        Self { values: maps.iter().map(|map| end(map, map.touched())).max().unwrap_or(0), scratch }
    }

    /// The same for one that reads the channels of `inputs` and nothing behind them.
    pub(super) fn of_channels(inputs: &[Map], output: &Map, scratch: usize) -> Self {
        let inputs = inputs.iter().map(|map| end(map, map.channels)).max().unwrap_or(0);
        Self { values: inputs.max(end(output, output.touched())), scratch }
    }

    /// What both need.
    pub(super) fn max(self, other: Self) -> Self {
        Self { values: self.values.max(other.values), scratch: self.scratch.max(other.scratch) }
    }
}

/// Behind the first `width` values of the last pixel of a map.
fn end(map: &Map, width: usize) -> usize {
    map.range(width).map_or(usize::MAX, |range| range.end)
}
