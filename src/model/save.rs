//! Saves a model as safetensors or ONNX, depending on the file name extension.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::metadata::{self, KEY};
use super::{Definition, Error, NetworkDefinition, taught};
use crate::exit::Exit;
use crate::replace::replace;
use crate::weights::safetensors::{self, Precision, Texts};

/// Format of a model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelFormat {
    /// Weights with metadata.
    Safetensors,
    /// The network with folded weights, for one input size.
    Onnx,
}

impl ModelFormat {
    /// The format for a file name.
    ///
    /// # Errors
    /// [`SaveError::Ending`] if the name ends in neither `.safetensors` nor `.onnx`.
    pub fn of(path: &Path) -> Result<Self, SaveError> {
        match path.extension().map(|ending| ending.to_ascii_lowercase()) {
            Some(ending) if ending == "safetensors" => Ok(Self::Safetensors),
            Some(ending) if ending == "onnx" => Ok(Self::Onnx),
            _ => Err(SaveError::Ending { path: path.to_owned() }),
        }
    }
}

/// Why a model cannot be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The file name does not determine the format.
    #[error("{}: expected a name that ends in .safetensors or .onnx", path.display())]
    Ending {
        /// The file.
        path: PathBuf,
    },
    /// The file exists.
    #[error("{} exists", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The arrays cannot be written as safetensors.
    #[error("cannot write {}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ::safetensors::SafeTensorError,
    },
    /// The metadata cannot be written.
    #[error(transparent)]
    Metadata(#[from] metadata::Error),
    /// The model cannot be built or written as ONNX.
    #[error(transparent)]
    Model(Box<Error>),
}

impl SaveError {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Ending { .. } | Self::Exists { .. } => Exit::Usage,
            Self::Write { .. } | Self::Safetensors { .. } => Exit::Io,
            Self::Metadata(error) => error.exit(),
            Self::Model(error) => error.exit(),
        }
    }
}

/// Writes `definition` to `path` in full precision: see [`save_as`].
///
/// # Errors
/// Any [`SaveError`]; the file at `path` is then unchanged.
pub fn save(definition: &Definition, path: &Path, overwrite: bool) -> Result<(), SaveError> {
    save_as(definition, path, overwrite, Precision::Full)
}

/// Writes `definition` to `path`; only safetensors files may have half precision. An existing file is replaced only if
/// `overwrite` is set, and atomically: readers see either the old file or the new one. If `path` is a link, the link itself
/// is replaced.
///
/// # Errors
/// Any [`SaveError`]; the file at `path` is then unchanged.
pub fn save_as(definition: &Definition, path: &Path, overwrite: bool, precision: Precision) -> Result<(), SaveError> {
    let form = ModelFormat::of(path)?;
    if !overwrite && path.exists() {
        return Err(SaveError::Exists { path: path.to_owned() });
    }
    match form {
        ModelFormat::Safetensors => {
            let (NetworkDefinition::Family { architecture, state }, Some(metadata)) =
                (&definition.network, definition.metadata())
            else {
                let name = definition.name().to_owned();
                return Err(SaveError::Model(Error::NotFamily { name }.into()));
            };
            let mut texts = Texts::from([("format".to_owned(), "pt".to_owned()), (KEY.to_owned(), metadata.text()?)]);
            let mut states = vec![state];
            let arrays;
            if let Some(taught) = &definition.taught {
                let text = taught.text().map_err(|source| Error::Own(Box::new(source.into())));
                texts.insert(taught::KEY.to_owned(), text.map_err(|error| SaveError::Model(error.into()))?);
                // The family's own layer is in the network's weights.
                arrays = taught.arrays(architecture).map_err(|source| SaveError::Model(Error::State(source).into()))?;
                states.push(&arrays);
            }
            safetensors::write_as(&states, &texts, precision, path)
                .map_err(|source| SaveError::Safetensors { path: path.to_owned(), source })
        }
        ModelFormat::Onnx => {
            let bytes = definition.onnx().map_err(|error| SaveError::Model(error.into()))?;
            replace(path, |file| file.write_all(&bytes))
                .map_err(|source| SaveError::Write { path: path.to_owned(), source })
        }
    }
}
