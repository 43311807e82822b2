//! Kernels for 64-bit ARM.
//!
//! # Safety
//!
//! - Loads and stores of a row of channels take 8, 4, 2 and 1 values, as many as there are: what is left of a segment
//!   is read by the bits of its length. Weights and outputs are whole vectors of 4.
//! - Assembly names every register that it writes, all 32 vectors and the flags included, and uses no stack. It takes
//!   addresses, counts and distances in bytes, which are those of `tile` times the size of a value; what moves an
//!   address behind the last row is added and not used.
//! - Assembly that reads a `Segment` relies on the order of its fields, which `repr(C)` keeps, each of 64 bits, and on
//!   little-endian lanes; `strip` asserts both when it is compiled.
//! - `gemm[steps - 1]` and `depthwise[steps - 1]` are kernels for 4 channels for each of the steps. Strassen's sums
//!   step back in the row for its last channels, when a half has a vector at least.
//! - The strips of four rows need at least one of them and one segment, which `gemm` looks at; what is prefetched moves
//!   by at least one byte, since the rounds are counted in these.
//! - A row of a depthwise convolution has at least one pixel. With stride 1 it has as many outputs as pixels, with
//!   stride 2 half as many, rounded up.

mod depthwise;
mod gemm;
mod strip;
mod table;
mod vector;

use crate::kernels::table::Kernels;

/// Proof that the processor has NEON: only [`Self::detect`] makes one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neon(());

impl Neon {
    /// The proof. `None` if the processor has none.
    pub(super) fn detect() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    /// The kernels.
    pub(super) fn kernels(self) -> Kernels {
        // SAFETY: the processor has NEON, which this value proves; the functions of the table are compiled for it.
        unsafe { Kernels::new(&table::TABLE) }
    }
}
