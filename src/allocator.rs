//! How much of the memory that is freed the C library keeps.
//!
//! Every camera that is opened starts and ends threads of GStreamer, and glibc gives threads arenas of their own, up to
//! eight for each core. What one of them has freed the others cannot use. `benches/reconnects.py` measures what comes of
//! it.

/// Arenas of the C library: the fewest that several threads do not wait for each other in.
const ARENAS: i32 = 2;

/// Has the threads share a few arenas, unless the environment says how many (mallopt(3)). Before other threads are
/// started. Does nothing where the C library is not glibc.
pub fn share_arenas() {
    let chosen = ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"].into_iter().any(|name| std::env::var_os(name).is_some());
    if !chosen {
        limit(ARENAS);
    }
}

#[cfg(target_env = "gnu")]
fn limit(arenas: i32) {
    // SAFETY: mallopt takes two numbers and may be called at any time; an unknown parameter only makes it return 0.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
}

#[cfg(not(target_env = "gnu"))]
fn limit(_: i32) {}
