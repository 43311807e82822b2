//! Weights: packed while passes are made, and never written again.
//!
//! # Safety
//!
//! - While weights are packed, a single owner writes them, through `&mut`. Afterwards they are shared and not written.
//! - Every address of weights is requested together with the number of values used, which is checked against the packed
//!   length in every build. An address that is only prefetched is never read.

use std::sync::Arc;

use super::pages;
use super::room::Room;
use crate::kernels::error::PassError;
use crate::kernels::size::{self, LINE};

/// Position of packed values among all weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::kernels) struct Packed {
    start: usize,
    length: usize,
}

impl Packed {
    /// Number of values.
    pub(in crate::kernels) fn length(self) -> usize {
        self.length
    }

    /// `length` of the values, starting with number `first`.
    ///
    /// # Panics
    /// If there are fewer.
    pub(in crate::kernels) fn part(self, first: usize, length: usize) -> Self {
        let fits = first <= self.length && length <= self.length - first;
        assert!(fits, "{length} values from {first} on of {} are asked for", self.length);
        Self { start: self.start + first, length }
    }
}

/// Packed weights, appended while passes are made.
#[derive(Debug)]
pub struct Weights {
    /// Their memory; `None` if they are only counted.
    room: Option<Arc<Room>>,
    /// Number of values in use.
    length: usize,
}

impl Weights {
    /// No weights yet. They are moved when their memory is too small.
    #[must_use]
    pub fn new() -> Self {
        Self { room: Some(Arc::new(Room::get(0))), length: 0 }
    }

    /// No weights yet, and memory for `length` values; `None` if memory is insufficient.
    #[must_use]
    pub fn with_room(length: usize) -> Option<Self> {
        Some(Self { room: Some(Arc::new(Room::new(length)?)), length: 0 })
    }

    /// Weights that are counted but not stored.
    #[must_use]
    pub fn counted() -> Self {
        Self { room: None, length: 0 }
    }

    /// These weights in final form; zeros if they were only counted.
    #[must_use]
    pub(in crate::kernels) fn kept(self) -> Self {
        let Self { room, length } = self;
        let room = room.unwrap_or_else(|| Arc::new(Room::get(length)));
        pages::enlarge(Arc::clone(&room));
        Self { room: Some(room), length }
    }

    /// Whether they have reached their final pages.
    #[must_use]
    pub(in crate::kernels) fn are_settled(&self) -> bool {
        self.room.as_ref().is_none_or(|room| Arc::strong_count(room) == 1)
    }

    /// Number of values that `length` weights take, including the zeros after them.
    ///
    /// # Errors
    /// If it overflows.
    pub(in crate::kernels) fn taken(length: usize) -> Result<usize, PassError> {
        size::sum([size::round_up(length, LINE)?, LINE])
    }

    /// Appends `length` values, zeros that `fill` overwrites, and returns their position. They are followed by zeros up
    /// to the next cache line, and one more line of zeros.
    ///
    /// # Errors
    /// If they do not fit into memory.
    pub(in crate::kernels) fn fill(
        &mut self,
        length: usize,
        fill: impl FnOnce(&mut [f32]),
    ) -> Result<Packed, PassError> {
        let start = self.length;
        let end = size::addressable(size::sum([start, Self::taken(length)?])?)?;
        // Nothing else holds the room before the weights are kept.
        if let Some(room) = self.room.as_mut().and_then(Arc::get_mut) {
            if room.length() < end {
                let larger = Room::new(end.max(2 * start));
                let mut larger = larger.ok_or(PassError("there is no memory for the weights"))?;
                larger.values()[..start].copy_from_slice(&room.values()[..start]);
                *room = larger;
            }
            fill(&mut room.values()[start..][..length]);
        }
        self.length = end;
        Ok(Packed { start, length })
    }

    /// Appends `length` values, with `value(i)` as the `i`-th, and returns their position. They are followed by the
    /// same zeros as with [`fill`](Self::fill).
    ///
    /// # Errors
    /// The errors of [`fill`](Self::fill).
    pub(in crate::kernels) fn push(
        &mut self,
        length: usize,
        value: impl FnMut(usize) -> f32,
    ) -> Result<Packed, PassError> {
        let mut values = (0..length).map(value);
        self.fill(length, |to| to.iter_mut().zip(&mut values).for_each(|(to, value)| *to = value))
    }

    /// Number of values, including the zeros between them.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Number of bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.length.saturating_mul(size_of::<f32>())
    }

    /// The address of value `first` of `packed`, from which `length` values are read.
    ///
    /// # Panics
    /// If these weights have fewer; checked in every build.
    pub(in crate::kernels) fn at(&self, packed: Packed, first: usize, length: usize) -> *const f32 {
        let Packed { start, length } = packed.part(first, length);
        let Some(room) = self.room.as_ref().filter(|room| start <= room.length() && length <= room.length() - start)
        else {
            panic!("there are no weights from {start} on");
        };
        room.base().cast_const().wrapping_add(start)
    }

    /// The address `distance` values after the beginning of `packed`, for prefetching: it may lie anywhere, and is
    /// never read.
    pub(in crate::kernels) fn ahead(&self, packed: Packed, distance: usize) -> *const f32 {
        let base = self.room.as_ref().map_or(std::ptr::null(), |room| room.base().cast_const());
        base.wrapping_add(packed.start).wrapping_add(distance)
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self::new()
    }
}
