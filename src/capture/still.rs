//! Images from picture files: a single one, or all of a folder.
//!
//! Colours become RGB as with Pillow's `convert("RGB")`: grey is repeated, palettes are looked up, alpha is dropped
//! without blending, and of 16 bits the upper 8 are kept. CMYK is assumed to be inverted, as Adobe writes it into JPEG
//! files, so red is `C K / 255`, and so on.
//!
//! PNG, BMP, GIF, TIFF and lossless WebP files decode exactly as in Pillow; of several pictures in a file, the first is
//! taken. For JPEG files, the inverse DCT, the chroma interpolation (linear in both)
//! and the colour conversion round differently from libjpeg-turbo: a sample differs by at most 5, and in photographs by
//! 0.01 (4:4:4), 0.1 (4:2:2) or 0.1 to 0.3 (4:2:0) on average. If chroma is subsampled, the last column and the last
//! row may differ more, because the decoder interpolates with data that the file holds beyond them: hardly in
//! photographs, by up to 62 in noise and in pictures of a few pixels.

use std::fs;
use std::io::{self, BufRead, BufReader, Cursor, Read as _, Seek};
use std::path::{Path, PathBuf};

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::jpeg::{self, MOST_WORK, Scan};
use super::room::{MEMORY, Room};
use super::{tiff, webp};
use crate::exit::Exit;
use crate::frame::{self, Color, Layout, Picture, PixelAspect, PixelFormat, Pixels, Plane};
use crate::regular;

/// A picture could not be read from a file.
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
    /// The file is not a picture of a known kind, or it is broken.
    #[error("{} is not a readable picture (JPEG, PNG, WebP, BMP, GIF, TIFF)", path.display())]
    NotAPicture {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        source: ImageError,
    },
    /// The picture is too large.
    #[error(
        "{} has {width} x {height} pixels, for which decoding takes {} MB; the limit is {} MB: reduce the picture",
        path.display(), needed.div_ceil(1_000_000), MEMORY.div_ceil(1_000_000)
    )]
    Large {
        /// The file.
        path: PathBuf,
        /// Its columns.
        width: u32,
        /// Its rows.
        height: u32,
        /// The memory that decoding takes, in bytes.
        needed: u64,
    },
    /// The file itself is too large.
    #[error("{} has {} MB; the limit is {} MB: reduce the picture", path.display(), length.div_ceil(1_000_000), MEMORY.div_ceil(1_000_000))]
    Long {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
    },
    /// Decoding takes too long.
    #[error("{} has so many scans that decoding takes too long: save the picture again", path.display())]
    ManyScans {
        /// The file.
        path: PathBuf,
    },
    /// The strips of a TIFF file are JPEG files.
    #[error("{} is a TIFF file with JPEG compression, which is not supported: save the picture as JPEG", path.display())]
    JpegInTiff {
        /// The file.
        path: PathBuf,
    },
    /// Other pictures take all memory.
    #[error("there is no memory for {}: other pictures have held it for a minute", path.display())]
    NoRoom {
        /// The file.
        path: PathBuf,
    },
    /// The file ends before its picture does.
    #[error("{} is cut off: it ends before its picture does", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// The folder has no pictures.
    #[error("{} holds no pictures: expected files that end in {}", path.display(), ENDINGS.map(|ending| format!(".{ending}")).join(", "))]
    NoPictures {
        /// The folder.
        path: PathBuf,
    },
}

impl StillError {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { .. } | Self::NoPictures { .. } => Exit::NoInput,
            Self::NotAPicture { .. }
            | Self::Large { .. }
            | Self::Long { .. }
            | Self::ManyScans { .. }
            | Self::JpegInTiff { .. }
            | Self::Truncated { .. } => Exit::Data,
            Self::NoRoom { .. } => Exit::Unavailable,
        }
    }
}

/// Maximum bytes that a PNG file may take for all but its picture: rows in progress, profiles, texts.
const PNG_EXTRAS: u64 = 32 << 20;

/// The content of a picture file.
trait Input: BufRead + Seek {}

impl<T: BufRead + Seek> Input for T {}

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// As a person would see it.
    Upright,
    /// As Pillow would load it.
    Stored,
}

/// A decoded picture: full-range RGB, 8 bits.
#[derive(Debug)]
pub struct Still {
    width: usize,
    height: usize,
    data: Vec<u8>,
    _room: Room,
}

impl Still {
    /// Decodes a picture file (recognised by content, not by name) and rotates it upright according to its EXIF
    /// orientation. Transparency is dropped; greyscale becomes RGB.
    ///
    /// # Errors
    /// If the file is unreadable, not such a picture, or truncated.
    pub fn open(path: &Path) -> Result<Self, StillError> {
        Self::read(path, Reading::Upright)
    }

    /// Decodes a picture file (recognised by content, not by name) into what Pillow's
    /// `Image.open(path).convert("RGB")` holds, which torchvision's `ImageFolder` uses for evaluation: rows and columns
    /// as stored, whatever the EXIF orientation. 16-bit greyscale without alpha is clamped to 255, not scaled, because
    /// Pillow (13.0) does so; [`Still::open`] takes the upper 8 bits.
    ///
    /// One difference from Pillow: 16-bit greyscale with a transparent colour counts as having alpha and is scaled.
    ///
    /// # Errors
    /// As for [`Still::open`]. Like Pillow, and unlike many viewers, this refuses a JPEG file that lacks its end
    /// marker. It also refuses PNG files about which Pillow is lenient: those with a wrong checksum, or with all rows
    /// but not all of the last two chunks.
    pub fn open_stored(path: &Path) -> Result<Self, StillError> {
        Self::read(path, Reading::Stored)
    }

    fn read(path: &Path, reading: Reading) -> Result<Self, StillError> {
        let unreadable = |source| StillError::Unreadable { path: path.to_owned(), source };
        let not_a_picture = |source| match source {
            ImageError::IoError(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                StillError::Truncated { path: path.to_owned() }
            }
            // Some decoders report errors of their own so.
            ImageError::IoError(source) if source.raw_os_error().is_some() => unreadable(source),
            source => StillError::NotAPicture { path: path.to_owned(), source },
        };
        let mut file = BufReader::new(regular::open(path).map_err(unreadable)?);
        let length = file.get_ref().metadata().map_err(unreadable)?.len();
        if length > MEMORY {
            return Err(StillError::Long { path: path.to_owned(), length });
        }
        let scan = jpeg::scan(&mut file).map_err(unreadable)?;
        let webp = webp::pixels(&mut file).and_then(|pixels| Ok((pixels, file.rewind()?))).map_err(unreadable)?.0;
        if tiff::is_jpeg(&mut file).map_err(unreadable)? {
            return Err(StillError::JpegInTiff { path: path.to_owned() });
        }
        // Bytes that the decoder reads into memory before it says what they are.
        let content = match (&scan, webp) {
            // The decoder fills the missing part of a JPEG file with grey.
            (Some(Scan { end: None, .. }), _) => return Err(StillError::Truncated { path: path.to_owned() }),
            (Some(Scan { end: Some(end), has_tables, .. }), _) => {
                if *has_tables {
                    *end
                } else {
                    end * 2
                }
            }
            (None, Some(_)) => length,
            (None, None) => 0,
        };
        let input: Box<dyn Input> = match &scan {
            Some(Scan { has_tables: false, coefficients: 0, end, .. }) => {
                let file = file.take(end.unwrap_or(length));
                Box::new(Cursor::new(jpeg::with_tables(file).map_err(unreadable)?))
            }
            Some(Scan { end, .. }) => Box::new(file.take(end.unwrap_or(length))),
            None => Box::new(file),
        };
        let mut reader = ImageReader::new(input).with_guessed_format().map_err(unreadable)?;
        let format = reader.format();
        let mut limits = Limits::default();
        limits.max_alloc = Some(if format == Some(ImageFormat::Png) { PNG_EXTRAS } else { MEMORY });
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(not_a_picture)?;
        let orientation = match reading {
            Reading::Upright => decoder.orientation().map_err(not_a_picture)?,
            Reading::Stored => Orientation::NoTransforms,
        };
        // A file of a few bytes can ask for much.
        let (width, height) = decoder.dimensions();
        let (decoded, rgb_bytes) = (decoder.total_bytes(), u64::from(width) * u64::from(height) * 3);
        let scratch = match (format, webp) {
            // Planes of 12 bits for each pixel, then RGBA.
            (_, Some(pixels)) => pixels.saturating_mul(6),
            // Strips or frames as large as the picture.
            (Some(ImageFormat::Tiff | ImageFormat::Gif), _) => decoded,
            _ => scan.as_ref().map_or(0, |scan| scan.coefficients),
        };
        let decoding = [decoded, scratch, content].into_iter().fold(0, u64::saturating_add);
        let turning = if orientation == Orientation::NoTransforms { 0 } else { decoded.saturating_mul(2) };
        let converting = if decoder.color_type() == ColorType::Rgb8 { 0 } else { decoded.saturating_add(rgb_bytes) };
        let needed = decoding.max(turning).max(converting);
        if needed > MEMORY {
            return Err(StillError::Large { path: path.to_owned(), width, height, needed });
        }
        if scan.as_ref().is_some_and(|scan| scan.work > MOST_WORK) {
            return Err(StillError::ManyScans { path: path.to_owned() });
        }
        let mut room = Room::take(needed).ok_or_else(|| StillError::NoRoom { path: path.to_owned() })?;
        let mut image = DynamicImage::from_decoder(decoder).map_err(not_a_picture)?;
        image.apply_orientation(orientation);
        let (width, height) = (image.width() as usize, image.height() as usize);
        let data = rgb(image, reading);
        room.shrink(rgb_bytes);
        Ok(Self { width, height, data, _room: room })
    }

    /// Size and colour.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout {
            format: PixelFormat::Rgb,
            width: self.width,
            height: self.height,
            color: Color::RGB,
            aspect: PixelAspect::SQUARE,
        }
    }

    /// The decoded picture.
    ///
    /// # Errors
    /// If it has no pixels.
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

/// The samples of `image` as packed 8-bit RGB.
fn rgb(image: DynamicImage, reading: Reading) -> Vec<u8> {
    let high = |value: u16| (value >> 8) as u8;
    match image {
        DynamicImage::ImageLuma16(grey) if reading == Reading::Stored => {
            grey.into_raw().into_iter().flat_map(|value| [value.min(255) as u8; 3]).collect()
        }
        DynamicImage::ImageLuma16(grey) => grey.into_raw().into_iter().flat_map(|value| [high(value); 3]).collect(),
        DynamicImage::ImageLumaA16(grey) => grey.pixels().flat_map(|pixel| [high(pixel.0[0]); 3]).collect(),
        DynamicImage::ImageRgb16(color) => color.into_raw().into_iter().map(high).collect(),
        DynamicImage::ImageRgba16(color) => color
            .pixels()
            .flat_map(|pixel| {
                let [r, g, b, _] = pixel.0;
                [r, g, b].map(high)
            })
            .collect(),
        image => image.into_rgb8().into_raw(),
    }
}

/// File extensions of pictures, in lower case.
const ENDINGS: [&str; 9] = ["jpg", "jpeg", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff"];

/// Whether the name of a file is that of a picture.
#[must_use]
pub fn is_picture(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
}

/// The pictures of a folder, selected by file extension, in byte order of their names.
///
/// # Errors
/// If the folder is unreadable or contains no pictures.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, StillError> {
    let unreadable = |source| StillError::Unreadable { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if is_picture(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(StillError::NoPictures { path: folder.to_owned() });
    }
    Ok(paths)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed step is a failed test")]
mod tests {
    use serde_json::Value;
    use sha2::{Digest, Sha256};

    use super::*;

    /// A step in luma and two in either chroma, with Cb's weight of 1.77 in blue; then rounding.
    const JPEG_LARGEST: u8 = 5;

    /// Above the mean over noise with 4:2:0 chroma, where every sample rounds independently.
    const JPEG_MEAN: f64 = 0.5;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/preprocess/modes")
    }

    fn cases(list: &str) -> Vec<Value> {
        let manifest = fs::read_to_string(folder().join("manifest.json")).unwrap();
        let cases = serde_json::from_str::<Value>(&manifest).unwrap()[list].as_array().unwrap().clone();
        assert!(cases.len() >= 12, "the manifest has lost cases");
        cases
    }

    fn file(case: &Value, key: &str) -> PathBuf {
        folder().join(case[key].as_str().unwrap())
    }

    #[test]
    fn every_kind_of_png_becomes_the_rgb_that_pillow_makes_of_it() {
        for case in cases("exact") {
            let still = Still::open_stored(&file(&case, "image")).unwrap();
            assert_eq!(serde_json::json!([still.width, still.height]), case["size"], "{}", case["image"]);
            let digest: String = Sha256::digest(&still.data).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(case["sha256"], digest, "{}", case["image"]);
        }
    }

    #[test]
    fn every_kind_of_jpeg_is_within_rounding_of_pillow() {
        for case in cases("near") {
            let found = Still::open_stored(&file(&case, "image")).unwrap();
            let expected = image::open(file(&case, "expected")).unwrap().into_rgb8();
            let size = (expected.width() as usize, expected.height() as usize);
            assert_eq!((found.width, found.height), size, "{}", case["image"]);
            let steps: Vec<u8> = found.data.iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b)).collect();
            let largest = steps.iter().max().unwrap();
            let mean = steps.iter().copied().map(f64::from).sum::<f64>() / steps.len() as f64;
            assert!(*largest <= JPEG_LARGEST && mean < JPEG_MEAN, "{}: {largest}, {mean}", case["image"]);
        }
    }

    #[test]
    fn sixteen_bits_of_grey_are_scaled_for_people_and_limited_as_pillow_does() {
        let path = folder().join("grey16.png");
        let image = image::open(&path).unwrap();
        let samples = image.as_luma16().unwrap().as_raw();
        let expected = |of: fn(u16) -> u16| samples.iter().flat_map(|v| [of(*v) as u8; 3]).collect::<Vec<u8>>();
        assert_eq!(Still::open(&path).unwrap().data, expected(|value| value >> 8));
        assert_eq!(Still::open_stored(&path).unwrap().data, expected(|value| value.min(255)));
    }

    #[test]
    fn exif_turns_a_picture_unless_it_is_wanted_as_stored() {
        let path = folder().join("turned.jpg");
        let (upright, stored) = (Still::open(&path).unwrap(), Still::open_stored(&path).unwrap());
        assert_eq!((stored.width, stored.height), (49, 37));
        assert_eq!((upright.width, upright.height), (37, 49));
        // Orientation 6: the stored first row is the right edge.
        for (index, pixel) in upright.data.chunks_exact(3).enumerate() {
            let (x, y) = (index % 37, index / 37);
            assert_eq!(pixel, &stored.data[((36 - x) * 49 + y) * 3..][..3], "column {x}, row {y}");
        }
    }

    #[test]
    fn files_that_are_cut_off_are_refused() {
        let copies = tempfile::tempdir().unwrap();
        for name in ["420.jpg", "420_progressive.jpg", "grey.jpg", "cmyk.jpg", "turned.jpg", "rgb.png", "palette.png"] {
            let whole = fs::read(folder().join(name)).unwrap();
            let path = copies.path().join(name);
            // The last quarter of a JPEG of this size is compressed samples; a PNG ends in 12 bytes of IEND.
            let ends = if name.ends_with("jpg") { vec![1, 2, whole.len() / 4] } else { vec![20] };
            for cut in ends.into_iter().chain([whole.len() / 2]) {
                fs::write(&path, &whole[..whole.len() - cut]).unwrap();
                for open in [Still::open, Still::open_stored] {
                    let error = open(&path).unwrap_err();
                    assert_eq!(error.exit(), Exit::Data, "{name} less {cut} bytes: {error}");
                }
            }
        }
        fs::write(copies.path().join("half.png"), &fs::read(folder().join("rgb.png")).unwrap()[..600]).unwrap();
        let error = Still::open(&copies.path().join("half.png")).unwrap_err();
        assert!(error.to_string().ends_with("half.png is cut off: it ends before its picture does"), "{error}");
    }

    #[test]
    fn a_small_file_that_says_it_is_a_huge_picture_is_refused_before_it_is_decoded() {
        let mut bytes = fs::read(folder().join("420.jpg")).unwrap();
        // SOF0: length, precision, rows, columns.
        let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        bytes[frame + 5..frame + 9].fill(0xff);
        let copies = tempfile::tempdir().unwrap();
        let path = copies.path().join("huge.jpg");
        fs::write(&path, bytes).unwrap();
        let error = Still::open(&path).unwrap_err();
        assert!(matches!(error, StillError::Large { width: 65535, height: 65535, .. }), "{error}");
        assert_eq!(error.exit(), Exit::Data);
    }

    /// A PNG file of these chunks, between its header of `width` × 1 pixels of RGB and its end.
    fn png(width: u32, chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let checksum = |bytes: &[u8]| {
            let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            !bytes.iter().fold(!0, |crc: u32, byte| (0..8).fold(crc ^ u32::from(*byte), step))
        };
        let header = [&width.to_be_bytes()[..], &[0, 0, 0, 1, 8, 2, 0, 0, 0]].concat();
        let all = [(b"IHDR", &header[..])].into_iter().chain(chunks.iter().copied()).chain([(b"IEND", &[][..])]);
        let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
        for (kind, content) in all {
            let body = [&kind[..], content].concat();
            bytes.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
            bytes.extend(&body);
            bytes.extend(checksum(&body).to_be_bytes());
        }
        bytes
    }

    #[test]
    fn a_png_of_one_long_row_or_with_much_beside_its_picture_is_refused() {
        let copies = tempfile::tempdir().unwrap();
        let path = copies.path().join("a.png");
        fs::write(&path, png(60_000_000, &[(b"IDAT", &[])])).unwrap();
        let error = Still::open(&path).unwrap_err();
        let is_limited = matches!(&error, StillError::NotAPicture { source: ImageError::Limits(_), .. });
        assert!(is_limited && error.exit() == Exit::Data, "{error:?}");
        // Zlib, RFC 1950: a stored block of the filter and one pixel, and its Adler-32.
        let row = [0x78, 0x01, 0x01, 0x04, 0x00, 0xfb, 0xff, 0x00, 0x01, 0x02, 0x03, 0x00, 0x0e, 0x00, 0x07];
        fs::write(&path, png(1, &[(b"eXIf", &[0; 100]), (b"IDAT", &row)])).unwrap();
        assert_eq!(Still::open(&path).unwrap().data, [1, 2, 3]);
        fs::write(&path, png(1, &[(b"eXIf", &vec![0; 40 << 20]), (b"IDAT", &row)])).unwrap();
        assert_eq!(Still::open(&path).unwrap_err().exit(), Exit::Data);
    }

    #[test]
    fn a_small_file_of_many_scans_is_refused_before_it_is_decoded() {
        let mut bytes = fs::read(folder().join("420_progressive.jpg")).unwrap();
        let copies = tempfile::tempdir().unwrap();
        let path = copies.path().join("scans.jpg");
        // SOF2: length, precision, rows, columns.
        let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc2]).unwrap();
        bytes[frame + 5..frame + 9].copy_from_slice(&[0x0f, 0xa0, 0x0f, 0xa0]);
        let last = bytes.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap();
        let end = bytes.len() - 2;
        let scans = bytes[last..end].repeat(60);
        bytes.splice(end..end, scans);
        fs::write(&path, bytes).unwrap();
        let error = Still::open(&path).unwrap_err();
        assert!(matches!(error, StillError::ManyScans { .. }), "{error}");
        assert_eq!(error.exit(), Exit::Data);
    }

    #[test]
    fn a_jpeg_without_huffman_tables_has_the_standard_ones() {
        let decode = |name: &str| Still::open_stored(&folder().join(name)).unwrap().data;
        assert_eq!(decode("no_tables.jpg"), decode("444.jpg"));
    }
}
