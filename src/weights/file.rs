//! Weights out of a file, whatever framework wrote it.
//!
//! The format is told by the content, never by the name of the file. Names and layouts become those of
//! PyTorch; `module.` goes when every name begins with it.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::input::{self, Input};
use super::pickle::{self, Pickle};
use super::safetensors::Texts;
use super::{Array, StateDict, names, onnx, paddle, safetensors, torch};
use crate::exit::Exit;
use crate::regular;

/// Why a file with weights cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The path is not that of a regular file.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The content cannot be used.
    #[error("cannot read weights from {}", path.display())]
    Content {
        /// Path of the file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Problem,
    },
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Open { .. } | Self::NotAFile { .. } => Exit::NoInput,
            Self::Content { source, .. } => source.exit(),
        }
    }
}

/// Why content cannot be used as weights.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It is of no format that is known.
    #[error("neither a PyTorch, nor a PaddlePaddle, nor a safetensors, nor an ONNX file")]
    Unknown,
    /// It cannot be read.
    #[error(transparent)]
    Input(#[from] input::Error),
    /// It is a pickle that cannot be used.
    #[error(transparent)]
    Pickle(#[from] pickle::Error),
    /// It is a file from PyTorch that cannot be used.
    #[error(transparent)]
    Torch(#[from] torch::Error),
    /// It is a file from PaddlePaddle that cannot be used.
    #[error(transparent)]
    Paddle(#[from] paddle::Error),
    /// It is a safetensors file that cannot be used.
    #[error(transparent)]
    Safetensors(#[from] safetensors::Error),
    /// It is an ONNX file that cannot be used.
    #[error(transparent)]
    Onnx(#[from] onnx::Error),
    /// The arrays make no state dict.
    #[error(transparent)]
    Entries(#[from] super::Error),
    /// It holds no arrays.
    #[error("the file holds no arrays")]
    Empty,
    /// A name has characters that no name has.
    #[error("the name {name:?} has control characters")]
    Name {
        /// The name.
        name: String,
    },
}

impl Problem {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unknown | Self::Empty | Self::Name { .. } => Exit::Data,
            Self::Input(source) => source.exit(),
            Self::Pickle(source) => source.exit(),
            Self::Torch(source) => source.exit(),
            Self::Paddle(source) => source.exit(),
            Self::Safetensors(source) => source.exit(),
            Self::Onnx(source) => source.exit(),
            Self::Entries(source) => source.exit(),
        }
    }
}

/// What a file with weights is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `torch.save`, a zip archive.
    TorchZip,
    /// `torch.save` as it was before PyTorch 1.6.
    TorchLegacy,
    /// `paddle.save`.
    Paddle,
    /// Safetensors.
    Safetensors,
    /// ONNX.
    Onnx,
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TorchZip => "PyTorch",
            Self::TorchLegacy => "PyTorch (before 1.6)",
            Self::Paddle => "PaddlePaddle",
            Self::Safetensors => "safetensors",
            Self::Onnx => "ONNX",
        })
    }
}

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The weights, with the names and layouts of PyTorch.
    pub state: StateDict,
    /// What they were read from.
    pub format: Format,
    /// What the file says of them; only safetensors files have room for it.
    pub texts: Texts,
}

/// Reads the weights in the file at `path`.
///
/// Memory is taken for the values and for one storage at a time, and only as far as the size of the file
/// explains it.
///
/// # Errors
/// [`Error::Open`] and [`Error::NotAFile`] when there is no file to read, [`Error::Content`] when it holds
/// no weights that can be used.
pub fn read(path: &Path) -> Result<Loaded, Error> {
    let open = |source| Error::Open { path: path.to_owned(), source };
    // A pipe or a device could keep the program waiting when it is opened.
    if !path.metadata().map_err(open)?.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(open)?;
    read_from(file).map_err(|source| Error::Content { path: path.to_owned(), source })
}

/// SHA-256 of the file at `path`: 64 lower-case hexadecimal digits.
///
/// # Errors
/// [`Error::Open`] when the file cannot be opened or read.
pub fn sha256(path: &Path) -> Result<String, Error> {
    const CHUNK: usize = 1 << 16;
    let failed = |source| Error::Open { path: path.to_owned(), source };
    let mut file = regular::open(path).map_err(failed)?;
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            Ok(length) => hash.update(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Reads the weights in `bytes`.
///
/// # Errors
/// [`Problem`] when they hold none that can be used.
pub fn read_bytes(bytes: &[u8]) -> Result<Loaded, Problem> {
    read_from(Cursor::new(bytes))
}

/// Reads the weights in all of `reader`.
///
/// # Errors
/// [`Problem`] when it holds none that can be used.
pub fn read_from<R: Read + Seek>(reader: R) -> Result<Loaded, Problem> {
    let mut input = Input::new(reader)?;
    let length = input.length();
    let head = input.bytes(length.min(Container::HEAD))?;
    input.seek(0)?;
    let mut texts = Texts::new();
    let (entries, format) = match Container::tell(&head).ok_or(Problem::Unknown)? {
        Container::Zip => (torch::read_zip(input.into_inner(), length)?, Format::TorchZip),
        Container::Safetensors => {
            let (entries, found) = safetensors::read(&mut input)?;
            texts = found;
            (entries, Format::Safetensors)
        }
        Container::Onnx => (onnx::read(&mut input)?, Format::Onnx),
        Container::Pickle => {
            let pickle = Pickle::read(&mut input)?;
            if torch::is_magic(&pickle) {
                (torch::read_legacy(&mut input)?, Format::TorchLegacy)
            } else {
                (paddle::read(&pickle, &mut input)?, Format::Paddle)
            }
        }
    };
    Ok(Loaded { state: collect(entries)?, format, texts })
}

/// What the first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Zip,
    Pickle,
    Safetensors,
    Onnx,
}

impl Container {
    /// How many bytes tell it.
    const HEAD: u64 = 9;

    fn tell(head: &[u8]) -> Option<Self> {
        match *head {
            [b'P', b'K', 3, 4, ..] => Some(Self::Zip),
            // A plausible length of a header, then JSON: in a pickle, no three zeros stand in this place.
            [_, _, _, _, _, 0, 0, 0, b'{'] => Some(Self::Safetensors),
            // PROTO, and what pickles of protocol 1 begin with: a dict, the magic number of PyTorch.
            [0x80, 0..=5, ..] | [b'}', ..] | [b'L', b'1', b'1', b'9', ..] => Some(Self::Pickle),
            // The version of the format, then the producer, its version, a domain, a version of the model, a
            // text, the graph, or the operator sets: the fields of a model.
            [0x08, 1..=0x7f, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..] => Some(Self::Onnx),
            [_, _, _, _, _, _, _, _, b'{'] => Some(Self::Safetensors),
            _ => None,
        }
    }
}

/// Whether a file with weights may begin with the bytes `head`: its first nine, or all of them.
#[must_use]
pub fn is_known(head: &[u8]) -> bool {
    Container::tell(&head[..head.len().min(Container::HEAD as usize)]).is_some()
}

/// A state dict of the arrays, without the prefix of training on several devices.
fn collect(entries: Vec<(String, Array)>) -> Result<StateDict, Problem> {
    if entries.is_empty() {
        return Err(Problem::Empty);
    }
    let prefix = names::prefix(entries.iter().map(|(name, _)| name.as_str()));
    let mut state = StateDict::new();
    for (name, array) in entries {
        if name.chars().any(char::is_control) {
            return Err(Problem::Name { name });
        }
        state.insert(&name[prefix..], array)?;
    }
    Ok(state)
}
