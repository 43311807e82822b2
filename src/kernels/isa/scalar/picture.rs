//! The kernels for pictures in plain Rust: bands of 8 rows.

use super::super::generic::picture::{colours, sum_bytes, sum_columns, sum_words, transpose};
use super::words::PlainWords;
use crate::kernels::raster::{Colours, SumColumns, SumRows, Transpose};
use crate::kernels::table::PictureKernels;

/// Rows of a band.
const BAND: usize = 8;

/// Adds rows of 8-bit samples.
///
/// # Safety
/// - The duties of [`SumRows`], for samples of a byte.
unsafe fn bytes(call: &SumRows) {
    // SAFETY: the caller upholds the duties of `SumRows`; plain Rust needs no instruction set.
    unsafe { sum_bytes::<PlainWords<BAND>, PlainWords<1>>(call) }
}

/// Adds rows of 16-bit samples.
///
/// # Safety
/// - The duties of [`SumRows`], for samples of two bytes.
unsafe fn words(call: &SumRows) {
    // SAFETY: the caller upholds the duties of `SumRows`; plain Rust needs no instruction set.
    unsafe { sum_words::<PlainWords<BAND>, PlainWords<1>>(call) }
}

/// Transposes squares.
///
/// # Safety
/// - The duties of [`Transpose`].
unsafe fn squares(call: &Transpose) {
    // SAFETY: the caller upholds the duties of `Transpose`; plain Rust needs no instruction set.
    unsafe { transpose::<PlainWords<BAND>>(call) }
}

/// Adds columns.
///
/// # Safety
/// - The duties of [`SumColumns`].
unsafe fn columns(call: &SumColumns) {
    // SAFETY: the caller upholds the duties of `SumColumns`; plain Rust needs no instruction set.
    unsafe { sum_columns::<PlainWords<BAND>>(call) }
}

/// Makes colours.
///
/// # Safety
/// - The duties of [`Colours`].
unsafe fn pixels(call: &Colours<'_>) {
    // SAFETY: the caller upholds the duties of `Colours`; plain Rust needs no instruction set.
    unsafe { colours::<PlainWords<BAND>, PlainWords<1>>(call) }
}

/// The kernels.
pub(in crate::kernels::isa) const KERNELS: PictureKernels = PictureKernels {
    band: BAND,
    sum_bytes: bytes,
    sum_words: words,
    transpose: squares,
    sum_columns: columns,
    colours: pixels,
};
