//! Why a network cannot be compiled or run.

use std::io;

use crate::engine::{graph, onnx, plan};
use crate::exit::Exit;
use crate::kernels::runtime::Broken;

/// Why a network cannot be compiled or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network does not support that input size.
    #[error("the model does not support this input size")]
    Size(#[from] graph::Error),
    /// The maps of the network would need too much memory.
    #[error(
        "`{name}` needs {} MB for its maps at this input size, but only {} are allowed: choose a smaller input size",
        needed.div_ceil(1_000_000), limit / 1_000_000
    )]
    Memory {
        /// Name of the model.
        name: String,
        /// Bytes that the maps need at the same time.
        needed: u64,
        /// Bytes that are allowed.
        limit: u64,
    },
    /// The network has too many nodes for tract.
    #[error("the network has {nodes} nodes, counting joined maps, but tract prepares at most {limit}")]
    Nodes {
        /// Number of nodes, with convolutions counted twice.
        nodes: usize,
        /// Number that tract prepares in reasonable time.
        limit: usize,
    },
    /// tract is not given the operator of a node.
    #[error("`{node}`: {operator} {problem}")]
    Operator {
        /// Name of the node.
        node: String,
        /// Its operator.
        operator: String,
        /// What is not supported, as the rest of a sentence.
        problem: &'static str,
    },
    /// The network cannot be exported for tract.
    #[error("cannot write the model as ONNX")]
    Onnx(#[source] onnx::Error),
    /// The native engine cannot run the network.
    #[error("the native engine cannot run the model")]
    Native(#[source] plan::Error),
    /// tract fails.
    #[error("tract cannot {action} the model")]
    Tract {
        /// What it was asked to do.
        action: &'static str,
        /// tract's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Neither engine can run the network.
    #[error("neither engine can run it (native: {native})")]
    Neither {
        /// Why the native engine cannot.
        native: String,
        /// Why tract cannot.
        source: Box<Error>,
    },
    /// The program was built without the feature `tract`.
    #[error("this program was built without tract; `make build` builds it with tract")]
    WithoutTract,
    /// The threads of an inference cannot be started.
    #[error("cannot start {threads} threads for an inference")]
    Threads {
        /// Number of threads requested.
        threads: usize,
        /// What the system says.
        source: io::Error,
    },
    /// A thread has panicked.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The input has the wrong shape.
    #[error("the model expects {expected:?} (height, width, channels), got {found:?}")]
    Input {
        /// Height, width and channels that the network expects.
        expected: [usize; 3],
        /// Height, width and channels of the input.
        found: [usize; 3],
    },
    /// The network has no output.
    #[error("the network has no output")]
    NoOutput,
}

impl Error {
    /// [`Error::Neither`], from the reasons of both engines.
    #[must_use]
    pub fn neither(native: String, tract: Self) -> Self {
        Self::Neither { native, source: Box::new(tract) }
    }

    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Size(_) => Exit::Usage,
            Self::Memory { .. }
            | Self::Neither { .. }
            | Self::Nodes { .. }
            | Self::Operator { .. }
            | Self::NoOutput => Exit::Data,
            Self::Onnx(error) => error.exit(),
            Self::Native(error) => error.exit(),
            Self::Threads { .. } | Self::WithoutTract => Exit::Unavailable,
            // An operator from a file got numbers that it does not support.
            Self::Tract { action: "run", .. } => Exit::Data,
            Self::Tract { .. } | Self::Broken(_) | Self::Input { .. } => Exit::Internal,
        }
    }
}
