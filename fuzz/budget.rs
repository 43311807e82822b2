//! Limits the memory that reading an input may take: in proportion to its length, with a fixed minimum for short
//! inputs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts allocated memory.
struct Counting;

/// Allocated bytes.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// Maximum allowed.
static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);

// SAFETY: every call is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed).saturating_add(layout.size());
        let most = MOST.load(Ordering::Relaxed);
        if live > most {
            // Writing the message allocates as well.
            MOST.store(usize::MAX, Ordering::Relaxed);
            let _ = writeln!(std::io::stderr(), "{live} bytes are allocated, and {most} may be");
            std::process::abort();
        }
        // SAFETY: the caller upholds the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Does `work` with an input of `length` bytes, for which `floor` bytes and `factor` for each of its own may be allocated
/// at one time. More ends the program, which the fuzzer reports.
pub fn within(length: usize, floor: usize, factor: usize, work: impl FnOnce()) {
    let most = LIVE.load(Ordering::Relaxed) + floor + factor * length;
    MOST.store(most, Ordering::Relaxed);
    work();
    MOST.store(usize::MAX, Ordering::Relaxed);
}
