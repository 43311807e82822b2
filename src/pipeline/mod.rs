//! The stages and their threads.
//!
//! ```text
//! capture threads ──► queue (one frame deep) ──► inference threads ──► publisher thread ──► sinks
//! ```
//!
//! [`prepare`] does everything that can fail, including starting all threads, while an old pipeline may still run;
//! [`Prepared::go`] cannot fail. A pipeline ends from its head: when the sources end or are stopped, the inference
//! threads drain their queues and end, then the publisher ends and returns its sinks, which may outlive the pipeline.

mod drain;
mod error;
mod publisher;
mod queue;
mod quota;
mod states;
mod worker;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::capture::{self, Progress, Settings};
use crate::config::Inference;
use crate::exit::chain;
use crate::model::{Model, Training};
use crate::preprocess::Preprocessor;
use crate::publish::{Backlog, Permit};
use crate::record::{ModelTag, Record};
use crate::shutdown::{self, Stop, Stopped, Thread};
use crate::system::affinity;
use crate::telemetry::{FrameCounts, FrameNumbers, Pulse, Registry, StreamCounters, StreamStatus};
use drain::Drain;
pub use error::Error;
pub use publisher::Sinks;
use publisher::{Lost, Publisher};
use quota::{Quota, quota};
use states::States;
use worker::{Lane, Worker, WorkerSettings};

/// Capacity of the publisher's queue, in records.
const RESULTS_DEPTH: usize = 16;

/// Results of a file that may be on their way to the sinks: how far a file gets ahead of a slow reader.
const FILE_BACKLOG: usize = 16;

/// An item for the publisher.
struct Item {
    record: Record,
    /// The result's place in the backlog of its stream.
    permit: Option<Permit>,
}

/// What a pipeline is made of.
pub struct Parts {
    /// State that outlives the pipeline: frame numbers and the identity of the process.
    pub registry: Arc<Registry>,
    /// Name of the device in every record.
    pub device: Arc<str>,
    /// The streams.
    pub streams: Vec<Settings>,
    /// The network.
    pub model: Arc<Model>,
    /// How many classes a result lists.
    pub top: usize,
    /// Threads, cores and priority.
    pub inference: Inference,
    /// Results after which each stream ends; `None`: no end.
    pub frames: Option<u64>,
    /// Time limit for work in flight at a stop.
    pub stop_timeout: Duration,
    /// Results after which each inference thread hangs, to test the watchdog; 0: never.
    pub wedge_after: u32,
}

struct Stream {
    name: Arc<str>,
    source_uri: String,
    is_camera: bool,
    counters: Arc<StreamCounters>,
    thread: Thread<Result<(), capture::Error>>,
}

/// A running pipeline.
pub struct Running {
    stop: Option<Stop>,
    streams: Vec<Stream>,
    workers: Vec<Thread<Result<(), Error>>>,
    /// `None` once its sinks have been taken.
    publisher: Option<Thread<publisher::End>>,
    lost: Lost,
    failures: Receiver<()>,
    drain: Drain,
    /// The pulse of each thread, by thread name.
    pulses: Vec<(String, Arc<Pulse>)>,
}

/// A pipeline that is ready to go. Dropping it ends its threads.
pub struct Prepared {
    running: Running,
    /// Sources wait until this is dropped.
    gate: Stop,
    /// The publisher waits for the sinks.
    sinks: Sender<Sinks>,
}

/// Makes a pipeline: the publisher, the inference threads, pinned and ready for frames, and the source threads, which
/// wait for [`Prepared::go`].
///
/// # Errors
/// If the model cannot be run, or a thread cannot be started or pinned. Errors of a source come later, from
/// [`Running::finish`].
pub fn prepare(parts: Parts) -> Result<Prepared, Error> {
    let Parts { registry, device, streams, model, top, inference, frames, stop_timeout, wedge_after } = parts;
    // In this order, so that a failing preparation drops `stop` first and no source begins.
    let (gate, opened) = shutdown::channel();
    let (stop, stopped) = shutdown::channel();
    let drain = Drain::new(stop_timeout);
    let lost = Lost::default();
    let (results, items) = bounded(RESULTS_DEPTH);
    let (sinks, to_publisher) = bounded(1);
    let mut pulses = Vec::new();
    let mut pulse_of = |thread: String| {
        let pulse = Arc::<Pulse>::default();
        pulses.push((thread, Arc::clone(&pulse)));
        pulse
    };
    let publisher = {
        let (stopped, drain, pulse) = (stopped.clone(), drain.clone(), pulse_of("publish".into()));
        let publisher = Publisher { items, stopped, drain, pulse, lost: lost.clone() };
        spawn("publish", move || publisher.run(&to_publisher))?
    };

    let tag = ModelTag {
        name: model.name().into(),
        digest: model.digest().into(),
        trained: model.training() == Training::Trained,
    };
    let tag = Arc::new(tag);
    let count = (inference.workers as usize).min(streams.len()).max(1);
    let mut lanes: Vec<Vec<Lane>> = (0..count).map(|_| Vec::new()).collect();
    let mut sources = Vec::new();
    for (index, settings) in streams.into_iter().enumerate() {
        let counters = Arc::new(StreamCounters::new(registry.totals(&settings.stream)));
        let live = settings.source.is_live();
        let (inlet, outlet) = queue::queue(live, Arc::clone(&counters), stopped.clone());
        let backlog = (!live).then(|| Backlog::new(FILE_BACKLOG));
        let (quota, failures) = frames.filter(|_| !live).map(quota).unzip();
        let stream = Arc::clone(&settings.stream);
        let numbers = registry.numbers(&stream);
        let states = States::new(Arc::clone(&stream), Arc::clone(&counters), results.clone(), stopped.clone());
        let states = Arc::new(states);
        let preprocessor = Preprocessor::new(*model.transform())?;
        lanes[index % count].push(Lane {
            stream,
            outlet,
            counters: Arc::clone(&counters),
            numbers: Arc::clone(&numbers),
            states: Arc::clone(&states),
            preprocessor,
            remaining: frames,
            backlog: backlog.clone(),
            failures,
        });
        let (opened, stopped) = (opened.clone(), stopped.clone());
        sources.push(Feed { settings, numbers, inlet, backlog, quota, counters, states, opened, stopped });
    }

    let (failed, failures) = bounded(count);
    let mut workers = Vec::with_capacity(count);
    for (index, lanes) in lanes.into_iter().enumerate() {
        let plan = WorkerSettings {
            device: Arc::clone(&device),
            run: registry.run(),
            model: Arc::clone(&model),
            tag: Arc::clone(&tag),
            top,
            threads: inference.threads as usize,
            cores: affinity::share(&inference.cores, index, count),
            priority: inference.priority,
            results: results.clone(),
            drain: drain.clone(),
            pulse: pulse_of(format!("infer-{index}")),
            wedge_after: wedge_after.into(),
        };
        workers.push(start_worker(index, plan, lanes, failed.clone())?);
    }
    let alone = sources.len() == 1;
    let mut streams = Vec::with_capacity(sources.len());
    for feed in sources {
        let pulse = pulse_of(format!("cap-{}", feed.settings.stream));
        streams.push(feed.start(pulse, alone)?);
    }
    let publisher = Some(publisher);
    let running = Running { stop: Some(stop), streams, workers, publisher, lost, failures, drain, pulses };
    Ok(Prepared { running, gate, sinks })
}

impl Prepared {
    /// Starts the pipeline; results go to `sinks`.
    #[must_use]
    pub fn go(self, sinks: Sinks) -> Running {
        let Self { running, gate, sinks: to_publisher } = self;
        // The publisher is waiting for them, and the channel has room.
        let _ = to_publisher.send(sinks);
        drop(gate);
        running
    }
}

/// Everything that a source thread starts with.
struct Feed {
    settings: Settings,
    numbers: Arc<FrameNumbers>,
    inlet: queue::QueueSender,
    /// Only for sources that are not live.
    backlog: Option<Backlog>,
    /// The same, if the stream ends after a number of results.
    quota: Option<Quota>,
    counters: Arc<StreamCounters>,
    states: Arc<States>,
    /// Set when the pipeline starts.
    opened: Stopped,
    stopped: Stopped,
}

impl Feed {
    /// Starts the thread.
    fn start(self, pulse: Arc<Pulse>, alone: bool) -> Result<Stream, Error> {
        let (name, source) = (Arc::clone(&self.settings.stream), &self.settings.source);
        let (source_uri, is_camera) = (source.describe(), source.is_camera());
        let counters = Arc::clone(&self.counters);
        let thread = spawn(format!("cap-{name}"), move || {
            select! {
                recv(self.opened.receiver()) -> _ => {}
                recv(self.stopped.receiver()) -> _ => {}
            }
            if self.stopped.is_set() { Ok(()) } else { self.run(&pulse, alone) }
        })?;
        Ok(Stream { name, source_uri, is_camera, counters, thread })
    }

    fn run(self, pulse: &Arc<Pulse>, alone: bool) -> Result<(), capture::Error> {
        let Self { settings, numbers, counters, inlet, backlog, quota, states, stopped, .. } = self;
        let (until, waiting) = (stopped.clone(), Arc::clone(pulse));
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
        let report = |progress: Progress<'_>| {
            pulse.beat();
            match progress {
                Progress::Watching => {}
                Progress::Unreadable(error) => {
                    counters.count_captured();
                    counters.count_failed();
                    tracing::error!(stream = %settings.stream, "{}", chain(error));
                }
                Progress::Retrying { error, wait, next } => {
                    let (stream, wait_s) = (&settings.stream, wait.as_secs_f64());
                    tracing::warn!(%stream, wait_s, "the source has failed and will be reopened: {}", chain(error));
                    states.retrying(next);
                }
            }
        };
        let outcome = capture::run(&settings, &numbers, &stopped, &deliver, &report);
        pulse.rest();
        counters.end();
        // The other streams continue, so this is reported before the end of the program.
        match &outcome {
            Err(error) if !alone => {
                let source = settings.source.describe();
                tracing::error!(stream = %settings.stream, "the source has failed: {source}: {}", chain(error));
            }
            Ok(()) if !alone && !stopped.is_set() => tracing::info!(stream = %settings.stream, "the source has ended"),
            _ => tracing::debug!(stream = %settings.stream, "the source has ended"),
        }
        outcome
    }
}

/// Notifies the supervisor of a failure if dropped while armed.
struct Alarm {
    failed: Sender<()>,
    armed: bool,
}

impl Alarm {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if self.armed {
            // A full queue means that another thread has already reported.
            let _ = self.failed.try_send(());
        }
    }
}

/// Starts inference thread `index` and waits until it is ready for frames.
fn start_worker(
    index: usize,
    plan: WorkerSettings,
    lanes: Vec<Lane>,
    failed: Sender<()>,
) -> Result<Thread<Result<(), Error>>, Error> {
    let (ready, is_ready) = bounded(1);
    let thread = spawn(format!("infer-{index}"), move || {
        let mut worker = Worker::new(plan)?;
        let _ = ready.send(());
        // Triggered by an error and by a panic.
        let alarm = Alarm { failed, armed: true };
        worker.run(lanes)?;
        alarm.disarm();
        Ok(())
    })?;
    match is_ready.recv() {
        Ok(()) => Ok(thread),
        // The thread ended before it was ready: its result gives the reason.
        Err(_) => Err(thread.join(None)?.err().unwrap_or(Error::PublisherGone)),
    }
}

fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<Thread<T>, Error> {
    let name = name.into();
    shutdown::spawn(name.clone(), body).map_err(|source| Error::Thread { name, source })
}

impl Running {
    /// For `select!`: disconnects when every result has been handed to the sinks and no more will come.
    #[must_use]
    pub fn done(&self) -> Receiver<std::convert::Infallible> {
        self.publisher.as_ref().map_or_else(crossbeam_channel::never, |publisher| publisher.done().clone())
    }

    /// For `select!`: an inference thread has failed and the pipeline must be stopped.
    #[must_use]
    pub fn failures(&self) -> &Receiver<()> {
        &self.failures
    }

    /// Stops the sources; frames already captured are still classified.
    pub fn stop(&mut self) {
        self.drain.begin();
        self.stop = None;
    }

    /// The thread that has been busy longest with one piece of work, and for how long, if longer than `limit`.
    #[must_use]
    pub fn stuck(&self, limit: Duration) -> Option<(&str, Duration)> {
        let ages = self.pulses.iter().map(|(thread, pulse)| (thread.as_str(), pulse.age()));
        ages.filter(|(_, age)| *age > limit).max_by_key(|(_, age)| *age)
    }

    /// The state of every stream.
    pub fn statuses(&self) -> impl Iterator<Item = (&str, StreamStatus)> {
        self.streams.iter().map(|stream| (&*stream.name, stream.counters.status()))
    }

    /// Names of the sinks that were lost while others continued.
    #[must_use]
    pub fn lost_sinks(&self) -> Vec<&'static str> {
        self.lost.names()
    }

    /// Waits for the publisher, until `deadline` if there is one, and returns the remaining sinks, still open. After
    /// that, results go nowhere.
    ///
    /// # Errors
    /// If the last sink is lost.
    pub fn take_sinks(&mut self, deadline: Option<Instant>) -> (Sinks, Result<(), Error>) {
        let ended = self.publisher.take().map(|publisher| publisher.join(deadline));
        self.stop = None;
        match ended {
            None => (Sinks::new(), Ok(())),
            Some(Ok(publisher::End { sinks, outcome })) => (sinks, outcome),
            Some(Err(error)) => (Sinks::new(), Err(error.into())),
        }
    }

    /// When everything must have been handed out: the deadline of the stop or, without a stop, of an end that begins
    /// now.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.drain.deadline()
    }

    /// Waits for the other threads until `deadline`, after [`take_sinks`](Self::take_sinks); `outcome` is the result of
    /// the sinks.
    ///
    /// # Errors
    /// The first of: that of the sinks, a failed inference thread, failed streams; work that was only abandoned comes after
    /// what failed. The others are logged.
    pub fn finish(self, outcome: Result<(), Error>, deadline: Instant) -> Result<(), Error> {
        let total = self.streams.len();
        let mut errors = vec![outcome.err()];
        errors.extend(self.workers.into_iter().map(|worker| joined(worker, Some(deadline)).err()));
        errors.extend(self.streams.into_iter().map(|stream| end_of(stream, deadline).err()));
        let errors = errors.into_iter().flatten().filter(|error| !matches!(error, Error::PublisherGone));
        let (streams, mut errors): (Vec<Error>, Vec<Error>) = errors.partition(Error::is_of_stream);
        errors.sort_by_key(Error::is_abandoned_work);
        errors.extend(all_in_one(streams, total));
        let mut errors = errors.into_iter();
        let first = errors.next();
        for error in errors {
            tracing::error!("{}", chain(&error));
        }
        first.map_or(Ok(()), Err)
    }
}

fn joined(thread: Thread<Result<(), Error>>, deadline: Option<Instant>) -> Result<(), Error> {
    thread.join(deadline)?
}

/// The error of the only stream, or that some of `total` have failed: each of several is reported once, as soon as its
/// source fails, or here.
fn all_in_one(mut failed: Vec<Error>, total: usize) -> Option<Error> {
    let exit = failed.first()?.exit();
    if total == 1 {
        return failed.pop();
    }
    for error in failed.iter().filter(|error| matches!(error, Error::Frames { .. })) {
        tracing::error!("{}", chain(error));
    }
    Some(Error::Streams { failed: failed.len(), total, exit })
}

fn end_of(stream: Stream, deadline: Instant) -> Result<(), Error> {
    let Stream { name, source_uri, is_camera, counters, thread } = stream;
    let outcome = thread.join(Some(deadline))?;
    let FrameCounts { captured, dropped, classified, failed, .. } = counters.read();
    tracing::info!(stream = %name, captured, classified, dropped, failed, "stream ended");
    match outcome {
        Err(source) => Err(Error::Stream { stream: name, source_uri, is_camera, source: source.into() }),
        Ok(()) if failed > 0 => Err(Error::Frames { stream: name, source_uri, is_camera, failed, captured }),
        Ok(()) => Ok(()),
    }
}
