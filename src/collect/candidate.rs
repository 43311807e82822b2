//! A frame on its way to the folder: a copy, since the frame itself goes back to the decoder.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use crate::frame::{Error, Layout, Picture, Plane};

/// A frame that may be kept.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Name of the stream.
    pub(super) stream: Arc<str>,
    pub(super) captured: SystemTime,
    /// The best answer.
    pub(super) label: Arc<str>,
    pub(super) score: f32,
    /// Takes the day that has all the pictures it may have.
    pub(super) full_day: Arc<AtomicU64>,
    pub(super) samples: Samples,
}

/// The samples of a picture, without gaps between the rows.
pub(super) struct Samples {
    layout: Layout,
    planes: [Vec<u8>; 3],
}

impl Samples {
    /// A copy.
    pub(super) fn of(picture: &Picture<'_>) -> Self {
        let layout = *picture.layout();
        let Layout { format, width, height, .. } = layout;
        let planes = [0, 1, 2].map(|plane| {
            let rows = if plane < format.planes() { format.plane_rows(plane, height) } else { 0 };
            let mut bytes = Vec::with_capacity(rows * format.row_bytes(plane, width));
            (0..rows).for_each(|row| bytes.extend_from_slice(picture.row(plane, row)));
            bytes
        });
        Self { layout, planes }
    }

    /// The picture.
    ///
    /// # Errors
    /// None that the picture copied did not have.
    pub(super) fn picture(&self) -> Result<Picture<'_>, Error> {
        let Layout { format, width, .. } = self.layout;
        let plane = |plane: usize| Plane { data: &self.planes[plane], stride: format.row_bytes(plane, width) };
        Picture::new(self.layout, [0, 1, 2].map(plane))
    }
}

impl fmt::Debug for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Samples").field("layout", &self.layout).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::frame::{Color, PixelAspect, PixelFormat};

    #[test]
    fn a_copy_has_the_rows_of_the_picture_in_every_format() {
        let bytes: Vec<u8> = (0..40 * 40).map(|index| (index * 31 % 253) as u8).collect();
        for format in [PixelFormat::Gray8, PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuy2, PixelFormat::Rgb] {
            let layout = Layout { format, width: 9, height: 11, color: Color::RGB, aspect: PixelAspect::SQUARE };
            // Rows with gaps, and planes that begin at different bytes.
            let planes = [0, 100, 300].map(|start| Plane { data: &bytes[start..], stride: 40 });
            let picture = Picture::new(layout, planes).unwrap();
            let copy = Samples::of(&picture);
            let copied = copy.picture().unwrap();
            for plane in 0..format.planes() {
                for row in 0..format.plane_rows(plane, 11) {
                    assert_eq!(copied.row(plane, row), picture.row(plane, row), "{format:?}");
                }
            }
        }
    }
}
