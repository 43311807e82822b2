//! How much of the memory that is freed the C library keeps.
//!
//! Every camera that is opened starts and ends threads of GStreamer, and glibc gives threads arenas of their own, up to
//! eight for each core. What one of them has freed the others cannot use. `benches/reconnects.py` measures what comes of
//! it.
//!
//! # Safety
//!
//! `mallopt` is called while the process has one thread, with a parameter and a value that glibc documents.

/// Arenas of the C library: the fewest that several threads do not wait for each other in.
const ARENAS: i32 = 2;

/// Has the threads that are started later share a few arenas, unless the environment says how many (mallopt(3)). Does
/// nothing if there are other threads already, or if the C library is not glibc.
pub fn share_arenas() {
    let chosen = ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"].into_iter().any(|name| std::env::var_os(name).is_some());
    if !chosen && is_only_thread() {
        limit(ARENAS);
    }
}

/// Whether the process has no other thread.
fn is_only_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

#[cfg(target_env = "gnu")]
fn limit(arenas: i32) {
    // SAFETY: mallopt takes two numbers, and returns 0 for a parameter that it does not know. What it writes is read by
    // all threads without a lock: there is this one only, and the caller has looked.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
}

#[cfg(not(target_env = "gnu"))]
fn limit(_: i32) {}
