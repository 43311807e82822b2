//! The stages and their threads.
//!
//! ```text
//! capture threads ──► queue (one frame deep) ──► inference threads ──► publisher thread ──► sinks
//!                                                        └──► thread that keeps uncertain frames (`collect`), if wanted
//! ```
//!
//! [`prepare`] does everything that can fail, including starting all threads, while an old pipeline may still run;
//! [`Prepared::go`] cannot fail. A pipeline ends from its head: when the sources end or are stopped, the inference
//! threads drain their queues and end, then the publisher ends and returns its sinks, which may outlive the pipeline.
//! So may its streams: [`Running::hand_over`] stops only some of them, and the next pipeline takes the frames of the
//! others.

mod drain;
mod error;
mod feed;
mod publisher;
mod queue;
mod quota;
mod running;
mod states;
mod worker;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::capture::Settings;
use crate::collect::Collector;
use crate::config::{Collect, Inference};
use crate::model::{Model, Training};
use crate::preprocess::Preprocessor;
use crate::publish::{self, Backlog, Permit};
use crate::record::{ModelTag, Record};
use crate::shutdown::{self, Stop, Thread};
use crate::system::affinity;
use crate::telemetry::{Pulse, Registry, StreamCounters};
use drain::Drain;
pub use error::Error;
use feed::Feed;
pub use publisher::Sinks;
use publisher::{Lost, Publisher, Work};
use quota::quota;
use running::WorkerThread;
pub use running::{KeptStream, Running};
use states::States;
use worker::{Lane, Worker, WorkerSettings};

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
    /// Which frames are kept, and where.
    pub collect: Collect,
    /// Time limit for work in flight at a stop.
    pub stop_timeout: Duration,
    /// Time between two records of statistics; zero: there are none.
    pub stats_period: Duration,
    /// Results after which each inference thread hangs, to test the watchdog; 0: never.
    pub wedge_after: u32,
}

/// A pipeline that is ready to go. Dropping it ends its threads.
pub struct Prepared {
    running: Running,
    gate: Gate,
    /// The publisher waits for its work.
    work: Sender<Work>,
    /// Each inference thread waits for its lanes.
    lanes: Vec<(Sender<Vec<Lane>>, Vec<Lane>)>,
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
    let Parts { registry, device, streams, model, top, inference, frames, collect, .. } = parts;
    let (stop_timeout, stats_period, wedge_after) = (parts.stop_timeout, parts.stats_period, parts.wedge_after);
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
        let (device, run) = (Arc::clone(&device), registry.run());
        let publisher = Publisher { device, run, stats_period, items, stopped, drain, pulse, lost: lost.clone() };
        spawn("publish", move || publisher.run(&to_publisher))?
    };

    let collecting = Collector::start(&collect);
    let collecting = collecting.map_err(|source| Error::Thread { name: "collect".into(), source })?;
    let (collector, collecting) = collecting.unzip();
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
        let (stop, stopped) = shutdown::channel();
        let (inlet, outlet) = queue::queue(live, Arc::clone(&counters), stopped.clone());
        let backlog = (!live).then(|| Backlog::new(FILE_BACKLOG));
        let (quota, failures) = frames.filter(|_| !live).map(quota).unzip();
        let stream = Arc::clone(&settings.stream);
        let numbers = registry.numbers(&stream);
        let (limits, results) = (settings.limits(), results.clone());
        let states = States::new(Arc::clone(&stream), limits, Arc::clone(&counters), results, stopped.clone());
        let states = Arc::new(states);
        let preprocessor = Preprocessor::new(*model.transform())?;
        let chooser = collector.as_ref().map(|collector| collector.chooser(&stream));
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
            chooser,
        });
        let opened = opened.clone();
        sources.push(Feed { settings, numbers, inlet, backlog, quota, counters, states, opened, stop, stopped });
    }

    let (failed, failures) = bounded(count);
    let mut workers = Vec::with_capacity(count);
    let mut waiting = Vec::with_capacity(count);
    for (index, lanes) in lanes.into_iter().enumerate() {
        let (hand_over, handed_over) = bounded(1);
        let unread = handed_over.clone();
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
            hand_over: handed_over,
            drain: drain.clone(),
            pulse: pulse_of(format!("infer-{index}")),
            wedge_after: wedge_after.into(),
        };
        let (to_worker, to_serve) = bounded(1);
        let thread = start_worker(index, plan, to_serve, failed.clone())?;
        workers.push(WorkerThread::new(thread, hand_over, unread));
        waiting.push((to_worker, lanes));
    }
    let streams = sources.into_iter().map(Feed::start).collect::<Result<_, _>>()?;
    let running = Running {
        stop: Some(stop),
        streams,
        kept: Vec::new(),
        workers,
        publisher: Some(publisher),
        collecting,
        lost,
        failures,
        drain,
        pulses,
    };
    Ok(Prepared { running, gate, work, lanes: waiting, results })
}

impl Prepared {
    /// Starts the pipeline; results go to `sinks`. Streams in `kept` go on in place of the prepared ones of the same
    /// name; the sources of the others begin when the gate is dropped.
    #[must_use]
    pub fn go(self, sinks: Sinks, mut kept: Vec<KeptStream>) -> (Running, Gate) {
        let Self { mut running, gate, work, lanes, results } = self;
        // From here on, only threads have results to send.
        drop(results);
        let deadline = Instant::now() + DISMISSAL;
        for (to_worker, mut lanes) in lanes {
            for lane in &mut lanes {
                let same = |kept: &KeptStream| kept.stream.name == lane.stream;
                let Some(index) = kept.iter().position(same) else { continue };
                let KeptStream { stream, lane: old } = kept.swap_remove(index);
                lane.take_over(old);
                if let Some(prepared) = running.streams.iter_mut().find(|prepared| prepared.name == stream.name) {
                    std::mem::replace(prepared, stream).dismiss(deadline);
                }
            }
            // The thread is waiting for them, and the channel has room.
            let _ = to_worker.send(lanes);
        }
        let is_alone = running.is_of_one_stream();
        for stream in &running.streams {
            stream.is_alone.store(is_alone, Ordering::Release);
        }
        // The same holds for the publisher.
        let counters = |stream: &feed::Stream| (Arc::clone(&stream.name), Arc::clone(&stream.counters));
        let _ = work.send(Work { sinks, streams: running.streams.iter().map(counters).collect() });
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

/// Starts inference thread `index` and waits until it is ready for its lanes.
fn start_worker(
    index: usize,
    plan: WorkerSettings,
    lanes: Receiver<Vec<Lane>>,
    failed: Sender<()>,
) -> Result<Thread<Result<(), Error>>, Error> {
    let (ready, is_ready) = bounded(1);
    let thread = spawn(format!("infer-{index}"), move || {
        let mut worker = Worker::new(plan)?;
        let _ = ready.send(());
        // If the pipeline never starts, there are none.
        let lanes = lanes.recv().unwrap_or_default();
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
