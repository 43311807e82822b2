//! Why a model cannot be loaded or run.

use std::path::PathBuf;

use tract_onnx::prelude::TractError;

use crate::engine::{graph, onnx};
use crate::exit::Exit;
use crate::hardnet;
use crate::weights;

/// Why a model cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is neither a model nor a file of that name.
    #[error("`{name}` is no model and no such file exists; the models are {}", names())]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The file has no weights that can be read.
    #[error(transparent)]
    Weights(Box<weights::file::Error>),
    /// The file has weights, and not those of a network of the family.
    #[error("{} holds the weights of another network; the models are {}", path.display(), names())]
    OtherNetwork {
        /// The file.
        path: PathBuf,
    },
    /// The network cannot be built.
    #[error("cannot build the model")]
    Network(#[source] hardnet::Error),
    /// The network cannot have an input of that size.
    #[error("the model cannot have this input size")]
    Size(#[source] graph::Error),
    /// The network cannot be handed to the back end.
    #[error("cannot write the model as ONNX")]
    Onnx(#[source] onnx::Error),
    /// The back end fails.
    #[error("tract cannot {action} the model")]
    Tract {
        /// What it was to do.
        action: &'static str,
        /// What it says.
        #[source]
        source: TractError,
    },
    /// The input has another shape than the model's.
    #[error("the model reads {expected:?} (height, width, channels) and is given {found:?}")]
    Input {
        /// Height, width and channels that the model reads.
        expected: [usize; 3],
        /// Height, width and channels of the input.
        found: [usize; 3],
    },
    /// The buffer for the logits has another length than there are logits.
    #[error("the model writes {expected} logits and is given room for {found}")]
    Logits {
        /// Number of logits of the model.
        expected: usize,
        /// Length of the buffer.
        found: usize,
    },
}

impl Error {
    /// The exit code of the program when this error ends it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unknown { .. } => Exit::NoInput,
            Self::Weights(error) => error.exit(),
            Self::OtherNetwork { .. } => Exit::Data,
            Self::Network(error) => error.exit(),
            Self::Size(_) => Exit::Usage,
            Self::Onnx(error) => error.exit(),
            Self::Tract { .. } | Self::Input { .. } | Self::Logits { .. } => Exit::Internal,
        }
    }
}

fn names() -> String {
    hardnet::ARCHITECTURES.map(|architecture| architecture.name).join(", ")
}
