//! The segments of a contraction: what a product reads, in the order of its weights.

use std::mem::MaybeUninit;

use crate::kernels::tile::Segment;

/// Maximum segments of a contraction: one for every pixel of the kernel in every input map.
pub const MAX_SEGMENTS: usize = 512;

/// Room for the segments of a contraction.
pub(super) struct Segments {
    room: [MaybeUninit<Segment>; MAX_SEGMENTS],
    count: usize,
}

impl Segments {
    /// No segments.
    pub(super) fn new() -> Self {
        Self { room: [MaybeUninit::uninit(); MAX_SEGMENTS], count: 0 }
    }

    /// Removes all segments.
    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// Adds a segment.
    pub(super) fn push(&mut self, segment: Segment) {
        self.room[self.count].write(segment);
        self.count += 1;
    }

    /// All segments.
    pub(super) fn as_slice(&self) -> &[Segment] {
        // SAFETY: `push` has written that many, from the first on.
        unsafe { std::slice::from_raw_parts(self.room.as_ptr().cast(), self.count) }
    }
}
