//! The memory that passes work on: weights, which do not change, and activations, which all threads write.

use std::cell::UnsafeCell;

/// A cache line: what the beginning of everything is aligned to.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Values of a cache line.
pub const LINE: usize = 16;

/// Packed weights, put one after the other while passes are made.
#[derive(Debug, Default)]
pub struct Weights {
    lines: Vec<Line>,
}

impl Weights {
    /// No weights yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `length` values, `value(i)` the `i`-th: where they begin. They are followed by zeros up to the
    /// next cache line, and one more line of zeros.
    pub(super) fn push(&mut self, length: usize, mut value: impl FnMut(usize) -> f32) -> usize {
        let start = self.lines.len() * LINE;
        for first in (0..length).step_by(LINE) {
            let mut line = Line([0.0; LINE]);
            for (lane, to) in line.0.iter_mut().enumerate().take(length - first) {
                *to = value(first + lane);
            }
            self.lines.push(line);
        }
        self.lines.push(Line([0.0; LINE]));
        start
    }

    /// Number of bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice())
    }

    /// The address of value `start`, which an earlier `push` returned.
    pub(super) fn at(&self, start: usize) -> *const f32 {
        self.lines.as_ptr().cast::<f32>().wrapping_add(start)
    }
}

/// Activations and scratch: one block of values, zero at first.
#[derive(Debug)]
pub struct Activations {
    lines: Box<[UnsafeCell<Line>]>,
}

// SAFETY: only passes reach the values through a shared reference. A pass writes what no other part of the
// same pass reads or writes, and whoever runs passes on several threads lets all parts of one end before
// the next begins.
unsafe impl Sync for Activations {}

impl Activations {
    /// Room for `length` values.
    #[must_use]
    pub fn new(length: usize) -> Self {
        let lines = (0..length.div_ceil(LINE)).map(|_| UnsafeCell::new(Line([0.0; LINE])));
        Self { lines: lines.collect() }
    }

    /// Number of values there is room for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len() * LINE
    }

    /// Whether there is no room.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The values, while nobody runs a pass on them.
    pub fn values(&mut self) -> &mut [f32] {
        let (start, length) = (self.lines.as_mut_ptr().cast::<f32>(), self.len());
        // SAFETY: the lines are that many values, and the exclusive reference covers them all.
        unsafe { std::slice::from_raw_parts_mut(start, length) }
    }

    /// The address of the first value.
    pub(super) fn base(&self) -> *mut f32 {
        UnsafeCell::raw_get(self.lines.as_ptr()).cast()
    }
}
