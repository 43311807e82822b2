//! Input sizes in the form in which people write them.

use std::ops::RangeInclusive;

/// Allowed rows and columns of an input.
pub const SIDES: RangeInclusive<usize> = 32..=8192;

/// Parses rows and columns from text such as `320x256`; `None` if it is invalid or outside [`SIDES`].
#[must_use]
pub fn parse_size(text: &str) -> Option<[usize; 2]> {
    let side = |text: &str| text.parse().ok().filter(|side| SIDES.contains(side));
    let (height, width) = text.split_once('x')?;
    Some([side(height)?, side(width)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rows_and_columns_within_bounds() {
        assert_eq!(parse_size("320x256"), Some([320, 256]));
        assert_eq!(parse_size("33x47"), Some([33, 47]));
        for text in ["", "224", "224x", "x224", "31x224", "224x8193", "-1x224", "224x224x3", "224 x 224", "0x0"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
