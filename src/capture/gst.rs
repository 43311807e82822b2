//! The only file that runs GStreamer: starts one pipeline and hands out its frames.
//!
//! Frames leave GStreamer by the appsink's callback, on the thread that decoded them, and carry the
//! mapped buffer with them: no sample is copied.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::guard::{self, Attempt, Guard};
use super::source::Launch;
use super::{Deliver, Error, package, plug};
use crate::exit::Exit;
use crate::frame::{
    ChromaSite, Color, Frame, Layout, Matrix, PixelFormat, Pixels, Plane, Range, Timestamp, monotonic_ns,
};
use crate::telemetry::Ticket;

/// Loads GStreamer; the first call in the process does the work.
///
/// # Errors
/// GStreamer cannot start.
pub fn init() -> Result<(), Error> {
    static READY: OnceLock<Result<(), String>> = OnceLock::new();
    let ready = READY.get_or_init(|| {
        gst::init().map_err(|source| source.to_string())?;
        guard::register().map_err(|source| source.to_string())
    });
    ready.clone().map_err(|message| Error::Broken { message })
}

/// Version of the GStreamer that is in use.
#[must_use]
pub fn version() -> String {
    gst::version_string().to_string()
}

/// What a running pipeline has to say.
#[derive(Debug)]
pub(super) enum Notice {
    /// All frames have been delivered.
    End,
    /// The pipeline has failed.
    Failed(Error),
    /// Something odd that it goes on from.
    Warning(String),
}

/// Most bytes that a network camera may send before a frame comes of them: more than ten seconds of 4K between two whole
/// pictures.
pub(super) const MOST_PER_FRAME: u64 = 128 << 20;

/// When frames passed, for the one who watches.
#[derive(Debug)]
pub(super) struct Activity {
    frames: AtomicU64,
    last_ns: AtomicU64,
    delivering: AtomicBool,
    refused: AtomicBool,
    /// Bytes that a network camera has sent since the last frame.
    since_frame: AtomicU64,
}

impl Activity {
    /// Whether a network camera has sent [`MOST_PER_FRAME`] without a frame.
    pub(super) fn is_flooded(&self) -> bool {
        self.since_frame.load(Ordering::Relaxed) > MOST_PER_FRAME
    }

    /// Frames that have arrived.
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Whether nobody takes frames any more.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// Time without a frame for which the source is to blame: none while a frame is being taken.
    pub(super) fn idle(&self) -> Duration {
        if self.delivering.load(Ordering::Acquire) {
            return Duration::ZERO;
        }
        Duration::from_nanos(monotonic_ns().saturating_sub(self.last_ns.load(Ordering::Acquire)))
    }
}

/// A running pipeline. Dropping it takes it down, for which GStreamer may wait for a camera that answers too slowly.
pub(super) struct Session {
    pipeline: gst::Pipeline,
    pub(super) notices: Receiver<Notice>,
    pub(super) activity: Arc<Activity>,
}

impl Session {
    /// Starts the pipeline. Every frame goes to `deliver`; when that breaks, the source is told so
    /// and delivers no more.
    ///
    /// Frames get their numbers from `ticket`. When the attempt that it stands for has ended, none is delivered.
    pub(super) fn start(stream: &Arc<str>, launch: &Launch, ticket: Ticket, deliver: Deliver) -> Result<Self, Error> {
        init()?;
        let (pipeline, guard) = build(launch)?;
        let sink = pipeline.by_name("sink").and_then(|sink| sink.downcast::<gst_app::AppSink>().ok());
        let sink = sink.ok_or_else(|| Error::Unusable { message: "the pipeline has no appsink".into() })?;
        let activity = Arc::new(Activity {
            frames: AtomicU64::new(0),
            last_ns: AtomicU64::new(monotonic_ns()),
            delivering: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            since_frame: AtomicU64::new(0),
        });
        let mut outlet = Outlet {
            stream: Arc::clone(stream),
            live: launch.live,
            ticket,
            deliver,
            activity: Arc::clone(&activity),
            format: None,
        };
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| outlet.take(sink)).build();
        sink.set_callbacks(callbacks);

        let (sender, notices) = bounded(NOTICES);
        if let Some(decode) = pipeline.by_name("decode") {
            restrict(&decode)?;
        }
        if let Some(source) = pipeline.by_name("source").filter(|_| guard.is_some()) {
            limit(&source, &activity);
        }
        let bus = pipeline.bus().ok_or_else(|| Error::Unusable { message: "the pipeline has no bus".into() })?;
        bus.set_sync_handler(move |_, message| {
            forward(message, guard.as_deref(), &sender);
            gst::BusSyncReply::Drop
        });
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        let session = Self { pipeline, notices, activity };
        if session.pipeline.set_state(gst::State::Playing).is_err() {
            let failure = session.notices.try_iter().find_map(|notice| match notice {
                Notice::Failed(error) => Some(error),
                _ => None,
            });
            return Err(failure.unwrap_or_else(|| Error::Unusable { message: "the pipeline does not start".into() }));
        }
        Ok(session)
    }

    /// Whether no thread of the pipeline has work left, and none is being added.
    ///
    /// `decodebin` swallows the error that a demuxer posts while it is being plugged: such a pipeline neither fails nor
    /// ends. An element whose state is locked is one that `decodebin` has not finished with.
    pub(super) fn is_at_rest(&self) -> bool {
        let works = |element: &gst::Element| {
            let pads = element.pads();
            element.is_locked_state() || pads.iter().any(|pad| pad.task_state() == gst::TaskState::Started)
        };
        // Another thread may change the list meanwhile: that is work, too.
        self.pipeline.iterate_recurse().into_iter().all(|element| element.is_ok_and(|element| !works(&element)))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // First: a pipeline that takes long, or that GStreamer cannot take down, keeps no end of a queue.
        if let Some(sink) = self.pipeline.by_name("sink").and_then(|sink| sink.downcast::<gst_app::AppSink>().ok()) {
            sink.set_callbacks(gst_app::AppSinkCallbacks::builder().build());
        }
        if self.pipeline.set_state(gst::State::Null).is_err() {
            tracing::warn!("the GStreamer pipeline did not shut down cleanly");
        }
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
    }
}

/// Whether the pipeline can be built.
pub(super) fn check(launch: &Launch) -> Result<(), Error> {
    init()?;
    build(launch).map(drop)
}

/// The pipeline, and the guard of its `rtspsrc` where it has one.
fn build(launch: &Launch) -> Result<(gst::Pipeline, Option<Arc<Guard>>), Error> {
    let text = format!(
        "{} ! appsink name=sink sync=false qos=false max-buffers=1 drop=false enable-last-sample=false",
        launch.text
    );
    tracing::debug!(pipeline = %text, "launching");
    let mut context = gst::ParseContext::new();
    let mut parse = || gst::parse::launch_full(&text, Some(&mut context), gst::ParseFlags::FATAL_ERRORS);
    let guard = launch.endpoint.clone().map(Guard::new);
    let parsed = match &guard {
        Some(guard) => guard.watch(parse),
        None => parse(),
    };
    if let Some(element) = context.missing_elements().into_iter().next() {
        if gst::ElementFactory::find(&element).is_some() {
            let message =
                format!("the GStreamer element '{element}' is installed and cannot be loaded: see GST_DEBUG=3");
            return Err(Error::Unusable { message });
        }
        return Err(Error::MissingElement { package: package::of_element(&element), element });
    }
    let element = parsed.map_err(|error| Error::Unusable { message: format!("cannot build the pipeline: {error}") })?;
    let pipeline = element.downcast::<gst::Pipeline>();
    let pipeline = pipeline.map_err(|_| Error::Unusable { message: "the pipeline text holds no pipeline".into() })?;
    if let (Some(guard), Some(source)) = (&guard, pipeline.by_name("source"))
        && !guard.attach(&source)
    {
        return Err(Error::Broken { message: "its rtspsrc shows nobody what a camera answers".into() });
    }
    for (name, property, value) in &launch.properties {
        if let Some(element) = pipeline.by_name(name) {
            element.set_property(property, value);
        }
    }
    if let Some(sink) = pipeline.by_name("sink") {
        sink.set_property("caps", accepted_caps());
    }
    if let Some(source) = pipeline.by_name("source").filter(|source| source.has_signal("select-stream")) {
        select_video(&source);
    }
    Ok((pipeline, guard))
}

/// Has `decodebin` plug only what opens nothing else. Whatever would need more then counts as lacking a plugin.
fn restrict(decode: &gst::Element) -> Result<(), Error> {
    let signal = glib::subclass::SignalId::lookup("autoplug-select", decode.type_());
    let choice = signal.and_then(|signal| glib::EnumClass::with_type(signal.query().return_type().type_()));
    let choice = choice.ok_or_else(|| Error::Broken { message: "its decodebin takes no advice".into() })?;
    decode.connect("autoplug-select", false, move |arguments| {
        let caps = arguments.get(2)?.get::<gst::Caps>().ok()?;
        let factory = arguments.get(3)?.get::<gst::ElementFactory>().ok()?;
        let media = caps.structure(0).map_or("", |structure| structure.name().as_str());
        let class = factory.metadata("klass").unwrap_or_default();
        if plug::is_allowed(media, &factory.name(), class) {
            return choice.to_value_by_nick("try");
        }
        tracing::debug!(media, element = %factory.name(), "not plugged");
        choice.to_value_by_nick("skip")
    });
    Ok(())
}

/// Stops what a camera sends once it has sent too much without a frame: elements gather packets until a picture is whole.
fn limit(source: &gst::Element, activity: &Arc<Activity>) {
    let activity = Arc::clone(activity);
    source.connect_pad_added(move |_, pad| {
        let activity = Arc::clone(&activity);
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
            let size = match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => buffer.size(),
                Some(gst::PadProbeData::BufferList(list)) => list.iter().map(gst::BufferRef::size).sum(),
                _ => 0,
            };
            activity.since_frame.fetch_add(size as u64, Ordering::Relaxed);
            if activity.is_flooded() { gst::PadProbeReturn::Drop } else { gst::PadProbeReturn::Ok }
        });
    });
}

trait HasSignal {
    fn has_signal(&self, name: &str) -> bool;
}

impl HasSignal for gst::Element {
    fn has_signal(&self, name: &str) -> bool {
        glib::subclass::SignalId::lookup(name, self.type_()).is_some()
    }
}

/// Leaves audio and metadata streams of an RTSP server alone.
fn select_video(source: &gst::Element) {
    source.connect("select-stream", false, |arguments| {
        let caps = arguments.get(2).and_then(|caps| caps.get::<gst::Caps>().ok());
        let media = caps.as_ref().and_then(|caps| caps.structure(0)?.get::<String>("media").ok());
        Some((media.as_deref() == Some("video")).to_value())
    });
}

/// The raw formats that preprocessing reads; for any other, videoconvert finds the nearest of them.
fn accepted_caps() -> gst::Caps {
    let names = FORMATS.iter().map(|(format, _)| format.to_str());
    gst::Caps::builder("video/x-raw").field("format", gst::List::new(names)).build()
}

const FORMATS: [(gst_video::VideoFormat, PixelFormat); 21] = [
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
];

/// The end of the pipeline: turns samples into frames.
struct Outlet {
    stream: Arc<str>,
    live: bool,
    ticket: Ticket,
    deliver: Deliver,
    activity: Arc<Activity>,
    format: Option<(gst::Caps, gst_video::VideoInfo, Layout)>,
}

impl Outlet {
    fn take(&mut self, sink: &gst_app::AppSink) -> Result<gst::FlowSuccess, gst::FlowError> {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let arrived = Timestamp::now();
        let Some(seq) = self.ticket.number() else { return Err(gst::FlowError::Flushing) };
        self.activity.since_frame.store(0, Ordering::Relaxed);
        self.activity.delivering.store(true, Ordering::Release);
        let flow = match self.frame(sink, &sample, arrived, seq) {
            Some(frame) => (self.deliver)(frame),
            None => {
                gst::element_error!(
                    sink,
                    gst::StreamError::Format,
                    ("a frame cannot be mapped as its caps describe it")
                );
                ControlFlow::Break(())
            }
        };
        self.activity.last_ns.store(monotonic_ns(), Ordering::Release);
        self.activity.delivering.store(false, Ordering::Release);
        match flow {
            ControlFlow::Continue(()) => Ok(gst::FlowSuccess::Ok),
            ControlFlow::Break(()) => {
                self.activity.refused.store(true, Ordering::Release);
                Err(gst::FlowError::Eos)
            }
        }
    }

    fn frame(&mut self, sink: &gst_app::AppSink, sample: &gst::Sample, arrived: Timestamp, seq: u64) -> Option<Frame> {
        let caps = sample.caps()?;
        if self.format.as_ref().is_none_or(|(known, ..)| known.as_ref() != caps) {
            let info = gst_video::VideoInfo::from_caps(caps).ok()?;
            let layout = layout(&info)?;
            tracing::info!(stream = %self.stream, caps = %caps, "frames of a new format");
            self.format = Some((caps.to_owned(), info, layout));
        }
        let (_, info, layout) = self.format.as_ref()?;
        let buffer = sample.buffer_owned()?;
        let age = if self.live { age(sink, sample, &buffer) } else { Duration::ZERO };
        let mapped = gst_video::VideoFrame::from_buffer_readable(buffer, info).ok()?;
        self.activity.frames.fetch_add(1, Ordering::Relaxed);
        Some(Frame {
            stream: Arc::clone(&self.stream),
            seq,
            captured: arrived.before(age),
            arrived_ns: arrived.monotonic_ns,
            layout: *layout,
            pixels: Box::new(Mapped(mapped)),
        })
    }
}

/// How long ago the source says that it took the picture.
fn age(sink: &gst_app::AppSink, sample: &gst::Sample, buffer: &gst::BufferRef) -> Duration {
    let taken = || {
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let taken = sink.base_time()? + segment.to_running_time(buffer.pts()?)?;
        sink.clock()?.time().checked_sub(taken)
    };
    taken().map_or(Duration::ZERO, |age| Duration::from_nanos(age.nseconds()))
}

/// A buffer that stays mapped, and out of the decoder's hands, as long as the frame lives.
struct Mapped(gst_video::VideoFrame<gst_video::video_frame::Readable>);

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
    Some(Layout { format, width: info.width() as usize, height: info.height() as usize, color })
}

/// Notices that may wait for the supervisor.
const NOTICES: usize = 64;

/// Of these, what is kept free for an end or a failure.
const RESERVED: usize = 8;

/// Passes on what matters of the bus. What a camera tried says more than the failure that came of it.
fn forward(message: &gst::Message, guard: Option<&Guard>, notices: &Sender<Notice>) {
    let notice = match message.view() {
        gst::MessageView::Eos(_) => Notice::End,
        gst::MessageView::Error(error) => {
            tracing::debug!(error = %error.error(), "from the pipeline");
            Notice::Failed(match guard.and_then(Guard::attempt) {
                Some(Attempt::Elsewhere(to)) => Error::SentElsewhere { to },
                Some(Attempt::InClear) => Error::AskedInClear,
                Some(Attempt::InCircles) => Error::SentInCircles,
                None => failure(&error.error()),
            })
        }
        gst::MessageView::Warning(_) if notices.len() >= NOTICES - RESERVED => return,
        gst::MessageView::Warning(warning) => Notice::Warning(warning.error().message().to_owned()),
        gst::MessageView::Element(element) if element.structure().is_some_and(|it| it.name() == "redirect") => {
            Notice::Failed(Error::Reference { what: plug::REFERENCE_MOVIE })
        }
        gst::MessageView::Element(element) => match element.structure().and_then(missing_plugin) {
            Some(error) => Notice::Failed(error),
            None => return,
        },
        _ => return,
    };
    if notices.try_send(notice).is_err() {
        tracing::debug!("a message of the pipeline came too late");
    }
}

/// The element message by which decodebin says what it would need
/// (GStreamer, "Missing plugin messages").
fn missing_plugin(structure: &gst::StructureRef) -> Option<Error> {
    if structure.name() != "missing-plugin" {
        return None;
    }
    let what = structure.get::<String>("name").unwrap_or_else(|_| "a decoder".into());
    let media = match structure.get::<gst::Caps>("detail") {
        Ok(caps) => caps.structure(0).map(|structure| structure.name().to_string()),
        Err(_) => structure.get::<String>("detail").ok(),
    };
    let media = media.unwrap_or_default();
    if let Some(what) = plug::reference(&media) {
        return Some(Error::Reference { what });
    }
    // A container or its video cannot be done without; sound, subtitles and data beside it can.
    let needed = ["video/", "image/", "application/x-rtp", "application/ogg", "application/vnd.", "rtsp"];
    if !needed.iter().any(|start| media.starts_with(start)) {
        return None;
    }
    Some(Error::MissingDecoder { package: package::of_media(&media), what })
}

fn failure(error: &glib::Error) -> Error {
    let lacks_decoder = error.matches(gst::CoreError::MissingPlugin) || error.matches(gst::StreamError::CodecNotFound);
    if lacks_decoder {
        // What is missing for video has been said by a message before; this is about something else.
        return Error::NoVideo;
    }
    let (advice, exit) = if let Some(resource) = error.kind::<gst::ResourceError>() {
        match resource {
            gst::ResourceError::NotFound => ("check the path", Exit::NoInput),
            gst::ResourceError::NotAuthorized => {
                ("set stream.username and stream.password_file, or check them", Exit::NoPermission)
            }
            _ => ("check that the address is right and that something answers there", Exit::Unavailable),
        }
    } else if let Some(stream) = error.kind::<gst::StreamError>() {
        match stream {
            gst::StreamError::WrongType | gst::StreamError::TypeNotFound => {
                ("expected a media file that GStreamer knows", Exit::Data)
            }
            _ => ("the data may be damaged or cut off", Exit::Data),
        }
    } else {
        ("see the log of GStreamer with GST_DEBUG=3", Exit::Internal)
    };
    Error::Failed { message: error.message().trim_end_matches('.').to_owned(), advice, exit }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::source::PATTERNS;
    use super::*;
    use crate::telemetry::FrameNumbers;

    #[test]
    fn the_test_patterns_are_those_that_gstreamer_has() {
        init().unwrap();
        let element = gst::ElementFactory::make("videotestsrc").build().unwrap();
        let class = element.find_property("pattern").unwrap();
        let class = glib::EnumClass::with_type(class.value_type()).unwrap();
        let known: Vec<&str> = class.values().iter().map(|value| value.nick()).collect();
        assert_eq!(known, PATTERNS);
    }

    #[test]
    fn a_session_whose_attempt_has_ended_delivers_no_more_frames() {
        let launch = Launch {
            text: "videotestsrc name=source is-live=false num-buffers=50 ! video/x-raw,format=NV12,width=64,height=64"
                .into(),
            properties: Vec::new(),
            live: false,
            endpoint: None,
        };
        let numbers = Arc::<FrameNumbers>::default();
        let (delivered, arrived) = bounded(50);
        let (release, released) = bounded::<()>(0);
        let deliver: Deliver = Arc::new(move |frame: Frame| {
            delivered.send(frame.seq).unwrap();
            let _ = released.recv();
            ControlFlow::Continue(())
        });
        let ticket = numbers.begin();
        let session = Session::start(&"s".into(), &launch, ticket.clone(), Arc::clone(&deliver)).unwrap();
        assert_eq!(arrived.recv().unwrap(), 0);
        // The attempt ends while the first frame is being delivered; the pipeline has 49 more.
        assert_eq!(ticket.end(), 1);
        drop(release);
        assert!(arrived.recv_timeout(Duration::from_millis(200)).is_err());
        drop(session);
        let _session = Session::start(&"s".into(), &launch, numbers.begin(), deliver).unwrap();
        assert_eq!([arrived.recv().unwrap(), arrived.recv().unwrap()], [1, 2]);
    }

    #[test]
    fn a_pipeline_is_at_rest_when_none_of_its_threads_has_work() {
        let text = "videotestsrc name=source is-live=true num-buffers=3 ! video/x-raw,format=NV12,width=64,height=64";
        let launch = Launch { text: text.into(), properties: Vec::new(), live: true, endpoint: None };
        let (delivered, arrived) = bounded(3);
        let deliver: Deliver = Arc::new(move |frame: Frame| {
            delivered.send(frame.seq).unwrap();
            ControlFlow::Continue(())
        });
        let numbers = Arc::<FrameNumbers>::default();
        let session = Session::start(&"s".into(), &launch, numbers.begin(), deliver).unwrap();
        assert!(!session.is_at_rest());
        assert_eq!(arrived.recv().unwrap(), 0);
        while !matches!(session.notices.recv().unwrap(), Notice::End) {}
        while !session.is_at_rest() {
            std::thread::yield_now();
        }
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
            let color = layout(&gst_video::VideoInfo::from_caps(&caps).unwrap()).unwrap().color;
            assert_eq!((color.matrix, color.range, color.chroma_site.cosited_x), (matrix, range, cosited_x), "{caps}");
        }
    }
}
