//! Values of tensors that lie in other files (ONNX, "External data").
//!
//! Exporters write weights beside the network into a file whose place is given relative to its folder. What the place
//! means is up to the caller, who has the folder; here, the values are put where they would be without such a file.

use std::io;

use super::{Error, constant};
use crate::protobuf::{DataLocation, GraphProto, TensorProto};

/// Reads parts of the files beside an ONNX file.
pub trait Parts {
    /// The `length` bytes from `offset` of the file at `location`, a path relative to the folder of the ONNX file.
    ///
    /// # Errors
    /// If the file cannot be used, or is too short.
    fn read(&mut self, location: &str, offset: u64, length: u64) -> Result<Vec<u8>, PartError>;
}

/// Why a part of a file beside an ONNX file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// There is no folder.
    #[error("files beside this one are not read")]
    NoFolder,
    /// The place is not in the folder of the ONNX file.
    #[error("that is outside of the folder of the ONNX file, where its parts have to be; a link counts where it leads")]
    Outside,
    /// The file cannot be read.
    #[error("it cannot be read: keep it in the folder of the ONNX file, under that name")]
    Unreadable {
        /// Why.
        source: io::Error,
    },
    /// The file is too short.
    #[error(
        "that file has {length} bytes, but the values end at byte {end}: it belongs to another file, or is cut off"
    )]
    Short {
        /// Its length.
        length: u64,
        /// Where the values end.
        end: u64,
    },
    /// Several tensors share the same bytes.
    #[error("the tensors together are larger than the files that hold them")]
    Shared,
}

/// For files without a folder.
#[derive(Debug)]
pub struct NoParts;

impl Parts for NoParts {
    fn read(&mut self, _: &str, _: u64, _: u64) -> Result<Vec<u8>, PartError> {
        Err(PartError::NoFolder)
    }
}

/// Puts the values of all tensors into the graph; returns their number of bytes.
pub(super) fn embed(graph: &mut GraphProto, parts: &mut dyn Parts) -> Result<u64, Error> {
    let mut bytes = 0_u64;
    let of_nodes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    let of_nodes = of_nodes.flat_map(|attribute| attribute.t.iter_mut().chain(&mut attribute.tensors));
    for tensor in graph.initializer.iter_mut().chain(of_nodes) {
        if is_external(tensor) {
            embed_one(tensor, parts)?;
            bytes = bytes.saturating_add(tensor.raw_data.len() as u64);
        }
    }
    Ok(bytes)
}

fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty()
}

fn embed_one(tensor: &mut TensorProto, parts: &mut dyn Parts) -> Result<(), Error> {
    let entry = |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| &*entry.value);
    let name = tensor.name.clone();
    let wrong = |problem: String| Error::Tensor { name: tensor.name.clone(), problem };
    let location = entry("location").filter(|location| !location.is_empty()).map(str::to_owned);
    let location = location.ok_or_else(|| wrong("has its data in another file, whose name is missing".to_owned()))?;
    let number = |key: &str| match entry(key).map(str::trim).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| {
            let text = crate::printable::escaped(text);
            wrong(format!("has the {key} `{text}` for its data in another file: expected a number of bytes"))
        }),
    };
    let (offset, stated) = (number("offset")?.unwrap_or(0), number("length")?);
    let length = constant::byte_length(tensor)?;
    if let Some(stated) = stated.filter(|stated| *stated != length) {
        return Err(wrong(format!("has {stated} bytes of data in another file, but its shape takes {length}")));
    }
    let data = parts.read(&location, offset, length);
    let data = data.map_err(|source| Error::External { name, location, source })?;
    (tensor.raw_data, tensor.data_location) = (data, None);
    tensor.external_data.clear();
    Ok(())
}
