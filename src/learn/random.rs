//! Reproducible random numbers (SplitMix64; Steele, Lea, Flood, *Fast splittable pseudorandom number generators*, 2014).

/// A sequence of numbers that depends only on its keys.
#[derive(Debug, Clone)]
pub(super) struct SplitMix64(u64);

impl SplitMix64 {
    /// The sequence of these keys.
    pub(super) fn of(keys: &[u64]) -> Self {
        keys.iter().fold(Self(0x5851_f42d_4c95_7f2d), |sequence, key| {
            let mut next = Self(sequence.0 ^ key.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            Self(next.bits())
        })
    }

    /// The sequence of a text.
    pub(super) fn of_text(text: &[u8]) -> Self {
        text.iter().fold(Self::of(&[]), |sequence, byte| Self::of(&[sequence.0, u64::from(*byte)]))
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `from..to`.
    pub(super) fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (self.bits() >> 11) as f64 / (1_u64 << 53) as f64 * (to - from)
    }

    /// Puts `items` into a random order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = (self.bits() % (last as u64 + 1)) as usize;
            items.swap(last, other);
        }
    }
}
