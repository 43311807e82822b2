//! Pictures as they are shown, in RGB of 8 bits.

use super::plan::PicturePlan;
use super::{Error, Transform};
use crate::frame::{Layout, Picture, PixelAspect, Region};
use crate::kernels::Kernels;

/// Rows of pixels without gaps, R, G and B of 8 bits each.
#[derive(Debug, Clone, Copy)]
pub struct Rgb<'a> {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height` × `width` × 3 bytes.
    pub data: &'a [u8],
}

/// Converts whole pictures of any format to RGB with square pixels: no side has fewer of them than the picture has
/// samples.
///
/// Tables are made for the first picture and again whenever the layout changes.
#[derive(Debug, Default)]
pub struct Shown {
    plan: Option<(PicturePlan, [usize; 2])>,
    data: Vec<u8>,
    row: Vec<f32>,
}

impl Shown {
    /// Nothing is allocated before the first picture.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The picture as it is shown.
    ///
    /// # Errors
    /// If a side is below [`MIN_SIDE`](super::MIN_SIDE), or above [`MAX_RESIZE`](super::MAX_RESIZE) as shown.
    pub fn rgb(&mut self, picture: &Picture<'_>) -> Result<Rgb<'_>, Error> {
        let layout = *picture.layout();
        let [width, height] = size(&layout);
        let transform = Transform { height, width, mean: [0.0; 3], std: [1.0; 3], ..Transform::IMAGENET };
        let transform = transform.of_region(Region::WHOLE);
        transform.check()?;
        let picture = transform.part(picture)?;
        let kept = self.plan.take().filter(|(plan, _)| *plan.layout() == layout);
        let (plan, [width, height]) = self.plan.insert(match kept {
            Some(kept) => kept,
            None => (PicturePlan::new(&transform, layout, Kernels::best())?, [width, height]),
        });
        self.data.resize(*height * *width * 3, 0);
        plan.run_bytes(&picture, &mut self.row, &mut self.data);
        Ok(Rgb { width: *width, height: *height, data: &self.data })
    }
}

/// Width and height in square pixels.
fn size(layout: &Layout) -> [usize; 2] {
    let ([wide, high], [width, height]) = (layout.shown(), [layout.width as u64, layout.height as u64]);
    let PixelAspect { width: across, height: down } = layout.aspect.believed();
    let size = if across >= down {
        [height.saturating_mul(wide) / high.max(1), height]
    } else {
        [width, width.saturating_mul(high) / wide.max(1)]
    };
    size.map(|side| usize::try_from(side).unwrap_or(usize::MAX).max(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::frame::{Color, PixelFormat};

    fn layout(format: PixelFormat, width: usize, height: usize) -> Layout {
        Layout { format, width, height, color: Color::RGB, aspect: PixelAspect::SQUARE }
    }

    #[test]
    fn rgb_comes_out_as_it_is_and_bgr_in_the_other_order() {
        let bytes: Vec<u8> = (0..12 * 9 * 3).map(|index| (index * 37 % 251) as u8).collect();
        let mut shown = Shown::new();
        let rgb = shown.rgb(&Picture::packed(layout(PixelFormat::Rgb, 12, 9), &bytes).unwrap()).unwrap();
        assert_eq!((rgb.width, rgb.height, rgb.data), (12, 9, &*bytes));
        let bgr = shown.rgb(&Picture::packed(layout(PixelFormat::Bgr, 12, 9), &bytes).unwrap()).unwrap();
        let turned: Vec<u8> = bytes.as_chunks().0.iter().flat_map(|[b, g, r]| [*r, *g, *b]).collect();
        assert_eq!(bgr.data, turned);
    }

    #[test]
    fn pixels_that_are_not_square_become_square_and_none_is_lost() {
        let bytes = vec![200; 720 * 576 * 3];
        let mut shown = Shown::new();
        let sizes = [([16, 11], (1047, 576)), ([1, 2], (720, 1152)), ([1, 1], (720, 576)), ([900, 1], (720, 576))];
        for (aspect, size) in sizes {
            let aspect = PixelAspect { width: aspect[0], height: aspect[1] };
            let layout = Layout { aspect, ..layout(PixelFormat::Rgb, 720, 576) };
            let rgb = shown.rgb(&Picture::packed(layout, &bytes).unwrap()).unwrap();
            assert_eq!((rgb.width, rgb.height, rgb.data.len()), (size.0, size.1, size.0 * size.1 * 3));
            assert!(rgb.data.iter().all(|sample| *sample == 200));
        }
    }

    #[test]
    fn a_picture_that_is_too_small_is_an_error() {
        let bytes = vec![0; 64 * 64];
        let small = Picture::packed(layout(PixelFormat::Gray8, 7, 64), &bytes).unwrap();
        assert!(matches!(Shown::new().rgb(&small), Err(Error::SmallRegion { .. })));
    }
}
