//! The segments of a contraction: what is read for a product, in the order of its weights.

use std::mem::MaybeUninit;

use crate::kernels::tile::Segment;

/// Most segments of a contraction: one for every pixel of the kernel in every map that is read.
pub const MAX_SEGMENTS: usize = 512;

/// Room for the segments of a contraction.
pub(super) struct Segments {
    room: [MaybeUninit<Segment>; MAX_SEGMENTS],
    count: usize,
}

impl Segments {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { room: [MaybeUninit::uninit(); MAX_SEGMENTS], count: 0 }
    }

    /// Takes all away.
    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// One more.
    pub(super) fn push(&mut self, segment: Segment) {
        self.room[self.count].write(segment);
        self.count += 1;
    }

    /// All of them.
    pub(super) fn as_slice(&self) -> &[Segment] {
        // SAFETY: `push` has written as many from the first on.
        unsafe { std::slice::from_raw_parts(self.room.as_ptr().cast(), self.count) }
    }
}
