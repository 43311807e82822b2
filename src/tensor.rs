//! An aligned buffer of `f32` in the program's only layout: NHWC with batch 1.

/// Alignment of the first element in bytes: a cache line, and the widest vector register.
pub const ALIGNMENT: usize = 64;

/// `f32` values of shape `[1, height, width, channels]`, row-major, with the channels of a pixel contiguous, aligned to
/// [`ALIGNMENT`].
#[derive(Debug)]
pub struct Tensor {
    height: usize,
    width: usize,
    channels: usize,
    start: usize,
    storage: Vec<f32>,
}

impl Tensor {
    /// A tensor of zeros.
    #[must_use]
    pub fn zeros(height: usize, width: usize, channels: usize) -> Self {
        let slack = ALIGNMENT / size_of::<f32>();
        let storage = vec![0.0_f32; height * width * channels + slack];
        let start = storage.as_ptr().align_offset(ALIGNMENT).min(slack);
        Self { height, width, channels, start, storage }
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Values per pixel.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Height, width and channels.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// All values.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        &self.storage[self.start..self.start + self.height * self.width * self.channels]
    }

    /// All values, writable.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.storage[self.start..self.start + self.height * self.width * self.channels]
    }
}

/// A mutable view of tensor values stored elsewhere: `[height, width, channels]`, row-major.
#[derive(Debug)]
pub struct TensorMut<'a> {
    shape: [usize; 3],
    data: &'a mut [f32],
}

impl<'a> TensorMut<'a> {
    /// Wraps `data`, whose length matches `shape` (height, width, channels).
    #[must_use]
    pub fn new(shape: [usize; 3], data: &'a mut [f32]) -> Self {
        debug_assert_eq!(data.len(), shape.iter().product::<usize>(), "{shape:?}");
        Self { shape, data }
    }

    /// Height, width and channels.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// All values, writable.
    pub fn data_mut(&mut self) -> &mut [f32] {
        self.data
    }
}

impl<'a> From<&'a mut Tensor> for TensorMut<'a> {
    fn from(tensor: &'a mut Tensor) -> Self {
        Self::new(tensor.shape(), tensor.data_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_aligned_and_has_the_shape_asked_for() {
        for (height, width, channels) in [(1, 1, 1), (224, 224, 3), (7, 5, 3)] {
            let tensor = Tensor::zeros(height, width, channels);
            assert_eq!(tensor.data().len(), height * width * channels);
            assert_eq!(tensor.data().as_ptr() as usize % ALIGNMENT, 0);
        }
    }
}
