//! A running pipeline: what its owner sees of it, and how it ends or gives its streams to the next one.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::drain::Drain;
use super::feed::{Member, Source};
use super::lane::Lane;
use super::publisher::{self, Lost, Sinks};
use super::ready::ReadyQueue;
use super::{Error, Prepared};
use crate::exit::chain;
use crate::publish::Outgoing;
use crate::record::StreamState;
use crate::shutdown::{Stop, Thread};
use crate::telemetry::{Pulse, StreamCounters};

/// A running pipeline.
pub struct Running {
    /// Stops the publisher; `None` once it has been used.
    pub(super) stop: Option<Stop>,
    pub(super) sources: Vec<Source>,
    /// The sources that the next pipeline takes over.
    pub(super) kept: Vec<Source>,
    /// Streams that it does not take over, of sources that it does.
    pub(super) departed: Vec<Member>,
    pub(super) workers: Vec<Thread<Result<(), Error>>>,
    pub(super) ready: Arc<ReadyQueue>,
    /// The lanes that the inference threads give up, once they have been asked.
    pub(super) given_up: Option<Receiver<Lane>>,
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

/// A source between two pipelines: it goes on, and nobody takes its frames.
pub struct KeptSource {
    pub(super) source: Source,
    pub(super) lanes: Vec<Lane>,
}

impl KeptSource {
    /// The names of its streams with their states, for sinks that may not know them.
    pub fn states(&self) -> impl Iterator<Item = (&str, StreamState)> {
        self.lanes.iter().map(|lane| (&*lane.stream, lane.states.current()))
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
        self.sources.append(&mut self.kept);
        self.halt();
    }

    /// Begins the switch to `next`: stops all streams but those called `unchanged`, whose sources go on and whose
    /// frames wait for `next`. A source goes on if the stream that it is called after does.
    pub fn hand_over(&mut self, next: &Prepared, unchanged: &[Arc<str>]) {
        // The threads are woken for a stop that has begun.
        self.drain.begin();
        self.given_up = Some(self.ready.hand_over(unchanged.into(), next.results()));
        let is_kept = |source: &Source| unchanged.contains(source.name());
        (self.kept, self.sources) = mem::take(&mut self.sources).into_iter().partition(is_kept);
        self.departed.extend(self.kept.iter_mut().flat_map(|source| source.retain(unchanged)));
        // Whether this pipeline or the next one tells why a source fails now is open: it says so itself.
        self.kept.iter().for_each(|source| source.is_alone.store(false, Ordering::Release));
        self.halt();
    }

    fn halt(&mut self) {
        self.drain.begin();
        self.stop = None;
        self.sources.iter_mut().for_each(Source::stop);
        // Wakes the inference threads, whose time is limited now.
        self.ready.wake_all();
    }

    /// The thread that has been busy longest with one piece of work, and for how long, if longer than `limit`.
    #[must_use]
    pub fn stuck(&self, limit: Duration) -> Option<(&str, Duration)> {
        let own = self.pulses.iter().map(|(thread, pulse)| (thread.as_str(), pulse.age()));
        let sources = self.all_sources().map(|source| (source.thread_name(), source.pulse.age()));
        own.chain(sources).filter(|(_, age)| *age > limit).max_by_key(|(_, age)| *age)
    }

    /// The counters and the state of every stream.
    pub fn statuses(&self) -> impl Iterator<Item = (&Arc<str>, &StreamCounters)> {
        self.all_streams().map(|stream| (&stream.name, &*stream.counters))
    }

    /// The streams with their counters.
    #[must_use]
    pub fn streams(&self) -> Vec<(Arc<str>, Arc<StreamCounters>)> {
        self.all_streams().map(|stream| (Arc::clone(&stream.name), Arc::clone(&stream.counters))).collect()
    }

    /// Whether there is only one stream, whose error is then that of the program.
    pub(super) fn is_of_one_stream(&self) -> bool {
        self.all_streams().count() == 1
    }

    pub(super) fn all_streams(&self) -> impl Iterator<Item = &Member> {
        self.all_sources().flat_map(|source| &source.members).chain(&self.departed)
    }

    fn all_sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().chain(&self.kept)
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
        for stream in self.sources.iter().flat_map(|source| &source.members).chain(&self.departed) {
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
    /// and returns their sources for the next pipeline. A stream that has not been given up starts again, and so do the
    /// others of a source that is called after it.
    #[must_use]
    pub fn take_kept(&mut self, deadline: Instant) -> Vec<KeptSource> {
        let given_up = self.given_up.take();
        let mut lanes: Vec<Lane> =
            given_up.iter().flat_map(|lanes| std::iter::from_fn(|| lanes.recv_deadline(deadline).ok())).collect();
        // A request that is not answered would hold the next pipeline open.
        self.ready.cancel_hand_over();
        lanes.extend(given_up.iter().flat_map(Receiver::try_iter));
        let mut kept = Vec::with_capacity(self.kept.len());
        for mut source in self.kept.drain(..) {
            let is_of_source = |lane: &Lane| source.members.iter().any(|member| member.name == lane.stream);
            let (of_source, others): (Vec<Lane>, Vec<Lane>) = lanes.into_iter().partition(is_of_source);
            lanes = others;
            let names: Vec<Arc<str>> = of_source.iter().map(|lane| Arc::clone(&lane.stream)).collect();
            for Member { name, counters } in &source.members {
                if !names.contains(name) && !counters.has_ended() {
                    tracing::warn!(stream = %name, "the stream starts again: its inference thread did not give it back in time");
                }
            }
            if names.contains(source.name()) {
                self.departed.extend(source.retain(&names));
                kept.push(KeptSource { source, lanes: of_source });
            } else {
                source.stop();
                self.sources.push(source);
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
        let total = self.all_streams().count();
        let mut errors: Vec<Error> = outcome.err().into_iter().collect();
        let joined = |worker: Thread<Result<(), Error>>| worker.join(Some(deadline))?;
        errors.extend(self.workers.into_iter().filter_map(|worker| joined(worker).err()));
        // A folder that does not answer is no failure of the program.
        if let Some(Err(error)) = self.collecting.map(|thread| thread.join(Some(deadline))) {
            tracing::warn!("frames that were to be kept may be missing in collect.folder: {error}");
        }
        errors.extend(self.sources.into_iter().flat_map(|source| source.end(deadline)));
        for stream in &self.departed {
            stream.end();
        }
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
    let failed = failed.iter().flat_map(Error::streams).map(ToString::to_string).collect();
    Some(Error::Streams { failed, total, exit })
}
