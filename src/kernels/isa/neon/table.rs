//! The kernels with NEON: tiles of 28 rows by 4 to 24 channels, within 32 registers strip by strip.

use super::super::generic::depthwise::depthwise;
use super::super::generic::peak;
use super::super::generic::pool::largest;
use super::super::generic::strassen::{strassen_input, strassen_output};
use super::super::generic::vector::Vector;
use super::super::generic::winograd::{winograd_input, winograd_output, winograd_weights};
use super::super::scalar::table::Defaults;
use super::depthwise::pair;
use super::gemm::gemm;
use super::picture;
use super::vector::{F32x4, Pair};
use crate::kernels::table::{Isa, Table};
use crate::kernels::tile::{
    Depthwise, Largest, StrassenInput, StrassenOutput, Tile, WinogradInput, WinogradOutput, WinogradWeights,
};

/// Computes a tile.
///
/// # Safety
/// - The duties of [`Tile`], for `R` rows and `4 * C` channels.
/// - The processor has NEON.
#[target_feature(enable = "neon")]
unsafe fn product<const R: usize, const C: usize>(tile: &Tile) {
    // SAFETY: the caller upholds the duties of `Tile`, and the processor has NEON.
    unsafe { gemm::<C>(tile, R) }
}

/// Computes a row of a depthwise convolution.
///
/// # Safety
/// - The duties of [`Depthwise`], for 4 channels and this stride.
/// - The processor has NEON.
#[target_feature(enable = "neon")]
unsafe fn row<const STRIDE: usize>(row: &Depthwise) {
    // SAFETY: the caller upholds the duties of `Depthwise`, and the processor has NEON.
    unsafe { depthwise::<F32x4, STRIDE>(row) }
}

/// Transforms a patch of a map.
///
/// # Safety
/// - The duties of [`WinogradInput`], for these points.
/// - The processor has NEON.
#[target_feature(enable = "neon")]
unsafe fn input<const A: usize, const B: usize>(call: &WinogradInput) {
    // SAFETY: the caller upholds the duties of `WinogradInput`, and the processor has NEON.
    unsafe { winograd_input::<Pair, F32x4, A, B>(call) }
}

/// Computes a tile of a map from products.
///
/// # Safety
/// - The duties of [`WinogradOutput`], for these points.
/// - The processor has NEON.
#[target_feature(enable = "neon")]
unsafe fn output<const A: usize, const B: usize>(call: &WinogradOutput) {
    // SAFETY: the caller upholds the duties of `WinogradOutput`, and the processor has NEON.
    unsafe { winograd_output::<Pair, F32x4, A, B>(call) }
}

/// Transforms weights.
///
/// # Safety
/// - The duties of [`WinogradWeights`], for these points.
/// - The processor has NEON.
#[target_feature(enable = "neon")]
unsafe fn weights<const P: usize>(call: &WinogradWeights) {
    // SAFETY: the caller upholds the duties of `WinogradWeights`, and the processor has NEON.
    unsafe { winograd_weights::<F32x4, F32x4, P>(call) }
}

/// Computes the sums for Strassen's products.
///
/// # Safety
/// - The duties of [`StrassenInput`].
/// - The processor has NEON.
#[target_feature(enable = "neon")]
unsafe fn sums(call: &StrassenInput) {
    // SAFETY: the caller upholds the duties of `StrassenInput`, and the processor has NEON.
    unsafe { strassen_input::<F32x4, F32x4>(call) }
}

/// Combines Strassen's products.
///
/// # Safety
/// - The duties of [`StrassenOutput`].
/// - The processor has NEON.
#[target_feature(enable = "neon")]
unsafe fn join(call: &StrassenOutput) {
    // SAFETY: the caller upholds the duties of `StrassenOutput`, and the processor has NEON.
    unsafe { strassen_output::<F32x4, F32x4>(call) }
}

/// Computes the maximum over a window.
///
/// # Safety
/// - The duties of [`Largest`].
/// - The processor has NEON.
#[target_feature(enable = "neon")]
unsafe fn window(call: &Largest) {
    // SAFETY: the caller upholds the duties of `Largest`, and the processor has NEON.
    unsafe { largest::<Pair, F32x4>(call) }
}

/// Runs multiply-adds at peak speed.
///
/// # Safety
/// - The processor has NEON.
#[target_feature(enable = "neon")]
unsafe fn burst() -> u64 {
    // SAFETY: the processor has NEON.
    unsafe { peak::burst::<F32x4, { peak::SUMS }, true>() }
}

/// Tiles of 1 to 28 rows by a number of vectors.
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
            product::<17, $vectors>,
            product::<18, $vectors>,
            product::<19, $vectors>,
            product::<20, $vectors>,
            product::<21, $vectors>,
            product::<22, $vectors>,
            product::<23, $vectors>,
            product::<24, $vectors>,
            product::<25, $vectors>,
            product::<26, $vectors>,
            product::<27, $vectors>,
            product::<28, $vectors>,
        ]
    };
}

/// The table.
pub(super) static TABLE: Table = Table {
    isa: Isa::Neon,
    usual: 5,
    gemm: &[rows!(1), rows!(2), rows!(3), rows!(4), rows!(5), rows!(6)],
    depthwise: &[[row::<1>, row::<2>], [pair::<1>, pair::<2>]],
    winograd_input: by_edges!(input),
    winograd_output: by_edges!(output),
    winograd_weights: [weights::<4>, weights::<6>, weights::<8>],
    strassen_input: sums,
    strassen_output: join,
    largest: window,
    picture: picture::KERNELS,
    burst,
    ..Defaults::<{ F32x4::LANES }>::TABLE
};
