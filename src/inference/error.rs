//! Why a network cannot be compiled or run.

use std::io;

use crate::engine::cost::MAX_ACTIVATION_BYTES;
use crate::engine::{graph, onnx, plan};
use crate::exit::Exit;
use crate::kernels::runtime::Broken;

/// Why a network cannot be compiled or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network cannot have an input of that size.
    #[error("the model cannot have this input size")]
    Size(#[from] graph::Error),
    /// The maps of the network would take too much memory.
    #[error(
        "`{name}` needs {} MB for its maps at this input size, and {} are allowed: choose a smaller input size",
        needed / 1_000_000, MAX_ACTIVATION_BYTES / 1_000_000
    )]
    Memory {
        /// Name of the model.
        name: String,
        /// Bytes that the maps need at one time.
        needed: u64,
    },
    /// The network has too many nodes for tract.
    #[error("the network counts {nodes} nodes and maps that they join, and tract prepares at most {limit}")]
    Nodes {
        /// How many it has, convolutions twice.
        nodes: usize,
        /// How many tract prepares in a sensible time.
        limit: usize,
    },
    /// The network cannot be handed to tract.
    #[error("cannot write the model as ONNX")]
    Onnx(#[source] onnx::Error),
    /// The native engine cannot run the network.
    #[error("the native engine cannot run the model")]
    Native(#[source] plan::Error),
    /// tract fails.
    #[error("tract cannot {action} the model")]
    Tract {
        /// What it was to do.
        action: &'static str,
        /// What it says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The program was built without the feature `tract`.
    #[error("this program was built without tract; `make build` builds it with tract")]
    WithoutTract,
    /// The threads of an inference cannot be started.
    #[error("cannot start {threads} threads for an inference")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system says.
        source: io::Error,
    },
    /// A thread has panicked.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The input has another shape than the network's.
    #[error("the model reads {expected:?} (height, width, channels) and is given {found:?}")]
    Input {
        /// Height, width and channels that the network reads.
        expected: [usize; 3],
        /// Height, width and channels of the input.
        found: [usize; 3],
    },
    /// The network has no output.
    #[error("the network has no output")]
    NoOutput,
}

impl Error {
    /// The exit code of the program when this error ends it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Size(_) => Exit::Usage,
            Self::Memory { .. } | Self::Nodes { .. } | Self::NoOutput => Exit::Data,
            Self::Onnx(error) => error.exit(),
            Self::Native(error) => error.exit(),
            Self::Threads { .. } | Self::WithoutTract => Exit::Unavailable,
            // An operator of a file met numbers that it cannot take.
            Self::Tract { action: "run", .. } => Exit::Data,
            Self::Tract { .. } | Self::Broken(_) | Self::Input { .. } => Exit::Internal,
        }
    }
}
