//! The thread that serialises each record once and hands it to every sink. Sinks never block it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, at, never, select, tick};
use serde::Serialize;

use super::drain::Drain;
use super::{Error, Item};
use crate::exit::chain;
use crate::publish::{self, JsonLine, Outgoing, Sink};
use crate::record::{Record, STATS_SCHEMA, SinkStats, StatsRecord};
use crate::shutdown::Stopped;
use crate::telemetry::{Period, Pulse, Registry, SinkCounters, Snapshot, StreamCounters, percentiles};

/// The sinks of a pipeline, in the order of the configuration.
pub type Sinks = Vec<Box<dyn Sink>>;

/// The sinks that were lost while others continued: name and error.
#[derive(Debug, Clone, Default)]
pub(super) struct Lost(Arc<Mutex<Vec<(&'static str, publish::Error)>>>);

impl Lost {
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.lock().iter().map(|(name, _)| *name).collect()
    }

    pub(super) fn add(&self, sink: &'static str, error: publish::Error) {
        self.lock().push((sink, error));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(&'static str, publish::Error)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines whose memory is reused.
#[derive(Default)]
struct Lines {
    /// The most recent lines, oldest first.
    handed_out: VecDeque<JsonLine>,
}

impl Lines {
    /// Maximum number of lines kept for reuse: more than the sinks hold while they keep up.
    const MOST: usize = 64;

    /// The record as JSON, with a line feed.
    fn write(&mut self, record: &impl Serialize) -> Result<JsonLine, Error> {
        let oldest_is_free = self.handed_out.front_mut().is_some_and(|line| Arc::get_mut(line).is_some());
        let mut line = self.handed_out.pop_front().filter(|_| oldest_is_free).unwrap_or_default();
        if let Some(bytes) = Arc::get_mut(&mut line) {
            bytes.clear();
            serde_json::to_writer(&mut *bytes, record).map_err(Error::Record)?;
            bytes.push(b'\n');
        }
        if self.handed_out.len() < Self::MOST {
            self.handed_out.push_back(Arc::clone(&line));
        }
        Ok(line)
    }
}

/// What the statistics of the next period begin with.
struct Statistics<'a> {
    begun: Instant,
    streams: Vec<(&'a Arc<str>, &'a StreamCounters, Period)>,
    sinks: Vec<(&'static str, Arc<SinkCounters>, Snapshot)>,
}

impl<'a> Statistics<'a> {
    fn begin(streams: &'a [(Arc<str>, Arc<StreamCounters>)], registry: &Registry) -> Self {
        let streams = streams.iter().map(|(name, counters)| (name, &**counters, Period::begin(counters))).collect();
        let sinks = registry.sinks().into_iter().map(|(name, counters)| {
            let acknowledged = counters.acknowledged().snapshot();
            (name, counters, acknowledged)
        });
        Self { begun: Instant::now(), streams, sinks: sinks.collect() }
    }

    /// The statistics of the period that ends now. The next one begins.
    fn next(&mut self, device: &Arc<str>, registry: &Registry) -> StatsRecord {
        let time = self.begun.elapsed();
        self.begun = Instant::now();
        let streams =
            self.streams.iter_mut().map(|(name, counters, period)| period.next(counters, name, time)).collect();
        let sinks = self.sinks.iter_mut().map(|(sink, counters, before)| {
            let now = counters.acknowledged().snapshot();
            let acknowledged_us = percentiles(&now.since(before));
            *before = now;
            let counts = counters.read();
            let connections = (counts.connections > 0).then_some(counts.connections);
            SinkStats { sink, taken: counts.taken, lost: counts.lost, connections, acknowledged_us }
        });
        let sinks = sinks.collect();
        let seconds = |time: Duration| (time.as_secs_f64() * 1000.0).round() / 1000.0;
        StatsRecord {
            schema: STATS_SCHEMA,
            device: Arc::clone(device),
            run: registry.run(),
            at: SystemTime::now(),
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: seconds(registry.uptime()),
            period_s: seconds(time),
            streams,
            sinks,
        }
    }
}

/// The result of the publisher.
pub(super) struct End {
    /// The remaining sinks, still open.
    pub(super) sinks: Sinks,
    /// The error of the last sink, if none is left; in a run that was not stopped, the error of any lost sink.
    pub(super) outcome: Result<(), Error>,
}

/// What the publisher gets when its pipeline starts.
pub(super) struct Work {
    pub(super) sinks: Sinks,
    /// The streams, whose statistics it makes.
    pub(super) streams: Vec<(Arc<str>, Arc<StreamCounters>)>,
}

/// The state of the publisher thread.
pub(super) struct Publisher {
    pub(super) device: Arc<str>,
    pub(super) registry: Arc<Registry>,
    /// Time between two statistics; zero: there are none.
    pub(super) stats_period: Duration,
    pub(super) items: Receiver<Item>,
    pub(super) stopped: Stopped,
    pub(super) drain: Drain,
    pub(super) pulse: Arc<Pulse>,
    pub(super) lost: Lost,
}

impl Publisher {
    /// Waits for the sinks, which arrive when the pipeline starts; then hands out items until all inference threads
    /// have ended or, after a stop, their time is up. Flushes the sinks unless stopped.
    pub(super) fn run(self, work: &Receiver<Work>) -> End {
        let Ok(Work { mut sinks, streams }) = work.recv() else {
            return End { sinks: Sinks::new(), outcome: Ok(()) };
        };
        if sinks.is_empty()
            && let Some((_, error)) = self.lost.lock().pop()
        {
            return End { sinks, outcome: Err(error.into()) };
        }
        let mut outcome = self.hand_out(&mut sinks, &streams);
        if outcome.is_ok() && !self.stopped.is_set() {
            // Whoever reads the results of a file may take as long as it likes.
            self.pulse.rest();
            outcome = self.each(&mut sinks, |sink| sink.flush(&self.stopped));
            if let (Ok(()), Some((_, error))) = (&outcome, self.lost.lock().pop()) {
                outcome = Err(error.into());
            }
        }
        self.pulse.rest();
        End { sinks, outcome }
    }

    fn hand_out(&self, sinks: &mut Sinks, streams: &[(Arc<str>, Arc<StreamCounters>)]) -> Result<(), Error> {
        let mut lines = Lines::default();
        let not_stopped = never();
        let mut stopped = self.stopped.receiver();
        let mut end = never::<Instant>();
        let stats = if self.stats_period.is_zero() { never() } else { tick(self.stats_period) };
        let mut statistics = Statistics::begin(streams, &self.registry);
        loop {
            self.pulse.rest();
            select! {
                recv(self.items) -> item => {
                    self.pulse.beat();
                    match item {
                        Ok(Item { record, permit }) => {
                            let line = match &record {
                                Record::Result(result) => lines.write(result)?,
                                Record::Stats(stats) => lines.write(stats)?,
                                Record::Stream(_) => JsonLine::default(),
                            };
                            let outgoing = Outgoing { record, line, permit };
                            self.each(sinks, |sink| sink.take(&outgoing))?;
                        }
                        Err(_) => return Ok(()),
                    }
                },
                recv(stats) -> _ => {
                    self.pulse.beat();
                    let stats = statistics.next(&self.device, &self.registry);
                    let outgoing = Outgoing { line: lines.write(&stats)?, record: Record::Stats(stats), permit: None };
                    self.each(sinks, |sink| sink.take(&outgoing))?;
                }
                recv(stopped) -> _ => {
                    stopped = &not_stopped;
                    end = self.drain.end_of_results().map_or_else(never, at);
                }
                recv(end) -> _ => return Ok(()),
            }
        }
    }

    /// Applies an operation to each sink. A sink that fails is lost, without effect on the others.
    ///
    /// # Errors
    /// The error of the last sink.
    fn each(
        &self,
        sinks: &mut Sinks,
        mut act: impl FnMut(&mut dyn Sink) -> Result<(), publish::Error>,
    ) -> Result<(), Error> {
        let mut index = 0;
        while index < sinks.len() {
            let Err(error) = act(&mut *sinks[index]) else {
                index += 1;
                continue;
            };
            let sink = sinks.remove(index);
            if sinks.is_empty() {
                return Err(error.into());
            }
            tracing::error!(sink = sink.name(), "a sink is lost; the others continue: {}", chain(&error));
            self.lost.add(sink.name(), error);
        }
        Ok(())
    }
}
