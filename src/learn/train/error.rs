//! Why a training fails.

use std::io;
use std::path::PathBuf;

use crate::exit::Exit;
use crate::inference;
use crate::model;
use crate::plural::counted;
use crate::preprocess;
use crate::weights;

use super::checkpoint::CheckpointError;
use super::compute::DeviceError;
use super::data::DataError;

/// Why a training fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A set for training or testing cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The state cannot be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The folder of the training already holds one.
    #[error("{} already holds a training: --resume continues it; or name another folder", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The pictures are not those with which the training began.
    #[error("the training began with {began}, but now there are {now}: continue with the same pictures")]
    OtherData {
        /// Classes and pictures at the start.
        began: String,
        /// Classes and pictures now.
        now: String,
    },
    /// As many pictures of the same classes, but others.
    #[error(
        "the pictures for {set} are not those with which the training began: continue with the same pictures, and name them \
         (and --test) as then"
    )]
    OtherSet {
        /// `training` or `testing`.
        set: &'static str,
    },
    /// The network cannot be trained.
    #[error("{name} cannot be trained: it is no network of the family, and none with its structure")]
    Network {
        /// Name of the model.
        name: String,
    },
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The weights do not fit.
    #[error(transparent)]
    Weights(#[from] weights::Error),
    /// The loss or a weight is no number any more.
    #[error("the loss or a weight is no longer a number after step {step}: choose a smaller learning rate (--rate)")]
    Diverged {
        /// The step.
        step: u64,
    },
    /// The framework gives something else than 32-bit floats.
    #[error(
        "the training framework gave parameters that are not {expected} 32-bit floats; the state on disk is intact"
    )]
    Framework {
        /// Number of parameters.
        expected: usize,
    },
    /// All pictures of a class are broken.
    #[error("none of the pictures of {label:?} can be used, so that it cannot be learned; each has been named")]
    BrokenClass {
        /// The class.
        label: String,
    },
    /// All pictures for testing are broken.
    #[error("none of {} for testing can be used; each has been named", counted(*pictures, "picture", "pictures"))]
    NoTest {
        /// Number of pictures.
        pictures: usize,
    },
    /// A file of an earlier training is in the way.
    #[error(
        "{} is the result of an earlier training, whose state is gone: name another folder, or move it away",
        path.display()
    )]
    Result {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A model cannot be written.
    #[error(transparent)]
    Save(#[from] model::SaveError),
    /// A model cannot be tested.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// A model cannot be run.
    #[error(transparent)]
    Inference(#[from] inference::Error),
    /// Pictures cannot be prepared for the network.
    #[error(transparent)]
    Preprocess(#[from] preprocess::Error),
    /// Threads cannot be started.
    #[error("cannot start threads")]
    Threads(#[from] io::Error),
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Data(error) => error.exit(),
            Self::Checkpoint(error) => error.exit(),
            Self::Exists { .. } | Self::Result { .. } => Exit::Usage,
            Self::OtherData { .. }
            | Self::OtherSet { .. }
            | Self::Network { .. }
            | Self::BrokenClass { .. }
            | Self::NoTest { .. }
            | Self::Diverged { .. } => Exit::Data,
            Self::Weights(error) => error.exit(),
            Self::Write { .. } => Exit::Io,
            Self::Save(error) => error.exit(),
            Self::Model(error) => error.exit(),
            Self::Inference(error) => error.exit(),
            Self::Preprocess(_) => Exit::Data,
            Self::Framework { .. } => Exit::Internal,
            Self::Threads(_) | Self::Device(_) => Exit::Unavailable,
        }
    }
}
