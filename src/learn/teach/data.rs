//! The pictures to learn from: one folder per class.

use std::io;
use std::path::{Path, PathBuf};

use crate::capture::is_picture;
use crate::exit::Exit;
use crate::inference::UNKNOWN;
use crate::learn::folders::{self as on_disk, Unreadable};
use crate::plural::{counted, first_of};

/// Most pictures.
const MOST: usize = 4000;

/// Why there is nothing to learn from.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are too few classes.
    #[error(
        "{} has {}: expected a folder for each class, and at least two of them. If there is one state only, such as \
         \"bin\", take pictures without it for a second folder",
        path.display(), folders(labels)
    )]
    Classes {
        /// The folder.
        path: PathBuf,
        /// Names of the folders with pictures.
        labels: Vec<String>,
    },
    /// Folders hold no pictures.
    #[error(
        "folders in {} without pictures (JPEG, PNG, WebP, BMP, GIF, TIFF): {}. Add some, or remove the folder",
        path.display(), first_of(folders)
    )]
    Empty {
        /// The folder.
        path: PathBuf,
        /// Names of the empty folders.
        folders: Vec<String>,
    },
    /// Classes have too few pictures.
    #[error(
        "the class {label:?} has {}: expected at least {least} that can be read, better 20",
        counted(*found, "picture", "pictures")
    )]
    Few {
        /// The class.
        label: String,
        /// Its pictures.
        found: usize,
        /// The least number.
        least: usize,
    },
    /// All features, or the weights of all classes, take more memory than teaching may have.
    #[error(
        "{pictures} pictures of {classes} classes are too many for this network, with {features} features of each: take \
         fewer, a smaller network, or train one (`hardnetd train`, in a build with it)"
    )]
    Large {
        /// Number of pictures.
        pictures: usize,
        /// Number of classes.
        classes: usize,
        /// Features of a picture.
        features: usize,
    },
    /// There are too many pictures to hold all features in memory.
    #[error(
        "{} holds {found} pictures, and teaching takes {most} at most: take some of each class, or train a network \
         (`hardnetd train`, in a build with it)",
        path.display()
    )]
    Many {
        /// The folder.
        path: PathBuf,
        /// Its pictures.
        found: usize,
        /// The largest number.
        most: usize,
    },
    /// A class is called as the answer for pictures that are like no class.
    #[error(
        "{} cannot be a class: {UNKNOWN:?} is what a taught model says of a picture that is like none of its classes. Keep \
         such pictures in another place, for `hardnetd eval`",
        path.display()
    )]
    Reserved {
        /// The folder.
        path: PathBuf,
    },
    /// The name of a folder cannot be a label.
    #[error("the name of the folder {name:?} has control characters or is not UTF-8, so it cannot be a label")]
    Name {
        /// The name.
        name: String,
    },
}

fn folders(labels: &[String]) -> String {
    match labels {
        [] => "no folder with pictures".to_owned(),
        labels => format!("one folder with pictures ({})", first_of(labels)),
    }
}

impl From<Unreadable> for DataError {
    fn from(Unreadable { path, source }: Unreadable) -> Self {
        Self::Unreadable { path, source }
    }
}

impl DataError {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { .. } => Exit::NoInput,
            _ => Exit::Data,
        }
    }
}

/// A labelled picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The file.
    pub path: PathBuf,
    /// Number of the class.
    pub class: usize,
}

/// A labelled set of pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Names of the classes: those of the folders, in byte order.
    pub labels: Vec<String>,
    /// The pictures, in the order of classes and files.
    pub samples: Vec<Sample>,
    /// Pictures that are in no class's folder.
    pub left_out: Vec<PathBuf>,
}

/// The pictures in the folders of `data` and in those below them.
///
/// # Errors
/// Any [`DataError`] except [`DataError::Few`].
pub fn read(data: &Path) -> Result<Set, DataError> {
    let (mut labels, mut samples, mut left_out, mut empty) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for path in on_disk::visible(data)? {
        if !path.is_dir() {
            left_out.extend(is_picture(&path).then_some(path));
            continue;
        }
        let name = path.file_name().unwrap_or_default();
        let label = name.to_str().filter(|name| !name.chars().any(char::is_control));
        let label = label.ok_or_else(|| DataError::Name { name: name.to_string_lossy().into_owned() })?;
        if label.eq_ignore_ascii_case(UNKNOWN) {
            return Err(DataError::Reserved { path: path.clone() });
        }
        let found = pictures(&path)?;
        if found.is_empty() {
            empty.push(label.to_owned());
            continue;
        }
        samples.extend(found.into_iter().map(|path| Sample { path, class: labels.len() }));
        labels.push(label.to_owned());
    }
    if !empty.is_empty() {
        return Err(DataError::Empty { path: data.to_owned(), folders: empty });
    }
    if labels.len() < 2 {
        return Err(DataError::Classes { path: data.to_owned(), labels });
    }
    if samples.len() > MOST {
        return Err(DataError::Many { path: data.to_owned(), found: samples.len(), most: MOST });
    }
    Ok(Set { labels, samples, left_out })
}

/// The pictures in a folder and in those below it, in byte order.
///
/// # Errors
/// [`DataError::Unreadable`].
pub fn pictures(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(on_disk::pictures(folder)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;

    use super::*;

    #[test]
    fn folders_are_classes_and_what_systems_keep_beside_them_is_not() {
        let root = tempfile::tempdir().unwrap();
        for file in ["b/2.JPG", "b/deep/1.png", "a/1.jpg", "a/notes.txt", ".trash/1.jpg", "@eaDir/1.jpg", "loose.png"] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink(".", root.path().join("b/again")).unwrap();
        let set = read(root.path()).unwrap();
        assert_eq!(set.labels, ["a", "b"]);
        let found: Vec<_> = set.samples.iter().map(|sample| (sample.path.file_name().unwrap(), sample.class)).collect();
        assert_eq!(found, [("1.jpg".as_ref(), 0), ("2.JPG".as_ref(), 1), ("1.png".as_ref(), 1)]);
        assert_eq!(set.left_out, [root.path().join("loose.png")]);
    }

    #[test]
    fn too_many_pictures_are_refused_before_one_is_read() {
        let root = tempfile::tempdir().unwrap();
        for label in ["a", "b"] {
            fs::create_dir(root.path().join(label)).unwrap();
            for number in 0..=MOST / 2 {
                fs::write(root.path().join(label).join(format!("{number}.jpg")), "").unwrap();
            }
        }
        assert!(matches!(read(root.path()), Err(DataError::Many { found: 4002, most: MOST, .. })));
    }
}
