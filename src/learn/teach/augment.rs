//! Variants of a picture: as it may look at another hour, a little moved, or through a worse camera.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageFormat};

use crate::frame::Region;
use crate::learn::random::SplitMix64;
use crate::preprocess::Transform;
use crate::tensor::TensorMut;

/// Steps of the table of brightness.
const STEPS: usize = 1024;

/// How a variant differs from its picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Augmentation {
    /// Seed of the noise.
    seed: u64,
    /// Movement in shares of the region's sides.
    moved: [f64; 2],
    /// Share of the region's sides that is seen.
    seen: f64,
    gain: [f64; 3],
    gamma: f64,
    contrast: f64,
    /// How much brighter the right and the lower edges are than the middle.
    slope: [f64; 2],
    noise: f64,
    is_blurred: bool,
    /// Quality of a JPEG file in between.
    quality: Option<u8>,
}

impl Augmentation {
    /// Augmentation number `variant` of the picture with the key `picture`.
    pub(super) fn of(picture: u64, variant: u64) -> Self {
        let mut numbers = SplitMix64::of(&[picture, variant]);
        let mut between = |from: f64, to: f64| numbers.between(from, to);
        let moved = [between(-0.05, 0.05), between(-0.05, 0.05)];
        let gain = between(0.5_f64.ln(), 1.6_f64.ln()).exp();
        let tint = [0, 1, 2].map(|_| gain * between(0.9, 1.1));
        let (gamma, contrast) = (between(-0.3, 0.3).exp(), between(0.85, 1.15));
        let slope = [between(-0.25, 0.25), between(-0.15, 0.15)];
        let noise = between(0.0, 0.03);
        let (seen, is_blurred) = (between(0.94, 1.0), between(0.0, 1.0) < 0.25);
        let quality = (between(0.0, 1.0) < 0.34).then(|| between(25.0, 70.0) as u8);
        Self { moved, seen, gain: tint, gamma, contrast, slope, noise, is_blurred, quality, seed: numbers.bits() }
    }

    /// The part of the picture that the variant shows.
    pub(super) fn region(&self, region: &Region) -> Region {
        region.reduced(self.seen).moved(self.moved[0], self.moved[1])
    }

    /// Changes the colours of an input that `transform` has made.
    pub(super) fn apply(&self, transform: &Transform, mut input: TensorMut<'_>) {
        let [height, width, _] = input.shape();
        let Transform { mean, std, .. } = *transform;
        let table: Vec<[f32; 3]> = (0..STEPS)
            .map(|step| {
                let colour = (step as f64 / (STEPS - 1) as f64).powf(self.gamma);
                self.gain.map(|gain| (((colour * gain - 0.5) * self.contrast) + 0.5) as f32)
            })
            .collect();
        let mut noise = SplitMix64::of(&[self.seed]);
        let pixels = input.data_mut();
        for (row, line) in pixels.chunks_exact_mut(width * 3).enumerate() {
            let down = self.slope[1] * (row as f64 / height as f64 * 2.0 - 1.0);
            for (column, pixel) in line.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let light = (1.0 + down + self.slope[0] * (column as f64 / width as f64 * 2.0 - 1.0)) as f32;
                // Sums of four uniform numbers are nearly normal; each colour takes 20 other bits of the 64.
                let bits = noise.bits();
                for channel in 0..3 {
                    let colour = (pixel[channel] * std[channel] + mean[channel]).clamp(0.0, 1.0);
                    let step = (colour * (STEPS - 1) as f32).round() as usize;
                    let bits = bits.rotate_left(20 * channel as u32);
                    let sum: u64 = (0..4).map(|part| bits >> (5 * part) & 31).sum();
                    // √(4 · (32² − 1) / 12) = 18.47 is the standard deviation of the sum.
                    let random = (sum as f32 - 62.0) / 18.47;
                    pixel[channel] = (table[step][channel] * light + random * self.noise as f32).clamp(0.0, 1.0);
                }
            }
        }
        if self.is_blurred {
            blur(pixels, width);
        }
        if let Some(quality) = self.quality {
            compress(pixels, [width, height], quality);
        }
        for pixel in pixels.as_chunks_mut::<3>().0 {
            for channel in 0..3 {
                pixel[channel] = (pixel[channel] - mean[channel]) / std[channel];
            }
        }
    }
}

/// Means of three pixels along each side; the edges stay.
fn blur(pixels: &mut [f32], width: usize) {
    for line in pixels.chunks_exact_mut(width * 3) {
        let before = line.to_vec();
        for index in 3..line.len().saturating_sub(3) {
            line[index] = (before[index - 3] + before[index] + before[index + 3]) / 3.0;
        }
    }
    let (length, mut above) = (width * 3, pixels[..width * 3].to_vec());
    for start in (length..pixels.len().saturating_sub(length)).step_by(length) {
        let here = pixels[start..start + length].to_vec();
        for index in 0..length {
            pixels[start + index] = (above[index] + here[index] + pixels[start + length + index]) / 3.0;
        }
        above = here;
    }
}

/// What is left of colours from 0 to 1 in a JPEG file; unchanged if that fails.
fn compress(pixels: &mut [f32], [width, height]: [usize; 2], quality: u8) {
    let bytes: Vec<u8> = pixels.iter().map(|colour| (colour * 255.0).round() as u8).collect();
    let mut file = Vec::new();
    let (Ok(columns), Ok(rows)) = (u32::try_from(width), u32::try_from(height)) else { return };
    let encoder = JpegEncoder::new_with_quality(&mut file, quality);
    if image::ImageEncoder::write_image(encoder, &bytes, columns, rows, ExtendedColorType::Rgb8).is_err() {
        return;
    }
    if let Ok(decoded) = image::load(Cursor::new(file), ImageFormat::Jpeg) {
        for (colour, sample) in pixels.iter_mut().zip(decoded.into_rgb8().into_raw()) {
            *colour = f32::from(sample) / 255.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn variants_are_reproducible_differ_and_stay_colours() {
        let transform = Transform::IMAGENET;
        let make = |picture, variant| {
            let mut input = Tensor::zeros(32, 24, 3);
            for (index, value) in input.data_mut().iter_mut().enumerate() {
                *value = ((index % 97) as f32 / 96.0 - transform.mean[index % 3]) / transform.std[index % 3];
            }
            Augmentation::of(picture, variant).apply(&transform, TensorMut::from(&mut input));
            input.data().to_vec()
        };
        assert_eq!(make(1, 1), make(1, 1));
        let mut all: Vec<Vec<f32>> = (0..20).map(|variant| make(1, variant)).collect();
        all.push(make(2, 1));
        for (index, one) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other != one), "{index}");
            let is_colour = |(index, value): (usize, &f32)| {
                let colour = value * transform.std[index % 3] + transform.mean[index % 3];
                (-1e-4..=1.0001).contains(&colour)
            };
            assert!(one.iter().enumerate().all(is_colour));
        }
    }

    #[test]
    fn a_variant_shows_a_part_inside_the_picture() {
        for variant in 0..100 {
            let [x, y, width, height] = Augmentation::of(0, variant).region(&Region::WHOLE).shares();
            assert!(x >= 0.0 && y >= 0.0 && x + width <= 1.0 + 1e-9 && y + height <= 1.0 + 1e-9);
            assert!(width > 0.9 && height > 0.9);
        }
    }
}
