//! Every instruction set makes the same input, and reads nothing outside the planes.

use super::formats::ALL;
use super::*;
use crate::frame::{ChromaSite, Matrix, Plane, Range, Region};
use crate::kernels::{Guarded, Isa, Kernels};

/// Sums are the same to the bit; the products of a colour may be fused.
const FUSED: f32 = 1e-5;

/// The whole picture, and regions at every edge.
const REGIONS: [Option<[f64; 4]>; 6] = [
    None,
    Some([0.0, 0.0, 0.5, 0.5]),
    Some([0.6, 0.0, 0.4, 0.7]),
    Some([0.0, 0.4, 0.45, 0.6]),
    Some([0.45, 0.5, 0.55, 0.5]),
    Some([0.0, 0.0, 1.0, 1.0]),
];

/// The planes of noise, of which the last row ends with its last sample, at the end of accessible memory.
fn planes(layout: &Layout) -> [(Guarded<u8>, usize); 3] {
    let Layout { format, width, height, .. } = *layout;
    [0, 1, 2].map(|plane| {
        let row = format.row_bytes(plane, width);
        let stride = row + 6;
        let rows = if plane < format.planes() { format.plane_rows(plane, height) } else { 0 };
        let length = rows.checked_sub(1).map_or(0, |distances| distances * stride + row);
        (Guarded::behind(&noise(length, plane as u32 + 1)), stride)
    })
}

#[test]
fn every_instruction_set_makes_the_same_input_of_every_format_and_region() {
    let sets: Vec<Kernels> = Isa::ALL.into_iter().filter_map(Kernels::of).collect();
    let chroma_site = ChromaSite { cosited_x: true, cosited_y: false };
    let color = Color { matrix: Matrix::Bt709, range: Range::Limited, chroma_site };
    for format in ALL {
        for (width, height) in [(131, 77), (64, 48), (33, 19), (18, 17), (270, 41)] {
            let layout = Layout { format, width, height, color, aspect: PixelAspect::SQUARE };
            let planes = planes(&layout);
            let planes = planes.each_ref().map(|(data, stride)| Plane { data: data.values(), stride: *stride });
            let picture = Picture::new(layout, planes).unwrap();
            for (region, crop) in REGIONS.into_iter().zip([(29, 30), (32, 32), (1, 5), (17, 16), (31, 3), (8, 9)]) {
                let region = region.map(|shares| Region::new(shares).unwrap());
                let transform = Transform { region, ..plain(32, crop.0, crop.1) };
                let of = |kernels: &Kernels| {
                    let mut out = Tensor::zeros(crop.0, crop.1, 3);
                    Preprocessor::with(*kernels, transform).unwrap().run(&picture, &mut out).unwrap();
                    out
                };
                let scalar = of(&sets[0]);
                for kernels in &sets[1..] {
                    let difference = difference(&of(kernels), &scalar);
                    assert!(difference < FUSED, "{} {layout:?} {region:?}: {difference}", kernels.isa());
                }
            }
        }
    }
}
