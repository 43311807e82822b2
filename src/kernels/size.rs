//! Arithmetic with sizes, lengths and counts that returns an error on overflow. Everything known when a pass is made is
//! computed here; addresses within the limits checked then are plain sums.

use super::error::PassError;

/// Channels are padded to a multiple of this.
pub const UNIT: usize = 8;

/// Values of a cache line: the alignment of all beginnings.
pub const LINE: usize = 16;

/// Maximum total number of values of maps, of scratch, and of weights: addressable, with room for a few sums.
pub const MAX_VALUES: usize = isize::MAX as usize / 16;

/// The error.
const BEYOND: PassError = PassError("a length overflows");

/// The product.
pub(super) fn product(factors: &[usize]) -> Result<usize, PassError> {
    factors.iter().try_fold(1, |product: usize, factor| product.checked_mul(*factor)).ok_or(BEYOND)
}

/// The sum.
pub(super) fn sum(terms: impl IntoIterator<Item = usize>) -> Result<usize, PassError> {
    terms.into_iter().try_fold(0, usize::checked_add).ok_or(BEYOND)
}

/// The next multiple of `unit`, which is not 0.
pub(super) fn round_up(length: usize, unit: usize) -> Result<usize, PassError> {
    length.checked_next_multiple_of(unit).ok_or(BEYOND)
}

/// `length` itself, if that many values are addressable.
pub(super) fn addressable(length: usize) -> Result<usize, PassError> {
    if length <= MAX_VALUES { Ok(length) } else { Err(BEYOND) }
}

/// The product, for information: saturates on overflow.
pub(super) fn count(factors: &[usize]) -> u64 {
    factors.iter().fold(1, |product, factor| product.saturating_mul(*factor as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_all_numbers_is_an_error() {
        let half = usize::MAX / 2 + 1;
        assert_eq!(product(&[half, 1, 1]), Ok(half));
        assert_eq!(product(&[half, 2]), Err(BEYOND));
        assert_eq!(product(&[512, 1 << (usize::BITS - 9), 9]), Err(BEYOND));
        assert_eq!(sum([half, half - 1]), Ok(usize::MAX));
        assert_eq!(sum([half, half]), Err(BEYOND));
        assert_eq!(round_up(17, 16), Ok(32));
        assert_eq!(round_up(usize::MAX - 3, 16), Err(BEYOND));
        assert_eq!(addressable(MAX_VALUES), Ok(MAX_VALUES));
        assert_eq!(addressable(MAX_VALUES + 1), Err(BEYOND));
        assert_eq!(count(&[half, half, half]), u64::MAX);
    }
}
