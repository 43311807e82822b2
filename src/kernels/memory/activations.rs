//! Activations and scratch, written by all threads.
//!
//! # Safety
//!
//! A slice of the values needs `&mut`, which exists only between runs. During a run, threads use the address.

use super::room::Room;

/// Activations and scratch: one block of values, initially zero.
#[derive(Debug)]
pub struct Activations {
    room: Room,
}

impl Activations {
    /// Memory for `length` values; `None` if there is not enough.
    #[must_use]
    pub fn new(length: usize) -> Option<Self> {
        Some(Self { room: Room::new(length)? })
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.room.length()
    }

    /// Whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.room.length() == 0
    }

    /// The values, while no pass runs on them.
    pub fn values(&mut self) -> &mut [f32] {
        self.room.values()
    }

    /// The address of the first value.
    pub(in crate::kernels) fn base(&self) -> *mut f32 {
        self.room.base()
    }
}
