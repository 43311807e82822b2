//! Chroma lands where its site says, and is filtered like any other plane.

use super::*;
use crate::frame::{ChromaSite, Matrix, Plane, Range};

/// In pixels of the output. An edge is measured through the sum of a row, which is exact for these sizes; what remains
/// is arithmetic on differences of a few codes.
const POSITION: f64 = 0.01;

/// Chroma samples on the near side of the edge.
const NEAR: usize = 31;

/// Where a chroma edge in a square I420 picture of 128 pixels lands in the output, which is the
/// middle 224 of 256 pixels: the number of output pixels before it, along x or along y.
fn edge(chroma_site: ChromaSite, along_x: bool) -> f64 {
    let color = Color { matrix: Matrix::Bt601, range: Range::Full, chroma_site };
    let layout = Layout { format: PixelFormat::I420, width: 128, height: 128, color, aspect: PixelAspect::SQUARE };
    let luma = vec![128; 128 * 128];
    let level = |i: usize| if (if along_x { i % 64 } else { i / 64 }) < NEAR { 108 } else { 148 };
    let blue: Vec<u8> = (0..64 * 64).map(level).collect();
    let red = vec![128; 64 * 64];
    let planes = [(&luma, 128), (&blue, 64), (&red, 64)].map(|(data, stride)| Plane { data, stride });
    let out = preprocess(plain(256, 224, 224), &Picture::new(layout, planes).unwrap());

    let step = if along_x { 3 } else { 224 * 3 };
    let line: Vec<f64> = out.data()[2..].iter().step_by(step).take(224).copied().map(f64::from).collect();
    let (low, high) = (line[0], line[223]);
    assert!(high - low > 0.2, "the edge is not in the picture");
    line.iter().map(|value| (high - value) / (high - low)).sum()
}

#[test]
fn a_chroma_edge_lands_where_its_site_puts_it() {
    // Halfway between the centres of the samples on both sides, in pixels of the picture.
    let between = NEAR as f64 * 2.0;
    let cosited = between - 0.5;
    // The picture is magnified twice, and the crop begins at pixel 16.
    let output = |position: f64| position * 2.0 - 16.0;
    for (cosited_x, cosited_y) in [(false, false), (false, true), (true, false), (true, true)] {
        for along_x in [false, true] {
            let on_pixel = if along_x { cosited_x } else { cosited_y };
            let expected = output(if on_pixel { cosited } else { between });
            let found = edge(ChromaSite { cosited_x, cosited_y }, along_x);
            let what = format!("cosited {cosited_x} {cosited_y}, along_x {along_x}");
            assert!((found - expected).abs() < POSITION, "{what}: {found}, expected {expected}");
        }
    }
}

#[test]
fn subsampled_chroma_is_filtered_as_a_picture_of_half_the_size() {
    // Colours that are not clipped in any channel.
    let chroma = |seed| -> Vec<u8> { noise(100 * 140, seed).into_iter().map(|value| 96 + value / 4).collect() };
    let (blue, red, luma) = (chroma(13), chroma(29), vec![128; 200 * 280]);
    let color = Color { matrix: Matrix::Bt601, ..Color::RGB };
    for transform in [plain(256, 224, 224), plain(150, 130, 130), plain(32, 30, 30)] {
        let [whole, subsampled] = [(PixelFormat::Y444, 1), (PixelFormat::I420, 2)].map(|(format, factor)| {
            let layout =
                Layout { format, width: 100 * factor, height: 140 * factor, color, aspect: PixelAspect::SQUARE };
            let planes = [(&luma, 100 * factor), (&blue, 100), (&red, 100)];
            let planes = planes.map(|(data, stride)| Plane { data, stride });
            preprocess(transform, &Picture::new(layout, planes).unwrap())
        });
        assert!(difference(&whole, &subsampled) < FIXED_POINT);
    }
}
