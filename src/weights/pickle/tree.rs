//! The values of a pickle.

use std::io::{Read, Seek};

use super::{Error, Global, MAX_DEPTH, Pickle};
use crate::weights::input::Input;

/// Identifier of a value within its pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(u32);

impl Id {
    pub(super) fn new(index: usize) -> Self {
        // There are at most `MAX_VALUES` values.
        Self(index as u32)
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Position of a string in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    /// Position of its first byte.
    pub offset: u64,
    /// Its length in the file, in bytes.
    pub length: u64,
    /// Whether the bytes are encoded as the characters U+0000 to U+00FF in UTF-8.
    pub latin1: bool,
}

impl Data {
    /// Reads the bytes.
    ///
    /// # Errors
    /// [`Error::Data`] if they cannot be read, [`Error::Latin1`] if they are wrongly encoded.
    pub fn read<R: Read + Seek>(&self, input: &mut Input<R>) -> Result<Vec<u8>, Error> {
        let failed = |source| Error::Data { at: self.offset, source };
        input.seek(self.offset).map_err(failed)?;
        let mut bytes = input.bytes(self.length).map_err(failed)?;
        if self.latin1 {
            let length = narrow(&mut bytes).ok_or(Error::Latin1 { at: self.offset })?;
            bytes.truncate(length);
        }
        Ok(bytes)
    }
}

/// Converts UTF-8 to Latin-1 in place and returns its length; `None` if it is not UTF-8 or contains characters beyond
/// U+00FF.
fn narrow(bytes: &mut [u8]) -> Option<usize> {
    let (mut read, mut write) = (0, 0);
    while let Some(&first) = bytes.get(read) {
        (bytes[write], read) = match (first, bytes.get(read + 1)) {
            (0..=0x7f, _) => (first, read + 1),
            (0xc2 | 0xc3, Some(&second @ 0x80..=0xbf)) => ((first << 6) | (second & 0x3f), read + 2),
            _ => return None,
        };
        write += 1;
    }
    Some(write)
}

/// A string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The string, unless it is too long for a name.
    pub name: Option<Box<str>>,
    /// Its position.
    pub data: Data,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `None`.
    None,
    /// A Boolean.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// A floating-point number. No tensor needs its value.
    Float,
    /// A text string.
    Text(Text),
    /// A byte string.
    Bytes(Data),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// An ordered dict. A key can occur more than once.
    Dict(Vec<(Id, Id)>),
    /// A global.
    Global(Global),
    /// An object.
    Object {
        /// The global that would make it.
        class: Global,
        /// The tuple of arguments for that global.
        arguments: Id,
        /// The state that the object would then be given.
        state: Option<Id>,
    },
    /// An object that the writer stores outside the pickle, identified by this value.
    Persistent(Id),
}

impl Value {
    /// The string, if it can be a name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Text(Text { name: Some(name), .. }) => Some(name),
            _ => None,
        }
    }

    /// The `index`-th child value, with dicts counted as key, value, key, value.
    fn child(&self, index: usize) -> Option<Id> {
        match self {
            Self::None | Self::Bool(_) | Self::Int(_) | Self::Float => None,
            Self::Text(_) | Self::Bytes(_) | Self::Global(_) => None,
            Self::Tuple(items) | Self::List(items) => items.get(index).copied(),
            Self::Dict(entries) => {
                entries.get(index / 2).map(|&(key, value)| if index.is_multiple_of(2) { key } else { value })
            }
            Self::Object { arguments, state, .. } => match index {
                0 => Some(*arguments),
                1 => *state,
                _ => None,
            },
            Self::Persistent(name) => (index == 0).then_some(*name),
        }
    }
}

/// Rejects containers that contain themselves, and deep nesting. Values that the root does not contain are not checked.
pub(super) fn check(pickle: &Pickle) -> Result<(), Error> {
    /// The height of a value that is not known yet, and of one that is being visited.
    const UNKNOWN: u32 = 0;
    const OPEN: u32 = u32::MAX;
    let mut heights = vec![UNKNOWN; pickle.values.len()];
    // The values being visited, each with its next child and the greatest height below it.
    let mut path = vec![(pickle.root, 0_usize, 0_u32)];
    while let Some((id, next, below)) = path.last_mut() {
        heights[id.index()] = OPEN;
        let Some(child) = pickle.value(*id).child(*next) else {
            let height = *below + 1;
            if height > MAX_DEPTH {
                return Err(Error::Depth);
            }
            heights[id.index()] = height;
            path.pop();
            if let Some((_, _, below)) = path.last_mut() {
                *below = height.max(*below);
            }
            continue;
        };
        *next += 1;
        match heights[child.index()] {
            UNKNOWN => path.push((child, 0, 0)),
            OPEN => return Err(Error::Cycle),
            height => *below = height.max(*below),
        }
    }
    Ok(())
}
