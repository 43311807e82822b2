//! The kernels with AVX-512: tiles of 14 × 8 to 8 × 48, within 32 registers.
//!
//! A processor with two 512-bit multipliers can read at most two values in the time that one multiplication step of
//! both takes, so a value that is broadcast to a register is used up to three times. A processor that starts a single
//! multiplication at a time keeps up with reading, and gains from using a register of weights for many rows instead.

use super::super::avx2::picture;
use super::super::avx2::vector::F32x8;
use super::super::generic::depthwise::depthwise;
use super::super::generic::gemm::gemm;
use super::super::generic::peak;
use super::super::generic::pool::largest;
use super::super::generic::strassen::{strassen_input, strassen_output};
use super::super::generic::vector::Vector;
use super::super::generic::winograd::{winograd_input, winograd_output, winograd_weights};
use super::super::scalar::table::Defaults;
use super::vector::F32x16;
use crate::kernels::size::UNIT;
use crate::kernels::table::{Isa, Table};
use crate::kernels::tile::{
    Depthwise, Largest, StrassenInput, StrassenOutput, Tile, WinogradInput, WinogradOutput, WinogradWeights,
};

/// Computes a tile.
///
/// # Safety
/// - The duties of [`Tile`], for `R` rows and `16 * C + 8 * T` channels.
/// - The processor has AVX-512 F and VL, AVX2 and FMA.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn product<const R: usize, const C: usize, const T: usize>(tile: &Tile) {
    // SAFETY: the caller upholds the duties of `Tile`, and the processor has AVX-512 F and VL, AVX2 and FMA.
    unsafe { gemm::<F32x16, F32x8, R, C, T>(tile) }
}

/// Computes a row of a depthwise convolution.
///
/// # Safety
/// - The duties of [`Depthwise`], for `V::LANES` channels and this stride.
/// - The processor has AVX-512 F and VL, AVX2 and FMA, and the instruction set of `V` with these.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn row<V: Vector, const STRIDE: usize>(row: &Depthwise) {
    // SAFETY: the caller upholds the duties of `Depthwise`, and the processor has the instruction set of `V`.
    unsafe { depthwise::<V, STRIDE>(row) }
}

/// Transforms a patch of a map.
///
/// # Safety
/// - The duties of [`WinogradInput`], for these points.
/// - The processor has AVX-512 F and VL, AVX2 and FMA.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn input<const A: usize, const B: usize>(call: &WinogradInput) {
    // SAFETY: the caller upholds the duties of `WinogradInput`, and the processor has AVX-512 F and VL, AVX2 and FMA.
    unsafe { winograd_input::<F32x16, F32x8, A, B>(call) }
}

/// Computes a tile of a map from products.
///
/// # Safety
/// - The duties of [`WinogradOutput`], for these points.
/// - The processor has AVX-512 F and VL, AVX2 and FMA.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn output<const A: usize, const B: usize>(call: &WinogradOutput) {
    // SAFETY: the caller upholds the duties of `WinogradOutput`, and the processor has AVX-512 F and VL, AVX2 and FMA.
    unsafe { winograd_output::<F32x16, F32x8, A, B>(call) }
}

/// Transforms weights.
///
/// # Safety
/// - The duties of [`WinogradWeights`], for these points.
/// - The processor has AVX-512 F and VL, AVX2 and FMA.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn weights<const P: usize>(call: &WinogradWeights) {
    // SAFETY: the caller upholds the duties of `WinogradWeights`, and the processor has AVX-512 F and VL, AVX2 and FMA.
    unsafe { winograd_weights::<F32x16, F32x8, P>(call) }
}

/// Computes the sums for Strassen's products.
///
/// # Safety
/// - The duties of [`StrassenInput`].
/// - The processor has AVX-512 F and VL, AVX2 and FMA.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn sums(call: &StrassenInput) {
    // SAFETY: the caller upholds the duties of `StrassenInput`, and the processor has AVX-512 F and VL, AVX2 and FMA.
    unsafe { strassen_input::<F32x16, F32x8>(call) }
}

/// Combines Strassen's products.
///
/// # Safety
/// - The duties of [`StrassenOutput`].
/// - The processor has AVX-512 F and VL, AVX2 and FMA.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn join(call: &StrassenOutput) {
    // SAFETY: the caller upholds the duties of `StrassenOutput`, and the processor has AVX-512 F and VL, AVX2 and FMA.
    unsafe { strassen_output::<F32x16, F32x8>(call) }
}

/// Computes the maximum over a window.
///
/// # Safety
/// - The duties of [`Largest`].
/// - The processor has AVX-512 F and VL, AVX2 and FMA.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn window(call: &Largest) {
    // SAFETY: the caller upholds the duties of `Largest`, and the processor has AVX-512 F and VL, AVX2 and FMA.
    unsafe { largest::<F32x16, F32x8>(call) }
}

/// Runs multiply-adds at peak speed.
///
/// # Safety
/// - The processor has AVX-512 F and VL, AVX2 and FMA.
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
unsafe fn burst() -> u64 {
    // SAFETY: the processor has AVX-512 F and VL, AVX2 and FMA.
    unsafe { peak::burst::<F32x16, { peak::SUMS }, true>() }
}

/// Tiles of 1 to the given number of rows, by `C` 512-bit and `T` 256-bit registers.
macro_rules! rows {
    ($c:literal, $t:literal: $($rows:literal)*) => {
        &[$(product::<$rows, $c, $t>),*]
    };
}

/// Common to both tables.
const COMMON: Table = Table {
    isa: Isa::Avx512,
    usual: 2,
    gemm: &[rows!(0, 1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14), rows!(1, 0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14)],
    depthwise: &[[row::<F32x8, 1>, row::<F32x8, 2>], [row::<F32x16, 1>, row::<F32x16, 2>]],
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

/// Tiles of many rows.
pub(super) static TALL: Table = COMMON;

/// With tiles of many channels, too.
pub(super) static WIDE: Table = Table {
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
