//! Random numbers that a seed determines, for any point of a training: no state needs to be saved.

/// A generator of random numbers: SplitMix64 (G. Steele et al.: Fast Splittable Pseudorandom Number Generators, OOPSLA
/// 2014).
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

/// The odd number closest to 2^64 divided by the golden ratio.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Random {
    /// The generator of `seed` for a place in the training, such as an epoch and the number of a picture.
    #[must_use]
    pub fn new(seed: u64, place: &[u64]) -> Self {
        let state = place.iter().fold(mixed(seed.wrapping_add(GAMMA)), |state, part| {
            mixed(state ^ mixed(part.wrapping_add(GAMMA)).wrapping_mul(GAMMA))
        });
        Self { state }
    }

    /// A number of 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mixed(self.state)
    }

    /// A number in `0..1`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number in `low..high`.
    pub fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A number below `count`, which is at least 1.
    pub fn below(&mut self, count: usize) -> usize {
        ((self.unit() * count as f64) as usize).min(count - 1)
    }

    /// A number from the standard normal distribution (G. Box, M. Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A number from the beta distribution whose parameters are both `alpha`, 0.01 to 8, by Jöhnk's method (1964) on
    /// logarithms. It takes 13,000 attempts on average for 8, and four times as many for 9.
    pub fn beta(&mut self, alpha: f64) -> f64 {
        loop {
            let [x, y] = [0; 2].map(|_| (1.0 - self.unit()).ln() / alpha);
            let largest = x.max(y);
            let sum = largest + ((x - largest).exp() + (y - largest).exp()).ln();
            if sum <= 0.0 {
                return (x - sum).exp();
            }
        }
    }

    /// Shuffles `items` (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_numbers_of_its_own_and_always_the_same() {
        let first = |place: &[u64]| Random::new(1, place).bits();
        let all = [first(&[]), first(&[0]), first(&[1]), first(&[0, 1]), first(&[1, 0]), Random::new(2, &[]).bits()];
        for (index, number) in all.iter().enumerate() {
            assert!(!all[..index].contains(number), "{index}");
        }
        assert_eq!(first(&[1, 0]), all[4]);
    }

    #[test]
    fn numbers_have_the_moments_of_their_distributions() {
        let mut random = Random::new(3, &[]);
        let mut moments = |draw: fn(&mut Random) -> f64| {
            let numbers: Vec<f64> = (0..20_000).map(|_| draw(&mut random)).collect();
            let mean = numbers.iter().sum::<f64>() / 20_000.0;
            (mean, numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / 20_000.0)
        };
        let close = |(mean, variance): (f64, f64), expected: (f64, f64)| {
            assert!((mean - expected.0).abs() < 0.03 && (variance - expected.1).abs() < 0.03, "{mean} {variance}");
        };
        close(moments(Random::unit), (0.5, 1.0 / 12.0));
        close(moments(Random::normal), (0.0, 1.0));
        close(moments(|random| random.beta(0.2)), (0.5, 0.25 / 1.4));
        close(moments(|random| random.beta(0.01)), (0.5, 0.25 / 1.02));
        close(moments(|random| random.beta(3.0)), (0.5, 0.25 / 7.0));
        close(moments(|random| random.below(4) as f64), (1.5, 1.25));
    }

    #[test]
    fn shuffled_items_are_the_same_items() {
        let mut items: Vec<usize> = (0..100).collect();
        Random::new(4, &[]).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
