//! A number in a file of sysfs, which stays open: a reading is one system call.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::system::host::Host;

/// Maximum length of a number in bytes.
const LONGEST: usize = 64;

/// Why a sensor has no reading.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refuses.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// There is no number.
    #[error("{path} holds {text:?}; expected a whole number")]
    NoNumber {
        /// The file.
        path: String,
        /// What it holds.
        text: String,
    },
    /// The figure is not one of consumption.
    #[error("{0}")]
    Unfit(String),
}

/// A file with a whole number.
#[derive(Debug)]
pub(super) struct Gauge {
    file: File,
    path: String,
}

impl Gauge {
    /// Opens the file at `path` of `host`, and reads it once.
    ///
    /// # Errors
    /// As of [`read`](Self::read).
    pub(super) fn open(host: &Host, path: &str) -> Result<Self, ReadError> {
        let file = File::open(host.path(path)).map_err(|source| ReadError::Io { path: path.into(), source })?;
        let gauge = Self { file, path: path.into() };
        gauge.read()?;
        Ok(gauge)
    }

    /// The number now.
    ///
    /// # Errors
    /// If the system refuses, or there is no number.
    pub(super) fn read(&self) -> Result<i64, ReadError> {
        let mut buffer = [0; LONGEST];
        let length =
            self.file.read_at(&mut buffer, 0).map_err(|source| ReadError::Io { path: self.path.clone(), source })?;
        let text = str::from_utf8(&buffer[..length]).unwrap_or_default().trim();
        text.parse().map_err(|_| ReadError::NoNumber { path: self.path.clone(), text: text.to_owned() })
    }
}

/// What to do about a sensor that cannot be opened.
pub(super) fn reason(error: &ReadError) -> String {
    match error {
        ReadError::Io { path, source } if source.kind() == io::ErrorKind::PermissionDenied => {
            format!("{path} may not be read: it is for root only, unless a udev rule gives it to a group")
        }
        other => crate::exit::chain(other),
    }
}
