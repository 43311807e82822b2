//! What the kernels are told: plain addresses. The passes make them out of checked geometry.
//!
//! # Safety
//!
//! Whoever gives one of these structures to a kernel keeps the duties that the `# Safety` of the structure lists; a
//! kernel looks at nothing but the counts. Every list holds for all kernels of a table, whose step is that of the
//! table.

/// Values that belong together in memory and in a contraction: some channels of some rows. Assembly reads it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Segment {
    /// Channel 0 of row 0.
    pub(super) input: *const f32,
    /// Values from one row to the next.
    pub(super) stride: usize,
    /// Number of channels.
    pub(super) channels: usize,
    /// Number of the first of them in the contraction.
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
/// - `out` is writable for `N` values in each of `R` rows, and overlaps nothing that is read but the bias, which it may
///   be, row by row.
///
/// `prefetch` may be any address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    /// The segments.
    pub(super) segments: *const Segment,
    /// How many there are.
    pub(super) count: usize,
    /// The first row.
    pub(super) row: usize,
    /// `[k][N]`.
    pub(super) weights: *const f32,
    /// What is added to the first row, `[N]`.
    pub(super) bias: *const f32,
    /// Values from there to what is added to the next row: 0 if all rows have the same.
    pub(super) bias_stride: usize,
    /// Row `row` of the output.
    pub(super) out: *mut f32,
    /// Values from one row of the output to the next.
    pub(super) out_stride: usize,
    /// The least result.
    pub(super) low: f32,
    /// The largest result.
    pub(super) high: f32,
    /// What to ask for ahead of its use.
    pub(super) prefetch: *const f32,
    /// How far `prefetch` moves with every `k`.
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
    /// The least result.
    pub(super) low: f32,
    /// The largest result.
    pub(super) high: f32,
}

/// Most points of a transform in one dimension.
pub(super) const MAX_POINTS: usize = 8;

/// One call of a kernel that transforms a patch of a map for a Winograd convolution, in `A` points of rows by
/// `B` points of columns.
///
/// # Safety
/// - `bottom` is at most `A`, and `right` at most `B`.
/// - The pixels of rows `top..bottom` and columns `left..right` of the patch are readable for `lanes` values. The other
///   ones count as zeros.
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
    /// Values from there to what belongs to each point of the rows.
    pub(super) rows: [usize; MAX_POINTS],
    /// Values from there to what belongs to each point of the columns.
    pub(super) columns: [usize; MAX_POINTS],
    /// Channels, padded to whole steps.
    pub(super) lanes: usize,
}

/// One call of a kernel that makes a tile of a map out of the products of a Winograd convolution in `A` points
/// of rows by `B` points of columns: `A - 2` rows of `B - 2` pixels.
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
    /// Values from there to what belongs to each point of the rows.
    pub(super) rows: [usize; MAX_POINTS],
    /// Values from there to what belongs to each point of the columns.
    pub(super) columns: [usize; MAX_POINTS],
    /// What is added.
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
    /// The least result.
    pub(super) low: f32,
    /// The largest result.
    pub(super) high: f32,
}

/// One call of a kernel that transforms the weights of a Winograd convolution in a row of its `P` by `P` points.
///
/// # Safety
/// - `row` is less than `P`.
/// - The taps are readable for `lanes` values at each of nine places for every one of `depth`.
/// - `out` is writable for as many values for every one of `depth` in each of `P` planes, and overlaps nothing that is
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

/// One call of a kernel that makes what Strassen's products are of: sums of the quarters of a matrix, as
/// `pass/strassen` names them.
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
    /// Number of channels of a half: those of the right half are behind those of the left one.
    pub(super) channels: usize,
    /// The first of the sums.
    pub(super) out: *mut f32,
    /// Values from one row of them to the next.
    pub(super) out_stride: usize,
    /// Values from one plane of them to the next.
    pub(super) plane: usize,
}

/// One call of a kernel that puts Strassen's products together: `out = clamp(product + sum)`, then `other += product`.
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
    /// What it is added to for the output.
    pub(super) sum: *const f32,
    /// What it is added to.
    pub(super) other: *mut f32,
    /// Number of rows.
    pub(super) rows: usize,
    /// Number of channels.
    pub(super) width: usize,
    /// The first row of the output.
    pub(super) out: *mut f32,
    /// Values from one row of the output to the next.
    pub(super) out_stride: usize,
    /// The least result.
    pub(super) low: f32,
    /// The largest result.
    pub(super) high: f32,
}

/// One call of a kernel that takes the largest values of a window of a map, channel by channel.
///
/// # Safety
/// - The window has one pixel at least, each of which is readable for `lanes` values.
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
