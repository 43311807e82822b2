//! The pictures to evaluate, and the class of each.

use std::io;
use std::path::{Path, PathBuf};

use crate::exit::Exit;
use crate::plural::{counted, first_of};
use crate::regular;

/// Maximum size of a list in bytes: that of ImageNet's training set takes a fifth.
const MAX_LIST: u64 = 1 << 28;

/// A picture and its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The file.
    pub path: PathBuf,
    /// Number of the class, from 0.
    pub class: usize,
}

/// Why there are no pictures to evaluate.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The list is too long, or not text.
    #[error("{} is not a list of pictures: expected a file name and the number of its class per line", path.display())]
    NotAList {
        /// The list.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of the list is invalid.
    #[error(
        "{}, line {line}: expected a file name and the number of its class, 0 to {last}, but found {found:?}",
        path.display()
    )]
    Line {
        /// The list.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The last class of the model.
        last: usize,
        /// The invalid text.
        found: String,
    },
    /// The folders do not match the model's classes.
    #[error(
        "{} has {}, but the model has {}: expected a folder for each class, named after it or with its number, or a list \
         of the pictures",
        path.display(), examples(folders, "folder", "folders"), examples(labels, "class", "classes")
    )]
    Folders {
        /// The folder with the folders.
        path: PathBuf,
        /// Names of the folders.
        folders: Vec<String>,
        /// Labels of the model.
        labels: Vec<String>,
    },
    /// Some folders have names of classes, and others do not.
    #[error(
        "{} has {} not named after a class of the model, although others are; without a folder: {}. Rename or remove \
         folders, or use a list",
        path.display(), examples(folders, "folder", "folders"), examples(labels, "class", "classes")
    )]
    Misnamed {
        /// The folder with the folders.
        path: PathBuf,
        /// Names of the folders.
        folders: Vec<String>,
        /// Labels without a folder.
        labels: Vec<String>,
    },
    /// A folder has the number of a class that the model does not have.
    #[error(
        "{} has the number {number} as its name, but the classes of the model are 0 to {last}: numbers \
         start at 0. With --labels, folders may have the names of labels", path.display()
    )]
    Number {
        /// The folder.
        path: PathBuf,
        /// The number.
        number: usize,
        /// The last class of the model.
        last: usize,
    },
    /// There are no pictures.
    #[error("there are no pictures in {}: expected JPEG, PNG, WebP, BMP, GIF or TIFF files", path.display())]
    Empty {
        /// The folder or list.
        path: PathBuf,
    },
}

/// The count of `names` and the first few of them: `12 folders (a, b, …)`.
fn examples(names: &[String], one: &str, several: &str) -> String {
    if names.is_empty() {
        return format!("no {several}");
    }
    format!("{} ({})", counted(names.len(), one, several), first_of(names))
}

impl DatasetError {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { .. } | Self::Empty { .. } => Exit::NoInput,
            Self::NotAList { .. }
            | Self::Line { .. }
            | Self::Folders { .. }
            | Self::Misnamed { .. }
            | Self::Number { .. } => Exit::Data,
        }
    }
}

/// A labelled set of pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// The pictures, in order.
    pub samples: Vec<Sample>,
    /// Visible files in the folders that are not pictures, by their names.
    pub left_out: Vec<PathBuf>,
    /// How the classes of folders were found, if that is worth a look.
    pub doubt: Option<Doubt>,
}

/// Why the classes of folders may be others than meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// The folders are the classes in the order of their names.
    Order {
        /// Name of the first folder.
        first: String,
        /// Name of the last folder.
        last: String,
    },
    /// The folders have the numbers of classes as names, and another order as text: torchvision's `ImageFolder` takes
    /// the second one for class 10 if it is called 10.
    Numbers,
}

/// The pictures of a list, in order. Each line has a file name relative to `images` and, after the last space, the
/// number of a class below `classes`, like ImageNet's published `val_list.txt`. Empty lines are ignored.
///
/// # Errors
/// If the list is unreadable, has an invalid line, or contains no pictures.
pub fn from_list(images: &Path, list: &Path, classes: usize) -> Result<Dataset, DatasetError> {
    let text = regular::read_text(list, MAX_LIST).map_err(|source| match regular::is_content(&source) {
        true => DatasetError::NotAList { path: list.to_owned(), source },
        false => DatasetError::Unreadable { path: list.to_owned(), source },
    })?;
    let mut samples = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let sample = line.trim().rsplit_once([' ', '\t']).and_then(|(name, class)| {
            let class = class.parse().ok().filter(|class| *class < classes)?;
            Some(Sample { path: images.join(name.trim_end()), class })
        });
        let found = || line.chars().take(80).collect();
        samples.push(sample.ok_or_else(|| DatasetError::Line {
            path: list.to_owned(),
            line: index + 1,
            last: classes.saturating_sub(1),
            found: found(),
        })?);
    }
    if samples.is_empty() {
        return Err(DatasetError::Empty { path: list.to_owned() });
    }
    Ok(Dataset { samples, left_out: Vec::new(), doubt: None })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;

    use super::*;

    fn list(text: &str) -> Result<Vec<(String, usize)>, DatasetError> {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list.txt");
        fs::write(&list, text).unwrap();
        let name = |path: &Path| path.strip_prefix("/images").unwrap().to_str().unwrap().to_owned();
        let Dataset { samples, .. } = from_list(Path::new("/images"), &list, 10)?;
        Ok(samples.into_iter().map(|sample| (name(&sample.path), sample.class)).collect())
    }

    #[test]
    fn a_list_has_a_name_and_a_class_per_line() {
        let samples = list("b.JPEG 9\nsub/a b.png\t0\r\n\n").unwrap();
        assert_eq!(samples, [("b.JPEG".to_owned(), 9), ("sub/a b.png".to_owned(), 0)]);
        assert_eq!(
            list("\u{feff}a.jpg 1\nb.jpg 2").unwrap()[0],
            ("a.jpg".to_owned(), 1),
            "a byte order mark is not part of a name"
        );
    }

    #[test]
    fn lines_that_cannot_be_used_are_named() {
        for text in ["a.jpg 3\nb.jpg 10", "a.jpg 1\nb.jpg", "a.jpg 1\nb.jpg -1", "a.jpg 0\nb.jpg cat"] {
            let error = list(text).unwrap_err();
            assert!(matches!(error, DatasetError::Line { line: 2, last: 9, .. }), "{error}");
        }
        assert!(matches!(list("\n"), Err(DatasetError::Empty { .. })));
        let missing = from_list(Path::new("/"), Path::new("/nowhere"), 10).unwrap_err();
        assert_eq!(missing.exit(), Exit::NoInput);
    }
}
