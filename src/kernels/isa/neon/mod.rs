//! Kernels for 64-bit ARM.
//!
//! # Safety
//!
//! - Loads and stores of a row of channels take 8, 4, 2 and 1 values, as many as there are: the remainder of a segment
//!   is read according to the bits of its length. Weights and outputs are whole vectors of 4.
//! - Assembly names every register that it writes, including all 32 vectors and the flags, and uses no stack. It takes
//!   addresses, counts and distances in bytes, which are those of `tile` times the size of a value; an addition that
//!   moves an address past the last row is harmless, because the result is not used.
//! - Assembly that reads a `Segment` relies on the order of its fields, which `repr(C)` keeps, on each having 64 bits,
//!   and on little-endian lanes; `strip` asserts both at compile time.
//! - `gemm[steps - 1]` and `depthwise[steps - 1]` are kernels for 4 channels for each of the steps. Strassen's sums
//!   step back in the row for its last channels, if a half has at least a vector.
//! - The strips of four rows need at least one strip and one segment, which `gemm` checks; the prefetch address
//!   advances by at least one byte, because rounds are counted in its advance.
//! - A row of a depthwise convolution has at least one pixel. With stride 1 it has as many outputs as pixels, with
//!   stride 2 half as many, rounded up.

mod depthwise;
mod gemm;
mod picture;
mod strip;
mod table;
mod vector;
mod words;

use crate::kernels::table::Kernels;

/// Proof that the processor has NEON: only [`Self::detect`] makes one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neon(());

impl Neon {
    /// The proof. `None` if the processor does not have it.
    pub(super) fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    /// The kernels.
    pub(super) fn kernels(self) -> Kernels {
        // SAFETY: the processor has NEON, as this value proves; the functions of the table are compiled for it.
        unsafe { Kernels::new(&table::TABLE) }
    }
}
