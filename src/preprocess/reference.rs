//! Torchvision's evaluation transform of a Pillow picture, bit for bit.
//!
//! The order of operations and the arithmetic are those with which Pillow 13 resamples 8-bit samples: one pass along
//! the rows and one along the columns. In each pass, 32-bit sums of samples times weights with [`PRECISION`] fractional
//! bits are rounded by adding half a unit and truncating, and clamped to 0 to 255. `ToTensor` divides by 255 and
//! `Normalize` subtracts the mean and divides by the deviation, each rounded to `f32`: a table of the 256 possible
//! samples.
//!
//! The pass along the rows comes first, unless the height loses more than twice as many pixels as the width: then
//! Pillow 13 takes the columns first, as it does for most pictures that are over twice as high as wide and are reduced.
//! Earlier versions take the rows first (12.2 too, up to a height of 100 times the width), so some samples of such
//! pictures differ from theirs by 1.
//!
//! Pillow resizes the whole picture and torchvision then crops it. Here only the crop is computed, with the same
//! result: an output pixel depends only on its own windows.

use std::array::from_fn;

use super::resample::{PRECISION, Side, Taps};
use super::{Error, Transform};
use crate::frame::{Layout, Picture, PixelAspect, PixelFormat};
use crate::tensor::TensorMut;

/// Half a unit of an 8-bit sample, in fixed point.
const HALF: i32 = 1 << (PRECISION - 1);

/// Reduced rows that are added in one pass over an output row.
const ROWS: usize = 4;

/// Samples per pixel.
const CHANNELS: usize = 3;

/// Applies one [`Transform`] to RGB pictures of any size exactly as torchvision and Pillow do: for evaluation results
/// that must be comparable with theirs.
///
/// Tables and buffers are made for the first picture and again whenever the size changes.
#[derive(Debug)]
pub struct Reference {
    transform: Transform,
    /// The normalised value of every sample, for R, G and B.
    values: [[f32; 256]; CHANNELS],
    plan: Option<Tables>,
}

impl Reference {
    /// A preprocessor without tables.
    ///
    /// # Errors
    /// If the crop has no pixels or exceeds the resized picture (torchvision would pad it with zeros),
    /// [`MAX_RESIZE`](super::MAX_RESIZE) is exceeded, or a mean or deviation is unusable.
    pub fn new(transform: Transform) -> Result<Self, Error> {
        transform.check()?;
        let Transform { mean, std, .. } = transform;
        let values = from_fn(|channel| from_fn(|v| (v as f32 / 255.0 - mean[channel]) / std[channel]));
        Ok(Self { transform, values, plan: None })
    }

    /// The transform.
    #[must_use]
    pub fn transform(&self) -> &Transform {
        &self.transform
    }

    /// Shape of the output tensors: height, width, channels.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.transform.shape()
    }

    /// Writes the normalised crop of `picture`, which must be [`PixelFormat::Rgb`], into `out`: NHWC, channels R, G, B,
    /// each `(sample / 255 - mean) / std`. Ignores the picture's [`Color`](crate::frame::Color).
    ///
    /// # Errors
    /// As for [`Reference::crop`], or if `out` does not have the [`shape`](Self::shape) of the crop; `out` is then
    /// unchanged.
    pub fn run<'a>(&mut self, picture: &Picture<'_>, out: impl Into<TensorMut<'a>>) -> Result<(), Error> {
        let mut out = out.into();
        self.transform.check_tensor(&out)?;
        let picture = Self::rgb_part(&self.transform, picture)?;
        let plan = Tables::prepare(&mut self.plan, &self.transform, picture.layout());
        plan.run(&picture);
        let samples = plan.crop.as_chunks::<CHANNELS>().0;
        let [red, green, blue] = &self.values;
        for (out, &[r, g, b]) in out.data_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().zip(samples) {
            *out = [red[usize::from(r)], green[usize::from(g)], blue[usize::from(b)]];
        }
        Ok(())
    }

    /// The crop of `picture`, which must be [`PixelFormat::Rgb`], before normalisation: packed rows of R, G, B, 8 bits
    /// each.
    ///
    /// # Errors
    /// If the picture has another format, or its shorter side is below [`MIN_SIDE`](super::MIN_SIDE).
    pub fn crop(&mut self, picture: &Picture<'_>) -> Result<&[u8], Error> {
        let picture = Self::rgb_part(&self.transform, picture)?;
        let plan = Tables::prepare(&mut self.plan, &self.transform, picture.layout());
        plan.run(&picture);
        Ok(&plan.crop)
    }

    /// The part of a picture that is used, if it is of the right format and large enough.
    fn rgb_part<'a>(transform: &Transform, picture: &Picture<'a>) -> Result<Picture<'a>, Error> {
        match picture.layout().format {
            PixelFormat::Rgb => transform.part(picture),
            format => Err(Error::Format { format }),
        }
    }
}

/// Tables and buffers for the pictures of one size.
#[derive(Debug)]
struct Tables {
    /// Height and width of the pictures.
    size: [usize; 2],
    across: Taps<i32>,
    down: Taps<i32>,
    between: Between,
    /// The sums of one row of the vertical pass.
    sums: Vec<i32>,
    crop: Vec<u8>,
}

/// The data between the two passes.
#[derive(Debug)]
enum Between {
    /// The pass along the rows comes first: reduced rows.
    Rows(Rows),
    /// The pass along the columns comes first: one row of the full width, packed RGB.
    Columns(Vec<u8>),
}

impl Tables {
    /// The plan for pictures of `layout` in `slot`, replaced if it is for another size.
    fn prepare<'a>(slot: &'a mut Option<Self>, transform: &Transform, layout: &Layout) -> &'a mut Self {
        let size = [layout.height, layout.width];
        let kept = slot.take().filter(|plan| plan.size == size);
        slot.insert(kept.unwrap_or_else(|| Self::new(transform, layout)))
    }

    fn new(transform: &Transform, layout: &Layout) -> Self {
        let Layout { width, height, .. } = *layout;
        // A stored picture's pixels are square.
        let ([wide, high], unit) = transform.proportions(&Layout { aspect: PixelAspect::SQUARE, ..*layout });
        let across = Side::new(width, wide, unit, transform.resize, transform.width);
        let down = Side::new(height, high, unit, transform.resize, transform.height);
        let columns_first = down.loss() > 0 && down.loss() > 2 * across.loss();
        let (across, down) = (across.fixed_taps(), down.fixed_taps());
        let length = transform.width * CHANNELS;
        let (between, sums) = if columns_first {
            (Between::Columns(vec![0; width * CHANNELS]), width * CHANNELS)
        } else {
            (Between::Rows(Rows::new(down.count(), length)), length)
        };
        let size = [height, width];
        Self { size, across, down, between, sums: vec![0; sums], crop: vec![0; transform.height * length] }
    }

    /// Fills the crop.
    fn run(&mut self, picture: &Picture<'_>) {
        let Self { across, down, between, sums, crop, .. } = self;
        if let Between::Rows(rows) = between {
            rows.clear();
        }
        for (y, out) in crop.chunks_exact_mut(across.pixels() * CHANNELS).enumerate() {
            let (start, weights) = down.trimmed(y);
            match between {
                Between::Rows(rows) => {
                    for row in start..start + weights.len() {
                        rows.fill(row, |out| reduce(picture.row(0, row), across, out));
                    }
                    stack(|row| rows.get(row), start, weights, sums, out);
                }
                Between::Columns(row) => {
                    stack(|row| picture.row(0, row), start, weights, sums, row);
                    reduce(row, across, out);
                }
            }
        }
    }
}

/// Source rows after the horizontal pass: as many as one window needs.
#[derive(Debug)]
struct Rows {
    length: usize,
    /// The row in each slot. Row `r` goes to slot `r` modulo the number of slots.
    held: Vec<Option<usize>>,
    data: Vec<u8>,
}

impl Rows {
    fn new(count: usize, length: usize) -> Self {
        Self { length, held: vec![None; count], data: vec![0; count * length] }
    }

    fn clear(&mut self) {
        self.held.fill(None);
    }

    /// Calls `fill` to write `row` unless it is present.
    fn fill(&mut self, row: usize, fill: impl FnOnce(&mut [u8])) {
        let slot = row % self.held.len();
        if self.held[slot] != Some(row) {
            self.held[slot] = Some(row);
            fill(&mut self.data[slot * self.length..][..self.length]);
        }
    }

    fn get(&self, row: usize) -> &[u8] {
        let slot = row % self.held.len();
        &self.data[slot * self.length..][..self.length]
    }
}

/// The horizontal pass of one row of packed RGB.
fn reduce(source: &[u8], taps: &Taps<i32>, out: &mut [u8]) {
    let source = source.as_chunks::<CHANNELS>().0;
    for (i, out) in out.as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
        let (start, weights) = taps.window(i);
        let mut sums = [HALF; CHANNELS];
        for (pixel, weight) in source[start..start + weights.len()].iter().zip(weights) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += weight * i32::from(*value);
            }
        }
        *out = sums.map(sample);
    }
}

/// The vertical pass of one row: writes the weighted sum of the rows from `start` on into `out`.
fn stack<'a>(source: impl Fn(usize) -> &'a [u8], start: usize, weights: &[i32], sums: &mut [i32], out: &mut [u8]) {
    sums.fill(HALF);
    let (groups, rest) = weights.as_chunks::<ROWS>();
    for (group, weights) in groups.iter().enumerate() {
        add_rows(sums, from_fn(|k| source(start + group * ROWS + k)), weights);
    }
    for (weight, row) in rest.iter().zip(start + groups.len() * ROWS..) {
        add_rows(sums, [source(row)], &[*weight]);
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = sample(*sum);
    }
}

/// Adds the weighted `rows` to `sums`; each row is as long as `sums`.
fn add_rows<const N: usize>(sums: &mut [i32], rows: [&[u8]; N], weights: &[i32; N]) {
    let rows = rows.map(|row| &row[..sums.len()]);
    for (i, sum) in sums.iter_mut().enumerate() {
        for (row, weight) in rows.iter().zip(weights) {
            *sum += weight * i32::from(row[i]);
        }
    }
}

/// The sample for a sum that includes [`HALF`].
fn sample(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}
