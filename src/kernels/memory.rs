//! The memory that passes work on: weights, which do not change, and activations, which all threads write.
//!
//! # Safety
//!
//! - A block has a cache line more than it has values, so that `length` values fit behind its aligned beginning.
//! - While weights are packed, one owner writes them, through `&mut`. Afterwards they are shared and not written.
//! - Activations are [`UnsafeCell`]s. A slice of them needs `&mut`, which is there between runs only.
//! - Every address of weights is taken with the number of values that are used, and compared with what was packed, in every
//!   build. An address that is only prefetched is never read.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use super::pass::PassError;
use super::{pages, size};

/// Values of a cache line: what the beginning of everything is aligned to.
pub const LINE: usize = 16;

/// Bytes of a cache line.
const LINE_BYTES: usize = LINE * size_of::<f32>();

/// A run of values that begins with a cache line, zeros at first. What is never written of it takes no memory where
/// the system hands out pages on demand.
#[derive(Debug)]
pub(super) struct Room {
    /// What was allocated: one cache line more than there are values, and as `layout` says.
    block: NonNull<UnsafeCell<f32>>,
    layout: Layout,
    /// Number of values.
    length: usize,
}

// SAFETY: a room owns its values as a vector does.
unsafe impl Send for Room {}

// SAFETY: values are written through a shared reference by passes only. A pass writes what no other part of the
// same pass reads or writes, and whoever runs passes on several threads lets all parts of one end before the next
// begins.
unsafe impl Sync for Room {}

impl Room {
    /// Room for at least `length` values; `None` if there is no memory.
    fn new(length: usize) -> Option<Self> {
        let layout = Self::layout(length)?;
        // SAFETY: the layout has room for a cache line at least.
        let block = unsafe { alloc_zeroed(layout) };
        Some(Self { block: NonNull::new(block)?.cast(), layout, length: length.checked_next_multiple_of(LINE)? })
    }

    /// Room for at least `length` values, without which nothing goes on.
    fn get(length: usize) -> Self {
        let layout = || Self::layout(length).unwrap_or(Layout::new::<f32>());
        Self::new(length).unwrap_or_else(|| handle_alloc_error(layout()))
    }

    /// What is allocated for `length` values. Memory of the alignment of a value comes zeroed from the system, which
    /// larger alignments would have written with zeros.
    fn layout(length: usize) -> Option<Layout> {
        let values = length.checked_next_multiple_of(LINE)?.checked_add(LINE)?;
        Layout::array::<UnsafeCell<f32>>(values).ok()
    }

    /// The bytes that were allocated.
    pub(super) fn block(&self) -> Range<usize> {
        let start = self.block.as_ptr().addr();
        start..start + self.layout.size()
    }

    /// The address of the first value.
    fn base(&self) -> *mut f32 {
        let block = UnsafeCell::raw_get(self.block.as_ptr());
        let beyond = block.addr() % LINE_BYTES;
        block.wrapping_byte_add(if beyond == 0 { 0 } else { LINE_BYTES - beyond })
    }

    /// All values.
    fn values(&mut self) -> &mut [f32] {
        // SAFETY: that many values follow, all of them written with zeros at first; the exclusive reference covers
        // them all.
        unsafe { std::slice::from_raw_parts_mut(self.base(), self.length) }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: the block was allocated with this layout, and nobody has it any more.
        unsafe { dealloc(self.block.as_ptr().cast(), self.layout) }
    }
}

/// Where packed values are among all weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Packed {
    start: usize,
    length: usize,
}

impl Packed {
    /// Number of values.
    pub(super) fn length(self) -> usize {
        self.length
    }

    /// `length` of them from number `first` on. It panics where there are fewer.
    pub(super) fn part(self, first: usize, length: usize) -> Self {
        let fits = first <= self.length && length <= self.length - first;
        assert!(fits, "{length} values from {first} on of {} are asked for", self.length);
        Self { start: self.start + first, length }
    }
}

/// Packed weights, put one after the other while passes are made.
#[derive(Debug)]
pub struct Weights {
    /// Where they are; `None` if they are only counted.
    room: Option<Arc<Room>>,
    /// Number of values that are taken.
    length: usize,
}

impl Weights {
    /// No weights yet. They are moved when there is no room for more.
    #[must_use]
    pub fn new() -> Self {
        Self { room: Some(Arc::new(Room::get(0))), length: 0 }
    }

    /// No weights yet, and room for `length` values; `None` if there is no memory.
    #[must_use]
    pub fn with_room(length: usize) -> Option<Self> {
        Some(Self { room: Some(Arc::new(Room::new(length)?)), length: 0 })
    }

    /// Weights that are counted and not kept.
    #[must_use]
    pub fn counted() -> Self {
        Self { room: None, length: 0 }
    }

    /// These weights, of which no more will be; zeros where they were counted only.
    #[must_use]
    pub(super) fn kept(self) -> Self {
        let Self { room, length } = self;
        let room = room.unwrap_or_else(|| Arc::new(Room::get(length)));
        pages::enlarge(Arc::clone(&room));
        Self { room: Some(room), length }
    }

    /// Whether they lie in the pages in which they will stay.
    #[must_use]
    pub(super) fn are_settled(&self) -> bool {
        self.room.as_ref().is_none_or(|room| Arc::strong_count(room) == 1)
    }

    /// Values that `length` of them take with the zeros behind them.
    ///
    /// # Errors
    /// It overflows.
    pub(super) fn taken(length: usize) -> Result<usize, PassError> {
        size::sum([size::round_up(length, LINE)?, LINE])
    }

    /// Appends `length` values, zeros that `fill` overwrites: where they are. They are followed by zeros up to the
    /// next cache line, and one more line of zeros.
    ///
    /// # Errors
    /// No memory has room for them.
    pub(super) fn fill(&mut self, length: usize, fill: impl FnOnce(&mut [f32])) -> Result<Packed, PassError> {
        let start = self.length;
        let end = size::addressable(size::sum([start, Self::taken(length)?])?)?;
        // Nobody else has the room before the weights are kept.
        if let Some(room) = self.room.as_mut().and_then(Arc::get_mut) {
            if room.length < end {
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

    /// Appends `length` values, `value(i)` the `i`-th: where they are. They are followed as those of
    /// [`fill`](Self::fill).
    ///
    /// # Errors
    /// Those of [`fill`](Self::fill).
    pub(super) fn push(&mut self, length: usize, value: impl FnMut(usize) -> f32) -> Result<Packed, PassError> {
        let mut values = (0..length).map(value);
        self.fill(length, |to| to.iter_mut().zip(&mut values).for_each(|(to, value)| *to = value))
    }

    /// Number of values, with the zeros between them.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Number of bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.length.saturating_mul(size_of::<f32>())
    }

    /// The address of value number `first` of `packed`, from which on `length` are read. Every build looks whether these
    /// weights have as many: it panics where they have fewer.
    pub(super) fn at(&self, packed: Packed, first: usize, length: usize) -> *const f32 {
        let Packed { start, length } = packed.part(first, length);
        let Some(room) = self.room.as_ref().filter(|room| start <= room.length && length <= room.length - start) else {
            panic!("there are no weights from {start} on");
        };
        room.base().cast_const().wrapping_add(start)
    }

    /// The address of the value that is `distance` behind the beginning of `packed`, to be asked for ahead of its use: it
    /// may lie anywhere, and nobody reads it.
    pub(super) fn ahead(&self, packed: Packed, distance: usize) -> *const f32 {
        let base = self.room.as_ref().map_or(std::ptr::null(), |room| room.base().cast_const());
        base.wrapping_add(packed.start).wrapping_add(distance)
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self::new()
    }
}

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
        self.room.length
    }

    /// Whether there is no room.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.room.length == 0
    }

    /// The values, while nobody runs a pass on them.
    pub fn values(&mut self) -> &mut [f32] {
        self.room.values()
    }

    /// The address of the first value.
    pub(super) fn base(&self) -> *mut f32 {
        self.room.base()
    }
}
