//! The state of a training in a file, from which it continues as if it had not been interrupted.
//!
//! The file is safetensors: `parameters`, `mean`, `variance`, and `optimizer.*`, with the progress as JSON under the
//! metadata key `hardnetd.training`. It is replaced atomically.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::weights::safetensors::{self, Texts};
use crate::weights::{self, Array, StateDict};

use super::optimizer::OptimizerMemory;
use super::options::TrainOptions;
use super::parameters::Parameters;

/// Metadata key of the progress.
const KEY: &str = "hardnetd.training";

/// The schema of the progress.
const SCHEMA: &str = "hardnetd.training.v1";

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
    /// Names of the classes.
    pub labels: Vec<String>,
    /// Number of pictures for training, by which another set is noticed.
    pub pictures: usize,
    /// Steps that are done.
    pub step: u64,
    /// The sum of the losses of this epoch's steps so far, and how many of its pictures had their class first.
    pub sums: (f64, u64),
    /// Counts of the optimizer.
    pub counts: std::collections::BTreeMap<String, u64>,
    /// The best accuracy so far, 0 to 1; `None` before the first test.
    pub best: Option<f64>,
}

impl Progress {
    /// The progress of a training that has not begun.
    #[must_use]
    pub fn new(options: TrainOptions, labels: Vec<String>, pictures: usize) -> Self {
        let (schema, counts) = (SCHEMA.to_owned(), std::collections::BTreeMap::new());
        Self { schema, options, labels, pictures, step: 0, sums: (0.0, 0), counts, best: None }
    }
}

/// Why a checkpoint cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be written.
    #[error("cannot write {}; the last checkpoint there is intact", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ::safetensors::SafeTensorError,
    },
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
            Self::Write { .. } => Exit::Io,
            Self::Read(error) => error.exit(),
            Self::Content { .. } => Exit::Data,
        }
    }
}

/// Writes the state of a training into `folder`.
///
/// # Errors
/// [`CheckpointError::Write`]; an earlier checkpoint is then unchanged.
pub fn write(
    folder: &Path,
    progress: &Progress,
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
    let failed = |source| CheckpointError::Write { path: path.clone(), source };
    let text = serde_json::to_string(&progress)
        .map_err(|error| failed(::safetensors::SafeTensorError::IoError(error.into())))?;
    safetensors::write(&state, &Texts::from([(KEY.to_owned(), text)]), &path).map_err(failed)
}

/// Reads the state of a training in `folder` into `parameters`, which has the network's sizes.
///
/// # Errors
/// If there is no such file, or it is for another network.
pub fn read(folder: &Path, parameters: &mut Parameters) -> Result<(Progress, OptimizerMemory), CheckpointError> {
    let path = folder.join(FILE);
    let loaded = weights::read(&path).map_err(|error| CheckpointError::Read(Box::new(error)))?;
    let wrong = |what: String| CheckpointError::Content { path: path.clone(), what };
    let text = loaded.texts.get(KEY).ok_or_else(|| wrong(format!("the metadata `{KEY}` are missing")))?;
    let progress: Progress = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    if progress.schema != SCHEMA {
        return Err(wrong(format!("its schema is {:?}, expected {SCHEMA:?}", progress.schema)));
    }
    let mut state = loaded.state;
    for (key, to) in [
        ("parameters", &mut parameters.values),
        ("mean", &mut parameters.statistics.mean),
        ("variance", &mut parameters.statistics.variance),
    ] {
        let array = state.take(key).ok_or_else(|| wrong(format!("`{key}` is missing")))?;
        if array.data().len() != to.len() {
            return Err(wrong(format!("`{key}` has {} values, expected {}", array.data().len(), to.len())));
        }
        *to = array.into_data();
    }
    let mut memory = OptimizerMemory { counts: progress.counts.clone(), ..OptimizerMemory::default() };
    let keys: Vec<String> = state.iter().map(|(key, _)| key.to_owned()).collect();
    for key in keys {
        let Some(name) = key.strip_prefix(OPTIMIZER) else { continue };
        let values = state.take(&key).map(Array::into_data).unwrap_or_default();
        if values.len() != parameters.values.len() {
            return Err(wrong(format!("`{key}` has {} values, expected {}", values.len(), parameters.values.len())));
        }
        memory.arrays.insert(name.to_owned(), values);
    }
    Ok((progress, memory))
}
