//! The head of a taught model: a linear layer on features, and a distance by which pictures unlike the taught ones are
//! told.
//!
//! The distance is that of Mahalanobis with a covariance that all classes share: in the directions in which the taught
//! pictures vary most, by the variance in each; in all others, by their mean variance (a probabilistic principal component
//! analysis; Tipping and Bishop, *J. R. Stat. Soc. B* 61, 1999). It is that to the nearest class, per feature: about 1 for
//! a picture like the taught ones.

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
    /// The first of the features that count; the others follow it.
    pub first: usize,
    /// Mean of each of them.
    pub mean: Vec<f32>,
    /// The inverse of the standard deviation of each.
    pub scale: Vec<f32>,
    /// The centre of each class, standardised: `[classes, features]`.
    pub centres: Vec<f32>,
    /// Orthonormal directions of large variance: `[directions, features]`.
    pub basis: Vec<f32>,
    /// The variance in each of them, then the mean variance in the others; all above 0.
    pub variances: Vec<f32>,
    /// The distance beyond which a picture is unknown.
    pub threshold: f32,
}

/// Buffers for a [`TaughtHead`].
#[derive(Debug, Default)]
pub struct Scratch {
    logits: Vec<f32>,
    standard: Vec<f32>,
    projected: Vec<f32>,
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
        let Scratch { standard, projected, .. } = scratch;
        let length = self.mean.len();
        standard.clear();
        let features = features.get(self.first..).unwrap_or_default();
        standard.extend(features.iter().zip(&self.mean).zip(&self.scale).map(|((x, mean), scale)| (x - mean) * scale));
        let rest = self.variances.last().copied().unwrap_or(1.0);
        let mut nearest = f32::INFINITY;
        for centre in self.centres.chunks_exact(length.max(1)) {
            projected.clear();
            projected.extend(standard.iter().zip(centre).map(|(x, centre)| x - centre));
            let mut squares = dot(projected, projected) / rest;
            for (direction, variance) in self.basis.chunks_exact(length.max(1)).zip(&self.variances) {
                let along = dot(direction, projected);
                squares += along * along * (variance.recip() - rest.recip());
            }
            nearest = nearest.min(squares);
        }
        (nearest.max(0.0) / length.max(1) as f32).sqrt()
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

    #[test]
    fn logits_are_products_with_a_bias() {
        let novelty = Novelty {
            first: 0,
            mean: vec![],
            scale: vec![],
            centres: vec![],
            basis: vec![],
            variances: vec![],
            threshold: 1.0,
        };
        let head = TaughtHead { weight: vec![1.0, 2.0, -1.0, 0.5], bias: vec![0.25, -1.0], novelty };
        assert_eq!(head.logits(&[3.0, 4.0], &mut Scratch::default()), [11.25, -2.0]);
    }

    #[test]
    fn the_distance_is_that_to_the_nearest_class_by_the_variance_in_its_direction() {
        let novelty = Novelty {
            first: 1,
            mean: vec![10.0, 0.0],
            scale: vec![0.5, 1.0],
            centres: vec![0.0, 0.0, 0.0, 8.0],
            basis: vec![1.0, 0.0],
            variances: vec![4.0, 0.25],
            threshold: 1.0,
        };
        let distance = |features: [f32; 3]| novelty.distance(&features, &mut Scratch::default());
        // Squares per feature: (2² / 4) / 2, then (1² / 0.25) / 2, and the second centre.
        assert_eq!(distance([99.0, 14.0, 0.0]), 0.5_f32.sqrt());
        assert_eq!(distance([99.0, 10.0, 1.0]), 2.0_f32.sqrt());
        assert_eq!(distance([99.0, 10.0, 9.0]), 2.0_f32.sqrt());
        assert_eq!(distance([99.0, 10.0, 0.0]), 0.0);
    }
}
