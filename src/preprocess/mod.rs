//! Converts a picture to a network's input tensor: resize, centre crop, colour, normalisation.
//!
//! The geometry and the filter are those of the ImageNet evaluation of torchvision and Pillow (see [`Transform`]), so
//! that a network gets what it was trained on. Samples are read where the decoder left them: every plane is reduced
//! separately, only where the crop needs it, and colours are computed only for the few remaining pixels. Resampling and
//! colour conversion are both linear, so their order does not matter, except that colours outside 0 to 1 are clamped
//! after the reduction and not before it.
//!
//! There are two implementations:
//! - [`Preprocessor`] is for cameras and for speed: it takes every format, with the kernels of the processor's instruction
//!   set, and rounds in between to 1 / 128 of an 8-bit code. Pillow rounds to 8 bits after each of its two passes; the two
//!   agree to ±1 of 255 in every pixel.
//! - [`Reference`] is for evaluation: it takes RGB as Pillow would hold it and uses Pillow's arithmetic, including its
//!   rounding. The tensor is bit-identical to torchvision's.
//!
//! Limits:
//! - A shorter side below [`MIN_SIDE`] is an error. There is no upper limit: memory depends on the part of a row that
//!   the crop covers, and on the size of the crop.
//! - Alpha is ignored. Transfer curves and primaries are not converted.
//!
//! ```
//! use hardnetd::frame::{Color, Layout, Picture, PixelAspect, PixelFormat};
//! use hardnetd::preprocess::{Preprocessor, Transform};
//! use hardnetd::tensor::Tensor;
//!
//! let layout = Layout { format: PixelFormat::Rgb, width: 320, height: 240, color: Color::RGB, aspect: PixelAspect::SQUARE };
//! let white = vec![255; 320 * 240 * 3];
//! let picture = Picture::packed(layout, &white)?;
//!
//! let mut preprocessor = Preprocessor::new(Transform::IMAGENET)?;
//! let mut input = Tensor::zeros(224, 224, 3);
//! preprocessor.run(&picture, &mut input)?;
//! assert!((input.data()[0] - (1.0 - 0.485) / 0.229).abs() < 1e-5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod change;
mod color;
mod plan;
mod reference;
mod resample;
mod shown;
#[cfg(test)]
mod tests;

pub use change::ChangeDetector;
pub use reference::Reference;
pub use shown::{Rgb, Shown};

use std::ops::Range;

use crate::frame::{Layout, Picture, PixelFormat, Region};
use crate::kernels::Kernels;
use crate::tensor::TensorMut;
use plan::PicturePlan;

/// Minimum length of a picture's shorter side, in pixels: the ImageNet transform magnifies it 32 times, and smaller
/// pictures are useless to a network.
pub const MIN_SIDE: usize = 8;

/// Maximum [`Transform::resize`], in pixels.
pub const MAX_RESIZE: usize = 65_535;

/// Prepares a picture for a network like torchvision's `Resize(resize)` (bilinear, antialiased),
/// `CenterCrop((height, width))`, `ToTensor` and `Normalize(mean, std)`.
///
/// A region is cut out first, and resized so that it has the crop's proportions and its longer side is `resize`: if that
/// is the longer side of the crop, all of the region is seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transform {
    /// Length that the shorter side is resized to, in pixels; the other side keeps the aspect ratio.
    pub resize: usize,
    /// Rows of the centre crop, 1 to `resize`.
    pub height: usize,
    /// Columns of the centre crop, 1 to `resize`.
    pub width: usize,
    /// Mean of R, G and B (in 0 to 1) to subtract.
    pub mean: [f32; 3],
    /// Standard deviation of R, G and B to divide by; above 0.
    pub std: [f32; 3],
    /// The part of the picture that is used, stretched to the crop's proportions; `None`: the whole picture, with its own
    /// proportions.
    pub region: Option<Region>,
}

impl Transform {
    /// The evaluation transform of ImageNet classifiers: 256, then 224 × 224.
    pub const IMAGENET: Self = Self {
        resize: 256,
        height: 224,
        width: 224,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        region: None,
    };

    /// The same transform for all of `region`.
    #[must_use]
    pub fn of_region(self, region: Region) -> Self {
        Self { resize: self.height.max(self.width), region: Some(region), ..self }
    }

    /// The same transform for all of a picture, of which the longer side of the crop takes the share that it has in
    /// [`IMAGENET`](Self::IMAGENET).
    #[must_use]
    pub fn of_whole(self) -> Self {
        let (long, usual) = (self.height.max(self.width), Self::IMAGENET);
        Self { resize: (long * usual.resize + usual.height / 2) / usual.height, region: None, ..self }
    }

    fn check(&self) -> Result<(), Error> {
        let Self { resize, height, width, mean, std, region: _ } = *self;
        if resize > MAX_RESIZE {
            return Err(Error::Resize { resize });
        }
        if ![height, width].iter().all(|side| (1..=resize).contains(side)) {
            return Err(Error::Crop { resize, height, width });
        }
        if !mean.iter().all(|mean| mean.is_finite()) || !std.iter().all(|std| std.is_normal() && *std > 0.0) {
            return Err(Error::Normalisation { mean, std });
        }
        Ok(())
    }

    /// Height, width and channels of the tensors.
    fn shape(&self) -> [usize; 3] {
        [self.height, self.width, 3]
    }

    /// The part of a picture that is used, if it is large enough.
    fn part<'a>(&self, picture: &Picture<'a>) -> Result<Picture<'a>, Error> {
        let part = self.region.map_or(*picture, |region| picture.cut(&region));
        let Layout { width, height, .. } = *part.layout();
        match self.region {
            _ if width.min(height) >= MIN_SIDE => Ok(part),
            Some(region) => Err(Error::SmallRegion { region: region.to_string(), width, height }),
            None => Err(Error::TooSmall { width, height }),
        }
    }

    /// For a picture of `layout`: its width and height as shown, both in the same unit, and the length in that unit that
    /// becomes `resize` pixels.
    fn proportions(&self, layout: &Layout) -> ([u64; 2], u64) {
        match self.region {
            Some(_) => ([self.width as u64, self.height as u64], self.width.max(self.height) as u64),
            None => {
                let [wide, high] = layout.shown();
                ([wide, high], wide.min(high))
            }
        }
    }

    /// Checks that `out` has the shape of the crop.
    fn check_tensor(&self, out: &TensorMut<'_>) -> Result<(), Error> {
        let (found, expected) = (out.shape(), self.shape());
        if found == expected { Ok(()) } else { Err(Error::Shape { found, expected }) }
    }
}

/// An unusable transform, or a picture or tensor that does not fit it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The shorter side becomes too long.
    #[error("the transform resizes the shorter side to {resize} pixels: at most {MAX_RESIZE} are possible")]
    Resize {
        /// Length requested.
        resize: usize,
    },
    /// The crop does not lie inside the resized picture.
    #[error(
        "the transform crops {height}×{width} pixels (height × width) out of a picture whose shorter side is resized \
         to {resize}: each side of the crop must be from 1 to {resize}"
    )]
    Crop {
        /// Length of the resized shorter side.
        resize: usize,
        /// Rows of the crop.
        height: usize,
        /// Columns of the crop.
        width: usize,
    },
    /// Normalisation would produce NaN or infinite values.
    #[error(
        "the transform normalises with mean {mean:?} and deviation {std:?}: these must be finite, deviations above 0"
    )]
    Normalisation {
        /// Means of R, G and B.
        mean: [f32; 3],
        /// Deviations of R, G and B.
        std: [f32; 3],
    },
    /// The picture is too small.
    #[error("the picture is {width}×{height} pixels: it must have at least {MIN_SIDE} on each side")]
    TooSmall {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// The picture is too wide.
    #[error("the picture is {width}×{height} pixels: rows of more than 4 GiB cannot be read")]
    TooWide {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// The region is too small.
    #[error(
        "the region {region} has {width}×{height} pixels in this picture: it must have at least {MIN_SIDE} on each side"
    )]
    SmallRegion {
        /// The region.
        region: String,
        /// Its columns.
        width: usize,
        /// Its rows.
        height: usize,
    },
    /// [`Reference`] got a format other than RGB.
    #[error("the picture's format is {format:?}: the reference preprocessing takes Rgb")]
    Format {
        /// Format of the picture.
        format: PixelFormat,
    },
    /// The tensor to fill does not have the shape of the crop.
    #[error("the tensor has the shape {found:?} (height, width, channels): the transform makes {expected:?}")]
    Shape {
        /// Height, width and channels of the tensor.
        found: [usize; 3],
        /// Height, width and channels of the crop.
        expected: [usize; 3],
    },
}

/// Bytes of a plane on which an output depends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Index of the plane.
    pub plane: usize,
    /// Rows of it.
    pub rows: Range<usize>,
    /// Bytes of each row.
    pub bytes: Range<usize>,
}

/// Applies one [`Transform`] to pictures of any format and size.
///
/// Tables and buffers are made for the first picture and again whenever the layout changes; otherwise nothing is
/// allocated. Streams with different layouts should have one each.
#[derive(Debug)]
pub struct Preprocessor {
    kernels: Kernels,
    transform: Transform,
    plan: Option<PicturePlan>,
}

impl Preprocessor {
    /// A preprocessor without tables, with the processor's best instruction set.
    ///
    /// # Errors
    /// If the crop has no pixels or exceeds the resized picture, [`MAX_RESIZE`] is exceeded, or a mean or deviation is
    /// unusable.
    pub fn new(transform: Transform) -> Result<Self, Error> {
        Self::with(Kernels::best(), transform)
    }

    /// The same with other kernels.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with(kernels: Kernels, transform: Transform) -> Result<Self, Error> {
        transform.check()?;
        Ok(Self { kernels, transform, plan: None })
    }

    /// The transform.
    #[must_use]
    pub fn transform(&self) -> &Transform {
        &self.transform
    }

    /// Looks at another part of the pictures from now on; see [`Transform::of_region`].
    pub fn look_at(&mut self, region: Region) {
        if self.transform.region.is_none() {
            self.plan = None;
        }
        self.transform = self.transform.of_region(region);
    }

    /// Shape of the output tensors: height, width, channels.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.transform.shape()
    }

    /// The bytes of pictures of `layout` that are read.
    ///
    /// # Errors
    /// If they cannot be prepared for.
    pub fn reads(&self, layout: &Layout) -> Result<Vec<Read>, Error> {
        Ok(PicturePlan::new(&self.transform, *layout, self.kernels)?.reads())
    }

    /// Writes the normalised crop of `picture` into `out`: NHWC, channels R, G, B, each `(colour - mean) / std` with
    /// the colour in 0 to 1. Greyscale gives three equal colours.
    ///
    /// # Errors
    /// If the shorter side of the picture or of the region is below [`MIN_SIDE`], or `out` does not have the [`shape`](Self::shape) of the
    /// crop; `out` is then unchanged.
    pub fn run<'a>(&mut self, picture: &Picture<'_>, out: impl Into<TensorMut<'a>>) -> Result<(), Error> {
        let (picture, mut out) = (self.transform.part(picture)?, out.into());
        let layout = *picture.layout();
        self.transform.check_tensor(&out)?;
        let plan = match self.plan.take().filter(|plan| *plan.layout() == layout) {
            Some(plan) => plan,
            None => PicturePlan::new(&self.transform, layout, self.kernels)?,
        };
        self.plan.insert(plan).run(&picture, out.data_mut());
        Ok(())
    }
}
