//! Kernels for x86-64 with AVX2 and FMA.
//!
//! # Safety
//!
//! - [`is_available`] asks for both features, and detection includes that the system keeps the registers.
//! - Loads and stores are the unaligned ones, of 8 values: whole steps, no masks, nothing beyond a width.
//! - Prefetches access nothing, whatever their address.

#[cfg(target_arch = "x86_64")]
mod table;
#[cfg(target_arch = "x86_64")]
pub(super) mod vector;

use super::Kernels;

/// Whether the processor has AVX2 and FMA.
pub(super) fn is_available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The table, on processors of this kind.
pub(super) fn kernels() -> Option<&'static Kernels> {
    #[cfg(target_arch = "x86_64")]
    return Some(&table::KERNELS);
    #[cfg(not(target_arch = "x86_64"))]
    None
}
