//! Blocks of values that begin with a cache line.
//!
//! # Safety
//!
//! - A block has a cache line more than it has values, so that `length` values fit behind its aligned beginning.
//! - Values are [`UnsafeCell`]s. A slice of them needs `&mut`.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::ptr::NonNull;

use crate::kernels::size::LINE;

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
    pub(super) fn new(length: usize) -> Option<Self> {
        let layout = Self::layout(length)?;
        // SAFETY: the layout has room for a cache line at least, so that it is not empty.
        let block = unsafe { alloc_zeroed(layout) };
        Some(Self { block: NonNull::new(block)?.cast(), layout, length: length.checked_next_multiple_of(LINE)? })
    }

    /// Room for at least `length` values, without which nothing goes on.
    pub(super) fn get(length: usize) -> Self {
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
