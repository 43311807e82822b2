//! Reads pickles as data: a tree of values; nothing is ever executed.
//!
//! The machine follows the opcodes of Python's `pickletools` as far as `torch.save` and `paddle.save` write them,
//! protocols 1 to 5. Objects are accepted if one of the [`Global`]s makes them; they become an [`Value::Object`] that
//! describes how they would be made. Every other global or opcode is rejected by name. Long strings are not read: a
//! [`Data`] records where they are.
//!
//! A pickle is rejected if it is too large for the weights of a network ([`MAX_VALUES`], [`MAX_STEPS`], [`MAX_TEXT`],
//! [`MAX_DEPTH`]), or if a container contains itself.

mod checkpoint;
mod machine;
mod opcode;
mod tree;

use std::io::{Read, Seek};

use super::input::{self, Input};
use super::view::Element;
use crate::exit::Exit;
pub use tree::{Data, Id, Text, Value};

/// Maximum values in a pickle.
pub const MAX_VALUES: usize = 1 << 18;
/// Maximum opcodes in a pickle.
pub const MAX_STEPS: usize = 1 << 21;
/// Maximum total bytes of strings in a pickle, without long ones.
pub const MAX_TEXT: usize = 1 << 22;
/// Maximum nesting depth of values.
pub const MAX_DEPTH: u32 = 64;
/// Longer strings are data: they cannot be names.
pub const LONGEST_NAME: u64 = 1024;

/// Why a pickle is unusable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operand of an opcode cannot be read.
    #[error("the operand of opcode {opcode} at byte {at} of the pickle cannot be read")]
    Input {
        /// Name of the opcode.
        opcode: &'static str,
        /// Position of the opcode.
        at: u64,
        /// Why.
        #[source]
        source: input::Error,
    },
    /// The pickle ends before its STOP.
    #[error("the opcode at byte {at} of the pickle cannot be read")]
    Next {
        /// Position of the opcode.
        at: u64,
        /// Why.
        #[source]
        source: input::Error,
    },
    /// An opcode that tensors do not need.
    #[error("opcode {opcode} (0x{code:02x}) at byte {at} of the pickle is not accepted")]
    Opcode {
        /// Name of the opcode.
        opcode: &'static str,
        /// The opcode.
        code: u8,
        /// Its position.
        at: u64,
    },
    /// A global that is neither needed for tensors nor plain data.
    #[error(
        "the pickle asks for {global:?} at byte {at}: only what tensors need and plain data are accepted. If it is a whole \
         module of PyTorch, save `module.state_dict()` instead"
    )]
    Global {
        /// Module and name.
        global: String,
        /// Position of the opcode.
        at: u64,
    },
    /// There are no weights at the place that was asked for.
    #[error("there are no weights at `{wanted}` of the file; there are some {}", places(known))]
    Place {
        /// The place.
        wanted: Box<str>,
        /// Places with weights, at most five.
        known: Box<[String]>,
    },
    /// A precondition of an opcode is violated.
    #[error("opcode {opcode} at byte {at} of the pickle needs {needed}")]
    Operand {
        /// Name of the opcode.
        opcode: &'static str,
        /// Its position.
        at: u64,
        /// The precondition.
        needed: &'static str,
    },
    /// The pickle is too large for weights.
    #[error("the pickle has more than {limit} {unit} (byte {at})")]
    Limit {
        /// The unit that is counted.
        unit: &'static str,
        /// The limit.
        limit: usize,
        /// Position of the opcode.
        at: u64,
    },
    /// A container contains itself.
    #[error("the pickle has a container that contains itself")]
    Cycle,
    /// Values are nested too deeply.
    #[error("the values of the pickle are nested more than {MAX_DEPTH} deep")]
    Depth,
    /// A long string is not in Latin-1.
    #[error("the bytes at byte {at} of the pickle are not written as Latin-1")]
    Latin1 {
        /// Position of the string.
        at: u64,
    },
    /// A long string cannot be read.
    #[error("the bytes at byte {at} of the pickle cannot be read")]
    Data {
        /// Position of the string.
        at: u64,
        /// Why.
        #[source]
        source: input::Error,
    },
}

/// Where there are weights, as text to follow “there are some”.
fn places(known: &[String]) -> String {
    let known: Vec<String> = known.iter().map(|place| format!("`{}`", crate::printable::escaped(place))).collect();
    if known.is_empty() { "in the outermost dict only".into() } else { format!("at {}", known.join(", ")) }
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Input { source, .. } | Self::Next { source, .. } | Self::Data { source, .. } => source.exit(),
            Self::Place { .. } => Exit::Usage,
            _ => Exit::Data,
        }
    }
}

/// The globals that tensors need, and those of plain data that trainers keep beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Global {
    /// `collections.OrderedDict`: treated as an ordinary dict.
    OrderedDict,
    /// A class whose objects are filled like a dict. Its arguments, such as what a `Counter` has counted, are passed over.
    Dict,
    /// A class whose objects are filled like a list, with arguments that are passed over too.
    List,
    /// Plain data beside the weights: settings, paths, times, types. They are read as data, never made.
    Beside,
    /// `tuple`, called with a tuple.
    Tuple,
    /// `bytes`, called without arguments.
    Bytes,
    /// `_codecs.encode`, with `latin1`: how protocols before 3 write bytes.
    Encode,
    /// `torch._utils._rebuild_tensor_v2`.
    Tensor,
    /// `torch._utils._rebuild_parameter`.
    Parameter,
    /// `torch.FloatStorage` and its like.
    Storage(Element),
    /// `numpy.core.multiarray._reconstruct`.
    Reconstruct,
    /// `numpy.core.multiarray.scalar`.
    Scalar,
    /// `numpy.ndarray`.
    Ndarray,
    /// `numpy.dtype`.
    Dtype,
}

const GLOBALS: [(&str, &str, Global); 22] = [
    ("collections", "OrderedDict", Global::OrderedDict),
    ("builtins", "tuple", Global::Tuple),
    ("builtins", "bytes", Global::Bytes),
    ("_codecs", "encode", Global::Encode),
    ("torch._utils", "_rebuild_tensor_v2", Global::Tensor),
    ("torch._utils", "_rebuild_parameter", Global::Parameter),
    ("torch", "FloatStorage", Global::Storage(Element::F32)),
    ("torch", "HalfStorage", Global::Storage(Element::F16)),
    ("torch", "BFloat16Storage", Global::Storage(Element::Bf16)),
    ("torch", "DoubleStorage", Global::Storage(Element::F64)),
    ("torch", "LongStorage", Global::Storage(Element::I64)),
    ("torch", "IntStorage", Global::Storage(Element::I32)),
    ("torch", "ShortStorage", Global::Storage(Element::I16)),
    ("torch", "CharStorage", Global::Storage(Element::I8)),
    ("torch", "ByteStorage", Global::Storage(Element::U8)),
    ("torch", "BoolStorage", Global::Storage(Element::Bool)),
    ("numpy.core.multiarray", "_reconstruct", Global::Reconstruct),
    ("numpy._core.multiarray", "_reconstruct", Global::Reconstruct),
    ("numpy.core.multiarray", "scalar", Global::Scalar),
    ("numpy._core.multiarray", "scalar", Global::Scalar),
    ("numpy", "ndarray", Global::Ndarray),
    ("numpy", "dtype", Global::Dtype),
];

/// Modules and names of data beside the weights.
const BESIDE: [(&str, &[&str], Global); 9] = [
    ("collections", &["defaultdict", "Counter"], Global::Dict),
    ("builtins", &["dict"], Global::Dict),
    ("collections", &["deque"], Global::List),
    ("builtins", &["list"], Global::List),
    (
        "builtins",
        &["bool", "bytearray", "complex", "float", "frozenset", "int", "long", "range", "set", "slice", "str"],
        Global::Beside,
    ),
    ("argparse", &["Namespace"], Global::Beside),
    ("pathlib", &["Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"], Global::Beside),
    ("datetime", &["date", "datetime", "time", "timedelta", "timezone"], Global::Beside),
    (
        "torch",
        &[
            "Size", "bfloat16", "bool", "device", "float16", "float32", "float64", "int16", "int32", "int64", "int8",
            "uint8",
        ],
        Global::Beside,
    ),
];

impl Global {
    fn find(module: &str, name: &str) -> Option<Self> {
        // Protocols before 3 use the names of Python 2; Python 3.13 has moved the paths.
        let module = match module {
            "__builtin__" => "builtins",
            "pathlib._local" => "pathlib",
            module => module,
        };
        let of = |entry: &(&str, &[&str], Self)| entry.0 == module && entry.1.contains(&name);
        let beside = || BESIDE.iter().find(|entry| of(entry)).map(|entry| entry.2);
        GLOBALS.iter().find(|entry| (entry.0, entry.1) == (module, name)).map(|entry| entry.2).or_else(beside)
    }
}

/// The values of one pickle.
#[derive(Debug)]
pub struct Pickle {
    values: Vec<Value>,
    root: Id,
}

impl Pickle {
    /// Reads one pickle, from the position of `input` up to its STOP.
    ///
    /// # Errors
    /// If the pickle is damaged, or uses more than tensors need; see [`Error`].
    pub fn read<R: Read + Seek>(input: &mut Input<R>) -> Result<Self, Error> {
        let pickle = machine::run(input)?;
        tree::check(&pickle)?;
        Ok(pickle)
    }

    /// The value that was pickled.
    #[must_use]
    pub fn root(&self) -> &Value {
        self.value(self.root)
    }

    /// The value called `id`.
    #[must_use]
    pub fn value(&self, id: Id) -> &Value {
        self.values.get(id.index()).unwrap_or(&Value::None)
    }

    /// The values in the tuple called `id`; `None` if it is not a tuple or has more than `most`.
    #[must_use]
    pub fn tuple(&self, id: Id, most: usize) -> Option<Vec<&Value>> {
        match self.value(id) {
            Value::Tuple(items) if items.len() <= most => Some(items.iter().map(|&id| self.value(id)).collect()),
            _ => None,
        }
    }

    /// The numbers in the tuple called `id`; `None` if it is not a tuple, has more than `most`, or contains something
    /// that is not a number of elements.
    #[must_use]
    pub fn extents(&self, id: Id, most: usize) -> Option<Vec<usize>> {
        let items = self.tuple(id, most)?;
        items
            .into_iter()
            .map(|item| if let Value::Int(number) = item { usize::try_from(*number).ok() } else { None })
            .collect()
    }

    /// All values, in order of occurrence.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }
}

#[cfg(test)]
mod tests;
