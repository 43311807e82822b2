//! The samples of a frame, for every kind of source.

use std::sync::Arc;

use super::gst::Mapped;
use super::still::Still;
use crate::frame::{Pixels, Plane};

/// The samples of a frame. They are stored in the frame itself; a box would need an allocation per frame.
pub struct Samples(Inner);

#[allow(clippy::large_enum_variant, reason = "nearly all are of the larger kind")]
enum Inner {
    Mapped(Mapped),
    Still(Still),
    Shared(Arc<Samples>),
    #[cfg(test)]
    Nothing,
}

impl Samples {
    /// The same samples for several streams.
    #[must_use]
    pub fn shared(samples: &Arc<Self>) -> Self {
        Self(Inner::Shared(Arc::clone(samples)))
    }

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
            Inner::Shared(samples) => samples.plane(index),
            #[cfg(test)]
            Inner::Nothing => Plane { data: &[], stride: 0 },
        }
    }
}
