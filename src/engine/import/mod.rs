//! Converts ONNX files into graphs: plain convolutional classifiers, after the ONNX operator specification
//! (<https://onnx.ai/onnx/operators>).
//!
//! [`File`] is a valid file: it decodes, all sizes fit, every value is made before it is read. [`File::network`] turns
//! it into a [`Graph`]. Batch norms, scales, shifts and activations are merged into the convolution before them if
//! nothing else reads it; paddings are merged into the window after them; constants and shapes are computed; operators
//! without effect in inference disappear. Weights are float; half, bfloat16 and double are converted to float.

mod bounds;
mod computed;
mod constant;
mod emit;
mod external;
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

pub use constant::halves;
pub use external::{NoParts, PartError, Parts};
pub use file::{File, Scores};

use super::graph::{self, Graph, NodeId, Shape};
use crate::exit::Exit;
use crate::protobuf;

/// Maximum size of a file in bytes: protobuf messages are not larger.
pub const MAX_LENGTH: u64 = 1 << 31;

/// Why a file cannot become a graph.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is larger than a protobuf message can be.
    #[error("the file has {length} bytes, but an ONNX file has at most {MAX_LENGTH}")]
    TooLarge {
        /// Its length in bytes.
        length: u64,
    },
    /// The bytes are not a protobuf message.
    #[error("this is not an ONNX file, or it is damaged: {problem} at byte {at}")]
    Damaged {
        /// What is wrong.
        problem: &'static str,
        /// Byte offset.
        at: usize,
    },
    /// The message is not an ONNX model.
    #[error("this is not an ONNX file, or it is damaged")]
    Protobuf(#[source] prost::DecodeError),
    /// The model would take more memory than the length of the file justifies.
    #[error("decoded, the file takes more than {limit} bytes, out of proportion to its length")]
    Decoded {
        /// The limit.
        limit: u64,
    },
    /// The graph has too many nodes.
    #[error("the graph has {count} nodes, but at most {limit} are read")]
    Nodes {
        /// Number of nodes.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The model names different versions of the standard operators.
    #[error("the file names two versions of the standard operators, {first} and {second}")]
    OperatorSets {
        /// The first version.
        first: i64,
        /// Another one.
        second: i64,
    },
    /// The model has no graph.
    #[error("the file holds no ONNX graph")]
    NoGraph,
    /// The network does not have exactly one input.
    #[error("the network has {} inputs ({}), but 1 is supported", names.len(), names.join(", "))]
    Inputs {
        /// Their names.
        names: Vec<String>,
    },
    /// No node computes the network's output.
    #[error("no node makes the output `{name}`")]
    Output {
        /// Its name.
        name: String,
    },
    /// There is no output of the name that was asked for.
    #[error("the network has no output `{name}`; its outputs are {}", names.join(", "))]
    NoOutput {
        /// The name.
        name: String,
        /// The names that there are.
        names: Vec<String>,
    },
    /// The input is not an image.
    #[error("the input `{name}` {problem}")]
    Input {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A tensor of the file is unusable.
    #[error("the tensor `{name}` {problem}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The values of a tensor are in another file that is unusable.
    #[error("the tensor `{name}` has its data in `{}`", crate::printable::escaped(location))]
    External {
        /// Its name.
        name: String,
        /// The file.
        location: String,
        /// Why it is unusable.
        source: PartError,
    },
    /// The network has no scores.
    #[error("the network ends in {operator} (`{node}`), which leaves no score for each class: export it without")]
    NoScores {
        /// Name of the last node.
        node: String,
        /// Its operator.
        operator: String,
    },
    /// A node is unusable.
    #[error("`{node}` ({operator}): {problem}")]
    Node {
        /// Name of the node, or of its output if it has none.
        node: String,
        /// Its operator.
        operator: String,
        /// What is wrong or unsupported.
        problem: String,
    },
    /// The nodes do not form a network.
    #[error("the nodes do not form a network")]
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
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::External { source: PartError::Unreadable { .. }, .. } => Exit::NoInput,
            Self::NoOutput { .. } => Exit::Usage,
            _ => Exit::Data,
        }
    }
}

/// A network from an ONNX file.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The network. A linear layer that reads a map of more than one pixel becomes a convolution with a kernel as large
    /// as the map.
    pub graph: Graph,
    /// The convolutions that stand for linear layers: their value is one pixel at every valid input size.
    pub rows: Vec<NodeId>,
    /// Height and width of the input in pixels, if the file fixes them. Paddings and linear layers may depend on them.
    pub size: Option<[usize; 2]>,
    /// The file's metadata by key.
    pub metadata: BTreeMap<String, String>,
    /// The program that wrote the file, with its version; empty if unknown.
    pub producer: String,
    /// Number of values in the float tensors that the network's operators read as weights, biases, statistics, scales
    /// and shifts.
    pub parameters: u64,
}

impl Imported {
    /// The shape of every node's output for an input of `height × width` pixels.
    ///
    /// # Errors
    /// The errors of [`Graph::shapes`], also if a linear layer would read more values than it has weights for.
    pub fn shapes(&self, height: usize, width: usize) -> Result<Vec<Shape>, graph::Error> {
        let shapes = self.graph.shapes(height, width)?;
        let is_larger = |row: &&NodeId| shapes.get(row.index()).is_some_and(|shape| shape.height * shape.width != 1);
        match self.rows.iter().find(is_larger).and_then(|row| self.graph.node(*row)) {
            Some(node) => Err(graph::Error::Size { name: node.name.clone(), height, width }),
            None => Ok(shapes),
        }
    }
}

/// Reads the network from the ONNX file in `bytes`.
///
/// # Errors
/// Any [`Error`].
pub fn read(bytes: &[u8]) -> Result<Imported, Error> {
    File::parse(bytes)?.network()
}

#[cfg(test)]
mod tests;
