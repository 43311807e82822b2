//! What has to be known of a WebP file before it is decoded.

use std::io::{self, BufRead, Seek};

/// Bytes of an animation frame (`ANMF`) before its own chunks.
const FRAME_HEADER: u64 = 16;
/// Bytes at the beginning of a frame in which its size stands.
const HEAD: usize = 10;

/// The most pixels that one frame of a WebP file says it has; `None` if the file does not begin as one. The frames have
/// sizes of their own, for which the decoder allocates memory, whatever the canvas of the file is
/// (WebP Container Specification; RFC 6386, 9.1; WebP Lossless Bitstream Specification, 3).
pub(super) fn pixels(file: &mut (impl BufRead + Seek)) -> io::Result<Option<u64>> {
    let mut head = [0; 12];
    if !fill(file, &mut head)? || &head[..4] != b"RIFF" || &head[8..] != b"WEBP" {
        return Ok(None);
    }
    let mut most = 0;
    let mut chunk = [0; 8];
    while fill(file, &mut chunk)? {
        let length = u64::from(u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]));
        // Chunks have an even number of bytes in the file.
        let (mut skipped, mut frame) = (length + length % 2, [0; HEAD]);
        match &chunk[..4] {
            b"ANMF" => skipped = FRAME_HEADER.min(length),
            b"VP8 " | b"VP8L" if length >= HEAD as u64 => {
                if !fill(file, &mut frame)? {
                    break;
                }
                skipped -= HEAD as u64;
                most = most.max(if chunk[3] == b'L' { lossless(&frame) } else { lossy(&frame) });
            }
            _ => {}
        }
        // At most 4 GiB.
        file.seek_relative(i64::try_from(skipped).unwrap_or(i64::MAX))?;
    }
    Ok(Some(most))
}

/// Pixels of a VP8 key frame: tag of three bytes, start code of three, then 14 bits each of width and height.
fn lossy(frame: &[u8; HEAD]) -> u64 {
    let side = |low: u8, high: u8| u64::from(u16::from_le_bytes([low, high]) & 0x3fff);
    side(frame[6], frame[7]) * side(frame[8], frame[9])
}

/// Pixels of a VP8L frame: a signature, then 14 bits each of width and height, less one.
fn lossless(frame: &[u8; HEAD]) -> u64 {
    let bits = u32::from_le_bytes([frame[1], frame[2], frame[3], frame[4]]);
    let side = |shift: u32| u64::from(bits >> shift & 0x3fff) + 1;
    side(0) * side(14)
}

/// Fills `bytes`; false if the file ends before.
fn fill(file: &mut impl BufRead, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;
    use std::io::Cursor;
    use std::path::Path;

    use super::*;

    fn of(bytes: &[u8]) -> Option<u64> {
        pixels(&mut Cursor::new(bytes)).unwrap()
    }

    #[test]
    fn the_size_of_a_frame_is_its_own_whatever_the_canvas_says() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/preprocess/modes");
        for name in ["lossy.webp", "lossless.webp", "alpha.webp"] {
            let whole = fs::read(folder.join(name)).unwrap();
            assert_eq!(of(&whole), Some(23 * 17), "{name}");
            for length in 0..whole.len() {
                let _ = of(&whole[..length]);
            }
        }
        assert_eq!(of(&fs::read(folder.join("rgb.png")).unwrap()), None);
        let frame = b"\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f";
        let canvas = [b"VP8X\x0a\0\0\0".as_slice(), &[0; 10]].concat();
        let small = [b"RIFF\0\0\0\0WEBP".as_slice(), &canvas, b"VP8 \x0a\0\0\0", frame].concat();
        assert_eq!(of(&small), Some(16383 * 16383));
        let animated = [b"RIFF\0\0\0\0WEBP".as_slice(), b"ANMF\x22\0\0\0", &[0; 16], b"VP8 \x0a\0\0\0", frame].concat();
        assert_eq!(of(&animated), Some(16383 * 16383));
    }
}
