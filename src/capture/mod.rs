//! Frames from a test pattern, a file, a folder of pictures, a network camera or a camera at this machine.
//!
//! `scheme` interprets URIs, with a file for each kind of source; `gst` runs the GStreamer pipeline; `plug` and `guard`
//! keep it from opening what a file or a camera names; `web` fetches the pictures of web cameras; `device` knows the
//! cameras at this machine; `elements` says which parts of GStreamer are installed; `still` decodes pictures; `folder` tells
//! the user's files from those of systems; `gate` leaves out what would decode to no picture of the source; `supervise` runs
//! a source to its end, through the traits of `player`; `lifecycle` says which state a stream is in, and `reaper` takes what
//! does not shut down. Nothing here knows the consumer of the frames.

mod backoff;
mod container;
mod decoder;
pub(crate) mod device;
mod dial;
mod economy;
pub mod elements;
mod error;
mod folder;
mod gate;
mod gst;
mod guard;
mod jpeg;
mod lifecycle;
mod nal;
pub mod package;
mod player;
mod plug;
mod rate;
mod reaper;
mod room;
mod samples;
mod scheme;
mod still;
mod supervise;
mod tiff;
mod trust;
mod web;
mod webp;

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::choice::AtEnd;
use crate::config::{Stream, read_secret};
use crate::exit::chain;
use crate::frame;

use backoff::Waits;
pub use decoder::DecoderChoice;
pub use device::{Device, DeviceError, Trouble, Wanted};
pub use error::Error;
pub use folder::{is_visible, place, visible};
pub use gate::LeftOut;
pub use gst::{Converter, init, version};
pub use lifecycle::{Event, Flow, Lifecycle, Limits};
pub use samples::Samples;
pub use scheme::{
    Carrier, Decoding, End, Endpoint, FORMATS, Fault, Launch, Medium, PATTERNS, Scheme, Source, SourceError, TestError,
};
pub use still::{Still, StillError, is_picture, list as pictures};
pub use supervise::{check, run};
pub use trust::{Trust, TrustError, Untrusted};
#[cfg(fuzzing)]
pub use web::read_answer;
pub use web::{Fetch, Login};

/// Whether the name of a file is that of a video.
#[must_use]
pub fn is_video(path: &Path) -> bool {
    scheme::is_video(path)
}

/// A frame of a source.
pub type Frame = frame::Frame<Samples>;

/// Takes a frame; breaks when no more are wanted. It may block, which holds a file back.
pub type Deliver = Arc<dyn Fn(Frame) -> ControlFlow<()> + Send + Sync>;

/// Takes a progress report; breaks when no more frames are wanted.
pub type Report<'a> = dyn Fn(Progress<'_>) -> ControlFlow<()> + 'a;

/// Progress reports of a source's thread.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// It is waiting, and will go on; one of this and the next is reported at least once a second.
    Watching,
    /// The source has a pipeline, which does this.
    Playing(Flow),
    /// Frames were not decoded, or their pictures not used, since the last report.
    LeftOut(LeftOut),
    /// A picture of a folder cannot be read; the source goes on with the next one.
    Unreadable {
        /// Why.
        error: &'a StillError,
        /// Its number.
        number: u64,
        /// Whether the folder is read for the first time: it may be read again and again.
        is_first: bool,
    },
    /// The source has failed and will be reopened.
    Retrying {
        /// Why it failed.
        error: &'a Error,
        /// Time until it is reopened.
        wait: Duration,
        /// Number of the first frame of the next attempt; all frames of earlier attempts have lower numbers.
        next: u64,
    },
    /// Pipelines have not shut down in time, and the source is opened without waiting for them any longer.
    Abandoned {
        /// How many there are, besides those that have been reported.
        pipelines: u64,
    },
    /// The source cannot be opened before something else has happened; it will be as soon as it has.
    Hindered(&'a Error),
}

/// One stream, ready to run.
#[derive(Debug)]
pub struct Settings {
    /// Name of the stream.
    pub stream: Arc<str>,
    /// Where the frames come from.
    pub source: Source,
    launch: Option<Launch>,
    /// From which the pipeline is made again when the password or the authorities have changed.
    config: Stream,
    limits: Limits,
    close_timeout: Duration,
    waits: Waits,
    at_end: AtEnd,
}

impl Settings {
    /// Reads a `[[stream]]` section.
    ///
    /// # Errors
    /// If the source is not understood or the password file cannot be read.
    pub fn new(stream: &Stream) -> Result<Self, Error> {
        let source = Source::parse(&stream.source)?;
        if let Some(endpoint) = source.endpoint() {
            endpoint?;
        }
        let launch = launch(&source, stream)?;
        Ok(Self {
            stream: stream.name.as_str().into(),
            source,
            launch,
            config: stream.clone(),
            limits: Limits::of(stream),
            close_timeout: stream.close_timeout(),
            waits: Waits::of(stream),
            at_end: stream.at_end,
        })
    }

    /// How long the source may be silent.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How long a pipeline may take to shut down.
    #[must_use]
    pub fn close_timeout(&self) -> Duration {
        self.close_timeout
    }

    /// The pipeline, with what the files of passwords and authorities hold now; as before if they cannot be read.
    fn launch(&self) -> Option<Cow<'_, Launch>> {
        let before = self.launch.as_ref()?;
        if self.config.password_file.is_empty() && self.config.ca_file.is_empty() {
            return Some(Cow::Borrowed(before));
        }
        match launch(&self.source, &self.config) {
            Ok(now) => now.map(Cow::Owned),
            Err(error) => {
                let stream = &self.stream;
                tracing::warn!(%stream, "using the password and the authorities as before: {}", chain(&error));
                Some(Cow::Borrowed(before))
            }
        }
    }

    /// Checks whether the source is available, as far as possible without playing it; `timeout` limits each name
    /// lookup, connection and answer.
    ///
    /// # Errors
    /// What is wrong and what to do about it.
    pub fn examine(&self, timeout: Duration) -> Result<String, Fault> {
        self.source.examine(self.launch.as_ref(), timeout)
    }
}

/// The pipeline of a stream, with what its files hold now; `None` if its source needs none.
fn launch(source: &Source, stream: &Stream) -> Result<Option<Launch>, Error> {
    let password = match stream.password_file.as_str() {
        "" => None,
        file => Some(read_secret("stream.password_file", file)?),
    };
    let trust = Trust::of(stream)?;
    source.check_password(password.as_deref())?;
    Ok(source.launch(stream, password.as_deref()).map(|launch| Launch { trust, ..launch }))
}
