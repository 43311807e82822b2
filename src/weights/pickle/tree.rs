//! The values of a pickle.

use std::io::{Read, Seek};

use super::{Error, Global, MAX_DEPTH, Pickle};
use crate::weights::input::Input;

/// Name of a value within its pickle.
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

/// Where a string lies, as it stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    /// Position of its first byte.
    pub offset: u64,
    /// Its length in the file, in bytes.
    pub length: u64,
    /// Whether the bytes are written as the characters U+0000 to U+00FF in UTF-8.
    pub latin1: bool,
}

impl Data {
    /// The bytes themselves.
    ///
    /// # Errors
    /// [`Error::Data`] when they cannot be read, [`Error::Latin1`] when they are not written as they
    /// should be.
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

/// Turns UTF-8 into Latin-1 in place and returns its length; `None` when it is not UTF-8, or has
/// characters beyond U+00FF.
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
    /// The string, unless it is longer than a name can be.
    pub name: Option<Box<str>>,
    /// Where it lies.
    pub data: Data,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// A floating-point number. No tensor needs its value.
    Float,
    /// A string of characters.
    Text(Text),
    /// A string of bytes.
    Bytes(Data),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// A dict, ordered. A key can occur more than once.
    Dict(Vec<(Id, Id)>),
    /// A global.
    Global(Global),
    /// An object.
    Object {
        /// What would make it.
        class: Global,
        /// The tuple that this would be called with.
        arguments: Id,
        /// The state that the object would be given then.
        state: Option<Id>,
    },
    /// What the writer keeps outside the pickle, by the value that names it.
    Persistent(Id),
}

impl Value {
    /// The string, when this is one that can be a name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Text(Text { name: Some(name), .. }) => Some(name),
            _ => None,
        }
    }

    /// The `index`-th value in this one, dicts counted as key, value, key, value.
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

/// Refuses containers that hold themselves, and deep nesting. What the root does not hold is not looked
/// at.
pub(super) fn check(pickle: &Pickle) -> Result<(), Error> {
    /// The height of a value that is not known yet, and of one that the walk is in.
    const UNKNOWN: u32 = 0;
    const OPEN: u32 = u32::MAX;
    let mut heights = vec![UNKNOWN; pickle.values.len()];
    // The values that the walk is in, with the next child of each and the greatest height below it.
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
