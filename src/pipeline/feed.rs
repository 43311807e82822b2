//! A stream and its source thread, which may serve several pipelines in turn.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::select;

use super::queue::QueueSender;
use super::quota::Quota;
use super::states::States;
use super::{Error, spawn};
use crate::capture::{self, Progress, Settings};
use crate::config::redact_words;
use crate::exit::chain;
use crate::printable::line;
use crate::publish::Backlog;
use crate::shutdown::{Stop, Stopped, Thread};
use crate::telemetry::{FrameCounts, FrameNumbers, Pulse, StreamCounters};

/// Maximum number of characters of the reason of a failure.
const LONGEST_REASON: usize = 1000;

/// A stream of a pipeline, with its source thread.
pub(super) struct Stream {
    pub(super) name: Arc<str>,
    source_uri: String,
    is_camera: bool,
    pub(super) counters: Arc<StreamCounters>,
    pub(super) pulse: Arc<Pulse>,
    /// Whether it is the only stream, whose failure is the error of the program.
    pub(super) is_alone: Arc<AtomicBool>,
    /// `None` once the source has been stopped.
    stop: Option<Stop>,
    thread: Thread<Result<(), capture::Error>>,
}

impl Stream {
    /// Stops the source; frames already captured are still classified.
    pub(super) fn stop(&mut self) {
        self.stop = None;
    }

    /// The name of the source thread.
    pub(super) fn thread_name(&self) -> &str {
        self.thread.name()
    }

    /// Stops a source that has not begun, and waits for its thread.
    pub(super) fn dismiss(mut self, deadline: Instant) {
        self.stop();
        if let Err(error) = self.thread.join(Some(deadline)) {
            tracing::warn!("{error}");
        }
    }

    /// Waits for the source thread until `deadline`.
    ///
    /// # Errors
    /// If the source failed, or frames of it could not be classified.
    pub(super) fn end(self, deadline: Instant) -> Result<(), Error> {
        let Self { name, source_uri, is_camera, counters, thread, .. } = self;
        let outcome = thread.join(Some(deadline))?;
        let FrameCounts { captured, dropped, left_out, classified, failed, stalls, reconnects, abandoned } =
            counters.read();
        tracing::info!(
            stream = %name, captured, classified, dropped, failed, left_out, stalls, reconnects, abandoned, "stream ended"
        );
        match outcome {
            Err(source) => Err(Error::Stream { stream: name, source_uri, is_camera, source: source.into() }),
            Ok(()) if failed > 0 => Err(Error::Frames { stream: name, source_uri, is_camera, failed, captured }),
            Ok(()) => Ok(()),
        }
    }
}

/// Everything that a source thread starts with.
pub(super) struct Feed {
    pub(super) settings: Settings,
    pub(super) numbers: Arc<FrameNumbers>,
    pub(super) inlet: QueueSender,
    /// Only for sources that are not live.
    pub(super) backlog: Option<Backlog>,
    /// The same, if the stream ends after a number of results.
    pub(super) quota: Option<Quota>,
    pub(super) counters: Arc<StreamCounters>,
    pub(super) states: Arc<States>,
    /// Set when the sources may begin.
    pub(super) opened: Stopped,
    pub(super) stop: Stop,
    pub(super) stopped: Stopped,
}

impl Feed {
    /// Starts the thread.
    pub(super) fn start(self) -> Result<Stream, Error> {
        let Self { settings, numbers, inlet, backlog, quota, counters, states, opened, stop, stopped } = self;
        let name = Arc::clone(&settings.stream);
        let (source_uri, is_camera) = (settings.source.describe(), settings.source.is_camera());
        let (pulse, is_alone) = (Arc::<Pulse>::default(), Arc::<AtomicBool>::default());
        let source = Source {
            settings,
            numbers,
            counters: Arc::clone(&counters),
            states,
            inlet: Arc::new(inlet),
            pulse: Arc::clone(&pulse),
            is_alone: Arc::clone(&is_alone),
            stopped,
        };
        let thread = spawn(format!("cap-{name}"), move || {
            select! {
                recv(opened.receiver()) -> _ => {}
                recv(source.stopped.receiver()) -> _ => {}
            }
            if source.stopped.is_set() { Ok(()) } else { source.run(backlog, quota) }
        })?;
        Ok(Stream { name, source_uri, is_camera, counters, pulse, is_alone, stop: Some(stop), thread })
    }
}

/// What a source thread works with.
struct Source {
    settings: Settings,
    numbers: Arc<FrameNumbers>,
    counters: Arc<StreamCounters>,
    states: Arc<States>,
    inlet: Arc<QueueSender>,
    pulse: Arc<Pulse>,
    is_alone: Arc<AtomicBool>,
    stopped: Stopped,
}

impl Source {
    fn run(self, backlog: Option<Backlog>, quota: Option<Quota>) -> Result<(), capture::Error> {
        let (inlet, until, waiting) = (Arc::clone(&self.inlet), self.stopped.clone(), Arc::clone(&self.pulse));
        let deliver: capture::Deliver = Arc::new(move |frame| {
            if let Some(backlog) = &backlog {
                // Waiting for a slow reader is not this thread's fault.
                waiting.rest();
                if !backlog.reserve(&until) {
                    return ControlFlow::Break(());
                }
                waiting.beat();
            }
            if inlet.deliver(frame).is_break() {
                return ControlFlow::Break(());
            }
            let Some(quota) = &quota else { return ControlFlow::Continue(()) };
            waiting.rest();
            let flow = quota.wait_for_next(&until);
            waiting.beat();
            flow
        });
        let report = |progress: Progress<'_>| self.report(progress);
        let outcome = capture::run(&self.settings, &self.numbers, &self.stopped, &deliver, &report);
        self.pulse.rest();
        if let Err(error) = &outcome {
            self.keep_failure(error);
        }
        self.counters.end();
        let (stream, is_alone) = (&self.settings.stream, self.is_alone.load(Ordering::Acquire));
        // The other streams continue, so this is reported before the end of the program.
        match &outcome {
            Err(error) if !is_alone => {
                let source = self.settings.source.describe();
                tracing::error!(%stream, "the source has failed: {source}: {}", chain(error));
            }
            Ok(()) if !is_alone && !self.stopped.is_set() => tracing::info!(%stream, "the source has ended"),
            _ => tracing::debug!(%stream, "the source has ended"),
        }
        outcome
    }

    /// Takes note of progress; breaks when no more frames are wanted.
    fn report(&self, progress: Progress<'_>) -> ControlFlow<()> {
        self.pulse.beat();
        let stream = &self.settings.stream;
        match progress {
            Progress::Watching => {}
            Progress::Playing(flow) => self.states.playing(flow),
            Progress::LeftOut(frames) => self.counters.count_left_out(frames.sum()),
            Progress::Unreadable(error) => {
                self.counters.count_captured();
                self.counters.count_failed();
                tracing::error!(%stream, "{}", chain(error));
            }
            Progress::Retrying { .. } if self.inlet.is_closed() => {}
            Progress::Retrying { error, wait, next } => {
                self.keep_failure(error);
                self.counters.count_reconnect();
                let (wait_s, reconnects) = (wait.as_secs_f64(), self.counters.read().reconnects);
                let source = self.settings.source.describe();
                tracing::warn!(%stream, wait_s, reconnects, "{source} has failed and will be reopened: {}", chain(error));
                self.states.retrying(next);
            }
            Progress::Abandoned { pipelines } => {
                self.counters.count_abandoned(pipelines);
                let (abandoned, close_s) =
                    (self.counters.read().abandoned, self.settings.close_timeout().as_secs_f64());
                tracing::warn!(
                    %stream, abandoned, close_s,
                    "a pipeline has not shut down in time (limit: stream.close_s) and is left behind: the stream goes on \
                     with a new one"
                );
            }
            Progress::Hindered(error) => {
                self.keep_failure(error);
                tracing::error!(%stream, "{}", chain(error));
            }
        }
        if self.inlet.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
    /// Keeps the reason of a failure, as a log line shows it, but not longer than [`LONGEST_REASON`].
    fn keep_failure(&self, error: &capture::Error) {
        let reason = chain(error);
        let reason = line(&redact_words(&reason)).chars().take(LONGEST_REASON).collect::<String>();
        self.counters.keep_failure(&reason);
    }
}
