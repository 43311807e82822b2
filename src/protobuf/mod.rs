//! The protobuf encoding of ONNX files: its messages, and a check before they are decoded, so that a small file cannot
//! fill the memory: a field of two bytes can take hundreds when it is decoded.
//!
//! The field numbers are those of `onnx.proto` (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>).

mod messages;

pub use messages::{
    AttributeProto, AttributeType, DataLocation, DataType, Dimension, Extent, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, Segment, SparseTensorProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorType,
    TypeProto, ValueInfoProto, ValueType,
};

/// Maximum nesting depth of messages. A network without branches and loops reaches 7.
const MAX_DEPTH: usize = 64;

/// Bytes that any message may take when decoded, whatever its length.
const FLOOR: u64 = 64 << 20;

/// Decoded bytes that a message may take per encoded byte.
const FACTOR: u64 = 4;

/// A list grows by doubling: it occupies at most twice its content.
const GROWTH: u64 = 2;

/// Decoded size of a small message or a text without its characters: an upper bound for all of them.
const SMALL: u64 = 64;

/// Decoded size of a number in a field of its own.
const NUMBER: u64 = size_of::<u64>() as u64;

/// Why a message is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not a protobuf message.
    #[error("{problem} at byte {at}")]
    Damaged {
        /// What is wrong.
        problem: &'static str,
        /// Byte offset.
        at: usize,
    },
    /// Decoded, it would take more memory than its length justifies.
    #[error("it takes more than {limit} bytes when it is decoded, out of proportion to its length")]
    Memory {
        /// The limit in bytes.
        limit: u64,
    },
}

/// A message that may have many fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// `ModelProto`.
    Model,
    /// `GraphProto`.
    Graph,
    /// `NodeProto`.
    Node,
    /// `AttributeProto`.
    Attribute,
    /// `TensorProto`.
    Tensor,
    /// `SparseTensorProto`.
    Sparse,
    /// `ValueInfoProto`.
    Info,
    /// `TypeProto`.
    Type,
    /// `TypeProto.Tensor`.
    TensorType,
    /// `TensorShapeProto`.
    Shape,
}

/// Content of a length-delimited field.
enum Content {
    Message(MessageType),
    /// Packed varints, with their decoded size in bytes each.
    Varints(u64),
    /// Packed numbers, stored as they are decoded.
    Numbers,
    /// A text, bytes, a small message, or something unknown.
    Other,
}

impl MessageType {
    /// The content of field `number`.
    fn field(self, number: u64) -> Content {
        Content::Message(match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Graph, 1) => Self::Node,
            (Self::Node, 5) => Self::Attribute,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1) => Self::Tensor,
            (Self::Graph, 15) => Self::Sparse,
            (Self::Graph, 11..=13) => Self::Info,
            (Self::Info, 2) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Tensor, 5) => return Content::Varints(size_of::<i32>() as u64),
            (Self::Tensor, 1 | 7 | 11) | (Self::Attribute, 8) => return Content::Varints(NUMBER),
            (Self::Tensor, 4 | 10) | (Self::Attribute, 7) => return Content::Numbers,
            _ => return Content::Other,
        })
    }

    /// Size of the decoded message in bytes, without what it refers to: here or as a message of tract, whichever is larger.
    fn size(self) -> u64 {
        let own = match self {
            Self::Model => size_of::<ModelProto>(),
            Self::Graph => size_of::<GraphProto>(),
            Self::Node => size_of::<NodeProto>(),
            Self::Attribute => size_of::<AttributeProto>(),
            Self::Tensor => size_of::<TensorProto>(),
            Self::Sparse => size_of::<SparseTensorProto>(),
            Self::Info => size_of::<ValueInfoProto>(),
            Self::Type => size_of::<TypeProto>(),
            Self::TensorType => size_of::<TensorType>(),
            Self::Shape => size_of::<TensorShapeProto>(),
        };
        own.max(self.size_for_tract()) as u64
    }

    #[cfg(feature = "tract")]
    fn size_for_tract(self) -> usize {
        use tract_onnx::pb;
        match self {
            Self::Model => size_of::<pb::ModelProto>(),
            Self::Graph => size_of::<pb::GraphProto>(),
            Self::Node => size_of::<pb::NodeProto>(),
            Self::Attribute => size_of::<pb::AttributeProto>(),
            Self::Tensor => size_of::<pb::TensorProto>(),
            Self::Sparse => size_of::<pb::SparseTensorProto>(),
            Self::Info => size_of::<pb::ValueInfoProto>(),
            Self::Type => size_of::<pb::TypeProto>(),
            Self::TensorType => size_of::<pb::type_proto::Tensor>(),
            Self::Shape => size_of::<pb::TensorShapeProto>(),
        }
    }

    #[cfg(not(feature = "tract"))]
    fn size_for_tract(self) -> usize {
        0
    }
}

/// Checks that `bytes` are a protobuf message, and that decoding it as a `kind` takes memory in proportion to its
/// length: at most four times as much, or 64 MiB.
///
/// # Errors
/// Any [`Error`].
pub fn check(bytes: &[u8], kind: MessageType) -> Result<(), Error> {
    let limit = (bytes.len() as u64).saturating_mul(FACTOR).max(FLOOR);
    let mut left = limit;
    let mut take = |bytes: u64| {
        left = left.checked_sub(bytes).ok_or(Error::Memory { limit })?;
        Ok(())
    };
    // Messages still being read: their type and end. They are nested, and `at` is in the last one.
    let mut open = vec![(kind, bytes.len())];
    let mut at = 0;
    while let Some(&(kind, end)) = open.last() {
        if at == end {
            open.pop();
            continue;
        }
        let damaged = |problem| Error::Damaged { problem, at };
        let inside = bytes.get(..end).unwrap_or_default();
        let (key, next) = varint(inside, at).ok_or_else(|| damaged("a field without a number"))?;
        let after = |count: usize| next.checked_add(count).filter(|&after| after <= end);
        let cut = || damaged("a truncated field");
        let number = GROWTH * NUMBER;
        at = match key & 7 {
            0 => {
                take(number)?;
                varint(inside, next).ok_or_else(cut)?.1
            }
            1 => {
                take(number)?;
                after(8).ok_or_else(cut)?
            }
            5 => {
                take(number)?;
                after(4).ok_or_else(cut)?
            }
            2 => {
                let (length, start) = varint(inside, next).ok_or_else(cut)?;
                let length = usize::try_from(length).map_err(|_| cut())?;
                let stop = start.checked_add(length).filter(|&stop| stop <= end).ok_or_else(cut)?;
                let content = inside.get(start..stop).unwrap_or_default();
                match kind.field(key >> 3) {
                    Content::Message(_) if open.len() == MAX_DEPTH => {
                        return Err(damaged("a message that is nested too deeply"));
                    }
                    Content::Message(inner) => {
                        take(GROWTH * inner.size())?;
                        open.push((inner, stop));
                        start
                    }
                    Content::Varints(size) => {
                        // The last byte of each varint has its top bit clear.
                        let count = content.iter().filter(|byte| **byte < 0x80).count() as u64;
                        take(count.saturating_mul(GROWTH * size))?;
                        stop
                    }
                    Content::Numbers => {
                        take((length as u64).saturating_mul(GROWTH))?;
                        stop
                    }
                    Content::Other => {
                        take((length as u64).saturating_add(GROWTH * SMALL))?;
                        stop
                    }
                }
            }
            _ => return Err(damaged("a field of unknown type")),
        };
    }
    Ok(())
}

/// The varint at `at` and the offset after it; `None` if it is truncated or longer than 64 bits.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.get(at..)?.iter().take(10).enumerate() {
        if index == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, at + index + 1));
        }
    }
    None
}
