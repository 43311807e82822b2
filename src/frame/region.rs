//! A rectangular part of a picture, in shares of its sides.

use std::fmt;
use std::str::FromStr;

use super::Layout;

/// By how much a region may reach beyond the picture, in shares of its side: numbers with few digits rarely add up
/// exactly.
const SLACK: f64 = 1e-6;

/// A rectangle in shares of a picture's width and height, from the upper left corner: it lies inside the picture and is
/// not empty. Its text is `x,y,width,height`, such as `0.25,0.5,0.5,0.5` for the middle of the lower half.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// Why numbers are no region.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegionError {
    /// There are not four numbers.
    #[error("expected four numbers x,y,width,height from 0 to 1, such as 0.25,0.5,0.5,0.5")]
    Form,
    /// A number is not a share.
    #[error("{name} is {value}, expected a share of the picture from 0 to 1")]
    Share {
        /// `x`, `y`, `width` or `height`.
        name: &'static str,
        /// The number.
        value: String,
    },
    /// The region has no pixels.
    #[error("{name} is 0: the region is empty")]
    Empty {
        /// `width` or `height`.
        name: &'static str,
    },
    /// The region reaches beyond the picture.
    #[error("{from} + {size} is {sum}: the region reaches beyond the picture, which ends at 1")]
    Beyond {
        /// `x` or `y`.
        from: &'static str,
        /// `width` or `height`.
        size: &'static str,
        /// Their sum.
        sum: String,
    },
}

impl Region {
    /// The whole picture.
    pub const WHOLE: Self = Self { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };

    /// The region of these shares: x, y, width, height.
    ///
    /// # Errors
    /// If one is not from 0 to 1, the width or the height is 0, or the region reaches beyond the picture.
    pub fn new(shares: [f64; 4]) -> Result<Self, RegionError> {
        for (name, value) in ["x", "y", "width", "height"].into_iter().zip(shares) {
            if !(0.0..=1.0).contains(&value) {
                return Err(RegionError::Share { name, value: value.to_string() });
            }
        }
        let [x, y, width, height] = shares;
        for (from, size, start, length) in [("x", "width", x, width), ("y", "height", y, height)] {
            if length == 0.0 {
                return Err(RegionError::Empty { name: size });
            }
            if start + length > 1.0 + SLACK {
                return Err(RegionError::Beyond { from, size, sum: (start + length).to_string() });
            }
        }
        let (width, height) = (width.min(1.0 - x), height.min(1.0 - y));
        for (name, length) in [("width", width), ("height", height)] {
            if length <= 0.0 {
                return Err(RegionError::Empty { name });
            }
        }
        Ok(Self { x, y, width, height })
    }

    /// The shares: x, y, width, height.
    #[must_use]
    pub fn shares(&self) -> [f64; 4] {
        [self.x, self.y, self.width, self.height]
    }

    /// The region moved by shares of its own width and height, as far as the picture reaches.
    #[must_use]
    pub fn moved(&self, right: f64, down: f64) -> Self {
        let along = |start: f64, length: f64, by: f64| (start + length * by).clamp(0.0, (1.0 - length).max(0.0));
        Self { x: along(self.x, self.width, right), y: along(self.y, self.height, down), ..*self }
    }

    /// The region reduced to `share` of its sides, with the same centre.
    #[must_use]
    pub fn reduced(&self, share: f64) -> Self {
        let share = share.clamp(f64::EPSILON, 1.0);
        let (width, height) = (self.width * share, self.height * share);
        Self { x: self.x + (self.width - width) / 2.0, y: self.y + (self.height - height) / 2.0, width, height }
    }

    /// Its pixels in a picture of `layout`: first column, first row, columns, rows, at least one of each. The first ones
    /// are even: there, every format has a chroma sample, so that a camera's frame and a file made of it are cut alike.
    pub(super) fn pixels(&self, layout: &Layout) -> [usize; 4] {
        let along = |start: f64, length: f64, side: usize| {
            let pixel = |share: f64| ((share * side as f64).round() as usize).min(side);
            let first = pixel(start).min(side.saturating_sub(1)) & !1;
            (first, pixel(start + length).max(first + 1) - first)
        };
        let (left, columns) = along(self.x, self.width, layout.width);
        let (top, rows) = along(self.y, self.height, layout.height);
        [left, top, columns, rows]
    }
}

impl FromStr for Region {
    type Err = RegionError;

    fn from_str(text: &str) -> Result<Self, RegionError> {
        let numbers: Vec<f64> = text
            .split(',')
            .map(|number| number.trim().parse().map_err(|_| RegionError::Form))
            .collect::<Result<_, _>>()?;
        Self::new(numbers.try_into().map_err(|_| RegionError::Form)?)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { x, y, width, height } = self;
        write!(formatter, "{x},{y},{width},{height}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::{Color, Picture, PixelAspect, PixelFormat, Plane};
    use super::*;

    #[test]
    fn text_leads_to_a_region_and_back() {
        for text in ["0,0,1,1", "0.25,0.5,0.5,0.5", "0.9,0.9,0.1,0.1"] {
            let region: Region = text.parse().unwrap();
            assert_eq!(region.to_string().parse::<Region>().unwrap(), region, "{text}");
        }
        assert_eq!("0, 0, 1, 1".parse::<Region>().unwrap(), Region::WHOLE);
    }

    #[test]
    fn what_is_wrong_with_a_region_is_said() {
        for (text, part) in [
            ("", "expected four numbers"),
            ("1,2,3", "expected four numbers"),
            ("0,0,1,1,1", "expected four numbers"),
            ("a,0,1,1", "expected four numbers"),
            ("NaN,0,1,1", "x is NaN, expected a share"),
            ("0,-0.1,1,1", "y is -0.1, expected a share"),
            ("0,0,640,480", "width is 640, expected a share"),
            ("0,0,0.5,0", "height is 0: the region is empty"),
            ("0.5,0,0.75,1", "x + width is 1.25"),
        ] {
            let message = text.parse::<Region>().unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn a_moved_region_stays_inside_the_picture_and_keeps_its_size() {
        let region = Region::new([0.5, 0.25, 0.25, 0.5]).unwrap();
        assert_eq!(region.moved(0.5, -0.25).shares(), [0.625, 0.125, 0.25, 0.5]);
        assert_eq!(region.moved(9.0, -9.0).shares(), [0.75, 0.0, 0.25, 0.5]);
        assert_eq!(region.reduced(0.5).shares(), [0.5625, 0.375, 0.125, 0.25]);
    }

    /// The samples that a cut of a picture shows, for every component, whose samples are numbered by row and column.
    fn samples(format: PixelFormat, [width, height]: [usize; 2], region: Region) -> (Vec<Vec<u8>>, [usize; 2]) {
        let planes: Vec<(Vec<u8>, usize)> = (0..format.planes())
            .map(|plane| {
                let stride = format.row_bytes(plane, width) + 3;
                let mut data = vec![0; stride * format.plane_rows(plane, height)];
                for component in format.components().iter().filter(|c| c.plane == plane) {
                    for row in 0..format.plane_rows(plane, height) {
                        for column in 0..width.div_ceil(1 << component.shift_x) {
                            let at = row * stride + column * component.step + component.offset;
                            data[at] = (row * 16 + column) as u8;
                        }
                    }
                }
                (data, stride)
            })
            .collect();
        let plane = |index: usize| match planes.get(index) {
            Some((data, stride)) => Plane { data, stride: *stride },
            None => Plane { data: &[], stride: 0 },
        };
        let layout = Layout { format, width, height, color: Color::RGB, aspect: PixelAspect::SQUARE };
        let picture = Picture::new(layout, [plane(0), plane(1), plane(2)]).unwrap().cut(&region);
        let Layout { width, height, .. } = *picture.layout();
        let of = |c: &super::super::Component| {
            let row = |row: usize| {
                let bytes = picture.row(c.plane, row);
                (0..width.div_ceil(1 << c.shift_x)).map(move |column| bytes[column * c.step + c.offset])
            };
            (0..height.div_ceil(1 << c.shift_y)).flat_map(row).collect()
        };
        (format.components().iter().map(of).collect(), [width, height])
    }

    #[test]
    fn a_cut_shows_the_same_samples_in_every_format() {
        use PixelFormat::*;
        let region = Region::new([0.3, 0.6, 0.5, 0.4]).unwrap();
        // Of 10 × 8 pixels: columns 2 to 8 and rows 4 to 8, though 3 and 5 are nearer.
        let full = || (4..8).flat_map(|row| (2..8).map(move |column| (row * 16 + column) as u8));
        for format in [Gray8, Rgb, Bgr, Rgbx, Xbgr, Y444] {
            let (found, size) = samples(format, [10, 8], region);
            assert_eq!(size, [6, 4], "{format:?}");
            assert!(found.iter().all(|component| component.iter().copied().eq(full())), "{format:?}: {found:?}");
        }
        for format in [Nv12, Nv21, Nv16, I420, Yv12, Y42b, Yuy2, Yvyu, Uyvy] {
            let (found, size) = samples(format, [10, 8], region);
            assert_eq!(size, [6, 4], "{format:?}");
            assert!(found[0].iter().copied().eq(full()), "{format:?}: {found:?}");
            let [_, u, _] = format.components() else { panic!("three components") };
            let rows = 4 >> u.shift_y..8 >> u.shift_y;
            let chroma = || rows.clone().flat_map(|row: usize| (1..4).map(move |column| (row * 16 + column) as u8));
            assert!(found[1..].iter().all(|c| c.iter().copied().eq(chroma())), "{format:?}: {found:?}");
        }
    }

    #[test]
    fn the_smallest_region_has_a_pixel() {
        let region = Region::new([1.0 - 1e-9, 1.0 - 1e-9, 1e-9, 1e-9]).unwrap();
        for format in [PixelFormat::Rgb, PixelFormat::I420] {
            let (found, [width, height]) = samples(format, [9, 7], region);
            assert!(width >= 1 && height >= 1 && !found[0].is_empty(), "{format:?}");
        }
    }
}
