//! A frame: one picture of a stream, with its timestamps, as it came from the source.
//!
//! The pixels stay where the decoder wrote them. A [`Frame`] owns them through [`Pixels`]; a [`Picture`] borrows them
//! plane by plane, with their lengths checked.

mod format;
mod region;

use std::array::from_fn;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use format::{Component, PixelFormat, SampleDepth};
pub use region::{Region, RegionError};
use rustix::time::{ClockId, clock_gettime};

/// A point in time on two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Nanoseconds of `CLOCK_MONOTONIC`, for differences.
    pub monotonic_ns: u64,
    /// Wall-clock time, for people and other machines.
    pub utc: SystemTime,
}

impl Timestamp {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self { monotonic_ns: monotonic_ns(), utc: SystemTime::now() }
    }

    /// The time `ago` before this one.
    #[must_use]
    pub fn before(self, ago: Duration) -> Self {
        let nanoseconds = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
        Self {
            monotonic_ns: self.monotonic_ns.saturating_sub(nanoseconds),
            utc: self.utc.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of live GStreamer pipelines.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * 1_000_000_000 + nanoseconds
}

/// Coefficients that convert Y'CbCr to R'G'B' (ITU-T H.273, MatrixCoefficients).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// The samples are already R'G'B' (H.273 value 0).
    Rgb,
    /// FCC 73.682 (value 4).
    Fcc,
    /// ITU-R BT.601 (values 5 and 6).
    Bt601,
    /// ITU-R BT.709 (value 1).
    Bt709,
    /// SMPTE 240M (value 7).
    Smpte240m,
    /// ITU-R BT.2020 (value 9).
    Bt2020,
}

/// Which codes mean black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Range {
    /// 0 to 255.
    Full,
    /// 16 to 235, chroma 16 to 240.
    Limited,
}

/// Position of a subsampled chroma sample relative to its luma samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChromaSite {
    /// At the left luma sample (true) or halfway between the two (false).
    pub cosited_x: bool,
    /// At the upper luma sample (true) or halfway between the two (false).
    pub cosited_y: bool,
}

/// How samples map to colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Color {
    /// Y'CbCr weights.
    pub matrix: Matrix,
    /// Black and white levels.
    pub range: Range,
    /// Chroma position; ignored if chroma is not subsampled.
    pub chroma_site: ChromaSite,
}

impl Color {
    /// Full-range R'G'B', as in image files.
    pub const RGB: Self = Self {
        matrix: Matrix::Rgb,
        range: Range::Full,
        chroma_site: ChromaSite { cosited_x: false, cosited_y: false },
    };
}

/// Everything about a picture except its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Memory layout of the samples.
    pub format: PixelFormat,
    /// Columns, at least 1.
    pub width: usize,
    /// Rows, at least 1.
    pub height: usize,
    /// Meaning of the samples.
    pub color: Color,
    /// Shape of a pixel.
    pub aspect: PixelAspect,
}

impl Layout {
    /// Width and height as shown, both in the same unit.
    #[must_use]
    pub fn shown(&self) -> [u64; 2] {
        let PixelAspect { width, height } = self.aspect.believed();
        [self.width as u64 * u64::from(width), self.height as u64 * u64::from(height)]
    }
}

/// Largest ratio of the sides of a pixel.
const MOST_STRETCHED: u32 = 4;

/// Width and height of a pixel as shown, in the same unit, both at least 1: the sample aspect ratio of video codecs
/// (ITU-T H.264, E.2.1), the pixel aspect ratio of GStreamer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PixelAspect {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl PixelAspect {
    /// Pixels as wide as high.
    pub const SQUARE: Self = Self { width: 1, height: 1 };

    /// Itself, or square if one side is more than four times the other: no camera has such pixels, and a damaged stream may
    /// say anything.
    #[must_use]
    pub fn believed(self) -> Self {
        let [longer, shorter] = [self.width.max(self.height), self.width.min(self.height)];
        if longer > shorter.saturating_mul(MOST_STRETCHED) { Self::SQUARE } else { self }
    }
}

/// One plane of samples.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// The bytes, from the first sample of the first row.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// The samples of a picture do not match its layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The picture has no pixels.
    #[error("the picture is {width}×{height} pixels: both sides must be at least 1")]
    Empty {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// A plane is too short for its rows.
    #[error(
        "plane {plane} of a {width}×{height} {format:?} picture has {found} bytes, needs {needed} (stride {stride})"
    )]
    ShortPlane {
        /// Index of the plane.
        plane: usize,
        /// Memory layout.
        format: PixelFormat,
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Bytes from row to row.
        stride: usize,
        /// Bytes found.
        found: usize,
        /// Bytes needed.
        needed: usize,
    },
}

/// A picture whose planes are long enough for its layout: reads within `width` × `height` stay inside them.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    layout: Layout,
    planes: [Plane<'a>; 3],
}

impl<'a> Picture<'a> {
    /// Checks the planes against the layout. Planes that the format does not have are ignored.
    ///
    /// # Errors
    /// If the picture has no pixels or a plane is too short.
    pub fn new(layout: Layout, planes: [Plane<'a>; 3]) -> Result<Self, Error> {
        let Layout { format, width, height, .. } = layout;
        if width == 0 || height == 0 {
            return Err(Error::Empty { width, height });
        }
        for (index, plane) in planes.iter().enumerate().take(format.planes()) {
            let row = format.row_bytes(index, width);
            let rows = format.plane_rows(index, height);
            let needed = (rows - 1).saturating_mul(plane.stride).saturating_add(row);
            if plane.data.len() < needed || (rows > 1 && plane.stride < row) {
                let (stride, found) = (plane.stride, plane.data.len());
                return Err(Error::ShortPlane { plane: index, format, width, height, stride, found, needed });
            }
        }
        Ok(Self { layout, planes })
    }

    /// A picture with a single plane that holds `format`'s rows without gaps: each row is a whole number of pixels (or
    /// of pixel pairs that share chroma), including the unused byte of the four-byte formats.
    ///
    /// # Errors
    /// As [`Picture::new`].
    pub fn packed(layout: Layout, data: &'a [u8]) -> Result<Self, Error> {
        let of = |c: &Component| layout.width.div_ceil(1 << c.shift_x) * c.step;
        let stride = layout.format.components().iter().filter(|c| c.plane == 0).map(of).max().unwrap_or(0);
        let empty = Plane { data: &[], stride: 0 };
        Self::new(layout, [Plane { data, stride }, empty, empty])
    }

    /// Format, size and colour.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The part of the picture in `region`, without a copy. It begins at a chroma sample, and has at least one pixel.
    #[must_use]
    pub fn cut(&self, region: &Region) -> Self {
        let Self { layout, planes } = *self;
        let [left, top, width, height] = region.pixels(&layout);
        let planes = from_fn(|index| {
            let Plane { data, stride } = planes[index];
            let component = layout.format.components().iter().find(|component| component.plane == index);
            // The components of a plane have their samples at the same places, or the chroma of two pixels in the bytes
            // of two.
            let start = component.map_or(0, |c| (top >> c.shift_y) * stride + (left >> c.shift_x) * c.step);
            Plane { data: &data[start..], stride }
        });
        Self { layout: Layout { width, height, ..layout }, planes }
    }

    /// Rows of a plane, from the first sample of the first one to the last of the last one.
    ///
    /// # Panics
    /// If the plane or the rows do not exist, or there are none.
    #[must_use]
    pub fn rows(&self, plane: usize, rows: std::ops::Range<usize>) -> Plane<'a> {
        let Plane { data, stride } = self.planes[plane];
        let end = (rows.end - 1) * stride + self.layout.format.row_bytes(plane, self.layout.width);
        Plane { data: &data[rows.start * stride..end], stride }
    }

    /// The bytes of one row of a plane, without padding.
    ///
    /// # Panics
    /// If the plane or the row does not exist.
    #[must_use]
    pub fn row(&self, plane: usize, row: usize) -> &'a [u8] {
        let Plane { data, stride } = self.planes[plane];
        let start = row * stride;
        &data[start..start + self.layout.format.row_bytes(plane, self.layout.width)]
    }
}

/// Owner of a picture's samples: a mapped GStreamer buffer, or our own memory.
pub trait Pixels: Send {
    /// Plane `index`; empty if the format has no such plane.
    fn plane(&self, index: usize) -> Plane<'_>;
}

/// One picture of a stream, with its samples in a `P`.
pub struct Frame<P> {
    /// Name of the stream.
    pub stream: Arc<str>,
    /// The picture's file, if the source is a folder of pictures.
    pub file: Option<Arc<str>>,
    /// Number of the frame in its stream: starts at 0 and is unique within a run.
    pub seq: u64,
    /// When the picture was taken, as reported by the source.
    pub captured: Timestamp,
    /// When it arrived in the program, in nanoseconds of the monotonic clock.
    pub arrived_ns: u64,
    /// Format, size and colour.
    pub layout: Layout,
    /// The samples.
    pub pixels: P,
}

impl<P: Pixels> Frame<P> {
    /// The picture, with its planes checked.
    ///
    /// # Errors
    /// If the samples do not match the layout.
    pub fn picture(&self) -> Result<Picture<'_>, Error> {
        Picture::new(self.layout, [0, 1, 2].map(|plane| self.pixels.plane(plane)))
    }
}

impl<P> fmt::Debug for Frame<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("stream", &self.stream)
            .field("seq", &self.seq)
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_rows_are_whole_pixels() {
        let cases = [
            (PixelFormat::Gray8, 5, 5),
            (PixelFormat::Rgb, 5, 15),
            (PixelFormat::Rgbx, 5, 20),
            (PixelFormat::Xbgr, 5, 20),
            (PixelFormat::Yuy2, 5, 12),
            (PixelFormat::Uyvy, 5, 12),
            (PixelFormat::Uyvy, 4, 8),
        ];
        for (format, width, stride) in cases {
            let data: Vec<u8> = (0..2 * stride).map(|i| i as u8).collect();
            let layout = Layout { format, width, height: 2, color: Color::RGB, aspect: PixelAspect::SQUARE };
            let picture = Picture::packed(layout, &data);
            let second_row = picture.map(|picture| picture.row(0, 1)[0]);
            assert_eq!(second_row, Ok(stride as u8), "{format:?}, {width} columns");
        }
    }
}
