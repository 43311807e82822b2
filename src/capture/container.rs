//! Checks whether a media file is as long as its container says: demuxers take a truncated file for a complete one.
//!
//! Reads only the sizes at the top level: of boxes (MP4, QuickTime; ISO/IEC 14496-12, 4.2), of RIFF chunks (AVI) and of
//! EBML elements (Matroska, WebM; RFC 8794, 4 to 6). Sizes that a file leaves open, unknown parts and other containers
//! count as complete.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Maximum number of top-level parts to read.
const MOST_PARTS: usize = 100_000;

/// The boxes that occur at the top level.
const BOXES: [&[u8; 4]; 14] = [
    b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"moof", b"mfra", b"meta", b"uuid", b"sidx", b"styp",
    b"pdin", b"emsg",
];

/// The IDs of the elements that occur at the top level: header, segment, void, checksum.
const ELEMENTS: [&[u8]; 4] = [&[0x1a, 0x45, 0xdf, 0xa3], &[0x18, 0x53, 0x80, 0x67], &[0xec], &[0xbf]];

/// How one kind of container writes the head of a part: maps the bytes at the head to the length of the whole part;
/// `None` if the length is open or unreadable.
type Head = fn(&[u8]) -> Option<u64>;

/// Bytes that the container in `file` declares beyond the end of the file.
pub(super) fn missing_bytes(mut file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut position = 0;
    let mut head = None;
    for _ in 0..MOST_PARTS {
        if position >= length {
            return Ok(position - length);
        }
        let mut bytes = Vec::with_capacity(16);
        file.seek(SeekFrom::Start(position))?;
        file.by_ref().take(16).read_to_end(&mut bytes)?;
        let Some(head) = *head.get_or_insert_with(|| kind(&bytes)) else { return Ok(0) };
        match head(&bytes).and_then(|size| position.checked_add(size)) {
            Some(end) if end > position => position = end,
            _ => return Ok(0),
        }
    }
    Ok(0)
}

fn kind(bytes: &[u8]) -> Option<Head> {
    match (bytes.get(..4)?, bytes.get(4..8)?) {
        (b"RIFF", _) => Some(riff),
        ([0x1a, 0x45, 0xdf, 0xa3], _) => Some(ebml),
        (_, name) if BOXES.contains(&name.first_chunk()?) => Some(box_),
        _ => None,
    }
}

/// 32-bit size, type, and a 64-bit size if the first is 1; 0 means up to the end of the file.
fn box_(bytes: &[u8]) -> Option<u64> {
    let size = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
    if !BOXES.contains(&bytes.get(4..8)?.first_chunk()?) {
        return None;
    }
    match size {
        0 => None,
        1 => Some(u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?)),
        size => Some(size.into()),
    }
}

/// `RIFF`, then the 32-bit size of the rest. AVI may have several in a row, each preceded by a zero byte if the one
/// before has an odd size. Some programs omit the zero at the end.
fn riff(bytes: &[u8]) -> Option<u64> {
    let padding = u64::from(bytes.first() == Some(&0));
    let bytes = bytes.strip_prefix(b"\0").unwrap_or(bytes);
    let size = u64::from(u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?));
    (bytes.starts_with(b"RIFF") && size > 0).then_some(padding + 8 + size)
}

/// An ID and a size of variable length; a size of all ones is open.
fn ebml(bytes: &[u8]) -> Option<u64> {
    let length = |at: usize| Some(bytes.get(at)?.leading_zeros() as usize + 1).filter(|length| *length <= 8);
    let id = length(0)?;
    if !ELEMENTS.contains(&bytes.get(..id)?) {
        return None;
    }
    let size = length(id)?;
    let field = bytes.get(id..id + size)?;
    let value = field.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let mask = (1_u64 << (7 * size)) - 1;
    (value & mask != mask).then(|| (id + size) as u64 + (value & mask))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn missing(bytes: &[u8]) -> u64 {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        missing_bytes(file.as_file()).unwrap()
    }

    /// The file is complete; every byte cut off counts as missing.
    fn counts_every_byte(bytes: &[u8], least: usize) {
        for length in least..=bytes.len() {
            assert_eq!(missing(&bytes[..length]), (bytes.len() - length) as u64, "{length} of {}", bytes.len());
        }
    }

    #[test]
    fn boxes_of_both_sizes_are_followed() {
        let mp4 =
            [b"\0\0\0\x0cftypisom".as_slice(), b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x14abcd", b"\0\0\0\x0amoovab"].concat();
        counts_every_byte(&mp4, 12 + 20 + 8);
        assert_eq!(missing(&mp4[..12 + 18]), 2);
    }

    #[test]
    fn riff_chunks_are_followed() {
        counts_every_byte(b"RIFF\x05\0\0\0AVI X", 8);
        assert_eq!(missing(b"RIFF\x05\0\0\0AVI X\0"), 0, "with its padding");
        counts_every_byte(b"RIFF\x05\0\0\0AVI X\0RIFF\x06\0\0\0AVIXab", 13 + 1 + 8);
    }

    #[test]
    fn ebml_elements_are_followed() {
        let webm = [b"\x1a\x45\xdf\xa3\x84abcd".as_slice(), b"\x18\x53\x80\x67\x01\0\0\0\0\0\0\x05abcde"].concat();
        counts_every_byte(&webm, 9 + 12);
    }

    #[test]
    fn open_sizes_and_other_files_count_as_complete() {
        assert_eq!(missing(b"\0\0\0\x0cftypisom\0\0\0\0mdatabc"), 0);
        assert_eq!(missing(b"\x1a\x45\xdf\xa3\x84abcd\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xffabc"), 0);
        for bytes in [b"".as_slice(), b"R", b"a text of some length", b"\x1a\x45\xdf\xa3\0\0\0\0\0\0\0\0"] {
            assert_eq!(missing(bytes), 0, "{bytes:?}");
        }
    }

    #[test]
    fn bytes_after_the_end_are_no_part() {
        assert_eq!(missing(b"\0\0\0\x0cftypisom\x7f\xff\xff\xffjunk and more"), 0);
        assert_eq!(missing(b"\x1a\x45\xdf\xa3\x84abcdjunk\x40 and more"), 0);
        assert_eq!(missing(b"RIFF\x04\0\0\0AVI junk"), 0);
    }

    #[test]
    fn hostile_sizes_end_the_walk() {
        assert_eq!(missing(b"\0\0\0\x01mdat\0\0\0\0\0\0\0\0"), 0);
        assert_eq!(missing(b"\0\0\0\x0cftypisom\0\0\0\x01mdat\xff\xff\xff\xff\xff\xff\xff\xff"), 0);
    }
}
