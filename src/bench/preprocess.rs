//! How long a picture of a camera takes to become an input, beside what else would make one, and the lowest bound.
//!
//! The pictures take turns out of more memory than the last-level cache holds, so that each is read from memory. The
//! peers do what they are used for: GStreamer's converter, which is that of its element `videoconvertscale`, scales the
//! whole picture to the lines of the transform in RGB; or it makes a full-size RGB picture, which the crate
//! `fast_image_resize` scales. Normalisation of the crop follows. The bound is the time for reading the bytes on which the
//! input depends, once.

use std::hint::black_box;
use std::time::Duration;

use serde::Serialize;

use super::sample::Figures;
use super::{Error, Host, Progress, Report, host, in_turns};
use crate::capture::{self, Converter};
use crate::choice::IsaChoice;
use crate::frame::{ChromaSite, Color, Layout, Matrix, Picture, PixelAspect, PixelFormat, Plane, Range};
use crate::inference::chosen;
use crate::kernels::Kernels;
use crate::preprocess::{Preprocessor, Transform};
use crate::tensor::Tensor;

/// Schema of the JSON form of the report.
pub const SCHEMA: &str = "hardnetd.bench.preprocess.v1";

/// Columns and rows of the pictures.
const SIZES: [[usize; 2]; 4] = [[640, 480], [1280, 720], [1920, 1080], [3840, 2160]];

/// The colours of a high-definition camera.
const COLOR: Color = Color {
    matrix: Matrix::Bt709,
    range: Range::Limited,
    chroma_site: ChromaSite { cosited_x: true, cosited_y: false },
};

/// The medians for one size of pictures, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreprocessRow {
    /// Columns and rows of the picture.
    pub size: [usize; 2],
    /// Its format, in GStreamer's words.
    pub format: &'static str,
    /// The instruction set.
    pub isa: IsaChoice,
    /// From the picture to the input, in one pass.
    pub fused_ms: f64,
    /// GStreamer's `videoconvertscale`, then normalisation.
    pub videoconvertscale_ms: f64,
    /// GStreamer's conversion to RGB in full size, `fast_image_resize`, then normalisation; `None` if the crate is not
    /// built in.
    pub rgb_fast_image_resize_ms: Option<f64>,
    /// Reading the bytes on which the input depends.
    pub floor_ms: f64,
    /// Number of these bytes.
    pub floor_bytes: usize,
    /// `fused_ms` divided by the time of the faster peer.
    pub of_faster_peer: f64,
    /// `fused_ms` divided by `floor_ms`.
    pub of_floor: f64,
    /// Number of timed runs of the fused path.
    pub runs: usize,
}

/// Measures every size in turns, each program for `time`, on the calling thread.
///
/// # Errors
/// If the processor does not have the instruction set, or GStreamer cannot start.
pub fn preprocess(
    isa: IsaChoice,
    cores: usize,
    time: Duration,
    progress: Progress<'_>,
) -> Result<Report<PreprocessRow>, Error> {
    capture::init()?;
    let isa = chosen(isa);
    let kernels = Kernels::of(isa).ok_or(Error::NoSuchIsa { isa: isa.into() })?;
    let count = u32::try_from(SIZES.len()).unwrap_or(u32::MAX);
    let mut rows = Vec::with_capacity(SIZES.len());
    for (index, size) in (0..count).zip(SIZES) {
        rows.push(row(kernels, size, time, &mut |done, all| progress(all * index + done, all * count))?);
    }
    Ok(Report { schema: SCHEMA, host: Host::measure(cores, usize::MAX), rows })
}

/// Pictures that take turns.
struct Pictures {
    layout: Layout,
    /// Each with its planes one after the other.
    data: Vec<Vec<u8>>,
    next: usize,
}

impl Pictures {
    /// NV12 pictures, together twice as large as the last-level cache.
    fn new([width, height]: [usize; 2]) -> Self {
        let layout = Layout { format: PixelFormat::Nv12, width, height, color: COLOR, aspect: PixelAspect::SQUARE };
        let bytes = width * height * 3 / 2;
        let count = (2 * host::last_cache()).div_ceil(bytes).max(2);
        let picture = |seed: usize| (0..bytes).map(|index| ((index + seed) * 31 % 251) as u8).collect();
        Self { layout, data: (0..count).map(picture).collect(), next: 0 }
    }

    /// The next picture.
    fn next(&mut self) -> (Layout, [Plane<'_>; 3]) {
        self.next = (self.next + 1) % self.data.len();
        let Layout { width, height, .. } = self.layout;
        let (luma, chroma) = self.data[self.next].split_at(width * height);
        let plane = |data| Plane { data, stride: width };
        (self.layout, [plane(luma), plane(chroma), plane(&[])])
    }
}

fn row(kernels: Kernels, size: [usize; 2], time: Duration, progress: Progress<'_>) -> Result<PreprocessRow, Error> {
    let transform = Transform::IMAGENET;
    let mut preprocessor = Preprocessor::with(kernels, transform)?;
    let reads = preprocessor.reads(&Pictures::new(size).layout)?;
    let mut tensor = Tensor::zeros(transform.height, transform.width, 3);
    let [mut of_fused, mut of_floor, of_scaling, of_resizing] = [(); 4].map(|()| Pictures::new(size));
    let mut fused = || {
        let (layout, planes) = of_fused.next();
        Ok(preprocessor.run(&Picture::new(layout, planes)?, &mut tensor)?)
    };
    let lines = scaled(size, transform.resize);
    let mut scaling = Peer::new(of_scaling, lines, lines, &transform)?;
    let mut scaling = || Ok(scaling.run()?);
    let mut resizing = Peer::new(of_resizing, size, lines, &transform)?;
    let mut resizing = || Ok(resizing.run()?);
    let mut floor = || {
        let (layout, planes) = of_floor.next();
        let picture = Picture::new(layout, planes)?;
        for read in &reads {
            for row in read.rows.clone() {
                black_box(sum(&picture.row(read.plane, row)[read.bytes.clone()]));
            }
        }
        Ok(())
    };
    let mut runs: Vec<&mut dyn FnMut() -> Result<(), Error>> = vec![&mut fused, &mut scaling, &mut floor];
    if cfg!(feature = "peers") {
        runs.push(&mut resizing);
    }
    let samples = in_turns(&mut runs, time, || (), progress)?;
    let median = |index: usize| samples.get(index).map(|sample| sample.figures()).map(|Figures { median, .. }| median);
    let at = |index: usize| median(index).unwrap_or(f64::NAN);
    let (fused_ms, videoconvertscale_ms, floor_ms, resize) = (at(0), at(1), at(2), median(3));
    Ok(PreprocessRow {
        size,
        format: "NV12",
        isa: kernels.isa().into(),
        fused_ms,
        videoconvertscale_ms,
        rgb_fast_image_resize_ms: resize,
        floor_ms,
        floor_bytes: reads.iter().map(|read| read.rows.len() * read.bytes.len()).sum(),
        of_faster_peer: fused_ms / resize.map_or(videoconvertscale_ms, |resize| resize.min(videoconvertscale_ms)),
        of_floor: fused_ms / floor_ms,
        runs: samples.first().map_or(0, super::sample::Sample::runs),
    })
}

/// The size of the whole picture if its shorter side becomes `lines`.
fn scaled([width, height]: [usize; 2], lines: usize) -> [usize; 2] {
    let short = width.min(height);
    [width * lines / short, height * lines / short]
}

/// Reads all bytes.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().fold(0, |sum: u64, word| sum ^ u64::from_le_bytes(*word));
    rest.iter().fold(words, |sum, byte| sum ^ u64::from(*byte))
}

/// What else would make an input: GStreamer's converter to RGB, a resizer if the sizes differ, and normalisation.
struct Peer {
    converter: Converter,
    resizer: Resizer,
    transform: Transform,
    tensor: Tensor,
}

impl Peer {
    /// Converts to RGB of size `rgb`, then scales to `lines`.
    fn new(pictures: Pictures, rgb: [usize; 2], lines: [usize; 2], transform: &Transform) -> Result<Self, Error> {
        Ok(Self {
            converter: Converter::new(&pictures.layout, pictures.data, rgb)?,
            resizer: Resizer::new(rgb, lines),
            transform: *transform,
            tensor: Tensor::zeros(transform.height, transform.width, 3),
        })
    }

    fn run(&mut self) -> Result<(), capture::Error> {
        let rgb = self.converter.run()?;
        let (Plane { data, stride }, [width, height]) = self.resizer.run(rgb);
        let Transform { height: rows, width: columns, mean, std, .. } = self.transform;
        let (top, left) = ((height - rows) / 2, (width - columns) / 2);
        for (row, out) in self.tensor.data_mut().chunks_exact_mut(3 * columns).enumerate() {
            let start = (top + row) * stride + left * 3;
            let pixels = data[start..start + 3 * columns].as_chunks::<3>().0;
            for (out, pixel) in out.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                for channel in 0..3 {
                    out[channel] = (f32::from(pixel[channel]) / 255.0 - mean[channel]) / std[channel];
                }
            }
        }
        black_box(&mut self.tensor);
        Ok(())
    }
}

/// Scales RGB with `fast_image_resize`; hands it on if it has its size.
struct Resizer {
    from: [usize; 2],
    #[cfg(feature = "peers")]
    to: [usize; 2],
    #[cfg(feature = "peers")]
    resizer: fast_image_resize::Resizer,
    #[cfg(feature = "peers")]
    out: Vec<u8>,
}

impl Resizer {
    fn new(from: [usize; 2], to: [usize; 2]) -> Self {
        #[cfg(not(feature = "peers"))]
        let _ = to;
        Self {
            from,
            #[cfg(feature = "peers")]
            to,
            #[cfg(feature = "peers")]
            resizer: fast_image_resize::Resizer::new(),
            #[cfg(feature = "peers")]
            out: vec![0; to[0] * to[1] * 3],
        }
    }

    /// The scaled picture and its size.
    fn run<'a>(&'a mut self, rgb: Plane<'a>) -> (Plane<'a>, [usize; 2]) {
        #[cfg(feature = "peers")]
        if self.from != self.to {
            use fast_image_resize::images::{Image, ImageRef};
            use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions};

            let size = |[width, height]: [usize; 2]| (width as u32, height as u32);
            let ((width, height), (columns, rows)) = (size(self.from), size(self.to));
            let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
            // Rows without gaps, as those of the sizes that are measured are.
            let from = ImageRef::new(width, height, rgb.data, PixelType::U8x3);
            let to = Image::from_slice_u8(columns, rows, &mut self.out, PixelType::U8x3);
            if let (Ok(from), Ok(mut to)) = (from, to) {
                // The sizes and the pixel types of both are those of this program.
                let _ = self.resizer.resize(&from, &mut to, &options);
            }
            return (Plane { data: &self.out, stride: 3 * self.to[0] }, self.to);
        }
        (rgb, self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_read() {
        let bytes: Vec<u8> = (0..29).collect();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(sum(&bytes), sum(&other), "{at}");
        }
    }

    #[test]
    fn the_shorter_side_gets_the_lines() {
        assert_eq!(scaled([1920, 1080], 256), [455, 256]);
        assert_eq!(scaled([480, 640], 256), [256, 341]);
    }
}
