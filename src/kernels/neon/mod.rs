//! Kernels for 64-bit ARM.

#[cfg(target_arch = "aarch64")]
mod depthwise;
#[cfg(target_arch = "aarch64")]
mod gemm;
#[cfg(target_arch = "aarch64")]
mod strip;
#[cfg(target_arch = "aarch64")]
mod table;
#[cfg(target_arch = "aarch64")]
mod vector;

use super::Kernels;

/// Whether the processor has NEON.
pub(super) fn is_available() -> bool {
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("neon");
    #[cfg(not(target_arch = "aarch64"))]
    false
}

/// The table, on processors of this kind.
pub(super) fn kernels() -> Option<&'static Kernels> {
    #[cfg(target_arch = "aarch64")]
    return Some(&table::KERNELS);
    #[cfg(not(target_arch = "aarch64"))]
    None
}
