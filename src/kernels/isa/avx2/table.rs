//! The kernels with AVX2 and FMA: tiles of 12 × 8 and 6 × 16, within 16 registers.

use super::super::generic::depthwise::depthwise;
use super::super::generic::gemm::gemm;
use super::super::generic::peak;
use super::super::generic::pool::largest;
use super::super::generic::strassen::{strassen_input, strassen_output};
use super::super::generic::winograd::{winograd_input, winograd_output, winograd_weights};
use super::super::scalar::table::Defaults;
use super::picture;
use super::vector::F32x8;
use crate::kernels::size::UNIT;
use crate::kernels::table::{Isa, Table};
use crate::kernels::tile::{
    Depthwise, Largest, StrassenInput, StrassenOutput, Tile, WinogradInput, WinogradOutput, WinogradWeights,
};

/// Computes a tile.
///
/// # Safety
/// - The duties of [`Tile`], for `R` rows and `8 * C` channels.
/// - The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn product<const R: usize, const C: usize>(tile: &Tile) {
    // SAFETY: the caller upholds the duties of `Tile`, and the processor has AVX2 and FMA.
    unsafe { gemm::<F32x8, F32x8, R, C, 0>(tile) }
}

/// Computes a row of a depthwise convolution.
///
/// # Safety
/// - The duties of [`Depthwise`], for 8 channels and this stride.
/// - The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn row<const STRIDE: usize>(row: &Depthwise) {
    // SAFETY: the caller upholds the duties of `Depthwise`, and the processor has AVX2 and FMA.
    unsafe { depthwise::<F32x8, STRIDE>(row) }
}

/// Transforms a patch of a map.
///
/// # Safety
/// - The duties of [`WinogradInput`], for these points.
/// - The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn input<const A: usize, const B: usize>(call: &WinogradInput) {
    // SAFETY: the caller upholds the duties of `WinogradInput`, and the processor has AVX2 and FMA.
    unsafe { winograd_input::<F32x8, F32x8, A, B>(call) }
}

/// Computes a tile of a map from products.
///
/// # Safety
/// - The duties of [`WinogradOutput`], for these points.
/// - The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn output<const A: usize, const B: usize>(call: &WinogradOutput) {
    // SAFETY: the caller upholds the duties of `WinogradOutput`, and the processor has AVX2 and FMA.
    unsafe { winograd_output::<F32x8, F32x8, A, B>(call) }
}

/// Transforms weights.
///
/// # Safety
/// - The duties of [`WinogradWeights`], for these points.
/// - The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn weights<const P: usize>(call: &WinogradWeights) {
    // SAFETY: the caller upholds the duties of `WinogradWeights`, and the processor has AVX2 and FMA.
    unsafe { winograd_weights::<F32x8, F32x8, P>(call) }
}

/// Computes the sums for Strassen's products.
///
/// # Safety
/// - The duties of [`StrassenInput`].
/// - The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn sums(call: &StrassenInput) {
    // SAFETY: the caller upholds the duties of `StrassenInput`, and the processor has AVX2 and FMA.
    unsafe { strassen_input::<F32x8, F32x8>(call) }
}

/// Combines Strassen's products.
///
/// # Safety
/// - The duties of [`StrassenOutput`].
/// - The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn join(call: &StrassenOutput) {
    // SAFETY: the caller upholds the duties of `StrassenOutput`, and the processor has AVX2 and FMA.
    unsafe { strassen_output::<F32x8, F32x8>(call) }
}

/// Computes the maximum over a window.
///
/// # Safety
/// - The duties of [`Largest`].
/// - The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn window(call: &Largest) {
    // SAFETY: the caller upholds the duties of `Largest`, and the processor has AVX2 and FMA.
    unsafe { largest::<F32x8, F32x8>(call) }
}

/// Runs multiply-adds at peak speed.
///
/// # Safety
/// - The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn burst() -> u64 {
    // SAFETY: the processor has AVX2 and FMA.
    unsafe { peak::burst::<F32x8, { peak::SUMS }, true>() }
}

/// The table.
pub(super) static TABLE: Table = Table {
    isa: Isa::Avx2,
    usual: 2,
    gemm: &[
        &[
            product::<1, 1>,
            product::<2, 1>,
            product::<3, 1>,
            product::<4, 1>,
            product::<5, 1>,
            product::<6, 1>,
            product::<7, 1>,
            product::<8, 1>,
            product::<9, 1>,
            product::<10, 1>,
            product::<11, 1>,
            product::<12, 1>,
        ],
        &[product::<1, 2>, product::<2, 2>, product::<3, 2>, product::<4, 2>, product::<5, 2>, product::<6, 2>],
    ],
    depthwise: &[[row::<1>, row::<2>]],
    winograd_input: by_edges!(input),
    winograd_output: by_edges!(output),
    winograd_weights: [weights::<4>, weights::<6>, weights::<8>],
    strassen_input: sums,
    strassen_output: join,
    largest: window,
    picture: picture::KERNELS,
    burst,
    ..Defaults::<UNIT>::TABLE
};
