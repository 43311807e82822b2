//! The memory that a pass runs on: weights, maps, and scratch of known length.

use super::map::Map;
use crate::kernels::memory::Weights;
use crate::kernels::table::Kernels;

/// The memory that a pass runs on.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct Place<'a> {
    pub(in crate::kernels) kernels: Kernels,
    pub(in crate::kernels) weights: &'a Weights,
    /// The first of the activations, which cover every map of every pass.
    pub(in crate::kernels) base: *mut f32,
    /// Scratch of the running part, which nothing else uses: as much as the pass needs.
    pub(in crate::kernels) scratch: Scratch,
}

impl Place<'_> {
    /// The address of pixel `index` of `map`.
    pub(super) fn pixel(&self, map: &Map, index: usize) -> *mut f32 {
        debug_assert!(index < map.pixels(), "pixel {index} of {map:?}");
        self.base.wrapping_add(map.offset + index * map.stride)
    }
}

/// Memory that belongs to one part of a pass while it runs. Code that takes an address of it states how many values it
/// uses from there, which every build checks.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct Scratch {
    start: *mut f32,
    length: usize,
}

impl Scratch {
    /// `length` values from `start` on. Whoever runs a pass on them guarantees that they are writable.
    pub(in crate::kernels) fn new(start: *mut f32, length: usize) -> Self {
        Self { start, length }
    }

    /// The address of the first value, from which `length` values are used. Panics if there are fewer.
    pub(super) fn room(self, length: usize) -> *mut f32 {
        assert!(length <= self.length, "a pass uses {length} values of scratch and has {}", self.length);
        self.start
    }

    /// The first `length` values, and the rest. Panics if there are fewer.
    pub(super) fn split(self, length: usize) -> (Self, Self) {
        let start = self.room(length);
        (Self { start, length }, Self { start: start.wrapping_add(length), length: self.length - length })
    }
}
