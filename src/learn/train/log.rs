//! The log of a training: a JSON object per epoch and line.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::plural::counted;
use crate::regular;
use crate::replace::replace;

use super::error::Error;

/// Name of the file in the folder of a training.
pub const FILE: &str = "log.jsonl";

/// Most bytes of the file: a line has a few hundred, and there are at most [`EPOCHS`](super::options::EPOCHS).
const LARGEST: u64 = 1 << 26;

/// Accuracy on the pictures for testing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// Pictures that were tested.
    pub pictures: usize,
    /// Share whose class came first, 0 to 1.
    pub top1: f64,
    /// Share whose class was among the first five, 0 to 1.
    pub top5: f64,
    /// Mean cross entropy. None in logs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
}

impl Test {
    /// Whether more pictures are right than in `other`, or as many with a smaller loss. With few pictures, the tests of
    /// many epochs are equal; the loss tells which model is surer of them.
    #[must_use]
    pub fn is_better_than(&self, other: &Self) -> bool {
        let loss = |test: &Self| test.loss.unwrap_or(f64::INFINITY);
        self.top1 > other.top1 || (self.top1 >= other.top1 && loss(self) < loss(other))
    }
}

/// An epoch, as the log records it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Steps from the beginning.
    pub step: u64,
    /// The learning rate of the last step.
    pub rate: f64,
    /// Mean loss of the steps.
    pub loss: f64,
    /// Share of the pictures of the steps whose class came first, 0 to 1.
    pub train_top1: f64,
    /// The same in each further task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_top1: Vec<f64>,
    /// The test after it.
    pub test: Test,
    /// Whether it is the best so far.
    pub best: bool,
}

/// The log in the folder of a training.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
}

impl Log {
    /// The log in `folder`, which need not exist.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join(FILE) }
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Write { path: self.path.clone(), source }
    }

    /// Adds an epoch.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(&self, epoch: &Epoch) -> Result<(), Error> {
        let append = || {
            if let Ok(found) = fs::metadata(&self.path) {
                regular::check(&found)?;
            }
            let line = serde_json::to_string(epoch)?;
            let mut log = OpenOptions::new().create(true).append(true).open(&self.path)?;
            writeln!(log, "{line}")
        };
        append().map_err(|source| self.failed(source))
    }

    /// The epochs; lines that are none, such as one cut off by a full disk, are left out.
    ///
    /// # Errors
    /// If the file is unreadable.
    pub fn read(&self) -> Result<Vec<Epoch>, Error> {
        Ok(epochs(&self.text()?).collect())
    }

    fn text(&self) -> Result<String, Error> {
        match regular::read_text(&self.path, LARGEST) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            text => text.map_err(|source| Error::Log { path: self.path.clone(), source }),
        }
    }

    /// Removes the epochs that end after `step`, which a training that continues from there does again, and lines that
    /// are no epochs.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn trim(&self, step: u64) -> Result<(), Error> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(());
        }
        let others = text.lines().count() - epochs(&text).count();
        if others > 0 {
            let lines = counted(others, "line that is no epoch is", "lines that are no epochs are");
            tracing::warn!("{}: {lines} removed", self.path.display());
        }
        replace(&self.path, |file| {
            for epoch in epochs(&text).filter(|epoch| epoch.step <= step) {
                serde_json::to_writer(&mut *file, &epoch)?;
                writeln!(file)?;
            }
            Ok(())
        })
        .map_err(|source| self.failed(source))
    }
}

/// The epochs among the lines of `text`.
fn epochs(text: &str) -> impl Iterator<Item = Epoch> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn of_tests_with_as_many_right_pictures_the_one_with_the_smaller_loss_is_better() {
        let test = |top1, loss| Test { pictures: 24, top1, top5: 1.0, loss };
        assert!(test(1.0, Some(0.9)).is_better_than(&test(0.9, Some(0.1))));
        assert!(test(1.0, Some(0.1)).is_better_than(&test(1.0, Some(0.2))));
        assert!(test(1.0, Some(0.1)).is_better_than(&test(1.0, None)));
        assert!(!test(1.0, Some(0.1)).is_better_than(&test(1.0, Some(0.1))));
        assert!(!test(0.9, Some(0.1)).is_better_than(&test(1.0, None)));
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_spoil_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::in_folder(folder.path());
        log.trim(5).unwrap();
        assert!(!folder.path().join(FILE).exists());
        fs::write(folder.path().join(FILE), "{\"epoch\":1,\"st").unwrap();
        log.trim(0).unwrap();
        let (test, also_top1) = (Test::default(), Vec::new());
        let epoch = |epoch| Epoch {
            epoch,
            step: 5 * epoch,
            rate: 0.1,
            loss: 0.1 + 0.2,
            train_top1: 0.9833333333333333,
            also_top1: also_top1.clone(),
            test: test.clone(),
            best: true,
        };
        log.append(&epoch(1)).unwrap();
        log.append(&epoch(2)).unwrap();
        assert_eq!(log.read().unwrap(), [epoch(1), epoch(2)]);
        log.trim(9).unwrap();
        assert_eq!(log.read().unwrap(), [epoch(1)]);
    }
}
