//! Labelled pictures: one folder per class, a list, or CIFAR's binary files.

use std::collections::HashSet;
use std::io;
use std::path::{self, Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::exit::Exit;
use crate::learn::folders::{Unreadable, pictures, visible};
use crate::plural::{counted, first_of};

use super::list;
use super::random::Random;
use super::sample::Sample;
use super::{cifar, list::ListError};

/// Why a set for training or testing cannot be used.
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
    /// A list cannot be used.
    #[error(transparent)]
    List(#[from] ListError),
    /// The name of a folder cannot be that of a class.
    #[error("the name of the folder {} is not UTF-8, so it cannot be the name of a class", path.display())]
    Name {
        /// The folder.
        path: PathBuf,
    },
    /// There are too few classes.
    #[error(
        "{} has {} with pictures: expected one folder for each class, and at least two classes",
        path.display(),
        counted(*found, "folder", "folders")
    )]
    Classes {
        /// The folder.
        path: PathBuf,
        /// Number of folders with pictures.
        found: usize,
    },
    /// A class has too few pictures to keep some for testing.
    #[error(
        "the class {label:?} has one picture: expected at least two, one for training and one for testing; add pictures, \
         or name the pictures for testing with --test"
    )]
    OnePicture {
        /// The class.
        label: String,
    },
    /// Pictures of several tasks do not come from a list.
    #[error("{} is no list: --also {field} needs a list with a JSON object per line", path.display())]
    NoList {
        /// The folder.
        path: PathBuf,
        /// The field with the classes of the task.
        field: String,
    },
    /// A test set is empty.
    #[error(
        "there are no pictures for testing in {}: expected a folder for each class, or a list", path.display()
    )]
    EmptyTest {
        /// The folder or list of the test set.
        path: PathBuf,
    },
    /// A test set has other classes.
    #[error("{} has the class {label:?}, which the training set does not have", path.display())]
    OtherClass {
        /// The folder or list of the test set.
        path: PathBuf,
        /// The class.
        label: String,
    },
    /// A list of labels of CIFAR has another length.
    #[error("{} has {found} labels, expected {expected}", path.display())]
    CifarLabels {
        /// The list.
        path: PathBuf,
        /// Labels expected.
        expected: usize,
        /// Labels found.
        found: usize,
    },
    /// A file of CIFAR is too long.
    #[error("{} is larger than {} MB: it is none of CIFAR's files", path.display(), most / 1_000_000)]
    CifarSize {
        /// The file.
        path: PathBuf,
        /// Most bytes.
        most: u64,
    },
    /// A file of CIFAR is no row of records.
    #[error("{} has {length} bytes, expected a multiple of {record}, the length of a record", path.display())]
    CifarLength {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
        /// Bytes of a record.
        record: usize,
    },
    /// A record of CIFAR has a class that does not exist.
    #[error("{}, byte {byte}: the class is {class}, expected 0 to {last}", path.display())]
    CifarClass {
        /// The file.
        path: PathBuf,
        /// Position in the file.
        byte: usize,
        /// The class.
        class: usize,
        /// The last class.
        last: usize,
    },
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
            Self::List(error) => error.exit(),
            Self::NoList { .. } => Exit::Usage,
            _ => Exit::Data,
        }
    }
}

/// A labelled set of pictures.
#[derive(Debug, Clone)]
pub struct Set {
    /// Names of the classes.
    pub labels: Vec<String>,
    /// Names of the classes of each further task.
    pub others: Vec<Vec<String>>,
    /// The pictures.
    pub samples: Vec<Sample>,
    /// The folder with the classes or the list.
    pub root: PathBuf,
}

impl Set {
    /// The first class of which all pictures have been left out, if there is one.
    #[must_use]
    pub fn class_left_out(&self) -> Option<&str> {
        // Of each class, whether it has pictures, and usable ones.
        let mut has_any = vec![(false, false); self.labels.len()];
        for sample in &self.samples {
            let (any, usable) = &mut has_any[sample.class];
            *any = true;
            *usable |= !sample.is_left_out();
        }
        self.labels.iter().zip(has_any).find(|(_, (any, usable))| *any && !usable).map(|(label, _)| label.as_str())
    }

    /// SHA-256, in hexadecimal digits, of the paths below the root and of the numbers of the classes, in their order.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for Sample { path, class, others, .. } in &self.samples {
            digest.update(path.strip_prefix(&self.root).unwrap_or(path).as_os_str().as_encoded_bytes());
            digest.update([0]);
            for class in [Some(*class)].iter().chain(others) {
                digest.update(class.map_or(u64::MAX, |class| class as u64).to_le_bytes());
            }
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Number of classes of each task.
    #[must_use]
    pub fn classes(&self) -> Vec<usize> {
        [self.labels.len()].into_iter().chain(self.others.iter().map(Vec::len)).collect()
    }
}

/// The pictures for training and for testing.
///
/// `data` is a folder with one for each class, or with CIFAR's binary files, or a list, whose fields `also` hold the
/// classes of further tasks. Without a `test` set, a share of each class, chosen by `seed`, is kept for testing, unless
/// the data are CIFAR's, which have a test set. Pictures in both sets are logged.
///
/// # Errors
/// If folders or lists are unreadable, or there are too few classes or pictures.
pub fn read(
    data: &Path,
    test: Option<&Path>,
    also: &[String],
    hold_out: f64,
    seed: u64,
) -> Result<(Set, Set), DataError> {
    let (all, own) = if data.is_file() {
        let all = list::read(data, also)?;
        if all.labels.len() < 2 {
            return Err(ListError::Classes { path: data.to_owned(), found: all.labels.len() }.into());
        }
        (all, None)
    } else {
        if let Some(field) = also.first().filter(|_| data.is_dir()) {
            return Err(DataError::NoList { path: data.to_owned(), field: field.clone() });
        }
        match cifar::read(data)? {
            Some((all, own)) => (all, Some(own)),
            None => {
                let labels = class_folders(data)?;
                if labels.len() < 2 {
                    return Err(DataError::Classes { path: data.to_owned(), found: labels.len() });
                }
                let samples = samples(data, &labels)?;
                (Set { labels, others: Vec::new(), samples, root: data.to_owned() }, None)
            }
        }
    };
    let (train, tested) = match (test, own) {
        (Some(test), _) => {
            let tested = test_set(test, &all.labels)?;
            (all, tested)
        }
        (None, Some(own)) => (all, own),
        (None, None) => split(all, hold_out, seed)?,
    };
    let both = in_both(&train, &tested);
    if !both.is_empty() {
        tracing::warn!(
            "{} both for training and for testing, so that the accuracy is too good: {}",
            counted(both.len(), "picture is", "pictures are"),
            first_of(both.iter().map(|path| path.display()))
        );
    }
    Ok((train, tested))
}

/// The pictures for testing that are also for training.
fn in_both<'a>(train: &Set, test: &'a Set) -> Vec<&'a Path> {
    let place = |path: &Path| path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let known: HashSet<PathBuf> = train.samples.iter().map(|sample| place(&sample.path)).collect();
    let tested = test.samples.iter().map(|sample| sample.path.as_path());
    tested.filter(|path| known.contains(&place(path))).collect()
}

/// The pictures of a test set, with the numbers that `labels` gives their classes.
fn test_set(test: &Path, labels: &[String]) -> Result<Set, DataError> {
    let other = |label: &str| DataError::OtherClass { path: test.to_owned(), label: label.to_owned() };
    let (samples, root) = if test.is_file() {
        let Set { labels: own, mut samples, root, .. } = list::read(test, &[])?;
        let number = |label: &String| labels.iter().position(|known| known == label).ok_or_else(|| other(label));
        let numbers = own.iter().map(number).collect::<Result<Vec<usize>, _>>()?;
        samples.iter_mut().for_each(|sample| sample.class = numbers[sample.class]);
        (samples, root)
    } else {
        let own = class_folders(test)?;
        own.iter().find(|label| !labels.contains(label)).map_or(Ok(()), |label| Err(other(label)))?;
        (samples(test, labels)?, test.to_owned())
    };
    if samples.is_empty() {
        return Err(DataError::EmptyTest { path: test.to_owned() });
    }
    Ok(Set { labels: labels.to_vec(), others: Vec::new(), samples, root })
}

/// Keeps a share of each class, at least one picture, for testing.
fn split(all: Set, hold_out: f64, seed: u64) -> Result<(Set, Set), DataError> {
    let Set { labels, others, samples: all, root } = all;
    let (mut train, mut kept) = (Vec::new(), Vec::new());
    let mut of_class = vec![Vec::new(); labels.len()];
    all.into_iter().for_each(|sample: Sample| of_class[sample.class].push(sample));
    for (class, (label, mut own)) in labels.iter().zip(of_class).enumerate() {
        if own.len() < 2 {
            return Err(DataError::OnePicture { label: label.clone() });
        }
        Random::new(seed, &[class as u64]).shuffle(&mut own);
        let count = ((own.len() as f64 * hold_out).round() as usize).clamp(1, own.len() - 1);
        train.extend(own.split_off(count));
        kept.extend(own);
    }
    for samples in [&mut train, &mut kept] {
        samples.sort_by(|a, b| (a.class, &a.path).cmp(&(b.class, &b.path)));
    }
    let set = |samples| Set { labels: labels.clone(), others: others.clone(), samples, root: root.clone() };
    Ok((set(train), set(kept)))
}

/// Names of the folders with pictures, in byte order; [`DataError::Name`] if one is not UTF-8.
fn class_folders(data: &Path) -> Result<Vec<String>, DataError> {
    let mut labels = Vec::new();
    for path in visible(data)? {
        if path.is_dir() && !pictures(&path)?.is_empty() {
            let name = path.file_name().unwrap_or_default();
            let label = name.to_str().ok_or_else(|| DataError::Name { path: path.clone() })?;
            labels.push(label.to_owned());
        }
    }
    Ok(labels)
}

fn samples(data: &Path, labels: &[String]) -> Result<Vec<Sample>, DataError> {
    let mut samples = Vec::new();
    for (class, label) in labels.iter().enumerate() {
        let folder = data.join(label);
        if folder.is_dir() {
            let pictures = pictures(&folder)?;
            samples.extend(pictures.into_iter().map(|path| Sample::in_file(path, class)));
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;

    use super::*;

    /// A folder with empty files.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        root
    }

    #[test]
    fn a_digest_stays_if_the_set_moves_and_changes_with_its_pictures_and_classes() {
        let digests = |files: &[&str], seed: u64| {
            let root = folder(files);
            let (train, test) = read(root.path(), None, &[], 0.5, seed).unwrap();
            (train.digest(), test.digest())
        };
        let files = ["a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png", "b/3.png"];
        let all: Vec<(String, String)> = (0..8).map(|seed| digests(&files, seed)).collect();
        assert_eq!(all[0], digests(&files, 0));
        assert!(all.iter().any(|other| *other != all[0]), "the seed chooses the pictures for testing");
        let renamed = ["a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png", "b/4.png"];
        assert_ne!(all[0], digests(&renamed, 0));
        let root = folder(&files);
        let (mut train, _) = read(root.path(), None, &[], 0.5, 0).unwrap();
        let before = train.digest();
        train.samples[0].class = 1;
        assert_ne!(train.digest(), before);
    }

    #[test]
    fn a_test_set_may_have_one_class_but_not_none() {
        let root = folder(&["data/a/1.png", "data/b/1.png", "test/b/2.png", "none/b/notes.txt", "empty.txt"]);
        let path = |name: &str| root.path().join(name);
        fs::write(path("list.txt"), "test/b/2.png b\n").unwrap();
        for name in ["test", "list.txt"] {
            let (_, test) = read(&path("data"), Some(&path(name)), &[], 0.2, 1).unwrap();
            let found: Vec<(&Path, usize)> = test.samples.iter().map(|s| (s.path.as_path(), s.class)).collect();
            assert_eq!(found, [(path("test/b/2.png").as_path(), 1)]);
        }
        for name in ["none", "empty.txt"] {
            let error = read(&path("data"), Some(&path(name)), &[], 0.2, 1).unwrap_err();
            assert!(matches!(error, DataError::EmptyTest { .. }), "{error}");
        }
    }

    #[test]
    fn pictures_in_both_sets_are_found() {
        let root = folder(&["data/a/1.png", "data/b/1.png"]);
        let list = root.path().join("list.txt");
        fs::write(&list, "data/a/1.png a\n./data/b/1.png b\nother.png b\n").unwrap();
        let (train, test) = read(&root.path().join("data"), Some(&list), &[], 0.2, 1).unwrap();
        let both: Vec<String> = in_both(&train, &test).iter().map(|path| path.display().to_string()).collect();
        assert_eq!(both.len(), 2, "{both:?}");
    }
}
