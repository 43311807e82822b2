//! Safetensors files: the header length as a 64-bit integer, the header in JSON, the data
//! (<https://github.com/huggingface/safetensors>, *Format*).
//!
//! Arrays are read in the order of their data. Files with PaddlePaddle's names also have its layouts and are converted
//! like its own files.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError};

use super::input::{self, Input};
use super::view::{self, Budget, Element, View};
use super::{Array, StateDict, names};
use crate::exit::Exit;
use crate::replace::replace;

/// A file's metadata: texts by key.
pub type Texts = BTreeMap<String, String>;

/// Suffix of the names of batch counts.
const BATCH_COUNT: &str = "num_batches_tracked";

/// Maximum length of a header in bytes.
const MAX_HEADER: u64 = 1 << 23;
/// Bytes of the header length.
const LENGTH: u64 = 8;

/// Why a safetensors file is unusable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error(transparent)]
    Input(#[from] input::Error),
    /// The header is too long.
    #[error("the safetensors header has {length} bytes, but {MAX_HEADER} are allowed")]
    LongHeader {
        /// Its length in bytes.
        length: u64,
    },
    /// The header does not describe arrays without overlaps and gaps.
    #[error("the safetensors header is damaged")]
    Header {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The length of the data differs from the header.
    #[error("the header describes {described} bytes of data, but the file has {found}")]
    Length {
        /// Bytes described by the header.
        described: u64,
        /// Bytes after the header.
        found: u64,
    },
    /// The element type of an array is not supported.
    #[error("`{key}` has the type {dtype}, which is not supported")]
    Type {
        /// Name of the array.
        key: String,
        /// The type.
        dtype: Dtype,
    },
    /// The values of an array cannot be read.
    #[error("the values of `{key}` cannot be read")]
    Values {
        /// Name of the array.
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
            Self::Input(source) => source.exit(),
            _ => Exit::Data,
        }
    }
}

/// The arrays of a safetensors file that begins at the position of `input`, and its metadata.
///
/// # Errors
/// If the file is unusable; see [`Error`].
pub fn read<R: Read + Seek>(input: &mut Input<R>) -> Result<(Vec<(String, Array)>, Texts), Error> {
    let length = u64::from_le_bytes(input.array()?);
    if length > MAX_HEADER {
        return Err(Error::LongHeader { length });
    }
    let header = input.bytes(length)?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|source| Error::Header { source })?;
    let (described, found) = (header.data_len() as u64, input.length().saturating_sub(LENGTH + length));
    if described != found {
        return Err(Error::Length { described, found });
    }

    let keys = header.offset_keys();
    let from_paddle = names::are_paddle(keys.iter().map(String::as_str));
    let mut arrays = Budget::arrays();
    let mut entries = Vec::new();
    for key in keys {
        let Some(info) = header.info(&key) else { continue };
        let Some(element) = element(info.dtype) else { return Err(Error::Type { key, dtype: info.dtype }) };
        let (start, end) = info.data_offsets;
        input.seek(LENGTH + length + start as u64)?;
        let bytes = input.bytes(end.saturating_sub(start) as u64)?;
        let read = arrays.take(1).and_then(|()| View::rows(info.shape.clone())).and_then(|view| {
            let view = if from_paddle { view.transposed() } else { view };
            view.read(element, &bytes)
        });
        match read {
            Ok(array) => entries.push((if from_paddle { names::from_paddle(&key) } else { key }, array)),
            Err(source) => return Err(Error::Values { key, source }),
        }
    }
    let texts = header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok((entries, texts))
}

/// Replaces the file at `path` with a safetensors file of `state` and `texts`. Batch counts are 64-bit integers, as in
/// PyTorch; everything else is `f32`.
///
/// # Errors
/// If the file cannot be written. The file at `path` is then unchanged.
pub fn write(state: &StateDict, texts: &Texts, path: &Path) -> Result<(), SafeTensorError> {
    write_all(&[state], texts, path)
}

/// [`write()`] with the arrays of all `states`, whose keys differ.
///
/// # Errors
/// As for [`write()`].
pub fn write_all(states: &[&StateDict], texts: &Texts, path: &Path) -> Result<(), SafeTensorError> {
    let mut arrays: Vec<Stored> = states
        .iter()
        .flat_map(|state| state.iter())
        .map(|(key, array)| Stored { key, array, count: key.ends_with(BATCH_COUNT) })
        .collect();
    // Numbers are aligned if the larger ones come first.
    arrays.sort_by(|a, b| b.count.cmp(&a.count).then(a.key.cmp(b.key)));
    let mut end = 0;
    let infos = arrays.iter().map(|array| {
        let start = end;
        end += array.length();
        let (dtype, shape) = (array.dtype(), array.array.shape().to_vec());
        (array.key.to_owned(), TensorInfo { dtype, shape, data_offsets: (start, end) })
    });
    let infos = infos.collect();
    let texts = texts.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut header = serde_json::to_vec(&Metadata::new(Some(texts), infos)?)?;
    header.resize(header.len().next_multiple_of(size_of::<u64>()), b' ');
    replace(path, |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        arrays.iter().try_for_each(|array| array.write(&mut out))?;
        out.flush()?;
        Ok(())
    })
}

/// An array in the form in which it is written.
struct Stored<'a> {
    key: &'a str,
    array: &'a Array,
    count: bool,
}

impl Stored<'_> {
    fn dtype(&self) -> Dtype {
        if self.count { Dtype::I64 } else { Dtype::F32 }
    }

    /// Number of bytes.
    fn length(&self) -> usize {
        let value = if self.count { size_of::<i64>() } else { size_of::<f32>() };
        self.array.data().len() * value
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut values = self.array.data().iter();
        if self.count {
            // Whole numbers, exact up to 2^24.
            values.try_for_each(|&value| out.write_all(&(value as i64).to_le_bytes()))
        } else {
            values.try_for_each(|value| out.write_all(&value.to_le_bytes()))
        }
    }
}

fn element(dtype: Dtype) -> Option<Element> {
    Some(match dtype {
        Dtype::BOOL => Element::Bool,
        Dtype::U8 => Element::U8,
        Dtype::I8 => Element::I8,
        Dtype::U16 => Element::U16,
        Dtype::I16 => Element::I16,
        Dtype::U32 => Element::U32,
        Dtype::I32 => Element::I32,
        Dtype::U64 => Element::U64,
        Dtype::I64 => Element::I64,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::F32 => Element::F32,
        Dtype::F64 => Element::F64,
        _ => return None,
    })
}
