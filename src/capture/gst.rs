//! The only module that runs GStreamer: starts one pipeline and delivers its frames.
//!
//! Frames leave GStreamer through the appsink's callback, on the thread that decoded them, and carry the mapped buffer
//! with them: no sample is copied.

mod converter;
mod custom;
mod device;
mod feed;
mod frames;
mod gates;
mod notices;
mod senders;
mod told;

use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::guard::{self, Guard};
use super::player::{Activity, Notice, Player, Session};
use super::scheme::Launch;
use super::{DecoderChoice, Deliver, Error, Trust, decoder, elements, plug};
use crate::frame::monotonic_ns;
use crate::shutdown::Thread;
use crate::system::network;
use crate::telemetry::Ticket;
pub use converter::Converter;
use device::Opening;
pub(super) use device::examine as examine_device;
use feed::Feed;
pub(super) use frames::Mapped;
use frames::{SampleReader, accepted_caps};
use notices::{NOTICES, forward};
use told::Told;

/// Bytes that a packet takes besides its content, about.
const PER_PACKET: usize = 128;

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

/// Version of the GStreamer in use.
#[must_use]
pub fn version() -> String {
    gst::version_string().to_string()
}

/// Plays the pipelines of a stream with GStreamer.
#[derive(Default)]
pub(super) struct Gstreamer {
    told: Arc<Told>,
}

impl Player for Gstreamer {
    fn start(
        &self,
        stream: &Arc<str>,
        launch: &Launch,
        ticket: Ticket,
        deliver: Deliver,
    ) -> Result<Box<dyn Session>, Error> {
        Ok(Box::new(PipelineSession::start(stream, launch, ticket, deliver, &self.told)?))
    }

    /// GStreamer reports an unknown name in the same way as a host that does not answer.
    fn look_up(&self, host: &str) -> Option<Thread<io::Result<()>>> {
        network::look_up(host)
    }
}

/// A running pipeline. Dropping it shuts it down, during which GStreamer may wait for a camera that answers too slowly.
struct PipelineSession {
    pipeline: gst::Pipeline,
    notices: Receiver<Notice>,
    activity: Arc<Activity>,
    opening: Opening,
    /// Of a pipeline with a web camera.
    feed: Option<Feed>,
}

impl PipelineSession {
    fn start(
        stream: &Arc<str>,
        launch: &Launch,
        ticket: Ticket,
        deliver: Deliver,
        told: &Arc<Told>,
    ) -> Result<Self, Error> {
        init()?;
        let (pipeline, guard) = build(launch)?;
        let sink = pipeline.by_name("sink").and_then(|sink| sink.downcast::<gst_app::AppSink>().ok());
        let sink = sink.ok_or_else(|| Error::Unusable { message: "the pipeline has no appsink".into() })?;
        let activity = Activity::new(monotonic_ns());
        let mut outlet = SampleReader::new(stream, launch.live, ticket, deliver, &activity, told);
        let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| outlet.take(sink)).build();
        sink.set_callbacks(callbacks);

        let (sender, notices) = bounded(NOTICES);
        if let Some(decode) = pipeline.by_name("decode") {
            restrict(&decode, &launch.decoder, &sender)?;
            prepare_for(&decode, &launch.decoder);
            tell_decoders(&decode, stream, told);
            frames::refuse_short(&decode);
        }
        let camera = pipeline.by_name("source").filter(|_| guard.is_some());
        gates::attach(&pipeline, camera.as_ref(), &launch.decoding, &activity);
        gates::attach_rate(&pipeline, &launch.decoding, &activity);
        if let Some(source) = camera {
            limit(&source, &activity);
        }
        // Anybody can send to an open port.
        let receiver = pipeline.by_name("source").filter(|_| launch.receives_packets());
        if let Some(pad) = receiver.and_then(|source| source.static_pad("src")) {
            limit_pad(&pad, &activity);
        }
        let bus = pipeline.bus().ok_or_else(|| Error::Unusable { message: "the pipeline has no bus".into() })?;
        let (path, failures) = (launch.device.as_ref().map(|device| device.path.clone()), sender.clone());
        bus.set_sync_handler(move |_, message| {
            forward(message, guard.as_deref(), path.as_deref(), &sender);
            gst::BusSyncReply::Drop
        });
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        let opening = Opening::start(stream, &pipeline, launch.device.as_ref(), &failures)?;
        let mut session = Self { pipeline, notices, activity, opening, feed: None };
        session.feed = Feed::start(launch, &session.pipeline, &session.activity, &failures)?;
        Ok(session)
    }
}

impl Session for PipelineSession {
    fn notices(&self) -> &Receiver<Notice> {
        &self.notices
    }

    fn activity(&self) -> &Activity {
        &self.activity
    }

    /// `decodebin` swallows an error that a demuxer posts while being plugged; such a pipeline neither fails nor ends.
    /// An element with a locked state is one that `decodebin` has not finished with.
    fn is_at_rest(&self) -> bool {
        let works = |element: &gst::Element| {
            let pads = element.pads();
            element.is_locked_state() || pads.iter().any(|pad| pad.task_state() == gst::TaskState::Started)
        };
        // Another thread may change the list meanwhile; that counts as work, too.
        self.opening.has_ended()
            && self.pipeline.iterate_recurse().into_iter().all(|element| element.is_ok_and(|element| !works(&element)))
    }
}

impl Drop for PipelineSession {
    fn drop(&mut self) {
        // First, so that a pipeline that shuts down slowly, or not at all, cannot keep the end of a queue open.
        if let Some(sink) = self.pipeline.by_name("sink").and_then(|sink| sink.downcast::<gst_app::AppSink>().ok()) {
            sink.set_callbacks(gst_app::AppSinkCallbacks::builder().build());
        }
        self.opening.finish();
        if let Some(feed) = &mut self.feed {
            feed.finish();
        }
        close(&self.pipeline);
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
    }
}

/// Times that a pipeline that refuses to shut down is told again, and the first wait in between, which doubles: 20 s in all.
const CLOSE_AGAIN: u32 = 11;
const CLOSE_WAIT: Duration = Duration::from_millis(10);

/// Shuts a pipeline down. An element that fails meanwhile makes GStreamer give up half way, with threads that go on running:
/// to drop the pipeline then would end the process.
fn close(pipeline: &gst::Pipeline) {
    for time in 0..CLOSE_AGAIN {
        if pipeline.set_state(gst::State::Null).is_ok() {
            return;
        }
        tracing::debug!(time, "the pipeline refused to shut down and is told again");
        std::thread::sleep(CLOSE_WAIT * (1 << time));
    }
    tracing::error!(
        "a GStreamer pipeline does not shut down; its threads and memory are lost until hardnetd is restarted"
    );
    std::mem::forget(pipeline.clone());
}

/// Whether the pipeline can be built.
pub(super) fn check(launch: &Launch) -> Result<(), Error> {
    init()?;
    build(launch).map(drop)
}

/// The pipeline, and the guard of its `rtspsrc` if it has one.
fn build(launch: &Launch) -> Result<(gst::Pipeline, Option<Arc<Guard>>), Error> {
    let copies = match &launch.custom {
        Some(text) => custom::examine(text)?,
        None => copies(launch)?,
    };
    let text = format!(
        "{} ! appsink name=sink sync=false qos=false max-buffers=1 drop=false enable-last-sample=false",
        launch.text_with(copies)
    );
    match launch.custom {
        // It may hold secrets.
        Some(_) => tracing::debug!("launching the pipeline of the source"),
        None => tracing::debug!(pipeline = %text, "launching"),
    }
    let mut context = gst::ParseContext::new();
    let mut parse = || gst::parse::launch_full(&text, Some(&mut context), gst::ParseFlags::FATAL_ERRORS);
    // Only RTSP has a dialogue that GStreamer leads by itself.
    let guard = launch.rtsp().cloned().map(Guard::new);
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
        return Err(Error::MissingElement { element: element.to_string() });
    }
    let element = parsed.map_err(|error| match launch.custom {
        Some(_) => custom::wrong(error.message()),
        None => Error::Unusable { message: format!("cannot build the pipeline: {error}") },
    })?;
    let pipeline = element.downcast::<gst::Pipeline>();
    let pipeline = pipeline.map_err(|_| Error::Unusable { message: "the pipeline text holds no pipeline".into() })?;
    if let (Some(guard), Some(source)) = (&guard, pipeline.by_name("source"))
        && !guard.attach(&source)
    {
        return Err(Error::Broken { message: "its rtspsrc does not show a camera's answers to its extensions".into() });
    }
    if let (Some(guard), Some(source)) = (&guard, pipeline.by_name("source"))
        && launch.rtsp().is_some_and(|endpoint| endpoint.secure)
    {
        authenticate(&source, &launch.trust, guard)?;
    }
    for (name, property, value) in &launch.properties {
        if let Some(element) = pipeline.by_name(name) {
            element.set_property(property, value);
        }
    }
    if let (Some(device), Some(source)) = (&launch.device, pipeline.by_name("source"))
        && !device.controls.is_empty()
    {
        source.set_property("extra-controls", device::controls(&device.controls));
    }
    // A connection that is lost is the supervisor's to make again.
    if let Some(source) = pipeline.by_name("source").filter(|_| launch.text.starts_with("srtsrc "))
        && launch.custom.is_none()
        && source.find_property("auto-reconnect").is_some()
    {
        source.set_property("auto-reconnect", false);
    }
    if let Some(sink) = pipeline.by_name("sink") {
        sink.set_property("caps", accepted_caps());
        frames::take_any_layout(&sink);
    }
    Ok((pipeline, guard))
}

/// Makes an `rtspsrc` accept the certificates that `trust` allows.
fn authenticate(source: &gst::Element, trust: &Trust, guard: &Arc<Guard>) -> Result<(), Error> {
    if let Some(database) = trust.database()? {
        source.set_property("tls-database", database);
    }
    let (trust, guard) = (trust.clone(), Arc::clone(guard));
    source.connect("accept-certificate", false, move |arguments| {
        let certificate = arguments.get(2)?.get::<gio::TlsCertificate>().ok()?;
        let faults = arguments.get(3)?.get::<gio::TlsCertificateFlags>().ok()?;
        Some(guard.accepts(&trust, &certificate, faults).to_value())
    });
    Ok(())
}

/// The elements that copy what the decoder of a stream gives into the memory of the processor, if it gives nothing else.
fn copies(launch: &Launch) -> Result<Option<&'static str>, Error> {
    if !launch.decodes() {
        return Ok(None);
    }
    let names: Vec<String> = match &launch.decoder {
        DecoderChoice::Element(name) => {
            match elements::is_decoder(name) {
                None => {
                    return Err(Error::MissingElement { element: name.clone() });
                }
                Some(false) => return Err(Error::NoDecoder { element: name.clone() }),
                Some(true) => elements::consider(name),
            }
            vec![name.clone()]
        }
        choice => {
            let first = |coding: elements::Coding| {
                let decoders = elements::decoders(coding);
                Some(choice.allowed(&decoders, &elements::has_started).first()?.name.clone())
            };
            elements::Coding::ALL.into_iter().filter_map(first).collect()
        }
    };
    for name in names {
        let memories = elements::memories(&name);
        let memories: Vec<&str> = memories.iter().map(String::as_str).collect();
        match (decoder::converter(&memories), &launch.decoder) {
            (Ok(None), _) => {}
            (Ok(converter), _) => return Ok(converter),
            (Err(memory), DecoderChoice::Element(_)) => {
                return Err(Error::OtherMemory { element: name, memory: memory.to_owned() });
            }
            // The stream may be in another coding.
            (Err(memory), _) => tracing::debug!(decoder = %name, memory, "nothing copies the pictures of this decoder"),
        }
    }
    Ok(None)
}

/// Lets `decodebin` plug only elements that open nothing else, and of the decoders those that are `wanted`. Media that need
/// more then count as lacking a plugin.
fn restrict(decode: &gst::Element, wanted: &DecoderChoice, notices: &Sender<Notice>) -> Result<(), Error> {
    let signal = glib::subclass::SignalId::lookup("autoplug-select", decode.type_());
    let choice = signal.and_then(|signal| glib::EnumClass::with_type(signal.query().return_type().type_()));
    let choice =
        choice.ok_or_else(|| Error::Broken { message: "its decodebin has no signal autoplug-select".into() })?;
    let (wanted, notices) = (wanted.clone(), notices.clone());
    // Of the media that was asked for last.
    let allowed = Mutex::<(String, Vec<String>)>::default();
    decode.connect("autoplug-select", false, move |arguments| {
        let caps = arguments.get(2)?.get::<gst::Caps>().ok()?;
        let factory = arguments.get(3)?.get::<gst::ElementFactory>().ok()?;
        let media = caps.structure(0).map_or("", |structure| structure.name().as_str());
        let class = factory.metadata("klass").unwrap_or_default();
        let name = factory.name();
        let is_wanted = || {
            if !elements::is_decoder_class(class) {
                return true;
            }
            if let DecoderChoice::Element(element) = &wanted {
                if !elements::takes(element, media) {
                    let (element, media) = (element.clone(), media.to_owned());
                    let _ = notices.try_send(Notice::Failed(Error::OtherDecoder { element, media }));
                }
                return name == *element;
            }
            let mut allowed = Activity::lock(&allowed);
            if allowed.0 != media {
                *allowed = (media.to_owned(), taken(&wanted, &caps).1);
            }
            allowed.1.iter().any(|allowed| name == *allowed)
        };
        if plug::is_allowed(media, &name, class) && is_wanted() {
            return choice.to_value_by_nick("try");
        }
        tracing::debug!(media, element = %name, "not plugged");
        choice.to_value_by_nick("skip")
    });
    Ok(())
}

/// The decoders of media with these caps that `decodebin` knows, and those that it may take.
fn taken(wanted: &DecoderChoice, caps: &gst::Caps) -> (Vec<String>, Vec<String>) {
    let decoders = elements::decoders_of(caps);
    let allowed = match wanted {
        DecoderChoice::Element(name) => vec![name.clone()],
        choice => {
            let allowed = choice.allowed(&decoders, &elements::has_started).into_iter();
            allowed.map(|decoder| decoder.name.clone()).collect()
        }
    };
    (decoders.into_iter().map(|decoder| decoder.name).collect(), allowed)
}

/// Makes parsers give what the `wanted` decoders take: behind a parser, `decodebin` puts a filter with what all decoders take,
/// and the parser gives the first of that.
fn prepare_for(decode: &gst::Element, wanted: &DecoderChoice) {
    let Some(bin) = decode.downcast_ref::<gst::Bin>() else { return };
    let wanted = wanted.clone();
    bin.connect_deep_element_added(move |_, _, element| {
        if element.factory().is_none_or(|factory| factory.name() != "capsfilter") {
            return;
        }
        let caps = element.property::<gst::Caps>("caps");
        let Some(media) = caps.structure(0).map(|structure| structure.name().to_string()) else { return };
        let (known, allowed) = taken(&wanted, &gst::Caps::new_empty_simple(media));
        if known == allowed {
            return;
        }
        let mut narrow = gst::Caps::new_empty();
        for name in &allowed {
            narrow.merge(caps.intersect(&elements::inputs(name)));
        }
        if !narrow.is_empty() {
            element.set_property("caps", narrow);
        }
    });
}

/// Logs the decoders that `decodebin` takes.
fn tell_decoders(decode: &gst::Element, stream: &Arc<str>, told: &Arc<Told>) {
    let Some(bin) = decode.downcast_ref::<gst::Bin>() else { return };
    let (stream, told) = (Arc::clone(stream), Arc::clone(told));
    bin.connect_deep_element_added(move |_, _, element| {
        let Some(factory) = element.factory() else { return };
        let is_decoder = elements::is_decoder_class(factory.metadata("klass").unwrap_or_default());
        if is_decoder && told.decoder(&factory.name()) {
            tracing::info!(%stream, decoder = %factory.name(), "decoding with {}", elements::shown(&factory));
        }
    });
}

/// Limits the memory that a camera can take: elements gather packets until a picture is complete.
fn limit(source: &gst::Element, activity: &Arc<Activity>) {
    let activity = Arc::clone(activity);
    source.connect_pad_added(move |_, pad| limit_pad(pad, &activity));
}

/// What a probe says of data that pass or not. Not `Drop`: the bindings take the buffer, and GStreamer then complains that
/// there is none.
fn result(passes: bool) -> gst::PadProbeReturn {
    if passes { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Handled }
}

/// A packet without content is of no use, and elements keep it all the same.
fn limit_pad(pad: &gst::Pad, activity: &Arc<Activity>) {
    let activity = Arc::clone(activity);
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
        let size = |buffer: &gst::BufferRef| buffer.size() + PER_PACKET;
        let (size, is_empty) = match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => (size(buffer), buffer.size() == 0),
            Some(gst::PadProbeData::BufferList(list)) => {
                (list.iter().map(size).sum(), list.iter().all(|buffer| buffer.size() == 0))
            }
            _ => (0, false),
        };
        result(activity.receive(size) && !is_empty)
    });
}

#[cfg(test)]
mod tests;
