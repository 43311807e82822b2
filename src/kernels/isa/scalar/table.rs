//! The kernels in plain Rust: tiles of 4 rows by one step of channels.

use super::super::generic::depthwise::depthwise;
use super::super::generic::gemm::gemm;
use super::super::generic::peak;
use super::super::generic::pool::largest;
use super::super::generic::strassen::{strassen_input, strassen_output};
use super::super::generic::winograd::{winograd_input, winograd_output, winograd_weights};
use super::picture;
use super::vector::Plain;
use crate::kernels::size::UNIT;
use crate::kernels::table::{Isa, Table};
use crate::kernels::tile::{
    Depthwise, Largest, StrassenInput, StrassenOutput, Tile, WinogradInput, WinogradOutput, WinogradWeights,
};

/// Computes a tile.
///
/// # Safety
/// - The duties of [`Tile`], for `R` rows and `STEP` channels.
unsafe fn product<const STEP: usize, const R: usize>(tile: &Tile) {
    // SAFETY: the caller upholds the duties of `Tile`; plain Rust needs no instruction set.
    unsafe { gemm::<Plain<STEP>, Plain<STEP>, R, 1, 0>(tile) }
}

/// Computes a row of a depthwise convolution.
///
/// # Safety
/// - The duties of [`Depthwise`], for `STEP` channels and this stride.
unsafe fn row<const STEP: usize, const STRIDE: usize>(row: &Depthwise) {
    // SAFETY: the caller upholds the duties of `Depthwise`; plain Rust needs no instruction set.
    unsafe { depthwise::<Plain<STEP>, STRIDE>(row) }
}

/// Transforms a patch of a map.
///
/// # Safety
/// - The duties of [`WinogradInput`], for these points.
unsafe fn input<const STEP: usize, const A: usize, const B: usize>(call: &WinogradInput) {
    // SAFETY: the caller upholds the duties of `WinogradInput`; plain Rust needs no instruction set.
    unsafe { winograd_input::<Plain<STEP>, Plain<STEP>, A, B>(call) }
}

/// Computes a tile of a map from products.
///
/// # Safety
/// - The duties of [`WinogradOutput`], for these points.
unsafe fn output<const STEP: usize, const A: usize, const B: usize>(call: &WinogradOutput) {
    // SAFETY: the caller upholds the duties of `WinogradOutput`; plain Rust needs no instruction set.
    unsafe { winograd_output::<Plain<STEP>, Plain<STEP>, A, B>(call) }
}

/// Transforms weights.
///
/// # Safety
/// - The duties of [`WinogradWeights`], for these points.
unsafe fn weights<const STEP: usize, const P: usize>(call: &WinogradWeights) {
    // SAFETY: the caller upholds the duties of `WinogradWeights`; plain Rust needs no instruction set.
    unsafe { winograd_weights::<Plain<STEP>, Plain<STEP>, P>(call) }
}

/// Computes the sums for Strassen's products.
///
/// # Safety
/// - The duties of [`StrassenInput`].
unsafe fn sums<const STEP: usize>(call: &StrassenInput) {
    // SAFETY: the caller upholds the duties of `StrassenInput`; plain Rust needs no instruction set.
    unsafe { strassen_input::<Plain<STEP>, Plain<STEP>>(call) }
}

/// Combines Strassen's products.
///
/// # Safety
/// - The duties of [`StrassenOutput`].
unsafe fn join<const STEP: usize>(call: &StrassenOutput) {
    // SAFETY: the caller upholds the duties of `StrassenOutput`; plain Rust needs no instruction set.
    unsafe { strassen_output::<Plain<STEP>, Plain<STEP>>(call) }
}

/// Computes the maximum over a window.
///
/// # Safety
/// - The duties of [`Largest`].
unsafe fn window<const STEP: usize>(call: &Largest) {
    // SAFETY: the caller upholds the duties of `Largest`; plain Rust needs no instruction set.
    unsafe { largest::<Plain<STEP>, Plain<STEP>>(call) }
}

/// Runs multiply-adds at peak speed.
///
/// # Safety
/// - None: plain Rust needs no instruction set.
unsafe fn burst<const STEP: usize>() -> u64 {
    // The compiler's vectors are at most half as long as these.
    // SAFETY: plain Rust needs no instruction set.
    unsafe { peak::burst::<Plain<STEP>, { peak::SUMS / 2 }, false>() }
}

/// Default tables for instruction sets with this step: kernels that every processor can run.
pub(in crate::kernels::isa) struct Defaults<const STEP: usize>;

impl<const STEP: usize> Defaults<STEP> {
    /// The table.
    pub(in crate::kernels::isa) const TABLE: Table = Table {
        isa: Isa::Scalar,
        step: STEP,
        usual: 1,
        gemm: &[&[product::<STEP, 1>, product::<STEP, 2>, product::<STEP, 3>, product::<STEP, 4>]],
        depthwise: &[[row::<STEP, 1>, row::<STEP, 2>]],
        winograd_input: by_edges!(input, STEP),
        winograd_output: by_edges!(output, STEP),
        winograd_weights: [weights::<STEP, 4>, weights::<STEP, 6>, weights::<STEP, 8>],
        strassen_input: sums::<STEP>,
        strassen_output: join::<STEP>,
        largest: window::<STEP>,
        picture: picture::KERNELS,
        burst: burst::<STEP>,
    };
}

/// The table.
pub(super) static TABLE: Table = Defaults::<UNIT>::TABLE;

/// The same for the smallest step: the fallback of tables with that step.
#[cfg(test)]
pub(super) static NARROW: Table = Defaults::<4>::TABLE;
