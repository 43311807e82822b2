//! The state of a training in a file, from which it continues as if it had not been interrupted.
//!
//! The file is safetensors: `parameters`, `mean`, `variance`, and `optimizer.*`, with the progress as JSON under the
//! metadata key `hardnetd.training`, and the network and its input under `hardnetd.training.model`, as a model file has
//! them. It is replaced atomically.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::exit::{Exit, chain};
use crate::hardnet::Architecture;
use crate::model::metadata::{self, TRAINING};
use crate::model::{Metadata, Training};
use crate::preprocess::Transform;
use crate::weights::safetensors::{self, Texts};
use crate::weights::{self, Array, StateDict};

use super::lock::Lock;
use super::optimizer::OptimizerMemory;
use super::options::TrainOptions;
use super::parameters::Parameters;

/// Metadata key of the network and its input.
const MODEL: &str = "hardnetd.training.model";

/// The schema of the progress.
const SCHEMA: &str = "hardnetd.training.v2";

/// Name of the file in the folder of a training.
pub const FILE: &str = "state.safetensors";

/// Prefix of the optimizer's arrays.
const OPTIMIZER: &str = "optimizer.";

/// How far a training is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    schema: String,
    /// How it is trained.
    pub options: TrainOptions,
    /// What it learns from.
    pub pictures: Pictures,
    /// Steps that are done.
    pub step: u64,
    /// Sums over this epoch so far.
    pub sums: Sums,
    /// Counts of the optimizer.
    pub counts: std::collections::BTreeMap<String, u64>,
    /// The best accuracy so far, 0 to 1; `None` before the first test.
    pub best: Option<f64>,
    /// The loss of that test. `None` in states of earlier versions.
    #[serde(default)]
    pub best_loss: Option<f64>,
}

/// The pictures of a training, by which others are noticed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pictures {
    /// Names of the classes of each task.
    pub labels: Vec<Vec<String>>,
    /// Number of pictures for training.
    pub count: usize,
    /// Share of each class that is kept for testing if there is no test set, 0 to 1.
    pub hold_out: f64,
    /// Digest of the set for training: see [`Set::digest`](super::data::Set::digest).
    pub train: String,
    /// Digest of the set for testing.
    pub test: String,
}

/// Sums over the steps of an epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    /// Steps that have learned something; the others had no picture that could be read.
    #[serde(default)]
    pub steps: u64,
    /// The losses.
    pub loss: f64,
    /// For each task, how many pictures had their class first, and how many had a class.
    pub right: Vec<(u64, u64)>,
}

impl Sums {
    /// Share of the pictures whose class came first, 0 to 1, in each task.
    pub fn shares(&self) -> impl Iterator<Item = f64> {
        self.right.iter().map(|(right, all)| *right as f64 / (*all).max(1) as f64)
    }
}

impl Progress {
    /// Name of the first value that is out of range, if any.
    fn out_of_range(&self) -> Option<&'static str> {
        let Self { options, pictures, sums, best, .. } = self;
        let (share, most) = (0.0..=1.0, u64::from(u32::MAX));
        let checks = [
            ("hold_out", share.contains(&pictures.hold_out)),
            ("right", sums.right.iter().all(|(right, all)| right <= all && *all <= most)),
            ("best", best.is_none_or(|best| share.contains(&best))),
        ];
        let mine = checks.into_iter().find(|(_, is_right)| !is_right).map(|(name, _)| name);
        options.out_of_range().or(mine)
    }

    /// The progress of a training that has not begun.
    #[must_use]
    pub fn new(options: TrainOptions, pictures: Pictures) -> Self {
        let (schema, counts) = (SCHEMA.to_owned(), std::collections::BTreeMap::new());
        Self { schema, options, pictures, step: 0, sums: Sums::default(), counts, best: None, best_loss: None }
    }
}

/// Why a checkpoint cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Another process trains in the folder.
    #[error("another process trains in {}: wait until it has finished, or name another folder", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be used.
    #[error("cannot use the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no training.
    #[error("there is no training in {}: leave --resume out to begin one", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("cannot write {}{}", path.display(), if *is_earlier_intact { "; the last checkpoint there is intact" } else { "" })]
    Write {
        /// The file.
        path: PathBuf,
        /// Whether there is an earlier checkpoint, which is unchanged.
        is_earlier_intact: bool,
        /// Why.
        source: ::safetensors::SafeTensorError,
    },
    /// The network cannot be described.
    #[error(transparent)]
    Model(#[from] metadata::Error),
    /// It cannot be read.
    #[error(transparent)]
    Read(Box<weights::file::Error>),
    /// It is no checkpoint of a training.
    #[error("{} is not the state of a training that this version of hardnetd can continue: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl CheckpointError {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Busy { .. } => Exit::Usage,
            Self::Missing { .. } => Exit::NoInput,
            Self::Write { .. } | Self::Folder { .. } => Exit::Io,
            Self::Model(error) => error.exit(),
            Self::Read(error) => error.exit(),
            Self::Content { .. } => Exit::Data,
        }
    }
}

/// Writes the state of a training into `folder`. `network` is the network and how pictures become its inputs.
///
/// # Errors
/// [`CheckpointError::Write`] or [`CheckpointError::Model`]; an earlier checkpoint is then unchanged.
pub fn write(
    folder: &Path,
    progress: &Progress,
    network: (&Architecture, &Transform),
    parameters: &Parameters,
    memory: OptimizerMemory,
) -> Result<(), CheckpointError> {
    let path = folder.join(FILE);
    let mut state = StateDict::new();
    let mut put = |key: &str, values: Vec<f32>| {
        if let Ok(array) = Array::new(vec![values.len()], values) {
            state.replace(key, array);
        }
    };
    put("parameters", parameters.values.clone());
    put("mean", parameters.statistics.mean.clone());
    put("variance", parameters.statistics.variance.clone());
    for (name, values) in memory.arrays {
        put(&format!("{OPTIMIZER}{name}"), values);
    }
    let progress = Progress { counts: memory.counts, ..progress.clone() };
    let failed = |source| CheckpointError::Write { path: path.clone(), is_earlier_intact: path.exists(), source };
    let text = serde_json::to_string(&progress)
        .map_err(|error| failed(::safetensors::SafeTensorError::IoError(error.into())))?;
    let model = Metadata {
        architecture: network.0.clone(),
        classes: parameters.heads[0].classes,
        labels: None,
        transform: *network.1,
        training: Training::Trained,
        source: None,
    };
    let texts = Texts::from([(TRAINING.to_owned(), text), (MODEL.to_owned(), model.text()?)]);
    safetensors::write(&state, &texts, &path).map_err(failed)
}

/// A training that was interrupted, as its file has it.
#[derive(Debug)]
pub struct Saved {
    /// How far it is.
    pub progress: Progress,
    /// The network.
    pub architecture: Architecture,
    /// How pictures become its inputs.
    pub transform: Transform,
    path: PathBuf,
    state: StateDict,
    lock: Lock,
}

impl Saved {
    /// Locks `folder` and reads the state of the training there.
    ///
    /// # Errors
    /// If another process trains there, there is no such file, or it is not one that this version has written.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        #[derive(Deserialize)]
        struct Version {
            schema: String,
        }

        let lock = Lock::take(folder)?;
        let path = folder.join(FILE);
        if !path.exists() {
            return Err(CheckpointError::Missing { path: folder.to_owned() });
        }
        let loaded = weights::read(&path).map_err(|error| CheckpointError::Read(Box::new(error)))?;
        let wrong = |what: String| CheckpointError::Content { path: path.clone(), what };
        let text = |key: &str| loaded.texts.get(key).ok_or_else(|| wrong(format!("the metadata `{key}` are missing")));
        let progress = text(TRAINING)?;
        // The schema first: another version has other fields.
        let Version { schema } = serde_json::from_str(progress).map_err(|error| wrong(error.to_string()))?;
        if schema != SCHEMA {
            return Err(wrong(format!("its schema is {schema:?}, expected {SCHEMA:?}")));
        }
        let progress: Progress = serde_json::from_str(progress).map_err(|error| wrong(error.to_string()))?;
        if let Some(name) = progress.out_of_range() {
            return Err(wrong(format!("`{name}` is out of its range")));
        }
        let model = Metadata::parse(text(MODEL)?).map_err(|error| wrong(chain(&error)))?;
        let Metadata { architecture, transform, .. } = model;
        Ok(Self { progress, architecture, transform, path, state: loaded.state, lock })
    }

    /// The lock, the progress, the values of the network, and what the optimizer remembers.
    ///
    /// # Errors
    /// [`CheckpointError::Content`] if they are not those of the network.
    pub(super) fn restore(self) -> Result<(Lock, Progress, Parameters, OptimizerMemory), CheckpointError> {
        let Self { progress, architecture, path, mut state, lock, .. } = self;
        let wrong = |what: String| CheckpointError::Content { path: path.clone(), what };
        let classes: Vec<usize> = progress.pictures.labels.iter().map(Vec::len).collect();
        let mut parameters = Parameters::zeros(&architecture, &classes);
        let take = |state: &mut StateDict, key: &str, expected: usize| {
            let values = state.take(key).ok_or_else(|| wrong(format!("`{key}` is missing")))?.into_data();
            if values.len() != expected {
                return Err(wrong(format!("`{key}` has {} values, expected {expected}", values.len())));
            }
            Ok(values)
        };
        parameters.values = take(&mut state, "parameters", parameters.values.len())?;
        parameters.statistics.mean = take(&mut state, "mean", parameters.statistics.mean.len())?;
        parameters.statistics.variance = take(&mut state, "variance", parameters.statistics.variance.len())?;
        let learned = parameters.learned(progress.options.freeze).len();
        let mut memory = OptimizerMemory { counts: progress.counts.clone(), ..OptimizerMemory::default() };
        let keys: Vec<String> = state.iter().map(|(key, _)| key.to_owned()).collect();
        for key in keys {
            if let Some(name) = key.strip_prefix(OPTIMIZER) {
                memory.arrays.insert(name.to_owned(), take(&mut state, &key, learned)?);
            }
        }
        let has_learned = !progress.sums.right.is_empty() || progress.best.is_some();
        if has_learned && memory.arrays.is_empty() {
            return Err(wrong(format!("the arrays `{OPTIMIZER}…` are missing")));
        }
        Ok((lock, progress, parameters, memory))
    }
}
