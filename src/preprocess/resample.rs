//! Which source samples contribute to an output pixel, and with what weights.
//!
//! The geometry is torchvision's `Resize` (the shorter side becomes `resize`, the other
//! `int(resize * long / short)`) followed by `CenterCrop` (`int(round((side - crop) / 2.0))` with
//! Python's rounding of halves to even). The weights are Pillow's for `BILINEAR`: a triangle as wide as the reduction
//! factor, to avoid aliasing, and one sample wide when magnifying. Windows end at the picture's border, and the
//! remaining weights are scaled to a sum of 1.
//!
//! Tables cover only the crop: their size depends on the crop and the reduction factor, not on the length of the
//! resized picture.

use crate::kernels::{ONE, Windows, WindowsError};

/// Fractional bits of the fixed-point weights, as in Pillow for 8-bit pictures: a sum of products with samples takes 30
/// bits of 32.
pub(super) const PRECISION: u32 = 22;

/// One side of a picture on its way to the output: `length` pixels are resized to `resized`, of which `crop` pixels
/// from `first` on are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Side {
    length: usize,
    resized: u64,
    first: u64,
    crop: usize,
}

impl Side {
    /// The side of `length` pixels, `shown` long, of a picture of which `unit`, in the same unit, becomes `resize` pixels.
    /// `crop` is at most the length of the resized side, and `unit` at least 1.
    pub(super) fn new(length: usize, shown: u64, unit: u64, resize: usize, crop: usize) -> Self {
        let resized = (resize as u64).saturating_mul(shown) / unit;
        let first = half_to_even(resized.saturating_sub(crop as u64));
        Self { length, resized, first, crop }
    }

    /// Number of pixels lost in resizing; negative if the side is magnified.
    pub(super) fn loss(&self) -> i64 {
        self.length as i64 - i64::try_from(self.resized).unwrap_or(i64::MAX)
    }

    /// The weights for samples that are subsampled by `1 << shift` along this side, in units of 1 / [`ONE`], each below 1,
    /// for sums in 16 bits: rounded to the nearest, except that the largest of a pixel takes what is missing for a sum of 1.
    ///
    /// Positions are in pixels of the full picture, where sample `j` of `f = 1 << shift` pixels has its centre at
    /// `f j + f / 2` (between the pixels) or at `f j + 1/2` (`cosited` with the first).
    pub(super) fn sum_taps(&self, shift: u32, cosited: bool) -> Taps<u16> {
        Taps::new(&self.windows(shift, cosited), self.samples(shift), sum_weights)
    }

    /// The weights for samples that are not subsampled, in units of `1 << -`[`PRECISION`], as Pillow
    /// rounds them: to the nearest, a half upwards.
    pub(super) fn fixed_taps(&self) -> Taps<i32> {
        // The cast truncates, and weights are never negative.
        let fixed = |weight: &f64| (weight * f64::from(1 << PRECISION) + 0.5) as i32;
        let fixed = |weights: &[f64]| weights.iter().map(fixed).collect();
        Taps::new(&self.windows(0, false), self.samples(0), fixed)
    }

    /// Samples along this side.
    fn samples(&self, shift: u32) -> usize {
        self.length.div_ceil(1 << shift)
    }

    /// The first sample and the weights of each pixel of the crop.
    fn windows(&self, shift: u32, cosited: bool) -> Vec<(usize, Vec<f64>)> {
        let factor = f64::from(1_u32 << shift);
        let scale = self.length as f64 / self.resized as f64;
        let support = (scale / factor).max(1.0);
        (0..self.crop)
            .map(|i| {
                let pixel = (self.first as f64 + i as f64 + 0.5) * scale;
                let centre = if cosited && shift > 0 { (pixel - 0.5) / factor + 0.5 } else { pixel / factor };
                window(centre, support, self.samples(shift))
            })
            .collect()
    }
}

/// `round(n / 2.0)` as in Python: a half goes to the even neighbour.
fn half_to_even(n: u64) -> u64 {
    let half = n / 2;
    if n % 2 == 1 && half % 2 == 1 { half + 1 } else { half }
}

/// The first sample and the weights (of sum 1) of a triangle of half-width `support` around `centre`, where sample `j`
/// has its centre at `j + 1/2`.
///
/// `centre` lies less than one sample beyond the samples' centres and `support` is at least 1, so the window is never
/// empty. The operations are Pillow's, in Pillow's order, so that the weights are bit-identical.
fn window(centre: f64, support: f64, samples: usize) -> (usize, Vec<f64>) {
    // Casts of floats to integers truncate and saturate: a negative start becomes 0.
    let start = (centre - support + 0.5) as usize;
    let end = ((centre + support + 0.5) as usize).min(samples);
    let inverse = 1.0 / support;
    let triangle = |j: usize| (1.0 - ((j as f64 - centre + 0.5) * inverse).abs()).max(0.0);
    let mut weights: Vec<f64> = (start..end).map(triangle).collect();
    let total: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= total);
    (start, weights)
}

/// Weights of sum 1 in units of 1 / [`ONE`]; see [`Side::sum_taps`].
fn sum_weights(weights: &[f64]) -> Vec<u16> {
    let mut fixed: Vec<u16> = weights.iter().map(|weight| (weight * f64::from(ONE)).round() as u16).collect();
    let sum: i32 = fixed.iter().copied().map(i32::from).sum();
    if let Some(largest) = fixed.iter_mut().max() {
        let missing = i32::from(ONE) - sum;
        *largest = u16::try_from(i32::from(*largest) + missing).unwrap_or(ONE).min(ONE - 1);
    }
    fixed
}

/// The windows of one side: the same number of weights for every output pixel, padded with zeros, so that loops over
/// them have a fixed length.
#[derive(Debug)]
pub(super) struct Taps<T> {
    count: usize,
    starts: Vec<usize>,
    weights: Vec<T>,
}

impl<T: Copy + Default + PartialEq> Taps<T> {
    fn new(windows: &[(usize, Vec<f64>)], samples: usize, convert: impl Fn(&[f64]) -> Vec<T>) -> Self {
        let count = windows.iter().map(|(_, weights)| weights.len()).max().unwrap_or(0);
        let mut starts = Vec::with_capacity(windows.len());
        let mut padded = vec![T::default(); windows.len() * count];
        for ((start, weights), padded) in windows.iter().zip(padded.chunks_exact_mut(count.max(1))) {
            let padded_start = (*start).min(samples - count);
            for (to, weight) in padded[start - padded_start..].iter_mut().zip(convert(weights)) {
                *to = weight;
            }
            starts.push(padded_start);
        }
        Self { count, starts, weights: padded }
    }

    /// The first sample of output pixel `i` and its weights, padded to [`Taps::count`].
    pub(super) fn window(&self, i: usize) -> (usize, &[T]) {
        (self.starts[i], &self.weights[i * self.count..(i + 1) * self.count])
    }

    /// The first sample of output pixel `i` and its weights, without the zeros at both ends.
    pub(super) fn trimmed(&self, i: usize) -> (usize, &[T]) {
        let (start, weights) = self.window(i);
        let zero = |weight: &&T| **weight == T::default();
        let lead = weights.iter().take_while(zero).count();
        let tail = weights.iter().rev().take_while(zero).count();
        (start + lead, &weights[lead..weights.len() - tail.min(weights.len() - lead)])
    }

    /// The same windows over columns: sample `j` is in column `j * step + offset - origin`.
    ///
    /// # Errors
    /// If there are too many columns.
    pub(super) fn windows(&self, step: usize, offset: usize, origin: usize) -> Result<Windows, WindowsError>
    where
        T: Into<u16>,
    {
        let starts: Vec<usize> = self.starts.iter().map(|start| start * step + offset - origin).collect();
        Windows::new(&starts, step, self.weights.iter().map(|weight| (*weight).into()).collect())
    }

    /// Output pixels.
    pub(super) fn pixels(&self) -> usize {
        self.starts.len()
    }

    /// Weights per output pixel.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The range of samples that the padded windows cover.
    pub(super) fn reach(&self) -> std::ops::Range<usize> {
        let first = self.starts.iter().min().copied().unwrap_or(0);
        let last = self.starts.iter().max().copied().unwrap_or(0);
        first..last + self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_crops_are_those_of_torchvision() {
        // (length, short) of the side, then its resized length and the first pixel of the crop.
        let cases = [
            ((500, 375), 341, 58),
            ((375, 375), 256, 16),
            ((640, 360), 455, 116),
            ((311, 257), 309, 42),
            ((1920, 1080), 455, 116),
            ((257, 256), 257, 16),
            ((259, 256), 259, 18),
        ];
        for ((length, short), resized, first) in cases {
            let side = Side::new(length, length as u64, short as u64, 256, 224);
            assert_eq!((side.resized, side.first), (resized, first), "side {length} of a picture of {short}");
        }
    }

    #[test]
    fn a_side_that_keeps_its_length_is_copied() {
        let taps = Side::new(256, 256, 256, 256, 224).sum_taps(0, false);
        for i in 0..224 {
            assert_eq!(taps.trimmed(i), (16 + i, &[ONE - 1][..]));
        }
    }

    #[test]
    fn halving_weights_four_samples_as_pillow_does() {
        let side = Side::new(16, 16, 16, 8, 8);
        let taps = side.sum_taps(0, false);
        assert_eq!(taps.trimmed(3), (5, &[ONE / 8, ONE / 8 * 3, ONE / 8 * 3, ONE / 8][..]));
        // Sevenths of 32768: 14043.4 and 4681.1; one takes the missing 1.
        assert_eq!(taps.trimmed(0), (0, &[14_043, 14_044, 4_681][..]));
    }

    #[test]
    fn fixed_weights_are_rounded_to_the_nearest() {
        let taps = Side::new(16, 16, 16, 8, 8).fixed_taps();
        assert_eq!(taps.trimmed(3), (5, &[1 << 19, 3 << 19, 3 << 19, 1 << 19][..]));
        // Sevenths of 1 << 22: 1797558.86 and 599186.29.
        assert_eq!(taps.trimmed(0), (0, &[1_797_559, 1_797_559, 599_186][..]));
    }

    #[test]
    fn chroma_windows_are_centred_where_the_site_puts_the_samples() {
        for (cosited, site) in [(false, 1.0), (true, 0.5)] {
            let taps = Side::new(2000, 2000, 1000, 256, 224).sum_taps(1, cosited);
            for i in 0..224 {
                let (start, weights) = taps.trimmed(i);
                let centre: f64 = weights
                    .iter()
                    .zip(start..)
                    .map(|(w, j)| f64::from(*w) / f64::from(ONE) * (2.0 * j as f64 + site))
                    .sum();
                let expected = (144.0 + i as f64 + 0.5) * 1000.0 / 256.0;
                // A triangle sampled at a few points has its centroid slightly off its centre.
                assert!((centre - expected).abs() < 0.1, "pixel {i}: {centre}, expected {expected}");
            }
        }
    }

    #[test]
    fn every_window_sums_to_one_inside_its_samples() {
        let lengths = [8, 9, 13, 255, 256, 257, 1081, 65535];
        for length in lengths {
            for short in lengths.into_iter().filter(|short| *short <= length) {
                for (shift, cosited) in [(0, false), (0, true), (1, false), (1, true)] {
                    let taps = Side::new(length, length as u64, short as u64, 256, 256).sum_taps(shift, cosited);
                    assert!(taps.reach().end <= length.div_ceil(1 << shift));
                    for i in 0..256 {
                        let (_, weights) = taps.trimmed(i);
                        let sum: u32 = weights.iter().copied().map(u32::from).sum();
                        // A weight of 1 is not possible.
                        let one = u32::from(ONE) - u32::from(weights.len() == 1);
                        assert_eq!(sum, one, "{length}/{short} pixel {i}: {weights:?}");
                    }
                }
            }
        }
    }
}
