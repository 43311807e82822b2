//! Cameras at this machine: asks `v4l2src` what one offers, and sets what a stream takes of it.
//!
//! A device or a disk that hangs holds up whoever opens it, so every pipeline is started on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Sender;
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use crate::capture::Error;
use crate::capture::device::{self, Choice, Device, DeviceError, Offer, Rate, Span, Trouble, choose, listed};
use crate::capture::player::Notice;
use crate::shutdown::{self, Thread};
use crate::system::Host;

/// Most combinations of formats and sizes that are read of a camera.
const MOST_OFFERS: usize = 4096;

/// A pipeline that is being started.
pub(super) struct Opening {
    thread: Option<Thread<()>>,
    given_up: Arc<AtomicBool>,
}

impl Opening {
    /// Starts a pipeline, with the camera `device` if it has one; what goes wrong becomes a notice.
    pub(super) fn start(
        stream: &Arc<str>,
        pipeline: &gst::Pipeline,
        device: Option<&Device>,
        notices: &Sender<Notice>,
    ) -> Result<Self, Error> {
        let given_up = Arc::<AtomicBool>::default();
        let body = {
            let (stream, pipeline, device) = (Arc::clone(stream), pipeline.clone(), device.cloned());
            let (notices, given_up) = (notices.clone(), Arc::clone(&given_up));
            move || {
                let outcome = match &device {
                    Some(device) => open(&stream, &pipeline, device, &given_up),
                    None => play(&pipeline, &given_up)
                        .map_err(|_| Error::Unusable { message: "the pipeline does not start".into() }),
                };
                if let Err(error) = outcome {
                    if device.is_some() {
                        // The pipeline may not have been started, and so does not close what is open.
                        let closed = pipeline.by_name("source").map(|source| source.set_state(gst::State::Null));
                        tracing::debug!(%stream, ?closed, "the camera is closed");
                    }
                    // An error of the pipeline itself, which came before, says more.
                    let _ = notices.try_send(Notice::Failed(error));
                }
            }
        };
        let thread = shutdown::spawn("open", body)
            .map_err(|source| Error::Unusable { message: format!("the system refuses a thread: {source}") })?;
        Ok(Self { thread: Some(thread), given_up })
    }

    /// Whether the pipeline is no longer being started.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(Thread::has_ended)
    }

    /// Waits until the pipeline is no longer being started.
    pub(super) fn finish(&mut self) {
        self.given_up.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(None);
        }
    }
}

fn open(stream: &str, pipeline: &gst::Pipeline, device: &Device, given_up: &AtomicBool) -> Result<(), Error> {
    let fails = || Error::Device(Trouble::Fault("the pipeline does not start".into()).of(&device.path));
    device::probe(&Host::here(), &device.path)?;
    let source = pipeline.by_name("source").ok_or_else(fails)?;
    let filter = pipeline.by_name("wanted").ok_or_else(fails)?;
    source.set_state(gst::State::Ready).map_err(|_| fails())?;
    let offers = offers(&source);
    let choice = select(&offers, device)?;
    tracing::info!(%stream, device = %device.path, "taking {} of the camera", choice.shown());
    tracing::debug!(%stream, "the camera offers {}", listed(&offers));
    filter.set_property("caps", caps(&choice));
    play(pipeline, given_up).map_err(|_| fails())
}

/// Starts a pipeline, unless nobody wants it any more.
fn play(pipeline: &gst::Pipeline, given_up: &AtomicBool) -> Result<(), gst::StateChangeError> {
    if !given_up.load(Ordering::Acquire) {
        pipeline.set_state(gst::State::Playing)?;
    }
    Ok(())
}

/// What a stream takes of `offers`.
fn select(offers: &[Offer], device: &Device) -> Result<Choice, DeviceError> {
    choose(offers, &device.wanted).ok_or_else(|| {
        let (wanted, offered) = (device.wanted.shown(), listed(offers));
        Trouble::NotOffered { wanted, offered }.of(&device.path)
    })
}

/// What a device offers, and what a stream with these settings would take, in words.
///
/// # Errors
/// What is wrong with it.
pub(in crate::capture) fn examine(device: &Device) -> Result<String, Error> {
    super::init()?;
    device::probe(&Host::here(), &device.path)?;
    let source = gst::ElementFactory::make("v4l2src").property("device", &device.path).build();
    let source = source.map_err(|_| Error::MissingElement { element: "v4l2src".into() })?;
    let bus = gst::Bus::new();
    source.set_bus(Some(&bus));
    let offers = source.set_state(gst::State::Ready).map(|_| offers(&source));
    let _ = source.set_state(gst::State::Null);
    let Ok(offers) = offers else {
        let message = bus.pop_filtered(&[gst::MessageType::Error]);
        let trouble = match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => trouble(&error.error(), &device.path),
            _ => None,
        };
        return Err(trouble.unwrap_or_else(|| Trouble::Fault("it cannot be opened".into())).of(&device.path).into());
    };
    let choice = select(&offers, device)?;
    Ok(format!("{} would be taken; it offers {}", choice.shown(), listed(&offers)))
}

/// What an error of a pipeline with the camera at `path` means; `None` if it is about something else.
pub(super) fn trouble(error: &glib::Error, path: &str) -> Option<Trouble> {
    let message = || error.message().trim_end_matches('.').to_owned();
    let host = Host::here();
    // A device that has been unplugged and is still open elsewhere may have its name for a moment, but opens no more.
    let state = device::probe(&host, path).map_err(|error| error.trouble);
    if matches!(state, Err(Trouble::Missing(_) | Trouble::NoCapture(_) | Trouble::Fault(_))) {
        return Some(Trouble::Gone);
    }
    if error.matches(gst::StreamError::Failed) {
        return Some(Trouble::Fault(message()));
    }
    Some(match error.kind::<gst::ResourceError>()? {
        gst::ResourceError::Busy => Trouble::Busy,
        gst::ResourceError::NotFound => Trouble::NoCapture(device::cameras(&host)),
        gst::ResourceError::Settings => Trouble::Refused(message()),
        _ => Trouble::Fault(message()),
    })
}

/// The caps of a choice.
fn caps(choice: &Choice) -> gst::Caps {
    let side = |side: u32| i32::try_from(side).unwrap_or(i32::MAX);
    let mut caps =
        gst::Caps::builder(&choice.media).field("width", side(choice.width)).field("height", side(choice.height));
    if !choice.pixels.is_empty() {
        caps = caps.field("format", &choice.pixels);
    }
    if let Some(Rate { frames, seconds }) = choice.rate {
        caps = caps.field("framerate", gst::Fraction::new(side(frames), side(seconds)));
    }
    caps.build()
}

/// The controls as `v4l2src` takes them.
pub(super) fn controls(controls: &[(String, i32)]) -> gst::Structure {
    let mut structure = gst::Structure::new_empty("controls");
    for (name, value) in controls {
        structure.set(name.as_str(), *value);
    }
    structure
}

/// What an opened `v4l2src` offers.
fn offers(source: &gst::Element) -> Vec<Offer> {
    let Some(pad) = source.static_pad("src") else { return Vec::new() };
    of_caps(&pad.query_caps(None))
}

/// Caps as offers; what is in other memory than the system's is left out.
fn of_caps(caps: &gst::Caps) -> Vec<Offer> {
    let mut offers = Vec::new();
    for (structure, features) in caps.iter_with_features() {
        if features.is_any() || !features.is_equal(gst::CAPS_FEATURES_MEMORY_SYSTEM_MEMORY.as_ref()) {
            continue;
        }
        let pixels = match structure.value("format") {
            Ok(value) => texts(value),
            Err(_) => vec![String::new()],
        };
        let sides = |name| structure.value(name).map(spans).unwrap_or_default();
        let (rates, between) = structure.value("framerate").map(rates).unwrap_or_default();
        for pixels in &pixels {
            for width in sides("width") {
                for height in sides("height") {
                    let (media, pixels, rates) = (structure.name().to_string(), pixels.clone(), rates.clone());
                    let offer = Offer { media, pixels, width, height, rates, between };
                    if offers.len() < MOST_OFFERS && !offers.contains(&offer) {
                        offers.push(offer);
                    }
                }
            }
        }
    }
    offers
}

/// The items of a list, or the value alone.
fn items(value: &glib::SendValue) -> Vec<&glib::SendValue> {
    match value.get::<gst::ListRef<'_>>() {
        Ok(list) => list.as_slice().iter().collect(),
        Err(_) => vec![value],
    }
}

fn texts(value: &glib::SendValue) -> Vec<String> {
    items(value).into_iter().filter_map(|value| value.get::<String>().ok()).collect()
}

fn spans(value: &glib::SendValue) -> Vec<Span> {
    let number = |number: i32| u32::try_from(number).ok().filter(|number| *number > 0);
    let span = |value: &glib::SendValue| match value.get::<gst::IntRange<i32>>() {
        Ok(range) => {
            let (least, step) = (number(range.min().max(1))?, number(range.step())?);
            Some(Span { least, most: number(range.max())?.max(least), step })
        }
        Err(_) => value.get::<i32>().ok().and_then(number).map(Span::one),
    };
    items(value).into_iter().filter_map(span).collect()
}

fn rates(value: &glib::SendValue) -> (Vec<Rate>, Option<(Rate, Rate)>) {
    let rate = |fraction: gst::Fraction| {
        let (frames, seconds) = (u32::try_from(fraction.numer()).ok()?, u32::try_from(fraction.denom()).ok()?);
        Some(Rate { frames, seconds })
    };
    let (mut rates, mut between) = (Vec::new(), None);
    for value in items(value) {
        match value.get::<gst::FractionRange>() {
            Ok(range) => between = rate(range.min()).zip(rate(range.max())),
            // A camera that tells no rate has 0.
            Err(_) => rates.extend(value.get::<gst::Fraction>().ok().and_then(rate).filter(|rate| rate.frames > 0)),
        }
    }
    (rates, between)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::init;
    use super::*;
    use crate::capture::device::Wanted;
    use crate::choice::CameraFormat;

    /// Caps as `v4l2src` gives them for a webcam, a capture card and a decoder's memory.
    const CAPS: &str = "video/x-raw, format=(string)YUY2, width=(int)640, height=(int)480, framerate=(fraction){ 30/1, 15/1 }; \
        image/jpeg, width=(int)1280, height=(int)720, framerate=(fraction)30000/1001; \
        video/x-raw, format=(string){ NV12, GRAY8 }, width=(int)[ 48, 4096, 16 ], height=(int)[ 32, 2160 ], \
        framerate=(fraction)[ 0/1, 60/1 ]; \
        video/x-raw(memory:DMABuf), format=(string)NV12, width=(int)640, height=(int)480, framerate=(fraction)30/1; \
        video/x-raw(format:Interlaced), format=(string)NV12, width=(int)640, height=(int)240, framerate=(fraction)30/1";

    #[test]
    fn the_caps_of_a_camera_are_read_as_what_it_offers() {
        init().unwrap();
        let offers = of_caps(&CAPS.parse().unwrap());
        assert_eq!(
            listed(&offers),
            "yuyv 640x480 (30, 15 fps); mjpeg 1280x720 (29.97 fps); nv12 48x32 to 4096x2160 (up to 60 fps); \
             grey 48x32 to 4096x2160 (up to 60 fps)"
        );
        assert!(of_caps(&gst::Caps::new_any()).is_empty() && of_caps(&gst::Caps::new_empty()).is_empty());
    }

    #[test]
    fn a_choice_becomes_fixed_caps_that_the_camera_has() {
        init().unwrap();
        let all: gst::Caps = CAPS.parse().unwrap();
        let wanted = |format| Wanted { format, width: 0, height: 0, fps: 0.0 };
        for (format, text) in [
            (
                CameraFormat::Auto,
                "video/x-raw, width=(int)640, height=(int)480, format=(string)NV12, framerate=(fraction)30/1",
            ),
            (CameraFormat::Mjpeg, "image/jpeg, width=(int)1280, height=(int)720, framerate=(fraction)30000/1001"),
            (
                CameraFormat::Yuyv,
                "video/x-raw, width=(int)640, height=(int)480, format=(string)YUY2, framerate=(fraction)30/1",
            ),
        ] {
            let caps = caps(&choose(&of_caps(&all), &wanted(format)).unwrap());
            assert_eq!(caps, text.parse::<gst::Caps>().unwrap());
            assert!(all.can_intersect(&caps), "{caps}");
        }
    }

    #[test]
    fn controls_are_set_as_numbers_whatever_their_names() {
        init().unwrap();
        let source = gst::ElementFactory::make("v4l2src").build().unwrap();
        source.set_property("extra-controls", controls(&[("gain".into(), -3), ("auto_exposure".into(), 1)]));
        let set = source.property::<gst::Structure>("extra-controls");
        assert_eq!((set.get::<i32>("gain"), set.get::<i32>("auto_exposure")), (Ok(-3), Ok(1)));
    }

    #[test]
    fn what_is_no_camera_is_told_so() {
        let wanted = Wanted { format: CameraFormat::Auto, width: 0, height: 0, fps: 0.0 };
        let message = |path: &str| {
            let device = Device { path: path.into(), wanted, controls: vec![] };
            examine(&device).unwrap_err().to_string()
        };
        assert!(message("/dev/null").starts_with("/dev/null captures no video; "), "{}", message("/dev/null"));
        assert!(message("/dev/video99").starts_with("there is no /dev/video99; "), "{}", message("/dev/video99"));
    }
}
