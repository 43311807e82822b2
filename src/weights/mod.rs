//! Weights of a network as named arrays: the state dict.
//!
//! Keys, shapes and order are those of a PyTorch state dict; every value is `f32`, whatever type the source stores. The
//! submodules read the individual formats.

pub mod digest;
pub mod download;
pub mod file;
pub mod input;
pub mod known;
pub mod names;
pub mod onnx;
pub mod paddle;
pub mod pickle;
pub mod safetensors;
pub mod seeded;
pub mod torch;
pub mod view;

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use crate::exit::Exit;
pub use file::{Format, Loaded, read, read_bytes, read_from, read_place};

/// Why weights are unusable.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The number of values is not the product of the shape.
    #[error("an array of shape {shape:?} cannot hold {found} values")]
    Length {
        /// The shape given.
        shape: Vec<usize>,
        /// The number of values given.
        found: usize,
    },
    /// An array of this shape does not fit into memory.
    #[error("an array of shape {shape:?} does not fit into memory")]
    TooLarge {
        /// The shape requested.
        shape: Vec<usize>,
    },
    /// A key occurs twice.
    #[error("the weights hold `{key}` twice")]
    Duplicate {
        /// The key.
        key: String,
    },
    /// A key is missing.
    #[error("`{key}` is missing")]
    Missing {
        /// The key.
        key: String,
    },
    /// An entry has the wrong shape.
    #[error("`{key}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The key.
        key: String,
        /// The shape that the network needs.
        expected: Vec<usize>,
        /// The shape of the entry.
        found: Vec<usize>,
    },
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        Exit::Data
    }
}

/// The role of an entry in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryRole {
    /// Weight of a convolution, `[out, in / groups, height, width]`.
    Convolution,
    /// Scale of a batch norm, `[channels]`.
    NormWeight,
    /// Offset of a batch norm, `[channels]`.
    NormBias,
    /// Running mean of a batch norm, `[channels]`; not a parameter.
    RunningMean,
    /// Running variance of a batch norm, `[channels]`; not a parameter.
    RunningVariance,
    /// Number of batches seen in training, a scalar; not a parameter, and not read by inference.
    BatchCount,
    /// Weight of a linear layer, `[out, in]`.
    LinearWeight,
    /// Bias of a linear layer, `[out]`.
    LinearBias,
}

impl EntryRole {
    /// Whether the entry is learned in training, so that its values count as parameters.
    #[must_use]
    pub fn is_parameter(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVariance | Self::BatchCount)
    }
}

/// An array of `f32`, row-major. A scalar has the shape `[]` and one value.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Array {
    /// An array of the values in `data`.
    ///
    /// # Errors
    /// [`Error::Length`] if the number of values does not match `shape`.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Result<Self, Error> {
        if elements(&shape) == Some(data.len()) {
            Ok(Self { shape, data })
        } else {
            Err(Error::Length { found: data.len(), shape })
        }
    }

    /// An array whose row-major element `i` is `value(i)`.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if memory for the shape cannot be reserved.
    pub fn from_fn(shape: &[usize], value: impl FnMut(usize) -> f32) -> Result<Self, Error> {
        let too_large = || Error::TooLarge { shape: shape.to_vec() };
        let count = elements(shape).ok_or_else(too_large)?;
        let mut data = Vec::new();
        data.try_reserve_exact(count).map_err(|_| too_large())?;
        data.extend((0..count).map(value));
        Ok(Self { shape: shape.to_vec(), data })
    }

    /// Extent of every axis, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// All values, row-major.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// All values, row-major, moved out of the array.
    #[must_use]
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }
}

/// Product of the shape; `None` if it overflows.
fn elements(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1_usize, |count, &extent| count.checked_mul(extent))
}

/// Arrays by key, in insertion order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StateDict {
    entries: Vec<(String, Array)>,
    positions: HashMap<String, usize>,
}

impl StateDict {
    /// A state dict without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// [`Error::Duplicate`] if the key exists; the state dict is then unchanged.
    pub fn insert(&mut self, key: impl Into<String>, array: Array) -> Result<(), Error> {
        let key = key.into();
        if self.positions.contains_key(&key) {
            return Err(Error::Duplicate { key });
        }
        self.positions.insert(key.clone(), self.entries.len());
        self.entries.push((key, array));
        Ok(())
    }

    /// Replaces the entry under `key`, or appends `array` if there is none.
    pub fn replace(&mut self, key: impl Into<String>, array: Array) {
        let key = key.into();
        match self.positions.get(&key) {
            Some(&position) => self.entries[position].1 = array,
            None => {
                self.positions.insert(key.clone(), self.entries.len());
                self.entries.push((key, array));
            }
        }
    }

    /// Removes the entry under `key` and returns its array.
    pub fn take(&mut self, key: &str) -> Option<Array> {
        let position = self.positions.remove(key)?;
        self.positions.values_mut().filter(|other| **other > position).for_each(|other| *other -= 1);
        Some(self.entries.remove(position).1)
    }

    /// The array under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Array> {
        self.positions.get(key).map(|&position| &self.entries[position].1)
    }

    /// The values under `key`, which must have exactly the shape `expected`.
    ///
    /// # Errors
    /// [`Error::Missing`] if the key is missing, [`Error::Shape`] if the shape differs.
    pub fn values(&self, key: &str, expected: &[usize]) -> Result<&[f32], Error> {
        let array = self.get(key).ok_or_else(|| Error::Missing { key: key.to_owned() })?;
        if array.shape() == expected {
            Ok(array.data())
        } else {
            Err(Error::Shape { key: key.to_owned(), expected: expected.to_vec(), found: array.shape().to_vec() })
        }
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.entries.iter().map(|(key, array)| (key.as_str(), array))
    }

    /// `sha256:` and 64 lower-case hexadecimal digits that identify the content, with entries in order.
    #[must_use]
    pub fn digest(&self) -> String {
        self.digest_of(self.iter().map(|(key, _)| key))
    }

    /// `sha256:` and 64 lower-case hexadecimal digits that identify the entries called `keys`, in that order; missing
    /// ones are skipped.
    ///
    /// For every entry, the hash covers: the length of the key in bytes, the key in UTF-8, the number of axes, every
    /// extent, and the bits of every value. Lengths and extents are little-endian 64-bit integers, values little-endian
    /// 32-bit floats.
    #[must_use]
    pub fn digest_of<'a>(&self, keys: impl Iterator<Item = &'a str>) -> String {
        const CHUNK: usize = 4096;
        let mut hash = Sha256::new();
        let mut bytes = Vec::with_capacity(CHUNK * size_of::<f32>());
        for (key, array) in keys.filter_map(|key| Some((key, self.get(key)?))) {
            hash.update((key.len() as u64).to_le_bytes());
            hash.update(key.as_bytes());
            hash.update((array.shape.len() as u64).to_le_bytes());
            for &extent in &array.shape {
                hash.update((extent as u64).to_le_bytes());
            }
            for chunk in array.data.chunks(CHUNK) {
                bytes.clear();
                bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
                hash.update(&bytes);
            }
        }
        format!("sha256:{}", digest::hex(&hash.finalize()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn sample(first: f32) -> StateDict {
        let mut state = StateDict::new();
        state.insert("a.weight", Array::new(vec![1, 2], vec![first, -0.5]).unwrap()).unwrap();
        state.insert("a.count", Array::new(vec![], vec![0.0]).unwrap()).unwrap();
        state
    }

    #[test]
    fn the_digest_depends_on_every_bit_and_on_nothing_else() {
        let digest = sample(1.0).digest();
        // Computed with an independent program from the layout in the documentation.
        assert_eq!(digest, "sha256:bc6eaa4525f68530412ffe13b2841e3f82cd871710aa24f3570867413922e151");
        assert_eq!(digest, sample(1.0).digest());
        assert_ne!(digest, sample(f32::from_bits(1.0_f32.to_bits() ^ 1)).digest());
        assert_ne!(sample(0.0).digest(), sample(-0.0).digest());

        let renamed = |key: &str, shape: Vec<usize>| {
            let mut state = StateDict::new();
            state.insert(key, Array::new(shape, vec![1.0, 2.0]).unwrap()).unwrap();
            state.digest()
        };
        assert_ne!(renamed("a", vec![2]), renamed("b", vec![2]));
        assert_ne!(renamed("a", vec![2]), renamed("a", vec![1, 2]));
    }

    #[test]
    fn entries_keep_their_order_and_are_found_by_key() {
        let state = sample(1.0);
        assert_eq!(state.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a.weight", "a.count"]);
        assert_eq!((state.len(), state.is_empty()), (2, false));
        assert_eq!(state.get("a.count").unwrap().shape(), [0_usize; 0]);
        assert_eq!(state.get("b"), None);
    }

    #[test]
    fn access_names_what_is_wrong() {
        let state = sample(1.0);
        assert_eq!(state.values("a.weight", &[1, 2]), Ok(&[1.0, -0.5][..]));
        assert_eq!(state.values("b", &[1]).unwrap_err().to_string(), "`b` is missing");
        assert_eq!(
            state.values("a.weight", &[2, 1]).unwrap_err().to_string(),
            "`a.weight` has shape [1, 2], expected [2, 1]"
        );
    }

    #[test]
    fn wrong_lengths_huge_shapes_and_second_keys_are_errors() {
        assert!(matches!(Array::new(vec![2, 2], vec![0.0; 3]), Err(Error::Length { found: 3, .. })));
        assert!(matches!(Array::new(vec![usize::MAX, 2], vec![]), Err(Error::Length { .. })));
        assert_eq!(Array::new(vec![usize::MAX, 2, 0], vec![]).unwrap().data(), [0.0_f32; 0]);
        assert!(matches!(Array::from_fn(&[usize::MAX, 2], |_| 0.0), Err(Error::TooLarge { .. })));
        assert!(matches!(Array::from_fn(&[usize::MAX / 2], |_| 0.0), Err(Error::TooLarge { .. })));

        let mut state = sample(1.0);
        let again = state.insert("a.count", Array::new(vec![], vec![1.0]).unwrap());
        assert_eq!(again, Err(Error::Duplicate { key: "a.count".to_owned() }));
        assert_eq!(state, sample(1.0));
    }

    #[test]
    fn an_entry_that_is_taken_is_gone_and_the_others_are_found() {
        let mut state = sample(1.0);
        state.insert("b", Array::new(vec![1], vec![7.0]).unwrap()).unwrap();
        assert_eq!(state.take("a.weight").map(Array::into_data), Some(vec![1.0, -0.5]));
        assert_eq!((state.take("a.weight"), state.len()), (None, 2));
        assert_eq!(state.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a.count", "b"]);
        assert_eq!((state.values("a.count", &[]), state.values("b", &[1])), (Ok(&[0.0][..]), Ok(&[7.0][..])));
    }

    #[test]
    fn an_entry_is_replaced_in_its_place_and_a_new_one_comes_last() {
        let mut state = sample(1.0);
        for key in ["a.weight", "b"] {
            state.replace(key, Array::new(vec![1], vec![5.0]).unwrap());
        }
        assert_eq!(state.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a.weight", "a.count", "b"]);
        assert_eq!((state.values("a.weight", &[1]), state.values("b", &[1])), (Ok(&[5.0][..]), Ok(&[5.0][..])));
    }
}
