//! What a model costs on this device: latency, power, temperature, in one record that says which figures are valid.
//!
//! [`protocol`] leads through a measurement and writes a file ([`journal`]); [`analysis`] computes every figure from that
//! file, so that each can be traced to its samples.

pub mod analysis;
pub mod energy;
pub mod environment;
pub mod instruments;
pub mod journal;
pub mod judge;
pub mod protocol;
pub mod report;
pub mod sample;
pub mod stats;
#[cfg(test)]
mod synthetic;

use std::io;
use std::path::PathBuf;

use crate::exit::Exit;

/// Why a measurement ends early, or cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be written or read.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// A report cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Its file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is measured ended by itself.
    #[error("the pipeline has ended: a source has come to its end, or has failed (see the log)")]
    Ended,
    /// Somebody has asked for it.
    #[error("stopped by a signal")]
    Interrupted,
    /// What is measured cannot run.
    #[error("what is measured cannot run")]
    Load(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Journal(journal::Error::Line { .. }) => Exit::Data,
            Self::Journal(journal::Error::Exists { .. }) => Exit::Usage,
            Self::Journal(journal::Error::Io { source, .. }) => match source.kind() {
                io::ErrorKind::NotFound => Exit::NoInput,
                io::ErrorKind::PermissionDenied => Exit::NoPermission,
                _ => Exit::Io,
            },
            Self::Write { .. } => Exit::Io,
            Self::Ended | Self::Load(_) => Exit::Unavailable,
            Self::Interrupted => Exit::Stopped,
        }
    }
}
