//! Activations and scratch, which all threads write.
//!
//! # Safety
//!
//! A slice of the values needs `&mut`, which is there between runs only. Within a run, threads have the address.

use super::room::Room;

/// Activations and scratch: one block of values, zero at first.
#[derive(Debug)]
pub struct Activations {
    room: Room,
}

impl Activations {
    /// Room for `length` values; `None` if there is no memory.
    #[must_use]
    pub fn new(length: usize) -> Option<Self> {
        Some(Self { room: Room::new(length)? })
    }

    /// Number of values there is room for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.room.length()
    }

    /// Whether there is no room.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.room.length() == 0
    }

    /// The values, while nobody runs a pass on them.
    pub fn values(&mut self) -> &mut [f32] {
        self.room.values()
    }

    /// The address of the first value.
    pub(in crate::kernels) fn base(&self) -> *mut f32 {
        self.room.base()
    }
}
