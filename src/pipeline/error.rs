//! Why a pipeline did not start or did not end well.

use std::io;
use std::sync::Arc;

use crate::exit::Exit;
use crate::plural::counted;
use crate::shutdown::JoinError;
use crate::system::affinity;
use crate::{capture, frame, inference, preprocess, publish};

/// Why a pipeline did not start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source of a stream, or of several, failed.
    #[error("{} ({source_uri})", named(streams))]
    Stream {
        /// Names of its streams.
        streams: Vec<Arc<str>>,
        /// Its source, without passwords.
        source_uri: String,
        /// Whether it is a camera, which may deliver something else after a restart.
        is_camera: bool,
        /// What happened.
        source: Box<capture::Error>,
    },
    /// Frames of a stream could not be classified.
    #[error(
        "stream `{stream}` ({source_uri}): {failed} of {} cannot be classified", counted(*captured, "frame", "frames")
    )]
    Frames {
        /// Name of the stream.
        stream: Arc<str>,
        /// Its source, without passwords.
        source_uri: String,
        /// Whether it is a camera.
        is_camera: bool,
        /// Frames that failed.
        failed: u64,
        /// Frames captured.
        captured: u64,
    },
    /// Some of several streams failed; each has been reported.
    #[error("{} of {total} streams failed: {}", failed.len(), failed.join(", "))]
    Streams {
        /// Names of the streams that failed.
        failed: Vec<String>,
        /// Streams there were.
        total: usize,
        /// The exit code of the first of them.
        exit: Exit,
    },
    /// The model cannot be run.
    #[error(transparent)]
    Inference(#[from] inference::Error),
    /// The samples of a frame do not match its layout.
    #[error(transparent)]
    Frame(#[from] frame::Error),
    /// The model's input cannot be prepared.
    #[error(transparent)]
    Preprocess(#[from] preprocess::Error),
    /// A thread cannot be pinned or given its priority.
    #[error(transparent)]
    Affinity(#[from] affinity::Error),
    /// A sink is lost.
    #[error(transparent)]
    Publish(#[from] publish::Error),
    /// A record cannot be written as JSON.
    #[error("cannot write a record as JSON")]
    Record(#[source] serde_json::Error),
    /// A thread cannot be started.
    #[error("cannot start the thread `{name}`")]
    Thread {
        /// Name of the thread.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// A thread panicked or missed its deadline.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The publisher ended before the inference threads; its own error gives the reason.
    #[error("the publisher has ended")]
    PublisherGone,
}

impl Error {
    /// Whether the error only reports that a deadline passed before all work was done.
    #[must_use]
    pub fn is_abandoned_work(&self) -> bool {
        matches!(self, Self::Join(JoinError::TimedOut { .. }) | Self::Publish(publish::Error::Unsent(_)))
    }

    /// Whether streams have failed, which leaves the others alone.
    #[must_use]
    pub fn is_of_stream(&self) -> bool {
        matches!(self, Self::Stream { .. } | Self::Frames { .. } | Self::Streams { .. })
    }

    /// The streams that failed.
    pub(super) fn streams(&self) -> &[Arc<str>] {
        match self {
            Self::Stream { streams, .. } => streams,
            Self::Frames { stream, .. } => std::slice::from_ref(stream),
            _ => &[],
        }
    }

    /// The exit code of the error. What a camera sends may be different next time, so a service that ends because of it
    /// is worth restarting.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Streams { exit, .. } => *exit,
            Self::Frames { is_camera: true, .. } => Exit::Unavailable,
            Self::Stream { source, is_camera, .. } => match source.exit() {
                Exit::Data if *is_camera => Exit::Unavailable,
                exit => exit,
            },
            Self::Frames { .. } | Self::Frame(_) | Self::Preprocess(_) => Exit::Data,
            Self::Inference(error) => error.exit(),
            Self::Affinity(affinity::Error::Priority { .. }) => Exit::NoPermission,
            Self::Affinity(_) => Exit::Config,
            Self::Publish(error) => error.exit(),
            Self::Thread { .. } => Exit::Unavailable,
            Self::Record(_) | Self::Join(_) | Self::PublisherGone => Exit::Internal,
        }
    }
}

fn named(streams: &[Arc<str>]) -> String {
    let names: Vec<String> = streams.iter().map(|stream| format!("`{stream}`")).collect();
    format!("{} {}", if names.len() == 1 { "stream" } else { "streams" }, names.join(", "))
}
