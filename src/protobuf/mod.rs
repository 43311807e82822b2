//! The protobuf encoding of ONNX files: its messages, and a check before they are decoded, so that a small file cannot
//! fill the memory: a field of two bytes can take hundreds when it is decoded.
//!
//! The numbers of the fields are those of `onnx.proto` (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>).

mod messages;

pub use messages::{
    AttributeProto, AttributeType, DataLocation, DataType, Dimension, Extent, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, Segment, SparseTensorProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorType,
    TypeProto, ValueInfoProto, ValueType,
};

/// How deep messages may be nested. Those of a network without branches and loops reach 7.
const MAX_DEPTH: usize = 64;

/// What any message may take when it is decoded, in bytes, whatever its length.
const FLOOR: u64 = 64 << 20;

/// What a message may take for each of its own bytes.
const FACTOR: u64 = 4;

/// A list grows by doubling: its memory is at most twice what it holds.
const GROWTH: u64 = 2;

/// What a field of the smaller messages and a text take apart from their characters: at least as much as any of these.
const SMALL: u64 = 64;

/// What a number takes that stands in a field of its own.
const NUMBER: u64 = size_of::<u64>() as u64;

/// Why a message is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are no protobuf message.
    #[error("{problem} at byte {at}")]
    Damaged {
        /// What is wrong.
        problem: &'static str,
        /// Where.
        at: usize,
    },
    /// Decoded, it takes more memory than its length explains.
    #[error("it takes more than {limit} bytes when it is decoded, which its length does not explain")]
    Memory {
        /// How many are allowed.
        limit: u64,
    },
}

/// A message whose fields can be many.
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

/// What stands in a field with a length.
enum Content {
    Message(MessageType),
    /// Numbers of variable length, so many bytes each when they are decoded.
    Varints(u64),
    /// Numbers as they are decoded.
    Numbers,
    /// A text, bytes, a message of a few of them, or something unknown.
    Other,
}

impl MessageType {
    /// What stands in field `number`.
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

    /// Bytes of the decoded message, apart from what it refers to.
    fn size(self) -> u64 {
        (match self {
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
        }) as u64
    }
}

/// Checks that `bytes` are a protobuf message, and that what it takes when it is decoded as a `kind` is in proportion to
/// its length: at most four times as much, or 64 MiB.
///
/// # Errors
/// Any of [`Error`].
pub fn check(bytes: &[u8], kind: MessageType) -> Result<(), Error> {
    let limit = (bytes.len() as u64).saturating_mul(FACTOR).max(FLOOR);
    let mut left = limit;
    let mut take = |bytes: u64| {
        left = left.checked_sub(bytes).ok_or(Error::Memory { limit })?;
        Ok(())
    };
    // Messages that are still to be looked at: what they are and where they end. They lie in one another, and `at` is
    // in the last one.
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
        let cut = || damaged("a field that is cut off");
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
                        return Err(damaged("a message that is nested too deep"));
                    }
                    Content::Message(inner) => {
                        take(GROWTH * inner.size())?;
                        open.push((inner, stop));
                        start
                    }
                    Content::Varints(size) => {
                        // The last byte of each has its upper bit clear.
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
            _ => return Err(damaged("a field of no known type")),
        };
    }
    Ok(())
}

/// The number at `at` and where it ends; `None` if it is cut off or longer than 64 bits.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.get(at..)?.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, at + index + 1));
        }
    }
    None
}
