//! Why a training fails.

use std::io;
use std::path::PathBuf;

use crate::exit::Exit;
use crate::inference;
use crate::model;
use crate::plural::{counted, first_of};
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
    /// The classes are not those with which the training began.
    #[error(
        "the training began with other classes (gone: {}; new: {}): continue with the same folders",
        some(gone),
        some(new)
    )]
    OtherClasses {
        /// Those that are no longer there.
        gone: Vec<String>,
        /// Those that were not there.
        new: Vec<String>,
    },
    /// There are more or fewer pictures than at the beginning.
    #[error(
        "the training began with {} to learn from, but now there are {now}: continue with the same pictures",
        counted(*began, "picture", "pictures")
    )]
    OtherData {
        /// Pictures at the start.
        began: usize,
        /// Pictures now.
        now: usize,
    },
    /// A batch needs more memory than the machine has.
    #[error(
        "{} of this network and size need up to {} MB of memory, but the machine has {}: take fewer (--batch), smaller ones \
         (--size), or a smaller network",
        counted(*batch, "picture", "pictures"), needed.div_ceil(1_000_000), installed / 1_000_000
    )]
    Memory {
        /// Bytes for the maps of a batch and their gradients.
        needed: u64,
        /// Pictures of a batch.
        batch: usize,
        /// Bytes that the machine has.
        installed: u64,
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
    /// The log of the training cannot be read.
    #[error("cannot read {} (to continue without it, move it away)", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
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

/// The first names, or that there are none.
fn some(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { first_of(names) }
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Data(error) => error.exit(),
            Self::Checkpoint(error) => error.exit(),
            Self::Exists { .. } | Self::Result { .. } => Exit::Usage,
            Self::OtherClasses { .. }
            | Self::OtherData { .. }
            | Self::OtherSet { .. }
            | Self::Network { .. }
            | Self::BrokenClass { .. }
            | Self::NoTest { .. }
            | Self::Diverged { .. } => Exit::Data,
            Self::Weights(error) => error.exit(),
            Self::Write { .. } | Self::Log { .. } => Exit::Io,
            Self::Save(error) => error.exit(),
            Self::Model(error) => error.exit(),
            Self::Inference(error) => error.exit(),
            Self::Preprocess(_) => Exit::Data,
            Self::Framework { .. } => Exit::Internal,
            Self::Memory { .. } | Self::Threads(_) | Self::Device(_) => Exit::Unavailable,
        }
    }
}
