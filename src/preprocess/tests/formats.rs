//! Compares every pixel format, matrix and range with the RGB path.

use super::*;
use crate::frame::{ChromaSite, Matrix, Plane, Range, SampleDepth};

/// Codes are rounded to half a step. Limited-range blue is the worst case: 1.16 steps of 255 per step of luma and up to
/// 2.14 per step of chroma (BT.2020), so 1.7 for both halves, and half a step for the rounding of the RGB picture.
const CODE_ROUNDING: f32 = 2.2 / 255.0;

pub(super) const ALL: [PixelFormat; 22] = [
    PixelFormat::Gray8,
    PixelFormat::Rgb,
    PixelFormat::Bgr,
    PixelFormat::Rgbx,
    PixelFormat::Bgrx,
    PixelFormat::Xrgb,
    PixelFormat::Xbgr,
    PixelFormat::Nv12,
    PixelFormat::Nv21,
    PixelFormat::Nv16,
    PixelFormat::I420,
    PixelFormat::Yv12,
    PixelFormat::Y42b,
    PixelFormat::Y444,
    PixelFormat::Yuy2,
    PixelFormat::Yvyu,
    PixelFormat::Uyvy,
    PixelFormat::Gray16,
    PixelFormat::P010,
    PixelFormat::I42010,
    PixelFormat::I42210,
    PixelFormat::Y44410,
];

/// Bytes after every row, filled with a value that must never matter.
const PADDING: usize = 13;
const GARBAGE: u8 = 0xA5;

fn is_rgb(format: PixelFormat) -> bool {
    use PixelFormat as F;
    matches!(format, F::Rgb | F::Bgr | F::Rgbx | F::Bgrx | F::Xrgb | F::Xbgr)
}

/// Weights of R, G and B in Y'.
fn luma(matrix: Matrix) -> [f64; 3] {
    match matrix {
        Matrix::Rgb => [0.0, 1.0, 0.0],
        Matrix::Fcc => [0.30, 0.59, 0.11],
        Matrix::Bt601 => [0.299, 0.587, 0.114],
        Matrix::Bt709 => [0.2126, 0.7152, 0.0722],
        Matrix::Smpte240m => [0.212, 0.701, 0.087],
        Matrix::Bt2020 => [0.2627, 0.6780, 0.0593],
    }
}

/// Codes of a colour, in the order of the format's components.
fn encode(format: PixelFormat, color: Color, [r, g, b]: [f64; 3]) -> [f64; 3] {
    let limited = color.range == Range::Limited;
    let bits = format.depth().bits;
    let white = 256.0 - 256.0 / f64::from(1_u32 << bits);
    let level = |value: f64| if limited { 16.0 + 219.0 * value } else { white * value };
    let chroma = |value: f64| 128.0 + value * if limited { 224.0 } else { white };
    let [wr, wg, wb] = luma(color.matrix);
    let y = wr * r + wg * g + wb * b;
    if is_rgb(format) {
        [level(r), level(g), level(b)]
    } else if color.matrix == Matrix::Rgb {
        [level(g), level(b), level(r)]
    } else {
        [level(y), chroma((b - y) / (2.0 - 2.0 * wb)), chroma((r - y) / (2.0 - 2.0 * wr))]
    }
}

/// A smooth picture: R'G'B' at `x`, `y` as fractions of the picture's sides, within 0.1 to 0.9.
fn scene(x: f64, y: f64) -> [f64; 3] {
    [
        0.5 + 0.4 * (3.0 * x).sin() * (2.0 * y).cos(),
        0.1 + 0.8 * y * (1.0 - 0.5 * x),
        0.5 + 0.4 * (1.0 + 4.0 * x - y).cos(),
    ]
}

/// Planes of the scene: every sample has the colour at its own position, between or on the pixels.
fn planes(layout: &Layout, scene: impl Fn(f64, f64) -> [f64; 3]) -> Vec<(Vec<u8>, usize)> {
    let Layout { format, width, height, color, .. } = *layout;
    let mut planes: Vec<(Vec<u8>, usize)> = (0..3)
        .map(|plane| {
            let stride = format.row_bytes(plane, width) + PADDING;
            (vec![GARBAGE; stride * format.plane_rows(plane, height)], stride)
        })
        .collect();
    let centre = |sample: usize, shift: u32, cosited: bool| {
        let pixels = (1_usize << shift) as f64;
        sample as f64 * pixels + if cosited { 0.5 } else { pixels / 2.0 }
    };
    for (index, c) in format.components().iter().enumerate() {
        let (data, stride) = &mut planes[c.plane];
        for row in 0..height.div_ceil(1 << c.shift_y) {
            let y = centre(row, c.shift_y, color.chroma_site.cosited_y) / height as f64;
            for column in 0..width.div_ceil(1 << c.shift_x) {
                let x = centre(column, c.shift_x, color.chroma_site.cosited_x) / width as f64;
                let code = encode(format, color, scene(x, y))[index];
                let at = row * *stride + column * c.step + c.offset;
                match format.depth() {
                    SampleDepth { bytes: 1, .. } => data[at] = code.round() as u8,
                    SampleDepth { bits, spare, .. } => {
                        let sample = (code * f64::from(1_u32 << (bits - 8))).round() as u16;
                        data[at..at + 2].copy_from_slice(&(sample << (16 - bits - spare)).to_le_bytes());
                    }
                }
            }
        }
    }
    planes
}

fn run(layout: Layout, transform: Transform, scene: impl Fn(f64, f64) -> [f64; 3]) -> Tensor {
    let planes = planes(&layout, scene);
    let borrowed = [0, 1, 2].map(|plane: usize| Plane { data: &planes[plane].0, stride: planes[plane].1 });
    preprocess(transform, &Picture::new(layout, borrowed).unwrap())
}

/// The scene in greys of its luma.
fn luma_only(matrix: Matrix) -> impl Fn(f64, f64) -> [f64; 3] {
    move |x, y| {
        let (color, weights) = (scene(x, y), luma(matrix));
        [(0..3).map(|i| weights[i] * color[i]).sum(); 3]
    }
}

#[test]
fn every_format_matrix_and_range_shows_the_same_picture_as_rgb() {
    let matrices = [Matrix::Rgb, Matrix::Fcc, Matrix::Bt601, Matrix::Bt709, Matrix::Smpte240m, Matrix::Bt2020];
    // Odd sizes: one that is magnified, one that is reduced.
    for (width, height, transform) in [(131, 77, plain(128, 112, 110)), (243, 321, plain(96, 83, 85))] {
        let rgb = file_layout(PixelFormat::Rgb, width, height);
        let coloured = run(rgb, transform, scene);
        for format in ALL {
            for (index, matrix) in matrices.into_iter().enumerate() {
                let grey = matches!(format, PixelFormat::Gray8 | PixelFormat::Gray16)
                    .then(|| run(rgb, transform, luma_only(matrix)));
                let expected = grey.as_ref().unwrap_or(&coloured);
                for range in [Range::Full, Range::Limited] {
                    let chroma_site = ChromaSite { cosited_x: index % 2 == 0, cosited_y: index / 2 % 2 == 0 };
                    let layout = Layout {
                        format,
                        width,
                        height,
                        color: Color { matrix, range, chroma_site },
                        aspect: PixelAspect::SQUARE,
                    };
                    let found = run(layout, transform, scene);
                    let difference = difference(&found, expected);
                    assert!(difference <= CODE_ROUNDING, "{layout:?}: differs by {} steps", difference * 255.0);
                }
            }
        }
    }
}

#[test]
fn the_bytes_of_every_format_are_read_as_its_name_says() {
    // A uniform picture of this colour, in three different codes.
    const COLOUR: [f32; 3] = [200.0 / 255.0, 100.0 / 255.0, 50.0 / 255.0];
    let [r, g, b, x] = [200, 100, 50, GARBAGE];
    let [y, u, v] = [124, 86, 182];
    let repeated: [(PixelFormat, [&[u8]; 3]); 16] = [
        (PixelFormat::Rgb, [&[r, g, b], &[], &[]]),
        (PixelFormat::Bgr, [&[b, g, r], &[], &[]]),
        (PixelFormat::Rgbx, [&[r, g, b, x], &[], &[]]),
        (PixelFormat::Bgrx, [&[b, g, r, x], &[], &[]]),
        (PixelFormat::Xrgb, [&[x, r, g, b], &[], &[]]),
        (PixelFormat::Xbgr, [&[x, b, g, r], &[], &[]]),
        (PixelFormat::Nv12, [&[y], &[u, v], &[]]),
        (PixelFormat::Nv21, [&[y], &[v, u], &[]]),
        (PixelFormat::Nv16, [&[y], &[u, v], &[]]),
        (PixelFormat::I420, [&[y], &[u], &[v]]),
        (PixelFormat::Yv12, [&[y], &[v], &[u]]),
        (PixelFormat::Y42b, [&[y], &[u], &[v]]),
        (PixelFormat::Y444, [&[y], &[u], &[v]]),
        (PixelFormat::Yuy2, [&[y, u, y, v], &[], &[]]),
        (PixelFormat::Yvyu, [&[y, v, y, u], &[], &[]]),
        (PixelFormat::Uyvy, [&[u, y, v, y], &[], &[]]),
    ];
    for (format, bytes) in repeated {
        let layout = Layout { color: Color { matrix: Matrix::Bt601, ..Color::RGB }, ..file_layout(format, 24, 16) };
        let planes = bytes.map(|bytes| bytes.repeat(24 * 16));
        // A stride of 96 bytes is a multiple of every pattern.
        let planes =
            [0, 1, 2].map(|plane: usize| Plane { data: &planes[plane], stride: 96.min(24 * bytes[plane].len()) });
        let found = preprocess(plain(16, 16, 16), &Picture::new(layout, planes).unwrap());
        for pixel in found.data().chunks_exact(3) {
            let near = pixel.iter().zip(COLOUR).all(|(found, expected)| (found - expected).abs() <= CODE_ROUNDING);
            assert!(near, "{format:?}: {pixel:?}, expected {COLOUR:?}");
        }
    }
}

#[test]
fn the_order_of_packed_rgb_bytes_does_not_change_a_bit() {
    let layout = |format| file_layout(format, 299, 301);
    let expected = run(layout(PixelFormat::Rgb), Transform::IMAGENET, scene);
    for format in ALL.into_iter().filter(|format| is_rgb(*format)) {
        assert_eq!(run(layout(format), Transform::IMAGENET, scene).data(), expected.data(), "{format:?}");
    }
}

#[test]
fn colour_bars_come_out_of_the_camera_formats() {
    /// With rounded codes, the colour is correct to a step of 255 and a little.
    const ROUNDED_BAR: f32 = 2.0 / 255.0;
    let bars = [
        (Matrix::Bt601, Range::Limited, [81, 90, 240], [1.0, 0.0, 0.0]),
        (Matrix::Bt709, Range::Limited, [235, 128, 128], [1.0, 1.0, 1.0]),
        (Matrix::Bt709, Range::Limited, [173, 42, 26], [0.0, 1.0, 0.0]),
        (Matrix::Bt601, Range::Full, [29, 255, 107], [0.0, 0.0, 1.0]),
    ];
    for (matrix, range, [y, u, v], expected) in bars {
        let chroma_site = ChromaSite { cosited_x: true, cosited_y: false };
        let color = Color { matrix, range, chroma_site };
        let nv12 = Layout { format: PixelFormat::Nv12, width: 33, height: 19, color, aspect: PixelAspect::SQUARE };
        let (luma, chroma) = (vec![y; 33 * 19], [u, v].repeat(17 * 10));
        let planes = [(&luma, 33), (&chroma, 34), (&luma, 33)].map(|(data, stride)| Plane { data, stride });
        let yuy2 = Layout { format: PixelFormat::Yuy2, ..nv12 };
        let packed = [y, u, y, v].repeat(17 * 19);
        for picture in [Picture::new(nv12, planes), Picture::packed(yuy2, &packed)] {
            let found = preprocess(plain(32, 30, 31), &picture.unwrap());
            for pixel in found.data().chunks_exact(3) {
                let near = pixel.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < ROUNDED_BAR);
                assert!(near, "{matrix:?} {range:?} {y} {u} {v}: {pixel:?}");
            }
        }
    }
}

#[test]
fn colours_beyond_white_and_black_are_clamped() {
    let color = Color { matrix: Matrix::Bt601, range: Range::Limited, ..Color::RGB };
    for (code, expected) in [(255, 1.0), (0, 0.0)] {
        let layout = Layout { format: PixelFormat::Gray8, width: 16, height: 16, color, aspect: PixelAspect::SQUARE };
        let found = preprocess(plain(16, 16, 16), &Picture::packed(layout, &[code; 256]).unwrap());
        assert!(found.data().iter().all(|value| *value == expected));
    }
}
