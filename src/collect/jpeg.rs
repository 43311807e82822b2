//! Pictures as JPEG files, as they are shown.

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder as _, ImageError};

use crate::frame::Picture;
use crate::preprocess::{self, Rgb, Shown};

/// Quality of the files: what is lost is less than what a camera's own compression loses.
const QUALITY: u8 = 95;

/// Why a picture cannot become a JPEG file.
#[derive(Debug, thiserror::Error)]
pub enum JpegError {
    /// It is too small, or too large.
    #[error(transparent)]
    Preprocess(#[from] preprocess::Error),
    /// The encoder fails.
    #[error("the picture cannot be written as JPEG")]
    Encode(#[from] ImageError),
}

/// Makes JPEG files of pictures of any format.
#[derive(Debug, Default)]
pub struct Jpeg(Shown);

impl Jpeg {
    /// Nothing is allocated before the first picture.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The file of a picture.
    ///
    /// # Errors
    /// If the picture is too small or too large.
    pub fn file(&mut self, picture: &Picture<'_>) -> Result<Vec<u8>, JpegError> {
        let Rgb { width, height, data } = self.0.rgb(picture)?;
        let mut file = Vec::new();
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        JpegEncoder::new_with_quality(&mut file, QUALITY).write_image(
            data,
            side(width),
            side(height),
            ExtendedColorType::Rgb8,
        )?;
        Ok(file)
    }
}
