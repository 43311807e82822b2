//! Kernels for x86-64 with AVX2 and FMA.
//!
//! # Safety
//!
//! - [`Avx2::detect`] checks for both features, and detection includes that the system saves the registers.
//! - Loads and stores are unaligned ones of 8 values: whole steps, no masks, nothing beyond a width. Those for pictures are
//!   of 16 words, or of half or twice as many.
//! - Prefetches access nothing, whatever their address.

pub(super) mod picture;
mod table;
pub(super) mod vector;
mod words;

use crate::kernels::table::Kernels;

/// Proof that the processor has AVX2 and FMA: only [`Self::detect`] makes one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// The proof. `None` if the processor lacks one of the two.
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }

    /// The kernels.
    pub(super) fn kernels(self) -> Kernels {
        // SAFETY: the processor has AVX2 and FMA, as this value proves; the functions of the table are compiled for
        // these.
        unsafe { Kernels::new(&table::TABLE) }
    }
}
