//! Blocks of values aligned to a cache line.
//!
//! # Safety
//!
//! - A block is a cache line larger than its values, so that `length` values fit after its aligned beginning.
//! - Values are [`UnsafeCell`]s. A slice of them needs `&mut`.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::ptr::NonNull;

use crate::kernels::size::LINE;

/// Bytes of a cache line.
const LINE_BYTES: usize = LINE * size_of::<f32>();

/// A sequence of values that begins with a cache line, initially zero. Parts that are never written take no memory if
/// the system allocates pages on demand.
#[derive(Debug)]
pub(super) struct Room {
    /// The allocation: one cache line more than the values, according to `layout`.
    block: NonNull<UnsafeCell<f32>>,
    layout: Layout,
    /// Number of values.
    length: usize,
}

// SAFETY: a room owns its values, like a `Vec`.
unsafe impl Send for Room {}

// SAFETY: only passes write values through a shared reference. A pass writes what no other part of the same pass reads
// or writes, and code that runs passes on several threads lets all parts of one end before the next begins.
unsafe impl Sync for Room {}

impl Room {
    /// A room for at least `length` values; `None` if memory is insufficient.
    pub(super) fn new(length: usize) -> Option<Self> {
        let layout = Self::layout(length)?;
        // SAFETY: the layout includes at least a cache line, so it is not empty.
        let block = unsafe { alloc_zeroed(layout) };
        Some(Self { block: NonNull::new(block)?.cast(), layout, length: length.checked_next_multiple_of(LINE)? })
    }

    /// A room for at least `length` values; aborts if memory is insufficient.
    pub(super) fn get(length: usize) -> Self {
        let layout = || Self::layout(length).unwrap_or(Layout::new::<f32>());
        Self::new(length).unwrap_or_else(|| handle_alloc_error(layout()))
    }

    /// The allocation for `length` values. Memory with the alignment of a value comes zeroed from the system; larger
    /// alignments would cause it to be written with zeros.
    fn layout(length: usize) -> Option<Layout> {
        let values = length.checked_next_multiple_of(LINE)?.checked_add(LINE)?;
        Layout::array::<UnsafeCell<f32>>(values).ok()
    }

    /// The allocated bytes.
    pub(super) fn block(&self) -> Range<usize> {
        let start = self.block.as_ptr().addr();
        start..start + self.layout.size()
    }

    /// Number of values.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The address of the first value.
    pub(super) fn base(&self) -> *mut f32 {
        let block = UnsafeCell::raw_get(self.block.as_ptr());
        let beyond = block.addr() % LINE_BYTES;
        block.wrapping_byte_add(if beyond == 0 { 0 } else { LINE_BYTES - beyond })
    }

    /// All values.
    pub(super) fn values(&mut self) -> &mut [f32] {
        // SAFETY: that many values follow, all of them initialised with zeros; the exclusive reference covers them all.
        unsafe { std::slice::from_raw_parts_mut(self.base(), self.length) }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: the block was allocated with this layout, and nothing refers to it any more.
        unsafe { dealloc(self.block.as_ptr().cast(), self.layout) }
    }
}
