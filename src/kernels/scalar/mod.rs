//! Kernels in plain Rust, for processors without any of the others.
//!
//! # Safety
//!
//! Vectors are arrays that are read and written unaligned; the rest is what `tile` asks for. No instruction set is needed.

mod vector;

use super::peak;
use super::strassen::{strassen_input, strassen_output};
use super::tile::{
    Depthwise, Largest, StrassenInput, StrassenOutput, Tile, WinogradInput, WinogradOutput, WinogradWeights,
};
use super::vector::{depthwise, gemm, largest};
use super::winograd::{winograd_input, winograd_output, winograd_weights};
use super::{Isa, Kernels, UNIT};
use vector::Plain;

/// # Safety
/// Those of [`Tile`].
unsafe fn product<const R: usize, const C: usize>(tile: &Tile) {
    // SAFETY: the caller's; plain Rust needs no instruction set.
    unsafe { gemm::<Plain, Plain, R, C, 0>(tile) }
}

/// # Safety
/// Those of [`Depthwise`].
unsafe fn row<const STRIDE: usize>(row: &Depthwise) {
    // SAFETY: the caller's; plain Rust needs no instruction set.
    unsafe { depthwise::<Plain, STRIDE>(row) }
}

/// # Safety
/// Those of [`WinogradInput`].
unsafe fn input<const A: usize, const B: usize>(call: &WinogradInput) {
    // SAFETY: the caller's; plain Rust needs no instruction set.
    unsafe { winograd_input::<Plain, Plain, A, B>(call) }
}

/// # Safety
/// Those of [`WinogradOutput`].
unsafe fn output<const A: usize, const B: usize>(call: &WinogradOutput) {
    // SAFETY: the caller's; plain Rust needs no instruction set.
    unsafe { winograd_output::<Plain, Plain, A, B>(call) }
}

/// # Safety
/// None: plain Rust needs no instruction set.
unsafe fn burst() -> u64 {
    // The compiler's vectors are half as long as these, or shorter.
    // SAFETY: plain Rust needs no instruction set.
    unsafe { peak::burst::<Plain, { peak::SUMS / 2 }, false>() }
}

/// # Safety
/// Those of [`StrassenInput`].
unsafe fn sums(call: &StrassenInput) {
    // SAFETY: the caller's; plain Rust needs no instruction set.
    unsafe { strassen_input::<Plain, Plain>(call) }
}

/// # Safety
/// Those of [`StrassenOutput`].
unsafe fn join(call: &StrassenOutput) {
    // SAFETY: the caller's; plain Rust needs no instruction set.
    unsafe { strassen_output::<Plain, Plain>(call) }
}

/// # Safety
/// Those of [`Largest`].
unsafe fn window(call: &Largest) {
    // SAFETY: the caller's; plain Rust needs no instruction set.
    unsafe { largest::<Plain, Plain>(call) }
}

/// # Safety
/// Those of [`WinogradWeights`].
unsafe fn weights<const P: usize>(call: &WinogradWeights) {
    // SAFETY: the caller's; plain Rust needs no instruction set.
    unsafe { winograd_weights::<Plain, Plain, P>(call) }
}

/// The table.
pub(super) static KERNELS: Kernels = Kernels {
    isa: Isa::Scalar,
    step: UNIT,
    usual: 1,
    gemm: &[&[product::<1, 1>, product::<2, 1>, product::<3, 1>, product::<4, 1>]],
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
