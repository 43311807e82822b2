//! The pictures to evaluate, and the class of each.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::exit::Exit;
use crate::plural::counted;

/// Maximum size of a list in bytes: that of ImageNet's training set takes a fifth.
const MAX_LIST: u64 = 1 << 28;

/// File extensions of pictures, in lower case.
const ENDINGS: [&str; 3] = ["jpg", "jpeg", "png"];

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
    /// The list is too long.
    #[error("{} is longer than {MAX_LIST} bytes", path.display())]
    Long {
        /// The list.
        path: PathBuf,
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
        "{} has {}, but the model has {}: expected one folder per class, or a list of the pictures",
        path.display(), counted(*folders, "folder", "folders"), counted(*classes, "class", "classes")
    )]
    Folders {
        /// The folder with the folders.
        path: PathBuf,
        /// Number of folders.
        folders: usize,
        /// Classes of the model.
        classes: usize,
    },
    /// Some folders have names of classes, and one does not.
    #[error(
        "{} is not named after a class of the model, although other folders are: rename or remove it, or use a list",
        path.display()
    )]
    Misnamed {
        /// The folder.
        path: PathBuf,
    },
    /// There are no pictures.
    #[error("there are no pictures in {}: expected files that end in .jpg, .jpeg or .png", path.display())]
    Empty {
        /// The folder or list.
        path: PathBuf,
    },
}

impl DatasetError {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { .. } | Self::Empty { .. } => Exit::NoInput,
            Self::Long { .. } | Self::Line { .. } | Self::Folders { .. } | Self::Misnamed { .. } => Exit::Data,
        }
    }
}

/// The pictures of a list, in order. Each line has a file name relative to `images` and, after the last space, the
/// number of a class below `classes`, like ImageNet's published `val_list.txt`. Empty lines are ignored.
///
/// # Errors
/// If the list is unreadable, has an invalid line, or contains no pictures.
pub fn from_list(images: &Path, list: &Path, classes: usize) -> Result<Vec<Sample>, DatasetError> {
    let unreadable = |source| DatasetError::Unreadable { path: list.to_owned(), source };
    let mut text = String::new();
    File::open(list).and_then(|file| file.take(MAX_LIST + 1).read_to_string(&mut text)).map_err(unreadable)?;
    if text.len() as u64 > MAX_LIST {
        return Err(DatasetError::Long { path: list.to_owned() });
    }
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
    if samples.is_empty() { Err(DatasetError::Empty { path: list.to_owned() }) } else { Ok(samples) }
}

/// The pictures of a folder with one subfolder per class, in byte order of folders and files.
///
/// If the subfolders have names of `labels`, these are their classes. If none has, the subfolders are the classes in
/// order, as in torchvision's `ImageFolder`, and their number must match.
///
/// # Errors
/// If a folder is unreadable, the folders do not match the classes, or there are no pictures.
pub fn from_folders<L: AsRef<str>>(images: &Path, labels: &[L]) -> Result<Vec<Sample>, DatasetError> {
    let folders: Vec<PathBuf> = entries(images)?.into_iter().filter(|path| path.is_dir()).collect();
    let named = |folder: &PathBuf| {
        let name = folder.file_name()?.to_str()?;
        labels.iter().position(|label| label.as_ref() == name)
    };
    let by_name: Vec<Option<usize>> = folders.iter().map(named).collect();
    let misnamed = by_name.iter().position(Option::is_none);
    let classes: Vec<usize> = match misnamed {
        None if !folders.is_empty() => by_name.into_iter().flatten().collect(),
        Some(index) if by_name.iter().any(Option::is_some) => {
            return Err(DatasetError::Misnamed { path: folders[index].clone() });
        }
        _ if folders.len() == labels.len() => (0..folders.len()).collect(),
        _ => {
            let (folders, classes) = (folders.len(), labels.len());
            return Err(DatasetError::Folders { path: images.to_owned(), folders, classes });
        }
    };
    let mut samples = Vec::new();
    for (folder, class) in folders.iter().zip(classes) {
        let pictures = entries(folder)?.into_iter().filter(|path| is_picture(path));
        samples.extend(pictures.map(|path| Sample { path, class }));
    }
    if samples.is_empty() { Err(DatasetError::Empty { path: images.to_owned() }) } else { Ok(samples) }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    let mut paths = read().map_err(|source| DatasetError::Unreadable { path: folder.to_owned(), source })?;
    paths.sort();
    Ok(paths)
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn list(text: &str) -> Result<Vec<(String, usize)>, DatasetError> {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("list.txt");
        fs::write(&list, text).unwrap();
        let name = |path: &Path| path.strip_prefix("/images").unwrap().to_str().unwrap().to_owned();
        let samples = from_list(Path::new("/images"), &list, 10)?;
        Ok(samples.into_iter().map(|sample| (name(&sample.path), sample.class)).collect())
    }

    #[test]
    fn a_list_has_a_name_and_a_class_per_line() {
        let samples = list("b.JPEG 9\nsub/a b.png\t0\r\n\n").unwrap();
        assert_eq!(samples, [("b.JPEG".to_owned(), 9), ("sub/a b.png".to_owned(), 0)]);
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

    #[test]
    fn folders_are_classes_by_name_or_in_their_order() {
        let root = tempfile::tempdir().unwrap();
        for file in ["cat/2.jpg", "cat/1.PNG", "cat/notes.txt", "ant/3.jpeg"] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::write(root.path().join("README"), "").unwrap();
        let samples = |labels: &[&str]| -> Result<Vec<(String, usize)>, DatasetError> {
            let name = |path: PathBuf| path.strip_prefix(root.path()).unwrap().to_str().unwrap().to_owned();
            Ok(from_folders(root.path(), labels)?.into_iter().map(|s| (name(s.path), s.class)).collect())
        };
        let of = |ant, cat| [("ant/3.jpeg".to_owned(), ant), ("cat/1.PNG".to_owned(), cat), ("cat/2.jpg".into(), cat)];
        assert_eq!(samples(&["dog", "cat", "ant"]).unwrap(), of(2, 1));
        assert_eq!(samples(&["class 0", "class 1"]).unwrap(), of(0, 1));
        let misnamed = samples(&["cat", "dog"]).unwrap_err();
        assert!(misnamed.to_string().contains("ant is not named after a class"), "{misnamed}");
        let error = samples(&["class 0", "class 1", "class 2"]).unwrap_err();
        assert!(error.to_string().contains("2 folders, but the model has 3 classes"), "{error}");
        assert!(matches!(from_folders(&root.path().join("cat"), &["a"]), Err(DatasetError::Folders { .. })));
    }
}
