//! The arguments of kernels: plain addresses, which passes compute from checked geometry.
//!
//! # Safety
//!
//! Whoever passes one of these structures to a kernel upholds the duties in the structure's `# Safety` section; a
//! kernel checks nothing except the counts. Every list holds for all kernels of a table, whose step is that of the
//! table.

/// Values that belong together in memory and in a contraction: some channels of some rows. Read by assembly.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Segment {
    /// Channel 0 of row 0.
    pub(super) input: *const f32,
    /// Values from one row to the next.
    pub(super) stride: usize,
    /// Number of channels.
    pub(super) channels: usize,
    /// Number of the first channel in the contraction.
    pub(super) first: usize,
}

/// One call of a product kernel: `out[row][channel] = clamp(bias[row] + Σ input[row][k] · weights[k][channel])`.
///
/// # Safety
/// For a kernel of `R` rows and `N` channels:
///
/// - There are `count` segments, each of which is readable for its channels in rows `row` to `row + R - 1`.
/// - The weights are readable for `N` values for every `k`, which is less than `first + channels` of some segment.
/// - The bias is readable for `N` values in each of `R` rows.
/// - `out` is writable for `N` values in each of `R` rows, and overlaps nothing that is read except the bias, which it
///   may equal, row by row.
///
/// `prefetch` may be any address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    /// The segments.
    pub(super) segments: *const Segment,
    /// Number of segments.
    pub(super) count: usize,
    /// The first row.
    pub(super) row: usize,
    /// `[k][N]`.
    pub(super) weights: *const f32,
    /// The bias of the first row, `[N]`.
    pub(super) bias: *const f32,
    /// Values from there to the bias of the next row: 0 if all rows have the same.
    pub(super) bias_stride: usize,
    /// Row `row` of the output.
    pub(super) out: *mut f32,
    /// Values from one row of the output to the next.
    pub(super) out_stride: usize,
    /// The minimum of results.
    pub(super) low: f32,
    /// The maximum of results.
    pub(super) high: f32,
    /// The address to prefetch.
    pub(super) prefetch: *const f32,
    /// Values by which `prefetch` advances with every `k`.
    pub(super) prefetch_step: usize,
}

/// One call of a depthwise kernel, 3 × 3 with padding 1: a row of the output.
///
/// # Safety
/// For a kernel of `N` channels:
///
/// - The three rows are readable for `N` values at each of `in_width` pixels. A row outside the map is a row of zeros.
/// - The weights are readable for `N` values at each of ten places.
/// - `out` is writable for `N` values at each of `out_width` pixels, and overlaps nothing that is read.
/// - `in_width` is at least 1, and `out_width` is `(in_width - 1) / stride + 1`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Depthwise {
    /// The row above, the row itself, the row below.
    pub(super) rows: [*const f32; 3],
    /// Values from one pixel of the input to the next.
    pub(super) in_stride: usize,
    /// Pixels of a row of the input.
    pub(super) in_width: usize,
    /// The row of the output.
    pub(super) out: *mut f32,
    /// Values from one pixel of the output to the next.
    pub(super) out_stride: usize,
    /// Pixels of a row of the output.
    pub(super) out_width: usize,
    /// `[10][weight_stride]`: nine taps, row by row, and the bias.
    pub(super) weights: *const f32,
    /// Values from one tap to the next.
    pub(super) weight_stride: usize,
    /// The minimum of results.
    pub(super) low: f32,
    /// The maximum of results.
    pub(super) high: f32,
}

/// Maximum points of a transform in one dimension.
pub(super) const MAX_POINTS: usize = 8;

/// One call of a kernel that transforms a patch of a map for a Winograd convolution, in `A` points of rows by `B`
/// points of columns.
///
/// # Safety
/// - `bottom` is at most `A`, and `right` at most `B`.
/// - The pixels of rows `top..bottom` and columns `left..right` of the patch are readable for `lanes` values. The
///   others count as zeros.
/// - `out` is writable for as many values at the sum of each of the first `A` of `rows` and each of the first `B` of
///   `columns`, and overlaps nothing that is read.
/// - `lanes` is a multiple of the step.
#[derive(Debug, Clone, Copy)]
pub(super) struct WinogradInput {
    /// Row 0, column 0 of the patch, which need not be in memory.
    pub(super) input: *const f32,
    /// Values from one row to the next.
    pub(super) row_stride: usize,
    /// Values from one pixel to the next.
    pub(super) stride: usize,
    /// The first row that is read.
    pub(super) top: usize,
    /// The end of the rows that are read.
    pub(super) bottom: usize,
    /// The first column that is read.
    pub(super) left: usize,
    /// The end of the columns that are read.
    pub(super) right: usize,
    /// The transform.
    pub(super) out: *mut f32,
    /// Values from there to each point of the rows.
    pub(super) rows: [usize; MAX_POINTS],
    /// Values from there to each point of the columns.
    pub(super) columns: [usize; MAX_POINTS],
    /// Channels, padded to whole steps.
    pub(super) lanes: usize,
}

/// One call of a kernel that computes a tile of a map from the products of a Winograd convolution in `A` points of rows
/// by `B` points of columns: `A - 2` rows of `B - 2` pixels.
///
/// # Safety
/// - The products are readable for `lanes` values at the sum of each of the first `A` of `rows` and each of the first
///   `B` of `columns`.
/// - The bias is readable for `lanes` values.
/// - `out` is writable for as many values at the pixels of the tile that lie within `height` and `width`, and overlaps
///   nothing that is read.
/// - `lanes` is a multiple of the step.
#[derive(Debug, Clone, Copy)]
pub(super) struct WinogradOutput {
    /// The products.
    pub(super) products: *const f32,
    /// Values from there to each point of the rows.
    pub(super) rows: [usize; MAX_POINTS],
    /// Values from there to each point of the columns.
    pub(super) columns: [usize; MAX_POINTS],
    /// Added to the results.
    pub(super) bias: *const f32,
    /// The first pixel.
    pub(super) out: *mut f32,
    /// Values from one row to the next.
    pub(super) row_stride: usize,
    /// Values from one pixel to the next.
    pub(super) stride: usize,
    /// Rows that are written.
    pub(super) height: usize,
    /// Pixels of a row that are written.
    pub(super) width: usize,
    /// Channels, padded to whole steps.
    pub(super) lanes: usize,
    /// The minimum of results.
    pub(super) low: f32,
    /// The maximum of results.
    pub(super) high: f32,
}

/// One call of a kernel that transforms the weights of a Winograd convolution in one row of its `P` by `P` points.
///
/// # Safety
/// - `row` is less than `P`.
/// - The taps are readable for `lanes` values at each of nine places for each value of `depth`.
/// - `out` is writable for as many values for each value of `depth` in each of `P` planes, and overlaps nothing that is
///   read.
/// - `lanes` is a multiple of the step.
#[derive(Debug, Clone, Copy)]
pub(super) struct WinogradWeights {
    /// `[depth][9][lanes]`.
    pub(super) taps: *const f32,
    /// Length of the contraction.
    pub(super) depth: usize,
    /// Output channels, a whole number of steps.
    pub(super) lanes: usize,
    /// Number of the row of points.
    pub(super) row: usize,
    /// `[depth][lanes]`, for the first of its points.
    pub(super) out: *mut f32,
    /// Values from one plane to the next.
    pub(super) plane: usize,
}

/// One call of a kernel that computes the operands of Strassen's products: sums of the quarters of a matrix, named as
/// in `pass/strassen`.
///
/// # Safety
/// - `upper` and `lower` are readable for `2 * channels` values in each of `rows` rows.
/// - `out` is writable for `channels` values in each of `rows` rows of each of four planes, and overlaps nothing that
///   is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct StrassenInput {
    /// The first row of the upper half.
    pub(super) upper: *const f32,
    /// The first row of the lower half.
    pub(super) lower: *const f32,
    /// Values from one row to the next.
    pub(super) stride: usize,
    /// Number of rows of a half.
    pub(super) rows: usize,
    /// Number of channels of a half: those of the right half follow those of the left one.
    pub(super) channels: usize,
    /// The first of the sums.
    pub(super) out: *mut f32,
    /// Values from one row of them to the next.
    pub(super) out_stride: usize,
    /// Values from one plane of them to the next.
    pub(super) plane: usize,
}

/// One call of a kernel that combines Strassen's products: `out = clamp(product + sum)`, then `other += product`.
///
/// # Safety
/// - `product`, `sum` and `other` are readable for `width` values in each of `rows` rows, without gaps between rows.
/// - `other` is writable for the same.
/// - `out` is writable for `width` values in each of `rows` rows, `out_stride` apart.
/// - What is written overlaps nothing else.
/// - `width` is a multiple of the step.
#[derive(Debug, Clone, Copy)]
pub(super) struct StrassenOutput {
    /// The product.
    pub(super) product: *const f32,
    /// The summand for the output.
    pub(super) sum: *const f32,
    /// The matrix to which the product is added.
    pub(super) other: *mut f32,
    /// Number of rows.
    pub(super) rows: usize,
    /// Number of channels.
    pub(super) width: usize,
    /// The first row of the output.
    pub(super) out: *mut f32,
    /// Values from one row of the output to the next.
    pub(super) out_stride: usize,
    /// The minimum of results.
    pub(super) low: f32,
    /// The maximum of results.
    pub(super) high: f32,
}

/// One call of a kernel that computes the maximum over a window of a map, channel by channel.
///
/// # Safety
/// - The window has at least one pixel, each of which is readable for `lanes` values.
/// - `out` is writable for as many, and overlaps nothing that is read.
/// - `lanes` is a multiple of the step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Largest {
    /// The first pixel.
    pub(super) input: *const f32,
    /// Values from one row to the next.
    pub(super) row_stride: usize,
    /// Values from one pixel to the next.
    pub(super) stride: usize,
    /// Rows of the window.
    pub(super) height: usize,
    /// Pixels of a row of it.
    pub(super) width: usize,
    /// Channels, padded to whole steps.
    pub(super) lanes: usize,
    /// The result.
    pub(super) out: *mut f32,
}
