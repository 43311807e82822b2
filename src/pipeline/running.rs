//! A running pipeline: what its owner sees of it, and how it ends or gives its streams to the next one.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, bounded, select};

use super::drain::Drain;
use super::feed::Stream;
use super::publisher::{self, Lost, Sinks};
use super::worker::{HandOver, Lane};
use super::{Error, Item, Prepared};
use crate::exit::chain;
use crate::publish::Outgoing;
use crate::record::StreamState;
use crate::shutdown::{Stop, Thread};
use crate::telemetry::{Pulse, StreamCounters};

/// A running pipeline.
pub struct Running {
    /// Stops the publisher; `None` once it has been used.
    pub(super) stop: Option<Stop>,
    pub(super) streams: Vec<Stream>,
    /// The streams that the next pipeline takes over.
    pub(super) kept: Vec<Stream>,
    pub(super) workers: Vec<WorkerThread>,
    /// `None` once its sinks have been taken.
    pub(super) publisher: Option<Thread<publisher::End>>,
    /// The thread that keeps uncertain frames, if there is one; it ends after the inference threads.
    pub(super) collecting: Option<Thread<()>>,
    pub(super) lost: Lost,
    pub(super) failures: Receiver<()>,
    pub(super) drain: Drain,
    /// The pulses of the publisher and of the inference threads, by thread name.
    pub(super) pulses: Vec<(String, Arc<Pulse>)>,
}

/// An inference thread, as its pipeline sees it.
pub(super) struct WorkerThread {
    thread: Thread<Result<(), Error>>,
    /// `None` once a stop has begun.
    hand_over: Option<Sender<HandOver>>,
    /// Takes back what the thread has not read.
    unread: Receiver<HandOver>,
    /// The lanes that it gives up, once it has been asked.
    given_up: Option<Receiver<Vec<Lane>>>,
}

impl WorkerThread {
    /// A thread that receives from `hand_over`, as `unread` does.
    pub(super) fn new(
        thread: Thread<Result<(), Error>>,
        hand_over: Sender<HandOver>,
        unread: Receiver<HandOver>,
    ) -> Self {
        Self { thread, hand_over: Some(hand_over), unread, given_up: None }
    }

    /// Asks for the lanes of `streams`, whose states go to `results` from then on.
    fn ask(&mut self, streams: Arc<[Arc<str>]>, results: Sender<Item>) {
        let (given_up, lanes) = bounded(1);
        self.given_up = Some(lanes);
        if let Some(hand_over) = &self.hand_over {
            // There is room: a pipeline is handed over once.
            let _ = hand_over.try_send(HandOver { streams, results, given_up });
        }
    }

    /// Waits for the lanes until `deadline`.
    fn lanes(&mut self, deadline: Instant) -> Vec<Lane> {
        let Some(lanes) = self.given_up.take() else { return Vec::new() };
        select! {
            recv(lanes) -> lanes => return lanes.unwrap_or_default(),
            recv(self.thread.done()) -> _ => {}
            recv(at(deadline)) -> _ => {}
        }
        // A request that is not read would hold the next pipeline open.
        drop(self.unread.try_recv());
        lanes.try_recv().unwrap_or_default()
    }
}

/// A stream between two pipelines: its source goes on, and nobody takes its frames.
pub struct KeptStream {
    pub(super) stream: Stream,
    pub(super) lane: Lane,
}

impl KeptStream {
    /// Name of the stream.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.stream.name
    }

    /// Its state, for sinks that may not know it.
    #[must_use]
    pub fn state(&self) -> StreamState {
        self.lane.states.current()
    }
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

    /// Stops the sources, and everything by `end`; frames already captured are still classified, unless they have been
    /// handed over.
    pub fn stop(&mut self, end: Instant) {
        self.drain.begin_until(end);
        self.streams.append(&mut self.kept);
        self.halt();
    }

    /// Begins the switch to `next`: stops all streams but those called `unchanged`, whose sources go on and whose
    /// frames wait for `next`.
    pub fn hand_over(&mut self, next: &Prepared, unchanged: &[Arc<str>]) {
        // The threads are woken for a stop that has begun.
        self.drain.begin();
        let streams: Arc<[Arc<str>]> = unchanged.into();
        for worker in &mut self.workers {
            worker.ask(Arc::clone(&streams), next.results());
        }
        let is_kept = |stream: &Stream| unchanged.contains(&stream.name);
        (self.kept, self.streams) = mem::take(&mut self.streams).into_iter().partition(is_kept);
        // Whether this pipeline or the next one tells why a source fails now is open: it says so itself.
        self.kept.iter().for_each(|stream| stream.is_alone.store(false, Ordering::Release));
        self.halt();
    }

    fn halt(&mut self) {
        self.drain.begin();
        self.stop = None;
        self.streams.iter_mut().for_each(Stream::stop);
        // Wakes the inference threads, whose time is limited now.
        self.workers.iter_mut().for_each(|worker| worker.hand_over = None);
    }

    /// The thread that has been busy longest with one piece of work, and for how long, if longer than `limit`.
    #[must_use]
    pub fn stuck(&self, limit: Duration) -> Option<(&str, Duration)> {
        let own = self.pulses.iter().map(|(thread, pulse)| (thread.as_str(), pulse.age()));
        let sources = self.all_streams().map(|stream| (stream.thread_name(), stream.pulse.age()));
        own.chain(sources).filter(|(_, age)| *age > limit).max_by_key(|(_, age)| *age)
    }

    /// The counters and the state of every stream.
    pub fn statuses(&self) -> impl Iterator<Item = (&Arc<str>, &StreamCounters)> {
        self.all_streams().map(|stream| (&stream.name, &*stream.counters))
    }

    /// Whether its only stream is alone, so that the error of the program is that of the stream.
    pub(super) fn is_of_one_stream(&self) -> bool {
        self.all_streams().count() == 1
    }

    fn all_streams(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().chain(&self.kept)
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
        self.halt();
        let (mut sinks, outcome) = match ended {
            None => (Sinks::new(), Ok(())),
            Some(Ok(publisher::End { sinks, outcome })) => (sinks, outcome),
            Some(Err(error)) => (Sinks::new(), Err(error.into())),
        };
        // Some may not have been reported: a thread is still busy with them, or has failed.
        for stream in &self.streams {
            let offline = Outgoing::stream(Arc::clone(&stream.name), StreamState::Offline);
            for sink in &mut sinks {
                // A sink that is lost says so when it is closed.
                let _ = sink.take(&offline);
            }
        }
        (sinks, outcome)
    }

    /// When everything must have been handed out: the deadline of the stop or, without a stop, of an end that begins
    /// now.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.drain.deadline()
    }

    /// Waits until the inference threads have given up the streams of [`hand_over`](Self::hand_over), or for `deadline`,
    /// and returns these streams for the next pipeline. One that has not been given up ends with this pipeline.
    #[must_use]
    pub fn take_kept(&mut self, deadline: Instant) -> Vec<KeptStream> {
        let mut lanes: Vec<Lane> = self.workers.iter_mut().flat_map(|worker| worker.lanes(deadline)).collect();
        let mut kept = Vec::with_capacity(lanes.len());
        for mut stream in self.kept.drain(..) {
            if let Some(index) = lanes.iter().position(|lane| lane.stream == stream.name) {
                kept.push(KeptStream { stream, lane: lanes.swap_remove(index) });
            } else {
                if !stream.counters.has_ended() {
                    let name = &stream.name;
                    tracing::warn!(stream = %name, "the stream starts again: its inference thread did not give it back in time");
                }
                stream.stop();
                self.streams.push(stream);
            }
        }
        kept
    }

    /// Waits for the other threads until `deadline`, after [`take_sinks`](Self::take_sinks); `outcome` is the result of
    /// the sinks.
    ///
    /// # Errors
    /// The first of: that of the sinks, a failed inference thread, failed streams; work that was only abandoned comes
    /// after what failed. The others are logged.
    pub fn finish(self, outcome: Result<(), Error>, deadline: Instant) -> Result<(), Error> {
        let total = self.streams.len();
        let mut errors: Vec<Error> = outcome.err().into_iter().collect();
        let joined = |worker: WorkerThread| worker.thread.join(Some(deadline))?;
        errors.extend(self.workers.into_iter().filter_map(|worker| joined(worker).err()));
        // A folder that does not answer is no failure of the program.
        if let Some(Err(error)) = self.collecting.map(|thread| thread.join(Some(deadline))) {
            tracing::warn!("frames that were to be kept may be missing in collect.folder: {error}");
        }
        errors.extend(self.streams.into_iter().filter_map(|stream| stream.end(deadline).err()));
        let errors = errors.into_iter().filter(|error| !matches!(error, Error::PublisherGone));
        let (streams, mut errors): (Vec<Error>, Vec<Error>) = errors.partition(Error::is_of_stream);
        errors.extend(all_in_one(streams, total));
        errors.sort_by_key(Error::is_abandoned_work);
        let mut errors = errors.into_iter();
        let first = errors.next();
        for error in errors {
            tracing::error!("{}", chain(&error));
        }
        first.map_or(Ok(()), Err)
    }
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
    let failed = failed.iter().filter_map(Error::stream).map(str::to_owned).collect();
    Some(Error::Streams { failed, total, exit })
}
