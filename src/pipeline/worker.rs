//! An inference thread: takes frames one at a time, of the stream whose turn it is, and turns them into results.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;

use super::drain::Drain;
use super::lane::{Lane, Task};
use super::queue::Empty;
use super::ready::ReadyQueue;
use super::{Error, Item};
use crate::capture::Frame;
use crate::exit::chain;
use crate::frame::monotonic_ns;
use crate::inference::InferenceSession;
use crate::kernels::runtime::Threads;
use crate::model::Model;
use crate::publish::Backlog;
use crate::record::{Latency, RESULT_SCHEMA, Record, ResultRecord, RunId, Scored, TopClasses};
use crate::system::affinity;
use crate::telemetry::Pulse;

/// Settings of an inference thread.
pub(super) struct WorkerSettings {
    pub(super) device: Arc<str>,
    pub(super) run: RunId,
    /// The models of the pipeline's streams.
    pub(super) models: Vec<Arc<Model>>,
    pub(super) top: usize,
    /// Number of threads per inference.
    pub(super) threads: usize,
    pub(super) cores: Vec<u32>,
    pub(super) priority: u32,
    pub(super) results: Sender<Item>,
    pub(super) ready: Arc<ReadyQueue>,
    pub(super) drain: Drain,
    pub(super) pulse: Arc<Pulse>,
    /// Results after which the thread hangs, for tests of the watchdog; 0: never.
    pub(super) wedge_after: u64,
    /// Whether frames are classified; otherwise they are given back at once, and count as dropped.
    pub(super) classify: bool,
}

/// What has become of a frame.
struct Answer {
    top: TopClasses,
    latency_us: Latency,
    /// Results carried over since the network ran, if this one is.
    carried: Option<u64>,
    /// The frame and its best answer, if it is to be kept.
    uncertain: Option<(Frame, Scored)>,
}

/// State of an inference thread.
pub(super) struct Worker {
    settings: WorkerSettings,
    /// One for each model.
    sessions: Vec<InferenceSession>,
}

impl Worker {
    /// Pins the calling thread and makes the networks ready to run.
    pub(super) fn new(settings: WorkerSettings) -> Result<Self, Error> {
        affinity::place(&settings.cores, settings.priority)?;
        let (threads, priority) = (settings.threads, settings.priority);
        let cores: Vec<Vec<u32>> =
            (0..threads).map(|number| affinity::share(&settings.cores, number, threads)).collect();
        let first = cores.first().cloned().unwrap_or_default();
        let start = move |number: usize| {
            if let Err(error) = affinity::place(&cores[number], priority) {
                tracing::warn!(thread = number, "{}", chain(&error));
            }
        };
        let threads = Threads::new(threads, start);
        let sessions = settings.models.iter().map(|model| model.session(&threads)).collect::<Result<_, _>>()?;
        // Only now, because new threads inherit the affinity of the thread that starts them.
        affinity::pin(&first)?;
        Ok(Self { settings, sessions })
    }

    /// Classifies until every stream has ended or been given up. If a source has stopped, its stream is drained first, as
    /// far as the stop's time limit allows; remaining frames count as dropped.
    pub(super) fn run(&mut self) -> Result<(), Error> {
        let (ready, drain) = (Arc::clone(&self.settings.ready), self.settings.drain.clone());
        while let Some(mut taken) = ready.next(|| drain.end_of_frames()) {
            let Some(lane) = taken.lane() else { continue };
            let goes_on = match lane.outlet.take() {
                Ok(frame) => {
                    self.settings.pulse.beat();
                    let goes_on = self.take(lane, frame)?;
                    self.settings.pulse.rest();
                    goes_on
                }
                Err(Empty::Yet) => true,
                Err(Empty::Ended) => false,
            };
            if goes_on {
                taken.give_back();
            } else {
                lane.states.offline()?;
            }
        }
        ready.take_waiting().iter().try_for_each(|lane| lane.states.offline())
    }

    /// Classifies one frame; false if the stream has reached its number of results.
    fn take(&mut self, lane: &mut Lane, frame: Frame) -> Result<bool, Error> {
        let permit = lane.backlog.as_ref().and_then(Backlog::permit);
        if !self.settings.classify {
            lane.counters.count_dropped();
            return Ok(true);
        }
        let Frame { seq, captured, .. } = frame;
        let file = frame.file.clone();
        let answer = self.classify(lane, frame).inspect_err(|_| lane.counters.count_dropped())?;
        let Some(Answer { top, latency_us, carried, uncertain }) = answer else {
            lane.counters.count_failed();
            if let Some(failures) = &lane.failures {
                failures.tell();
            }
            return Ok(true);
        };
        let record = ResultRecord {
            schema: RESULT_SCHEMA,
            device: Arc::clone(&self.settings.device),
            stream: Arc::clone(&lane.stream),
            run: self.settings.run,
            file,
            seq,
            captured,
            model: Arc::clone(&lane.task.tag),
            top,
            latency_us,
            dropped: lane.numbers.missed(seq),
            carried,
        };
        let item = Item { record: Record::Result(record), permit };
        let sent = lane.states.result(seq).and_then(|()| self.send(item));
        sent.inspect_err(|_| lane.counters.count_dropped())?;
        lane.numbers.answer(seq);
        match carried {
            None => {
                lane.counters.count_classified();
                lane.counters.record(latency_us);
            }
            Some(_) => lane.counters.count_carried(),
        }
        // Now that the result is on its way.
        if let (Some((frame, best)), Some(chooser)) = (uncertain, &mut lane.task.chooser)
            && let Ok(picture) = frame.picture()
        {
            chooser.keep(&picture, captured, &best);
        }
        self.stand_still_if_asked();
        if let Some(remaining) = &mut lane.remaining {
            *remaining -= 1;
        }
        Ok(lane.remaining != Some(0))
    }

    /// Never returns once `debug.wedge_after` results have been made.
    fn stand_still_if_asked(&mut self) {
        match self.settings.wedge_after {
            0 => {}
            1 => {
                tracing::warn!("freezing an inference thread (debug.wedge_after)");
                loop {
                    std::thread::park();
                }
            }
            _ => self.settings.wedge_after -= 1,
        }
    }

    /// The best classes and the time they took; `None` for a picture that cannot be classified. The decoder gets its
    /// buffer back before the network runs, because cameras' buffer pools are small, unless the frame may have to be kept.
    fn classify(&mut self, lane: &mut Lane, frame: Frame) -> Result<Option<Answer>, Error> {
        let taken_ns = monotonic_ns();
        let start = Instant::now();
        if let Err(error) = self.prepare(lane, &frame) {
            match &frame.file {
                Some(file) => tracing::error!(stream = %lane.stream, "{file} cannot be classified: {error}"),
                // The total is reported at the end of the stream.
                None if lane.counters.read().failed == 0 => {
                    tracing::error!(stream = %lane.stream, seq = frame.seq, "a frame cannot be classified: {error}");
                }
                None => {}
            }
            return Ok(None);
        }
        let preprocess = start.elapsed();
        let Frame { captured, arrived_ns, .. } = frame;
        let Task { chooser, carry, model, .. } = &mut lane.task;
        let chooser = chooser.as_ref().filter(|chooser| chooser.is_due(captured));
        let held = chooser.is_some().then_some(frame);
        let session = &mut self.sessions[*model];
        let (top, carried, uncertain) =
            match carry.as_mut().and_then(|carry| carry.carry(session.input().data_mut(), captured)) {
                Some((top, carried)) => (top, Some(carried), None),
                None => {
                    // The margin is that between two classes, also if fewer are wanted.
                    let least = if chooser.is_some() { 2 } else { 0 };
                    let mut top = session.infer(self.settings.top.max(least))?;
                    let is_uncertain = chooser.is_some_and(|chooser| chooser.is_uncertain(&top));
                    let uncertain = held.filter(|_| is_uncertain).and_then(|frame| Some((frame, top.first()?.clone())));
                    top.truncate(self.settings.top);
                    if let Some(carry) = carry {
                        carry.remember(&top, captured);
                    }
                    (top, None, uncertain)
                }
            };
        let infer = start.elapsed() - preprocess;
        let us = |from: u64, to: u64| to.saturating_sub(from) / 1000;
        let latency = Latency {
            capture: us(captured.monotonic_ns, arrived_ns),
            queue: us(arrived_ns, taken_ns),
            preprocess: u64::try_from(preprocess.as_micros()).unwrap_or(u64::MAX),
            infer: u64::try_from(infer.as_micros()).unwrap_or(u64::MAX),
            total: us(captured.monotonic_ns, monotonic_ns()),
        };
        Ok(Some(Answer { top, latency_us: latency, carried, uncertain }))
    }

    fn prepare(&mut self, lane: &mut Lane, frame: &Frame) -> Result<(), Error> {
        let task = &mut lane.task;
        Ok(task.preprocessor.run(&frame.picture()?, self.sessions[task.model].input())?)
    }

    fn send(&self, item: Item) -> Result<(), Error> {
        self.settings.results.send(item).map_err(|_| Error::PublisherGone)
    }
}
