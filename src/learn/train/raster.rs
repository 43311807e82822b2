//! Pictures of a training set in memory.

use crate::frame::{self, Color, Layout, Picture, PixelAspect, PixelFormat};

/// Values per pixel.
pub(super) const CHANNELS: usize = 3;

/// A picture in memory: packed rows of R, G, B, 8 bits each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raster {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width, 3]`.
    pub data: Vec<u8>,
}

/// A part of a picture in pixels, with fractions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    /// The left edge.
    pub left: f64,
    /// The upper edge.
    pub top: f64,
    /// Columns.
    pub width: f64,
    /// Rows.
    pub height: f64,
}

impl Raster {
    /// The picture for preprocessing.
    ///
    /// # Errors
    /// If the data are too short for the size.
    pub fn picture(&self) -> Result<Picture<'_>, frame::Error> {
        let (width, height) = (self.width, self.height);
        let layout = Layout { format: PixelFormat::Rgb, width, height, color: Color::RGB, aspect: PixelAspect::SQUARE };
        Picture::packed(layout, &self.data)
    }

    /// An area, resized to `height` × `width` pixels with a triangle filter that is as wide as the reduction, as Pillow's
    /// `BILINEAR` is: `[height, width, 3]`, from 0 to 1.
    #[must_use]
    pub fn resized(&self, area: Area, [height, width]: [usize; 2]) -> Vec<f32> {
        let across = windows(area.left, area.width, width, self.width);
        let down = windows(area.top, area.height, height, self.height);
        let first = down.iter().map(|(start, _)| *start).min().unwrap_or(0);
        let last = down.iter().map(|(start, weights)| start + weights.len()).max().unwrap_or(0);
        let mut rows = vec![0.0_f32; (last - first) * width * CHANNELS];
        for (row, out) in (first..last).zip(rows.chunks_exact_mut(width * CHANNELS)) {
            let source = &self.data[row * self.width * CHANNELS..][..self.width * CHANNELS];
            for ((start, weights), out) in across.iter().zip(out.chunks_exact_mut(CHANNELS)) {
                for (pixel, weight) in source[start * CHANNELS..].chunks_exact(CHANNELS).zip(weights) {
                    out.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += weight * f32::from(*value));
                }
            }
        }
        let mut out = vec![0.0_f32; height * width * CHANNELS];
        for ((start, weights), out) in down.iter().zip(out.chunks_exact_mut(width * CHANNELS)) {
            for (row, weight) in rows[(start - first) * width * CHANNELS..].chunks_exact(width * CHANNELS).zip(weights)
            {
                out.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value / 255.0);
            }
        }
        out
    }
}

/// The first pixel and the weights, of sum 1, of each of `count` pixels over the `length` ones from `start`, of which
/// `side` exist.
fn windows(start: f64, length: f64, count: usize, side: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = length / count as f64;
    let support = scale.max(1.0);
    let window = |index: usize| {
        let centre = (start + (index as f64 + 0.5) * scale).clamp(0.5, side as f64 - 0.5);
        // Casts of floats to integers saturate: a negative start becomes 0.
        let first = ((centre - support + 0.5) as usize).min(side - 1);
        let end = ((centre + support + 0.5) as usize).clamp(first + 1, side);
        let weight = |pixel: usize| (1.0 - (pixel as f64 + 0.5 - centre).abs() / support).max(0.0);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        (first, weights.iter().map(|weight| (weight / sum) as f32).collect())
    };
    (0..count).map(window).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::random::Random;
    use super::*;
    use crate::preprocess::{Reference, Transform};
    use crate::tensor::Tensor;

    fn raster(width: usize, height: usize) -> Raster {
        let mut random = Random::new(1, &[]);
        Raster { width, height, data: (0..width * height * 3).map(|_| random.below(256) as u8).collect() }
    }

    #[test]
    fn a_whole_picture_is_resized_as_in_evaluation() {
        for (side, to) in [(90, 32), (32, 48), (40, 40)] {
            let raster = raster(side, side);
            let transform =
                Transform { resize: to, height: to, width: to, mean: [0.0; 3], std: [1.0; 3], region: None };
            let mut expected = Tensor::zeros(to, to, 3);
            Reference::new(transform).unwrap().run(&raster.picture().unwrap(), &mut expected).unwrap();
            let side = side as f64;
            let whole = Area { left: 0.0, top: 0.0, width: side, height: side };
            for (found, expected) in raster.resized(whole, [to, to]).iter().zip(expected.data()) {
                assert!((found - expected).abs() < 1.5 / 255.0, "{found}, expected {expected}");
            }
        }
    }
}
