//! GStreamer's own conversion of pictures, for comparison with preprocessing.

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use crate::capture::Error;
use crate::frame::{Layout, Matrix, PixelFormat, Plane, Range};

/// Converts pictures of one layout to RGB of another size as the element `videoconvertscale` does: bilinear, on one
/// thread.
pub struct Converter {
    converter: gst_video::VideoConverter,
    info: gst_video::VideoInfo,
    pictures: Vec<gst::Buffer>,
    next: usize,
    output: gst_video::VideoFrame<gst_video::video_frame::Writable>,
}

impl Converter {
    /// For `pictures` of `layout` in NV12, each with its planes one after the other and rows without gaps, to as many
    /// columns and rows.
    ///
    /// # Errors
    /// If a picture has another length, or GStreamer has no such conversion.
    pub fn new(layout: &Layout, pictures: Vec<Vec<u8>>, [width, height]: [usize; 2]) -> Result<Self, Error> {
        let made = || {
            let format = match layout.format {
                PixelFormat::Nv12 => gst_video::VideoFormat::Nv12,
                _ => return None,
            };
            let colorimetry = match (layout.color.matrix, layout.color.range) {
                (Matrix::Bt709, Range::Limited) => "bt709",
                _ => "bt601",
            };
            let info = gst_video::VideoInfo::builder(format, layout.width as u32, layout.height as u32);
            let info = info.colorimetry(&colorimetry.parse().ok()?).build().ok()?;
            if pictures.is_empty() || pictures.iter().any(|picture| picture.len() != info.size()) {
                return None;
            }
            let pictures = pictures.into_iter().map(gst::Buffer::from_slice).collect();
            let rgb = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, width as u32, height as u32);
            let rgb = rgb.build().ok()?;
            let mut config = gst_video::VideoConverterConfig::new();
            config.set_resampler_method(gst_video::VideoResamplerMethod::Linear);
            config.set_threads(1);
            let buffer = gst::Buffer::with_size(rgb.size()).ok()?;
            let output = gst_video::VideoFrame::from_buffer_writable(buffer, &rgb).ok()?;
            let converter = gst_video::VideoConverter::new(&info, &rgb, Some(config)).ok()?;
            Some(Self { converter, info, pictures, next: 0, output })
        };
        made().ok_or_else(|| Error::Unusable { message: "GStreamer cannot convert such pictures".into() })
    }

    /// The next picture in RGB: rows of `stride` bytes.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn run(&mut self) -> Result<Plane<'_>, Error> {
        let wrong = || Error::Unusable { message: "GStreamer cannot read the picture".into() };
        self.next = (self.next + 1) % self.pictures.len();
        let picture = gst_video::VideoFrameRef::from_buffer_ref_readable(&self.pictures[self.next], &self.info);
        self.converter.frame_ref(&picture.map_err(|_| wrong())?, &mut self.output.as_mut_video_frame_ref());
        let stride = self.output.plane_stride().first().and_then(|stride| usize::try_from(*stride).ok());
        let data = self.output.plane_data(0).map_err(|_| wrong())?;
        Ok(Plane { data, stride: stride.ok_or_else(wrong)? })
    }
}
