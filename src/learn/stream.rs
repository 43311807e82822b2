//! The frames of one source, one after another, for commands that look at a camera for a while.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded, never, select};

use crate::capture::{self, Deliver, Frame, Progress, Settings};
use crate::config;
use crate::exit::{Exit, chain};
use crate::shutdown::{self, JoinError, Stopped};
use crate::telemetry::FrameNumbers;

/// Longest wait for a source to close.
const CLOSING: Duration = Duration::from_secs(10);

/// Why there are no frames, or no more.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The source cannot be opened, or has failed.
    #[error("{name}")]
    Source {
        /// The source, without its login.
        name: String,
        /// What is wrong.
        source: Box<capture::Error>,
    },
    /// GStreamer cannot be used.
    #[error(transparent)]
    Capture(#[from] capture::Error),
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[from] io::Error),
    /// The thread of the source did not end well.
    #[error(transparent)]
    Join(#[from] JoinError),
}

impl StreamError {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Source { source, .. } => source.exit(),
            Self::Capture(source) => source.exit(),
            Self::Thread(_) => Exit::Unavailable,
            Self::Join(_) => Exit::Internal,
        }
    }
}

/// What to watch, and how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    /// The source, with its login and certificates; its limits do not count.
    pub stream: config::Stream,
    /// Frames per second to let through; 0: all.
    pub max_fps: f64,
    /// Maximum time to wait for a frame.
    pub timeout: Duration,
    /// End after this time, counted from the first frame; `None`: with the source.
    pub end_after: Option<Duration>,
}

impl Watch {
    /// The source's settings.
    fn settings(&self) -> Result<Settings, capture::Error> {
        let seconds = self.timeout.as_secs_f64();
        Settings::new(&config::Stream {
            max_fps: self.max_fps,
            start_timeout_s: seconds,
            stall_timeout_s: seconds,
            retry_max_s: 0.0,
            ..self.stream.clone()
        })
    }

    /// Calls `each` with every frame, until it breaks or fails, the source ends, the time is over, or `stopped` is set.
    /// Frames of a live source that come while `each` works are left out, and those of a file wait.
    ///
    /// # Errors
    /// [`StreamError`] if the source cannot be opened, fails or is silent for too long; any error of `each`.
    pub fn run<E: From<StreamError>>(
        &self,
        stopped: &Stopped,
        mut each: impl FnMut(Frame) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        capture::init().map_err(StreamError::from)?;
        let name = config::redact(&self.stream.source).to_string();
        let failed = |source: capture::Error| StreamError::Source { name: name.clone(), source: source.into() };
        let settings = self.settings().map_err(failed)?;
        let is_live = settings.source.is_live();
        let (frames, received) = bounded::<Frame>(1);
        let (end, ended) = shutdown::channel();
        let deliver: Deliver = Arc::new(move |frame| {
            // A frame that waits is about to be taken.
            let is_gone = if is_live {
                matches!(frames.try_send(frame), Err(error) if error.is_disconnected())
            } else {
                frames.send(frame).is_err()
            };
            if is_gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let thread = shutdown::spawn("watch", move || {
            let report = |progress: Progress<'_>| {
                if let Progress::Unreadable { error, .. } = progress {
                    tracing::warn!("{}", chain(error));
                }
                ControlFlow::Continue(())
            };
            let numbers = Arc::new(FrameNumbers::default());
            let outcome = capture::run(&settings, &numbers, &ended, &deliver, &report);
            drop(deliver);
            outcome
        });
        let thread = thread.map_err(StreamError::from)?;
        let mut deadline: Option<Instant> = None;
        let outcome = loop {
            let over = deadline.map_or_else(never, crossbeam_channel::at);
            let frame = select! {
                recv(received) -> frame => frame.ok(),
                recv(stopped.receiver()) -> _ => None,
                recv(over) -> _ => None,
            };
            let Some(frame) = frame else { break Ok(()) };
            deadline = deadline.or_else(|| Some(Instant::now() + self.end_after?));
            match each(frame) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break Ok(()),
                Err(error) => break Err(error),
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                break Ok(());
            }
        };
        // A frame on its way is refused, which ends the source.
        drop(received);
        drop(end);
        let done = match thread.done().recv_timeout(CLOSING) {
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!("{name} does not close");
                Ok(())
            }
            _ => thread.join(None).map_err(StreamError::from)?.map_err(failed),
        };
        outcome?;
        Ok(done?)
    }
}
