//! Why a stream has no frames.

use std::io;
use std::path::PathBuf;

use super::device::DeviceError;
use super::guard::MOST_REDIRECTS;
use super::package;
use super::player::MOST_PER_FRAME;
use super::scheme::{SourceError, file_hint};
use super::still::StillError;
use super::trust::{TrustError, Untrusted};
use crate::config::{SecretError, redact};
use crate::exit::Exit;
use crate::plural::counted;

/// Why a stream has no frames, or no more of them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source URI is invalid.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The file of the password or of the authorities cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The authorities cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The camera's certificate is not accepted.
    #[error("{0}; {remedy}", remedy = .0.remedy())]
    Untrusted(Box<Untrusted>),
    /// The passphrase of an SRT stream is too short or too long.
    #[error(
        "the passphrase in stream.password_file has {}; SRT takes from 10 to 79",
        counted(*length, "byte", "bytes")
    )]
    Passphrase {
        /// Its bytes.
        length: usize,
    },
    /// A picture or a folder of them cannot be read.
    #[error(transparent)]
    Still(#[from] StillError),
    /// The media file cannot be read.
    #[error("cannot read {}{}", redact(&path.display().to_string()), file_hint(path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A folder where a file is expected.
    #[error("{} is a folder; for a folder of pictures use images:{}", path.display(), path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// GStreamer does not have an element.
    #[error("the GStreamer element '{element}' is not installed; {}", package::remedy(element))]
    MissingElement {
        /// Name of the element.
        element: String,
    },
    /// What a stream is to decode with is no decoder.
    #[error(
        "the GStreamer element '{element}' is no video decoder (stream.decoder); expected auto, software or the name of \
         one: `hardnetd doctor` lists them"
    )]
    NoDecoder {
        /// Name of the element.
        element: String,
    },
    /// The decoder of a stream is for other video.
    #[error(
        "the decoder '{element}' (stream.decoder) does not take {media}, which the source sends; expected auto, software \
         or another decoder"
    )]
    OtherDecoder {
        /// Name of the element.
        element: String,
        /// The media type, in GStreamer's words.
        media: String,
    },
    /// The decoder of a stream gives pictures that cannot be read.
    #[error(
        "the decoder '{element}' (stream.decoder) gives pictures in {memory}, from which nothing is known to copy them; \
         expected auto, software or another decoder"
    )]
    OtherMemory {
        /// Name of the element.
        element: String,
        /// The kind of memory, in GStreamer's words.
        memory: String,
    },
    /// No installed plugin supports the media.
    #[error(
        "GStreamer has no plugin for it: {what} is missing; it is in the package {package} (apt install {package})"
    )]
    MissingDecoder {
        /// What is missing, in GStreamer's words.
        what: String,
        /// The Debian package that contains it.
        package: &'static str,
    },
    /// GStreamer itself is unusable.
    #[error("GStreamer does not start: {message}")]
    Broken {
        /// GStreamer's message.
        message: String,
    },
    /// The pipeline of a user is none.
    #[error("the pipeline of the source is wrong: {message}")]
    Pipeline {
        /// What is wrong.
        message: String,
    },
    /// The pipeline cannot be built or started.
    #[error("{message}")]
    Unusable {
        /// What is wrong.
        message: String,
    },
    /// The pipeline failed.
    #[error("{message} ({advice})")]
    Failed {
        /// GStreamer's message.
        message: String,
        /// What to do.
        advice: &'static str,
        /// What kind of failure it is.
        exit: Exit,
    },
    /// The name of a network camera's host is not known.
    #[error("cannot resolve {host} (check the address and {})", if host.ends_with(".local") { "avahi-daemon and libnss-mdns" } else { "DNS" })]
    UnknownHost {
        /// The name.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// A camera at this machine delivers nothing.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The media has no video.
    #[error("it holds no video that can be decoded")]
    NoVideo,
    /// GStreamer stopped reading a file before its first frame, without an error.
    #[error("GStreamer stops before the first frame (the data may be damaged or cut off)")]
    Stopped,
    /// The media file refers to addresses or other files.
    #[error(
        "it is {what}, which refers to other addresses; hardnetd does not open them. Use the video file itself, or the \
         rtsp:// address of the camera, as the source"
    )]
    Reference {
        /// What it is.
        what: &'static str,
    },
    /// A network camera redirects the program to another host or port.
    #[error(
        "the camera redirects to {to}, but hardnetd does not follow to another host or port, because it would send the \
         login there. If the address is right, make it the source of the stream"
    )]
    SentElsewhere {
        /// The address, without password and control characters.
        to: String,
    },
    /// A network camera chose a transport that it was not offered.
    #[error("the camera chose a transport that it was not offered (check transport in [stream.rtsp])")]
    OtherTransport,
    /// A network camera has refused every transport that it was offered.
    #[error(
        "the camera does not send over the transport that it was offered (set transport to \"udp\", \"tcp\" or \"auto\" in \
         [stream.rtsp])"
    )]
    NoTransport,
    /// A network camera keeps redirecting the program.
    #[error("the camera redirected more than {} times without sending video", MOST_REDIRECTS)]
    SentInCircles,
    /// A network camera sends data, but no frame results.
    #[error("the camera has sent {} MiB without a frame (the limit)", MOST_PER_FRAME >> 20)]
    Flood,
    /// A network camera that has asked for a digest now asks for the password in clear.
    #[error(
        "the camera asks for a plain-text password (Basic) after it had asked for digest authentication. hardnetd does not send \
         it, because the request may be forged. If the camera was reconfigured on purpose, restart hardnetd"
    )]
    AskedInClear,
    /// The camera knows no such user and password.
    #[error(
        "the camera refuses the login: check stream.username and stream.password_file, or the login in the address"
    )]
    LoginRefused,
    /// There is no login.
    #[error("the camera asks for a login: set stream.username and stream.password_file")]
    LoginMissing,
    /// The camera asks for a login that GStreamer cannot make.
    #[error(
        "the camera accepts logins with SHA-256 only, and {version} makes them with MD5: allow MD5 digest authentication in \
         the camera's settings"
    )]
    OtherDigest {
        /// Name and version of GStreamer.
        version: String,
    },
    /// The media file ends before its container says it does.
    #[error(
        "the file is cut off: {} missing after {} that could be decoded",
        counted(*missing, "byte is", "bytes are"), counted(*frames, "frame", "frames")
    )]
    Truncated {
        /// Bytes that the container declares but the file lacks.
        missing: u64,
        /// Frames that could be decoded.
        frames: u64,
    },
    /// A camera ended the stream.
    #[error("the camera ended the stream after {}", counted(*frames, "frame", "frames"))]
    Ended {
        /// Frames before that.
        frames: u64,
    },
    /// A source that is to be opened again has no more frames.
    #[error("the source ended {}", if *frames == 0 { "without a frame".into() } else { format!("after {}", counted(*frames, "frame", "frames")) })]
    Over {
        /// Frames before that.
        frames: u64,
    },
    /// There are frames, and none of them is a whole key frame.
    #[error(
        "no whole key frame {}: {} left out, because decoding can only begin with one. Shorten the camera's interval \
         between key frames (I-frame interval, GOP), or raise the limit",
        within(*.seconds), counted(*left_out, "frame was", "frames were")
    )]
    NoKeyFrame {
        /// The limit in seconds; `None` if the video has ended.
        seconds: Option<f64>,
        /// Frames that were left out.
        left_out: u64,
    },
    /// Pipelines of the source do not shut down.
    #[error(
        "{pipelines} pipelines of it do not shut down, so it is not opened again before one has. GStreamer waits for an answer \
         of the camera, or the kernel for the device or the disk: check these, or restart hardnetd"
    )]
    Stuck {
        /// How many there are.
        pipelines: usize,
    },
    /// No frame came within the limit.
    #[error("{}{}", silent(*.seconds, *.frames), useless(*.received))]
    Silent {
        /// The limit in seconds.
        seconds: f64,
        /// Frames before that.
        frames: u64,
        /// Bytes that others have sent since, to a source that listens.
        received: u64,
    },
}

fn within(seconds: Option<f64>) -> String {
    match seconds {
        Some(seconds) => format!("for {seconds} s (limit: stream.key_frame_timeout_s)"),
        None => "in the whole video".into(),
    }
}

fn silent(seconds: f64, frames: u64) -> String {
    match frames {
        0 => format!("no frame within {seconds} s of the start (limit: stream.start_timeout_s)"),
        _ => {
            let frames = counted(frames, "frame", "frames");
            format!("no frame for {seconds} s after {frames} (limit: stream.stall_timeout_s)")
        }
    }
}

fn useless(received: u64) -> String {
    match received {
        0 => String::new(),
        _ => format!(
            ", although {} kB arrived: compare what the sender sends with payload in [stream.udp]; with srt://, it is MPEG-TS",
            received.div_ceil(1000)
        ),
    }
}

impl Error {
    /// Whether reopening may help a camera that failed this way; `had_frames` if it has delivered frames before.
    #[must_use]
    pub fn is_retryable(&self, had_frames: bool) -> bool {
        match self {
            Self::Failed { .. }
            | Self::UnknownHost { .. }
            // Whatever is wrong with a device, another may be plugged in.
            | Self::Device(_)
            | Self::Ended { .. }
            | Self::Silent { .. }
            | Self::NoVideo
            | Self::NoKeyFrame { .. }
            | Self::Unusable { .. }
            | Self::Reference { .. }
            | Self::SentElsewhere { .. }
            | Self::OtherTransport
            | Self::NoTransport
            | Self::SentInCircles
            | Self::Flood
            | Self::LoginRefused
            | Self::LoginMissing
            | Self::OtherDigest { .. }
            | Self::Untrusted(_)
            | Self::AskedInClear => true,
            // A camera that changed its coding may change it back.
            Self::MissingDecoder { .. } | Self::OtherDecoder { .. } => had_frames,
            // The file of the authorities may just be written anew.
            Self::Trust(TrustError::Authorities { .. }) => had_frames,
            _ => false,
        }
    }

    /// Whether it is about the content of a file or folder, which may be another the next time it is read.
    pub(super) fn is_of_file(&self) -> bool {
        matches!(
            self,
            Self::Unreadable { .. }
                | Self::Still(_)
                | Self::Stopped
                | Self::Truncated { .. }
                | Self::NoVideo
                | Self::NoKeyFrame { .. }
                | Self::Silent { .. }
                | Self::Failed { exit: Exit::Data | Exit::NoInput, .. }
        )
    }

    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            // Most likely misspelt.
            Self::MissingElement { element } if package::known(element).is_none() => Exit::Config,
            Self::Source(_)
            | Self::Secret(_)
            | Self::Passphrase { .. }
            | Self::Pipeline { .. }
            | Self::NoDecoder { .. }
            | Self::OtherDecoder { .. }
            | Self::OtherMemory { .. }
            | Self::Trust(TrustError::Authorities { .. }) => Exit::Config,
            Self::Still(error) => error.exit(),
            Self::Device(error) => error.exit(),
            Self::Unreadable { .. } | Self::Folder { .. } => Exit::NoInput,
            Self::Broken { .. }
            | Self::MissingElement { .. }
            | Self::MissingDecoder { .. }
            | Self::UnknownHost { .. }
            | Self::Ended { .. }
            | Self::Over { .. }
            | Self::Trust(TrustError::NoTls)
            | Self::Untrusted(_)
            | Self::SentElsewhere { .. }
            | Self::OtherTransport
            | Self::NoTransport
            | Self::SentInCircles
            | Self::Flood
            | Self::NoKeyFrame { seconds: Some(_), .. }
            | Self::Stuck { .. }
            | Self::Silent { .. } => Exit::Unavailable,
            Self::AskedInClear | Self::LoginRefused | Self::LoginMissing | Self::OtherDigest { .. } => {
                Exit::NoPermission
            }
            Self::Unusable { .. } => Exit::Internal,
            Self::Failed { exit, .. } => *exit,
            Self::NoKeyFrame { seconds: None, .. }
            | Self::NoVideo
            | Self::Stopped
            | Self::Reference { .. }
            | Self::Truncated { .. } => Exit::Data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_is_missing_ends_a_camera_only_at_its_start() {
        let error = Error::MissingDecoder { what: "H.265".into(), package: "gstreamer1.0-libav" };
        assert!(!error.is_retryable(false));
        assert!(error.is_retryable(true));
    }
}
