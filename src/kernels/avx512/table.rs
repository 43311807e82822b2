//! The kernels with AVX-512: tiles of 14 × 8 to 8 × 48, within 32 registers.
//!
//! A processor with two multipliers of 512 bits can read no more than two values in the time that they take: a value that
//! is spread over a register is used for up to three of them there. One that begins a single multiplication at a time
//! reads each value as it goes, and gains from using a register of weights for many rows instead.

use super::super::avx2::vector::F32x8;
use super::super::peak;
use super::super::strassen::{strassen_input, strassen_output};
use super::super::tile::{
    Depthwise, Largest, StrassenInput, StrassenOutput, Tile, WinogradInput, WinogradOutput, WinogradWeights,
};
use super::super::vector::{Vector, depthwise, gemm, largest};
use super::super::winograd::{winograd_input, winograd_output, winograd_weights};
use super::super::{Isa, Kernels, UNIT};
use super::vector::F32x16;

/// # Safety
/// Those of [`Tile`], and a processor with AVX-512 F and VL.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn product<const R: usize, const C: usize, const T: usize>(tile: &Tile) {
    // SAFETY: the caller's.
    unsafe { gemm::<F32x16, F32x8, R, C, T>(tile) }
}

/// # Safety
/// Those of [`Depthwise`], and a processor with AVX-512 F and VL.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn row<V: Vector, const STRIDE: usize>(row: &Depthwise) {
    // SAFETY: the caller's.
    unsafe { depthwise::<V, STRIDE>(row) }
}

/// # Safety
/// Those of [`WinogradInput`], and a processor with AVX-512 F and VL.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn input<const A: usize, const B: usize>(call: &WinogradInput) {
    // SAFETY: the caller's.
    unsafe { winograd_input::<F32x16, F32x8, A, B>(call) }
}

/// # Safety
/// Those of [`WinogradOutput`], and a processor with AVX-512 F and VL.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn output<const A: usize, const B: usize>(call: &WinogradOutput) {
    // SAFETY: the caller's.
    unsafe { winograd_output::<F32x16, F32x8, A, B>(call) }
}

/// # Safety
/// Those of a burst: a processor with AVX-512 F and VL.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn burst() -> u64 {
    // SAFETY: the caller's.
    unsafe { peak::burst::<F32x16, { peak::SUMS }, true>() }
}

/// # Safety
/// Those of [`StrassenInput`], and a processor with AVX-512 F and VL.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn sums(call: &StrassenInput) {
    // SAFETY: the caller's.
    unsafe { strassen_input::<F32x16, F32x8>(call) }
}

/// # Safety
/// Those of [`StrassenOutput`], and a processor with AVX-512 F and VL.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn join(call: &StrassenOutput) {
    // SAFETY: the caller's.
    unsafe { strassen_output::<F32x16, F32x8>(call) }
}

/// # Safety
/// Those of [`Largest`], and a processor with AVX-512 F and VL.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn window(call: &Largest) {
    // SAFETY: the caller's.
    unsafe { largest::<F32x16, F32x8>(call) }
}

/// # Safety
/// Those of [`WinogradWeights`], and a processor with AVX-512 F and VL.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn weights<const P: usize>(call: &WinogradWeights) {
    // SAFETY: the caller's.
    unsafe { winograd_weights::<F32x16, F32x8, P>(call) }
}

/// Tiles of so many rows, by `C` registers of 512 and `T` of 256 bits.
macro_rules! rows {
    ($c:literal, $t:literal: $($rows:literal)*) => {
        &[$(product::<$rows, $c, $t>),*]
    };
}

/// What both tables have.
const COMMON: Kernels = Kernels {
    isa: Isa::Avx512,
    step: UNIT,
    usual: 2,
    gemm: &[rows!(0, 1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14), rows!(1, 0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14)],
    depthwise: &[[row::<F32x8, 1>, row::<F32x8, 2>], [row::<F32x16, 1>, row::<F32x16, 2>]],
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

/// Tiles of many rows.
pub(in super::super) static TALL: Kernels = COMMON;

/// Tiles of many channels, too.
pub(in super::super) static WIDE: Kernels = Kernels {
    usual: 4,
    gemm: &[
        rows!(0, 1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
        rows!(1, 0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
        rows!(1, 1: 1 2 3 4 5 6 7 8 9 10 11 12),
        rows!(2, 0: 1 2 3 4 5 6 7 8 9 10 11 12),
        rows!(2, 1: 1 2 3 4 5 6 7 8),
        rows!(3, 0: 1 2 3 4 5 6 7 8),
    ],
    ..COMMON
};
