//! The kernels for pictures with AVX2 and FMA: bands of 16 rows.

use super::super::generic::picture::{colours, sum_bytes, sum_columns, sum_words, transpose};
use super::super::generic::words::Words;
use super::super::scalar::words::PlainWords;
use super::words::U16x16;
use crate::kernels::raster::{Colours, SumColumns, SumRows, Transpose};
use crate::kernels::table::PictureKernels;

/// Adds rows of 8-bit samples.
///
/// # Safety
/// - The duties of [`SumRows`], for samples of a byte.
/// - The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn bytes(call: &SumRows) {
    // SAFETY: the caller upholds the duties of `SumRows`, and the processor has AVX2 and FMA.
    unsafe { sum_bytes::<U16x16, PlainWords<1>>(call) }
}

/// Adds rows of 16-bit samples.
///
/// # Safety
/// - The duties of [`SumRows`], for samples of two bytes.
/// - The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn words(call: &SumRows) {
    // SAFETY: the caller upholds the duties of `SumRows`, and the processor has AVX2 and FMA.
    unsafe { sum_words::<U16x16, PlainWords<1>>(call) }
}

/// Transposes squares.
///
/// # Safety
/// - The duties of [`Transpose`].
/// - The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn squares(call: &Transpose) {
    // SAFETY: the caller upholds the duties of `Transpose`, and the processor has AVX2 and FMA.
    unsafe { transpose::<U16x16>(call) }
}

/// Adds columns.
///
/// # Safety
/// - The duties of [`SumColumns`].
/// - The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn columns(call: &SumColumns) {
    // SAFETY: the caller upholds the duties of `SumColumns`, and the processor has AVX2 and FMA.
    unsafe { sum_columns::<U16x16>(call) }
}

/// Makes colours.
///
/// # Safety
/// - The duties of [`Colours`].
/// - The processor has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn pixels(call: &Colours<'_>) {
    // SAFETY: the caller upholds the duties of `Colours`, and the processor has AVX2 and FMA.
    unsafe { colours::<U16x16, PlainWords<1>>(call) }
}

/// The kernels.
pub(in crate::kernels::isa) const KERNELS: PictureKernels = PictureKernels {
    band: U16x16::LANES,
    sum_bytes: bytes,
    sum_words: words,
    transpose: squares,
    sum_columns: columns,
    colours: pixels,
};
