//! Sources: what a URI means. Each scheme is one file, which holds everything that is particular to it.
//!
//! [`SCHEMES`] lists them. The rest of the program knows a [`Source`] and, through it, the trait [`Scheme`].

mod file;
pub(super) mod images;
mod rtsp;
mod test;

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use super::Error;
use crate::config::{Stream, redact};

pub use rtsp::Endpoint;
pub use test::{FORMATS, PATTERNS, TestError};

/// The schemes: name, how an address is written, and what reads the text after the colon.
const SCHEMES: [(&str, &str, Parse); 4] = [
    ("test", test::FORM, test::parse),
    ("file", file::FORM, file::parse),
    ("images", images::FORM, images::parse),
    ("rtsp", rtsp::FORM, rtsp::parse),
];

type Parse = fn(&str) -> Result<Source, SourceError>;

/// What to do about a path that cannot be read.
const PATH_REMEDY: &str = "check the path and its mode; ProtectHome= in the unit hides the homes of users";

/// A kind of source.
pub trait Scheme: fmt::Debug + Send + Sync {
    /// The source as a person may see it: without passwords.
    fn describe(&self) -> String;

    /// Whether frames come at the pace of a clock: then the latest wins, otherwise none is lost.
    fn is_live(&self) -> bool;

    /// Whether it is a camera, which has no end of its own and may come back.
    fn is_camera(&self) -> bool {
        false
    }

    /// What the video comes in.
    fn carrier(&self) -> Carrier;

    /// The host and the port that a network camera is reached at, and its address without the login; `None` for any
    /// other source.
    ///
    /// # Errors
    /// The address names no host, or its port is no number.
    fn endpoint(&self) -> Option<Result<Endpoint, SourceError>> {
        None
    }

    /// The GStreamer pipeline; `None` if the source needs none.
    ///
    /// `password` is the content of the stream's password file.
    fn launch(&self, stream: &Stream, password: Option<&str>) -> Option<Launch>;

    /// The element that opens the container which a file's name promises.
    fn demuxer(&self) -> Option<&'static str> {
        None
    }

    /// Opens what is read without GStreamer, before each attempt; says how an attempt goes.
    ///
    /// # Errors
    /// What is missing or cannot be read.
    fn open(&self) -> Result<Medium<'_>, Error>;

    /// Whether the paths in the address can be read.
    ///
    /// # Errors
    /// What is wrong, to stand behind the address.
    fn check_paths(&self) -> Result<(), String> {
        Ok(())
    }

    /// Looks whether the source is there, as far as this can be told without playing it; `timeout` is the most time that
    /// a name, a connection or an answer may take.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    fn examine(&self, timeout: Duration) -> Result<String, Fault>;
}

/// What video comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Nothing: frames are generated or decoded here.
    Memory,
    /// A media file.
    File,
    /// RTP packets.
    Rtp,
}

/// How an attempt to read a source goes.
pub enum Medium<'a> {
    /// The pipeline plays it.
    Pipeline(End<'a>),
    /// These pictures are decoded in order.
    Pictures(Vec<PathBuf>),
}

/// Judges the end that a pipeline comes to after so many frames.
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

/// A source URI that is not understood; the message says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The part before the colon is unknown.
    #[error("unknown scheme '{}:'; expected {}", redact(.0), forms())]
    Scheme(String),
    /// There is a login, and no scheme in front of it.
    #[error("expected a scheme before the login, as in rtsp://USER:PASSWORD@HOST/PATH; a file needs file: or ./ then")]
    Login,
    /// A part of the address is missing.
    #[error("expected {0}")]
    Missing(&'static str),
    /// A test pattern is not understood.
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

    /// Reads a source URI; text without a scheme is a path.
    ///
    /// # Errors
    /// An unknown scheme, pattern or option.
    pub fn parse(uri: &str) -> Result<Self, SourceError> {
        let is_path = uri.starts_with(['/', '.', '~']) && !uri.starts_with("//");
        let (scheme, rest) = match uri.split_once(':') {
            Some((scheme, rest))
                if !is_path && rest.contains('@') && find(scheme).is_none() && !rest.starts_with("//") =>
            {
                return Err(SourceError::Login);
            }
            Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
            _ if uri.is_empty() => return Err(SourceError::Missing("a source, such as \"test:ball\"")),
            _ => ("file", uri),
        };
        let parse = find(scheme).ok_or_else(|| SourceError::Scheme(scheme.to_owned()))?;
        parse(rest)
    }

    /// Whether `uri` is a source, with a host and a port where it has an address.
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

/// What reads the addresses of a scheme.
fn find(scheme: &str) -> Option<Parse> {
    SCHEMES.iter().find(|(name, ..)| *name == scheme).map(|(.., parse)| *parse)
}

/// How addresses are written, for a person.
fn forms() -> String {
    let forms = SCHEMES.map(|(_, form, _)| form);
    match forms.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn is_scheme(text: &str) -> bool {
    text.len() > 1 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-'))
}

/// The path in an address.
fn path(rest: &str, expected: &'static str) -> Result<PathBuf, SourceError> {
    match rest.strip_prefix("//").unwrap_or(rest) {
        "" => Err(SourceError::Missing(expected)),
        path => Ok(path.into()),
    }
}

/// A pipeline to launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// `gst-launch` text up to, and without, the appsink.
    pub text: String,
    /// Element, property and value: what must not be quoted into the text.
    pub properties: Vec<(&'static str, &'static str, String)>,
    /// Whether the source runs on the clock: then the latest frame wins; otherwise none is lost.
    pub live: bool,
    /// Where a network camera is reached, and nowhere else.
    pub endpoint: Option<Endpoint>,
}

impl Launch {
    /// The elements of `source`, then the stream's rate cap and the conversion to a format that is read. Neither live nor
    /// of a network camera.
    fn of(source: &str, stream: &Stream) -> Self {
        let rate = match stream.max_fps {
            0 => String::new(),
            fps => format!(" ! videorate drop-only=true max-rate={fps}"),
        };
        let text = format!("{source}{rate} ! videoconvert");
        Self { text, properties: Vec::new(), live: false, endpoint: None }
    }

    /// Names of the elements that the pipeline is made of, the appsink included; those that decodebin adds by itself
    /// are not known before there is data.
    #[must_use]
    pub fn elements(&self) -> Vec<&str> {
        let first = self.text.split(" ! ").filter_map(|part| part.split_whitespace().next());
        first.filter(|word| !word.contains('/')).chain(["appsink"]).collect()
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
            ("file:", "expected a path"),
            ("", "expected a source"),
        ] {
            let message = Source::parse(uri).unwrap_err().to_string();
            assert!(message.contains(part), "{uri}: {message}");
        }
    }

    #[test]
    fn the_rate_is_capped_before_conversion() {
        let text = launch("test:ball", &Stream { max_fps: 5, ..Stream::default() }).text;
        assert!(text.contains("! videorate drop-only=true max-rate=5 ! videoconvert"), "{text}");
    }

    #[test]
    fn a_pipeline_tells_its_elements() {
        let test = launch("test:ball", &Stream { max_fps: 5, ..Stream::default() });
        assert_eq!(test.elements(), ["videotestsrc", "videorate", "videoconvert", "appsink"]);
        let camera = launch("rtsp://host/1", &Stream::default());
        assert_eq!(camera.elements(), ["rtspsrc", "decodebin", "videoconvert", "appsink"]);
        let file = launch("/a ! fakesink/clip.mp4", &Stream::default());
        assert_eq!(file.elements(), ["filesrc", "decodebin", "videoconvert", "videoflip", "appsink"]);
    }
}
