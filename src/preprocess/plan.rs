//! The work for one layout: tables, buffers, and the passes that use them.
//!
//! The output is made in bands of [`LANES`] rows. For each band, every plane is reduced vertically, row by row, over
//! just the bytes that the crop needs; the band's rows are then interleaved, so that one column of the band is one
//! vector; components are reduced horizontally, and colours computed, on such vectors. All loops run over plain slices
//! of equal length, so that the compiler can vectorise them.

use std::array::from_fn;
use std::ops::Range;

use super::Transform;
use super::color::Affine;
use super::resample::{Side, Taps};
use crate::frame::{Component, Layout, Picture};

/// Output rows that are computed together.
const LANES: usize = 4;

/// Source rows that are added in one pass over an output row.
const ROWS: usize = 4;

/// One column of a band: the same position in [`LANES`] output rows.
type Column = [f32; LANES];

/// Tables and buffers for the pictures of one layout.
#[derive(Debug)]
pub(super) struct PicturePlan {
    layout: Layout,
    planes: Vec<PlanePass>,
    components: Vec<ComponentPass>,
    color: ColorPass,
    /// The three components of a band, later its three colours; components that a format lacks stay 0.
    band: [Vec<Column>; 3],
}

impl PicturePlan {
    /// Prepares for pictures of `layout`, with both sides at least 1.
    pub(super) fn new(transform: &Transform, layout: Layout) -> Self {
        let Layout { format, width, height, color, .. } = layout;
        let ([wide, high], unit) = transform.proportions(&layout);
        let across = Side::new(width, wide, unit, transform.resize, transform.width);
        let down = Side::new(height, high, unit, transform.resize, transform.height);
        let site = color.chroma_site;

        let components: Vec<_> =
            format.components().iter().map(|c| (c, across.taps(c.shift_x, site.cosited_x))).collect();
        let planes: Vec<_> = (0..format.planes())
            .map(|plane| {
                let mut members = components.iter().filter(|(c, _)| c.plane == plane).peekable();
                let shift = members.peek().map_or(0, |(c, _)| c.shift_y);
                let bytes =
                    members.map(|(c, taps)| bytes(c, taps)).reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
                PlanePass::new(plane, down.taps(shift, site.cosited_y), bytes.unwrap_or(0..0))
            })
            .collect();
        let components = components
            .into_iter()
            .map(|(c, taps)| {
                let origin = planes[c.plane].bytes.start;
                ComponentPass::new(c, taps, origin)
            })
            .collect();
        Self {
            layout,
            planes,
            components,
            color: ColorPass::new(Affine::new(format, color), transform),
            band: from_fn(|_| vec![[0.0; LANES]; transform.width]),
        }
    }

    /// The layout of the tables.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Writes the normalised crop of `picture`, which has this plan's layout, into `out`, NHWC.
    pub(super) fn run<T: Sample>(&mut self, picture: &Picture<'_>, out: &mut [T]) {
        let row_length = self.band[0].len() * 3;
        for (index, rows) in out.chunks_mut(LANES * row_length).enumerate() {
            let first = index * LANES;
            for plane in &mut self.planes {
                plane.run(picture, first..first + rows.len() / row_length);
            }
            for (component, samples) in self.components.iter().zip(&mut self.band) {
                component.run(&self.planes[component.plane].columns, samples);
            }
            self.color.run(&mut self.band);
            for (lane, row) in rows.chunks_exact_mut(row_length).enumerate() {
                store(&self.band, lane, row);
            }
        }
    }
}

/// A sample of the output.
pub(super) trait Sample: Copy {
    /// The sample of a normalised colour.
    fn of(colour: f32) -> Self;
}

impl Sample for f32 {
    fn of(colour: f32) -> Self {
        colour
    }
}

/// For colours of 0 to 1.
impl Sample for u8 {
    fn of(colour: f32) -> Self {
        (colour * 255.0).round() as Self
    }
}

/// The bytes of a row that a component's windows cover.
fn bytes(component: &Component, taps: &Taps) -> Range<usize> {
    let reach = taps.reach();
    reach.start * component.step + component.offset..(reach.end - 1) * component.step + component.offset + 1
}

/// The vertical pass of one plane, for all components in it.
#[derive(Debug)]
struct PlanePass {
    plane: usize,
    taps: Taps,
    /// The bytes of a source row that are used.
    bytes: Range<usize>,
    /// [`LANES`] rows of weighted sums, one after the other.
    sums: Vec<f32>,
    /// The same sums, interleaved.
    columns: Vec<Column>,
}

impl PlanePass {
    fn new(plane: usize, taps: Taps, bytes: Range<usize>) -> Self {
        let length = bytes.len();
        Self { plane, taps, bytes, sums: vec![0.0; LANES * length], columns: vec![[0.0; LANES]; length] }
    }

    /// Fills the columns with the output rows `rows`, at most [`LANES`]. Lanes beyond them keep earlier values.
    fn run(&mut self, picture: &Picture<'_>, rows: Range<usize>) {
        let length = self.bytes.len();
        for (y, sums) in rows.zip(self.sums.chunks_exact_mut(length)) {
            let (start, weights) = self.taps.trimmed(y);
            let source = |row: usize| &picture.row(self.plane, row)[self.bytes.clone()];
            let (groups, rest) = weights.as_chunks::<ROWS>();
            sums.fill(0.0);
            for (group, weights) in groups.iter().enumerate() {
                add_rows(sums, from_fn(|k| source(start + group * ROWS + k)), weights);
            }
            for (weight, row) in rest.iter().zip(start + groups.len() * ROWS..) {
                add_rows(sums, [source(row)], &[*weight]);
            }
        }
        interleave(&self.sums, &mut self.columns);
    }
}

/// Adds the weighted `rows` to `sums`; each row is as long as `sums`.
fn add_rows<const N: usize>(sums: &mut [f32], rows: [&[u8]; N], weights: &[f32; N]) {
    let rows = rows.map(|row| &row[..sums.len()]);
    for (i, sum) in sums.iter_mut().enumerate() {
        for (row, weight) in rows.iter().zip(weights) {
            *sum += weight * f32::from(row[i]);
        }
    }
}

/// Turns [`LANES`] rows into columns.
fn interleave(rows: &[f32], columns: &mut [Column]) {
    let length = columns.len();
    let rows: [&[f32]; LANES] = from_fn(|lane| &rows[lane * length..][..length]);
    for (i, column) in columns.iter_mut().enumerate() {
        *column = rows.map(|row| row[i]);
    }
}

/// The horizontal pass of one component.
#[derive(Debug)]
struct ComponentPass {
    plane: usize,
    taps: Taps,
    /// Byte of sample 0 in a row.
    offset: usize,
    /// Byte of the first column in a row: sample `j` is in column `j * step + offset - origin`.
    origin: usize,
    /// Columns from one sample to the next.
    step: usize,
}

impl ComponentPass {
    fn new(component: &Component, taps: Taps, origin: usize) -> Self {
        Self { plane: component.plane, taps, offset: component.offset, origin, step: component.step }
    }

    fn run(&self, columns: &[Column], out: &mut [Column]) {
        let length = (self.taps.count() - 1) * self.step + 1;
        for (i, out) in out.iter_mut().enumerate() {
            let (start, weights) = self.taps.window(i);
            let window = &columns[start * self.step + self.offset - self.origin..][..length];
            let mut sum = [0.0; LANES];
            for (column, weight) in window.iter().step_by(self.step).zip(weights) {
                for (sum, value) in sum.iter_mut().zip(column) {
                    *sum += weight * value;
                }
            }
            *out = sum;
        }
    }
}

/// Converts codes to normalised colours.
#[derive(Debug)]
struct ColorPass {
    affine: Affine,
    scale: [f32; 3],
    offset: [f32; 3],
}

impl ColorPass {
    fn new(affine: Affine, transform: &Transform) -> Self {
        let Transform { mean, std, .. } = transform;
        Self { affine, scale: std.map(f32::recip), offset: from_fn(|i| -mean[i] / std[i]) }
    }

    /// Replaces the three components of a band with its normalised R'G'B'.
    fn run(&self, band: &mut [Vec<Column>; 3]) {
        let [a, b, c] = band;
        for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
            let samples = [*a, *b, *c];
            let color: [Column; 3] = from_fn(|i| {
                let [wa, wb, wc] = self.affine.weights[i];
                from_fn(|lane| {
                    let value =
                        wa * samples[0][lane] + wb * samples[1][lane] + wc * samples[2][lane] + self.affine.offset[i];
                    value.clamp(0.0, 1.0) * self.scale[i] + self.offset[i]
                })
            });
            [*a, *b, *c] = color;
        }
    }
}

/// Writes one row of a band, with the three colours of a pixel next to each other.
fn store<T: Sample>(band: &[Vec<Column>; 3], lane: usize, row: &mut [T]) {
    let [r, g, b] = band;
    for (((pixel, r), g), b) in row.as_chunks_mut::<3>().0.iter_mut().zip(r).zip(g).zip(b) {
        *pixel = [r[lane], g[lane], b[lane]].map(T::of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChromaSite, Color, Matrix, PixelAspect, PixelFormat};

    /// In bytes: rows of 57344 pixels of four bytes, each byte 8 times as `f32`, are 7 MiB; the rest is tables.
    const LARGEST: usize = 16 << 20;

    /// Bytes of all tables and buffers.
    fn memory(plan: &PicturePlan) -> usize {
        let taps = |taps: &Taps| taps.count() * 4 * 224;
        let planes = plan.planes.iter().map(|p| taps(&p.taps) + p.sums.len() * 4 + p.columns.len() * 16);
        planes.chain(plan.components.iter().map(|c| taps(&c.taps))).sum()
    }

    #[test]
    fn memory_stays_small_for_the_largest_and_the_longest_pictures() {
        let chroma_site = ChromaSite { cosited_x: true, cosited_y: true };
        let color = Color { matrix: Matrix::Bt709, chroma_site, ..Color::RGB };
        for (width, height) in [(65_535, 65_535), (8, 65_535), (65_535, 8), (65_535, 257)] {
            for format in [PixelFormat::Gray8, PixelFormat::Nv12, PixelFormat::Yuy2, PixelFormat::Rgbx] {
                let plan = PicturePlan::new(
                    &Transform::IMAGENET,
                    Layout { format, width, height, color, aspect: PixelAspect::SQUARE },
                );
                assert!(memory(&plan) < LARGEST, "{width}×{height} {format:?}: {}", memory(&plan));
            }
        }
    }
}
