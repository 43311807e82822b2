//! ONNX files as graphs: plain convolutional classifiers, after the ONNX operator specification
//! (<https://onnx.ai/onnx/operators>).
//!
//! [`File`] is a file that is sound: it decodes, all sizes fit, every value is made before it is read.
//! [`File::network`] makes a [`Graph`] of it. Batch norms, scales, shifts and activations go into the
//! convolution before them where nothing else reads it; paddings go into the window behind them; constants
//! and shapes are computed; what does nothing to a network that only infers disappears. Weights are
//! float, and half, bfloat16 and double become float.

mod bounds;
mod computed;
mod constant;
mod emit;
mod file;
mod integers;
mod linear;
mod merge;
mod network;
mod operator;
mod operators;
mod reshape;
mod window;

use std::collections::BTreeMap;

pub use file::File;

use super::graph::{self, Graph};
use crate::exit::Exit;
use crate::protobuf;

/// The largest file that is read, in bytes: no protobuf message is larger.
pub const MAX_LENGTH: u64 = 1 << 31;

/// Why a file cannot become a graph.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is larger than a protobuf message can be.
    #[error("the file has {length} bytes, and an ONNX file has at most {MAX_LENGTH}")]
    TooLarge {
        /// Its length in bytes.
        length: u64,
    },
    /// The bytes are no protobuf message.
    #[error("this is no ONNX file, or a damaged one: {problem} at byte {at}")]
    Damaged {
        /// What is wrong.
        problem: &'static str,
        /// Where.
        at: usize,
    },
    /// The message is not that of an ONNX model.
    #[error("this is no ONNX file, or a damaged one")]
    Protobuf(#[source] prost::DecodeError),
    /// The model would take more memory than the length of the file explains.
    #[error("decoded, the file takes more than {limit} bytes, which its length does not explain")]
    Decoded {
        /// How many are allowed.
        limit: u64,
    },
    /// The graph has more nodes than any network needs.
    #[error("the graph has {count} nodes, and at most {limit} are read")]
    Nodes {
        /// How many there are.
        count: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The model has no graph.
    #[error("the file holds no ONNX graph")]
    NoGraph,
    /// The network does not have exactly one input and one output.
    #[error("the network has {} {kind}s ({}), and 1 is supported", names.len(), names.join(", "))]
    Ends {
        /// `input` or `output`.
        kind: &'static str,
        /// Their names.
        names: Vec<String>,
    },
    /// No node makes the network's output.
    #[error("the output `{name}` is made by no node")]
    Output {
        /// Its name.
        name: String,
    },
    /// The input is not that of a network for images.
    #[error("the input `{name}` {problem}")]
    Input {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A tensor of the file cannot be used.
    #[error("the tensor `{name}` {problem}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A node cannot be used.
    #[error("`{node}` ({operator}): {problem}")]
    Node {
        /// Name of the node, or of its output if it has none.
        node: String,
        /// Its operator.
        operator: String,
        /// What is wrong, or not supported.
        problem: String,
    },
    /// The nodes make no network.
    #[error("the nodes make no network")]
    Graph(#[source] graph::Error),
}

impl From<protobuf::Error> for Error {
    fn from(error: protobuf::Error) -> Self {
        match error {
            protobuf::Error::Damaged { problem, at } => Self::Damaged { problem, at },
            protobuf::Error::Memory { limit } => Self::Decoded { limit },
        }
    }
}

impl Error {
    /// The exit code of the program when this error ends it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        Exit::Data
    }
}

/// A network out of an ONNX file.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The network. A linear layer that reads a map of more than one pixel is a convolution with a kernel
    /// of the size of the map.
    pub graph: Graph,
    /// Height and width of the input in pixels, if the file fixes them. Paddings and linear layers can
    /// depend on them.
    pub size: Option<[usize; 2]>,
    /// The file's metadata by key.
    pub metadata: BTreeMap<String, String>,
    /// The program that wrote the file, with its version; empty if the file does not say.
    pub producer: String,
    /// Number of values of the float tensors that the network's operators read as weights, biases,
    /// statistics, scales and shifts.
    pub parameters: u64,
}

/// The network in the ONNX file of these `bytes`.
///
/// # Errors
/// Any of [`Error`].
pub fn read(bytes: &[u8]) -> Result<Imported, Error> {
    File::parse(bytes)?.network()
}

#[cfg(test)]
mod tests;
