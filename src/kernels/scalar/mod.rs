//! Kernels in plain Rust, for processors without any of the others.

mod vector;

use super::tile::{Depthwise, Tile};
use super::vector::{depthwise, gemm};
use super::{Isa, Kernels, UNIT};
use vector::Plain;

/// # Safety
/// Those of [`Tile`].
unsafe fn product<const R: usize, const C: usize>(tile: &Tile) {
    // SAFETY: the caller's; plain Rust needs no instruction set.
    unsafe { gemm::<Plain, R, C>(tile) }
}

/// # Safety
/// Those of [`Depthwise`].
unsafe fn row<const STRIDE: usize>(row: &Depthwise) {
    // SAFETY: the caller's; plain Rust needs no instruction set.
    unsafe { depthwise::<Plain, STRIDE>(row) }
}

/// The table.
pub(super) static KERNELS: Kernels = Kernels {
    isa: Isa::Scalar,
    step: UNIT,
    usual: 1,
    gemm: &[&[product::<1, 1>, product::<2, 1>, product::<3, 1>, product::<4, 1>]],
    depthwise: &[[row::<1>, row::<2>]],
};
