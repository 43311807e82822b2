//! Huge pages for weights: each run reads all of them, and address translation then takes less time.
//!
//! Using huge pages from the beginning would delay the start, because the system has to find and clear them. A thread
//! replaces written pages with huge ones while inference is already running, and sleeps half of the time.
//!
//! # Safety
//!
//! `madvise` gets whole huge pages inside a block that this thread keeps alive. It changes where the values are stored,
//! not the values; if it fails, nothing changes.

use std::sync::Arc;
use std::thread::{Builder, sleep};
use std::time::Instant;

use super::room::Room;

/// Replaces the pages of a room with huge ones, in the background. If the system does not support this, pages stay as
/// they are.
#[cfg(target_os = "linux")]
pub(super) fn enlarge(room: Arc<Room>) {
    if room.block().len() >= LEAST_BYTES {
        // If the thread cannot be started, pages stay as they are, too.
        let _ = Builder::new().name("huge-pages".into()).stack_size(STACK_BYTES).spawn(move || collapse(&room));
    }
}

/// Other systems choose their pages themselves.
#[cfg(not(target_os = "linux"))]
pub(super) fn enlarge(_room: Arc<Room>) {}

/// Bytes of a huge page, unless it is larger still.
#[cfg(target_os = "linux")]
const HUGE_BYTES: usize = 2 << 20;

/// Minimum size, in bytes, of a room that gets huge pages.
#[cfg(target_os = "linux")]
const LEAST_BYTES: usize = 4 * HUGE_BYTES;

/// `MADV_COLLAPSE` of Linux 6.1 (madvise(2)), which some C library headers lack.
#[cfg(target_os = "linux")]
const MADV_COLLAPSE: libc::c_int = 25;

/// Stack size of the thread in bytes.
#[cfg(target_os = "linux")]
const STACK_BYTES: usize = 64 << 10;

/// Puts huge pages into the room one by one, as long as something else still holds it.
#[cfg(target_os = "linux")]
fn collapse(room: &Arc<Room>) {
    let block = room.block();
    let mut page = block.start.next_multiple_of(HUGE_BYTES);
    while page + HUGE_BYTES <= block.end && Arc::strong_count(room) > 1 {
        let start = Instant::now();
        let address = std::ptr::without_provenance_mut(page);
        // SAFETY: the page lies in the block, which the room keeps alive, and holds the same values afterwards.
        if unsafe { libc::madvise(address, HUGE_BYTES, MADV_COLLAPSE) } != 0 {
            return;
        }
        page += HUGE_BYTES;
        sleep(start.elapsed());
    }
}
