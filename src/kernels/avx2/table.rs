//! The kernels with AVX2 and FMA: tiles of 12 × 8 and 6 × 16, within 16 registers.

use super::super::peak;
use super::super::strassen::{strassen_input, strassen_output};
use super::super::tile::{
    Depthwise, Largest, StrassenInput, StrassenOutput, Tile, WinogradInput, WinogradOutput, WinogradWeights,
};
use super::super::vector::{depthwise, gemm, largest};
use super::super::winograd::{winograd_input, winograd_output, winograd_weights};
use super::super::{Isa, Kernels, UNIT};
use super::vector::F32x8;

/// # Safety
/// Those of [`Tile`], and a processor with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn product<const R: usize, const C: usize>(tile: &Tile) {
    // SAFETY: the caller's.
    unsafe { gemm::<F32x8, F32x8, R, C, 0>(tile) }
}

/// # Safety
/// Those of [`Depthwise`], and a processor with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn row<const STRIDE: usize>(row: &Depthwise) {
    // SAFETY: the caller's.
    unsafe { depthwise::<F32x8, STRIDE>(row) }
}

/// # Safety
/// Those of [`WinogradInput`], and a processor with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn input<const A: usize, const B: usize>(call: &WinogradInput) {
    // SAFETY: the caller's.
    unsafe { winograd_input::<F32x8, F32x8, A, B>(call) }
}

/// # Safety
/// Those of [`WinogradOutput`], and a processor with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn output<const A: usize, const B: usize>(call: &WinogradOutput) {
    // SAFETY: the caller's.
    unsafe { winograd_output::<F32x8, F32x8, A, B>(call) }
}

/// # Safety
/// Those of a burst: a processor with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn burst() -> u64 {
    // SAFETY: the caller's.
    unsafe { peak::burst::<F32x8, { peak::SUMS }, true>() }
}

/// # Safety
/// Those of [`StrassenInput`], and a processor with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn sums(call: &StrassenInput) {
    // SAFETY: the caller's.
    unsafe { strassen_input::<F32x8, F32x8>(call) }
}

/// # Safety
/// Those of [`StrassenOutput`], and a processor with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn join(call: &StrassenOutput) {
    // SAFETY: the caller's.
    unsafe { strassen_output::<F32x8, F32x8>(call) }
}

/// # Safety
/// Those of [`Largest`], and a processor with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn window(call: &Largest) {
    // SAFETY: the caller's.
    unsafe { largest::<F32x8, F32x8>(call) }
}

/// # Safety
/// Those of [`WinogradWeights`], and a processor with AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn weights<const P: usize>(call: &WinogradWeights) {
    // SAFETY: the caller's.
    unsafe { winograd_weights::<F32x8, F32x8, P>(call) }
}

/// The table.
pub(in super::super) static KERNELS: Kernels = Kernels {
    isa: Isa::Avx2,
    step: UNIT,
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
    winograd_input: [
        [input::<3, 3>, input::<3, 4>, input::<3, 6>, input::<3, 8>],
        [input::<4, 3>, input::<4, 4>, input::<4, 6>, input::<4, 8>],
        [input::<6, 3>, input::<6, 4>, input::<6, 6>, input::<6, 8>],
        [input::<8, 3>, input::<8, 4>, input::<8, 6>, input::<8, 8>],
    ],
    winograd_output: [
        [output::<3, 3>, output::<3, 4>, output::<3, 6>, output::<3, 8>],
        [output::<4, 3>, output::<4, 4>, output::<4, 6>, output::<4, 8>],
        [output::<6, 3>, output::<6, 4>, output::<6, 6>, output::<6, 8>],
        [output::<8, 3>, output::<8, 4>, output::<8, 6>, output::<8, 8>],
    ],
    winograd_weights: [weights::<4>, weights::<6>, weights::<8>],
    strassen_input: sums,
    strassen_output: join,
    largest: window,
    burst,
};
