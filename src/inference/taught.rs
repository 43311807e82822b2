//! The head of a taught model: a linear layer on features, and a distance by which pictures unlike the taught ones are
//! told.
//!
//! Two distances count, and the larger one decides. The first, the appearance, compares the means of the cells themselves.
//! The second, the structure, compares what is left of them without the mean of each channel and with a length of 1, which
//! hardly depends on the light. In the dark, a picture looks like the taught ones in bad light, but has no structure.
//!
//! Both are those of Mahalanobis with a covariance that all classes share: in the directions in which the taught
//! pictures vary most, by the variance in each, plus that in the others; in all others, by their mean variance (after the
//! probabilistic principal component analysis of Tipping and Bishop, *J. R. Stat. Soc. B* 61, 1999). They are those to the
//! nearest class, in units of what pictures of the taught classes rarely reach: a picture like them rarely has a distance
//! above the threshold, which is near 1.

/// Added to the length of a structure, so that none is infinite.
pub const LEAST_LENGTH: f32 = 1e-6;

/// A linear layer and a distance.
#[derive(Debug, Clone, PartialEq)]
pub struct TaughtHead {
    /// `[classes, features]`, row-major.
    pub weight: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
    /// How unlike a picture is to the taught ones.
    pub novelty: Novelty,
}

/// How pictures of the taught classes vary.
#[derive(Debug, Clone, PartialEq)]
pub struct Novelty {
    /// The first of the features that count, the means of cells; the others follow it.
    pub first: usize,
    /// Cells of each channel, whose means lie together.
    pub cells: usize,
    /// The means themselves.
    pub appearance: Gaussian,
    /// What is left of them without the mean of each channel, with a length of 1.
    pub structure: Gaussian,
    /// The distance beyond which a picture is unknown.
    pub threshold: f32,
}

/// How vectors of the taught classes vary.
#[derive(Debug, Clone, PartialEq)]
pub struct Gaussian {
    /// Mean of each number.
    pub mean: Vec<f32>,
    /// The inverse of the standard deviation of each.
    pub scale: Vec<f32>,
    /// The centre of each class, standardised: `[classes, numbers]`.
    pub centres: Vec<f32>,
    /// Orthonormal directions of large variance: `[directions, numbers]`.
    pub basis: Vec<f32>,
    /// The variance in each of them, then the mean variance in the others; all above 0.
    pub variances: Vec<f32>,
    /// The distance that vectors of the taught classes rarely reach, above 0.
    pub limit: f32,
}

/// Buffers for a [`TaughtHead`].
#[derive(Debug, Default)]
pub struct Scratch {
    logits: Vec<f32>,
    structure: Vec<f32>,
    standard: Vec<f32>,
    difference: Vec<f32>,
}

impl TaughtHead {
    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.bias.len()
    }

    /// The logits of a picture with these features.
    pub fn logits<'a>(&self, features: &[f32], scratch: &'a mut Scratch) -> &'a [f32] {
        let Scratch { logits, .. } = scratch;
        logits.clear();
        let rows = self.weight.chunks_exact(features.len().max(1)).zip(&self.bias);
        logits.extend(rows.map(|(row, bias)| bias + dot(row, features)));
        logits
    }
}

impl Novelty {
    /// The distance of a picture with these features to the nearest class.
    pub fn distance(&self, features: &[f32], scratch: &mut Scratch) -> f32 {
        let Scratch { structure, standard, difference, .. } = scratch;
        let means = features.get(self.first..).unwrap_or_default();
        structure.clear();
        for channel in means.chunks(self.cells.max(1)) {
            let mean = channel.iter().sum::<f32>() / channel.len() as f32;
            structure.extend(channel.iter().map(|value| value - mean));
        }
        let length = dot(structure, structure).sqrt() + LEAST_LENGTH;
        structure.iter_mut().for_each(|value| *value /= length);
        let appearance = self.appearance.distance(means, standard, difference);
        let structure = self.structure.distance(structure, standard, difference);
        // What is no number is as far as can be.
        if appearance.is_nan() || structure.is_nan() { f32::INFINITY } else { appearance.max(structure) }
    }
}

impl Gaussian {
    /// The distance of a vector to the nearest centre, in units of the limit.
    fn distance(&self, vector: &[f32], standard: &mut Vec<f32>, difference: &mut Vec<f32>) -> f32 {
        let length = self.mean.len();
        standard.clear();
        standard.extend(vector.iter().zip(&self.mean).zip(&self.scale).map(|((x, mean), scale)| (x - mean) * scale));
        let rest = self.variances.last().copied().unwrap_or(1.0);
        let mut nearest = f32::INFINITY;
        for centre in self.centres.chunks_exact(length.max(1)) {
            difference.clear();
            difference.extend(standard.iter().zip(centre).map(|(x, centre)| x - centre));
            let mut squares = dot(difference, difference) / rest;
            for (direction, variance) in self.basis.chunks_exact(length.max(1)).zip(&self.variances) {
                let along = dot(direction, difference);
                squares += along * along * (variance.recip() - rest.recip());
            }
            nearest = nearest.min(squares);
        }
        (nearest.max(0.0) / length.max(1) as f32).sqrt() / self.limit
    }
}

/// The sum of products of two slices, in parts that the compiler can vectorise.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaussian(length: usize) -> Gaussian {
        Gaussian {
            mean: vec![0.0; length],
            scale: vec![1.0; length],
            centres: vec![0.0; length],
            basis: vec![],
            variances: vec![1.0],
            limit: 1.0,
        }
    }

    #[test]
    fn logits_are_products_with_a_bias() {
        let (appearance, structure) = (gaussian(0), gaussian(0));
        let novelty = Novelty { first: 2, cells: 1, appearance, structure, threshold: 1.0 };
        let head = TaughtHead { weight: vec![1.0, 2.0, -1.0, 0.5], bias: vec![0.25, -1.0], novelty };
        assert_eq!(head.logits(&[3.0, 4.0], &mut Scratch::default()), [11.25, -2.0]);
    }

    #[test]
    fn the_distance_is_that_to_the_nearest_class_by_the_variance_in_its_direction() {
        let appearance = Gaussian {
            mean: vec![10.0, 0.0],
            scale: vec![0.5, 1.0],
            centres: vec![0.0, 0.0, 0.0, 8.0],
            basis: vec![1.0, 0.0],
            variances: vec![4.0, 0.25],
            limit: 2.0,
        };
        // With one cell per channel, there is no structure.
        let novelty = Novelty { first: 1, cells: 1, appearance, structure: gaussian(2), threshold: 1.0 };
        let distance = |features: [f32; 3]| novelty.distance(&features, &mut Scratch::default());
        // Squares per feature: (2² / 4) / 2, then (1² / 0.25) / 2, and the second centre; by the limit.
        assert_eq!(distance([99.0, 14.0, 0.0]), 0.5_f32.sqrt() / 2.0);
        assert_eq!(distance([99.0, 10.0, 1.0]), 2.0_f32.sqrt() / 2.0);
        assert_eq!(distance([99.0, 10.0, 9.0]), 2.0_f32.sqrt() / 2.0);
        assert_eq!(distance([99.0, 10.0, 0.0]), 0.0);
        assert_eq!(distance([99.0, f32::NAN, 0.0]), f32::INFINITY);
    }

    #[test]
    fn the_structure_does_not_depend_on_brightness_and_contrast() {
        let structure = Gaussian { mean: vec![0.5, -0.5, 0.5, -0.5], ..gaussian(4) };
        let appearance = Gaussian { limit: 1e6, ..gaussian(4) };
        let novelty = Novelty { first: 0, cells: 2, appearance, structure, threshold: 1.0 };
        let distance = |features: [f32; 4]| novelty.distance(&features, &mut Scratch::default());
        assert!(distance([3.0, 1.0, 7.0, 5.0]) < 1e-5 && distance([0.2, 0.1, 0.4, 0.3]) < 1e-4);
        // The other way round, and none at all.
        assert!((distance([1.0, 3.0, 5.0, 7.0]) - 1.0).abs() < 1e-5);
        assert!((distance([2.0; 4]) - 0.5).abs() < 1e-5);
    }
}
