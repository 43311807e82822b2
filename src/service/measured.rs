//! Runs configurations for a measurement, without sinks and without signals.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded, never};

use super::Error;
use super::setup::{Order, Purpose, Ready, prepare};
use crate::config::redact;
use crate::measure;
use crate::measure::environment::Point;
use crate::measure::protocol::{Load, Mode};
use crate::measure::sample::Inference;
use crate::pipeline::Running;
use crate::publish::{self, Outgoing, Sink, Unsent};
use crate::record::Record;
use crate::shutdown::{self, Stopped};
use crate::telemetry::Registry;

/// Inferences that may wait to be written.
const WAITING: usize = 1 << 16;

/// Runs one of several configurations at a time.
pub struct Measured {
    orders: Vec<Order>,
    registry: Arc<Registry>,
    running: Option<Running>,
    sender: Sender<Inference>,
    inferences: Receiver<Inference>,
}

impl fmt::Debug for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measured").field("orders", &self.orders).finish_non_exhaustive()
    }
}

impl Measured {
    /// Makes `orders` ready to be run.
    #[must_use]
    pub fn new(orders: Vec<Order>) -> Self {
        let (sender, inferences) = bounded(WAITING);
        Self { orders, registry: Arc::new(Registry::new()), running: None, sender, inferences }
    }

    /// What has become of the frames since the beginning.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// What configuration `point`, called `name`, is: it is made ready once, and nothing of it runs.
    ///
    /// # Errors
    /// Why it cannot run.
    pub fn describe(&self, point: usize, name: &str) -> Result<Point, Error> {
        let (_keep, cancelled) = shutdown::channel();
        let Some(ready) = self.prepare(point, Purpose::Classify, &cancelled)? else { return Ok(Point::default()) };
        let config = &ready.setup.config;
        let models = ready.setup.models.all();
        Ok(Point {
            name: name.to_owned(),
            models: models.iter().map(|model| (model.name().to_owned(), model.digest().to_owned())).collect(),
            backend: models
                .iter()
                .map(|model| model.backend().to_string())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
                .join(", "),
            sources: config.streams.iter().map(|stream| redact(&stream.source)).collect(),
            workers: config.inference.workers,
            threads: config.inference.threads,
            cores: config.inference.cores.clone(),
        })
    }

    fn prepare(&self, point: usize, purpose: Purpose, cancelled: &Stopped) -> Result<Option<Box<Ready>>, Error> {
        let order = Order { purpose, ..self.orders[point].clone() };
        prepare(&order, &self.registry, None, cancelled)
    }

    fn begin(&mut self, point: usize, purpose: Purpose) -> Result<(), Error> {
        // Nobody cancels it.
        let (_keep, cancelled) = shutdown::channel();
        let Some(mut ready) = self.prepare(point, purpose, &cancelled)? else { return Ok(()) };
        let mut sinks = ready.take_sinks(Vec::new(), &[], Instant::now(), &self.registry);
        sinks.push(Box::new(Recorder(self.sender.clone())));
        let (running, gate) = ready.pipeline.go(sinks, Vec::new());
        drop(gate);
        self.running = Some(running);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        let deadline = running.deadline();
        running.stop(deadline);
        let (sinks, outcome) = running.take_sinks(Some(deadline));
        drop(sinks);
        Ok(running.finish(outcome, deadline)?)
    }
}

impl Load for Measured {
    fn start(&mut self, point: usize, mode: Mode) -> Result<(), measure::Error> {
        let purpose = match mode {
            Mode::Capture => Purpose::Capture,
            Mode::Classify => Purpose::Classify,
        };
        self.begin(point, purpose).map_err(|error| measure::Error::Load(Box::new(error)))
    }

    fn stop(&mut self) -> Result<(), measure::Error> {
        self.end().map_err(|error| measure::Error::Load(Box::new(error)))
    }

    fn inferences(&self) -> &Receiver<Inference> {
        &self.inferences
    }

    fn ended(&self) -> Receiver<Infallible> {
        self.running.as_ref().map_or_else(never, Running::done)
    }
}

/// Notes the inferences.
struct Recorder(Sender<Inference>);

impl Sink for Recorder {
    fn name(&self) -> &'static str {
        "measurement"
    }

    fn adopt(&mut self, _: Unsent) {}

    fn take(&mut self, outgoing: &Outgoing) -> Result<(), publish::Error> {
        let Record::Result(result) = &outgoing.record else { return Ok(()) };
        // Those carried over are not the network's.
        if result.carried.is_some() {
            return Ok(());
        }
        let latency = result.latency_us;
        let inference = Inference {
            at_ns: result.captured.monotonic_ns + latency.total * 1000,
            stream: result.stream.to_string(),
            seq: result.seq,
            captured_ns: result.captured.monotonic_ns,
            capture_us: latency.capture,
            queue_us: latency.queue,
            preprocess_us: latency.preprocess,
            infer_us: latency.infer,
            total_us: latency.total,
            top: result.top.first().map_or(0, |best| best.index),
        };
        if self.0.try_send(inference).is_err() {
            tracing::warn!("the measurement cannot keep up: an inference is not recorded");
        }
        Ok(())
    }

    fn close(self: Box<Self>, _: Instant) -> Result<(), publish::Error> {
        Ok(())
    }
}
