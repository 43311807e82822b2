//! `[[stream]]` and the sections inside it, one for each kind of source that has settings of its own.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Allowed, Keys};
use crate::choice::{AtEnd, CameraFormat, Choice, Decode, HttpKind, Payload, RtspTransport, SrtMode};

/// The smallest limit of frames per second: a picture in 1000 seconds.
pub const MIN_FPS: f64 = 0.001;

/// The largest limit of frames per second.
pub const MAX_FPS: f64 = 1000.0;

section! {
    /// `[[stream]]`: one source of frames; the section may be repeated.
    Stream {
        /// Name of the stream in records, MQTT topics and thread names; unique.
        name: String = "stream", Allowed::Name;
        /// Where the frames come from: `test:PATTERN`, a file, `images:DIR`, `rtsp://…`, `rtsps://…`, `http://…`,
        /// `https://…`, `udp://…`, `srt://…`, `v4l2:DEVICE`, `libcamera:`, `nvargus:N` or `pipeline:GST-LAUNCH-TEXT`.
        source: String = "test:ball", Allowed::Source;
        /// Name or file of its model, as `model.name`, with the labels and the preprocessing that the file brings. Empty: the
        /// model of `[model]`.
        model: String = "", Allowed::Text;
        /// The part of its pictures that is classified, as shares x,y,width,height of their sides from the upper left
        /// corner, such as `0.25,0.5,0.5,0.5`. Empty: what the model was taught, or the middle, as usual.
        region: String = "", Allowed::OptionalRegion;
        /// Its share of the inference if streams compete: one with 2 has twice as many frames classified as one with 1.
        weight: u32 = 1_u32, Allowed::Integer(1, 1000);
        /// While the picture does not change, the latest result is carried over for at most this many seconds, and the network
        /// does not run: the largest saving for a camera whose scene is mostly still. 0: every frame is classified.
        carry_over_max_s: f64 = 0.0, Allowed::NumberOrZero(0.1, 86_400.0);
        /// Maximum frames per second, such as 2, or 0.2 for a picture every five seconds; frames beyond it are left out
        /// before any conversion, and not even decoded if `decode` allows that. 0: no limit.
        max_fps: f64 = 0.0, Allowed::NumberOrZero(MIN_FPS, MAX_FPS);
        /// Of as many frames that are decoded and within `max_fps`, one is classified.
        every_nth: u32 = 1_u32, Allowed::Integer(1, 1_000_000);
        /// Which frames of a coded video are decoded: `all`; `reference`, those that others refer to; `key`, key frames
        /// alone; `auto`: as few of these as `max_fps` allows.
        decode: Decode = Decode::Auto, Allowed::Choice(Decode::WORDS);
        /// Threads of a software decoder. Those of a live source share the slices of a frame, if the camera divides frames;
        /// those of a file decode a frame each, with pictures of its own. 0: one for each core.
        decoder_threads: u32 = 1_u32, Allowed::Integer(0, 64);
        /// What decodes video: `auto`, a hardware decoder where there is one that works, otherwise software; `software`; or
        /// the name of a GStreamer element, such as `v4l2h264dec`.
        decoder: String = "auto", Allowed::Element;
        /// Maximum seconds from start to first frame; after that the stream counts as failed.
        start_timeout_s: f64 = 20.0, Allowed::Number(0.1, 3600.0);
        /// Maximum seconds without a frame from a running source; after that the stream counts as failed. After three
        /// quarters of it, its state is `stalled`.
        stall_timeout_s: f64 = 10.0, Allowed::Number(0.1, 3600.0);
        /// Maximum seconds without a whole key frame, before which no frame can be decoded; after that the stream counts
        /// as failed. Cameras with long groups of pictures send one every 10 to 20 s.
        key_frame_timeout_s: f64 = 60.0, Allowed::Number(0.1, 3600.0);
        /// Maximum seconds for a pipeline to shut down; after that it is left behind, and the stream goes on with a new one.
        /// With three left behind, the stream waits until one has ended.
        close_s: f64 = 10.0, Allowed::Number(0.1, 3600.0);
        /// Wait in seconds before a failed camera is reopened; after frames, waits begin with this one again.
        retry_first_s: f64 = 0.5, Allowed::Number(0.1, 3600.0);
        /// Each further wait is as many times as long, up to `retry_max_s`.
        retry_factor: f64 = 2.0, Allowed::Number(1.0, 10.0);
        /// Share of a wait by which chance makes it shorter or longer, so that many devices do not reopen a camera at the
        /// same time.
        retry_jitter: f64 = 0.1, Allowed::Number(0.0, 0.5);
        /// What happens at the end of a file or of a folder of pictures: `stop`, the stream ends; `loop`, it begins again;
        /// `retry`, it is opened again after a wait, as a failed camera is.
        at_end: AtEnd = AtEnd::Stop, Allowed::Choice(AtEnd::WORDS);
        /// Longest wait in seconds before a failed camera is reopened, 0.1 or more. 0: the stream ends with the failure.
        /// Cameras given with `--source` have 0.
        retry_max_s: f64 = 30.0, Allowed::NumberOrZero(0.1, 3600.0);
        /// Network cameras: user name; empty: the one in the address, if any.
        username: String = "", Allowed::Text;
        /// Network cameras: file with the password, or with the passphrase of `srt://`; a bare name is looked up in
        /// `$CREDENTIALS_DIRECTORY`, if that is set.
        password_file: String = "", Allowed::Text;
        /// Network cameras over TLS (`rtsps://`, `https://`): PEM file with the authorities that may sign the camera's
        /// certificate, or with the camera's own certificate, which then counts whatever its name and dates; looked up like
        /// `password_file`. Empty: the authorities that the system trusts.
        ca_file: String = "", Allowed::Text;
        /// Network cameras over TLS: accept every certificate. Anybody in between can then watch, send other pictures
        /// and obtain a password sent in clear.
        danger_accept_any_certificate: bool = false, Allowed::Switch;
    }
    with {
        /// For `rtsp://` and `rtsps://`.
        rtsp: Rtsp;
        /// For `http://` and `https://`.
        http: Http;
        /// For `udp://`.
        udp: Udp;
        /// For `srt://`.
        srt: Srt;
        /// For `v4l2:`.
        v4l2: V4l2;
        /// For `libcamera:`.
        libcamera: BoardCamera;
        /// For `nvargus:`.
        nvargus: BoardCamera;
    }
}

section! {
    /// `[stream.rtsp]`: settings of a stream from a network camera with RTSP.
    Rtsp {
        /// Milliseconds of jitter that the receiver evens out.
        latency_ms: u32 = 200_u32, Allowed::Integer(0, 60_000);
        /// Transport of the packets, `tcp` or `udp`; `auto` tries UDP first, then multicast, then TCP.
        transport: RtspTransport = RtspTransport::Tcp, Allowed::Choice(RtspTransport::WORDS);
    }
}

section! {
    /// `[stream.http]`: settings of a stream from a web camera.
    Http {
        /// What the camera sends: `mjpeg`, pictures without end in one answer; `picture`, one JPEG picture for each
        /// request; `auto`: what the type of its answer says.
        kind: HttpKind = HttpKind::Auto, Allowed::Choice(HttpKind::WORDS);
        /// Seconds from one request for a picture to the next, less than `stall_timeout_s`.
        poll_s: f64 = 1.0, Allowed::Number(0.02, 3600.0);
    }
}

section! {
    /// `[stream.udp]`: settings of a stream of packets that are sent to this machine.
    Udp {
        /// What the packets hold: `mpegts`, `rtp-mpegts`, `rtp-h264`, `rtp-h265` or `rtp-jpeg`.
        payload: Payload = Payload::Mpegts, Allowed::Choice(Payload::WORDS);
        /// Milliseconds of jitter that the receiver evens out, with RTP.
        latency_ms: u32 = 200_u32, Allowed::Integer(0, 60_000);
    }
}

section! {
    /// `[stream.srt]`: settings of a stream over SRT.
    Srt {
        /// Who calls: `caller`, this program; `listener`, the encoder; `auto`: the encoder if the address has no host.
        mode: SrtMode = SrtMode::Auto, Allowed::Choice(SrtMode::WORDS);
        /// Milliseconds in which lost packets can be sent again; the larger value of both sides counts.
        latency_ms: u32 = 200_u32, Allowed::Integer(0, 60_000);
        /// Which stream of the encoder, where it has several; empty: none named.
        stream_id: String = "", Allowed::Text;
    }
}

section! {
    /// `[stream.libcamera]` and `[stream.nvargus]`: settings of a stream from a camera of the board.
    BoardCamera {
        /// Columns; 0: automatic.
        width: u32 = 0_u32, Allowed::Integer(0, 16_384);
        /// Rows; 0: automatic.
        height: u32 = 0_u32, Allowed::Integer(0, 16_384);
        /// Frames per second that the camera is asked for; 0: automatic.
        fps: f64 = 0.0, Allowed::NumberOrZero(0.1, 1000.0);
    }
}

section! {
    /// `[stream.v4l2]`: settings of a stream from a camera at this machine.
    V4l2 {
        /// What the camera is asked for; `auto`: what suits best among what it offers.
        format: CameraFormat = CameraFormat::Auto, Allowed::Choice(CameraFormat::WORDS);
        /// Columns; 0: automatic.
        width: u32 = 0_u32, Allowed::Integer(0, 16_384);
        /// Rows; 0: automatic.
        height: u32 = 0_u32, Allowed::Integer(0, 16_384);
        /// Frames per second that the camera is asked for; 0: automatic.
        fps: f64 = 0.0, Allowed::NumberOrZero(0.1, 1000.0);
        /// Controls of the camera and their values, such as `auto_exposure=1,exposure_time_absolute=156`, set whenever
        /// it is opened.
        controls: String = "", Allowed::Controls;
    }
}

impl Stream {
    /// `close_s`.
    #[must_use]
    pub fn close_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.close_s)
    }

    /// `start_timeout_s`.
    #[must_use]
    pub fn start_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.start_timeout_s)
    }

    /// `retry_max_s`.
    #[must_use]
    pub fn retry_max(&self) -> Duration {
        Duration::from_secs_f64(self.retry_max_s)
    }

    /// `key_frame_timeout_s`.
    #[must_use]
    pub fn key_frame_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.key_frame_timeout_s)
    }

    /// `stall_timeout_s`.
    #[must_use]
    pub fn stall_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.stall_timeout_s)
    }
}
