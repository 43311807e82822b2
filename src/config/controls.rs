//! A camera's controls in the form in which people write them.

/// Maximum number of controls.
const MOST: usize = 64;

/// Parses controls such as `auto_exposure=1,exposure_time_absolute=156` into names and numbers; empty text has none.
/// `None` if it is invalid: a name other than of `a` to `z`, digits and `_`, one that is there twice, or a value other
/// than a whole number of 32 bits.
#[must_use]
pub fn parse_controls(text: &str) -> Option<Vec<(String, i32)>> {
    let mut controls: Vec<(String, i32)> = Vec::new();
    for part in text.split(',').filter(|_| !text.trim().is_empty()) {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim(), value.trim().parse().ok()?);
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_');
        if !is_name || name.len() > 64 || controls.len() == MOST || controls.iter().any(|(other, _)| other == name) {
            return None;
        }
        controls.push((name.to_owned(), value));
    }
    Some(controls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_names_with_whole_numbers() {
        let of = |name: &str, value| (name.to_owned(), value);
        assert_eq!(parse_controls(""), Some(vec![]));
        assert_eq!(parse_controls("auto_exposure=1, gain = -3"), Some(vec![of("auto_exposure", 1), of("gain", -3)]));
        for text in [
            "gain",
            "gain=",
            "gain=x",
            "gain=1.5",
            "gain=1,",
            ",gain=1",
            "Gain=1",
            "1gain=1",
            "=1",
            "gain=1,gain=2",
            "gain=99999999999",
            "gain=1 ! fakesink",
            "gain=(string)x",
            "a;b=1",
        ] {
            assert_eq!(parse_controls(text), None, "{text}");
        }
    }
}
