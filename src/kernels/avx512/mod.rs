//! Kernels for x86-64 with AVX-512 F and VL.

#[cfg(target_arch = "x86_64")]
mod table;
#[cfg(target_arch = "x86_64")]
mod vector;

use super::Kernels;

/// Whether the processor has AVX-512 F and VL.
pub(super) fn is_available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return super::avx2::is_available() && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
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
