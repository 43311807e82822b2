//! The end of a pipeline: turns what GStreamer decodes into frames, which keep its buffers mapped.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::told::Told;
use crate::capture::player::Activity;
use crate::capture::{Deliver, Frame};
use crate::frame::{
    ChromaSite, Color, Layout, Matrix, PixelAspect, PixelFormat, Pixels, Plane, Range, Timestamp, monotonic_ns,
};
use crate::telemetry::Ticket;

/// The raw formats that preprocessing reads; videoconvert converts any other to the nearest of them.
pub(super) fn accepted_caps() -> gst::Caps {
    let names = FORMATS.iter().map(|(format, _)| format.to_str());
    gst::Caps::builder("video/x-raw").field("format", gst::List::new(names)).build()
}

const FORMATS: [(gst_video::VideoFormat, PixelFormat); 26] = [
    (gst_video::VideoFormat::Nv12, PixelFormat::Nv12),
    (gst_video::VideoFormat::Nv21, PixelFormat::Nv21),
    (gst_video::VideoFormat::Nv16, PixelFormat::Nv16),
    (gst_video::VideoFormat::I420, PixelFormat::I420),
    (gst_video::VideoFormat::Yv12, PixelFormat::Yv12),
    (gst_video::VideoFormat::Y42b, PixelFormat::Y42b),
    (gst_video::VideoFormat::Y444, PixelFormat::Y444),
    (gst_video::VideoFormat::Yuy2, PixelFormat::Yuy2),
    (gst_video::VideoFormat::Yvyu, PixelFormat::Yvyu),
    (gst_video::VideoFormat::Uyvy, PixelFormat::Uyvy),
    (gst_video::VideoFormat::Rgb, PixelFormat::Rgb),
    (gst_video::VideoFormat::Bgr, PixelFormat::Bgr),
    (gst_video::VideoFormat::Rgbx, PixelFormat::Rgbx),
    (gst_video::VideoFormat::Rgba, PixelFormat::Rgbx),
    (gst_video::VideoFormat::Bgrx, PixelFormat::Bgrx),
    (gst_video::VideoFormat::Bgra, PixelFormat::Bgrx),
    (gst_video::VideoFormat::Xrgb, PixelFormat::Xrgb),
    (gst_video::VideoFormat::Argb, PixelFormat::Xrgb),
    (gst_video::VideoFormat::Xbgr, PixelFormat::Xbgr),
    (gst_video::VideoFormat::Abgr, PixelFormat::Xbgr),
    (gst_video::VideoFormat::Gray8, PixelFormat::Gray8),
    (gst_video::VideoFormat::P01010le, PixelFormat::P010),
    (gst_video::VideoFormat::I42010le, PixelFormat::I42010),
    (gst_video::VideoFormat::I42210le, PixelFormat::I42210),
    (gst_video::VideoFormat::Y44410le, PixelFormat::Y44410),
    (gst_video::VideoFormat::Gray16Le, PixelFormat::Gray16),
];

/// The end of the pipeline: turns samples into frames.
pub(super) struct SampleReader {
    stream: Arc<str>,
    live: bool,
    ticket: Ticket,
    deliver: Deliver,
    activity: Arc<Activity>,
    format: Option<(gst::Caps, gst_video::VideoInfo, Layout)>,
    told: Arc<Told>,
}

impl SampleReader {
    /// For a source that is `live` or not; frames get their numbers from `ticket`.
    pub(super) fn new(
        stream: &Arc<str>,
        live: bool,
        ticket: Ticket,
        deliver: Deliver,
        activity: &Arc<Activity>,
        told: &Arc<Told>,
    ) -> Self {
        Self {
            stream: Arc::clone(stream),
            live,
            ticket,
            deliver,
            activity: Arc::clone(activity),
            format: None,
            told: Arc::clone(told),
        }
    }

    /// Delivers the next frame from the appsink.
    pub(super) fn take(&mut self, sink: &gst_app::AppSink) -> Result<gst::FlowSuccess, gst::FlowError> {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let arrived = Timestamp::now();
        self.activity.begin_frame();
        let flow = self.deliver(sink, &sample, arrived);
        self.activity.end_frame(monotonic_ns());
        flow
    }

    fn deliver(
        &mut self,
        sink: &gst_app::AppSink,
        sample: &gst::Sample,
        arrived: Timestamp,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let Some(frame) = self.frame(sink, sample, arrived) else {
            gst::element_error!(sink, gst::StreamError::Format, ("a frame cannot be mapped as its caps describe it"));
            return Err(gst::FlowError::Error);
        };
        let Some(seq) = self.ticket.number() else { return Err(gst::FlowError::Flushing) };
        self.activity.count_frame();
        match (self.deliver)(Frame { seq, ..frame }) {
            ControlFlow::Continue(()) => Ok(gst::FlowSuccess::Ok),
            ControlFlow::Break(()) => {
                self.activity.refuse();
                Err(gst::FlowError::Eos)
            }
        }
    }

    /// The frame, not yet numbered; `None` if the sample is not as its caps describe it.
    fn frame(&mut self, sink: &gst_app::AppSink, sample: &gst::Sample, arrived: Timestamp) -> Option<Frame> {
        let caps = sample.caps()?;
        if self.format.as_ref().is_none_or(|(known, ..)| known.as_ref() != caps) {
            let info = gst_video::VideoInfo::from_caps(caps).ok()?;
            let layout = layout(&info)?;
            if let Some(count) = self.told.format(&caps.to_string()) {
                let (width, height, format) = (layout.width, layout.height, info.format());
                tracing::info!(stream = %self.stream, count, "the frames have a new format: {width}x{height} {format}");
                tracing::debug!(stream = %self.stream, %caps, "all properties of the format");
            }
            self.format = Some((caps.to_owned(), info, layout));
        }
        let (_, info, layout) = self.format.as_ref()?;
        let buffer = sample.buffer_owned()?;
        let age = if self.live { age(sink, sample, &buffer) } else { Duration::ZERO };
        let mapped = gst_video::VideoFrame::from_buffer_readable(buffer, info).ok()?;
        Some(Frame {
            file: None,
            stream: Arc::clone(&self.stream),
            seq: 0,
            captured: arrived.before(age),
            arrived_ns: arrived.monotonic_ns,
            layout: *layout,
            pixels: Mapped(mapped).into(),
        })
    }
}

/// Tells what is in front of `sink` that frames may lie in memory in any way that a `GstVideoMeta` describes; otherwise
/// decoders copy every frame whose rows have padding.
pub(super) fn take_any_layout(sink: &gst::Element) {
    let Some(pad) = sink.static_pad("sink") else { return };
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        let Some(gst::PadProbeData::Query(query)) = &mut info.data else { return gst::PadProbeReturn::Ok };
        let gst::QueryViewMut::Allocation(allocation) = query.view_mut() else { return gst::PadProbeReturn::Ok };
        allocation.add_allocation_meta::<gst_video::VideoMeta>(None);
        gst::PadProbeReturn::Handled
    });
}

/// Fails the pipeline at a raw frame of `decode` that is shorter than its format: the filters that follow would warn and
/// pass on memory that nothing has written.
pub(super) fn refuse_short(decode: &gst::Element) {
    decode.connect_pad_added(refuse_short_at);
}

fn refuse_short_at(element: &gst::Element, pad: &gst::Pad) {
    let element = element.downgrade();
    let format = Mutex::<Option<(gst::Caps, usize)>>::default();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let (Some(gst::PadProbeData::Buffer(buffer)), Some(caps)) = (&info.data, pad.current_caps()) else {
            return gst::PadProbeReturn::Ok;
        };
        let mut format = format.lock().unwrap_or_else(PoisonError::into_inner);
        let needed = match &*format {
            Some((known, size)) if *known == caps => *size,
            _ => {
                let size = gst_video::VideoInfo::from_caps(&caps).map_or(0, |info| info.size());
                format.insert((caps, size)).1
            }
        };
        // An element that attaches sizes of its own is trusted with them.
        if buffer.size() >= needed || buffer.meta::<gst_video::VideoMeta>().is_some() {
            return gst::PadProbeReturn::Ok;
        }
        if let Some(element) = element.upgrade() {
            gst::element_error!(element, gst::StreamError::Format, ("a frame is shorter than its format"));
        }
        gst::PadProbeReturn::Handled
    });
}

/// How long ago the picture was taken, according to the source.
fn age(sink: &gst_app::AppSink, sample: &gst::Sample, buffer: &gst::BufferRef) -> Duration {
    let taken = || {
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let taken = sink.base_time()? + segment.to_running_time(buffer.pts()?)?;
        sink.clock()?.time().checked_sub(taken)
    };
    taken().map_or(Duration::ZERO, |age| Duration::from_nanos(age.nseconds()))
}

/// A buffer that stays mapped, and out of the decoder's reach, for the life of the frame.
pub(in crate::capture) struct Mapped(gst_video::VideoFrame<gst_video::video_frame::Readable>);

impl Pixels for Mapped {
    fn plane(&self, index: usize) -> Plane<'_> {
        let stride = self.0.plane_stride().get(index).and_then(|stride| usize::try_from(*stride).ok());
        let data = u32::try_from(index).ok().and_then(|index| self.0.plane_data(index).ok());
        Plane { data: data.unwrap_or(&[]), stride: stride.unwrap_or(0) }
    }
}

fn layout(info: &gst_video::VideoInfo) -> Option<Layout> {
    let format = FORMATS.iter().find(|(known, _)| *known == info.format())?.1;
    let colorimetry = info.colorimetry();
    let matrix = match colorimetry.matrix() {
        gst_video::VideoColorMatrix::Rgb => Matrix::Rgb,
        gst_video::VideoColorMatrix::Fcc => Matrix::Fcc,
        gst_video::VideoColorMatrix::Bt709 => Matrix::Bt709,
        gst_video::VideoColorMatrix::Smpte240m => Matrix::Smpte240m,
        gst_video::VideoColorMatrix::Bt2020 => Matrix::Bt2020,
        _ => Matrix::Bt601,
    };
    let range = match (colorimetry.range(), matrix) {
        (gst_video::VideoColorRange::Range0_255, _) => Range::Full,
        (gst_video::VideoColorRange::Range16_235, _) => Range::Limited,
        (_, Matrix::Rgb) => Range::Full,
        _ => Range::Limited,
    };
    let site = info.chroma_site();
    let chroma_site = ChromaSite {
        cosited_x: site.contains(gst_video::VideoChromaSite::H_COSITED),
        cosited_y: site.contains(gst_video::VideoChromaSite::V_COSITED),
    };
    let color = Color { matrix, range, chroma_site };
    let side = |number: i32| u32::try_from(number).unwrap_or(1).max(1);
    let aspect = PixelAspect { width: side(info.par().numer()), height: side(info.par().denom()) };
    Some(Layout { format, width: info.width() as usize, height: info.height() as usize, color, aspect })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::init;
    use super::*;
    use crate::telemetry::FrameNumbers;

    #[test]
    fn a_frame_that_is_shorter_than_its_format_reaches_no_filter() {
        init().unwrap();
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 64, 48).build().unwrap();
        let text = "appsrc name=source format=time ! videoflip video-direction=90r ! appsink name=sink sync=false";
        let pipeline = gst::parse::launch(text).unwrap().downcast::<gst::Pipeline>().unwrap();
        let source = pipeline.by_name("source").unwrap().downcast::<gst_app::AppSrc>().unwrap();
        let sink = pipeline.by_name("sink").unwrap().downcast::<gst_app::AppSink>().unwrap();
        source.set_caps(Some(&info.to_caps().unwrap()));
        refuse_short_at(source.upcast_ref(), &source.static_pad("src").unwrap());
        pipeline.set_state(gst::State::Playing).unwrap();
        for size in [info.size(), 1000] {
            source.push_buffer(gst::Buffer::with_size(size).unwrap()).unwrap();
        }
        source.end_of_stream().unwrap();
        assert!(sink.pull_sample().is_ok());
        assert!(sink.pull_sample().is_err(), "the short one is not passed on");
        let failed = pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Error]).unwrap();
        let gst::MessageView::Error(failed) = failed.view() else { panic!("{failed:?}") };
        assert!(failed.error().message().contains("shorter than its format"), "{failed:?}");
        pipeline.set_state(gst::State::Null).unwrap();
    }

    #[test]
    fn a_frame_that_is_shorter_than_its_caps_say_is_a_failure_and_no_end() {
        init().unwrap();
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Nv12, 64, 48).build().unwrap();
        let caps = info.to_caps().unwrap();
        let pipeline = gst::Pipeline::new();
        let source = gst_app::AppSrc::builder().caps(&caps).build();
        let sink = gst_app::AppSink::builder().sync(false).build();
        pipeline.add_many([source.upcast_ref::<gst::Element>(), sink.upcast_ref()]).unwrap();
        source.link(&sink).unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let numbers = Arc::<FrameNumbers>::default();
        let activity = Activity::new(0);
        let deliver: Deliver = Arc::new(|_| ControlFlow::Continue(()));
        let mut reader = SampleReader::new(&"s".into(), false, numbers.begin(), deliver, &activity, &Arc::default());
        source.push_buffer(gst::Buffer::with_size(10).unwrap()).unwrap();
        assert_eq!(reader.take(&sink), Err(gst::FlowError::Error));
        assert!(!activity.is_refused());
        assert_eq!((activity.frames(), numbers.next()), (0, 0), "it is no frame");
        let failed = pipeline.bus().unwrap().pop_filtered(&[gst::MessageType::Error]);
        assert!(failed.is_some(), "the source is told of it");
        source.push_buffer(gst::Buffer::with_size(info.size()).unwrap()).unwrap();
        assert_eq!(reader.take(&sink), Ok(gst::FlowSuccess::Ok));
        assert_eq!((activity.frames(), numbers.next()), (1, 1));
        pipeline.set_state(gst::State::Null).unwrap();
    }

    #[test]
    fn every_accepted_format_has_the_planes_that_gstreamer_gives_it() {
        init().unwrap();
        for (format, ours) in FORMATS {
            let info = gst_video::VideoInfo::builder(format, 65, 33).build().unwrap();
            assert_eq!(info.n_planes() as usize, ours.planes(), "{format:?}");
            let buffer = gst::Buffer::with_size(info.size()).unwrap();
            let mapped = Mapped(gst_video::VideoFrame::from_buffer_readable(buffer, &info).unwrap());
            let layout = layout(&info).unwrap();
            let planes = [0, 1, 2].map(|plane| mapped.plane(plane));
            assert!(crate::frame::Picture::new(layout, planes).is_ok(), "{format:?}");
        }
    }

    #[test]
    fn pixels_have_the_shape_that_the_caps_say() {
        init().unwrap();
        let caps = "video/x-raw,format=NV12,width=720,height=576,framerate=25/1,pixel-aspect-ratio=64/45";
        let caps: gst::Caps = caps.parse().unwrap();
        let layout = layout(&gst_video::VideoInfo::from_caps(&caps).unwrap()).unwrap();
        assert_eq!(layout.aspect, PixelAspect { width: 64, height: 45 });
        let [wide, high] = layout.shown();
        assert_eq!(wide * 9, high * 16);
    }

    #[test]
    fn colorimetry_and_chroma_site_are_read_from_the_caps() {
        init().unwrap();
        for (caps, matrix, range, cosited_x) in [
            ("colorimetry=bt709,chroma-site=mpeg2", Matrix::Bt709, Range::Limited, true),
            ("colorimetry=bt601,chroma-site=jpeg", Matrix::Bt601, Range::Limited, false),
            ("colorimetry=(string)1:4:0:0,chroma-site=jpeg", Matrix::Bt601, Range::Full, false),
            ("colorimetry=bt2020,chroma-site=cosited", Matrix::Bt2020, Range::Limited, true),
        ] {
            let caps = format!("video/x-raw,format=NV12,width=64,height=64,framerate=30/1,{caps}");
            let caps: gst::Caps = caps.parse().unwrap();
            let layout = layout(&gst_video::VideoInfo::from_caps(&caps).unwrap()).unwrap();
            let color = layout.color;
            assert_eq!((color.matrix, color.range, color.chroma_site.cosited_x), (matrix, range, cosited_x), "{caps}");
            assert_eq!(layout.shown(), [64, 64], "{caps}");
        }
    }
}
