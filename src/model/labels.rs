//! Class names.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::exit::Exit;
use crate::inference::UNKNOWN;
use crate::plural::counted;
use crate::regular;

/// Maximum size of a label file in bytes: half of the metadata of a model file, in which each label takes three bytes more.
const MAX_BYTES: u64 = 1 << 21;

/// Why labels are unusable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the labels in {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is too long, or not text.
    #[error("{} is not a list of labels: expected one label per line", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line has no printable label.
    #[error("{}, line {line}: expected a label, without control characters", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The file has no labels.
    #[error("{} has no labels: expected one label per line", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A label of a taught model is that of what is like none of its classes.
    #[error(
        "{UNKNOWN:?} cannot be a class of a taught model: it is what such a model says of a picture that is like none of its \
         classes"
    )]
    Reserved,
    /// There are more or fewer labels than classes.
    #[error(
        "{} has {}, but the model has {}: expected one line per class",
        path.display(), counted(*labels, "label", "labels"), counted(*classes, "class", "classes")
    )]
    Count {
        /// The file.
        path: PathBuf,
        /// Labels in the file.
        labels: usize,
        /// Classes of the model.
        classes: usize,
    },
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { .. } => Exit::NoInput,
            Self::Reserved | Self::NotText { .. } | Self::Line { .. } | Self::Empty { .. } | Self::Count { .. } => {
                Exit::Data
            }
        }
    }
}

/// Checks the labels of a taught model.
///
/// # Errors
/// [`Error::Reserved`].
pub(super) fn check_taught<L: AsRef<str>>(labels: &[L]) -> Result<(), Error> {
    match labels.iter().any(|label| label.as_ref().trim().eq_ignore_ascii_case(UNKNOWN)) {
        true => Err(Error::Reserved),
        false => Ok(()),
    }
}

/// The labels in the text file at `path`, one per line in the order of the classes, as many as there are classes.
///
/// # Errors
/// Any [`Error`].
pub fn read(path: &Path, classes: usize) -> Result<Vec<Arc<str>>, Error> {
    let labels = read_all(path)?;
    if labels.len() == classes {
        Ok(labels)
    } else {
        Err(Error::Count { path: path.to_owned(), labels: labels.len(), classes })
    }
}

/// The labels in the text file at `path`, one per line, at least one. Surrounding spaces and empty lines at the end are
/// ignored.
///
/// # Errors
/// Any [`Error`] except `Count`.
pub fn read_all(path: &Path) -> Result<Vec<Arc<str>>, Error> {
    let text = regular::read_text(path, MAX_BYTES).map_err(|source| match regular::is_content(&source) {
        true => Error::NotText { path: path.to_owned(), source },
        false => Error::Unreadable { path: path.to_owned(), source },
    })?;
    let text = text.trim_ascii_end();
    let lines = text.split('\n').enumerate().filter(|_| !text.is_empty());
    let label = |(index, line): (usize, &str)| {
        let label = Some(line.trim()).filter(|label| !label.is_empty() && !label.chars().any(char::is_control));
        label.map(Arc::from).ok_or(Error::Line { path: path.to_owned(), line: index + 1 })
    };
    let labels: Vec<Arc<str>> = lines.map(label).collect::<Result<_, _>>()?;
    if labels.is_empty() { Err(Error::Empty { path: path.to_owned() }) } else { Ok(labels) }
}

/// The classes of ImageNet-1k, in order.
const IMAGENET: &str = include_str!("../../assets/imagenet_classes.txt");

/// Number of classes of ImageNet-1k.
const IMAGENET_CLASSES: usize = 1000;

/// Names for `classes` classes of a trained model: those of ImageNet-1k if the number matches, otherwise numbers.
pub(super) fn of_trained(classes: usize) -> Vec<Arc<str>> {
    if classes == IMAGENET_CLASSES { IMAGENET.lines().map(Arc::from).collect() } else { numbers(classes) }
}

/// `class 0`, `class 1` and so on.
pub(super) fn numbers(classes: usize) -> Vec<Arc<str>> {
    (0..classes).map(|index| format!("class {index}").into()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn file(bytes: &[u8], classes: usize) -> Result<Vec<Arc<str>>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.txt");
        std::fs::write(&path, bytes).unwrap();
        read(&path, classes)
    }

    #[test]
    fn a_file_has_a_label_per_line() {
        let labels = file("\u{feff}cat\r\n Hündin \n\u{65e5}\n\n".as_bytes(), 3).unwrap();
        assert_eq!(labels.iter().map(|label| &**label).collect::<Vec<_>>(), ["cat", "Hündin", "\u{65e5}"]);
    }

    #[test]
    fn a_hundred_thousand_labels_are_read_and_more_than_fit_into_a_model_file_are_not() {
        let text: String = (0..100_000).map(|number| format!("species {number}\n")).collect();
        assert_eq!(file(text.as_bytes(), 100_000).unwrap().len(), 100_000);
        let error = file(text.repeat(2).as_bytes(), 200_000).unwrap_err();
        assert!(matches!(error, Error::NotText { .. }), "{error}");
    }

    #[test]
    fn a_wrong_number_of_labels_is_named_with_that_of_the_classes() {
        let error = file(b"cat\ndog\n", 3).unwrap_err().to_string();
        assert!(
            error.ends_with("labels.txt has 2 labels, but the model has 3 classes: expected one line per class"),
            "{error}"
        );
        assert!(matches!(file(b"", 1), Err(Error::Empty { .. })));
    }

    #[test]
    fn what_is_no_file_is_refused_without_opening_it() {
        let error = read(Path::new("/dev/zero"), 1).unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }), "{error}");
        assert!(matches!(read(Path::new("/"), 1), Err(Error::Unreadable { .. })));
    }

    #[test]
    fn lines_without_a_label_are_named() {
        assert!(matches!(file(b"cat\n\ndog", 3), Err(Error::Line { line: 2, .. })));
        let error = file(b"cat\n\xff", 2).unwrap_err();
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "line 2 is not text in UTF-8");
        assert_eq!(error.exit(), Exit::Data);
        assert!(matches!(file(b"c\0at", 1), Err(Error::Line { line: 1, .. })));
        assert!(matches!(file(&[b'a'; 1 << 23], 1), Err(Error::NotText { .. })));
        assert!(matches!(read(Path::new("/nowhere"), 1), Err(Error::Unreadable { .. })));
    }

    #[test]
    fn imagenet_has_a_name_for_each_class() {
        let labels = of_trained(1000);
        assert_eq!(labels.len(), 1000);
        assert!(labels.iter().all(|label| !label.trim().is_empty()));
        assert_eq!((&*labels[0], &*labels[1]), ("tench", "goldfish"));
    }

    #[test]
    fn other_numbers_of_classes_have_numbers() {
        assert_eq!(of_trained(2).iter().map(|label| &**label).collect::<Vec<_>>(), ["class 0", "class 1"]);
    }
}
