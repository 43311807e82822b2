//! Decodes numbers: the element types shared by the formats, and arrays as views with an offset and strides.
//!
//! All numbers are little-endian. Each becomes the nearest `f32`; a Boolean becomes 0 or 1.

use half::{bf16, f16};

use super::Array;
use crate::exit::Exit;

/// Why an array cannot be extracted from its storage.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Extents, strides and offset do not describe an array.
    #[error("shape {shape:?}, strides {strides:?} and offset {offset} do not describe an array")]
    Layout {
        /// Extent of every axis.
        shape: Vec<usize>,
        /// Stride of every axis, in elements.
        strides: Vec<usize>,
        /// First element.
        offset: usize,
    },
    /// The array reaches beyond its storage.
    #[error("element {last} of a storage of {stored} elements is needed")]
    Outside {
        /// The last element of the array.
        last: usize,
        /// Number of elements in the storage.
        stored: usize,
    },
    /// The arrays are too many or too large for a file of this size.
    #[error("the file asks for more than {limit} {unit}, out of proportion to its size")]
    Budget {
        /// The unit that is counted.
        unit: &'static str,
        /// The limit.
        limit: u64,
    },
    /// There is no memory for the values.
    #[error("{count} values do not fit into memory")]
    Memory {
        /// Number of values.
        count: usize,
    },
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        Exit::Data
    }
}

/// The minimum allowance for any file.
const FLOOR: u64 = 1 << 16;

/// Maximum number of arrays in a file.
const MAX_ARRAYS: u64 = 1 << 14;

/// The number of arrays, values or bytes that a file may still request. Prevents a small file from exhausting the
/// memory with views that share a storage, or with compressed data.
#[derive(Debug)]
pub struct Budget {
    unit: &'static str,
    limit: u64,
    left: u64,
}

impl Budget {
    /// Arrays, for any file.
    #[must_use]
    pub fn arrays() -> Self {
        Self { unit: "arrays", limit: MAX_ARRAYS, left: MAX_ARRAYS }
    }

    /// Values, for a file of `length` bytes: one per byte.
    #[must_use]
    pub fn values(length: u64) -> Self {
        let limit = length.max(FLOOR);
        Self { unit: "values", limit, left: limit }
    }

    /// Bytes of storages, for a file of `length` bytes: four per byte.
    #[must_use]
    pub fn bytes(length: u64) -> Self {
        let limit = length.saturating_mul(4).max(FLOOR);
        Self { unit: "bytes", limit, left: limit }
    }

    /// Takes `count` off the rest.
    ///
    /// # Errors
    /// [`Error::Budget`] if less is left.
    pub fn take(&mut self, count: u64) -> Result<(), Error> {
        self.left = self.left.checked_sub(count).ok_or(Error::Budget { unit: self.unit, limit: self.limit })?;
        Ok(())
    }
}

/// Element type of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Boolean in one byte.
    Bool,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 16-bit integer.
    U16,
    /// Signed 16-bit integer.
    I16,
    /// Unsigned 32-bit integer.
    U32,
    /// Signed 32-bit integer.
    I32,
    /// Unsigned 64-bit integer.
    U64,
    /// Signed 64-bit integer.
    I64,
    /// Half precision, IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// Single precision, IEEE 754 binary32.
    F32,
    /// Double precision, IEEE 754 binary64.
    F64,
}

impl Element {
    /// Number of bytes.
    #[must_use]
    pub fn size(self) -> u64 {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

/// Positions of an array's values in its storage, counted in elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    shape: Vec<usize>,
    /// Strides of the axes; 0 for an axis of one element.
    strides: Vec<usize>,
    offset: usize,
    count: usize,
    /// The last element; `None` for an array without values.
    last: Option<usize>,
}

impl View {
    /// The array of `shape` whose element at index `i` is element `offset + Σ i[a] * strides[a]` of the
    /// storage.
    ///
    /// # Errors
    /// [`Error::Layout`] if `shape` and `strides` differ in length, or a product or sum overflows.
    pub fn new(shape: Vec<usize>, mut strides: Vec<usize>, offset: usize) -> Result<Self, Error> {
        match extent(&shape, &mut strides, offset) {
            Some((count, last)) => Ok(Self { shape, strides, offset, count, last }),
            None => Err(Error::Layout { shape, strides, offset }),
        }
    }

    /// The array of `shape` that fills its storage row by row: the last axis is the innermost.
    ///
    /// # Errors
    /// [`Error::Layout`] if the number of elements overflows.
    pub fn rows(shape: Vec<usize>) -> Result<Self, Error> {
        let strides = packed(shape.iter().rev()).map(|strides| strides.into_iter().rev().collect());
        Self::packed(shape, strides)
    }

    /// The array of `shape` that fills its storage column by column: the first axis is the innermost.
    ///
    /// # Errors
    /// [`Error::Layout`] if the number of elements overflows.
    pub fn columns(shape: Vec<usize>) -> Result<Self, Error> {
        let strides = packed(shape.iter());
        Self::packed(shape, strides)
    }

    fn packed(shape: Vec<usize>, strides: Option<Vec<usize>>) -> Result<Self, Error> {
        match strides {
            Some(strides) => Self::new(shape, strides, 0),
            None => Err(Error::Layout { shape, strides: Vec::new(), offset: 0 }),
        }
    }

    /// The same values with the two axes exchanged; an array with another number of axes is unchanged.
    #[must_use]
    pub fn transposed(mut self) -> Self {
        if self.shape.len() == 2 {
            self.shape.reverse();
            self.strides.reverse();
        }
        self
    }

    /// Number of values.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Checks that a storage of `stored` elements contains the whole array.
    ///
    /// # Errors
    /// [`Error::Outside`] if it does not.
    pub fn check(&self, stored: usize) -> Result<(), Error> {
        match self.last {
            Some(last) if last >= stored => Err(Error::Outside { last, stored }),
            _ => Ok(()),
        }
    }

    /// The array, with its values extracted from the storage `bytes`.
    ///
    /// # Errors
    /// [`Error::Outside`] if the array reaches beyond the storage, [`Error::Memory`] if memory is insufficient.
    pub fn read(&self, element: Element, bytes: &[u8]) -> Result<Array, Error> {
        self.check(bytes.len() / element.size() as usize)?;
        let mut values = Vec::new();
        values.try_reserve_exact(self.count).map_err(|_| Error::Memory { count: self.count })?;
        let out = &mut values;
        match element {
            Element::Bool => self.gather(bytes, out, |[byte]| f32::from(u8::from(byte != 0))),
            Element::U8 => self.gather(bytes, out, |[byte]| f32::from(byte)),
            Element::I8 => self.gather(bytes, out, |byte| f32::from(i8::from_le_bytes(byte))),
            Element::U16 => self.gather(bytes, out, |bytes| f32::from(u16::from_le_bytes(bytes))),
            Element::I16 => self.gather(bytes, out, |bytes| f32::from(i16::from_le_bytes(bytes))),
            Element::U32 => self.gather(bytes, out, |bytes| u32::from_le_bytes(bytes) as f32),
            Element::I32 => self.gather(bytes, out, |bytes| i32::from_le_bytes(bytes) as f32),
            Element::U64 => self.gather(bytes, out, |bytes| u64::from_le_bytes(bytes) as f32),
            Element::I64 => self.gather(bytes, out, |bytes| i64::from_le_bytes(bytes) as f32),
            Element::F16 => self.gather(bytes, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Element::Bf16 => self.gather(bytes, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            Element::F32 => self.gather(bytes, out, f32::from_le_bytes),
            Element::F64 => self.gather(bytes, out, |bytes| f64::from_le_bytes(bytes) as f32),
        }
        Ok(Array { shape: self.shape.clone(), data: values })
    }

    /// Appends the values in row-major order. The storage must contain the whole array.
    fn gather<const N: usize>(&self, bytes: &[u8], values: &mut Vec<f32>, decode: impl Fn([u8; N]) -> f32) {
        let (cells, _) = bytes.as_chunks::<N>();
        if self.count == 0 {
            return;
        }
        // Axes of one element are skipped: there can be any number of them, but at most one other axis per factor 2 of
        // the number of values.
        let mut axes: Vec<(usize, usize)> =
            self.shape.iter().copied().zip(self.strides.iter().copied()).filter(|(extent, _)| *extent > 1).collect();
        let (inner, stride) = axes.pop().unwrap_or((1, 0));
        let mut index = vec![0_usize; axes.len()];
        let mut base = self.offset;
        loop {
            values.extend((0..inner).map(|step| decode(cells[base + step * stride])));
            let mut axis = index.len();
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                index[axis] += 1;
                let (extent, stride) = axes[axis];
                base += stride;
                if index[axis] < extent {
                    break;
                }
                base -= stride * extent;
                index[axis] = 0;
            }
        }
    }
}

/// Number of values and last element of a view; sets the stride of every axis of one element to 0. `None` if something
/// overflows.
fn extent(shape: &[usize], strides: &mut [usize], offset: usize) -> Option<(usize, Option<usize>)> {
    if shape.len() != strides.len() {
        return None;
    }
    if shape.contains(&0) {
        return Some((0, None));
    }
    let (mut count, mut last) = (1_usize, offset);
    for (&extent, stride) in shape.iter().zip(strides) {
        if extent == 1 {
            *stride = 0;
        }
        count = count.checked_mul(extent)?;
        // One step beyond the last element is representable, so iterating over the axis cannot overflow.
        let end = extent.checked_mul(*stride)?;
        last = last.checked_add(end)?.checked_sub(*stride)?;
    }
    Some((count, Some(last)))
}

/// Strides of packed axes, innermost first; `None` if the number of elements overflows.
fn packed<'a>(innermost_first: impl Iterator<Item = &'a usize>) -> Option<Vec<usize>> {
    let mut next = 1_usize;
    innermost_first
        .map(|&extent| {
            let stride = next;
            next = next.checked_mul(extent.max(1))?;
            Some(stride)
        })
        .collect()
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
