//! Reads weights from a file of any supported framework.
//!
//! The format is recognised by content, never by file name. Names and layouts are converted to PyTorch's; the prefix
//! `module.` is removed if every name has it.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use super::digest::Check;
use super::input::{self, Input};
use super::pickle::{self, Pickle};
use super::safetensors::Texts;
use super::{Array, StateDict, names, onnx, paddle, safetensors, torch};
use crate::exit::Exit;
use crate::regular;

/// Maximum kinds of prefixes in a file.
const MAX_ROOTS: usize = 8;

/// Networks with this share of the most arrays, in percent, count as equally large.
const SIMILAR: usize = 90;

/// Why a weight file is unusable.
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
    /// The path is not a regular file.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The content is unusable.
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

/// Why content is unusable as weights.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The format is unknown.
    #[error("neither a PyTorch, nor a PaddlePaddle, nor a safetensors, nor an ONNX file")]
    Unknown,
    /// The format is known, and holds no weights that can be read.
    #[error("this is {what}; {instead}")]
    Other {
        /// What it is.
        what: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// A place is asked for in a file with one set of weights.
    #[error("{format} files hold one set of weights: leave out the place `{place}`")]
    Place {
        /// The format.
        format: Format,
        /// The place.
        place: String,
    },
    /// It cannot be read.
    #[error(transparent)]
    Input(#[from] input::Error),
    /// It is an unusable pickle.
    #[error(transparent)]
    Pickle(#[from] pickle::Error),
    /// It is an unusable PyTorch file.
    #[error(transparent)]
    Torch(#[from] torch::Error),
    /// It is an unusable PaddlePaddle file.
    #[error(transparent)]
    Paddle(#[from] paddle::Error),
    /// It is an unusable safetensors file.
    #[error(transparent)]
    Safetensors(#[from] safetensors::Error),
    /// It is an unusable ONNX file.
    #[error(transparent)]
    Onnx(#[from] onnx::Error),
    /// The arrays do not form a state dict.
    #[error(transparent)]
    Entries(#[from] super::Error),
    /// It holds no arrays.
    #[error("the file holds no arrays")]
    Empty,
    /// A name contains control characters.
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
            Self::Unknown | Self::Other { .. } | Self::Empty | Self::Name { .. } => Exit::Data,
            Self::Place { .. } => Exit::Usage,
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

/// Format of a weight file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `torch.save`, a zip archive.
    TorchZip,
    /// `torch.save` before PyTorch 1.6.
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

/// The content of a weight file.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The weights, with the names and layouts of PyTorch.
    pub state: StateDict,
    /// The format of the file.
    pub format: Format,
    /// The file's own metadata; only safetensors files have it.
    pub texts: Texts,
}

/// Reads the weights in the file at `path`. Of several networks in a checkpoint it takes the largest, and of those that
/// are equally large the averaged one.
///
/// Memory is allocated for the values and for one storage at a time, in proportion to the size of the file.
///
/// # Errors
/// [`Error::Open`] and [`Error::NotAFile`] if there is no file to read, [`Error::Content`] if it holds no usable
/// weights.
pub fn read(path: &Path) -> Result<Loaded, Error> {
    read_place(path, None)
}

/// Like [`read`], with the weights at `place` of the checkpoint: names from the outermost dict, such as `model.ema`.
///
/// # Errors
/// As for [`read`]; [`Error::Content`], too, if there is no such place.
pub fn read_place(path: &Path, place: Option<&str>) -> Result<Loaded, Error> {
    let open = |source| Error::Open { path: path.to_owned(), source };
    // Opening a pipe or a device could block the program.
    if !path.metadata().map_err(open)?.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(open)?;
    read_place_from(file, place).map_err(|source| Error::Content { path: path.to_owned(), source })
}

/// SHA-256 of the file at `path`: 64 lower-case hexadecimal digits.
///
/// # Errors
/// [`Error::Open`] if the file cannot be opened or read.
pub fn sha256(path: &Path) -> Result<String, Error> {
    digest(path, Check::Sha256(""))
}

/// The digest of the file at `path` that `check` compares: lower-case hexadecimal digits.
///
/// # Errors
/// [`Error::Open`] if the file cannot be opened or read.
pub fn digest(path: &Path, check: Check) -> Result<String, Error> {
    let failed = |source| Error::Open { path: path.to_owned(), source };
    let mut file = regular::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    Ok(check.of(&mut file, length, || false).map_err(failed)?.unwrap_or_default())
}

/// Reads the weights in `bytes`.
///
/// # Errors
/// [`Problem`] if they hold no usable weights.
pub fn read_bytes(bytes: &[u8]) -> Result<Loaded, Problem> {
    read_from(Cursor::new(bytes))
}

/// Reads the weights from the whole of `reader`.
///
/// # Errors
/// [`Problem`] if it holds no usable weights.
pub fn read_from<R: Read + Seek>(reader: R) -> Result<Loaded, Problem> {
    read_place_from(reader, None)
}

fn read_place_from<R: Read + Seek>(reader: R, place: Option<&str>) -> Result<Loaded, Problem> {
    let mut input = Input::new(reader)?;
    let length = input.length();
    let head = input.bytes(length.min(Container::HEAD))?;
    input.seek(0)?;
    let mut texts = Texts::new();
    let container = Container::tell(&head).ok_or_else(|| other(&head))?;
    let single = match container {
        Container::Safetensors => Some(Format::Safetensors),
        Container::Onnx => Some(Format::Onnx),
        Container::Zip | Container::Pickle => None,
    };
    if let (Some(place), Some(format)) = (place, single) {
        return Err(Problem::Place { format, place: place.to_owned() });
    }
    let (entries, format) = match container {
        Container::Zip => (torch::read_zip(input.into_inner(), length, place)?, Format::TorchZip),
        Container::Safetensors => {
            let (entries, found) = safetensors::read(&mut input)?;
            texts = found;
            (entries, Format::Safetensors)
        }
        Container::Onnx => (onnx::read(&mut input)?, Format::Onnx),
        Container::Pickle => {
            let pickle = Pickle::read(&mut input)?;
            if torch::is_magic(&pickle) {
                (torch::read_legacy(&mut input, place)?, Format::TorchLegacy)
            } else {
                (paddle::read(&pickle, &mut input, place)?, Format::Paddle)
            }
        }
    };
    Ok(Loaded { state: collect(entries)?, format, texts })
}

/// What a file is that begins with `head`, and holds no weights in a supported form.
fn other(head: &[u8]) -> Problem {
    const STATE: &str = "save the weights with `paddle.save(model.state_dict(), \"NAME.pdparams\")`";
    let (what, instead) = match *head {
        [0, 0, 0, 0, 0, 0, 0, 0, 0] => ("a parameter file of Paddle's inference format (.pdiparams)", STATE),
        [0x0a, ..] if head.windows(3).any(|bytes| *bytes == [8, 0, 0x10]) => {
            ("a network of Paddle's inference format (.pdmodel)", STATE)
        }
        [b'{', ..] => ("a JSON text, as Paddle's inference format has for networks without their weights", STATE),
        [b'<', ..] => ("a web page or XML", "download the file itself"),
        _ if head.starts_with(b"version ") => ("a pointer of Git LFS", "get the file itself with `git lfs pull`"),
        _ => return Problem::Unknown,
    };
    Problem::Other { what, instead }
}

/// The container, recognised by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Zip,
    Pickle,
    Safetensors,
    Onnx,
}

impl Container {
    /// Number of bytes needed for that.
    const HEAD: u64 = 9;

    fn tell(head: &[u8]) -> Option<Self> {
        match *head {
            [b'P', b'K', 3, 4, ..] => Some(Self::Zip),
            // A plausible header length, then JSON: a pickle never has three zeros in this position.
            [_, _, _, _, _, 0, 0, 0, b'{'] => Some(Self::Safetensors),
            // PROTO, or the beginning of a pickle of protocol 1: a dict, or the magic number of PyTorch.
            [0x80, 0..=5, ..] | [b'}', ..] | [b'L', b'1', b'1', b'9', ..] => Some(Self::Pickle),
            // The version of the format, then the producer, its version, a domain, a version of the model, a text, the
            // graph, or the operator sets: the fields of a model.
            [0x08, 1..=0x7f, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..] => Some(Self::Onnx),
            [_, _, _, _, _, _, _, _, b'{'] => Some(Self::Safetensors),
            _ => None,
        }
    }
}

/// Whether a weight file may begin with the bytes `head`: its first nine, or the whole file if it is shorter.
#[must_use]
pub fn is_known(head: &[u8]) -> bool {
    Container::tell(&head[..head.len().min(Container::HEAD as usize)]).is_some()
}

/// A state dict of the arrays, without the prefixes that trainers add.
fn collect(mut entries: Vec<(String, Array)>) -> Result<StateDict, Problem> {
    entries.retain(|(name, _)| !names::is_averaged(name));
    if entries.is_empty() {
        return Err(Problem::Empty);
    }
    let prefix = names::prefix(entries.iter().map(|(name, _)| name.as_str()));
    let prefix = prefix + keep_one_network(&mut entries, prefix);
    let mut state = StateDict::new();
    for (name, array) in entries {
        if name.chars().any(char::is_control) {
            return Err(Problem::Name { name });
        }
        state.insert(&name[prefix..], array)?;
    }
    Ok(state)
}

/// Keeps one network of several that differ in the prefixes of their names, after `common` bytes that all have: the
/// largest, of those that are about as large the averaged one, of equals the first. A trainer may keep a loss beside
/// them. Returns the length of its prefixes.
fn keep_one_network(entries: &mut Vec<(String, Array)>, common: usize) -> usize {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for (name, _) in entries.iter() {
        let root = names::root(&name[common..]);
        match counts.iter().position(|(known, _)| *known == root) {
            Some(index) => counts[index].1 += 1,
            None if counts.len() < MAX_ROOTS => counts.push((root, 1)),
            None => return 0,
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let large = counts.iter().filter(|(_, count)| count * 100 >= most * SIMILAR);
    // Of equals, the first in the file.
    let chosen = large
        .rev()
        .max_by_key(|(root, count)| (names::is_average(root), root.contains("teacher"), *count))
        .map_or("", |(root, _)| *root);
    if chosen.is_empty() {
        return 0;
    }
    let others: Vec<&str> = counts.iter().map(|(root, _)| *root).filter(|root| *root != chosen).collect();
    if !others.is_empty() {
        let shown = |root: &&str| if root.is_empty() { "names without one".into() } else { format!("`{root}`") };
        let others: Vec<String> = others.iter().map(shown).collect();
        tracing::warn!(
            "the names in the file have several prefixes: taking those with `{chosen}`; left out: {}; `model import \
             --state-dict` chooses, with the place of the dict and the prefix, such as `state_dict.model`",
            others.join(", ")
        );
    }
    let chosen = chosen.to_owned();
    entries.retain(|(name, _)| names::root(&name[common..]) == chosen);
    chosen.len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn of_several_networks_in_one_dict_one_is_taken() {
        let names = |names: &[&str]| {
            let array = || Array::new(vec![1], vec![0.0]).unwrap();
            let state = collect(names.iter().map(|name| ((*name).to_owned(), array())).collect()).unwrap();
            state.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&["model.base.0", "model.base.1", "criterion.weight"]), ["base.0", "base.1"]);
        let pair = ["model.base.0", "model.base.1", "ema_model.module.base.0", "ema_model.module.base.1"];
        assert_eq!(names(&pair), ["base.0", "base.1"]);
        let equal = ["module.base.0", "module.base.1", "model.base.0", "model.base.2"];
        assert_eq!(names(&equal), ["base.0", "base.1"]);
        let pair = ["teacher.base.0", "teacher.base.1", "student.base.0", "student.base.1"];
        assert_eq!(names(&pair), ["base.0", "base.1"]);
        assert_eq!(names(&["base.0", "base.1", "model.extra"]), ["base.0", "base.1", "model.extra"], "its own names");
    }

    #[test]
    fn a_file_that_people_take_for_weights_is_said_to_be_what_it_is() {
        for (bytes, what) in [
            (&[0; 40][..], ".pdiparams"),
            (b"\x0a\xa2\x9b\x0b\x08\x00\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", ".pdmodel"),
            (b"{\"base_code\":{\"magic\":\"pir\"}}", "JSON"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ] {
            let message = read_bytes(bytes).unwrap_err().to_string();
            assert!(message.starts_with("this is a") && message.contains(what), "{message}");
        }
        assert!(matches!(read_bytes(b"weights"), Err(Problem::Unknown)));
    }

    #[test]
    fn a_place_is_for_files_that_may_hold_several_networks() {
        let bytes = [&8_u64.to_le_bytes()[..], b"{}      "].concat();
        let error = read_place_from(Cursor::new(bytes), Some("ema")).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert_eq!(error.to_string(), "safetensors files hold one set of weights: leave out the place `ema`");
    }
}
