//! Kernels in plain Rust: the reference for testing all others, the fallback of other instruction sets, and the kernels
//! of processors without any of these.
//!
//! # Safety
//!
//! Vectors are arrays with unaligned reads and writes. No instruction set is needed.

pub(super) mod picture;
pub(super) mod table;
mod vector;
pub(super) mod words;

use crate::kernels::table::Kernels;

/// Proof that the processor can run the kernels in plain Rust: every processor can.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scalar;

impl Scalar {
    /// The kernels.
    pub(super) fn kernels(self) -> Kernels {
        // SAFETY: plain Rust needs no instruction set.
        unsafe { Kernels::new(&table::TABLE) }
    }

    /// The kernels for every step that a table uses.
    #[cfg(test)]
    pub(super) fn all(self) -> [Kernels; 2] {
        // SAFETY: plain Rust needs no instruction set.
        [&table::TABLE, &table::NARROW].map(|table| unsafe { Kernels::new(table) })
    }
}
