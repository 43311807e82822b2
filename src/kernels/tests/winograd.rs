//! Winograd transforms: tiles of all sizes, at the edges of what they may touch.

use std::array::from_fn;
use std::ops::Range;

use super::guarded::Guarded;
use super::{Noise, Sum, kernels};
use crate::kernels::pass::Clamp;
use crate::kernels::tile::{MAX_POINTS, WinogradInput, WinogradOutput};
use crate::kernels::{Kernels, UNIT};

/// Content between the values of the output, which must stay.
const GAP: f32 = 12345.0;

/// Factors of the inputs in the sum for every point: for three, four, six and eight points.
const TO_POINTS: [&[&[f64]]; 4] = [
    &[&[1.0, -1.0, 0.0], &[0.0, 1.0, 0.0], &[0.0, -1.0, 1.0]],
    &[&[1.0, 0.0, -1.0, 0.0], &[0.0, 0.5, 0.5, 0.0], &[0.0, -0.5, 0.5, 0.0], &[0.0, -1.0, 0.0, 1.0]],
    &[
        &[1.0, 0.0, -1.25, 0.0, 0.25, 0.0],
        &[0.0, 2.0 / 3.0, 2.0 / 3.0, -1.0 / 6.0, -1.0 / 6.0, 0.0],
        &[0.0, -2.0 / 3.0, 2.0 / 3.0, 1.0 / 6.0, -1.0 / 6.0, 0.0],
        &[0.0, -1.0 / 12.0, -1.0 / 24.0, 1.0 / 12.0, 1.0 / 24.0, 0.0],
        &[0.0, 1.0 / 12.0, -1.0 / 24.0, -1.0 / 12.0, 1.0 / 24.0, 0.0],
        &[0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
    ],
    &[
        &[1.0, 0.0, -5.25, 0.0, 5.25, 0.0, -1.0, 0.0],
        &[0.0, -2.0 / 9.0, -2.0 / 9.0, 17.0 / 18.0, 17.0 / 18.0, -2.0 / 9.0, -2.0 / 9.0, 0.0],
        &[0.0, 2.0 / 9.0, -2.0 / 9.0, -17.0 / 18.0, 17.0 / 18.0, 2.0 / 9.0, -2.0 / 9.0, 0.0],
        &[0.0, 1.0 / 180.0, 1.0 / 360.0, -1.0 / 36.0, -1.0 / 72.0, 1.0 / 45.0, 1.0 / 90.0, 0.0],
        &[0.0, -1.0 / 180.0, 1.0 / 360.0, 1.0 / 36.0, -1.0 / 72.0, -1.0 / 45.0, 1.0 / 90.0, 0.0],
        &[0.0, 64.0 / 45.0, 128.0 / 45.0, -16.0 / 9.0, -32.0 / 9.0, 16.0 / 45.0, 32.0 / 45.0, 0.0],
        &[0.0, -64.0 / 45.0, 128.0 / 45.0, 16.0 / 9.0, -32.0 / 9.0, -16.0 / 45.0, 32.0 / 45.0, 0.0],
        &[0.0, -1.0, 0.0, 5.25, 0.0, -5.25, 0.0, 1.0],
    ],
];

/// Factors of the products in the sum for every output: for three, four, six and eight points.
const FROM_POINTS: [&[&[f64]]; 4] = [
    &[&[1.0, 1.0, 1.0]],
    &[&[1.0, 1.0, 1.0, 0.0], &[0.0, 1.0, -1.0, 1.0]],
    &[
        &[1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        &[0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
        &[0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
        &[0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
    ],
    &[
        &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        &[0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 0.0],
        &[0.0, 1.0, 1.0, 4.0, 4.0, 0.25, 0.25, 0.0],
        &[0.0, 1.0, -1.0, 8.0, -8.0, 0.125, -0.125, 0.0],
        &[0.0, 1.0, 1.0, 16.0, 16.0, 0.0625, 0.0625, 0.0],
        &[0.0, 1.0, -1.0, 32.0, -32.0, 0.03125, -0.03125, 1.0],
    ],
];

/// Points of a tile of this place in the tables.
fn points(kind: usize) -> usize {
    [3, 4, 6, 8][kind]
}

/// The sum over both dimensions of `value(row, column)`, each times its factors.
fn sum(start: f32, [rows, columns]: [&[f64]; 2], value: impl Fn(usize, usize) -> f32) -> Sum {
    let mut sum = Sum::of(start);
    for (y, a) in rows.iter().enumerate() {
        for (x, b) in columns.iter().enumerate() {
            let term = a * b * f64::from(value(y, x));
            sum.value += term;
            sum.size += term.abs();
        }
    }
    sum
}

/// Numbers of channels that cover every combination of vectors.
fn lanes(kernels: Kernels) -> impl Iterator<Item = usize> {
    (1..=5).map(move |steps| steps * kernels.step()).chain([3 * UNIT])
}

/// Calls `test` for memory at both ends of pages.
fn at_both_ends(mut test: impl FnMut(&dyn Fn(&[f32]) -> Guarded)) {
    test(&Guarded::before);
    test(&Guarded::behind);
}

/// Where the points of a dimension are, `distance` apart.
fn offsets(distance: usize) -> [usize; MAX_POINTS] {
    from_fn(|point| point * distance)
}

/// Transforms a patch of which `rows` and `columns` are in memory.
fn input(kernels: Kernels, kinds: [usize; 2], [rows, columns]: [Range<usize>; 2], lanes: usize) {
    let (stride, pitch, [a, b]) = (lanes + 5, lanes + 3, kinds.map(points));
    let row_stride = b * stride + 2;
    at_both_ends(|guard| {
        let mut noise = Noise(lanes as u32);
        let patch = guard(&noise.values((rows.len() - 1) * row_stride + (columns.len() - 1) * stride + lanes));
        let out = guard(&vec![GAP; (a * b - 1) * pitch + lanes]);
        let call = WinogradInput {
            input: patch.as_ptr().cast_const().wrapping_sub(rows.start * row_stride + columns.start * stride),
            row_stride,
            stride,
            top: rows.start,
            bottom: rows.end,
            left: columns.start,
            right: columns.end,
            out: out.as_ptr(),
            rows: offsets(b * pitch),
            columns: offsets(pitch),
            lanes,
        };
        // SAFETY: the patch and the output are as long as the kernel requires.
        unsafe { kernels.winograd_input(kinds, &call) }
        for (index, value) in out.values().iter().enumerate() {
            let (y, x, lane) = (index / pitch / b, index / pitch % b, index % pitch);
            if lane >= lanes {
                assert_eq!(*value, GAP);
                continue;
            }
            let expected = sum(0.0, [TO_POINTS[kinds[0]][y], TO_POINTS[kinds[1]][x]], |y, x| {
                let inside = rows.contains(&y) && columns.contains(&x);
                let at = || (y - rows.start) * row_stride + (x - columns.start) * stride + lane;
                if inside { patch.values()[at()] } else { 0.0 }
            });
            expected.check(*value, Clamp::NONE, (kernels.isa(), kinds, &rows, &columns, y, x, lane));
        }
    });
}

/// Computes `height` rows of `width` pixels of a tile.
fn output(kernels: Kernels, kinds: [usize; 2], [height, width]: [usize; 2], lanes: usize, clamp: Clamp) {
    let (stride, pitch, [a, b]) = (lanes + 5, lanes + 3, kinds.map(points));
    let row_stride = width * stride + 2;
    at_both_ends(|guard| {
        let mut noise = Noise(lanes as u32);
        let products = guard(&noise.values((a * b - 1) * pitch + lanes));
        let bias = guard(&noise.values(lanes));
        let out = guard(&vec![GAP; (height - 1) * row_stride + (width - 1) * stride + lanes]);
        let call = WinogradOutput {
            products: products.as_ptr(),
            rows: offsets(b * pitch),
            columns: offsets(pitch),
            bias: bias.as_ptr(),
            out: out.as_ptr(),
            row_stride,
            stride,
            height,
            width,
            lanes,
            low: clamp.low,
            high: clamp.high,
        };
        // SAFETY: the products, the bias and the output are as long as the kernel requires.
        unsafe { kernels.winograd_output(kinds, &call) }
        for (index, value) in out.values().iter().enumerate() {
            let (y, x, lane) = (index / row_stride, index % row_stride / stride, index % row_stride % stride);
            if x >= width || lane >= lanes {
                assert_eq!(*value, GAP);
                continue;
            }
            let expected = sum(bias.values()[lane], [FROM_POINTS[kinds[0]][y], FROM_POINTS[kinds[1]][x]], |y, x| {
                products.values()[(y * b + x) * pitch + lane]
            });
            expected.check(*value, clamp, (kernels.isa(), kinds, height, width, y, x, lane));
        }
    });
}

/// Every kind of tile, on every instruction set.
fn all(mut test: impl FnMut(Kernels, [usize; 2], usize)) {
    for kernels in kernels() {
        for kinds in (0..16).map(|kind| [kind / 4, kind % 4]) {
            lanes(kernels).for_each(|lanes| test(kernels, kinds, lanes));
        }
    }
}

#[test]
fn patches_inside_a_map_and_at_its_edges() {
    all(|kernels, kinds, lanes| {
        let [rows, columns] = kinds.map(|kind| {
            let end = points(kind);
            [0..end, 1..end, 0..end - 1, 1..2, 0..2]
        });
        for (row, column) in rows.iter().flat_map(|row| columns.iter().map(move |column| (row, column))) {
            input(kernels, kinds, [row.clone(), column.clone()], lanes);
        }
    });
}

#[test]
fn tiles_inside_a_map_and_at_its_end() {
    all(|kernels, kinds, lanes| {
        let [height, width] = kinds.map(|kind| points(kind) - 2);
        for (height, width) in (1..=height).flat_map(|height| (1..=width).map(move |width| (height, width))) {
            output(kernels, kinds, [height, width], lanes, Clamp::NONE);
            output(kernels, kinds, [height, width], lanes, Clamp::RELU6);
        }
    });
}
