//! The work for one layout: tables, buffers, and the passes that use them.
//!
//! The output is made in bands of as many rows as suit the instruction set. For each band, every plane is reduced
//! vertically, row by row, over just the bytes that the crop needs, to sums in 16 bits of fixed point. The band's rows are
//! then turned, so that one place of all rows is a column; components are reduced horizontally by adding columns, turned
//! back to rows, and become colours in the output.

use std::array::from_fn;
use std::ops::Range;

use super::color::Affine;
use super::resample::{Side, Taps};
use super::{Error, Read, Transform};
use crate::frame::{Component, Layout, Picture, SampleDepth};
use crate::kernels::{ColourMap, Kernels, SUMS_PER_CODE, SampleRows, Windows};

/// Tables and buffers for the pictures of one layout.
#[derive(Debug)]
pub(super) struct PicturePlan {
    kernels: Kernels,
    layout: Layout,
    /// Columns of the output.
    width: usize,
    planes: Vec<PlanePass>,
    components: Vec<ComponentPass>,
    colours: ColourMap,
    /// A column for each pixel of a band, padded to whole squares.
    columns: Vec<u16>,
    /// The rows of a band, for each component; those that a format lacks stay 0.
    rows: [Vec<u16>; 3],
}

impl PicturePlan {
    /// Prepares for pictures of `layout`, with both sides at least 1.
    ///
    /// # Errors
    /// If the picture is too wide for its tables.
    pub(super) fn new(transform: &Transform, layout: Layout, kernels: Kernels) -> Result<Self, Error> {
        let Layout { format, width, height, color, .. } = layout;
        let ([wide, high], unit) = transform.proportions(&layout);
        let across = Side::new(width, wide, unit, transform.resize, transform.width);
        let down = Side::new(height, high, unit, transform.resize, transform.height);
        let (site, band, depth) = (color.chroma_site, kernels.band(), format.depth());

        let components: Vec<_> =
            format.components().iter().map(|c| (c, across.sum_taps(c.shift_x, site.cosited_x))).collect();
        let planes: Vec<_> = (0..format.planes())
            .map(|plane| {
                let mut members = components.iter().filter(|(c, _)| c.plane == plane).peekable();
                let shift = members.peek().map_or(0, |(c, _)| c.shift_y);
                let samples = members.map(|(c, taps)| samples(c, taps, depth));
                let samples = samples.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..0);
                PlanePass::new(plane, down.sum_taps(shift, site.cosited_y), samples, depth, band)
            })
            .collect();
        let components = components.into_iter().map(|(c, taps)| {
            let windows = taps.windows(c.step / depth.bytes, c.offset / depth.bytes, planes[c.plane].samples.start);
            windows.map(|windows| ComponentPass { plane: c.plane, windows })
        });
        let components = components.collect::<Result<_, _>>().map_err(|_| Error::TooWide { width, height })?;
        let length = transform.width.next_multiple_of(band) * band;
        Ok(Self {
            kernels,
            layout,
            width: transform.width,
            planes,
            components,
            colours: colours(&Affine::new(format, color), transform),
            columns: vec![0; length],
            rows: from_fn(|_| vec![0; length]),
        })
    }

    /// The layout of the tables.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The bytes on which the output depends.
    pub(super) fn reads(&self) -> Vec<Read> {
        let of = |pass: &PlanePass| {
            let SampleDepth { bytes, .. } = pass.depth;
            let samples = &pass.samples;
            Read { plane: pass.plane, rows: pass.taps.reach(), bytes: samples.start * bytes..samples.end * bytes }
        };
        self.planes.iter().map(of).collect()
    }

    /// Writes the normalised crop of `picture`, which has this plan's layout, into `out`, NHWC.
    pub(super) fn run(&mut self, picture: &Picture<'_>, out: &mut [f32]) {
        self.rows_of(picture, out, |colours, row| colours(row));
    }

    /// The same with colours of 0 to 1 in steps of 1 / 255. `row` is a buffer.
    pub(super) fn run_bytes(&mut self, picture: &Picture<'_>, row: &mut Vec<f32>, out: &mut [u8]) {
        row.resize(3 * self.width, 0.0);
        self.rows_of(picture, out, |colours, out| {
            colours(row);
            for (out, colour) in out.iter_mut().zip(row.iter()) {
                *out = (colour * 255.0).round() as u8;
            }
        });
    }

    /// Calls `write` for each row of `out`, with a function that writes its colours.
    fn rows_of<T>(
        &mut self,
        picture: &Picture<'_>,
        out: &mut [T],
        mut write: impl FnMut(&dyn Fn(&mut [f32]), &mut [T]),
    ) {
        let (band, row_length) = (self.kernels.band(), 3 * self.width);
        for (index, rows) in out.chunks_mut(band * row_length).enumerate() {
            let first = index * band;
            self.sum(picture, first..first + rows.len() / row_length);
            let length = self.columns.len() / band;
            for (lane, row) in rows.chunks_exact_mut(row_length).enumerate() {
                let sums = self.rows.each_ref().map(|rows| &rows[lane * length..][..length]);
                write(&|row| self.kernels.colours(sums, &self.colours, row), row);
            }
        }
    }

    /// Fills the band's rows of every component with the output rows `rows`. Rows beyond them keep earlier values.
    fn sum(&mut self, picture: &Picture<'_>, rows: Range<usize>) {
        for plane in &mut self.planes {
            plane.run(self.kernels, picture, rows.clone());
        }
        for (component, rows) in self.components.iter().zip(&mut self.rows) {
            self.kernels.sum_columns(&self.planes[component.plane].columns, &component.windows, &mut self.columns);
            self.kernels.to_rows(&self.columns, rows);
        }
    }
}

/// From sums to normalised colours.
fn colours(affine: &Affine, transform: &Transform) -> ColourMap {
    let Transform { mean, std, .. } = transform;
    let low: [f32; 3] = from_fn(|colour| -mean[colour] / std[colour]);
    ColourMap {
        weights: from_fn(|colour| affine.weights[colour].map(|weight| weight / f32::from(SUMS_PER_CODE) / std[colour])),
        offset: from_fn(|colour| affine.offset[colour] / std[colour] + low[colour]),
        low,
        high: from_fn(|colour| (1.0 - mean[colour]) / std[colour]),
    }
}

/// The samples of a row of the plane that a component's windows cover.
fn samples(component: &Component, taps: &Taps<u16>, depth: SampleDepth) -> Range<usize> {
    let (reach, step, offset) = (taps.reach(), component.step / depth.bytes, component.offset / depth.bytes);
    reach.start * step + offset..(reach.end - 1) * step + offset + 1
}

/// The vertical pass of one plane, for all components in it.
#[derive(Debug)]
struct PlanePass {
    plane: usize,
    taps: Taps<u16>,
    /// The samples of a source row that are used.
    samples: Range<usize>,
    depth: SampleDepth,
    /// A band of rows of sums, padded to whole squares.
    sums: Vec<u16>,
    /// The same sums in columns.
    columns: Vec<u16>,
}

impl PlanePass {
    fn new(plane: usize, taps: Taps<u16>, samples: Range<usize>, depth: SampleDepth, band: usize) -> Self {
        let length = samples.len().next_multiple_of(band) * band;
        Self { plane, taps, samples, depth, sums: vec![0; length], columns: vec![0; length] }
    }

    /// Fills the columns with the output rows `rows`, at most a band. Rows beyond them keep earlier values.
    fn run(&mut self, kernels: Kernels, picture: &Picture<'_>, rows: Range<usize>) {
        let length = self.sums.len() / kernels.band();
        let SampleDepth { bytes, spare, .. } = self.depth;
        for (y, sums) in rows.zip(self.sums.chunks_exact_mut(length)) {
            let (start, weights) = self.taps.trimmed(y);
            let plane = picture.rows(self.plane, start..start + weights.len());
            let data = &plane.data[self.samples.start * bytes..];
            let rows = SampleRows { data, stride: plane.stride, bytes, shift: spare };
            kernels.sum_rows(&rows, weights, &mut sums[..self.samples.len()]);
        }
        kernels.to_columns(&self.sums, &mut self.columns);
    }
}

/// The horizontal pass of one component.
#[derive(Debug)]
struct ComponentPass {
    plane: usize,
    windows: Windows,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::frame::{ChromaSite, Color, Matrix, PixelAspect, PixelFormat};
    use crate::kernels::Isa;

    /// In bytes: rows of 57344 pixels of four bytes, each byte in two bands of 16 sums, are 14 MiB; the rest is tables.
    const LARGEST: usize = 16 << 20;

    /// Bytes of all tables and buffers.
    fn memory(plan: &PicturePlan) -> usize {
        let planes = plan.planes.iter().map(|p| p.taps.count() * 2 * 224 + (p.sums.len() + p.columns.len()) * 2);
        planes.sum::<usize>() + plan.components.len() * 224 * 2 * 512 + plan.columns.len() * 2 * 4
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
                    Kernels::of(Isa::best()).unwrap(),
                )
                .unwrap();
                assert!(memory(&plan) < LARGEST, "{width}×{height} {format:?}: {}", memory(&plan));
            }
        }
    }
}
