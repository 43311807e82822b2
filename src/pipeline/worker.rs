//! An inference thread: takes the frames of its streams one at a time and turns them into results.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Select, Sender};

use super::drain::Drain;
use super::queue::QueueReceiver;
use super::quota::Failures;
use super::states::States;
use super::{Error, Item};
use crate::capture::Frame;
use crate::collect::Chooser;
use crate::exit::chain;
use crate::frame::monotonic_ns;
use crate::inference::InferenceSession;
use crate::kernels::runtime::Threads;
use crate::model::Model;
use crate::preprocess::Preprocessor;
use crate::publish::Backlog;
use crate::record::{Latency, ModelTag, RESULT_SCHEMA, Record, ResultRecord, RunId, Scored, TopClasses};
use crate::system::affinity;
use crate::telemetry::{FrameNumbers, Pulse, StreamCounters};

/// One stream as its inference thread sees it.
pub(super) struct Lane {
    pub(super) stream: Arc<str>,
    pub(super) outlet: QueueReceiver,
    pub(super) counters: Arc<StreamCounters>,
    pub(super) numbers: Arc<FrameNumbers>,
    pub(super) states: Arc<States>,
    /// One per stream, because its tables depend on the layout of the stream's frames.
    pub(super) preprocessor: Preprocessor,
    /// Results after which the stream ends; `None`: no end.
    pub(super) remaining: Option<u64>,
    /// If the source is not live: where it has reserved a place for each frame.
    pub(super) backlog: Option<Backlog>,
    /// Who waits for results of its frames, if it is not live and the stream is to end.
    pub(super) failures: Option<Failures>,
    /// Decides which frames are kept, if any are to be.
    pub(super) chooser: Option<Chooser>,
}

impl Lane {
    /// Takes over a stream that goes on: all of `old` but the preparation of frames, which depends on the model, and which
    /// frames are kept.
    pub(super) fn take_over(&mut self, old: Self) {
        let Self { preprocessor, mut chooser, .. } = std::mem::replace(self, old);
        self.preprocessor = preprocessor;
        if let Some(chooser) = &mut chooser {
            chooser.follow(self.chooser.as_ref());
        }
        self.chooser = chooser;
    }
}

/// Asks an inference thread to give up lanes to the next pipeline.
pub(super) struct HandOver {
    /// Names of the streams.
    pub(super) streams: Arc<[Arc<str>]>,
    /// Where their states go from now on.
    pub(super) results: Sender<Item>,
    /// Takes the lanes; has room for them.
    pub(super) given_up: Sender<Vec<Lane>>,
}

impl HandOver {
    /// Gives up the lanes of the streams. A stream whose source has ended is drained like the others.
    fn give_up(self, lanes: &mut Vec<Lane>) {
        let goes_on = |lane: &Lane| self.streams.contains(&lane.stream) && !lane.counters.has_ended();
        let (given_up, rest): (Vec<Lane>, Vec<Lane>) = std::mem::take(lanes).into_iter().partition(goes_on);
        *lanes = rest;
        for lane in &given_up {
            lane.states.redirect(self.results.clone());
        }
        // If nobody waits for them any more, they end here.
        let _ = self.given_up.send(given_up);
    }
}

/// Why an inference thread interrupts its work.
enum Interruption {
    /// The stream of that lane has ended.
    Ended(usize),
    /// Lanes are to be given up.
    HandOver(HandOver),
    /// There are no lanes, or the stop's time limit has passed.
    Over,
}

/// Settings of an inference thread.
pub(super) struct WorkerSettings {
    pub(super) device: Arc<str>,
    pub(super) run: RunId,
    pub(super) model: Arc<Model>,
    pub(super) tag: Arc<ModelTag>,
    pub(super) top: usize,
    /// Number of threads per inference.
    pub(super) threads: usize,
    pub(super) cores: Vec<u32>,
    pub(super) priority: u32,
    pub(super) results: Sender<Item>,
    pub(super) hand_over: Receiver<HandOver>,
    pub(super) drain: Drain,
    pub(super) pulse: Arc<Pulse>,
    /// Results after which the thread hangs, for tests of the watchdog; 0: never.
    pub(super) wedge_after: u64,
}

/// What has become of a frame.
struct Answer {
    top: TopClasses,
    latency_us: Latency,
    /// The frame and its best answer, if it is to be kept.
    uncertain: Option<(Frame, Scored)>,
}

/// State of an inference thread.
pub(super) struct Worker {
    settings: WorkerSettings,
    session: InferenceSession,
}

impl Worker {
    /// Pins the calling thread and makes the network ready to run.
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
        let session = settings.model.session(&Threads::new(threads, start))?;
        // Only now, because new threads inherit the affinity of the thread that starts them.
        affinity::pin(&first)?;
        Ok(Self { settings, session })
    }

    /// Classifies until every stream has ended or been given up. If a source has stopped, its stream is drained first, as
    /// far as the stop's time limit allows; remaining frames count as dropped.
    pub(super) fn run(&mut self, mut lanes: Vec<Lane>) -> Result<(), Error> {
        let outcome = self.classify_all(&mut lanes);
        if let Ok(hand_over) = self.settings.hand_over.try_recv() {
            hand_over.give_up(&mut lanes);
        }
        outcome?;
        lanes.iter().try_for_each(|lane| lane.states.offline())
    }

    fn classify_all(&mut self, lanes: &mut Vec<Lane>) -> Result<(), Error> {
        loop {
            match self.serve(lanes)? {
                Interruption::Ended(lane) => lanes.swap_remove(lane).states.offline()?,
                Interruption::HandOver(hand_over) => hand_over.give_up(lanes),
                Interruption::Over => return Ok(()),
            }
        }
    }

    /// Classifies until something interrupts it.
    fn serve(&mut self, lanes: &mut [Lane]) -> Result<Interruption, Error> {
        let frames: Vec<Receiver<Frame>> = lanes.iter().map(|lane| lane.outlet.frames.clone()).collect();
        let hand_over = self.settings.hand_over.clone();
        let mut select = Select::new();
        for frames in &frames {
            select.recv(frames);
        }
        let to_give_up = select.recv(&hand_over);
        while !frames.is_empty() {
            let operation = match self.settings.drain.end_of_frames() {
                None => select.select(),
                Some(end) if end <= Instant::now() => break,
                Some(end) => match select.select_deadline(end) {
                    Ok(operation) => operation,
                    Err(_) => break,
                },
            };
            let index = operation.index();
            if index == to_give_up {
                match operation.recv(&hand_over) {
                    Ok(hand_over) => return Ok(Interruption::HandOver(hand_over)),
                    // A stop has begun, or the owner is gone.
                    Err(_) => select.remove(to_give_up),
                }
                continue;
            }
            self.settings.pulse.beat();
            let goes_on = match operation.recv(&frames[index]) {
                Ok(frame) => self.take(&mut lanes[index], frame)?,
                Err(_) => false,
            };
            self.settings.pulse.rest();
            if !goes_on {
                return Ok(Interruption::Ended(index));
            }
        }
        Ok(Interruption::Over)
    }

    /// Classifies one frame; false if the stream has reached its number of results.
    fn take(&mut self, lane: &mut Lane, frame: Frame) -> Result<bool, Error> {
        let permit = lane.backlog.as_ref().and_then(Backlog::permit);
        let Frame { seq, captured, .. } = frame;
        let file = frame.file.clone();
        let answer = self.classify(lane, frame).inspect_err(|_| lane.counters.count_dropped())?;
        let Some(Answer { top, latency_us, uncertain }) = answer else {
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
            model: Arc::clone(&self.settings.tag),
            top,
            latency_us,
            dropped: lane.numbers.missed(seq),
        };
        let item = Item { record: Record::Result(record), permit };
        let sent = lane.states.result(seq).and_then(|()| self.send(item));
        sent.inspect_err(|_| lane.counters.count_dropped())?;
        lane.numbers.answer(seq);
        lane.counters.count_classified();
        // Now that the result is on its way.
        if let (Some((frame, best)), Some(chooser)) = (uncertain, &mut lane.chooser)
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
        let chooser = lane.chooser.as_ref().filter(|chooser| chooser.is_due(captured));
        let held = chooser.is_some().then_some(frame);
        // The margin is that between two classes, also if fewer are wanted.
        let least = if chooser.is_some() { 2 } else { 0 };
        let mut top = self.session.infer(self.settings.top.max(least))?;
        let is_uncertain = chooser.is_some_and(|chooser| chooser.is_uncertain(&top));
        let uncertain = held.filter(|_| is_uncertain).and_then(|frame| Some((frame, top.first()?.clone())));
        top.truncate(self.settings.top);
        let infer = start.elapsed() - preprocess;
        let us = |from: u64, to: u64| to.saturating_sub(from) / 1000;
        let latency = Latency {
            capture: us(captured.monotonic_ns, arrived_ns),
            queue: us(arrived_ns, taken_ns),
            preprocess: u64::try_from(preprocess.as_micros()).unwrap_or(u64::MAX),
            infer: u64::try_from(infer.as_micros()).unwrap_or(u64::MAX),
            total: us(captured.monotonic_ns, monotonic_ns()),
        };
        Ok(Some(Answer { top, latency_us: latency, uncertain }))
    }

    fn prepare(&mut self, lane: &mut Lane, frame: &Frame) -> Result<(), Error> {
        Ok(lane.preprocessor.run(&frame.picture()?, self.session.input())?)
    }

    fn send(&self, item: Item) -> Result<(), Error> {
        self.settings.results.send(item).map_err(|_| Error::PublisherGone)
    }
}
