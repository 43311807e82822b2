//! What has to be known of a TIFF file before it is decoded.

use std::io::{self, BufRead, Seek};

use tiff::decoder::Decoder;
use tiff::tags::{CompressionMethod, Tag};

/// Bytes that begin a file: little-endian and big-endian, each as TIFF and as `BigTIFF`.
const MAGIC: [[u8; 4]; 4] = [*b"II\x2a\0", *b"MM\0\x2a", *b"II\x2b\0", *b"MM\0\x2b"];

/// Whether the first picture of a TIFF file is compressed as JPEG (TIFF Technical Note 2). Its strips and tiles are then
/// JPEG files with sizes of their own, whatever the picture's is. False if the file is not or not clearly such a file.
pub(super) fn is_jpeg(file: &mut (impl BufRead + Seek)) -> io::Result<bool> {
    if !MAGIC.iter().any(|magic| file.fill_buf().is_ok_and(|bytes| bytes.starts_with(magic))) {
        return Ok(false);
    }
    let compression = Decoder::new(&mut *file).and_then(|mut first| first.find_tag_unsigned::<u16>(Tag::Compression));
    file.rewind()?;
    let jpeg = [CompressionMethod::JPEG, CompressionMethod::ModernJPEG].map(|method| method.to_u16());
    Ok(compression.is_ok_and(|method| method.is_some_and(|method| jpeg.contains(&method))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;
    use std::io::Cursor;

    use super::*;
    use crate::capture::still::{Still, StillError};
    use crate::exit::Exit;

    /// A picture of 16 x 16 pixels in one strip.
    fn file(compression: u16) -> Vec<u8> {
        // Width, length, bits, compression, photometric interpretation (0 is black), strip's position, samples, rows of
        // a strip, strip's length.
        let entries = [
            (256, 16),
            (257, 16),
            (258, 8),
            (259, compression),
            (262, 1),
            (273, 8 + 2 + 9 * 12 + 4),
            (277, 1),
            (278, 16),
            (279, 256),
        ];
        let mut bytes = b"II\x2a\0\x08\0\0\0\x09\0".to_vec();
        for (tag, value) in entries {
            bytes.extend(
                [u16::to_le_bytes(tag), u16::to_le_bytes(3), [1, 0], [0, 0], value.to_le_bytes(), [0, 0]].concat(),
            );
        }
        bytes.extend([0; 4]);
        bytes.extend([0x55; 256]);
        bytes
    }

    #[test]
    fn jpeg_compression_is_seen_and_refused_and_broken_strips_are_bad_data() {
        let copies = tempfile::tempdir().unwrap();
        let path = copies.path().join("a.tif");
        let opened = |compression: u16| {
            fs::write(&path, file(compression)).unwrap();
            Still::open(&path)
        };
        assert!(opened(1).is_ok());
        assert!(matches!(opened(7), Err(StillError::JpegInTiff { .. })));
        let error = opened(8).unwrap_err();
        assert!(matches!(error, StillError::NotAPicture { .. }), "{error}");
        assert_eq!(error.exit(), Exit::Data);
        for length in 0..file(7).len() {
            // What is missing decides.
            let _ = is_jpeg(&mut Cursor::new(&file(7)[..length])).unwrap();
        }
        assert!(!is_jpeg(&mut Cursor::new(&file(7)[..9])).unwrap());
    }
}
