//! How good a taught model is, as far as its own pictures tell.

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// A difference of accuracies that is worth more pictures.
const WORTH: f64 = 0.01;

/// The result of teaching.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Name of the network.
    pub model: String,
    /// The part of the picture that is looked at: x, y, width and height in shares of its sides.
    pub region: [f64; 4],
    /// The classes, in order.
    pub classes: Vec<Class>,
    /// Pictures that were used.
    pub pictures: u64,
    /// Variants of each picture that were used, too.
    pub variants: u64,
    /// Pictures that were left out.
    pub left_out: Vec<LeftOut>,
    /// Share of pictures that cross-validation gets right.
    pub accuracy: Accuracy,
    /// The share that the largest class has.
    pub chance: f64,
    /// How often pictures of a class (rows) are taken for a class (columns) in cross-validation.
    pub confusion: Vec<Vec<u64>>,
    /// The pictures that cross-validation gets wrong.
    pub wrong: Vec<Wrong>,
    /// The accuracy with fewer pictures of each class, the smallest number first.
    pub curve: Vec<Point>,
    /// Whether more pictures would help.
    pub more_would_help: bool,
    /// The same as a sentence.
    pub advice: String,
    /// When a picture is unknown.
    pub unknown: Unknown,
}

/// A class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Class {
    /// Its name.
    pub label: String,
    /// Its pictures.
    pub pictures: u64,
    /// Pictures beyond the first of each group of near duplicates.
    pub near_duplicates: u64,
}

/// A picture that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The file; in JSON, what of its name is not UTF-8 is replaced.
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// Why.
    pub error: String,
}

/// A picture that was taken for another class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// The file; in JSON, what of its name is not UTF-8 is replaced.
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// Its class.
    pub label: String,
    /// The class found.
    pub taken_for: String,
}

fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// A share of right answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Accuracy {
    /// Right answers.
    pub right: u64,
    /// All answers.
    pub pictures: u64,
    /// The share, 0 to 1.
    pub share: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
}

impl Accuracy {
    /// The share and its interval (Wilson, *J. Am. Stat. Assoc.* 22, 1927).
    #[must_use]
    pub fn of(right: u64, pictures: u64) -> Self {
        const Z: f64 = 1.959_963_984_540_054;
        let count = pictures.max(1) as f64;
        let share = right as f64 / count;
        let (middle, divisor) = (share + Z * Z / (2.0 * count), 1.0 + Z * Z / count);
        let half = Z * (share * (1.0 - share) / count + Z * Z / (4.0 * count * count)).sqrt();
        let end = |value: f64| (value / divisor).clamp(0.0, 1.0);
        Self { right, pictures, share, low: end(middle - half), high: end(middle + half) }
    }
}

/// The accuracy with a number of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Most pictures of each class.
    pub pictures_per_class: u64,
    /// Share of right answers in cross-validation.
    pub share: f64,
}

/// What is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Unknown {
    /// The distance beyond which a picture is unknown.
    pub threshold: f64,
    /// Share of pictures of the taught classes beyond it, in cross-validation.
    pub false_alarms: f64,
}

/// Whether more pictures would help, and why, from the accuracy, its curve and the number of pictures of the smallest
/// class.
pub(super) fn advise(accuracy: &Accuracy, curve: &[Point], smallest: (&str, u64)) -> (bool, String) {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let (label, pictures) = smallest;
    if pictures < 10 {
        return (
            true,
            format!("The class {label:?} has only {pictures} pictures: add more, to about 20 for each class."),
        );
    }
    if let [.., before, last] = curve {
        let gain = last.share - before.share;
        // A single picture is no trend.
        if gain > WORTH.max(1.5 / accuracy.pictures.max(1) as f64) {
            let text = format!(
                "More pictures would help: with {} of each class, {} are right, with {} it is {}.",
                before.pictures_per_class,
                percent(before.share),
                last.pictures_per_class,
                percent(last.share)
            );
            return (true, text);
        }
    }
    if accuracy.share < 0.95 {
        let text = "More pictures of the same kind would hardly help: look at the wrong ones, which may lie in the wrong \
                    folder, and at the region, which should show what differs, and little else.";
        return (false, text.to_owned());
    }
    if accuracy.high - accuracy.low > 0.05 {
        let text = "More pictures would hardly change the accuracy, but make it more certain. Pictures from other times of \
                    day and in other weather help most.";
        return (false, text.to_owned());
    }
    let text = "More pictures of the same kind would hardly help. Pictures from other times of day and in other weather \
                would.";
    (false, text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        // Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, and 0 of 20.
        let found = Accuracy::of(81, 263);
        assert!((found.low - 0.2553).abs() < 1e-4 && (found.high - 0.3662).abs() < 1e-4, "{found:?}");
        let none = Accuracy::of(0, 20);
        assert!(none.low == 0.0 && (none.high - 0.1611).abs() < 1e-4, "{none:?}");
    }

    #[test]
    fn a_curve_that_rises_asks_for_more_pictures() {
        let point = |pictures_per_class, share| Point { pictures_per_class, share };
        let rising = [point(5, 0.7), point(10, 0.8), point(16, 0.9)];
        assert!(advise(&Accuracy::of(36, 40), &rising, ("a", 20)).0);
        let flat = [point(5, 0.95), point(10, 1.0), point(16, 1.0)];
        let (more, text) = advise(&Accuracy::of(40, 40), &flat, ("a", 20));
        assert!(!more && text.contains("more certain"), "{text}");
        let (more, text) = advise(&Accuracy::of(30, 40), &[point(5, 0.75), point(16, 0.75)], ("a", 20));
        assert!(!more && text.contains("wrong folder"), "{text}");
        assert!(advise(&Accuracy::of(6, 6), &[], ("a", 3)).0);
    }
}
