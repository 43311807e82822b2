//! Sources: the meaning of a URI. Each scheme has its own file with everything specific to it.
//!
//! [`SCHEMES`] lists them. The rest of the program knows a [`Source`] and, through it, the trait [`Scheme`].

mod address;
mod file;
mod http;
pub(super) mod images;
mod libcamera;
mod nvargus;
mod pipeline;
mod rtsp;
mod srt;
mod test;
mod udp;
mod v4l2;

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use super::{DecoderChoice, Device, Error, Fetch, Trust};
use crate::choice::Decode;
use crate::config::{BoardCamera, Stream, redact, split_scheme};

pub use address::Endpoint;
pub(super) use address::encoded;
pub(super) use file::{hint as file_hint, is_video};
pub use test::{FORMATS, PATTERNS, TestError};

/// The schemes: name, form of the address, and the parser of the text after the colon.
const SCHEMES: [(&str, &str, Parse); 13] = [
    ("test", test::FORM, test::parse),
    ("file", file::FORM, file::parse),
    ("images", images::FORM, images::parse),
    ("rtsp", rtsp::FORM, rtsp::parse),
    ("rtsps", rtsp::SECURE_FORM, rtsp::parse_secure),
    ("http", http::FORM, http::parse),
    ("https", http::SECURE_FORM, http::parse_secure),
    ("udp", udp::FORM, udp::parse),
    ("srt", srt::FORM, srt::parse),
    ("v4l2", v4l2::FORM, v4l2::parse),
    ("libcamera", libcamera::FORM, libcamera::parse),
    ("nvargus", nvargus::FORM, nvargus::parse),
    ("pipeline", pipeline::FORM, pipeline::parse),
];

type Parse = fn(&str) -> Result<Source, SourceError>;

/// Advice for a path that cannot be read.
const PATH_REMEDY: &str = "check the path and its permissions; the service does not see /tmp, nor private home folders";

/// A kind of source.
pub trait Scheme: fmt::Debug + Send + Sync {
    /// The source as shown to people: without passwords.
    fn describe(&self) -> String;

    /// What carries the video.
    fn carrier(&self) -> Carrier;

    /// Whether it is a camera, which has no end of its own and may come back after a failure.
    fn is_camera(&self) -> bool {
        !matches!(self.carrier(), Carrier::Memory | Carrier::File)
    }

    /// Whether frames come at the pace of a clock: then the latest wins; otherwise none is lost.
    fn is_live(&self) -> bool {
        self.is_camera()
    }

    /// Host and port of a network camera, and its address without the login; `None` for any other source.
    ///
    /// # Errors
    /// If the address names no host or its port is invalid.
    fn endpoint(&self) -> Option<Result<Endpoint, SourceError>> {
        None
    }

    /// The GStreamer pipeline; `None` if the source needs none.
    ///
    /// `password` is the content of the stream's password file.
    fn launch(&self, stream: &Stream, password: Option<&str>) -> Option<Launch>;

    /// Checks the content of the stream's password file.
    ///
    /// # Errors
    /// If no source of this kind takes it.
    fn check_password(&self, _password: Option<&str>) -> Result<(), Error> {
        Ok(())
    }

    /// The demuxer for the container that the file name suggests.
    fn demuxer(&self) -> Option<&'static str> {
        None
    }

    /// Opens whatever is read without GStreamer, before each attempt; returns how the attempt is run. A camera opens
    /// although it is away, and its end is a failure.
    ///
    /// # Errors
    /// If something is missing or unreadable.
    fn open(&self) -> Result<Medium<'_>, Error> {
        Ok(Medium::Pipeline(Box::new(|frames| Err(Error::Ended { frames }))))
    }

    /// Checks that the paths in the address can be read.
    ///
    /// # Errors
    /// What is wrong, as text to follow the address.
    fn check_paths(&self) -> Result<(), String> {
        Ok(())
    }

    /// Checks whether the source is available, as far as possible without playing it; `launch` is its pipeline, and
    /// `timeout` limits each name lookup, connection and answer.
    ///
    /// # Errors
    /// What is wrong and what to do about it.
    fn examine(&self, launch: Option<&Launch>, timeout: Duration) -> Result<String, Fault>;
}

/// What carries video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Nothing: frames are generated or decoded in memory.
    Memory,
    /// A media file.
    File,
    /// RTP packets.
    Rtp,
    /// JPEG pictures over HTTP.
    Web,
    /// Packets that are sent to this machine, or fetched over SRT.
    Packets,
    /// A device of this machine.
    Device,
    /// The board's own interface for cameras.
    Board,
    /// What a user's pipeline says.
    Custom,
}

/// How an attempt to read a source is run.
pub enum Medium<'a> {
    /// By playing the pipeline.
    Pipeline(End<'a>),
    /// By decoding these pictures in order.
    Pictures(Vec<PathBuf>),
}

/// Judges the end of a pipeline after that many frames.
pub type End<'a> = Box<dyn Fn(u64) -> Result<(), Error> + 'a>;

/// What is wrong with a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What was found.
    pub found: String,
    /// What to do.
    pub remedy: String,
}

impl Fault {
    fn new(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { found: found.into(), remedy: remedy.into() }
    }
}

/// An invalid source URI; the message says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The part before the colon is unknown.
    #[error("unknown scheme '{}:'; expected {}", redact(.0), forms())]
    Scheme(String),
    /// There is a login without a scheme before it.
    #[error("expected a scheme before the login, as in rtsp://USER:PASSWORD@HOST/PATH; a file needs file: or ./ then")]
    Login,
    /// A part of the address is missing.
    #[error("expected {0}")]
    Missing(&'static str),
    /// The test pattern is invalid.
    #[error(transparent)]
    Test(#[from] TestError),
}

/// Where frames come from.
#[derive(Debug)]
pub struct Source(Box<dyn Scheme>);

impl Source {
    fn new(scheme: impl Scheme + 'static) -> Self {
        Self(Box::new(scheme))
    }

    /// Parses a source URI; text without a scheme is a path.
    ///
    /// # Errors
    /// If the scheme, pattern or an option is unknown.
    pub fn parse(uri: &str) -> Result<Self, SourceError> {
        let is_path = uri.starts_with(['/', '.', '~']) && !uri.starts_with("//");
        let (scheme, rest) = match uri.split_once(':') {
            Some((scheme, rest))
                if !is_path && rest.contains('@') && find(scheme).is_none() && !rest.starts_with("//") =>
            {
                return Err(SourceError::Login);
            }
            _ if uri.is_empty() => return Err(SourceError::Missing("a source, such as \"test:ball\"")),
            _ => split_scheme(uri),
        };
        let parse = find(scheme).ok_or_else(|| SourceError::Scheme(scheme.to_owned()))?;
        parse(rest)
    }

    /// Checks whether `uri` is a source, with a valid host and port if it has an address.
    ///
    /// # Errors
    /// What is expected, without secrets.
    pub fn check(uri: &str) -> Result<(), String> {
        let check = |uri| Self::parse(uri)?.endpoint().transpose();
        check(uri).map(drop).map_err(|error| error.to_string())
    }
}

impl Deref for Source {
    type Target = dyn Scheme;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// The address parser of a scheme.
fn find(scheme: &str) -> Option<Parse> {
    SCHEMES.iter().find(|(name, ..)| *name == scheme).map(|(.., parse)| *parse)
}

/// The forms of addresses, for messages.
fn forms() -> String {
    let forms = SCHEMES.map(|(_, form, _)| form);
    match forms.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The path in an address.
fn path(rest: &str, expected: &'static str) -> Result<PathBuf, SourceError> {
    match rest.strip_prefix("//").unwrap_or(rest) {
        "" => Err(SourceError::Missing(expected)),
        path => Ok(path.into()),
    }
}

/// Caps with the size and the rate that a camera of the board is asked for.
fn sized(caps: &str, wanted: &BoardCamera) -> String {
    let BoardCamera { width, height, fps } = *wanted;
    let side = |name: &str, side: u32| if side > 0 { format!(",{name}=(int){side}") } else { String::new() };
    // Rates have at most three decimals: 29.97.
    let rate = match (fps * 1000.0).round() {
        rate if rate > 0.0 => format!(",framerate=(fraction){rate}/1000"),
        _ => String::new(),
    };
    format!("{caps}{}{}{rate}", side("width", width), side("height", height))
}

/// How the video of a stream is decoded, and which of its pictures are wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decoding {
    /// Which frames are decoded.
    pub decode: Decode,
    /// Threads of a software decoder; 0: one for each core.
    pub threads: u32,
    /// Maximum pictures per second; 0: no limit.
    pub max_fps: f64,
    /// Of as many pictures, one is wanted.
    pub every_nth: u32,
}

impl Decoding {
    /// All pictures, on one thread.
    pub const ALL: Self = Self { decode: Decode::All, threads: 1, max_fps: 0.0, every_nth: 1 };
}

/// What decodes the video of a source, whatever its codec.
const DECODE: &str = "decodebin name=decode expose-all-streams=false caps=video/x-raw(ANY)";

/// The end of every pipeline: the conversion to a supported format, before which pictures that are not wanted are left
/// out.
const CONVERT: &str = " ! videoconvert name=convert";

/// A pipeline to launch.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// `gst-launch` text up to, but not including, the appsink.
    pub text: String,
    /// Element, property and value that must not be quoted into the text.
    pub properties: Vec<(&'static str, &'static str, String)>,
    /// Whether the source runs on a clock: then the latest frame wins; otherwise none is lost.
    pub live: bool,
    /// The only address at which a network camera may be reached.
    pub endpoint: Option<Endpoint>,
    /// Which certificates of a network camera are accepted.
    pub trust: Trust,
    /// What is decoded, and how.
    pub decoding: Decoding,
    /// Which decoder it takes.
    pub decoder: DecoderChoice,
    /// The camera at this machine that it opens.
    pub device: Option<Device>,
    /// A pipeline of the user's own, which [`Launch::text`] begins with.
    pub custom: Option<String>,
    /// The pictures that the program fetches itself, for an appsrc called `source`.
    pub fetch: Option<Fetch>,
}

impl Launch {
    /// The elements of `source`, then the conversion to a supported format, before which pictures that are not wanted are
    /// left out. For sources that are neither live nor network cameras.
    fn of(source: &str, stream: &Stream) -> Self {
        let text = format!("{source}{CONVERT}");
        let Stream { decode, decoder_threads: threads, max_fps, every_nth, .. } = *stream;
        let decoding = Decoding { decode, threads, max_fps, every_nth };
        Self {
            text,
            properties: Vec::new(),
            live: false,
            endpoint: None,
            trust: Trust::System,
            decoding,
            decoder: stream.decoder.parse().unwrap_or_default(),
            device: None,
            custom: None,
            fetch: None,
        }
    }

    /// Whether its source gets packets of MPEG-TS or RTP.
    pub(super) fn receives_packets(&self) -> bool {
        self.custom.is_none() && (self.text.starts_with("udpsrc ") || self.text.starts_with("srtsrc "))
    }

    /// Whether coded video is decoded, in a decodebin called `decode`.
    pub(super) fn decodes(&self) -> bool {
        self.text.contains("decodebin name=decode ")
    }

    /// The text with `elements`, if any, in front of the conversion.
    pub(super) fn text_with(&self, elements: Option<&str>) -> String {
        match elements {
            Some(elements) => self.text.replacen(CONVERT, &format!(" ! {elements}{CONVERT}"), 1),
            None => self.text.clone(),
        }
    }

    /// Where the camera is that GStreamer talks to in RTSP.
    pub(super) fn rtsp(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref().filter(|_| self.text.starts_with("rtspsrc "))
    }

    /// Names of the pipeline's elements, including the appsink. Those that decodebin adds by itself are unknown before
    /// data arrives.
    #[must_use]
    pub fn elements(&self) -> Vec<&str> {
        let first = self.text.split(" ! ").filter_map(|part| part.split_whitespace().next());
        // Of a user's text, only what can be one.
        let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        first.filter(is_name).chain(["appsink"]).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// The pipeline of `uri`, with the password `secret`.
    pub(super) fn launch(uri: &str, stream: &Stream) -> Launch {
        Source::parse(uri).unwrap().launch(stream, Some("secret")).unwrap()
    }

    #[test]
    fn text_without_a_scheme_is_a_path() {
        for (uri, path) in [
            ("clip.mp4", "clip.mp4"),
            ("/a b/c.mp4", "/a b/c.mp4"),
            ("./odd:name.mp4", "./odd:name.mp4"),
            ("file:clip.mp4", "clip.mp4"),
            ("file:///a/clip.mp4", "/a/clip.mp4"),
        ] {
            let source = Source::parse(uri).unwrap();
            assert_eq!((source.carrier(), source.describe().as_str()), (Carrier::File, path), "{uri}");
        }
        assert_eq!(Source::parse("images:/photos").unwrap().describe(), "images:/photos");
    }

    #[test]
    fn what_is_not_understood_is_named_with_what_is_allowed() {
        for (uri, part) in [
            ("ftp://host/a", "unknown scheme 'ftp:'; expected test:PATTERN"),
            ("test:bal", "unknown test pattern 'bal'; expected one of smpte"),
            ("test:ball?size=9", "unusable option 'size=9'"),
            ("test:ball?fps=0", "unusable option 'fps=0'"),
            ("test:ball?live=maybe", "unusable option 'live=maybe'"),
            ("test:ball?format=NV12 ! fakesink", "unusable option 'format=NV12 ! fakesink'"),
            ("test:ball?format=nv12", "format=NV12|NV21"),
            ("rtsp:", "expected rtsp://HOST"),
            ("images:", "expected a folder"),
            ("v4l2:video0", "expected v4l2:/dev/videoN"),
            ("file:", "expected a path"),
            ("", "expected a source"),
        ] {
            let message = Source::parse(uri).unwrap_err().to_string();
            assert!(message.contains(part), "{uri}: {message}");
        }
    }

    #[test]
    fn pictures_in_other_memory_are_copied_before_the_conversion() {
        let file = launch("/clip.mp4", &Stream::default());
        assert_eq!(
            file.text_with(Some("nvvidconv ! video/x-raw,format=NV12")),
            "filesrc name=source ! decodebin name=decode expose-all-streams=false caps=video/x-raw(ANY) \
             ! nvvidconv ! video/x-raw,format=NV12 ! videoconvert name=convert ! videoflip video-direction=auto"
        );
        assert_eq!(file.text_with(None), file.text);
    }

    #[test]
    fn a_pipeline_tells_its_elements() {
        let test = launch("test:ball", &Stream::default());
        assert_eq!(test.elements(), ["videotestsrc", "videoconvert", "appsink"]);
        let camera = launch("rtsp://host/1", &Stream::default());
        assert_eq!(camera.elements(), ["rtspsrc", "decodebin", "videoconvert", "appsink"]);
        let camera = launch("/dev/video0", &Stream::default());
        assert_eq!(camera.elements(), ["v4l2src", "capsfilter", "decodebin", "videoconvert", "appsink"]);
        let file = launch("/a ! fakesink/clip.mp4", &Stream::default());
        assert_eq!(file.elements(), ["filesrc", "decodebin", "videoconvert", "videoflip", "appsink"]);
    }
}
