//! Finds the JPEG pictures in the bytes of a web camera (ITU-T T.81, annex B).
//!
//! Cameras write the boundaries and lengths of a `multipart/x-mixed-replace` (RFC 2046, 5.1.1) in ways of their own. A JPEG
//! picture says itself where it ends, so what stands between two pictures does not matter.

use std::io::Cursor;

use crate::capture::jpeg::{self, MOST_WORK};
use crate::capture::player::MOST_PER_FRAME;

/// Maximum size of a picture in bytes.
const MOST_BYTES: usize = MOST_PER_FRAME as usize;

/// Maximum pixels of a picture: 8192×4096. Decoded, they take three bytes each.
const MOST_PIXELS: u64 = 32 << 20;

/// Bytes between pictures that may be the beginning of one.
const BEGINNING: [u8; 3] = [0xff, 0xd8, 0xff];

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A picture, from its first to its last marker.
    Whole(Vec<u8>),
    /// The beginning of a picture that does not end.
    CutOff,
}

/// A picture is larger than any camera's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooLarge {
    /// Its file.
    #[error("a picture of the camera takes more than {} MiB", MOST_BYTES >> 20)]
    Bytes,
    /// The picture.
    #[error("a picture of the camera has {width}x{height} pixels, and {MOST_PIXELS} are the limit")]
    Pixels {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// The time that decoding takes.
    #[error("a picture of the camera has too many scans")]
    Scans,
}

/// The longest segment with the marker `code`: those of applications and comments hold anything, and tables are short. What
/// follows a picture that is cut off is seldom taken for a length then; letters never are.
const fn longest(code: u8) -> u16 {
    if matches!(code, 0xe0..=0xef | 0xfe) { u16::MAX } else { 2048 }
}

/// Where in a picture the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between pictures.
    Between,
    /// At a marker.
    Marker,
    /// In a segment that ends there; the samples of a scan follow if it `begins_scan`.
    Segment { end: usize, begins_scan: bool },
    /// In the samples of a scan.
    Samples,
}

/// Takes bytes as they come, and gives pictures.
#[derive(Debug)]
pub(super) struct Pictures {
    bytes: Vec<u8>,
    /// Where the picture begins; the bytes before it are no longer needed.
    start: usize,
    at: usize,
    state: State,
    has_scan: bool,
}

impl Pictures {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), start: 0, at: 0, state: State::Between, has_scan: false }
    }

    /// Adds bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.at -= self.start;
        if let State::Segment { end, .. } = &mut self.state {
            *end -= self.start;
        }
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether the bytes so far end within a picture.
    pub(super) fn is_within(&self) -> bool {
        self.state != State::Between
    }

    /// What the bytes hold; `None` until there are more.
    pub(super) fn next(&mut self) -> Result<Option<Found>, TooLarge> {
        loop {
            let rest = &self.bytes[self.at.min(self.bytes.len())..];
            match self.state {
                State::Between => match rest.windows(BEGINNING.len()).position(|window| window == BEGINNING) {
                    Some(start) => {
                        self.begin(self.at + start);
                        self.at += 2;
                        (self.state, self.has_scan) = (State::Marker, false);
                    }
                    None => {
                        let kept = rest.len().min(BEGINNING.len() - 1);
                        self.begin(self.bytes.len() - kept);
                        return Ok(None);
                    }
                },
                State::Marker => match *rest {
                    [0xff, 0xff, ..] => self.at += 1,
                    [0xff, 0xd9, ..] => return self.end().map(Some),
                    [0xff, 1 | 0xd0..=0xd7, ..] => self.at += 2,
                    [0xff, 0 | 0xd8, ..] => return Ok(Some(self.give_up())),
                    [0xff, code, high, low, ref header @ ..] => {
                        let length = u16::from_be_bytes([high, low]);
                        let is_frame = matches!(code, 0xc0..=0xcf) && !matches!(code, 0xc4 | 0xc8 | 0xcc);
                        match (is_frame, header) {
                            _ if length < 2 || length > longest(code) => return Ok(Some(self.give_up())),
                            (true, [_, h1, h0, w1, w0, ..]) => {
                                let [height, width] = [[*h1, *h0], [*w1, *w0]].map(u16::from_be_bytes);
                                if u64::from(width) * u64::from(height) > MOST_PIXELS {
                                    return Err(TooLarge::Pixels { width, height });
                                }
                            }
                            (true, _) => return self.wait(),
                            (false, _) => {}
                        }
                        let end = self.at + 2 + usize::from(length);
                        self.state = State::Segment { end, begins_scan: code == 0xda };
                    }
                    [0xff, ..] | [] => return self.wait(),
                    _ => return Ok(Some(self.give_up())),
                },
                State::Segment { end, .. } if self.bytes.len() < end => return self.wait(),
                State::Segment { end, begins_scan } => {
                    self.at = end;
                    self.has_scan |= begins_scan;
                    self.state = if begins_scan { State::Samples } else { State::Marker };
                }
                State::Samples => match rest.iter().position(|byte| *byte == 0xff).map(|at| (at, rest.get(at + 1))) {
                    None => {
                        self.at = self.bytes.len();
                        return self.wait();
                    }
                    Some((at, None)) => {
                        self.at += at;
                        return self.wait();
                    }
                    // Stuffing, and the markers within a scan.
                    Some((at, Some(0 | 0xd0..=0xd7))) => self.at += at + 2,
                    Some((at, Some(_))) => {
                        self.at += at;
                        self.state = State::Marker;
                    }
                },
            }
        }
    }

    /// Forgets the bytes before `start`. They go when more are added, so that many small pictures are no more work than a
    /// large one.
    fn begin(&mut self, start: usize) {
        (self.start, self.at) = (start, start);
    }

    fn wait(&self) -> Result<Option<Found>, TooLarge> {
        if self.bytes.len() - self.start > MOST_BYTES { Err(TooLarge::Bytes) } else { Ok(None) }
    }

    /// Goes on behind what is no picture. Each byte is looked at once, so that nobody can make this slow.
    fn give_up(&mut self) -> Found {
        self.begin(self.at);
        self.state = State::Between;
        Found::CutOff
    }

    fn end(&mut self) -> Result<Found, TooLarge> {
        let end = self.at + 2;
        let picture = if self.start == 0 {
            // Most pictures are larger than what is added at a time: this copies the beginning of the next one only.
            let rest = self.bytes.split_off(end);
            self.at = 0;
            std::mem::replace(&mut self.bytes, rest)
        } else {
            self.bytes[self.start..end].to_vec()
        };
        self.begin(if self.start == 0 { 0 } else { end });
        self.state = State::Between;
        if !self.has_scan {
            return Ok(Found::CutOff);
        }
        // Reading memory does not fail.
        let scan = jpeg::scan(&mut Cursor::new(&picture)).ok().flatten();
        match scan.is_some_and(|scan| scan.work > MOST_WORK) {
            true => Err(TooLarge::Scans),
            false => Ok(Found::Whole(picture)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// The structure of a picture of 16×16 pixels: a segment with markers in it, a frame, a scan with stuffing and a
    /// restart, a second scan.
    fn picture(mark: u8) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1, 0, 8, 0xff, 0xd8, 0xff, 0xd9, 0, 0];
        bytes.extend([0xff, 0xc0, 0, 11, 8, 0, 16, 0, 16, 1, 1, 0x11, 0]);
        bytes.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, mark, 0xff, 0, 3, 0xff, 0xd0, 4]);
        bytes.extend([0xff, 0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 9, 0xff, 0xd9]);
        bytes
    }

    /// What `bytes` hold, if they come in pieces of `piece` bytes.
    fn found(bytes: &[u8], piece: usize) -> Vec<Found> {
        let mut pictures = Pictures::new();
        let mut found = Vec::new();
        for piece in bytes.chunks(piece) {
            pictures.push(piece);
            while let Some(next) = pictures.next().unwrap() {
                found.push(next);
            }
        }
        found
    }

    #[test]
    fn pictures_are_found_whatever_stands_between_them_and_in_whatever_pieces_they_come() {
        let between = b"\r\n--frame\r\nContent-Type: image/jpeg\r\nContent-Length: wrong\r\n\r\n\xff\xd8\0\xff\xd9\xff";
        let bytes = [&between[..], &picture(1), between, &picture(2), b"\xff", &picture(3), b"--"].concat();
        for piece in [1, 2, 3, 7, bytes.len()] {
            assert_eq!(found(&bytes, piece), [1, 2, 3].map(|mark| Found::Whole(picture(mark))), "{piece}");
        }
    }

    #[test]
    fn a_picture_that_is_cut_off_is_told_and_the_one_after_the_next_beginning_is_whole() {
        for cut in [30, 38, 45, 50] {
            let bytes = [&picture(1)[..cut], b"\r\n--frame\r\n\r\n", &picture(2), &picture(3), &picture(4)].concat();
            let found = found(&bytes, 5);
            assert_eq!(found[0], Found::CutOff, "{cut}");
            assert!(found.ends_with(&[3, 4].map(|mark| Found::Whole(picture(mark)))), "{cut}: {found:?}");
        }
        assert_eq!(found(b"\xff\xd8\xff\xd9", 4), [Found::CutOff], "it has no scan");
        assert_eq!(found(b"\xff\xd8\xff\xe1\0\0", 6), [Found::CutOff], "a segment has a length");
    }

    #[test]
    fn what_is_between_pictures_takes_no_memory_and_what_is_in_them_has_a_limit() {
        let mut pictures = Pictures::new();
        for _ in 0..100 {
            pictures.push(&[b'x'; 1 << 16]);
            assert_eq!(pictures.next(), Ok(None));
            assert!(pictures.bytes.len() - pictures.start < BEGINNING.len() && !pictures.is_within());
            assert!(pictures.bytes.len() < (1 << 16) + BEGINNING.len());
        }
        pictures.push(&picture(1)[..45]);
        let endless = std::iter::repeat_with(|| {
            pictures.push(&[7; 1 << 20]);
            pictures.next()
        });
        assert_eq!(endless.take(64).find(|next| *next != Ok(None)), Some(Err(TooLarge::Bytes)));

        let mut huge = picture(1);
        huge[17..21].copy_from_slice(&[0xff; 4]);
        let mut pictures = Pictures::new();
        pictures.push(&huge);
        assert_eq!(pictures.next(), Err(TooLarge::Pixels { width: 0xffff, height: 0xffff }));
    }
}
