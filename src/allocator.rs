//! How much freed memory the C library keeps.
//!
//! Every camera that is opened starts and ends GStreamer threads, and glibc creates arenas for threads, up to eight per
//! core. Memory freed in one arena is not available to the others. `benches/reconnects.py` measures the effect.
//!
//! # Safety
//!
//! `mallopt` is called while the process has a single thread, with a parameter and a value that glibc documents.

/// Arenas of the C library: the fewest with which several threads do not wait for each other.
const ARENAS: i32 = 2;

/// Makes threads started later share a few arenas, unless the environment sets their number (mallopt(3)). Does nothing
/// if other threads exist or the C library is not glibc.
pub fn share_arenas() {
    let chosen = ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"].into_iter().any(|name| std::env::var_os(name).is_some());
    if !chosen && is_only_thread() {
        limit(ARENAS);
    }
}

/// Whether the process has only this thread.
fn is_only_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

#[cfg(target_env = "gnu")]
fn limit(arenas: i32) {
    // SAFETY: mallopt takes two numbers and returns 0 for an unknown parameter. What it writes is read by all threads
    // without a lock: the caller has checked that this thread is the only one.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
}

#[cfg(not(target_env = "gnu"))]
fn limit(_: i32) {}
