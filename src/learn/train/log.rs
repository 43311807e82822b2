//! The log of a training: a JSON object per epoch and line.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::replace::replace;

use super::error::Error;

/// Accuracy on the pictures for testing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// Pictures that were tested.
    pub pictures: usize,
    /// Share whose class came first, 0 to 1.
    pub top1: f64,
    /// Share whose class was among the first five, 0 to 1.
    pub top5: f64,
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
        Self { path: folder.join("log.jsonl") }
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
        let text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.map_err(|source| self.failed(source))?,
        };
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Removes the epochs that end after `step`, which a training that continues from there does again.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn trim(&self, step: u64) -> Result<(), Error> {
        let epochs = self.read()?;
        if epochs.is_empty() {
            return Ok(());
        }
        replace(&self.path, |file| {
            for epoch in epochs.iter().filter(|epoch| epoch.step <= step) {
                serde_json::to_writer(&mut *file, epoch)?;
                writeln!(file)?;
            }
            Ok(())
        })
        .map_err(|source| self.failed(source))
    }
}
