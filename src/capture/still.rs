//! Pictures from JPEG and PNG files: one, or all of a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};

use crate::exit::Exit;
use crate::frame::{self, Color, Layout, Picture, PixelFormat, Pixels, Plane};

/// Most memory that decoding one picture may take, in bytes.
const MEMORY_LIMIT: u64 = 1 << 30;

/// A picture could not be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum StillError {
    /// The file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no JPEG or PNG picture, or a broken one.
    #[error("{} is not a readable JPEG or PNG picture", path.display())]
    NotAPicture {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        source: ImageError,
    },
    /// The folder has no pictures.
    #[error("{} holds no pictures: expected files that end in .jpg, .jpeg or .png", path.display())]
    NoPictures {
        /// The folder.
        path: PathBuf,
    },
}

impl StillError {
    /// The exit code that the error stands for.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { .. } | Self::NoPictures { .. } => Exit::NoInput,
            Self::NotAPicture { .. } => Exit::Data,
        }
    }
}

/// A decoded picture: full-range RGB, 8 bit, upright.
#[derive(Debug)]
pub struct Still {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl Still {
    /// Decodes a JPEG or PNG file (told by its content, not its name) and turns it upright as its
    /// EXIF orientation says. Transparency is dropped, greyscale becomes RGB.
    ///
    /// # Errors
    /// An unreadable file, or one that is not such a picture.
    pub fn open(path: &Path) -> Result<Self, StillError> {
        let unreadable = |source| StillError::Unreadable { path: path.to_owned(), source };
        let not_a_picture = |source| match source {
            ImageError::IoError(source) if source.kind() != io::ErrorKind::UnexpectedEof => unreadable(source),
            source => StillError::NotAPicture { path: path.to_owned(), source },
        };
        let kind = fs::metadata(path).map_err(unreadable)?;
        if kind.is_dir() {
            return Err(unreadable(io::ErrorKind::IsADirectory.into()));
        }
        if !kind.is_file() {
            return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
        }
        let mut reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(unreadable)?;
        let mut limits = Limits::default();
        limits.max_alloc = Some(MEMORY_LIMIT);
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(not_a_picture)?;
        let orientation = decoder.orientation().map_err(not_a_picture)?;
        let mut image = DynamicImage::from_decoder(decoder).map_err(not_a_picture)?;
        image.apply_orientation(orientation);
        let image = image.into_rgb8();
        let (width, height) = (image.width() as usize, image.height() as usize);
        Ok(Self { width, height, data: image.into_raw() })
    }

    /// Size and colour.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout { format: PixelFormat::Rgb, width: self.width, height: self.height, color: Color::RGB }
    }

    /// The picture.
    ///
    /// # Errors
    /// It has no pixels.
    pub fn picture(&self) -> Result<Picture<'_>, frame::Error> {
        Picture::packed(self.layout(), &self.data)
    }
}

impl Pixels for Still {
    fn plane(&self, index: usize) -> Plane<'_> {
        match index {
            0 => Plane { data: &self.data, stride: self.width * 3 },
            _ => Plane { data: &[], stride: 0 },
        }
    }
}

/// The pictures of a folder, by their endings, in the byte order of their names.
///
/// # Errors
/// An unreadable folder, or one without pictures.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>, StillError> {
    let unreadable = |source| StillError::Unreadable { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        if ending.is_some_and(|ending| ["jpg", "jpeg", "png"].iter().any(|known| ending == *known)) {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(StillError::NoPictures { path: folder.to_owned() });
    }
    Ok(paths)
}
