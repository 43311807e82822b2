//! The kernels for pictures, over slices: rows of samples become sums, these become columns, columns are summed, turned
//! back to rows, and become colours.
//!
//! All lengths are checked in every build, once for a call.

use super::raster::{ColourMap, Colours, SumColumns, SumRows, Transpose};
use super::table::Kernels;

/// Which columns are added for each pixel of a row, and with what weights.
#[derive(Debug, Clone)]
pub struct Windows {
    starts: Vec<u32>,
    taps: usize,
    step: usize,
    weights: Vec<u16>,
    /// Columns from the first to the last that is used.
    reach: usize,
}

/// Windows cannot be made because their parts do not fit together: a bug in the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("windows have starts beyond 32 bits, or another number of weights")]
pub struct WindowsError;

impl Windows {
    /// For each of `starts`: as many columns as it has `weights`, from there on, `step` columns apart. Weights are in units
    /// of 2^-15, below 1, and those of a window add up to 1 at most.
    ///
    /// # Errors
    /// If the windows do not have the same number of weights, or a start exceeds 32 bits.
    pub fn new(starts: &[usize], step: usize, weights: Vec<u16>) -> Result<Self, WindowsError> {
        let taps = weights.len().checked_div(starts.len()).unwrap_or(0);
        if taps * starts.len() != weights.len() {
            return Err(WindowsError);
        }
        let last = starts.iter().max().copied().unwrap_or(0);
        let reach =
            taps.saturating_sub(1).checked_mul(step).and_then(|length| length.checked_add(last)?.checked_add(1));
        let starts: Result<_, _> = starts.iter().map(|start| u32::try_from(*start)).collect();
        let (Ok(starts), Some(reach)) = (starts, reach) else { return Err(WindowsError) };
        Ok(Self { starts, taps, step, weights, reach })
    }

    /// Number of pixels.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.starts.len()
    }
}

/// Rows of samples in memory.
#[derive(Debug, Clone, Copy)]
pub struct SampleRows<'a> {
    /// From the first sample of the first row on.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Bytes of a sample, 1 or 2; those of two bytes are little-endian.
    pub bytes: usize,
    /// Bits by which samples of two bytes are shifted up to fill these.
    pub shift: u32,
}

impl Kernels {
    /// Writes the weighted sums of as many rows as there are `weights` (in units of 2^-15, each below 1, together 1 at
    /// most) to `out`, as long as the rows, in units of 1 / 128 of an 8-bit code.
    ///
    /// # Panics
    /// If the rows are shorter.
    pub fn sum_rows(self, rows: &SampleRows<'_>, weights: &[u16], out: &mut [u16]) {
        let SampleRows { data, stride, bytes, shift } = *rows;
        let Some(distances) = weights.len().checked_sub(1) else { return out.fill(0) };
        let needed = distances.checked_mul(stride).and_then(|last| last.checked_add(out.len().checked_mul(bytes)?));
        assert!(needed.is_some_and(|it| it <= data.len()), "rows of {} bytes: {needed:?} needed", data.len());
        assert!(matches!(bytes, 1 | 2) && shift < 16, "samples of {bytes} bytes, shifted by {shift}");
        let call = SumRows {
            input: data.as_ptr(),
            stride,
            rows: weights.len(),
            weights: weights.as_ptr(),
            samples: out.len(),
            shift,
            out: out.as_mut_ptr(),
        };
        // SAFETY: the rows are readable up to the end of the last one, as was checked, and there is a weight for each; as
        // many sums are writable, in a slice of their own.
        unsafe { self.sum_rows_of(bytes, &call) }
    }

    /// Turns a [`band`](Self::band) of rows, which follow each other, into columns.
    ///
    /// # Panics
    /// If the rows are not a band, do not have a multiple of its length, or the columns are not as many values.
    pub fn to_columns(self, rows: &[u16], columns: &mut [u16]) {
        let band = self.band();
        let squares = Self::squares(band, rows.len(), columns.len());
        let call = Transpose {
            from: rows.as_ptr(),
            from_stride: squares * band,
            from_step: band,
            to: columns.as_mut_ptr(),
            to_stride: band,
            to_step: band * band,
            squares,
        };
        // SAFETY: both slices consist of this number of squares: side by side in the rows, one after another in the
        // columns.
        unsafe { self.transpose_of(&call) }
    }

    /// Turns columns into a [`band`](Self::band) of rows, which follow each other.
    ///
    /// # Panics
    /// If the columns are not a multiple of a band, or the rows are not as many values.
    pub fn to_rows(self, columns: &[u16], rows: &mut [u16]) {
        let band = self.band();
        let squares = Self::squares(band, columns.len(), rows.len());
        let call = Transpose {
            from: columns.as_ptr(),
            from_stride: band,
            from_step: band * band,
            to: rows.as_mut_ptr(),
            to_stride: squares * band,
            to_step: band,
            squares,
        };
        // SAFETY: both slices consist of this number of squares: one after another in the columns, side by side in the
        // rows.
        unsafe { self.transpose_of(&call) }
    }

    /// The squares of which both lengths consist.
    fn squares(band: usize, from: usize, to: usize) -> usize {
        assert!(from == to && from.is_multiple_of(band * band), "{from} and {to} values in squares of {band}");
        from / (band * band)
    }

    /// Writes a column for each pixel: the weighted sum of the columns of its window.
    ///
    /// # Panics
    /// If `columns` does not reach as far as the windows, or `out` is shorter than the pixels.
    pub fn sum_columns(self, columns: &[u16], windows: &Windows, out: &mut [u16]) {
        let (band, pixels) = (self.band(), windows.pixels());
        assert!(columns.len() / band >= windows.reach, "{} columns of {}", columns.len() / band, windows.reach);
        assert!(out.len() / band >= pixels, "{} columns for {pixels} pixels", out.len() / band);
        let call = SumColumns {
            columns: columns.as_ptr(),
            starts: windows.starts.as_ptr(),
            step: windows.step,
            taps: windows.taps,
            weights: windows.weights.as_ptr(),
            pixels,
            out: out.as_mut_ptr(),
        };
        // SAFETY: the columns reach to the end of the last window and the output has a column for every pixel, as was
        // checked; windows have a start for every pixel, and the same number of weights each.
        unsafe { self.sum_columns_of(&call) }
    }

    /// Writes the colours of a row of pixels, of which `sums` has the components: three values for each pixel.
    ///
    /// # Panics
    /// If `out` is not whole pixels, or a component is shorter.
    pub fn colours(self, sums: [&[u16]; 3], map: &ColourMap, out: &mut [f32]) {
        let pixels = out.len() / 3;
        assert!(out.len().is_multiple_of(3) && sums.iter().all(|sums| sums.len() >= pixels), "{} values", out.len());
        let call = Colours { sums: sums.map(<[u16]>::as_ptr), map, pixels, out: out.as_mut_ptr() };
        // SAFETY: each component is readable for every pixel, as was checked, and the output is writable for three times
        // as many values.
        unsafe { self.colours_of(&call) }
    }
}
