//! The form in which weights wait for their use.

/// The form in which the weights of a convolution are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// In the points of the transform, ready for use.
    Points,
    /// As the taps of the kernel, to be transformed whenever they are used: a quarter of the weights in 36 points.
    Taps,
}
