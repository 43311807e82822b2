//! The memory that passes work on: weights, which do not change, and activations, which all threads write.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use super::pages;

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
    /// Room for at least `length` values; nothing where there is no memory.
    fn new(length: usize) -> Option<Self> {
        let layout = Self::layout(length)?;
        // SAFETY: the layout has room for a cache line at least.
        let block = unsafe { alloc_zeroed(layout) };
        Some(Self { block: NonNull::new(block)?.cast(), layout, length: length.next_multiple_of(LINE) })
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

/// Packed weights, put one after the other while passes are made.
#[derive(Debug)]
pub struct Weights {
    /// Where they are; nothing where they are counted only.
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

    /// No weights yet, and room for `length` values; nothing where there is no memory.
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
    pub(super) fn taken(length: usize) -> usize {
        length.next_multiple_of(LINE) + LINE
    }

    /// Appends `length` values, zeros that `fill` overwrites: where they begin. They are followed by zeros up to the
    /// next cache line, and one more line of zeros.
    pub(super) fn fill(&mut self, length: usize, fill: impl FnOnce(&mut [f32])) -> usize {
        let start = self.length;
        self.length += Self::taken(length);
        // Nobody else has the room before the weights are kept.
        if let Some(room) = self.room.as_mut().and_then(Arc::get_mut) {
            if room.length < self.length {
                let mut larger = Room::get(self.length.max(2 * start));
                larger.values()[..start].copy_from_slice(&room.values()[..start]);
                *room = larger;
            }
            fill(&mut room.values()[start..][..length]);
        }
        start
    }

    /// Appends `length` values, `value(i)` the `i`-th: where they begin. They are followed as those of
    /// [`fill`](Self::fill).
    pub(super) fn push(&mut self, length: usize, value: impl FnMut(usize) -> f32) -> usize {
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
        self.length * size_of::<f32>()
    }

    /// The address of value `start`, which an earlier `push` or `fill` returned.
    pub(super) fn at(&self, start: usize) -> *const f32 {
        self.room.as_ref().map_or(std::ptr::null(), |room| room.base().cast_const()).wrapping_add(start)
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
    /// Room for `length` values.
    #[must_use]
    pub fn new(length: usize) -> Self {
        Self { room: Room::get(length) }
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
