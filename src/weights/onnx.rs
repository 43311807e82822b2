//! Reads weights from ONNX files: the floats of the graph by name (<https://onnx.ai/onnx/repo-docs/IR.html>, *Graphs*).
//!
//! A file that keeps its batch norms has the names and layouts of the state dict, such as `base.0.conv.weight`; tensors
//! with other names, made by an exporter, are then omitted. If no name belongs to a state dict, all floats are returned
//! under their own names. Only the tensors of the graph are read; its operators are skipped.

use std::io::{Read, Seek};

use prost::Message as _;

use super::Array;
use super::input::{self, Input};
use super::view::{self, Budget, Element, View};
use crate::exit::Exit;
use crate::protobuf::{self, DataLocation, DataType, StringStringEntryProto, TensorProto};

/// Field number of the graph in a model.
const GRAPH: u64 = 7;
/// Field number of the tensors in a graph.
const INITIALIZER: u64 = 5;

/// Suffixes of the names in a state dict.
const PARTS: [&str; 5] = [".weight", ".bias", ".running_mean", ".running_var", ".num_batches_tracked"];
/// Prefix of the names of values made by exporters.
const MADE: &str = "::";

/// Why an ONNX file is unusable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error(transparent)]
    Input(#[from] input::Error),
    /// The file is not a protobuf message.
    #[error("the ONNX file is damaged at byte {at}")]
    Damaged {
        /// Byte offset.
        at: u64,
    },
    /// A tensor is not a protobuf message, or would take more memory than its length justifies.
    #[error("the tensor at byte {at} cannot be decoded")]
    Encoding {
        /// Its byte offset.
        at: u64,
        /// Why.
        #[source]
        source: protobuf::Error,
    },
    /// A tensor has an invalid description.
    #[error("the tensor at byte {at} is damaged")]
    Tensor {
        /// Its byte offset.
        at: u64,
        /// Why.
        #[source]
        source: prost::DecodeError,
    },
    /// The data of a tensor is in another file.
    #[error(
        "`{key}` has its data in `{file}`, from which nothing is imported: `run`, `classify` and `eval` take such an ONNX file as it is"
    )]
    External {
        /// Name of the tensor.
        key: String,
        /// The file that it names.
        file: String,
    },
    /// The number of values does not match the shape.
    #[error("`{key}` has {found} values, which do not match its shape {shape:?}")]
    Length {
        /// Name of the tensor.
        key: String,
        /// Number of values.
        found: usize,
        /// The shape.
        shape: Vec<i64>,
    },
    /// The values of a tensor cannot be read.
    #[error("the values of `{key}` cannot be read")]
    Values {
        /// Name of the tensor.
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

/// The floats of an ONNX file that begins at the position of `input`: its state dict, or all of them.
///
/// # Errors
/// If the file is unusable; see [`Error`].
pub fn read<R: Read + Seek>(input: &mut Input<R>) -> Result<Vec<(String, Array)>, Error> {
    let mut entries = Vec::new();
    let mut arrays = Budget::arrays();
    let length = input.length();
    while let Some((number, end)) = field(input, length)? {
        if number != GRAPH {
            input.seek(end)?;
            continue;
        }
        while let Some((number, end)) = field(input, end)? {
            let at = input.position();
            if number != INITIALIZER {
                input.seek(end)?;
                continue;
            }
            let bytes = input.bytes(end.saturating_sub(at))?;
            protobuf::check(&bytes, protobuf::MessageType::Tensor).map_err(|source| Error::Encoding { at, source })?;
            let tensor = TensorProto::decode(bytes.as_slice()).map_err(|source| Error::Tensor { at, source })?;
            arrays.take(1).map_err(|source| Error::Values { key: tensor.name.clone(), source })?;
            entries.extend(array(tensor)?);
        }
    }
    if entries.iter().any(|(name, _)| is_of_state_dict(name)) {
        entries.retain(|(name, _)| is_of_state_dict(name));
    }
    Ok(entries)
}

/// Whether `name` can belong to a state dict.
fn is_of_state_dict(name: &str) -> bool {
    !name.contains(MADE) && PARTS.iter().any(|part| name.ends_with(part))
}

/// Number and end of the next length-delimited field, whose content begins at the current position; other fields are
/// skipped. `None` at `end`.
fn field<R: Read + Seek>(input: &mut Input<R>, end: u64) -> Result<Option<(u64, u64)>, Error> {
    while input.position() < end {
        let at = input.position();
        let damaged = || Error::Damaged { at };
        let key = varint(input)?;
        match key & 7 {
            0 => {
                varint(input)?;
            }
            1 => input.skip(8)?,
            5 => input.skip(4)?,
            2 => {
                let length = varint(input)?;
                let stop = input.position().checked_add(length).filter(|&stop| stop <= end).ok_or_else(damaged)?;
                return Ok(Some((key >> 3, stop)));
            }
            _ => return Err(damaged()),
        }
    }
    if input.position() == end { Ok(None) } else { Err(Error::Damaged { at: end }) }
}

/// A number of up to 64 bits.
fn varint<R: Read + Seek>(input: &mut Input<R>) -> Result<u64, Error> {
    let at = input.position();
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = input.byte()?;
        if shift == 63 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Error::Damaged { at })
}

/// Name and values of `tensor`, if they are floats.
fn array(tensor: TensorProto) -> Result<Option<(String, Array)>, Error> {
    let TensorProto { name: key, dims, raw_data, float_data, double_data, int32_data, .. } = tensor;
    let element = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float) => Element::F32,
        Ok(DataType::Double) => Element::F64,
        Ok(DataType::Float16) => Element::F16,
        Ok(DataType::Bfloat16) => Element::Bf16,
        _ => return Ok(None),
    };
    if tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty() {
        let location = |entry: &StringStringEntryProto| (entry.key == "location").then(|| entry.value.clone());
        let file = tensor.external_data.iter().find_map(location).unwrap_or_default();
        return Err(Error::External { key, file });
    }
    let bytes = match element {
        _ if !raw_data.is_empty() => raw_data,
        Element::F32 => float_data.into_iter().flat_map(f32::to_le_bytes).collect(),
        Element::F64 => double_data.into_iter().flat_map(f64::to_le_bytes).collect(),
        // The bit pattern is the lower half of an integer.
        _ => int32_data.into_iter().flat_map(|bits| (bits as u16).to_le_bytes()).collect(),
    };
    let found = bytes.len() / element.size() as usize;
    let shape: Option<Vec<usize>> = dims.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let view = match shape.map(View::rows) {
        Some(Ok(view)) if view.count() == found && (bytes.len() as u64).is_multiple_of(element.size()) => view,
        Some(Err(source)) => return Err(Error::Values { key, source }),
        _ => return Err(Error::Length { key, found, shape: dims }),
    };
    match view.read(element, &bytes) {
        Ok(array) => Ok(Some((key, array))),
        Err(source) => Err(Error::Values { key, source }),
    }
}
