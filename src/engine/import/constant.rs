//! Reads tensors of a file as constants.

use half::{bf16, f16};

use super::Error;
use super::integers::Integers;
use crate::engine::op::Values;
use crate::protobuf::{DataType, TensorProto};

/// Maximum axes of a tensor.
pub(super) const MAX_AXES: usize = 64;

/// An array of floats, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Floats {
    /// Extent of every axis.
    pub dims: Vec<usize>,
    /// The values, shared by clones.
    pub values: Values,
}

/// A constant of the file.
#[derive(Debug, Clone)]
pub(super) enum Constant {
    Floats(Floats),
    Integers(Integers),
}

/// Where the values of a tensor are: in bytes, or in one of the typed fields.
enum Data<'a> {
    Raw(&'a [u8]),
    Fields,
}

/// Bytes per value; `None` if the type is not supported.
fn size(data_type: DataType) -> Option<usize> {
    Some(match data_type {
        DataType::Uint8 | DataType::Int8 | DataType::Bool => 1,
        DataType::Uint16 | DataType::Int16 | DataType::Float16 | DataType::Bfloat16 => 2,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Double | DataType::Int64 | DataType::Uint64 => 8,
        _ => return None,
    })
}

fn fail(tensor: &TensorProto, problem: String) -> Error {
    let name = if tensor.name.is_empty() { "value" } else { &tensor.name };
    Error::Tensor { name: name.to_owned(), problem }
}

/// Checks that the data of `tensor` is in the file, has a supported type and matches its extents in length; returns its
/// type and extents.
///
/// # Errors
/// [`Error::Tensor`].
pub(super) fn check(tensor: &TensorProto) -> Result<(DataType, Vec<usize>), Error> {
    layout(tensor).map(|(data_type, dims, _)| (data_type, dims))
}

fn layout(tensor: &TensorProto) -> Result<(DataType, Vec<usize>, Data<'_>), Error> {
    let unsupported = |name: &str| fail(tensor, format!("holds values of the type {name}, which is not supported"));
    let data_type = DataType::try_from(tensor.data_type).map_err(|_| unsupported(&tensor.data_type.to_string()))?;
    let size = size(data_type).ok_or_else(|| unsupported(data_type.as_str_name()))?;
    if tensor.dims.len() > MAX_AXES {
        return Err(fail(tensor, format!("has {} axes, but at most {MAX_AXES} are read", tensor.dims.len())));
    }
    let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let dims = dims.ok_or_else(|| fail(tensor, format!("has the shape {:?}", tensor.dims)))?;
    let count = dims.iter().try_fold(1_usize, |count, &extent| count.checked_mul(extent));
    let (found, data) = if tensor.raw_data.is_empty() {
        let found = match data_type {
            DataType::Float => tensor.float_data.len(),
            DataType::Double => tensor.double_data.len(),
            DataType::Int64 => tensor.int64_data.len(),
            DataType::Uint32 | DataType::Uint64 => tensor.uint64_data.len(),
            _ => tensor.int32_data.len(),
        };
        (Some(found), Data::Fields)
    } else {
        let whole = tensor.raw_data.len().is_multiple_of(size);
        (whole.then_some(tensor.raw_data.len() / size), Data::Raw(&tensor.raw_data))
    };
    if tensor.segment.is_some() || count.is_none() || found != count {
        let length = tensor.raw_data.len();
        let found = found.map_or_else(|| format!("{length} bytes of data"), |found| format!("{found} values"));
        let problem = format!("has the shape {dims:?}, the type {} and {found}", data_type.as_str_name());
        return Err(fail(tensor, problem));
    }
    Ok((data_type, dims, data))
}

/// Bytes that the values of `tensor` take, by its type and shape.
///
/// # Errors
/// [`Error::Tensor`].
pub(super) fn byte_length(tensor: &TensorProto) -> Result<u64, Error> {
    let size = DataType::try_from(tensor.data_type).ok().and_then(size);
    let size =
        size.ok_or_else(|| fail(tensor, format!("has the type {}, which is not supported", tensor.data_type)))?;
    let mut extents = tensor.dims.iter();
    let length = extents.try_fold(size as u64, |length, &extent| length.checked_mul(u64::try_from(extent).ok()?));
    length.ok_or_else(|| fail(tensor, format!("has the shape {:?}", tensor.dims)))
}

/// The values of a tensor of half precision or bfloat16 as singles; `None` for any other type.
#[must_use]
pub fn halves(tensor: &TensorProto) -> Option<Vec<f32>> {
    let single: fn(u16) -> f32 = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float16) => |bits| f16::from_bits(bits).to_f32(),
        Ok(DataType::Bfloat16) => |bits| bf16::from_bits(bits).to_f32(),
        _ => return None,
    };
    Some(if tensor.raw_data.is_empty() {
        // In a field, each number is the lower half of an integer.
        tensor.int32_data.iter().map(|bits| single(*bits as u16)).collect()
    } else {
        decode(&tensor.raw_data, |bytes| single(u16::from_le_bytes(bytes)))
    })
}

/// The values of `tensor`: floats, or integers if they are few enough to be extents and axes.
///
/// # Errors
/// [`Error::Tensor`].
pub(super) fn read(tensor: &TensorProto) -> Result<Constant, Error> {
    let (data_type, dims, data) = layout(tensor)?;
    let raw = match data {
        Data::Raw(bytes) => Some(bytes),
        Data::Fields => None,
    };
    let floats = match (data_type, raw) {
        (DataType::Float, Some(bytes)) => decode(bytes, f32::from_le_bytes),
        (DataType::Float, None) => tensor.float_data.clone(),
        (DataType::Double, Some(bytes)) => decode(bytes, |bytes| f64::from_le_bytes(bytes) as f32),
        (DataType::Double, None) => tensor.double_data.iter().map(|&value| value as f32).collect(),
        (DataType::Float16 | DataType::Bfloat16, _) => halves(tensor).unwrap_or_default(),
        (DataType::Int64 | DataType::Int32 | DataType::Bool, raw) => {
            let values: Vec<i64> = match (data_type, raw) {
                (DataType::Int64, Some(bytes)) => decode(bytes, i64::from_le_bytes),
                (DataType::Int64, None) => tensor.int64_data.clone(),
                (DataType::Int32, Some(bytes)) => decode(bytes, |bytes| i64::from(i32::from_le_bytes(bytes))),
                (_, Some(bytes)) => bytes.iter().map(|&byte| i64::from(byte)).collect(),
                (_, None) => tensor.int32_data.iter().map(|&value| i64::from(value)).collect(),
            };
            let integers = Integers::known(dims, values);
            return integers.map(Constant::Integers).ok_or_else(|| fail(tensor, "has too many integers".to_owned()));
        }
        _ => {
            let name = data_type.as_str_name();
            return Err(fail(tensor, format!("holds {name} values: quantised networks are not supported")));
        }
    };
    Ok(Constant::Floats(Floats { dims, values: floats.into() }))
}

fn decode<T, const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&bytes| value(bytes)).collect()
}
