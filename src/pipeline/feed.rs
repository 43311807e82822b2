//! A source and its thread, which may serve several pipelines in turn.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::select;

use super::tap::{Tap, Taps};
use super::{Error, spawn};
use crate::capture::{self, Progress, Settings};
use crate::config::redact_words;
use crate::exit::chain;
use crate::printable::line;
use crate::shutdown::{self, Stop, Stopped, Thread};
use crate::telemetry::{FrameCounts, FrameNumbers, Pulse, StreamCounters};

/// Maximum number of characters of the reason of a failure.
const LONGEST_REASON: usize = 1000;

/// A source of a pipeline, with its thread and its streams.
pub(super) struct Source {
    /// Its streams: the first one is the one that it is called after.
    pub(super) members: Vec<Member>,
    uri: String,
    is_camera: bool,
    pub(super) pulse: Arc<Pulse>,
    /// Whether its stream is the only one, whose failure is the error of the program.
    pub(super) is_alone: Arc<AtomicBool>,
    /// Those of the source itself.
    numbers: Arc<FrameNumbers>,
    taps: Arc<Taps>,
    /// Those of its taps too, which may have been prepared for another thread; empty once the source has been stopped.
    stops: Vec<Stop>,
    /// Ends the thread before it has begun.
    dismissal: Stop,
    thread: Thread<Result<(), capture::Error>>,
}

/// A stream of a source.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) name: Arc<str>,
    pub(super) counters: Arc<StreamCounters>,
}

impl Member {
    /// Reports the counts of a stream that has ended.
    pub(super) fn end(&self) -> FrameCounts {
        let counts = self.counters.read();
        let FrameCounts { captured, dropped, left_out, classified, carried, failed, stalls, reconnects, abandoned } =
            counts;
        tracing::info!(
            stream = %self.name,
            captured, classified, dropped, failed, left_out, carried, stalls, reconnects, abandoned,
            "stream ended"
        );
        counts
    }
}

impl Source {
    /// The name of its first stream.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.members[0].name
    }

    /// Stops the source; frames already captured are still classified.
    pub(super) fn stop(&mut self) {
        self.stops.clear();
    }

    /// The name of the source thread.
    pub(super) fn thread_name(&self) -> &str {
        self.thread.name()
    }

    /// Stops a source that has not begun, and waits for its thread.
    pub(super) fn dismiss(mut self, deadline: Instant) {
        self.stop();
        drop(self.dismissal);
        if let Err(error) = self.thread.join(Some(deadline)) {
            tracing::warn!("{error}");
        }
    }

    /// Goes on with those of its streams that are among `names`; returns the others, whose frames in flight are still
    /// classified.
    pub(super) fn retain(&mut self, names: &[Arc<str>]) -> Vec<Member> {
        self.taps.retain(names);
        let (kept, others) =
            std::mem::take(&mut self.members).into_iter().partition(|member| names.contains(&member.name));
        self.members = kept;
        others
    }

    /// Takes the streams of `prepared`, the same source, that it does not have.
    pub(super) fn join(&mut self, prepared: &mut Self) {
        let names: Vec<Arc<str>> = self.members.iter().map(|member| Arc::clone(&member.name)).collect();
        let joining = prepared.taps.without(&names);
        if !joining.is_empty() {
            self.stops.append(&mut prepared.stops);
        }
        self.taps.add(&joining, self.numbers.next());
        self.members.extend(prepared.members.iter().filter(|member| !names.contains(&member.name)).cloned());
    }

    /// Waits for the source thread until `deadline`.
    ///
    /// # Errors
    /// If the source failed, or frames of it could not be classified.
    pub(super) fn end(self, deadline: Instant) -> Vec<Error> {
        let Self { members, uri, is_camera, thread, .. } = self;
        let outcome = thread.join(Some(deadline));
        let mut errors = Vec::new();
        for member in &members {
            let FrameCounts { failed, captured, .. } = member.end();
            if failed > 0 && matches!(outcome, Ok(Ok(()))) {
                let (stream, source_uri) = (Arc::clone(&member.name), uri.clone());
                errors.push(Error::Frames { stream, source_uri, is_camera, failed, captured });
            }
        }
        match outcome {
            Err(error) => errors.push(error.into()),
            Ok(Err(source)) => {
                let streams = members.into_iter().map(|member| member.name).collect();
                errors.push(Error::Stream { streams, source_uri: uri, is_camera, source: source.into() });
            }
            Ok(Ok(())) => {}
        }
        errors
    }
}

/// Everything that a source thread starts with.
pub(super) struct Feed {
    pub(super) settings: Settings,
    pub(super) members: Vec<Member>,
    pub(super) taps: Vec<Tap>,
    /// Set when the sources may begin.
    pub(super) opened: Stopped,
    pub(super) stop: Stop,
    pub(super) stopped: Stopped,
}

impl Feed {
    /// Starts the thread.
    pub(super) fn start(self) -> Result<Source, Error> {
        let Self { settings, members, taps, opened, stop, stopped } = self;
        let (uri, is_camera) = (settings.source.describe(), settings.source.is_camera());
        let (pulse, is_alone) = (Arc::<Pulse>::default(), Arc::<AtomicBool>::default());
        let (taps, numbers) = (Arc::new(Taps::new(taps)), Arc::<FrameNumbers>::default());
        let name = format!("cap-{}", settings.stream);
        let (dismissal, dismissed) = shutdown::channel();
        let reader = Reader {
            settings,
            numbers: Arc::clone(&numbers),
            taps: Arc::clone(&taps),
            pulse: Arc::clone(&pulse),
            is_alone: Arc::clone(&is_alone),
            stopped,
        };
        let thread = spawn(name, move || {
            select! {
                recv(opened.receiver()) -> _ => {}
                recv(reader.stopped.receiver()) -> _ => {}
                recv(dismissed.receiver()) -> _ => {}
            }
            let outcome = if reader.stopped.is_set() || dismissed.is_set() { Ok(()) } else { reader.run() };
            reader.taps.end();
            outcome
        })?;
        Ok(Source { members, uri, is_camera, pulse, is_alone, numbers, taps, stops: vec![stop], dismissal, thread })
    }
}

/// What a source thread works with.
struct Reader {
    settings: Settings,
    numbers: Arc<FrameNumbers>,
    taps: Arc<Taps>,
    pulse: Arc<Pulse>,
    is_alone: Arc<AtomicBool>,
    stopped: Stopped,
}

impl Reader {
    fn run(&self) -> Result<(), capture::Error> {
        self.taps.begin(self.numbers.next());
        let (taps, until, pulse) = (Arc::clone(&self.taps), self.stopped.clone(), Arc::clone(&self.pulse));
        let deliver: capture::Deliver = Arc::new(move |frame| taps.deliver(frame, &until, &pulse));
        let report = |progress: Progress<'_>| self.report(progress);
        let outcome = capture::run(&self.settings, &self.numbers, &self.stopped, &deliver, &report);
        self.pulse.rest();
        if let Err(error) = &outcome {
            self.keep_failure(error);
        }
        self.for_all(|tap| tap.counters.end());
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
            Progress::Playing(flow) => self.for_all(|tap| tap.playing(flow)),
            Progress::LeftOut(frames) => self.for_all(|tap| tap.counters.count_left_out(frames.sum())),
            Progress::Unreadable { error, number, is_first } => {
                self.for_all(|tap| tap.count_unreadable(number));
                match is_first {
                    true => tracing::error!(%stream, "{}", chain(error)),
                    false => tracing::debug!(%stream, "{}", chain(error)),
                }
            }
            Progress::Retrying { .. } if self.taps.are_closed() => {}
            Progress::Retrying { error, wait, next } => {
                let (wait_s, source, reason) = (wait.as_secs_f64(), self.settings.source.describe(), chain(error));
                if matches!(error, capture::Error::Over { .. }) {
                    tracing::info!(%stream, wait_s, "{source} will be reopened: {reason}");
                } else {
                    self.for_all(|tap| tap.counters.count_reconnect());
                    self.keep_failure(error);
                    let reconnects = self.counts().reconnects;
                    tracing::warn!(%stream, wait_s, reconnects, "{source} has failed and will be reopened: {reason}");
                }
                self.for_all(|tap| tap.retrying(next));
            }
            Progress::Abandoned { pipelines } => {
                self.for_all(|tap| tap.counters.count_abandoned(pipelines));
                let (abandoned, close_s) = (self.counts().abandoned, self.settings.close_timeout().as_secs_f64());
                tracing::warn!(
                    %stream, abandoned, close_s,
                    "a pipeline has not shut down in time (limit: stream.close_s) and is left behind"
                );
            }
            Progress::Hindered(error) => {
                self.keep_failure(error);
                tracing::error!(%stream, "{}", chain(error));
            }
        }
        if self.taps.are_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn for_all(&self, act: impl Fn(&Tap)) {
        self.taps.all().iter().for_each(|tap| act(tap));
    }

    /// The counts of the first stream.
    fn counts(&self) -> FrameCounts {
        self.taps.all().first().map(|tap| tap.counters.read()).unwrap_or_default()
    }

    /// Keeps the reason of a failure, as a log line shows it, but not longer than [`LONGEST_REASON`].
    fn keep_failure(&self, error: &capture::Error) {
        let reason = chain(error);
        let reason = line(&redact_words(&reason)).chars().take(LONGEST_REASON).collect::<String>();
        self.for_all(|tap| tap.counters.keep_failure(&reason));
    }
}
