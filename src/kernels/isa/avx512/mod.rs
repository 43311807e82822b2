//! Kernels for x86-64 with AVX-512 F and VL.
//!
//! # Safety
//!
//! - [`Avx512::detect`] checks for F and VL, and for AVX2 and FMA, with which the functions of the tables are compiled;
//!   the instructions of [`vector`] need no more than F.
//! - Loads and stores are unaligned ones of 16 values, and of 8 if a width has one more step: a loop takes 16 lanes
//!   while as many remain. Only Strassen's sums step back in the row instead, if a half has at least 16.
//! - A tile has at most [`MAX_ROWS`](super::generic::gemm::MAX_ROWS) rows, for which there are base addresses.
//! - `gemm[steps - 1]` is a kernel for 8 channels for each of the steps, in both tables.

mod table;
mod vector;

use super::avx2::Avx2;
use crate::kernels::table::Kernels;

/// Proof that the processor has AVX-512 F and VL, and also AVX2 and FMA: only [`Self::detect`] makes one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(Avx2);

impl Avx512 {
    /// The proof. `None` if the processor lacks one of the four.
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
        Avx2::detect().filter(|_| has).map(Self)
    }

    /// The kernels of the table that suits the processor best.
    pub(super) fn kernels(self) -> Kernels {
        if is_zen_4() { self.tall() } else { self.wide() }
    }

    /// The kernels of all tables.
    #[cfg(test)]
    pub(super) fn all(self) -> [Kernels; 2] {
        [self.wide(), self.tall()]
    }

    /// The kernels with tiles of many channels.
    fn wide(self) -> Kernels {
        // SAFETY: the processor has AVX-512 F and VL, AVX2 and FMA, as this value proves; the functions of the table
        // are compiled for these.
        unsafe { Kernels::new(&table::WIDE) }
    }

    /// The kernels with tiles of many rows.
    fn tall(self) -> Kernels {
        // SAFETY: the processor has AVX-512 F and VL, AVX2 and FMA, as this value proves; the functions of the table
        // are compiled for these.
        unsafe { Kernels::new(&table::TALL) }
    }
}

/// Whether the processor is of AMD's family 19h, whose members with AVX-512 start one 512-bit multiplication at a time
/// (in two halves).
fn is_zen_4() -> bool {
    use std::arch::x86_64::__cpuid;

    #[allow(unused_unsafe, reason = "safe in newer releases of Rust")]
    // SAFETY: every x86-64 processor with AVX-512 has the instruction, with these two leaves.
    let (vendor, version) = unsafe { (__cpuid(0), __cpuid(1).eax) };
    let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    // The family: bits 8 to 11, plus bits 20 to 27 if these are all set.
    let family = (version >> 8 & 0xf) + (version >> 20 & 0xff);
    name.as_flattened() == b"AuthenticAMD" && family == 0x19
}
