//! What is known of the running program, for the answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::metrics;
use crate::record::StreamState;
use crate::telemetry::{Registry, StreamCounters};

/// What the answers are made of. The service writes it, the server reads it.
#[derive(Debug)]
pub struct Board {
    registry: Arc<Registry>,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    device: Arc<str>,
    streams: Vec<(Arc<str>, Arc<StreamCounters>)>,
    limit: Duration,
    trouble: Option<String>,
}

impl Board {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, now: Mutex::default() }
    }

    /// From now on, `streams` run on the device called `device`, and a connection may last for `limit`.
    pub fn run(&self, device: &Arc<str>, streams: Vec<(Arc<str>, Arc<StreamCounters>)>, limit: Duration) {
        let mut now = self.lock();
        (now.device, now.streams, now.limit) = (Arc::clone(device), streams, limit);
    }

    /// Time limit of a connection.
    pub(super) fn limit(&self) -> Duration {
        self.lock().limit
    }

    /// What keeps the program from making progress; `None` if nothing does.
    pub fn set_trouble(&self, trouble: Option<String>) {
        self.lock().trouble = trouble;
    }

    /// The metrics, in the text format of Prometheus.
    pub(super) fn metrics(&self) -> prometheus::Result<String> {
        let (device, streams) = {
            let now = self.lock();
            (Arc::clone(&now.device), now.streams.clone())
        };
        metrics::text(&self.registry, &device, &streams)
    }

    /// Whether every thread makes progress.
    pub(super) fn health(&self) -> Result<String, String> {
        match &self.lock().trouble {
            None => Ok("ok\n".into()),
            Some(trouble) => Err(format!("{trouble}\n")),
        }
    }

    /// Whether a stream delivers, with the states of all.
    pub(super) fn readiness(&self) -> Result<String, String> {
        let now = self.lock();
        let states: String =
            now.streams.iter().map(|(name, counters)| format!("{name} {}\n", counters.state().name())).collect();
        let is_ready = now.streams.iter().any(|(_, counters)| counters.state() == StreamState::Online);
        if is_ready { Ok(states) } else { Err(states) }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_ready_while_a_stream_is_online_and_healthy_without_trouble() {
        let board = Board::new(Arc::new(Registry::new()));
        assert_eq!(board.readiness(), Err(String::new()));
        let streams = ["door", "yard"].map(|name| (Arc::from(name), Arc::<StreamCounters>::default()));
        board.run(&"pi".into(), streams.to_vec(), Duration::from_secs(1));
        assert_eq!(board.readiness(), Err("door starting\nyard starting\n".into()));
        streams[1].1.set_state(StreamState::Online);
        streams[0].1.set_state(StreamState::Retrying);
        assert_eq!(board.readiness(), Ok("door retrying\nyard online\n".into()));
        assert_eq!(board.health(), Ok("ok\n".into()));
        board.set_trouble(Some("infer-0 makes no progress".into()));
        assert_eq!(board.health(), Err("infer-0 makes no progress\n".into()));
    }
}
