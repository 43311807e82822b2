//! A look at the protobuf encoding before it is decoded, so that a small file cannot fill the memory:
//! decoded, a field of two bytes takes hundreds.

use super::Error;

/// How many fields with a length a file may have: strings, messages, packed numbers.
const MAX_FIELDS: usize = 1 << 20;

/// How deep messages may be nested. Those of a network without branches and loops reach 7.
const MAX_DEPTH: usize = 64;

/// A message whose fields can be many. What [`field`](Self::field) does not list are strings, packed numbers,
/// and messages that hold no more than a few of them.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    Info,
    Type,
    TensorType,
    Shape,
    Annotation,
    Training,
    Function,
}

impl Kind {
    /// The message in field `number`.
    fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) | (Self::Training, 1 | 2) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Node, 5) => Self::Attribute,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            (Self::Graph, 11..=13) => Self::Info,
            (Self::Graph, 14) => Self::Annotation,
            (Self::Info, 2) | (Self::Attribute, 15) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            _ => return None,
        })
    }
}

/// Checks that `bytes` are a protobuf message with a bounded number of fields.
///
/// # Errors
/// [`Error::Damaged`] and [`Error::Fields`].
pub(super) fn check(bytes: &[u8]) -> Result<(), Error> {
    let mut fields = 0;
    // Messages that are still to be looked at: what they are, where they end, how deep they are. They lie
    // in one another, and `at` is in the last one.
    let mut open = vec![(Kind::Model, bytes.len())];
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
        at = match key & 7 {
            0 => varint(inside, next).ok_or_else(cut)?.1,
            1 => after(8).ok_or_else(cut)?,
            5 => after(4).ok_or_else(cut)?,
            2 => {
                fields += 1;
                if fields > MAX_FIELDS {
                    return Err(Error::Fields { limit: MAX_FIELDS });
                }
                let (length, start) = varint(inside, next).ok_or_else(cut)?;
                let length = usize::try_from(length).map_err(|_| cut())?;
                let stop = start.checked_add(length).filter(|&stop| stop <= end).ok_or_else(cut)?;
                match kind.field(key >> 3) {
                    Some(_) if open.len() == MAX_DEPTH => return Err(damaged("a message that is nested too deep")),
                    Some(inner) => {
                        open.push((inner, stop));
                        start
                    }
                    None => stop,
                }
            }
            _ => return Err(damaged("a field of no known type")),
        };
    }
    Ok(())
}

/// The number at `at` and where it ends; nothing if it is cut off or longer than 64 bits.
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
