//! Converts samples to colours: the affine map from one pixel's codes (0 to 255) to R'G'B' (0 to 1). Codes of more than 8
//! bits are divided by what the additional bits count.
//!
//! The map follows ITU-T H.273 (which restates ITU-R BT.601, BT.709, BT.2020, FCC 73.682 and SMPTE
//! 240M). With `Kr` and `Kb` of the matrix and `Kg = 1 - Kr - Kb`:
//!
//! ```text
//! R' = Y' + 2 (1 - Kr) Cr
//! G' = Y' - 2 (1 - Kb) Kb/Kg Cb - 2 (1 - Kr) Kr/Kg Cr
//! B' = Y' + 2 (1 - Kb) Cb
//! ```
//!
//! where full range means `Y' = code / 255` (255.75 with 10 bits) and `Cb, Cr = (code - 128) / 255`, and limited range
//! `Y' = (code - 16) / 219` and `Cb, Cr = (code - 128) / 224`. R'G'B' and grey codes have the range of Y'. BT.2020 is
//! its non-constant-luminance form. Transfer curves and primaries are not converted: networks are trained on
//! gamma-encoded pictures.

use crate::frame::{Color, Matrix, PixelFormat, Range};

/// The meaning of the components of a pixel format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Grey,
    Rgb,
    YCbCr,
}

fn family(format: PixelFormat) -> Family {
    use PixelFormat as F;
    match format {
        F::Gray8 | F::Gray16 => Family::Grey,
        F::Rgb | F::Bgr | F::Rgbx | F::Bgrx | F::Xrgb | F::Xbgr => Family::Rgb,
        F::Nv12 | F::Nv21 | F::Nv16 | F::I420 | F::Yv12 | F::Y42b | F::Y444 | F::Yuy2 | F::Yvyu | F::Uyvy => {
            Family::YCbCr
        }
        F::P010 | F::I42010 | F::I42210 | F::Y44410 => Family::YCbCr,
    }
}

/// `Kr` and `Kb` of H.273, table 4; `None` if the samples are R'G'B'.
fn luma_weights(matrix: Matrix) -> Option<(f64, f64)> {
    match matrix {
        Matrix::Rgb => None,
        Matrix::Fcc => Some((0.30, 0.11)),
        Matrix::Bt601 => Some((0.299, 0.114)),
        Matrix::Bt709 => Some((0.2126, 0.0722)),
        Matrix::Smpte240m => Some((0.212, 0.087)),
        Matrix::Bt2020 => Some((0.2627, 0.0593)),
    }
}

/// `colour[i] = Σ weights[i][j] · sample[j] + offset[i]`, from codes to R'G'B' in 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine {
    pub(super) weights: [[f32; 3]; 3],
    pub(super) offset: [f32; 3],
}

impl Affine {
    /// The map for the samples of `format` in the order of `PixelFormat::components`.
    ///
    /// The matrix matters only for Y'CbCr formats; there, `Matrix::Rgb` has the meaning of H.273 value 0: Y is G', U is
    /// B' and V is R'. Grey gives three equal colours from sample 0.
    pub(super) fn new(format: PixelFormat, color: Color) -> Self {
        // The largest code of more than 8 bits has a fraction, as one of 8 bits.
        let bits = format.depth().bits;
        let white = f64::from((1_u32 << bits) - 1) / f64::from(1_u32 << (bits - 8));
        let (black, luma_scale, chroma_scale) = match color.range {
            Range::Full => (0.0, 1.0 / white, 1.0 / white),
            Range::Limited => (16.0, 1.0 / 219.0, 1.0 / 224.0),
        };
        match (family(format), luma_weights(color.matrix)) {
            (Family::Grey, _) => Self::of([[luma_scale, 0.0, 0.0]; 3], [black; 3]),
            (Family::Rgb, _) => {
                let s = luma_scale;
                Self::of([[s, 0.0, 0.0], [0.0, s, 0.0], [0.0, 0.0, s]], [black; 3])
            }
            (Family::YCbCr, None) => {
                let s = luma_scale;
                Self::of([[0.0, 0.0, s], [s, 0.0, 0.0], [0.0, s, 0.0]], [black; 3])
            }
            (Family::YCbCr, Some((kr, kb))) => {
                let kg = 1.0 - kr - kb;
                let cr = 2.0 * (1.0 - kr) * chroma_scale;
                let cb = 2.0 * (1.0 - kb) * chroma_scale;
                let weights =
                    [[luma_scale, 0.0, cr], [luma_scale, -cb * kb / kg, -cr * kr / kg], [luma_scale, cb, 0.0]];
                Self::of(weights, [black, 128.0, 128.0])
            }
        }
    }

    /// The map `weights · (sample - zero)`.
    fn of(weights: [[f64; 3]; 3], zero: [f64; 3]) -> Self {
        Self {
            weights: weights.map(|row| row.map(|weight| weight as f32)),
            offset: weights.map(|row| -(row[0] * zero[0] + row[1] * zero[1] + row[2] * zero[2]) as f32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::ChromaSite;

    /// Codes are whole numbers, so a colour that a standard gives exactly is reproduced up to the rounding of its three
    /// codes: half a step each, times the largest weight sum (about 1.9 steps).
    const CODE_ROUNDING: f32 = 2.0 / 255.0;

    /// If the codes are exact, only the rounding of the arithmetic remains.
    const ARITHMETIC: f32 = 1e-5;

    fn colour(format: PixelFormat, matrix: Matrix, range: Range, codes: [u8; 3]) -> [f32; 3] {
        let chroma_site = ChromaSite { cosited_x: false, cosited_y: false };
        let map = Affine::new(format, Color { matrix, range, chroma_site });
        let codes = codes.map(f32::from);
        [0, 1, 2].map(|i| map.offset[i] + (0..3).map(|j| map.weights[i][j] * codes[j]).sum::<f32>())
    }

    #[track_caller]
    fn assert_colour(found: [f32; 3], expected: [f32; 3], tolerance: f32) {
        let near = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() <= tolerance);
        assert!(near, "found {found:?}, expected {expected:?} ±{tolerance}");
    }

    #[test]
    fn colour_bars_of_the_standards_come_out_as_their_colours() {
        use Matrix::{Bt601, Bt709, Bt2020};
        use Range::{Full, Limited};
        const RED: [f32; 3] = [1.0, 0.0, 0.0];
        const GREEN: [f32; 3] = [0.0, 1.0, 0.0];
        const BLUE: [f32; 3] = [0.0, 0.0, 1.0];
        let bars = [
            (Bt601, Limited, [81, 90, 240], RED),
            (Bt601, Limited, [145, 54, 34], GREEN),
            (Bt601, Limited, [41, 240, 110], BLUE),
            (Bt601, Limited, [210, 16, 146], [1.0, 1.0, 0.0]),
            (Bt601, Full, [76, 85, 255], RED),
            (Bt601, Full, [150, 44, 21], GREEN),
            (Bt601, Full, [29, 255, 107], BLUE),
            (Bt709, Limited, [63, 102, 240], RED),
            (Bt709, Limited, [173, 42, 26], GREEN),
            (Bt709, Limited, [32, 240, 118], BLUE),
            (Bt709, Full, [54, 99, 255], RED),
            (Bt709, Full, [18, 255, 116], BLUE),
            (Bt2020, Limited, [74, 97, 240], RED),
            (Bt2020, Limited, [164, 47, 25], GREEN),
        ];
        for (matrix, range, codes, expected) in bars {
            assert_colour(colour(PixelFormat::Nv12, matrix, range, codes), expected, CODE_ROUNDING);
        }
    }

    #[test]
    fn black_grey_and_white_are_exact_in_every_matrix() {
        for matrix in [Matrix::Fcc, Matrix::Bt601, Matrix::Bt709, Matrix::Smpte240m, Matrix::Bt2020] {
            let of = |range, luma| colour(PixelFormat::I420, matrix, range, [luma, 128, 128]);
            assert_colour(of(Range::Limited, 16), [0.0; 3], ARITHMETIC);
            assert_colour(of(Range::Limited, 235), [1.0; 3], ARITHMETIC);
            assert_colour(of(Range::Full, 0), [0.0; 3], ARITHMETIC);
            assert_colour(of(Range::Full, 255), [1.0; 3], ARITHMETIC);
            assert_colour(of(Range::Full, 51), [0.2; 3], ARITHMETIC);
        }
    }

    #[test]
    fn rgb_and_grey_follow_their_range_and_ignore_the_matrix() {
        for matrix in [Matrix::Rgb, Matrix::Bt709] {
            let rgb = |range, codes| colour(PixelFormat::Bgrx, matrix, range, codes);
            assert_colour(rgb(Range::Full, [255, 51, 0]), [1.0, 0.2, 0.0], ARITHMETIC);
            assert_colour(rgb(Range::Limited, [235, 16, 89]), [1.0, 0.0, 1.0 / 3.0], ARITHMETIC);
            let grey = |range, code| colour(PixelFormat::Gray8, matrix, range, [code, 0, 0]);
            assert_colour(grey(Range::Full, 51), [0.2; 3], ARITHMETIC);
            assert_colour(grey(Range::Limited, 235), [1.0; 3], ARITHMETIC);
        }
    }

    #[test]
    fn the_identity_matrix_reads_green_blue_red() {
        let found = colour(PixelFormat::Y444, Matrix::Rgb, Range::Full, [51, 102, 255]);
        assert_colour(found, [1.0, 0.2, 0.4], ARITHMETIC);
    }
}
