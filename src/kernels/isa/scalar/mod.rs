//! Kernels in plain Rust: what all others are tested against, what other instruction sets fall back on, and what
//! processors without any of these run.
//!
//! # Safety
//!
//! Vectors are arrays that are read and written unaligned. No instruction set is needed.

pub(super) mod table;
mod vector;

use crate::kernels::table::Kernels;

/// Proof that the processor can run the kernels in plain Rust: every one can.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scalar;

impl Scalar {
    /// The kernels.
    pub(super) fn kernels(self) -> Kernels {
        // SAFETY: plain Rust needs no instruction set.
        unsafe { Kernels::new(&table::TABLE) }
    }

    /// The kernels with every step that a table has.
    #[cfg(test)]
    pub(super) fn all(self) -> [Kernels; 2] {
        // SAFETY: plain Rust needs no instruction set.
        [&table::TABLE, &table::NARROW].map(|table| unsafe { Kernels::new(table) })
    }
}
