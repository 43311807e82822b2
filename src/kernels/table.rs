//! Instruction sets and their kernels: a table of functions, and the right to call them.
//!
//! A [`Table`] contains functions and numbers, independent of the processor. [`Kernels`] are a table on a processor
//! that has been checked: passes hold these, so they call functions without regard to the instruction set.

use std::fmt;

use super::parts::even_parts;
use super::raster::{Colours, SumColumns, SumRows, Transpose};
use super::tile::{
    Depthwise, Largest, StrassenInput, StrassenOutput, Tile, WinogradInput, WinogradOutput, WinogradWeights,
};

/// An instruction set with kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust; the compiler vectorises it as the target allows.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F and VL.
    Avx512,
    /// 64-bit ARM.
    Neon,
}

impl Isa {
    /// All instruction sets, the plainest first.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Avx2, Self::Avx512, Self::Neon];

    /// Name, as in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A product kernel for a [`Tile`].
pub(super) type Gemm = unsafe fn(&Tile);

/// A kernel for a row of a [`Depthwise`] convolution.
pub(super) type DepthwiseRow = unsafe fn(&Depthwise);

/// A kernel for the transform of a patch: a [`WinogradInput`].
pub(super) type InputTransform = unsafe fn(&WinogradInput);

/// A kernel for the transform of products into a tile: a [`WinogradOutput`].
pub(super) type OutputTransform = unsafe fn(&WinogradOutput);

/// A kernel for the transform of weights: [`WinogradWeights`].
pub(super) type WeightTransform = unsafe fn(&WinogradWeights);

/// A kernel for the sums for Strassen's products: a [`StrassenInput`].
pub(super) type StrassenSums = unsafe fn(&StrassenInput);

/// A kernel that combines Strassen's products: a [`StrassenOutput`].
pub(super) type StrassenJoin = unsafe fn(&StrassenOutput);

/// A kernel for the maximum over a window: [`Largest`].
pub(super) type WindowMax = unsafe fn(&Largest);

/// A kernel that adds rows of samples: [`SumRows`].
pub(super) type RowSums = unsafe fn(&SumRows);

/// A kernel that transposes squares: [`Transpose`].
pub(super) type Squares = unsafe fn(&Transpose);

/// A kernel that adds columns: [`SumColumns`].
pub(super) type ColumnSums = unsafe fn(&SumColumns);

/// A kernel that makes colours: [`Colours`].
pub(super) type PixelColours = unsafe fn(&Colours<'_>);

/// A burst of multiply-adds in registers; returns the number of operations.
pub(super) type Burst = unsafe fn() -> u64;

/// Kernels of one kind for tiles of all sizes: by the rows and by the columns of a tile, which are 1, 2, 4 or 6.
pub(super) type ByEdges<Kernel> = [[Kernel; 4]; 4];

/// Functions for one instruction set.
///
/// # Safety
/// A caller of one of the functions guarantees that
///
/// - the processor has the instruction set, and
/// - the duties of the `tile` structure passed to it are upheld.
#[derive(Debug)]
pub(super) struct Table {
    /// The instruction set.
    pub(super) isa: Isa,
    /// Channels of the narrowest kernels, which divide a unit; all others compute several such steps.
    pub(super) step: usize,
    /// Steps of the blocks of a product that is wider than the widest kernel.
    pub(super) usual: usize,
    /// Product kernels: `gemm[steps - 1][rows - 1]`, for all numbers of rows of a tile.
    pub(super) gemm: &'static [&'static [Gemm]],
    /// Depthwise kernels: `[steps - 1][stride - 1]`, for strides 1 and 2.
    pub(super) depthwise: &'static [[DepthwiseRow; 2]],
    /// Kernels for the input of a Winograd convolution.
    pub(super) winograd_input: ByEdges<InputTransform>,
    /// Kernels for its output.
    pub(super) winograd_output: ByEdges<OutputTransform>,
    /// Kernels for its weights, in 4 × 4, in 6 × 6 and in 8 × 8 points.
    pub(super) winograd_weights: [WeightTransform; 3],
    /// The kernel for the sums for Strassen's products.
    pub(super) strassen_input: StrassenSums,
    /// The kernel that combines the products.
    pub(super) strassen_output: StrassenJoin,
    /// The kernel for the maximum over a window.
    pub(super) largest: WindowMax,
    /// The kernels for pictures.
    pub(super) picture: PictureKernels,
    /// A burst at the peak of the instruction set.
    pub(super) burst: Burst,
}

/// Functions that make an input out of the samples of a picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct PictureKernels {
    /// Sums in a column.
    pub(super) band: usize,
    /// Sums of rows of samples of one byte.
    pub(super) sum_bytes: RowSums,
    /// Sums of rows of samples of two bytes.
    pub(super) sum_words: RowSums,
    /// Rows to columns, and columns to rows.
    pub(super) transpose: Squares,
    /// Sums of columns.
    pub(super) sum_columns: ColumnSums,
    /// Colours of a row.
    pub(super) colours: PixelColours,
}

/// The kernels of an instruction set that this processor has, and the proof that it has it.
#[derive(Debug, Clone, Copy)]
pub struct Kernels {
    table: &'static Table,
}

impl Kernels {
    /// The kernels of a table.
    ///
    /// # Safety
    /// - The processor has the instruction set that the functions of the table are compiled for.
    pub(super) unsafe fn new(table: &'static Table) -> Self {
        Self { table }
    }

    /// The instruction set.
    #[must_use]
    pub fn isa(self) -> Isa {
        self.table.isa
    }

    /// Performs as many multiply-adds in a short time as the instruction set allows, and returns the number of
    /// operations, counting a multiply-add as two.
    #[must_use]
    pub fn burst(self) -> u64 {
        // SAFETY: the processor has the instruction set, as these kernels prove.
        unsafe { (self.table.burst)() }
    }

    /// Channels of the narrowest kernels, which divide a unit.
    #[inline]
    pub(super) fn step(self) -> usize {
        self.table.step
    }

    /// Steps of the widest product kernels.
    pub(super) fn most_steps(self) -> usize {
        self.table.gemm.len()
    }

    /// The widths of the blocks into which `channels` output channels are divided, in order: whole steps.
    pub(super) fn widths(self, channels: usize) -> impl Iterator<Item = usize> {
        let Table { step, usual, gemm, .. } = *self.table;
        let steps = channels.div_ceil(step);
        let most = if steps <= gemm.len() { steps } else { usual };
        even_parts(steps, most).map(move |steps| steps * step)
    }

    /// The product kernels for tiles of `width` channels.
    #[inline]
    pub(super) fn products(self, width: usize) -> Products {
        Products { kernels: self.table.gemm[width / self.table.step - 1], width }
    }

    /// Steps of the widest depthwise kernels.
    #[inline]
    pub(super) fn most_depthwise_steps(self) -> usize {
        self.table.depthwise.len()
    }

    /// A row of a depthwise convolution with this stride, for `steps` steps of channels.
    ///
    /// # Safety
    /// - The duties of [`Depthwise`], with as many steps of channels.
    #[inline]
    pub(super) unsafe fn depthwise(self, steps: usize, stride: usize, row: &Depthwise) {
        debug_assert!(row.in_width > 0 && row.out_width == (row.in_width - 1) / stride + 1, "{row:?}");
        // SAFETY: the caller upholds the duties of `Depthwise`; the processor has the instruction set, as these kernels
        // prove.
        unsafe { self.table.depthwise[steps - 1][stride - 1](row) }
    }

    /// The transform of a patch by the kernel at this place of the table.
    ///
    /// # Safety
    /// - The duties of [`WinogradInput`], in the points of the kernel.
    #[inline]
    pub(super) unsafe fn winograd_input(self, [rows, columns]: [usize; 2], call: &WinogradInput) {
        debug_assert!(call.lanes.is_multiple_of(self.step()), "{call:?}");
        // SAFETY: the caller upholds the duties of `WinogradInput`; the processor has the instruction set, as these
        // kernels prove.
        unsafe { self.table.winograd_input[rows][columns](call) }
    }

    /// The transform of products into a tile by the kernel at this place of the table.
    ///
    /// # Safety
    /// - The duties of [`WinogradOutput`], in the points of the kernel.
    #[inline]
    pub(super) unsafe fn winograd_output(self, [rows, columns]: [usize; 2], call: &WinogradOutput) {
        debug_assert!(call.lanes.is_multiple_of(self.step()), "{call:?}");
        // SAFETY: the caller upholds the duties of `WinogradOutput`; the processor has the instruction set, as these
        // kernels prove.
        unsafe { self.table.winograd_output[rows][columns](call) }
    }

    /// The transform of weights by the kernel at this place of the table.
    ///
    /// # Safety
    /// - The duties of [`WinogradWeights`], in the points of the kernel.
    #[inline]
    pub(super) unsafe fn winograd_weights(self, points: usize, call: &WinogradWeights) {
        debug_assert!(call.lanes.is_multiple_of(self.step()), "{call:?}");
        // SAFETY: the caller upholds the duties of `WinogradWeights`; the processor has the instruction set, as these
        // kernels prove.
        unsafe { self.table.winograd_weights[points](call) }
    }

    /// The sums for Strassen's products.
    ///
    /// # Safety
    /// - The duties of [`StrassenInput`].
    #[inline]
    pub(super) unsafe fn strassen_input(self, call: &StrassenInput) {
        debug_assert!(call.rows <= 1 || call.stride >= 2 * call.channels, "{call:?}");
        // SAFETY: the caller upholds the duties of `StrassenInput`; the processor has the instruction set, as these
        // kernels prove.
        unsafe { (self.table.strassen_input)(call) }
    }

    /// Combines Strassen's products.
    ///
    /// # Safety
    /// - The duties of [`StrassenOutput`].
    #[inline]
    pub(super) unsafe fn strassen_output(self, call: &StrassenOutput) {
        debug_assert!(call.width.is_multiple_of(self.step()), "{call:?}");
        // SAFETY: the caller upholds the duties of `StrassenOutput`; the processor has the instruction set, as these
        // kernels prove.
        unsafe { (self.table.strassen_output)(call) }
    }

    /// The maximum over a window.
    ///
    /// # Safety
    /// - The duties of [`Largest`].
    #[inline]
    pub(super) unsafe fn largest(self, call: &Largest) {
        debug_assert!(call.lanes.is_multiple_of(self.step()) && call.height > 0 && call.width > 0, "{call:?}");
        // SAFETY: the caller upholds the duties of `Largest`; the processor has the instruction set, as these kernels
        // prove.
        unsafe { (self.table.largest)(call) }
    }

    /// Sums in a column: rows of a picture that are computed together.
    #[must_use]
    pub fn band(self) -> usize {
        self.table.picture.band
    }

    /// The sums of rows of samples of `bytes` bytes, 1 or 2.
    ///
    /// # Safety
    /// - The duties of [`SumRows`], for as many bytes.
    #[inline]
    pub(super) unsafe fn sum_rows_of(self, bytes: usize, call: &SumRows) {
        let picture = &self.table.picture;
        let sum = if bytes == 1 { picture.sum_bytes } else { picture.sum_words };
        // SAFETY: the caller upholds the duties of `SumRows`; the processor has the instruction set, as these kernels
        // prove.
        unsafe { sum(call) }
    }

    /// Transposes squares of sums.
    ///
    /// # Safety
    /// - The duties of [`Transpose`].
    #[inline]
    pub(super) unsafe fn transpose_of(self, call: &Transpose) {
        // SAFETY: the caller upholds the duties of `Transpose`; the processor has the instruction set, as these kernels
        // prove.
        unsafe { (self.table.picture.transpose)(call) }
    }

    /// The sums of columns.
    ///
    /// # Safety
    /// - The duties of [`SumColumns`].
    #[inline]
    pub(super) unsafe fn sum_columns_of(self, call: &SumColumns) {
        // SAFETY: the caller upholds the duties of `SumColumns`; the processor has the instruction set, as these kernels
        // prove.
        unsafe { (self.table.picture.sum_columns)(call) }
    }

    /// The colours of a row of pixels.
    ///
    /// # Safety
    /// - The duties of [`Colours`].
    #[inline]
    pub(super) unsafe fn colours_of(self, call: &Colours<'_>) {
        // SAFETY: the caller upholds the duties of `Colours`; the processor has the instruction set, as these kernels
        // prove.
        unsafe { (self.table.picture.colours)(call) }
    }
}

/// The product kernels of one width, one for every number of rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Products {
    kernels: &'static [Gemm],
    /// Number of channels.
    width: usize,
}

impl Products {
    /// Maximum rows of a tile.
    #[inline]
    pub(super) fn most_rows(self) -> usize {
        self.kernels.len()
    }

    /// Computes a tile of `rows` rows.
    ///
    /// # Safety
    /// - The duties of [`Tile`], with as many rows and the channels of this width.
    #[inline]
    pub(super) unsafe fn run(self, rows: usize, tile: &Tile) {
        debug_assert!(rows == 1 || tile.out_stride >= self.width, "{rows} rows of {}: {tile:?}", self.width);
        // SAFETY: the caller upholds the duties of `Tile`; the processor has the instruction set, as proved by the
        // kernels that these come from.
        unsafe { self.kernels[rows - 1](tile) }
    }
}
