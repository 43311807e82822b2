//! Numbers of the three colours in the form in which people write them.

/// Parses the means of R, G and B, from 0 to 1, from text such as `0.485,0.456,0.406`; one number counts for all three.
/// `None` if it is invalid.
#[must_use]
pub fn parse_mean(text: &str) -> Option<[f32; 3]> {
    parse_colours(text).filter(|mean| mean.iter().all(|value| (0.0..=1.0).contains(value)))
}

/// Parses the standard deviations of R, G and B, above 0 and at most 1, from text such as `0.229,0.224,0.225`; one number
/// counts for all three. `None` if it is invalid.
#[must_use]
pub fn parse_std(text: &str) -> Option<[f32; 3]> {
    parse_colours(text).filter(|std| std.iter().all(|value| value.is_normal() && *value > 0.0 && *value <= 1.0))
}

fn parse_colours(text: &str) -> Option<[f32; 3]> {
    let numbers: Option<Vec<f32>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    match numbers?[..] {
        [one] => Some([one; 3]),
        [r, g, b] => Some([r, g, b]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_or_three_within_bounds() {
        assert_eq!(parse_mean("0.485, 0.456,0.406"), Some([0.485, 0.456, 0.406]));
        assert_eq!((parse_mean("0"), parse_std("1")), (Some([0.0; 3]), Some([1.0; 3])));
        for text in ["", "0.5,0.5", "0.5,0.5,0.5,0.5", "x", "1.5", "-0.1", "NaN", "inf", "0.5;0.5;0.5"] {
            assert_eq!((parse_mean(text), parse_std(text)), (None, None), "{text}");
        }
        assert_eq!((parse_std("0"), parse_std("1e-40")), (None, None));
    }
}
