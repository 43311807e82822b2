//! How the pictures of a training set vary from epoch to epoch.

use super::random::Random;
use super::raster::{Area, CHANNELS, Raster};

/// How pictures vary from epoch to epoch.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Augmentation {
    /// Least and greatest share of the picture's area that a crop takes, 0 to 1; both 1: the whole centre square.
    pub scale: [f64; 2],
    /// Least and greatest ratio of a crop's width to its height, relative to the input's.
    pub ratio: [f64; 2],
    /// If set, crops are near the one of evaluation instead.
    pub near: Option<Near>,
    /// Whether half of the pictures are mirrored.
    pub flip: bool,
    /// Greatest change of brightness, contrast and saturation, as a share.
    pub colour: f64,
}

/// Crops near the one of evaluation, for pictures whose class may not be seen elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Near {
    /// Share of the picture's shorter side that the crop of evaluation takes, above 0, at most 1.
    pub side: f64,
    /// Greatest change of its width and its height, and greatest shift, as shares of its sides, 0 to 1.
    pub change: f64,
}

impl Near {
    fn area(self, wide: f64, high: f64, shape: f64, random: &mut Random) -> Area {
        let short = self.side * wide.min(high);
        let mut change = || 1.0 + random.within(-self.change, self.change);
        // The evaluation's crop is as high as wide after the shorter side of the input.
        let (width, height) =
            ((short * shape.max(1.0) * change()).min(wide), (short / shape.min(1.0) * change()).min(high));
        let mut start = |side: f64, crop: f64| {
            let middle = (side - crop) / 2.0;
            (middle + crop * random.within(-self.change, self.change)).clamp(0.0, side - crop)
        };
        Area { left: start(wide, width), top: start(high, height), width, height }
    }
}

impl Augmentation {
    /// An area of a `raster` for an input of `height` × `width`.
    fn area(&self, raster: &Raster, [height, width]: [usize; 2], random: &mut Random) -> Area {
        let (wide, high) = (raster.width as f64, raster.height as f64);
        let shape = width as f64 / height as f64;
        if let Some(near) = self.near {
            return near.area(wide, high, shape, random);
        }
        // As torchvision's `RandomResizedCrop`: ten attempts, then the centre.
        for _ in 0..10 {
            let area = wide * high * random.within(self.scale[0], self.scale[1]);
            let ratio = shape * random.within(self.ratio[0].ln(), self.ratio[1].ln()).exp();
            let (width, height) = ((area * ratio).sqrt(), (area / ratio).sqrt());
            if width <= wide && height <= high {
                let (left, top) = (random.unit() * (wide - width), random.unit() * (high - height));
                return Area { left, top, width, height };
            }
        }
        let width = wide.min(high * shape);
        let height = width / shape;
        Area { left: (wide - width) / 2.0, top: (high - height) / 2.0, width, height }
    }

    /// A varied input of `height` × `width`: `[height, width, 3]`, from 0 to 1.
    #[must_use]
    pub fn apply(&self, raster: &Raster, size: [usize; 2], random: &mut Random) -> Vec<f32> {
        let mut values = raster.resized(self.area(raster, size, random), size);
        if self.flip && random.unit() < 0.5 {
            for row in values.chunks_exact_mut(size[1] * CHANNELS) {
                let pixels = row.as_chunks_mut::<CHANNELS>().0;
                pixels.reverse();
            }
        }
        if self.colour > 0.0 {
            let mut factor = || random.within(1.0 - self.colour, 1.0 + self.colour) as f32;
            let [brightness, contrast, saturation] = [factor(), factor(), factor()];
            let grey = |pixel: &[f32; CHANNELS]| 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
            let pixels = values.as_chunks_mut::<CHANNELS>().0;
            let mean = pixels.iter().map(&grey).sum::<f32>() / pixels.len() as f32 * brightness;
            for pixel in pixels {
                let bright = pixel.map(|value| (value * brightness - mean) * contrast + mean);
                let grey = grey(&bright);
                *pixel = bright.map(|value| ((value - grey) * saturation + grey).clamp(0.0, 1.0));
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raster(width: usize, height: usize) -> Raster {
        let mut random = Random::new(1, &[]);
        Raster { width, height, data: (0..width * height * 3).map(|_| random.below(256) as u8).collect() }
    }

    #[test]
    fn variations_stay_in_the_picture_and_are_determined_by_their_numbers() {
        let raster = raster(61, 35);
        let all = Augmentation { scale: [0.05, 1.0], ratio: [0.5, 2.0], near: None, flip: true, colour: 0.5 };
        for seed in 0..200 {
            let apply = || all.apply(&raster, [24, 40], &mut Random::new(seed, &[]));
            let values = apply();
            assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
            assert_eq!(values, apply());
            let Area { left, top, width, height } = all.area(&raster, [24, 40], &mut Random::new(seed, &[]));
            assert!(left >= 0.0 && top >= 0.0 && left + width <= 61.001 && top + height <= 35.001);
        }
        let none = Augmentation { scale: [1.0, 1.0], ratio: [1.0, 1.0], near: None, flip: false, colour: 0.0 };
        let area = none.area(&raster, [20, 20], &mut Random::new(0, &[]));
        assert_eq!(area, Area { left: 13.0, top: 0.0, width: 35.0, height: 35.0 });
    }

    #[test]
    fn crops_near_that_of_evaluation_stay_near() {
        let raster = raster(160, 90);
        let near = |change| Augmentation {
            scale: [0.1, 1.0],
            ratio: [0.5, 2.0],
            near: Some(Near { side: 0.8, change }),
            flip: false,
            colour: 0.0,
        };
        let area = near(0.0).area(&raster, [32, 32], &mut Random::new(1, &[]));
        assert_eq!(area, Area { left: 44.0, top: 9.0, width: 72.0, height: 72.0 });
        for seed in 0..200 {
            let Area { left, top, width, height } = near(0.1).area(&raster, [32, 32], &mut Random::new(seed, &[]));
            assert!((64.7..79.3).contains(&width) && (64.7..79.3).contains(&height), "{width} {height}");
            assert!((32.0..56.0).contains(&left) && (0.0..=25.4).contains(&top), "{left} {top}");
        }
    }
}
