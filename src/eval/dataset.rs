//! The pictures to evaluate, and the class of each.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

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
        "{}, line {line}: expected a file name and the number of its class, 0 to {last}, or its name, but found {found:?}",
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

/// A line of a list as a JSON object; other fields are ignored.
#[derive(Deserialize)]
struct Object {
    path: PathBuf,
    label: Value,
}

/// The pictures of a list, in order. Each line names a file, relative to `images`, and one of the classes `labels`: after
/// a tab or a space its name or, if no class has that name, its number, as in ImageNet's published `val_list.txt`; or as a
/// JSON object with `path` and `label`. Empty lines are ignored.
///
/// # Errors
/// If the list is unreadable, has an invalid line, or contains no pictures.
pub fn from_list<L: AsRef<str>>(images: &Path, list: &Path, labels: &[L]) -> Result<Dataset, DatasetError> {
    let text = regular::read_text(list, MAX_LIST).map_err(|source| match regular::is_content(&source) {
        true => DatasetError::NotAList { path: list.to_owned(), source },
        false => DatasetError::Unreadable { path: list.to_owned(), source },
    })?;
    let mut named = HashMap::new();
    for (class, label) in labels.iter().enumerate() {
        named.entry(label.as_ref()).or_insert(class);
    }
    let longest = named.keys().map(|name| name.len()).max().unwrap_or(0);
    let class = |text: &str| {
        let number = || text.parse().ok().filter(|class| *class < labels.len());
        named.get(text).copied().or_else(number)
    };
    let mut samples = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line = line.trim();
        let sample = if line.starts_with('{') {
            let object: Option<Object> = serde_json::from_str(line).ok();
            object.and_then(|Object { path, label }| {
                let class = label.as_str().map_or_else(|| class(&label.to_string()), class)?;
                Some(Sample { path: images.join(path), class })
            })
        } else {
            let parts =
                line.rsplit_once('\t').or_else(|| before_name(line, &named, longest)).or_else(|| line.rsplit_once(' '));
            parts.and_then(|(name, text)| Some(Sample { path: images.join(name.trim_end()), class: class(text)? }))
        };
        let found = || line.chars().take(80).collect();
        samples.push(sample.ok_or_else(|| DatasetError::Line {
            path: list.to_owned(),
            line: index + 1,
            last: labels.len().saturating_sub(1),
            found: found(),
        })?);
    }
    if samples.is_empty() {
        return Err(DatasetError::Empty { path: list.to_owned() });
    }
    Ok(Dataset { samples, left_out: Vec::new(), doubt: None })
}

/// What is before and after the space before the longest name at the end of a line: names may have spaces. `longest` is
/// the length of the longest of all names in bytes.
fn before_name<'a>(line: &'a str, named: &HashMap<&str, usize>, longest: usize) -> Option<(&'a str, &'a str)> {
    let from = (0..=line.len().saturating_sub(longest + 1)).rev().find(|at| line.is_char_boundary(*at))?;
    let spaces = line[from..].match_indices(' ').map(|(at, _)| from + at);
    spaces.map(|at| (&line[..at], &line[at + 1..])).find(|(_, name)| named.contains_key(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;

    use super::*;

    const LABELS: [&str; 10] = ["cat", "two words", "c", "d", "e", "f", "g", "h", "i", "j"];

    fn list(text: &str) -> Result<Vec<(String, usize)>, DatasetError> {
        list_of(text, &LABELS)
    }

    fn list_of(text: &str, labels: &[&str]) -> Result<Vec<(String, usize)>, DatasetError> {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list.txt");
        fs::write(&list, text).unwrap();
        let name = |path: &Path| path.strip_prefix("/images").unwrap().to_str().unwrap().to_owned();
        let Dataset { samples, .. } = from_list(Path::new("/images"), &list, labels)?;
        Ok(samples.into_iter().map(|sample| (name(&sample.path), sample.class)).collect())
    }

    #[test]
    fn a_list_has_a_name_and_a_class_per_line() {
        let samples = list("b.JPEG 9\nsub/a b.png\t0\r\n\n").unwrap();
        assert_eq!(samples, [("b.JPEG".to_owned(), 9), ("sub/a b.png".to_owned(), 0)]);
        let spaced = list("sub/\u{fc} a.png two words\ntwo words c\n").unwrap();
        assert_eq!(spaced, [("sub/\u{fc} a.png".to_owned(), 1), ("two words".to_owned(), 2)]);
        assert_eq!(
            list("\u{feff}a.jpg 1\nb.jpg 2").unwrap()[0],
            ("a.jpg".to_owned(), 1),
            "a byte order mark is not part of a name"
        );
    }

    #[test]
    fn a_class_may_be_named_and_a_line_may_be_an_object() {
        let samples =
            list("a.jpg cat\nb c.jpg\ttwo words\n{\"path\": \"d.jpg\", \"label\": \"two words\", \"x\": 1}").unwrap();
        let found: Vec<(&str, usize)> = samples.iter().map(|(name, class)| (name.as_str(), *class)).collect();
        assert_eq!(found, [("a.jpg", 0), ("b c.jpg", 1), ("d.jpg", 1)]);
        let samples = list("{\"path\": \"a.jpg\", \"label\": 3}").unwrap();
        assert_eq!(samples, [("a.jpg".to_owned(), 3)]);
        for text in ["{\"path\": \"a.jpg\"}", "{\"path\": \"a.jpg\", \"label\": \"dog\"}", "{", "{}"] {
            assert!(matches!(list(text), Err(DatasetError::Line { line: 1, .. })), "{text}");
        }
    }

    #[test]
    fn a_number_that_is_the_name_of_a_class_is_that_class() {
        let text = "a.jpg 10\nb.jpg 2\n{\"path\": \"c.jpg\", \"label\": 1}\nd.jpg 0";
        let classes: Vec<usize> = list_of(text, &["2", "10", "cat"]).unwrap().iter().map(|(_, class)| *class).collect();
        assert_eq!(classes, [1, 0, 1, 0], "1 and 0 are numbers of classes, since no class has these names");
    }

    #[test]
    fn lines_that_cannot_be_used_are_named() {
        for text in ["a.jpg 3\nb.jpg 10", "a.jpg 1\nb.jpg", "a.jpg 1\nb.jpg -1", "a.jpg 0\nb.jpg dog"] {
            let error = list(text).unwrap_err();
            assert!(matches!(error, DatasetError::Line { line: 2, last: 9, .. }), "{error}");
        }
        assert!(matches!(list("\n"), Err(DatasetError::Empty { .. })));
        let missing = from_list(Path::new("/"), Path::new("/nowhere"), &LABELS).unwrap_err();
        assert_eq!(missing.exit(), Exit::NoInput);
    }
}
