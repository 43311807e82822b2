//! Huge pages for weights: who goes through all of them in every run then waits less for the translation of addresses.
//!
//! Huge pages from the beginning would hold up the start, since the system has to clear and to search for them. A
//! thread puts them in the place of written pages while inference runs already, and leaves it the processor half of the
//! time.
//!
//! # Safety
//!
//! `madvise` gets whole huge pages inside a block that this thread keeps alive. It changes where the values are stored,
//! not the values; if it fails, nothing changes.

use std::sync::Arc;
use std::thread::{Builder, sleep};
use std::time::Instant;

use super::room::Room;

/// Puts huge pages in the place of those of a room, in the background. Where the system cannot, pages stay as they are.
#[cfg(target_os = "linux")]
pub(super) fn enlarge(room: Arc<Room>) {
    if room.block().len() >= LEAST_BYTES {
        // Without the thread, pages stay as they are, too.
        let _ = Builder::new().name("huge-pages".into()).stack_size(STACK_BYTES).spawn(move || collapse(&room));
    }
}

/// Other systems choose their pages themselves.
#[cfg(not(target_os = "linux"))]
pub(super) fn enlarge(_room: Arc<Room>) {}

/// Bytes of a huge page, where it is not larger still.
#[cfg(target_os = "linux")]
const HUGE_BYTES: usize = 2 << 20;

/// Bytes of a room from which on it is done.
#[cfg(target_os = "linux")]
const LEAST_BYTES: usize = 4 * HUGE_BYTES;

/// `MADV_COLLAPSE` of Linux 6.1 (madvise(2)), which not every C library's header has.
#[cfg(target_os = "linux")]
const MADV_COLLAPSE: libc::c_int = 25;

/// Bytes of stack of the thread.
#[cfg(target_os = "linux")]
const STACK_BYTES: usize = 64 << 10;

/// Puts huge pages into the room, one after the other, as long as somebody else has it.
#[cfg(target_os = "linux")]
fn collapse(room: &Arc<Room>) {
    let block = room.block();
    let mut page = block.start.next_multiple_of(HUGE_BYTES);
    while page + HUGE_BYTES <= block.end && Arc::strong_count(room) > 1 {
        let start = Instant::now();
        let address = std::ptr::without_provenance_mut(page);
        // SAFETY: the page lies in the block, which the room keeps, and holds the same values afterwards.
        if unsafe { libc::madvise(address, HUGE_BYTES, MADV_COLLAPSE) } != 0 {
            return;
        }
        page += HUGE_BYTES;
        sleep(start.elapsed());
    }
}
