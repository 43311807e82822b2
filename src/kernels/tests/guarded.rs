//! Memory that ends exactly where it should: an access one value before or after it faults.

use std::ptr::{NonNull, null_mut};

/// Values directly before inaccessible memory, or directly after it.
pub(crate) struct Guarded<T = f32> {
    start: NonNull<T>,
    length: usize,
    map: *mut libc::c_void,
    bytes: usize,
}

impl<T: Copy> Guarded<T> {
    /// The values of `from`, ending at the end of a page.
    pub(crate) fn behind(from: &[T]) -> Self {
        Self::new(from, true)
    }

    /// The values of `from`, beginning at the beginning of a page.
    pub(crate) fn before(from: &[T]) -> Self {
        Self::new(from, false)
    }

    fn new(from: &[T], at_end: bool) -> Self {
        // SAFETY: this only queries a number.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap();
        let room = size_of_val(from).max(1).next_multiple_of(page);
        let bytes = room + 2 * page;
        // SAFETY: this allocates new memory; its first and last page are left inaccessible.
        let map = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let map = libc::mmap(null_mut(), bytes, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(map, libc::MAP_FAILED);
            let access = libc::PROT_READ | libc::PROT_WRITE;
            assert_eq!(libc::mprotect(map.wrapping_byte_add(page), room, access), 0);
            map
        };
        let slack = if at_end { room - size_of_val(from) } else { 0 };
        let start = NonNull::new(map.wrapping_byte_add(page + slack).cast::<T>()).unwrap();
        let mut guarded = Self { start, length: from.len(), map, bytes };
        guarded.values_mut().copy_from_slice(from);
        guarded
    }

    pub(crate) fn as_ptr(&self) -> *mut T {
        self.start.as_ptr()
    }

    pub(crate) fn values(&self) -> &[T] {
        // SAFETY: that many values are accessible from there on.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    fn values_mut(&mut self) -> &mut [T] {
        // SAFETY: that many values are accessible from there on.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the memory belongs to this value, and nothing uses it any more.
        unsafe { libc::munmap(self.map, self.bytes) };
    }
}
