//! The samples of a frame, for every kind of source.

use super::gst::Mapped;
use super::still::Still;
use crate::frame::{Pixels, Plane};

/// The samples of a frame. They are stored in the frame itself; a box would need an allocation per frame.
pub struct Samples(Inner);

#[allow(clippy::large_enum_variant, reason = "nearly all are of the larger kind")]
enum Inner {
    Mapped(Mapped),
    Still(Still),
    #[cfg(test)]
    Nothing,
}

impl Samples {
    /// No samples, for tests that do not read them.
    #[cfg(test)]
    pub(crate) fn nothing() -> Self {
        Self(Inner::Nothing)
    }
}

impl From<Mapped> for Samples {
    fn from(mapped: Mapped) -> Self {
        Self(Inner::Mapped(mapped))
    }
}

impl From<Still> for Samples {
    fn from(still: Still) -> Self {
        Self(Inner::Still(still))
    }
}

impl Pixels for Samples {
    fn plane(&self, index: usize) -> Plane<'_> {
        match &self.0 {
            Inner::Mapped(mapped) => mapped.plane(index),
            Inner::Still(still) => still.plane(index),
            #[cfg(test)]
            Inner::Nothing => Plane { data: &[], stride: 0 },
        }
    }
}
