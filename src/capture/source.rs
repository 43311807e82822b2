//! Source URIs: what they mean, and the GStreamer pipeline that each one becomes.
//!
//! Pure text in, pure data out; nothing here touches GStreamer or the file system.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::choice::RtspTransport;
use crate::config::{Stream, redact};

/// The patterns of GStreamer's `videotestsrc`, by name.
pub const PATTERNS: [&str; 26] = [
    "smpte",
    "snow",
    "black",
    "white",
    "red",
    "green",
    "blue",
    "checkers-1",
    "checkers-2",
    "checkers-4",
    "checkers-8",
    "circular",
    "blink",
    "smpte75",
    "zone-plate",
    "gamut",
    "chroma-zone-plate",
    "solid-color",
    "ball",
    "smpte100",
    "bar",
    "pinwheel",
    "spokes",
    "gradient",
    "colors",
    "smpte-rp-219",
];

/// The pixel formats that a test pattern can be asked for, by their GStreamer names.
pub const FORMATS: [&str; 20] = [
    "NV12",
    "NV21",
    "NV16",
    "I420",
    "YV12",
    "Y42B",
    "Y444",
    "YUY2",
    "YVYU",
    "UYVY",
    "RGB",
    "BGR",
    "RGBx",
    "BGRx",
    "xRGB",
    "xBGR",
    "GRAY8",
    "I420_10LE",
    "P010_10LE",
    "AYUV64",
];

/// Where frames come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A generated pattern.
    Test(TestPattern),
    /// A media file.
    File(PathBuf),
    /// The pictures of a folder.
    Images(PathBuf),
    /// A network camera; the whole address.
    Rtsp(String),
}

/// Port of an `rtsp://` address that names none (RFC 7826, 4.2).
const RTSP_PORT: u16 = 554;

/// A generated pattern and how it is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestPattern {
    /// One of [`PATTERNS`].
    pub pattern: &'static str,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames per second.
    pub fps: u32,
    /// Frames after which the stream ends; `None`: never.
    pub frames: Option<u32>,
    /// Paced by the clock as a camera is (true), or as fast as it is taken, without loss (false).
    pub live: bool,
    /// Pixel format, one of [`FORMATS`].
    pub format: &'static str,
}

/// A source URI that is not understood; the message says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The part before the colon is unknown.
    #[error("unknown scheme '{}:'; expected test:PATTERN, a file, images:DIR or rtsp://HOST/PATH", redact(.0))]
    Scheme(String),
    /// No such test pattern.
    #[error("unknown test pattern '{}'; expected one of {names}", redact(.0), names = PATTERNS.join(", "))]
    Pattern(String),
    /// An option of a test pattern is unknown or out of range.
    #[error(
        "unusable option '{}'; expected size=WxH (16 to 8192), fps=1..1000, frames=1.., live=true|false, \
         format={formats}",
        redact(.0),
        formats = FORMATS.join("|")
    )]
    Option(String),
    /// There is a login, and no scheme in front of it.
    #[error("expected a scheme before the login, as in rtsp://USER:PASSWORD@HOST/PATH; a file needs file: or ./ then")]
    Login,
    /// Nothing follows the scheme.
    #[error("expected {0}")]
    Missing(&'static str),
}

/// What becomes of a source: a pipeline to launch, or a folder to read.
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
    /// Names of the elements that the pipeline is made of, the appsink included; those that decodebin adds by itself
    /// are not known before there is data.
    #[must_use]
    pub fn elements(&self) -> Vec<&str> {
        let first = self.text.split(" ! ").filter_map(|part| part.split_whitespace().next());
        first.filter(|word| !word.contains('/')).chain(["appsink"]).collect()
    }
}

impl Source {
    /// Reads a source URI; text without a scheme is a path.
    ///
    /// # Errors
    /// An unknown scheme, pattern or option.
    pub fn parse(uri: &str) -> Result<Self, SourceError> {
        let is_path = uri.starts_with(['/', '.', '~']) && !uri.starts_with("//");
        let (scheme, rest) = match uri.split_once(':') {
            Some((scheme, rest)) if !is_path && rest.contains('@') && !is_known(scheme) && !rest.starts_with("//") => {
                return Err(SourceError::Login);
            }
            Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
            _ if uri.is_empty() => return Err(SourceError::Missing("a source, such as \"test:ball\"")),
            _ => ("file", uri),
        };
        match scheme {
            "test" => TestPattern::parse(rest).map(Self::Test),
            "file" | "images" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                match (path, scheme) {
                    ("", "file") => Err(SourceError::Missing("a path after 'file:'")),
                    ("", _) => Err(SourceError::Missing("a folder after 'images:'")),
                    (path, "file") => Ok(Self::File(path.into())),
                    (path, _) => Ok(Self::Images(path.into())),
                }
            }
            "rtsp" if rest.len() > 2 && rest.starts_with("//") => Ok(Self::Rtsp(uri.to_owned())),
            "rtsp" => Err(SourceError::Missing("rtsp://HOST:PORT/PATH")),
            unknown => Err(SourceError::Scheme(unknown.to_owned())),
        }
    }

    /// Whether `uri` is a source, with a host and a port where it has an address.
    ///
    /// # Errors
    /// What is expected, without secrets.
    pub fn check(uri: &str) -> Result<(), String> {
        let check = |uri| Self::parse(uri)?.endpoint().transpose();
        check(uri).map(drop).map_err(|error| error.to_string())
    }

    /// Whether frames come at the pace of a clock: then the latest wins, otherwise none is lost.
    #[must_use]
    pub fn is_live(&self) -> bool {
        match self {
            Self::Test(test) => test.live,
            Self::Rtsp(_) => true,
            Self::File(_) | Self::Images(_) => false,
        }
    }

    /// Whether it is a camera, which has no end of its own and may come back.
    #[must_use]
    pub fn is_camera(&self) -> bool {
        matches!(self, Self::Rtsp(_))
    }

    /// The host and the port that a network camera is reached at, and its address without the login; `None` for any
    /// other source.
    ///
    /// # Errors
    /// The address names no host, or its port is no number.
    pub fn endpoint(&self) -> Option<Result<Endpoint, SourceError>> {
        match self {
            Self::Rtsp(address) => Some(Endpoint::of(&login(address).0)),
            Self::Test(_) | Self::File(_) | Self::Images(_) => None,
        }
    }

    /// The source as a person may see it: without passwords.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Test(test) => format!("test:{}", test.pattern),
            Self::File(path) => redact(&path.display().to_string()),
            Self::Images(path) => format!("images:{}", redact(&path.display().to_string())),
            Self::Rtsp(location) => redact(location),
        }
    }

    /// The GStreamer pipeline for this source; `None` for a folder of pictures, which needs none.
    ///
    /// `password` is the content of the stream's password file.
    #[must_use]
    pub fn launch(&self, stream: &Stream, password: Option<&str>) -> Option<Launch> {
        let (source, properties) = match self {
            Self::Images(_) => return None,
            Self::Test(test) => (test.launch(), Vec::new()),
            Self::File(path) => {
                let text = "filesrc name=source ! decodebin name=decode expose-all-streams=false caps=video/x-raw(ANY)";
                let location = path.to_string_lossy().into_owned();
                (text.to_owned(), vec![("source", "location", location)])
            }
            Self::Rtsp(location) => rtsp(location, stream, password),
        };
        let rate = match stream.max_fps {
            0 => String::new(),
            fps => format!(" ! videorate drop-only=true max-rate={fps}"),
        };
        // Files carry the orientation that the camera was held in.
        let upright = if matches!(self, Self::File(_)) { " ! videoflip video-direction=auto" } else { "" };
        let text = format!("{source}{rate} ! videoconvert{upright}");
        let endpoint = self.endpoint().and_then(Result::ok);
        Some(Launch { text, properties, live: self.is_live(), endpoint })
    }
}

/// Where a network camera is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address of the host; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// What the camera is asked for: the address without the login.
    pub address: String,
}

impl Endpoint {
    pub(super) fn of(address: &str) -> Result<Self, SourceError> {
        let wrong = || SourceError::Missing("rtsp://HOST:PORT/PATH, the port from 1 to 65535");
        let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or_else(wrong)?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?,
            None if port.is_empty() => RTSP_PORT,
            None => return Err(wrong()),
        };
        match host {
            "" => Err(wrong()),
            host => Ok(Self { host: host.to_owned(), port, address: address.to_owned() }),
        }
    }
}

fn is_known(scheme: &str) -> bool {
    matches!(scheme, "test" | "file" | "images" | "rtsp")
}

fn is_scheme(text: &str) -> bool {
    text.len() > 1 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-'))
}

fn rtsp(
    location: &str,
    stream: &Stream,
    password: Option<&str>,
) -> (String, Vec<(&'static str, &'static str, String)>) {
    let protocols = match stream.rtsp_transport {
        RtspTransport::Tcp => "tcp",
        RtspTransport::Udp => "udp",
        RtspTransport::Auto => "tcp+udp-mcast+udp",
    };
    let (location, user, in_address) = login(location);
    let timeout_us = stream.start_timeout().as_micros();
    let text = format!(
        "rtspsrc name=source latency={latency} protocols={protocols} drop-on-latency=true \
         tcp-timeout={timeout_us} ! application/x-rtp,media=video \
         ! decodebin name=decode expose-all-streams=false caps=video/x-raw(ANY)",
        latency = stream.rtsp_latency_ms,
    );
    let mut properties = vec![("source", "location", location)];
    let user = if stream.username.is_empty() { user } else { Some(stream.username.clone()) };
    properties.extend(user.map(|user| ("source", "user-id", user)));
    properties.extend(password.map(str::to_owned).or(in_address).map(|password| ("source", "user-pw", password)));
    (text, properties)
}

/// An address without its login, and the user and password that it held (RFC 3986, 3.2.1).
fn login(address: &str) -> (String, Option<String>, Option<String>) {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let parts = || {
        let (scheme, rest) = address.split_once("://")?;
        let (login, host) = rest.rsplit_once('@')?;
        Some((format!("{scheme}://{host}"), login))
    };
    match parts() {
        None => (address.to_owned(), None, None),
        Some((location, login)) => match login.split_once(':') {
            Some((user, password)) => (location, Some(decode(user)), Some(decode(password))),
            None => (location, Some(decode(login)), None),
        },
    }
}

impl TestPattern {
    fn parse(text: &str) -> Result<Self, SourceError> {
        let (name, options) = text.split_once('?').unwrap_or((text, ""));
        let pattern = PATTERNS.iter().find(|known| **known == name);
        let pattern = pattern.ok_or_else(|| SourceError::Pattern(name.to_owned()))?;
        let mut test = Self { pattern, width: 640, height: 480, fps: 30, frames: None, live: true, format: "NV12" };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            test.set(option).ok_or_else(|| SourceError::Option(option.to_owned()))?;
        }
        Ok(test)
    }

    fn set(&mut self, option: &str) -> Option<()> {
        let in_range = |text: &str, min: u32, max: u32| text.parse().ok().filter(|n| (min..=max).contains(n));
        let (key, value) = option.split_once('=')?;
        match key {
            "size" => {
                let (width, height) = value.split_once('x')?;
                self.width = in_range(width, 16, 8192)?;
                self.height = in_range(height, 16, 8192)?;
            }
            "fps" => self.fps = in_range(value, 1, 1000)?,
            "frames" => self.frames = Some(in_range(value, 1, i32::MAX as u32)?),
            "live" => self.live = value.parse().ok()?,
            "format" => self.format = FORMATS.iter().find(|known| **known == value)?,
            _ => return None,
        }
        Some(())
    }

    fn launch(&self) -> String {
        let Self { pattern, width, height, fps, live, format, .. } = self;
        let frames = self.frames.map_or(-1, i64::from);
        format!(
            "videotestsrc name=source pattern={pattern} is-live={live} num-buffers={frames} \
             ! video/x-raw,format={format},width={width},height={height},framerate={fps}/1"
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn launch(uri: &str, stream: &Stream) -> Launch {
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
            assert_eq!(Source::parse(uri), Ok(Source::File(path.into())), "{uri}");
        }
        assert_eq!(Source::parse("images:/photos"), Ok(Source::Images("/photos".into())));
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
    fn a_test_pattern_is_live_at_30_fps_unless_asked_otherwise() {
        let stream = Stream::default();
        let plain = launch("test:ball", &stream);
        assert!(plain.live);
        assert_eq!(
            plain.text,
            "videotestsrc name=source pattern=ball is-live=true num-buffers=-1 \
             ! video/x-raw,format=NV12,width=640,height=480,framerate=30/1 ! videoconvert"
        );
        let other = launch("test:snow?size=64x32&fps=5&frames=9&live=false&format=YUY2", &stream);
        assert!(!other.live);
        assert_eq!(
            other.text,
            "videotestsrc name=source pattern=snow is-live=false num-buffers=9 \
             ! video/x-raw,format=YUY2,width=64,height=32,framerate=5/1 ! videoconvert"
        );
    }

    #[test]
    fn the_rate_is_capped_before_conversion() {
        let text = launch("test:ball", &Stream { max_fps: 5, ..Stream::default() }).text;
        assert!(text.contains("! videorate drop-only=true max-rate=5 ! videoconvert"), "{text}");
    }

    #[test]
    fn a_path_never_becomes_launch_text() {
        let launch = launch("/a ! fakesink \" name.mp4", &Stream::default());
        assert!(!launch.text.contains("fakesink"));
        assert_eq!(launch.properties, [("source", "location", "/a ! fakesink \" name.mp4".to_owned())]);
        assert!(!launch.live);
    }

    #[test]
    fn rtsp_takes_its_settings_and_hides_its_password() {
        let stream = Stream {
            rtsp_latency_ms: 50,
            rtsp_transport: RtspTransport::Udp,
            username: "me".into(),
            ..Stream::default()
        };
        let launch = launch("rtsp://u:p@host/1", &stream);
        assert!(launch.live);
        assert!(launch.text.contains("latency=50 protocols=udp "), "{}", launch.text);
        assert!(launch.properties.contains(&("source", "user-id", "me".to_owned())));
        assert!(launch.properties.contains(&("source", "user-pw", "secret".to_owned())));
        assert!(launch.properties.contains(&("source", "location", "rtsp://host/1".to_owned())));
        assert_eq!(Source::parse("rtsp://u:p@host/1").unwrap().describe(), "rtsp://u:***@host/1");
    }

    #[test]
    fn a_login_in_the_address_is_handed_over_beside_it() {
        let properties =
            |address: &str| Source::parse(address).unwrap().launch(&Stream::default(), None).unwrap().properties;
        let of = |name, value: &str| ("source", name, value.to_owned());
        assert_eq!(
            properties("rtsp://me:p%40s:s@host:554/1"),
            [of("location", "rtsp://host:554/1"), of("user-id", "me"), of("user-pw", "p@s:s")]
        );
        assert_eq!(properties("rtsp://me@host/1"), [of("location", "rtsp://host/1"), of("user-id", "me")]);
        assert_eq!(properties("rtsp://host/1"), [of("location", "rtsp://host/1")]);
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

    #[test]
    fn a_camera_is_reached_at_its_host_and_port_without_its_login() {
        let of = |uri: &str| Source::parse(uri).unwrap().endpoint();
        for (uri, host, port, address) in [
            ("rtsp://cam/1", "cam", 554, "rtsp://cam/1"),
            ("rtsp://u:p@cam:8554/1?x=a:b", "cam", 8554, "rtsp://cam:8554/1?x=a:b"),
            ("rtsp://u:p/@x@10.0.0.7", "10.0.0.7", 554, "rtsp://10.0.0.7"),
            ("rtsp://[fe80::1]:554/1", "fe80::1", 554, "rtsp://[fe80::1]:554/1"),
            ("rtsp://[::1]", "::1", 554, "rtsp://[::1]"),
        ] {
            let endpoint = Endpoint { host: host.into(), port, address: address.into() };
            assert_eq!(of(uri), Some(Ok(endpoint)), "{uri}");
        }
        for uri in
            ["rtsp://cam:0/1", "rtsp://cam:99999/1", "rtsp://cam:x/1", "rtsp:///1", "rtsp://[::1/1", "rtsp://[::1]x"]
        {
            assert!(of(uri).unwrap().is_err(), "{uri}");
        }
        assert_eq!(of("test:ball"), None);
    }
}
