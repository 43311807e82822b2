//! Kernels for x86-64 with AVX-512 F and VL.
//!
//! # Safety
//!
//! - [`is_available`] asks for F and VL, and for AVX2 and FMA, with which the functions of the tables are compiled; the
//!   instructions of [`vector`] need no more than F.
//! - Loads and stores are the unaligned ones, of 16 values, and of 8 where a width has one step more: a loop takes 16
//!   lanes as long as there are as many. Only Strassen's sums step back in the row instead, when a half has 16 at least.
//! - A tile has at most [`MAX_ROWS`](super::vector::MAX_ROWS) rows, for which there are base addresses.
//! - `gemm[steps - 1]` is a kernel for 8 channels for each of the steps, in both tables.

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

/// The table that suits the processor.
pub(super) fn kernels() -> Option<&'static Kernels> {
    #[cfg(target_arch = "x86_64")]
    return Some(if is_zen_4() { &table::TALL } else { &table::WIDE });
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// All tables, where the processor can run them.
#[cfg(test)]
pub(super) fn tables() -> Vec<&'static Kernels> {
    #[cfg(target_arch = "x86_64")]
    return if is_available() { vec![&table::WIDE, &table::TALL] } else { Vec::new() };
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}

/// Whether the processor is AMD's family 19h, whose members with AVX-512 begin one multiplication of 512 bits at a time
/// (in two halves).
#[cfg(target_arch = "x86_64")]
fn is_zen_4() -> bool {
    use std::arch::x86_64::__cpuid;

    #[allow(unused_unsafe, reason = "safe in newer releases of Rust")]
    // SAFETY: every processor with AVX-512 has the instruction, with these two leaves.
    let (vendor, version) = unsafe { (__cpuid(0), __cpuid(1).eax) };
    let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    // The family: bits 8 to 11, and when these are all set, bits 20 to 27 in addition.
    let family = (version >> 8 & 0xf) + (version >> 20 & 0xff);
    name.as_flattened() == b"AuthenticAMD" && family == 0x19
}
