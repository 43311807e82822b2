//! The limits of results.

/// Minimum and maximum of a result: the range of a clamping activation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clamp {
    /// The minimum.
    pub low: f32,
    /// The maximum.
    pub high: f32,
}

impl Clamp {
    /// No clamping.
    pub const NONE: Self = Self { low: f32::NEG_INFINITY, high: f32::INFINITY };
    /// `max(x, 0)`.
    pub const RELU: Self = Self { low: 0.0, high: f32::INFINITY };
    /// `min(max(x, 0), 6)`.
    pub const RELU6: Self = Self { low: 0.0, high: 6.0 };
}
