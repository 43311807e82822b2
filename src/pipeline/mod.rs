//! The stages and their threads.
//!
//! ```text
//! capture threads ──► queue (one frame deep) ──► inference threads ──► publisher thread ──► sinks
//! ```
//!
//! A pipeline is started in order and ends from its head: when the sources end or are stopped, the
//! inference threads drain their queues and end, then the publisher, then the sinks are closed.

pub mod affinity;
mod drain;
mod error;
mod publisher;
mod queue;
mod states;
mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::capture::{self, Progress, Settings};
use crate::classifier::{Model, Training};
use crate::config::Inference;
use crate::exit::chain;
use crate::preprocess::Preprocessor;
use crate::publish::{Sink, StreamState};
use crate::record::{ModelTag, ResultRecord};
use crate::shutdown::{self, Stop, Stopped, Thread};
use crate::telemetry::{FrameNumbers, Pulse, Registry, StreamCounters, StreamCounts};
use drain::Drain;
pub use error::Error;
use states::States;
use worker::{Lane, Plan, Worker};

/// Records that may wait for the publisher.
const RESULTS_DEPTH: usize = 16;

/// What the publisher takes.
enum Item {
    Result(ResultRecord),
    Stream(Arc<str>, StreamState),
}

/// What a pipeline is made of.
pub struct Parts {
    /// What outlives the pipeline: the numbers of frames, the identity of the process.
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
    /// Where results go.
    pub sinks: Vec<Box<dyn Sink>>,
    /// Results of each stream after which it ends; `None`: no end.
    pub frames: Option<u64>,
    /// Time that abandoned work is waited for.
    pub stop_timeout: Duration,
    /// Results after which each inference thread stands still, to try the watchdog; 0: never.
    pub wedge_after: u32,
}

struct Stream {
    name: Arc<str>,
    source_uri: String,
    counters: Arc<StreamCounters>,
    thread: Thread<Result<(), capture::Error>>,
}

/// A pipeline at work.
pub struct Running {
    stop: Option<Stop>,
    streams: Vec<Stream>,
    workers: Vec<Thread<Result<(), Error>>>,
    publisher: Thread<Result<(), Error>>,
    failures: Receiver<()>,
    drain: Drain,
    /// What each thread is at, by the thread's name.
    pulses: Vec<(String, Arc<Pulse>)>,
}

/// Starts a pipeline: publisher, inference threads, and, when all of those are ready, the sources.
///
/// # Errors
/// The model cannot be run, or a thread cannot be started or placed. Errors of a source come later,
/// from [`Running::finish`].
pub fn start(parts: Parts) -> Result<Running, Error> {
    let Parts { registry, device, streams, model, top, inference, sinks, frames, stop_timeout, wedge_after } = parts;
    let (stop, stopped) = shutdown::channel();
    let drain = Drain::new(stop_timeout);
    let (results, items) = bounded(RESULTS_DEPTH);
    let mut pulses = Vec::new();
    let mut pulse_of = |thread: String| {
        let pulse = Arc::<Pulse>::default();
        pulses.push((thread, Arc::clone(&pulse)));
        pulse
    };
    let publisher = {
        let (drain, pulse) = (drain.clone(), pulse_of("publish".into()));
        spawn("publish", move || publisher::run(&items, sinks, &drain, &pulse))?
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
        let counters = Arc::new(StreamCounters::default());
        let (inlet, outlet) = queue::queue(settings.source.is_live(), Arc::clone(&counters), stopped.clone());
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
        });
        sources.push(Feed { settings, numbers, inlet, counters, states, stopped: stopped.clone() });
    }

    let (failed, failures) = bounded(count);
    let mut workers = Vec::with_capacity(count);
    for (index, lanes) in lanes.into_iter().enumerate() {
        let plan = Plan {
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
        streams.push(start_source(feed, pulse, alone)?);
    }
    drop(results);
    Ok(Running { stop: Some(stop), streams, workers, publisher, failures, drain, pulses })
}

/// What the thread of a source is started with.
struct Feed {
    settings: Settings,
    numbers: Arc<FrameNumbers>,
    inlet: queue::Inlet,
    counters: Arc<StreamCounters>,
    states: Arc<States>,
    stopped: Stopped,
}

/// Starts the thread of a source.
fn start_source(feed: Feed, pulse: Arc<Pulse>, alone: bool) -> Result<Stream, Error> {
    let Feed { settings, numbers, inlet, counters, states, stopped } = feed;
    let (name, source_uri) = (Arc::clone(&settings.stream), settings.source.describe());
    let thread = spawn(format!("cap-{name}"), move || {
        let deliver: capture::Deliver = Arc::new(move |frame| inlet.deliver(frame));
        let report = |progress: Progress<'_>| {
            pulse.beat();
            if let Progress::Retrying { error, wait, next } = progress {
                let (stream, wait_s) = (&settings.stream, wait.as_secs_f64());
                tracing::warn!(%stream, wait_s, "the source has failed and is opened again: {}", chain(error));
                states.retrying(next);
            }
        };
        let outcome = capture::run(&settings, &numbers, &stopped, &deliver, &report);
        pulse.rest();
        // The others go on, so this cannot wait for the end of the program.
        match &outcome {
            Err(error) if !alone => tracing::error!(stream = %settings.stream, "{}", chain(error)),
            _ => tracing::debug!(stream = %settings.stream, "the source has ended"),
        }
        outcome
    })?;
    Ok(Stream { name, source_uri, counters, thread })
}

/// Tells the supervisor of a failure when it is dropped armed.
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
            // A full queue means that another thread has told it.
            let _ = self.failed.try_send(());
        }
    }
}

/// Starts inference thread `index` and waits until it is ready for frames.
fn start_worker(
    index: usize,
    plan: Plan,
    lanes: Vec<Lane>,
    failed: Sender<()>,
) -> Result<Thread<Result<(), Error>>, Error> {
    let (ready, is_ready) = bounded(1);
    let thread = spawn(format!("infer-{index}"), move || {
        let mut worker = Worker::new(plan)?;
        let _ = ready.send(());
        // Told on an error, and on a panic as well.
        let alarm = Alarm { failed, armed: true };
        worker.run(lanes)?;
        alarm.disarm();
        Ok(())
    })?;
    match is_ready.recv() {
        Ok(()) => Ok(thread),
        // The thread has ended without getting ready: its outcome says why.
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
    /// For `select!`: disconnects when every result has been handed to the sinks, and no more come.
    #[must_use]
    pub fn done(&self) -> &Receiver<std::convert::Infallible> {
        self.publisher.done()
    }

    /// For `select!`: an inference thread has failed; the pipeline is to be stopped.
    #[must_use]
    pub fn failures(&self) -> &Receiver<()> {
        &self.failures
    }

    /// Stops the sources; what they have delivered is still classified.
    pub fn stop(&mut self) {
        self.drain.begin();
        self.stop = None;
    }

    /// The thread that has been longest at one piece of work, if any longer than `limit`, and how long.
    #[must_use]
    pub fn stuck(&self, limit: Duration) -> Option<(&str, Duration)> {
        let ages = self.pulses.iter().map(|(thread, pulse)| (thread.as_str(), pulse.age()));
        ages.filter(|(_, age)| *age > limit).max_by_key(|(_, age)| *age)
    }

    /// The counters of every stream.
    pub fn counts(&self) -> impl Iterator<Item = (&str, StreamCounts)> {
        self.streams.iter().map(|stream| (&*stream.name, stream.counters.read()))
    }

    /// Waits for every thread, until `deadline` where there is one.
    ///
    /// # Errors
    /// The first of: a lost sink, a failed inference thread, a failed stream. The others are logged.
    pub fn finish(mut self, deadline: Option<Instant>) -> Result<(), Error> {
        let mut errors = vec![joined(self.publisher, deadline).err()];
        // The publisher has ended, or is given up: nobody takes results any more.
        self.stop = None;
        let deadline = deadline.unwrap_or_else(|| self.drain.deadline());
        errors.extend(self.workers.into_iter().map(|worker| joined(worker, Some(deadline)).err()));
        errors.extend(self.streams.into_iter().map(|stream| end_of(stream, deadline).err()));
        let mut errors = errors.into_iter().flatten().filter(|error| !matches!(error, Error::PublisherGone));
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

fn end_of(stream: Stream, deadline: Instant) -> Result<(), Error> {
    let Stream { name, source_uri, counters, thread } = stream;
    let outcome = thread.join(Some(deadline))?;
    let StreamCounts { captured, dropped, classified, failed, .. } = counters.read();
    tracing::info!(stream = %name, captured, classified, dropped, failed, "stream ended");
    match outcome {
        Err(source) => Err(Error::Stream { stream: name, source_uri, source: source.into() }),
        Ok(()) if failed > 0 => Err(Error::Frames { stream: name, source_uri, failed, captured }),
        Ok(()) => Ok(()),
    }
}
