//! State dicts from `paddle.save`: a pickled dict of NumPy arrays, or of pairs of a name and an array.
//!
//! The names of the running statistics are converted to PyTorch's, and arrays with two axes, the weights of linear
//! layers, are transposed from `[in, out]` to `[out, in]`. NumPy has no bfloat16: PaddlePaddle writes it as unsigned
//! 16-bit integers, which are read as such.

use std::io::{Read, Seek};

use super::input::Input;
use super::pickle::{self, Data, Global, Id, Pickle, Value};
use super::view::{self, Budget, Element, View};
use super::{Array, names};
use crate::exit::Exit;

/// Maximum axes of a NumPy array.
const MAX_AXES: usize = 64;

/// Why a PaddlePaddle file is unusable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pickle is unusable.
    #[error(transparent)]
    Pickle(#[from] pickle::Error),
    /// The file has no state dict.
    #[error("the pickle holds no state dict")]
    NoStateDict,
    /// An entry is not a valid NumPy array.
    #[error("`{key}` is not described as a NumPy array of little-endian numbers")]
    Array {
        /// Name of the entry.
        key: String,
    },
    /// The number of bytes does not match the shape.
    #[error("`{key}` has {found} bytes of data, but its shape needs {needed}")]
    Length {
        /// Name of the entry.
        key: String,
        /// Number of bytes.
        found: u64,
        /// Number of bytes that the shape needs.
        needed: u64,
    },
    /// The values of an array cannot be read.
    #[error("the values of `{key}` cannot be read")]
    Values {
        /// Name of the entry.
        key: String,
        /// Why.
        #[source]
        source: view::Error,
    },
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Pickle(source) => source.exit(),
            _ => Exit::Data,
        }
    }
}

/// The arrays of the state dict in `pickle`, which was read from `input`, in order. Entries that are not arrays are
/// skipped. `place` is that of the state dict, if given.
///
/// # Errors
/// If the state dict is unusable; see [`Error`].
pub fn read<R: Read + Seek>(
    pickle: &Pickle,
    input: &mut Input<R>,
    place: Option<&str>,
) -> Result<Vec<(String, Array)>, Error> {
    let (mut arrays, mut values) = (Budget::arrays(), Budget::values(input.length()));
    let mut entries = Vec::new();
    let weights = pickle.weights(place, |value| array(pickle, value).is_some())?.ok_or(Error::NoStateDict)?;
    weights.tell();
    for &(key, value) in weights.entries.iter() {
        let (Some(key), Some(state)) = (pickle.value(key).name(), array(pickle, value)) else { continue };
        let failed = |source| Error::Values { key: key.to_owned(), source };
        arrays.take(1).map_err(failed)?;
        let (view, element, data) = described(pickle, state).ok_or_else(|| Error::Array { key: key.to_owned() })?;
        let view = view.map_err(failed)?;
        values.take(view.count() as u64).map_err(failed)?;
        let needed = (view.count() as u64).saturating_mul(element.size());
        let length = |found| Error::Length { key: key.to_owned(), found, needed };
        // In Latin-1 every byte takes one or two; data that is far too long is not read.
        if data.length < needed || data.length > needed.saturating_mul(2) {
            return Err(length(data.length));
        }
        let bytes = data.read(input)?;
        if bytes.len() as u64 != needed {
            return Err(length(bytes.len() as u64));
        }
        entries.push((names::from_paddle(key), view.transposed().read(element, &bytes).map_err(failed)?));
    }
    Ok(entries)
}

/// The state of the array called `id`, or of the array paired with its name; `None` for anything else.
fn array(pickle: &Pickle, id: Id) -> Option<Option<Id>> {
    let pair = pickle.tuple(id, 2);
    let value = match pair.as_deref() {
        Some([Value::Text(_), value]) => *value,
        Some(_) => return None,
        None => pickle.value(id),
    };
    match *value {
        Value::Object { class: Global::Reconstruct, state, .. } => Some(state),
        _ => None,
    }
}

/// The content of an array's state: `(1, SHAPE, TYPE, IS_COLUMN_MAJOR, DATA)`.
fn described(pickle: &Pickle, state: Option<Id>) -> Option<(Result<View, view::Error>, Element, Data)> {
    let Value::Tuple(state) = pickle.value(state?) else { return None };
    let &[_, shape, dtype, columns, data] = state.as_slice() else { return None };
    let shape = pickle.extents(shape, MAX_AXES)?;
    match (pickle.value(columns), pickle.value(data)) {
        (Value::Bool(columns), &Value::Bytes(data)) => {
            let view = if *columns { View::columns(shape) } else { View::rows(shape) };
            Some((view, element(pickle, dtype)?, data))
        }
        _ => None,
    }
}

/// The type that is constructed with `(CODE, …)` and the state `(3, BYTE_ORDER, …)`.
fn element(pickle: &Pickle, dtype: Id) -> Option<Element> {
    let &Value::Object { class: Global::Dtype, arguments, state: Some(state) } = pickle.value(dtype) else {
        return None;
    };
    let code = pickle.tuple(arguments, 3)?.first()?.name()?;
    let order = pickle.tuple(state, 16)?.get(1)?.name()?;
    Some(match (code, order) {
        ("b1", "|") => Element::Bool,
        ("u1", "|") => Element::U8,
        ("i1", "|") => Element::I8,
        ("u2", "<") => Element::Bf16,
        ("i2", "<") => Element::I16,
        ("i4", "<") => Element::I32,
        ("i8", "<") => Element::I64,
        ("f2", "<") => Element::F16,
        ("f4", "<") => Element::F32,
        ("f8", "<") => Element::F64,
        _ => return None,
    })
}
