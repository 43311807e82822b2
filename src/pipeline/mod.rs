//! The stages and their threads.
//!
//! ```text
//! capture threads ──► queues (one frame deep) ──► inference threads ──► publisher thread ──► sinks
//!                                                        └──► thread that keeps uncertain frames (`collect`), if wanted
//! ```
//!
//! [`prepare`] does everything that can fail, including starting all threads, while an old pipeline may still run;
//! [`Prepared::go`] cannot fail. A pipeline ends from its head: when the sources end or are stopped, the inference
//! threads drain their queues and end, then the publisher ends and returns its sinks, which may outlive the pipeline.
//! So may its streams: [`Running::hand_over`] stops only some of them, and the next pipeline takes the frames of the
//! others.

mod carry;
mod drain;
mod error;
mod feed;
mod lane;
mod publisher;
mod queue;
mod quota;
mod ready;
mod running;
mod states;
mod tap;
mod turn;
mod worker;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::capture::Settings;
use crate::collect::Collector;
use crate::config::{Collect, Inference};
use crate::model::{Model, Training};
use crate::preprocess::{Preprocessor, Transform};
use crate::publish::{self, Backlog, Permit};
use crate::record::{ModelTag, Record};
use crate::shutdown::{self, Stop, Thread};
use crate::system::affinity;
use crate::telemetry::{Pulse, Registry, StreamCounters};
use carry::CarryOver;
use drain::Drain;
pub use error::Error;
use feed::{Feed, Member};
use lane::{Lane, Task};
pub use publisher::Sinks;
use publisher::{Lost, Publisher, Work};
use quota::quota;
use ready::ReadyQueue;
pub use running::{KeptSource, Running};
use states::States;
use tap::TapParts;
use turn::Turn;
use worker::{Worker, WorkerSettings};

/// Capacity of the publisher's queue, in records.
const RESULTS_DEPTH: usize = 16;

/// Results of a file that may be on their way to the sinks: how far a file gets ahead of a slow reader.
const FILE_BACKLOG: usize = 16;

/// Maximum time to wait for the thread of a source that never began.
const DISMISSAL: Duration = Duration::from_secs(1);

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
    /// The sources with their streams.
    pub sources: Vec<SourceParts>,
    /// The networks that they use.
    pub models: Vec<Arc<Model>>,
    /// How many classes a result lists.
    pub top: usize,
    /// Threads, cores and priority.
    pub inference: Inference,
    /// Results after which each stream ends; `None`: no end.
    pub frames: Option<u64>,
    /// Which frames are kept, and where.
    pub collect: Collect,
    /// Time limit for work in flight at a stop.
    pub stop_timeout: Duration,
    /// Time between two records of statistics; zero: there are none.
    pub stats_period: Duration,
    /// Results after which each inference thread hangs, to test the watchdog; 0: never.
    pub wedge_after: u32,
    /// Whether frames are classified. Otherwise they are given back as soon as an inference thread has them.
    pub classify: bool,
}

/// A source and the streams that have its frames.
pub struct SourceParts {
    /// The source, called after the first of its streams.
    pub settings: Settings,
    /// The streams, at least one.
    pub streams: Vec<StreamParts>,
}

/// What a stream is made of.
pub struct StreamParts {
    /// Its name.
    pub name: Arc<str>,
    /// Number of the network in [`Parts::models`].
    pub model: usize,
    /// How its frames are converted to inputs of the network.
    pub transform: Transform,
    /// How many times as many frames are classified as of a stream of weight 1, if streams compete.
    pub weight: u32,
    /// How long a result is carried over while the picture does not change; zero: not at all.
    pub carry_over: Duration,
}

/// A pipeline that is ready to go. Dropping it ends its threads.
pub struct Prepared {
    running: Running,
    gate: Gate,
    /// The publisher waits for its work.
    work: Sender<Work>,
    /// The inference threads wait until it is dropped.
    start: Sender<Infallible>,
    lanes: Vec<Lane>,
    results: Sender<Item>,
}

/// New sources wait until it is dropped.
pub struct Gate {
    _stop: Stop,
}

/// Makes a pipeline: the publisher, the inference threads, pinned and ready for frames, and the source threads, which
/// wait for [`Prepared::go`].
///
/// # Errors
/// If the model cannot be run, or a thread cannot be started or pinned. Errors of a source come later, from
/// [`Running::finish`].
pub fn prepare(parts: Parts) -> Result<Prepared, Error> {
    let Parts { registry, device, sources, models, top, inference, frames, collect, .. } = parts;
    let (stop_timeout, stats_period) = (parts.stop_timeout, parts.stats_period);
    let (wedge_after, classify) = (parts.wedge_after, parts.classify);
    // Declared first, so that a failing preparation drops it last and no source begins.
    let (gate, opened) = shutdown::channel();
    let gate = Gate { _stop: gate };
    let (stop, stopped) = shutdown::channel();
    let drain = Drain::new(stop_timeout);
    let lost = Lost::default();
    let (results, items) = bounded(RESULTS_DEPTH);
    let (work, to_publisher) = bounded(1);
    let mut pulses = Vec::new();
    let mut pulse_of = |thread: String| {
        let pulse = Arc::<Pulse>::default();
        pulses.push((thread, Arc::clone(&pulse)));
        pulse
    };
    let publisher = {
        let (drain, pulse) = (drain.clone(), pulse_of("publish".into()));
        let (device, registry) = (Arc::clone(&device), Arc::clone(&registry));
        let publisher = Publisher { device, registry, stats_period, items, stopped, drain, pulse, lost: lost.clone() };
        spawn("publish", move || publisher.run(&to_publisher))?
    };

    let collecting = Collector::start(&collect);
    let collecting = collecting.map_err(|source| Error::Thread { name: "collect".into(), source })?;
    let (collector, collecting) = collecting.unzip();
    let tags: Vec<Arc<ModelTag>> = models.iter().map(|model| tag(model)).collect();
    let streams = sources.iter().map(|source| source.streams.len()).sum();
    let count = (inference.workers as usize).min(streams).max(1);
    let mut lanes = Vec::with_capacity(streams);
    let mut feeds = Vec::with_capacity(sources.len());
    for SourceParts { settings, streams } in sources {
        let live = settings.source.is_live();
        let (stop, stopped) = shutdown::channel();
        let (mut members, mut taps) = (Vec::with_capacity(streams.len()), Vec::with_capacity(streams.len()));
        for StreamParts { name: stream, model, transform, weight, carry_over } in streams {
            let counters = Arc::new(StreamCounters::new(registry.totals(&stream)));
            let (inlet, outlet) = queue::queue(live, Arc::clone(&counters), stopped.clone());
            let backlog = (!live).then(|| Backlog::new(FILE_BACKLOG));
            let (quota, failures) = frames.filter(|_| !live).map(quota).unzip();
            let numbers = registry.numbers(&stream);
            let (limits, results) = (settings.limits(), results.clone());
            let states = States::new(Arc::clone(&stream), limits, Arc::clone(&counters), results, stopped.clone());
            let states = Arc::new(states);
            let task = Task {
                model,
                tag: Arc::clone(&tags[model]),
                preprocessor: Preprocessor::new(transform)?,
                chooser: collector.as_ref().map(|collector| collector.chooser(&stream)),
                turn: Turn::new(weight),
                carry: (!carry_over.is_zero()).then(|| CarryOver::new(carry_over, &transform)),
            };
            members.push(Member { name: Arc::clone(&stream), counters: Arc::clone(&counters) });
            let tap = TapParts {
                stream: Arc::clone(&stream),
                numbers: Arc::clone(&numbers),
                counters: Arc::clone(&counters),
                states: Arc::clone(&states),
                inlet,
                backlog: backlog.clone(),
                quota,
            };
            taps.push(tap.into());
            lanes.push(Lane { stream, outlet, counters, numbers, states, task, remaining: frames, backlog, failures });
        }
        feeds.push(Feed { settings, members, taps, opened: opened.clone(), stop, stopped });
    }

    let (failed, failures) = bounded(count);
    let (start, started) = bounded(0);
    let ready = Arc::<ReadyQueue>::default();
    let mut workers = Vec::with_capacity(count);
    for index in 0..count {
        let plan = WorkerSettings {
            device: Arc::clone(&device),
            run: registry.run(),
            models: models.clone(),
            top,
            threads: inference.threads as usize,
            cores: affinity::share(&inference.cores, index, count),
            priority: inference.priority,
            results: results.clone(),
            ready: Arc::clone(&ready),
            drain: drain.clone(),
            pulse: pulse_of(format!("infer-{index}")),
            wedge_after: wedge_after.into(),
            classify,
        };
        workers.push(start_worker(index, plan, started.clone(), failed.clone())?);
    }
    let sources = feeds.into_iter().map(Feed::start).collect::<Result<_, _>>()?;
    let running = Running {
        stop: Some(stop),
        sources,
        kept: Vec::new(),
        departed: Vec::new(),
        workers,
        ready,
        given_up: None,
        publisher: Some(publisher),
        collecting,
        lost,
        failures,
        drain,
        pulses,
    };
    Ok(Prepared { running, gate, work, start, lanes, results })
}

impl Prepared {
    /// Starts the pipeline; results go to `sinks`. Sources in `kept` go on in place of the prepared ones of the same
    /// name, with the streams that they have and those that they get; the others begin when the gate is dropped.
    #[must_use]
    pub fn go(self, sinks: Sinks, kept: Vec<KeptSource>) -> (Running, Gate) {
        let Self { mut running, gate, work, start, mut lanes, results } = self;
        // From here on, only threads have results to send.
        drop(results);
        let deadline = Instant::now() + DISMISSAL;
        for KeptSource { mut source, lanes: old } in kept {
            let Some(prepared) = running.sources.iter_mut().find(|prepared| prepared.name() == source.name()) else {
                continue;
            };
            for old in old {
                if let Some(lane) = lanes.iter_mut().find(|lane| lane.stream == old.stream) {
                    lane.take_over(old);
                }
            }
            source.join(prepared);
            std::mem::replace(prepared, source).dismiss(deadline);
        }
        running.ready.add(lanes);
        drop(start);
        let is_alone = running.is_of_one_stream();
        for source in &running.sources {
            source.is_alone.store(is_alone, Ordering::Release);
        }
        // The thread is waiting for them, and the channel has room.
        let _ = work.send(Work { sinks, streams: running.streams() });
        (running, gate)
    }

    /// Takes note of a sink that was lost before it starts.
    pub fn lose(&self, sink: &'static str, error: publish::Error) {
        self.running.lost.add(sink, error);
    }

    /// Where the results of its streams go.
    fn results(&self) -> Sender<Item> {
        self.results.clone()
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

/// What results say of a model.
fn tag(model: &Model) -> Arc<ModelTag> {
    Arc::new(ModelTag {
        name: model.name().into(),
        digest: model.digest().into(),
        trained: model.training() == Training::Trained,
    })
}

/// Starts inference thread `index`, which serves streams once `started` disconnects, and waits until it is ready.
fn start_worker(
    index: usize,
    plan: WorkerSettings,
    started: Receiver<Infallible>,
    failed: Sender<()>,
) -> Result<Thread<Result<(), Error>>, Error> {
    let (ready, is_ready) = bounded(1);
    let thread = spawn(format!("infer-{index}"), move || {
        let mut worker = Worker::new(plan)?;
        let _ = ready.send(());
        // If the pipeline never starts, there are no streams then.
        let _ = started.recv();
        // Triggered by an error and by a panic.
        let alarm = Alarm { failed, armed: true };
        worker.run()?;
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
