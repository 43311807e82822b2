//! What has to be known of a JPEG file before it is decoded, and the tables that some lack.

use std::io::{self, BufRead, Read, Seek};

/// What the markers of a JPEG file tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// Position after the end marker (EOI); `None` if there is none behind the picture. Those of thumbnails, which lie
    /// inside other segments, do not count.
    pub(super) end: Option<u64>,
    /// Whether the file has Huffman tables (DHT).
    pub(super) has_tables: bool,
    /// Bytes of the coefficients that the decoder keeps until the last scan: all of a progressive frame and of one whose
    /// components come in scans of their own, otherwise none.
    pub(super) coefficients: u64,
    /// Bytes of the coefficients of all scans together: decoding goes over the whole frame with each of them.
    pub(super) work: u64,
}

/// The most [`Scan::work`] of a picture that is decoded. A progressive file has 10 scans or so, with which the largest
/// that fits into memory has half of it; a few kilobytes of empty scans would keep a processor busy for minutes.
pub(super) const MOST_WORK: u64 = 3 << 30;

/// Reads the markers of a JPEG file (ITU-T T.81, annex B) and rewinds it; `None` if it does not begin as one.
pub(super) fn scan(file: &mut (impl BufRead + Seek)) -> io::Result<Option<Scan>> {
    if !file.fill_buf()?.starts_with(&SOI) {
        return Ok(None);
    }
    let mut found = Scan { end: None, has_tables: false, coefficients: 0, work: 0 };
    // Compressed samples are skipped like anything else that is not a marker.
    while let Some(code) = next_code(file)? {
        match code {
            EOI => {
                found.end = Some(file.stream_position()?);
                break;
            }
            // Stuffing, TEM, RST0 to RST7 and SOI have no payload.
            0 | 1 | 0xd0..=0xd8 => {}
            code => {
                let mut length = [0; 2];
                if (&mut *file).take(2).read(&mut length)? < 2 {
                    break;
                }
                found.has_tables |= code == DHT;
                file.seek_relative(i64::from(u16::from_be_bytes(length)) - 2)?;
            }
        }
    }
    file.rewind()?;
    search(&mut (&mut *file).take(found.end.unwrap_or(u64::MAX)), &mut found)?;
    file.rewind()?;
    Ok(Some(found))
}

/// The code of the next marker; `None` if the file ends before.
fn next_code(file: &mut impl BufRead) -> io::Result<Option<u8>> {
    if file.skip_until(0xff)? == 0 {
        return Ok(None);
    }
    let mut code = [0xff];
    while code == [0xff] {
        if file.read(&mut code)? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(code[0]))
}

/// Finds the frame and scan headers wherever they are, also inside other segments: a decoder that understands a damaged
/// file in another way than [`scan`] takes no more memory and time than this says. Thumbnails are smaller than the
/// picture.
fn search(file: &mut (impl BufRead + Seek), found: &mut Scan) -> io::Result<()> {
    let (mut components, mut largest) = (0, 0);
    while let Some(code) = next_code(file)? {
        if !matches!(code, 0xc0..=SOF2 | SOS) {
            continue;
        }
        let mut header = Vec::with_capacity(LONGEST_HEADER);
        let read = (&mut *file).take(LONGEST_HEADER as u64).read_to_end(&mut header)?;
        file.seek_relative(-(read as i64))?;
        if code == SOS {
            let [high, low, in_scan, ..] = header[..] else { continue };
            if (1..=4).contains(&in_scan) && [high, low] == [0, 6 + 2 * in_scan] {
                found.work = found.work.saturating_add(largest);
                if in_scan < components {
                    found.coefficients = found.coefficients.max(largest);
                }
            }
        } else if let Some(frame) = Frame::of(&header) {
            components = components.max(frame.components);
            largest = largest.max(frame.coefficients);
            if code == SOF2 {
                found.coefficients = found.coefficients.max(frame.coefficients);
            }
        }
    }
    Ok(())
}

/// Marker that begins a file.
const SOI: [u8; 2] = [0xff, 0xd8];
/// Marker that ends a picture.
const EOI: u8 = 0xd9;
/// Marker of Huffman tables.
const DHT: u8 = 0xc4;
/// Marker of a scan.
const SOS: u8 = 0xda;
/// Marker of the frame header of a progressive file.
const SOF2: u8 = 0xc2;
/// Bytes of a frame header with four components, after its marker.
const LONGEST_HEADER: usize = 8 + 4 * 3;

/// What a frame header tells.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    components: u8,
    /// Bytes of all its coefficients, 16 bits each.
    coefficients: u64,
}

impl Frame {
    /// Reads a header after its marker: length, precision, rows, columns, number of components, and of each its number,
    /// sampling factors and table. `None` if it is none.
    fn of(header: &[u8]) -> Option<Self> {
        let [0, length, 8, r1, r0, c1, c0, components, rest @ ..] = header else { return None };
        if !(1..=4).contains(components) || *length != 8 + 3 * components {
            return None;
        }
        let factors = rest.chunks_exact(3).take(usize::from(*components));
        let factors = factors.map(|component| (u64::from(component[1] >> 4), u64::from(component[1] & 15)));
        let largest = |of: fn((u64, u64)) -> u64| factors.clone().map(of).max().unwrap_or(1).max(1);
        let area = largest(|(across, _)| across) * largest(|(_, down)| down);
        let samples: u64 = factors.clone().map(|(across, down)| across * down).sum();
        let pixels = u64::from(u16::from_be_bytes([*r1, *r0])) * u64::from(u16::from_be_bytes([*c1, *c0]));
        Some(Self { components: *components, coefficients: pixels * samples * 2 / area })
    }
}

/// The content of `file` with the standard Huffman tables at its beginning, where MJPEG streams leave them out.
///
/// # Errors
/// Any error of the system.
pub(super) fn with_tables(mut file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let length = u16::try_from(2 + TABLES.len()).unwrap_or_default().to_be_bytes();
    let segment = [0xff, DHT].into_iter().chain(length).chain(TABLES);
    bytes.splice(SOI.len()..SOI.len(), segment);
    Ok(bytes)
}

/// The content of a DHT segment with the four tables of ITU-T T.81, K.3.3: of each its class and number, how many codes
/// there are of 1 to 16 bits, and their values.
#[rustfmt::skip]
const TABLES: [u8; 416] = [
    0x00, 0x00, 0x01, 0x05, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x10, 0x00, 0x02,
    0x01, 0x03, 0x03, 0x02, 0x04, 0x03, 0x05, 0x05, 0x04, 0x04, 0x00, 0x00, 0x01, 0x7d, 0x01, 0x02,
    0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33,
    0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a,
    0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53,
    0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73,
    0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92,
    0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9,
    0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7,
    0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2, 0xe3, 0xe4,
    0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
    0x01, 0x00, 0x03, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x11, 0x00, 0x02,
    0x01, 0x02, 0x04, 0x04, 0x03, 0x04, 0x07, 0x05, 0x04, 0x04, 0x00, 0x01, 0x02, 0x77, 0x00, 0x01,
    0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62,
    0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28,
    0x29, 0x2a, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a,
    0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a,
    0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89,
    0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
    0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5,
    0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe2, 0xe3,
    0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs::File;
    use std::io::{BufReader, Cursor};
    use std::path::Path;

    use super::*;

    #[test]
    fn a_progressive_file_keeps_the_coefficients_of_all_its_components() {
        // 100 rows, 200 columns, 4:2:0.
        let header = [0, 17, 8, 0, 100, 0, 200, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];
        assert_eq!(Frame::of(&header), Some(Frame { components: 3, coefficients: 100 * 200 * 3 }));
        assert_eq!((Frame::of(&header[..7]), Frame::of(&[0; 20])), (None, None));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/preprocess/modes");
        let length = |name: &str| Some(std::fs::metadata(folder.join(name)).unwrap().len());
        let scanned = |name: &str| scan(&mut BufReader::new(File::open(folder.join(name)).unwrap())).unwrap();
        assert_eq!(
            scanned("420.jpg"),
            Some(Scan { end: length("420.jpg"), has_tables: true, coefficients: 0, work: 49 * 37 * 3 })
        );
        assert_eq!(scanned("rgb.png"), None);
        let bytes = 49 * 37 * 3;
        assert_eq!(
            scanned("420_progressive.jpg"),
            Some(Scan { end: length("420_progressive.jpg"), has_tables: true, coefficients: bytes, work: 10 * bytes })
        );
    }

    #[test]
    fn an_end_marker_counts_only_behind_the_picture() {
        let ends = |bytes: &[u8]| scan(&mut Cursor::new(bytes)).unwrap().and_then(|scan| scan.end);
        // SOI, a segment with a thumbnail's end in it, SOS, samples with stuffing and a restart, filled EOI.
        let whole = b"\xff\xd8\xff\xe1\0\x06\xff\xd8\xff\xd9\xff\xda\0\x04\x01\x02abc\xff\0de\xff\xd0fg\xff\xff\xd9";
        assert_eq!(ends(whole), Some(whole.len() as u64));
        assert_eq!(ends(&[&whole[..], b"trailing"].concat()), Some(whole.len() as u64));
        for length in 0..whole.len() {
            assert_eq!(ends(&whole[..length]), None, "the first {length} bytes");
        }
    }

    #[test]
    fn a_scan_with_some_of_the_components_keeps_the_coefficients_and_the_largest_frame_counts() {
        let frame = |code: u8, rows: u8| [0xff, code, 0, 17, 8, 0, rows, 0, 10, 3, 1, 0x11, 0, 2, 0x11, 1, 3, 0x11, 1];
        let scans = |components: u8| [0xff, 0xda, 0, 6 + 2 * components, components];
        let of = |parts: &[&[u8]]| {
            let whole = [&SOI[..], &parts.concat(), b"\xff\xd9"].concat();
            scan(&mut Cursor::new(whole)).unwrap().unwrap().coefficients
        };
        assert_eq!(of(&[&frame(0xc0, 20), &scans(3)]), 0);
        assert_eq!(of(&[&frame(0xc0, 20), &scans(1), &scans(1)]), 20 * 10 * 3 * 2);
        assert_eq!(of(&[&frame(SOF2, 20), &frame(SOF2, 1), &scans(3)]), 20 * 10 * 3 * 2);
    }

    #[test]
    fn headers_count_wherever_they_hide() {
        let whole = b"\xff\xd8\xff\xd0\0\x06\xff\xe1\0\x20\xff\xc2\0\x0b\x08\0\x14\0\x0a\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\0\0\0\0\0\xff\xd9";
        let found = scan(&mut Cursor::new(whole)).unwrap().unwrap();
        assert_eq!((found.coefficients, found.work), (20 * 10 * 2, 20 * 10 * 2));
    }

    #[test]
    fn the_tables_hold_as_many_values_as_they_say() {
        let mut rest = &TABLES[..];
        for class in [0, 0x10, 1, 0x11] {
            assert_eq!(rest[0], class);
            let values: usize = rest[1..17].iter().map(|count| usize::from(*count)).sum();
            rest = &rest[17 + values..];
        }
        assert!(rest.is_empty());
    }
}
