//! Features of pictures: what a network computes before its last linear layer.

use std::path::Path;

use crate::capture::{Still, StillError};
use crate::exit::Exit;
use crate::frame::{self, Picture, Region};
use crate::inference::{self, Network};
use crate::kernels::runtime::Threads;
use crate::model::Extractor;
use crate::preprocess::{self, Preprocessor, Transform};
use crate::tensor::TensorMut;

/// Why a picture has no features, or no classes.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// It cannot be read.
    #[error(transparent)]
    Still(#[from] StillError),
    /// Its data do not fit its size.
    #[error(transparent)]
    Frame(#[from] frame::Error),
    /// It does not suit the network.
    #[error("{name}")]
    Preprocess {
        /// The file or frame.
        name: String,
        /// Why.
        source: preprocess::Error,
    },
    /// The network fails.
    #[error(transparent)]
    Inference(#[from] inference::Error),
}

impl PictureError {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Still(error) => error.exit(),
            Self::Frame(_) | Self::Preprocess { .. } => Exit::Data,
            Self::Inference(error) => error.exit(),
        }
    }
}

/// Computes features, one picture at a time. From the second picture of a size on, nothing is allocated.
pub struct FeatureSession {
    preprocessor: Preprocessor,
    network: Box<dyn Network>,
}

impl FeatureSession {
    /// A session of `extractor`, whose runs use `threads`.
    ///
    /// # Errors
    /// If the network cannot be made ready.
    pub fn new(extractor: &Extractor, threads: &Threads) -> Result<Self, Error> {
        let preprocessor = Preprocessor::new(*extractor.transform())?;
        let mut network = extractor.network(threads)?;
        network.input().data_mut().fill(0.0);
        network.run()?;
        Ok(Self { preprocessor, network })
    }

    /// Number of features.
    #[must_use]
    pub fn length(&self) -> usize {
        self.network.outputs().first().map_or(0, |output| output.values.len())
    }

    /// The features of a picture, which messages call `name`.
    ///
    /// # Errors
    /// If the picture is too small, or the network fails.
    pub fn features(&mut self, picture: &Picture<'_>, name: impl FnOnce() -> String) -> Result<&[f32], PictureError> {
        self.changed(picture, name, |_, _| ())
    }

    /// The part of the pictures to look at from now on.
    pub fn look_at(&mut self, region: Region) {
        self.preprocessor.look_at(region);
    }

    /// The features of a picture after a `change` of the input that is made of it, which messages call `name`.
    ///
    /// # Errors
    /// As for [`features`](Self::features).
    pub fn changed(
        &mut self,
        picture: &Picture<'_>,
        name: impl FnOnce() -> String,
        change: impl FnOnce(&Transform, TensorMut<'_>),
    ) -> Result<&[f32], PictureError> {
        let prepared = self.preprocessor.run(picture, self.network.input());
        prepared.map_err(|source| PictureError::Preprocess { name: name(), source })?;
        change(self.preprocessor.transform(), self.network.input());
        self.network.run()?;
        Ok(&self.network.outputs().first().ok_or(inference::Error::NoOutput)?.values)
    }

    /// The features of the picture in the file at `path`, turned upright.
    ///
    /// # Errors
    /// If the file is no picture, or has no features.
    pub fn features_of_file(&mut self, path: &Path) -> Result<&[f32], PictureError> {
        let still = Still::open(path)?;
        self.features(&still.picture()?, || path.display().to_string())
    }
}

/// Why features cannot be computed at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network cannot be run.
    #[error(transparent)]
    Inference(#[from] inference::Error),
    /// Pictures cannot be prepared for it.
    #[error(transparent)]
    Preprocess(#[from] preprocess::Error),
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Inference(error) => error.exit(),
            Self::Preprocess(_) => Exit::Data,
        }
    }
}
