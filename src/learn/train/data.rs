//! Labelled pictures: one folder per class, a list, or CIFAR's binary files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::capture::{Still, StillError};
use crate::exit::{Exit, chain};
use crate::frame;
use crate::learn::folders::{Unreadable, pictures, visible};

use super::list;
use super::random::Random;
use super::raster::Raster;
use super::{cifar, list::ListError};

/// Why there is nothing to train with.
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
    /// There are too few classes.
    #[error(
        "{} has {found} folders with pictures: expected one folder for each class, and at least two classes",
        path.display()
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

/// Why a picture cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// It cannot be read.
    #[error(transparent)]
    Still(#[from] StillError),
    /// Its data do not fit its size.
    #[error(transparent)]
    Frame(#[from] frame::Error),
}

/// A labelled picture.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The file, or the place in one.
    pub path: PathBuf,
    /// Number of the class.
    pub class: usize,
    /// Number of the class in each further task; `None` if the picture has none.
    pub others: Vec<Option<usize>>,
    raster: Option<Raster>,
    was_named: Arc<AtomicBool>,
}

impl Sample {
    /// A picture in a file.
    #[must_use]
    pub fn in_file(path: PathBuf, class: usize) -> Self {
        Self { path, class, others: Vec::new(), raster: None, was_named: Arc::default() }
    }

    /// A picture that is in memory.
    #[must_use]
    pub fn in_memory(path: PathBuf, class: usize, raster: Raster) -> Self {
        Self { raster: Some(raster), ..Self::in_file(path, class) }
    }

    /// The picture; `None` if it cannot be read, which is logged the first time.
    #[must_use]
    pub fn usable(&self) -> Option<Raster> {
        let report = |error: PictureError| {
            if !self.was_named.swap(true, Ordering::Relaxed) {
                tracing::warn!("left out: {}", chain(&error));
            }
        };
        self.read().map_err(report).ok()
    }

    /// The picture.
    ///
    /// # Errors
    /// If the file is no picture that can be read.
    pub fn read(&self) -> Result<Raster, PictureError> {
        if let Some(raster) = &self.raster {
            return Ok(raster.clone());
        }
        let still = Still::open(&self.path)?;
        let picture = still.picture()?;
        let (width, height) = (picture.layout().width, picture.layout().height);
        let data = (0..height).flat_map(|row| picture.row(0, row)).copied().collect();
        Ok(Raster { width, height, data })
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
}

impl Set {
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
/// the data are CIFAR's, which have a test set.
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
    let all = if data.is_file() {
        list::read(data, also)?
    } else {
        if let Some(field) = also.first().filter(|_| data.is_dir()) {
            return Err(DataError::NoList { path: data.to_owned(), field: field.clone() });
        }
        if let Some(sets) = cifar::read(data)? {
            return Ok(sets);
        }
        let labels = class_folders(data)?;
        Set { samples: samples(data, &labels)?, labels, others: Vec::new() }
    };
    match test {
        Some(test) => {
            let tested = test_set(test, &all.labels)?;
            Ok((all, tested))
        }
        None => split(all, hold_out, seed),
    }
}

/// The pictures of a test set, with the numbers that `labels` gives their classes.
fn test_set(test: &Path, labels: &[String]) -> Result<Set, DataError> {
    let other = |label: &str| DataError::OtherClass { path: test.to_owned(), label: label.to_owned() };
    let samples = if test.is_file() {
        let Set { labels: own, mut samples, .. } = list::read(test, &[])?;
        let number = |label: &String| labels.iter().position(|known| known == label).ok_or_else(|| other(label));
        let numbers = own.iter().map(number).collect::<Result<Vec<usize>, _>>()?;
        samples.iter_mut().for_each(|sample| sample.class = numbers[sample.class]);
        samples
    } else {
        let own = class_folders(test)?;
        own.iter().find(|label| !labels.contains(label)).map_or(Ok(()), |label| Err(other(label)))?;
        samples(test, labels)?
    };
    Ok(Set { labels: labels.to_vec(), others: Vec::new(), samples })
}

/// Keeps a share of each class, at least one picture, for testing.
fn split(all: Set, hold_out: f64, seed: u64) -> Result<(Set, Set), DataError> {
    let Set { labels, others, samples: all } = all;
    let (mut train, mut kept) = (Vec::new(), Vec::new());
    for (class, label) in labels.iter().enumerate() {
        let mut own: Vec<Sample> = all.iter().filter(|sample| sample.class == class).cloned().collect();
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
    let set = |samples| Set { labels: labels.clone(), others: others.clone(), samples };
    Ok((set(train), set(kept)))
}

/// Names of the folders with pictures, in byte order.
fn class_folders(data: &Path) -> Result<Vec<String>, DataError> {
    let mut labels = Vec::new();
    for path in visible(data)? {
        if path.is_dir() && !pictures(&path)?.is_empty() {
            labels.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    if labels.len() < 2 {
        return Err(DataError::Classes { path: data.to_owned(), found: labels.len() });
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
