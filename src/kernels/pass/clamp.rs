//! The limits of results.

/// Least and largest value of a result: what a clamping activation leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clamp {
    /// The least.
    pub low: f32,
    /// The largest.
    pub high: f32,
}

impl Clamp {
    /// Every value stays as it is.
    pub const NONE: Self = Self { low: f32::NEG_INFINITY, high: f32::INFINITY };
    /// `max(x, 0)`.
    pub const RELU: Self = Self { low: 0.0, high: f32::INFINITY };
    /// `min(max(x, 0), 6)`.
    pub const RELU6: Self = Self { low: 0.0, high: 6.0 };
}
