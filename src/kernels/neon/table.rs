//! The kernels with NEON: tiles of 16 rows by 4 to 24 channels, within 32 registers strip by strip.

use super::super::tile::{Depthwise, Tile};
use super::super::vector::{Vector, depthwise};
use super::super::{Isa, Kernels};
use super::gemm::gemm;
use super::vector::{F32x4, Pair};

/// # Safety
/// Those of [`Tile`], and a processor with NEON.
#[target_feature(enable = "neon")]
unsafe fn product<const R: usize, const C: usize>(tile: &Tile) {
    // SAFETY: the caller's.
    unsafe { gemm::<C>(tile, R) }
}

/// # Safety
/// Those of [`Depthwise`], and a processor with NEON.
#[target_feature(enable = "neon")]
unsafe fn row<V: Vector, const STRIDE: usize>(row: &Depthwise) {
    // SAFETY: the caller's.
    unsafe { depthwise::<V, STRIDE>(row) }
}

/// Tiles of 1 to 16 rows by some vectors.
macro_rules! rows {
    ($vectors:literal) => {
        &[
            product::<1, $vectors>,
            product::<2, $vectors>,
            product::<3, $vectors>,
            product::<4, $vectors>,
            product::<5, $vectors>,
            product::<6, $vectors>,
            product::<7, $vectors>,
            product::<8, $vectors>,
            product::<9, $vectors>,
            product::<10, $vectors>,
            product::<11, $vectors>,
            product::<12, $vectors>,
            product::<13, $vectors>,
            product::<14, $vectors>,
            product::<15, $vectors>,
            product::<16, $vectors>,
        ]
    };
}

/// The table.
pub(in super::super) static KERNELS: Kernels = Kernels {
    isa: Isa::Neon,
    step: F32x4::LANES,
    gemm: &[rows!(1), rows!(2), rows!(3), rows!(4), rows!(5)],
    depthwise: &[[row::<F32x4, 1>, row::<F32x4, 2>], [row::<Pair, 1>, row::<Pair, 2>]],
};
