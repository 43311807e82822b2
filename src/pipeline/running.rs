//! A running pipeline: what its owner sees of it, and how it ends or gives its streams to the next one.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::drain::Drain;
use super::feed::Stream;
use super::publisher::{self, Lost, Sinks};
use super::worker::{HandOver, Lane};
use super::{Error, Prepared};
use crate::exit::chain;
use crate::publish::Outgoing;
use crate::record::StreamState;
use crate::shutdown::{Stop, Thread};
use crate::telemetry::{Pulse, StreamStatus};

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
    pub(super) lost: Lost,
    pub(super) failures: Receiver<()>,
    pub(super) drain: Drain,
    /// The pulses of the publisher and of the inference threads, by thread name.
    pub(super) pulses: Vec<(String, Arc<Pulse>)>,
    /// Why inference threads that have been joined failed.
    pub(super) failed: Vec<Error>,
    /// Streams that were to be kept, and whose end nobody has reported.
    pub(super) unreported: Vec<Arc<str>>,
}

/// An inference thread, as its pipeline sees it.
pub(super) struct WorkerThread {
    /// Returns the lanes that it has given up to the next pipeline.
    pub(super) thread: Thread<Result<Vec<Lane>, Error>>,
    pub(super) hand_over: Sender<HandOver>,
    /// Takes back what the thread has not read.
    pub(super) unread: Receiver<HandOver>,
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

    /// Stops the sources; frames already captured are still classified.
    pub fn stop(&mut self) {
        self.unreported.extend(self.kept.iter().map(|stream| Arc::clone(&stream.name)));
        self.streams.append(&mut self.kept);
        self.halt();
    }

    /// Begins the switch to `next`: stops all streams but those called `unchanged`, whose sources go on and whose
    /// frames wait for `next`.
    pub fn hand_over(&mut self, next: &Prepared, unchanged: &[Arc<str>]) {
        let streams: Arc<[Arc<str>]> = unchanged.into();
        for worker in &self.workers {
            // There is room: a pipeline is handed over once.
            let _ = worker.hand_over.try_send(HandOver { streams: Arc::clone(&streams), results: next.results() });
        }
        let is_kept = |stream: &Stream| unchanged.contains(&stream.name);
        (self.kept, self.streams) = mem::take(&mut self.streams).into_iter().partition(is_kept);
        self.halt();
    }

    fn halt(&mut self) {
        self.drain.begin();
        self.stop = None;
        self.streams.iter_mut().for_each(Stream::stop);
    }

    /// The thread that has been busy longest with one piece of work, and for how long, if longer than `limit`.
    #[must_use]
    pub fn stuck(&self, limit: Duration) -> Option<(&str, Duration)> {
        let own = self.pulses.iter().map(|(thread, pulse)| (thread.as_str(), pulse.age()));
        let sources = self.all_streams().map(|stream| (stream.thread_name(), stream.pulse.age()));
        own.chain(sources).filter(|(_, age)| *age > limit).max_by_key(|(_, age)| *age)
    }

    /// The state of every stream.
    pub fn statuses(&self) -> impl Iterator<Item = (&Arc<str>, StreamStatus)> {
        self.all_streams().map(|stream| (&stream.name, stream.counters.status()))
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
        for stream in self.unreported.drain(..) {
            let offline = Outgoing::stream(stream, StreamState::Offline);
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

    /// Waits for the inference threads until `deadline`, after [`hand_over`](Self::hand_over) and
    /// [`take_sinks`](Self::take_sinks), and returns the streams for the next pipeline. A stream whose inference thread
    /// has not given it up ends with this pipeline.
    #[must_use]
    pub fn take_kept(&mut self, deadline: Instant) -> Vec<KeptStream> {
        let mut lanes = Vec::new();
        for worker in self.workers.drain(..) {
            let unread = worker.unread.clone();
            match joined(worker, deadline) {
                Ok(given_up) => lanes.extend(given_up),
                Err(error) => {
                    self.failed.push(error);
                    // It holds the next pipeline open.
                    let _ = unread.try_recv();
                }
            }
        }
        let mut kept = Vec::with_capacity(lanes.len());
        for mut stream in self.kept.drain(..) {
            if let Some(index) = lanes.iter().position(|lane| lane.stream == stream.name) {
                kept.push(KeptStream { stream, lane: lanes.swap_remove(index) });
            } else {
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
        let mut errors: Vec<Error> = outcome.err().into_iter().chain(self.failed).collect();
        errors.extend(self.workers.into_iter().filter_map(|worker| joined(worker, deadline).err()));
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

fn joined(worker: WorkerThread, deadline: Instant) -> Result<Vec<Lane>, Error> {
    worker.thread.join(Some(deadline))?
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
