//! Translates the messages on a pipeline's bus.

use crossbeam_channel::Sender;
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::device::trouble;
use crate::capture::guard::{Attempt, Guard};
use crate::capture::player::Notice;
use crate::capture::{Error, package, plug};
use crate::exit::Exit;

/// Capacity for notices that wait for the supervisor.
pub(super) const NOTICES: usize = 64;

/// Of these, the number reserved for an end or a failure.
const RESERVED: usize = 8;

/// Forwards relevant bus messages. What the camera attempted explains more than the failure that follows from it. `device`
/// is the path of a camera at this machine.
pub(super) fn forward(message: &gst::Message, guard: Option<&Guard>, device: Option<&str>, notices: &Sender<Notice>) {
    let notice = match message.view() {
        gst::MessageView::Eos(_) => Notice::End,
        gst::MessageView::Error(error) => {
            tracing::debug!(error = %error.error(), "from the pipeline");
            Notice::Failed(match guard.and_then(Guard::attempt) {
                Some(Attempt::Elsewhere(to)) => Error::SentElsewhere { to },
                Some(Attempt::OtherTransport) => Error::OtherTransport,
                Some(Attempt::InClear) => Error::AskedInClear,
                Some(Attempt::InCircles) => Error::SentInCircles,
                Some(Attempt::OtherDigest) => Error::OtherDigest { version: gst::version_string().to_string() },
                Some(Attempt::Untrusted(untrusted)) => Error::Untrusted(untrusted),
                Some(Attempt::Refused) => Error::LoginRefused,
                None => match device.and_then(|path| Some(trouble(&error.error(), path)?.of(path))) {
                    Some(trouble) => Error::Device(trouble),
                    None => match failure(&error.error(), &factory(message), guard.is_some()) {
                        Error::NoVideo if guard.is_some_and(Guard::has_refused_transports) => Error::NoTransport,
                        error => error,
                    },
                },
            })
        }
        gst::MessageView::Warning(warning) => return warn(notices, warning.error().message()),
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
        tracing::debug!("a message from the pipeline was dropped");
    }
}

/// Sends a warning, unless it took the place of an end or a failure.
pub(super) fn warn(notices: &Sender<Notice>, message: &str) {
    if notices.len() < NOTICES - RESERVED {
        let _ = notices.try_send(Notice::Warning(message.to_owned()));
    }
}

/// The element message in which decodebin names a missing plugin (GStreamer, "Missing plugin messages").
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
    // The container and its video are essential; sound, subtitles and data streams are not.
    let needed = ["video/", "image/", "application/x-rtp", "application/ogg", "application/vnd.", "rtsp"];
    if !needed.iter().any(|start| media.starts_with(start)) {
        return None;
    }
    Some(Error::MissingDecoder { package: package::of_media(&media), what })
}

/// The name of the factory of the element that has sent the message.
fn factory(message: &gst::Message) -> String {
    let element = message.src().and_then(|source| source.downcast_ref::<gst::Element>()?.factory());
    element.map(|factory| factory.name().to_string()).unwrap_or_default()
}

/// What an error of the element made by `factory` means; `is_ours` if its source has the login of the stream.
fn failure(error: &glib::Error, factory: &str, is_ours: bool) -> Error {
    let lacks_decoder = error.matches(gst::CoreError::MissingPlugin) || error.matches(gst::StreamError::CodecNotFound);
    if lacks_decoder {
        // A missing video plugin has already been reported by an earlier message; this is about something else.
        return Error::NoVideo;
    }
    if error.matches(gst::ResourceError::NotAuthorized) && is_ours {
        return Error::LoginMissing;
    }
    let (advice, exit) = if error.matches(gst::ResourceError::NotAuthorized) {
        ("set the login in the properties of the source's element", Exit::NoPermission)
    } else if let Some(resource) = error.kind::<gst::ResourceError>() {
        match resource {
            gst::ResourceError::NotFound => ("check the path", Exit::NoInput),
            _ if factory == "srtsrc" => (
                "check host and port, mode in [stream.srt], and the passphrase in stream.password_file: both sides need the \
                 same or none",
                Exit::Unavailable,
            ),
            _ if factory == "udpsrc" => (
                "check that the address is one of this machine or of a multicast group, and that no other program has the \
                 port",
                Exit::Unavailable,
            ),
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
    let message = match error.kind::<gst::ResourceError>() {
        // It says "Could not open resource for reading and writing".
        Some(gst::ResourceError::OpenReadWrite) if factory == "rtspsrc" => "there is no connection to the camera",
        _ => error.message().trim_end_matches('.'),
    };
    Error::Failed { message: message.to_owned(), advice, exit }
}
