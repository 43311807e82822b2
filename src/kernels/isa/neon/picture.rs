//! The kernels for pictures with NEON: bands of 8 rows.

use super::super::generic::picture::{colours, sum_bytes, sum_columns, sum_words, transpose};
use super::super::generic::words::Words;
use super::super::scalar::words::PlainWords;
use super::words::U16x8;
use crate::kernels::raster::{Colours, SumColumns, SumRows, Transpose};
use crate::kernels::table::PictureKernels;

/// Adds rows of 8-bit samples.
///
/// # Safety
/// - The duties of [`SumRows`], for samples of a byte.
/// - The processor has NEON.
#[target_feature(enable = "neon")]
unsafe fn bytes(call: &SumRows) {
    // SAFETY: the caller upholds the duties of `SumRows`, and the processor has NEON.
    unsafe { sum_bytes::<U16x8, PlainWords<1>>(call) }
}

/// Adds rows of 16-bit samples.
///
/// # Safety
/// - The duties of [`SumRows`], for samples of two bytes.
/// - The processor has NEON.
#[target_feature(enable = "neon")]
unsafe fn words(call: &SumRows) {
    // SAFETY: the caller upholds the duties of `SumRows`, and the processor has NEON.
    unsafe { sum_words::<U16x8, PlainWords<1>>(call) }
}

/// Transposes squares.
///
/// # Safety
/// - The duties of [`Transpose`].
/// - The processor has NEON.
#[target_feature(enable = "neon")]
unsafe fn squares(call: &Transpose) {
    // SAFETY: the caller upholds the duties of `Transpose`, and the processor has NEON.
    unsafe { transpose::<U16x8>(call) }
}

/// Adds columns.
///
/// # Safety
/// - The duties of [`SumColumns`].
/// - The processor has NEON.
#[target_feature(enable = "neon")]
unsafe fn columns(call: &SumColumns) {
    // SAFETY: the caller upholds the duties of `SumColumns`, and the processor has NEON.
    unsafe { sum_columns::<U16x8>(call) }
}

/// Makes colours.
///
/// # Safety
/// - The duties of [`Colours`].
/// - The processor has NEON.
#[target_feature(enable = "neon")]
unsafe fn pixels(call: &Colours<'_>) {
    // SAFETY: the caller upholds the duties of `Colours`, and the processor has NEON.
    unsafe { colours::<U16x8, PlainWords<1>>(call) }
}

/// The kernels.
pub(in crate::kernels::isa) const KERNELS: PictureKernels = PictureKernels {
    band: U16x8::LANES,
    sum_bytes: bytes,
    sum_words: words,
    transpose: squares,
    sum_columns: columns,
    colours: pixels,
};
