//! The form in which weights are stored.

/// The form in which the weights of a convolution are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// In the points of the transform, ready for use.
    Points,
    /// As the taps of the kernel, to be transformed at each use: a quarter of the size of 36 points.
    Taps,
}
