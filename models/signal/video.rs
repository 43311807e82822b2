//! Runs GStreamer: frames into a pipeline, frames or packets out of it.

use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use image::RgbImage;

use super::Error;
use super::canvas::Canvas;
use super::random::Random;

/// Maximum time that a pipeline may take for one frame.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between frames.
const INTERVAL: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// The elements in use, and the packages that hold them.
const ELEMENTS: [(&str, &str); 9] = [
    ("appsrc", "gstreamer1.0-plugins-base"),
    ("appsink", "gstreamer1.0-plugins-base"),
    ("videoconvert", "gstreamer1.0-plugins-base"),
    ("videoscale", "gstreamer1.0-plugins-base"),
    ("videotestsrc", "gstreamer1.0-plugins-base"),
    ("jpegenc", "gstreamer1.0-plugins-good"),
    ("jpegdec", "gstreamer1.0-plugins-good"),
    ("x264enc", "gstreamer1.0-plugins-ugly"),
    ("avdec_h264", "gstreamer1.0-libav"),
];

/// Loads GStreamer.
///
/// # Errors
/// If it does not start, or an element is missing.
pub(crate) fn init() -> Result<(), Error> {
    gst::init().map_err(|error| Error::Video { launch: String::new(), message: error.to_string() })?;
    match ELEMENTS.iter().find(|(element, _)| gst::ElementFactory::find(element).is_none()) {
        Some((element, package)) => Err(Error::Missing { what: format!("GStreamer's element {element}"), package }),
        None => Ok(()),
    }
}

/// How frames travel from a camera: their size, pixel format and compression.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) format: &'static str,
    pub(crate) colorimetry: &'static str,
    pub(crate) codec: Codec,
}

/// A compression.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Codec {
    /// None.
    Raw,
    /// Motion JPEG with this quality, in percent.
    Jpeg { quality: u32 },
    /// H.264 with a constant quantizer.
    H264Quality { quantizer: u32 },
    /// H.264 with a bit rate, in kbit/s.
    H264Rate { rate: u32 },
}

impl Codec {
    /// Its name in the lists.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Jpeg { .. } => "jpeg",
            Self::H264Quality { .. } | Self::H264Rate { .. } => "h264",
        }
    }

    /// The encoder; nothing for frames that are not compressed. One thread, so that the result is always the same.
    fn encoder(self) -> String {
        match self {
            Self::Raw => String::new(),
            Self::Jpeg { quality } => format!("! jpegenc quality={quality}"),
            Self::H264Quality { quantizer } => {
                format!("! x264enc threads=1 speed-preset=superfast tune=zerolatency pass=quant quantizer={quantizer}")
            }
            Self::H264Rate { rate } => format!(
                "! x264enc threads=1 speed-preset=superfast tune=zerolatency bitrate={rate} vbv-buf-capacity=1000"
            ),
        }
    }

    fn decoder(self) -> &'static str {
        match self {
            Self::Raw => "",
            Self::Jpeg { .. } => "! jpegdec",
            Self::H264Quality { .. } | Self::H264Rate { .. } => DECODER,
        }
    }

    /// Whether a frame depends on others.
    pub(crate) fn is_predictive(self) -> bool {
        matches!(self, Self::H264Quality { .. } | Self::H264Rate { .. })
    }
}

/// Decodes H.264 as far as possible, damage and all.
const DECODER: &str = "! avdec_h264 max-threads=1 output-corrupt=true";
/// The end of every pipeline that shows frames.
const OUT: &str = "! videoconvert ! video/x-raw,format=RGB ! appsink name=out sync=false";

/// Frame sizes of cameras, and how often they occur: a good part is large.
const SIZES: [(u32, u32, usize); 17] = [
    (320, 240, 12),
    (352, 288, 4),
    (424, 240, 4),
    (480, 360, 4),
    (640, 360, 8),
    (640, 480, 16),
    (704, 576, 5),
    (720, 576, 3),
    (800, 448, 3),
    (800, 600, 5),
    (960, 540, 5),
    (1024, 576, 3),
    (1024, 768, 4),
    (1280, 720, 14),
    (1280, 960, 3),
    (1280, 1024, 2),
    (1920, 1080, 8),
];

impl Route {
    /// A route at random. `low` compresses more, as for pictures that must survive it.
    pub(crate) fn random(random: &mut Random, low: bool) -> Self {
        let (width, height) = size(random);
        let format = ["I420", "NV12", "YUY2", "RGB"][[0, 0, 0, 1, 1, 2, 3][random.below(7)]];
        let colorimetry = if height >= 720 { "bt709" } else { "bt601" };
        // Bits per pixel, at 25 frames a second.
        let bits = random.within(0.02_f64.ln(), 0.15_f64.ln()).exp() * if low { 0.4 } else { 1.0 };
        let rate = (bits * f64::from(width * height) * 25.0 / 1000.0) as u32;
        let codec = match random.below(10) {
            0..=2 => Codec::Raw,
            3..=5 => Codec::Jpeg { quality: random.within(if low { 8.0 } else { 20.0 }, 90.0) as u32 },
            6..=7 => Codec::H264Quality { quantizer: random.within(22.0, if low { 42.0 } else { 36.0 }) as u32 },
            _ => Codec::H264Rate { rate: rate.max(40) },
        };
        // The encoders take planar formats.
        let format = match codec {
            Codec::Raw => format,
            _ => "I420",
        };
        Self { width, height, format, colorimetry, codec }
    }

    fn caps(&self) -> String {
        let Self { width, height, format, colorimetry, .. } = self;
        let colorimetry = match *format {
            "RGB" => String::new(),
            _ => format!(",colorimetry={colorimetry}"),
        };
        format!("video/x-raw,format={format},width={width},height={height}{colorimetry}")
    }
}

/// The size of a frame at random.
pub(crate) fn size(random: &mut Random) -> (u32, u32) {
    let mut left = random.below(SIZES.iter().map(|(.., weight)| weight).sum());
    for (width, height, weight) in SIZES {
        if left < weight {
            return (width, height);
        }
        left -= weight;
    }
    (640, 480)
}

/// A frame out of a pipeline.
pub(crate) struct Frame {
    /// Its number.
    pub(crate) index: usize,
    pub(crate) image: RgbImage,
}

/// Sends pictures, all of one size, along a route. Each is shown for so many frames, the last of which is returned.
///
/// # Errors
/// If GStreamer fails, or a frame is lost.
pub(crate) fn send(canvases: &[Canvas], route: &Route, shown: usize) -> Result<Vec<RgbImage>, Error> {
    let launch = format!(
        "{} ! videoscale ! videoconvert ! {} {} {} {OUT}",
        source(canvases),
        route.caps(),
        route.codec.encoder(),
        route.codec.decoder()
    );
    let buffers = canvases.iter().flat_map(|canvas| {
        let bytes = canvas.bytes();
        (0..shown).map(move |_| bytes.clone())
    });
    let frames = show(&launch, buffers, None)?;
    let mut pictures: Vec<Option<RgbImage>> = vec![None; canvases.len()];
    for frame in frames {
        if frame.index % shown == shown - 1
            && let Some(picture) = pictures.get_mut(frame.index / shown)
        {
            *picture = Some(frame.image);
        }
    }
    let lost = || Error::Video { launch: launch.clone(), message: "a frame was lost".into() };
    pictures.into_iter().map(|picture| picture.ok_or_else(lost)).collect()
}

fn source(canvases: &[Canvas]) -> String {
    let (width, height) = canvases.first().map_or((0, 0), |canvas| (canvas.width, canvas.height));
    format!("appsrc name=in format=time caps=video/x-raw,format=RGB,width={width},height={height},framerate=25/1")
}

/// Frames of `videotestsrc`, beginning with the one of number `first`.
///
/// # Errors
/// If GStreamer fails.
pub(crate) fn pattern(pattern: &str, route: &Route, first: u64, count: usize) -> Result<Vec<RgbImage>, Error> {
    let launch = format!(
        "videotestsrc pattern={pattern} num-buffers={} ! {},framerate=25/1 {} {} {OUT}",
        // Seeking drops what has been made before it.
        if first > 0 { count + 8 } else { count },
        route.caps(),
        route.codec.encoder(),
        route.codec.decoder()
    );
    let frames = show(&launch, std::iter::empty(), (first > 0).then(|| INTERVAL * first))?;
    let images: Vec<RgbImage> = frames.into_iter().map(|frame| frame.image).take(count).collect();
    match images.len() == count {
        true => Ok(images),
        false => Err(Error::Video { launch, message: format!("{} frames instead of {count}", images.len()) }),
    }
}

/// The access units into which H.264 or JPEG packs pictures.
///
/// # Errors
/// If GStreamer fails.
pub(crate) fn encode(canvases: &[Canvas], route: &Route, options: &str) -> Result<Vec<Vec<u8>>, Error> {
    let stream = match route.codec.is_predictive() {
        true => "! video/x-h264,stream-format=byte-stream,alignment=au",
        false => "",
    };
    let launch = format!(
        "{} ! videoscale ! videoconvert ! {} {} {options} {stream} ! appsink name=out sync=false",
        source(canvases),
        route.caps(),
        route.codec.encoder(),
    );
    let mut units = Vec::new();
    let buffers = canvases.iter().map(Canvas::bytes);
    run(&launch, buffers, None, |_, sample| {
        let map = sample.buffer().and_then(|buffer| buffer.map_readable().ok());
        units.push(map.map(|map| map.to_vec()).unwrap_or_default());
        Ok(())
    })?;
    Ok(units)
}

/// The frames that a decoder makes of access units, some of which may be damaged or empty.
///
/// # Errors
/// If GStreamer fails.
pub(crate) fn decode(units: &[Vec<u8>], route: &Route) -> Result<Vec<Frame>, Error> {
    let caps = match route.codec.is_predictive() {
        true => "video/x-h264,stream-format=byte-stream,alignment=au,framerate=25/1".to_owned(),
        false => format!("image/jpeg,width={},height={},framerate=25/1", route.width, route.height),
    };
    let launch = format!("appsrc name=in format=time caps={caps} {} {OUT}", route.codec.decoder());
    show(&launch, units.iter().cloned(), None)
}

/// Runs a pipeline for its frames.
fn show(
    launch: &str,
    buffers: impl Iterator<Item = Vec<u8>>,
    start: Option<gst::ClockTime>,
) -> Result<Vec<Frame>, Error> {
    let mut frames = Vec::new();
    run(launch, buffers, start, |number, sample| {
        frames.push(frame(number, sample).ok_or("a frame cannot be read")?);
        Ok(())
    })?;
    Ok(frames)
}

fn frame(number: usize, sample: &gst::Sample) -> Option<Frame> {
    let (buffer, info) = (sample.buffer()?, gst_video::VideoInfo::from_caps(sample.caps()?).ok()?);
    // Encoders may begin their time stamps anywhere; the segment says where.
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let index = match segment.to_running_time(buffer.pts()) {
        Some(time) => ((time + INTERVAL / 2).nseconds() / INTERVAL.nseconds()) as usize,
        None => number,
    };
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).ok()?;
    let (stride, row) = (usize::try_from(*info.stride().first()?).ok()?, 3 * info.width() as usize);
    let rows = frame.plane_data(0).ok()?.chunks(stride).take(info.height() as usize);
    let pixels = rows.flat_map(|line| &line[..row]).copied().collect();
    Some(Frame { index, image: RgbImage::from_raw(info.width(), info.height(), pixels)? })
}

/// Feeds `buffers` to a pipeline's `in`, if it has one, and calls `take` with the samples at `out`. With `start`, the
/// source begins there.
fn run(
    launch: &str,
    buffers: impl Iterator<Item = Vec<u8>>,
    start: Option<gst::ClockTime>,
    mut take: impl FnMut(usize, &gst::Sample) -> Result<(), &'static str>,
) -> Result<(), Error> {
    let fail = |message: &str| Error::Video { launch: launch.to_owned(), message: message.to_owned() };
    let pipeline = gst::parse::launch(launch).map_err(|error| fail(&error.to_string()))?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().map_err(|_| fail("it is no pipeline"))?;
    let _stop = Stop(&pipeline);
    let sink = pipeline.by_name("out").and_then(|sink| sink.downcast::<gst_app::AppSink>().ok());
    let sink = sink.ok_or_else(|| fail("it has no appsink"))?;
    let state = if start.is_some() { gst::State::Paused } else { gst::State::Playing };
    pipeline.set_state(state).map_err(|error| fail(&error.to_string()))?;
    if let Some(start) = start {
        pipeline.state(gst::ClockTime::from_seconds(PATIENCE.as_secs())).0.map_err(|error| fail(&error.to_string()))?;
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        pipeline.seek_simple(flags, start).map_err(|error| fail(&error.to_string()))?;
        pipeline.set_state(gst::State::Playing).map_err(|error| fail(&error.to_string()))?;
    }
    if let Some(source) = pipeline.by_name("in").and_then(|source| source.downcast::<gst_app::AppSrc>().ok()) {
        for (index, bytes) in buffers.enumerate() {
            // A frame that was lost in whole.
            if bytes.is_empty() {
                continue;
            }
            let mut buffer = gst::Buffer::from_mut_slice(bytes);
            if let Some(buffer) = buffer.get_mut() {
                buffer.set_pts(INTERVAL * index as u64);
                buffer.set_dts(INTERVAL * index as u64);
                buffer.set_duration(INTERVAL);
            }
            source.push_buffer(buffer).map_err(|error| fail(&error.to_string()))?;
        }
        source.end_of_stream().map_err(|error| fail(&error.to_string()))?;
    }
    let patience = gst::ClockTime::from_seconds(PATIENCE.as_secs());
    let mut number = 0;
    while let Some(sample) = sink.try_pull_sample(patience) {
        take(number, &sample).map_err(fail)?;
        number += 1;
    }
    let bus = pipeline.bus().ok_or_else(|| fail("it has no bus"))?;
    match bus.pop_filtered(&[gst::MessageType::Error]).as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => Err(fail(&error.error().to_string())),
        _ if !sink.is_eos() => Err(fail("it takes too long")),
        _ => Ok(()),
    }
}

/// Stops a pipeline at the end, however it comes.
struct Stop<'a>(&'a gst::Pipeline);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        // Nothing is left to do if it does not stop.
        let _ = self.0.set_state(gst::State::Null);
    }
}
