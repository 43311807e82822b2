//! What the kernels for pictures work on: samples of planes, in fixed point, on their way to colours.
//!
//! A *sum* is a weighted sum of samples in units of 1 / 128 of an 8-bit code, so that it takes 15 bits of 16. Weights
//! are in units of 1 / [`ONE`], and those of a sum add up to 1. A *band* is the number of rows that are computed together:
//! their sums at one place lie next to each other in a *column*.

/// The weight 1, which is one more than a weight can be.
pub const ONE: u16 = 1 << 15;

/// Sums per 8-bit code.
pub const SUMS_PER_CODE: u16 = 128;

/// One call of a kernel that adds rows of samples, each with a weight.
///
/// Weights are less than [`ONE`], and together they are at most that. Products are cut off after the sums' last bit; half of
/// that is added for each of them, as far as a sum keeps within 15 bits.
///
/// # Safety
/// - `rows` rows are readable for `samples` samples each. Those of two bytes need not be aligned.
/// - As many weights are readable.
/// - `out` is writable for `samples` sums, and overlaps nothing that is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct SumRows {
    /// The first row.
    pub(super) input: *const u8,
    /// Bytes from one row to the next.
    pub(super) stride: usize,
    /// Number of rows.
    pub(super) rows: usize,
    /// One weight for each row.
    pub(super) weights: *const u16,
    /// Number of samples.
    pub(super) samples: usize,
    /// Bits by which samples of two bytes are shifted up to fill these.
    pub(super) shift: u32,
    /// The sums.
    pub(super) out: *mut u16,
}

/// One call of a kernel that transposes squares of sums, whose sides are a band.
///
/// # Safety
/// - The rows of the squares are readable, and those of the transposed squares are writable: in every square, a band of
///   rows of a band of values.
/// - What is written overlaps nothing that is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transpose {
    /// The first square.
    pub(super) from: *const u16,
    /// Values from one row of a square to the next.
    pub(super) from_stride: usize,
    /// Values from one square to the next.
    pub(super) from_step: usize,
    /// The first transposed square.
    pub(super) to: *mut u16,
    /// Values from one of its rows to the next.
    pub(super) to_stride: usize,
    /// Values from one transposed square to the next.
    pub(super) to_step: usize,
    /// Number of squares.
    pub(super) squares: usize,
}

/// One call of a kernel that adds columns of sums, each with a weight, for every pixel of a row.
///
/// # Safety
/// - `starts` is readable for `pixels` values, and `weights` for `taps` times as many.
/// - For every pixel, the columns from its start on are readable: `taps` of them, `step` columns apart.
/// - `out` is writable for `pixels` columns, and overlaps nothing that is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct SumColumns {
    /// The first column.
    pub(super) columns: *const u16,
    /// The first column of each pixel.
    pub(super) starts: *const u32,
    /// Columns from one that is added to the next.
    pub(super) step: usize,
    /// Columns that are added for a pixel.
    pub(super) taps: usize,
    /// Their weights, pixel by pixel.
    pub(super) weights: *const u16,
    /// Number of pixels.
    pub(super) pixels: usize,
    /// A column for each pixel.
    pub(super) out: *mut u16,
}

/// How sums become colours: `min(max(weights · sums + offset, low), high)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColourMap {
    /// The weights of the three sums, for each colour.
    pub weights: [[f32; 3]; 3],
    /// Added to each colour.
    pub offset: [f32; 3],
    /// The minimum of each colour.
    pub low: [f32; 3],
    /// The maximum of each colour.
    pub high: [f32; 3],
}

/// One call of a kernel that makes the colours of a row of pixels.
///
/// # Safety
/// - The sums of each component are readable for `pixels` values.
/// - `out` is writable for three times as many, and overlaps nothing that is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Colours<'a> {
    /// The sums of the three components.
    pub(super) sums: [*const u16; 3],
    /// The map.
    pub(super) map: &'a ColourMap,
    /// Number of pixels.
    pub(super) pixels: usize,
    /// The colours, pixel by pixel.
    pub(super) out: *mut f32,
}
