//! What tells that two pictures are nearly the same: frames of a camera before which nothing has happened.

use crate::preprocess::Transform;
use crate::tensor::TensorMut;

/// Cells along each side.
const CELLS: usize = 16;

/// Largest mean difference of the cells of near duplicates, of 1: the noise of a camera changes them by less.
const NEAR: f32 = 1.5 / 255.0;

/// Largest difference of a single cell of near duplicates: something small may have moved.
const NEAR_CELL: f32 = 8.0 / 255.0;

/// Mean colours of a picture's cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature(Vec<f32>);

impl Signature {
    /// That of an input that `transform` has made.
    #[must_use]
    pub fn of(transform: &Transform, mut input: TensorMut<'_>) -> Self {
        let [height, width, _] = input.shape();
        let mut sums = vec![0.0_f32; CELLS * CELLS * 3];
        let mut counts = vec![0.0_f32; CELLS * CELLS];
        for (index, pixel) in input.data_mut().as_chunks::<3>().0.iter().enumerate() {
            let (row, column) = (index / width, index % width);
            let cell = row * CELLS / height * CELLS + column * CELLS / width;
            counts[cell] += 1.0;
            for channel in 0..3 {
                sums[cell * 3 + channel] += pixel[channel] * transform.std[channel] + transform.mean[channel];
            }
        }
        Self(sums.iter().enumerate().map(|(index, sum)| sum / counts[index / 3].max(1.0)).collect())
    }

    /// Whether two pictures are nearly the same.
    #[must_use]
    pub fn is_near(&self, other: &Self) -> bool {
        let differences = || self.0.iter().zip(&other.0).map(|(a, b)| (a - b).abs());
        differences().all(|difference| difference <= NEAR_CELL)
            && differences().sum::<f32>() <= NEAR * self.0.len() as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn noise_leaves_pictures_nearly_the_same_and_a_small_thing_does_not() {
        let make = |noise: f32, thing: f32| {
            let mut input = Tensor::zeros(64, 64, 3);
            for (index, value) in input.data_mut().iter_mut().enumerate() {
                let (row, column) = (index / 3 / 64, index / 3 % 64);
                *value = 0.5 + noise * ((index * 7919 % 101) as f32 / 50.0 - 1.0);
                if (20..26).contains(&row) && (20..26).contains(&column) {
                    *value += thing;
                }
            }
            let transform = Transform { mean: [0.0; 3], std: [1.0; 3], ..Transform::IMAGENET };
            Signature::of(&transform, TensorMut::from(&mut input))
        };
        assert!(make(0.0, 0.0).is_near(&make(0.05, 0.0)));
        assert!(!make(0.0, 0.0).is_near(&make(0.0, 0.2)));
    }
}
