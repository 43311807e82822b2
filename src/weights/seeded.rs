//! The seeded rule: weights computed from their names alone.
//!
//! A network with such weights is untrained and reproducible: every build on every machine gets the same bits. It shows
//! that a pipeline works and how fast it is, and reference values are computed with it; its classifications are
//! meaningless.
//!
//! # The rule
//!
//! Element `i` (row-major, from 0) of the entry called `name` has a uniform number `u` in `[0, 1)`.
//! All integers are unsigned and wrap at 64 bits:
//!
//! ```text
//! h = 0xcbf29ce484222325; for every byte b of name in UTF-8: h = (h ^ b) * 0x100000001b3   (FNV-1a)
//! z = h + (i + 1) * 0x9e3779b97f4a7c15                                                     (SplitMix64)
//! z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
//! z = (z ^ (z >> 27)) * 0x94d049bb133111eb
//! z = z ^ (z >> 31)
//! u = (z >> 40) / 2^24
//! ```
//!
//! The value is computed from `u` in 64-bit floating point and rounded once to `f32`:
//!
//! | [`EntryRole`] | value |
//! | --- | --- |
//! | `Convolution` | `(2u - 1) * sqrt(6 / fan_in)`, `fan_in` the product of all axes but the first |
//! | `NormWeight` | `0.5 + u` |
//! | `NormBias` | `-0.2 + 0.6 u` |
//! | `RunningMean` | `-0.2 + 0.4 u` |
//! | `RunningVariance` | `0.5 + u` |
//! | `BatchCount` | `0` |
//! | `LinearWeight` | `(2u - 1) * sqrt(6 / fan_in)` |
//! | `LinearBias` | `-0.1 + 0.2 u` |
//!
//! An input for such a network is `(2u - 1) * 2` under the name `input` in the order
//! `[1, 3, height, width]`; see [`input`] and [`tensor`].

use super::{Array, EntryRole, Error};
use crate::tensor::Tensor;

/// The uniform numbers for one name.
#[derive(Debug, Clone, Copy)]
struct Uniform {
    name_hash: u64,
}

impl Uniform {
    fn new(name: &str) -> Self {
        let name_hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self { name_hash }
    }

    fn at(self, index: usize) -> f64 {
        let step = (index as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = self.name_hash.wrapping_add(step);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let z = z ^ (z >> 31);
        (z >> 40) as f64 / f64::from(1_u32 << 24)
    }
}

/// The uniform number in `[0, 1)` of element `index` under `name`.
#[must_use]
pub fn uniform(name: &str, index: usize) -> f64 {
    Uniform::new(name).at(index)
}

/// The value that the rule assigns to an entry of `kind` with `fan_in` inputs for the uniform number `u`. `fan_in`
/// matters only for weights of convolutions and linear layers.
#[must_use]
pub fn value(kind: EntryRole, fan_in: usize, u: f64) -> f32 {
    let value = match kind {
        EntryRole::Convolution | EntryRole::LinearWeight => (2.0 * u - 1.0) * (6.0 / fan_in as f64).sqrt(),
        EntryRole::NormWeight | EntryRole::RunningVariance => 0.5 + u,
        EntryRole::NormBias => -0.2 + 0.6 * u,
        EntryRole::RunningMean => -0.2 + 0.4 * u,
        EntryRole::BatchCount => 0.0,
        EntryRole::LinearBias => -0.1 + 0.2 * u,
    };
    value as f32
}

/// The array of the entry `key`.
///
/// # Errors
/// [`Error::TooLarge`] if memory for the shape cannot be reserved.
pub fn array(key: &str, shape: &[usize], kind: EntryRole) -> Result<Array, Error> {
    let uniform = Uniform::new(key);
    let fan_in = shape.iter().skip(1).fold(1_usize, |product, &extent| product.saturating_mul(extent));
    Array::from_fn(shape, |index| value(kind, fan_in, uniform.at(index)))
}

/// Element `index` of the input, in the order `[1, 3, height, width]`.
#[must_use]
pub fn input(index: usize) -> f32 {
    ((2.0 * uniform("input", index) - 1.0) * 2.0) as f32
}

/// The input in the program's layout.
#[must_use]
pub fn tensor(height: usize, width: usize) -> Tensor {
    let mut tensor = Tensor::zeros(height, width, 3);
    for (index, value) in tensor.data_mut().iter_mut().enumerate() {
        let (pixel, channel) = (index / 3, index % 3);
        *value = input(channel * height * width + pixel);
    }
    tensor
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn first_values_are_those_of_an_independent_program() {
        let units = |name| [0, 1, 2].map(|index| uniform(name, index) * f64::from(1_u32 << 24));
        assert_eq!(units("input"), [1641119.0, 10944791.0, 3416248.0]);
        assert_eq!(units("base.0.conv.weight"), [3809986.0, 777974.0, 7982330.0]);
        assert_eq!(units(""), [12812668.0, 1051866.0, 5555109.0]);
    }

    #[test]
    fn every_kind_has_its_range() {
        for (kind, low, high) in [
            (EntryRole::Convolution, -0.5, 0.5),
            (EntryRole::LinearWeight, -0.5, 0.5),
            (EntryRole::NormWeight, 0.5, 1.5),
            (EntryRole::RunningVariance, 0.5, 1.5),
            (EntryRole::NormBias, -0.2, 0.4),
            (EntryRole::RunningMean, -0.2, 0.2),
            (EntryRole::LinearBias, -0.1, 0.1),
        ] {
            assert_eq!(value(kind, 24, 0.0), low);
            assert!((value(kind, 24, 1.0) - high).abs() < 1e-6, "{kind:?}");
        }
        assert_eq!(value(EntryRole::BatchCount, 1, 0.7), 0.0);
    }

    #[test]
    fn an_array_follows_its_key_shape_and_kind() {
        let array = array("base.0.conv.weight", &[24, 3, 3, 3], EntryRole::Convolution).unwrap();
        assert_eq!((array.shape(), array.data().len()), (&[24, 3, 3, 3][..], 648));
        assert_eq!(array.data()[5], value(EntryRole::Convolution, 27, uniform("base.0.conv.weight", 5)));
        assert_eq!(
            array.data()[..3].iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            [0xbe83_bcbc, 0xbeda_f99d, 0xbcbb_0852]
        );
    }
}
