//! The kernels with NEON: tiles of 28 rows by 4 to 24 channels, within 32 registers strip by strip.

use super::super::peak;
use super::super::strassen::{strassen_input, strassen_output};
use super::super::tile::{
    Depthwise, Largest, StrassenInput, StrassenOutput, Tile, WinogradInput, WinogradOutput, WinogradWeights,
};
use super::super::vector::{Vector, depthwise, largest};
use super::super::winograd::{winograd_input, winograd_output, winograd_weights};
use super::super::{Isa, Kernels};
use super::depthwise::pair;
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
unsafe fn row<const STRIDE: usize>(row: &Depthwise) {
    // SAFETY: the caller's.
    unsafe { depthwise::<F32x4, STRIDE>(row) }
}

/// # Safety
/// Those of [`WinogradInput`], and a processor with NEON.
#[target_feature(enable = "neon")]
unsafe fn input<const A: usize, const B: usize>(call: &WinogradInput) {
    // SAFETY: the caller's.
    unsafe { winograd_input::<Pair, F32x4, A, B>(call) }
}

/// # Safety
/// Those of [`WinogradOutput`], and a processor with NEON.
#[target_feature(enable = "neon")]
unsafe fn output<const A: usize, const B: usize>(call: &WinogradOutput) {
    // SAFETY: the caller's.
    unsafe { winograd_output::<Pair, F32x4, A, B>(call) }
}

/// # Safety
/// Those of a burst: a processor with NEON.
#[target_feature(enable = "neon")]
unsafe fn burst() -> u64 {
    // SAFETY: the caller's.
    unsafe { peak::burst::<F32x4, { peak::SUMS }, true>() }
}

/// # Safety
/// Those of [`StrassenInput`], and a processor with NEON.
#[target_feature(enable = "neon")]
unsafe fn sums(call: &StrassenInput) {
    // SAFETY: the caller's.
    unsafe { strassen_input::<F32x4, F32x4>(call) }
}

/// # Safety
/// Those of [`StrassenOutput`], and a processor with NEON.
#[target_feature(enable = "neon")]
unsafe fn join(call: &StrassenOutput) {
    // SAFETY: the caller's.
    unsafe { strassen_output::<F32x4, F32x4>(call) }
}

/// # Safety
/// Those of [`Largest`], and a processor with NEON.
#[target_feature(enable = "neon")]
unsafe fn window(call: &Largest) {
    // SAFETY: the caller's.
    unsafe { largest::<Pair, F32x4>(call) }
}

/// # Safety
/// Those of [`WinogradWeights`], and a processor with NEON.
#[target_feature(enable = "neon")]
unsafe fn weights<const P: usize>(call: &WinogradWeights) {
    // SAFETY: the caller's.
    unsafe { winograd_weights::<F32x4, F32x4, P>(call) }
}

/// Tiles of 1 to 28 rows by some vectors.
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
pub(in super::super) static KERNELS: Kernels = Kernels {
    isa: Isa::Neon,
    step: F32x4::LANES,
    usual: 5,
    gemm: &[rows!(1), rows!(2), rows!(3), rows!(4), rows!(5), rows!(6)],
    depthwise: &[[row::<1>, row::<2>], [pair::<1>, pair::<2>]],
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
    strassen_input: sums,
    strassen_output: join,
    largest: window,
    burst,
    winograd_weights: [weights::<4>, weights::<6>, weights::<8>],
};
