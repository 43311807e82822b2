//! Notifications to systemd through `$NOTIFY_SOCKET` (sd_notify(3)); without it, they do nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::pipeline::Running;
use crate::plural::counted;
use crate::record::StreamState;
use crate::telemetry::{Registry, StreamCounters};

/// Time between two STATUS texts.
pub(super) const STATUS_PERIOD: Duration = Duration::from_secs(5);

/// The service has started or reloaded its configuration.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Watchdog]);
}

/// The configuration is being reloaded; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Watchdog]),
        Err(_) => tell(&[NotifyState::Reloading, NotifyState::Watchdog]),
    }
}

/// The service is stopping.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// The service manager's watchdog interval; `None` if there is none.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Feeds the watchdog, unless a thread has made no progress for `limit`.
pub(super) fn beat(running: &Running, limit: Duration) {
    match running.stuck(limit) {
        None => tell(&[NotifyState::Watchdog]),
        Some((thread, age)) => {
            let age_s = age.as_secs_f64();
            tracing::error!(thread, age_s, "a thread makes no progress: the watchdog is no longer fed");
        }
    }
}

/// The latest status: when it was, and the results of each stream.
#[derive(Debug)]
pub(super) struct Seen {
    at: Instant,
    results: BTreeMap<Arc<str>, u64>,
}

impl Seen {
    /// No status yet.
    pub(super) fn new() -> Self {
        Self { at: Instant::now(), results: BTreeMap::new() }
    }
}

/// Sends the state of every stream. Totals are those of the process.
pub(super) fn status(running: &Running, registry: &Registry, seen: &mut Seen) {
    let mut text = String::new();
    let elapsed_s = seen.at.elapsed().as_secs_f64();
    seen.at = Instant::now();
    for (stream, counters) in running.statuses() {
        let classified = registry.totals(stream).read().classified;
        let before = seen.results.insert(Arc::clone(stream), classified).unwrap_or(0);
        #[allow(clippy::cast_precision_loss, reason = "results of a few seconds")]
        let rate = classified.saturating_sub(before) as f64 / elapsed_s;
        text += &format!("{stream}: {}; ", state(counters, rate));
    }
    let sum = registry.sum();
    let (results, frames) = (counted(sum.classified, "result", "results"), counted(sum.dropped, "frame", "frames"));
    text += &format!("{results}, {frames} dropped");
    if sum.left_out > 0 {
        text += &format!(", {} left out", sum.left_out);
    }
    tracing::debug!("{text}");
    tell(&[NotifyState::Status(&text)]);
}

/// The state of a stream, with its results per second.
fn state(counters: &StreamCounters, rate: f64) -> String {
    match counters.state() {
        _ if counters.has_ended() => "source ended".to_owned(),
        StreamState::Online => format!("{rate:.1} results/s"),
        StreamState::Stalled => "stalled, no frames".to_owned(),
        StreamState::Waiting => "waiting for a key frame".to_owned(),
        StreamState::Starting => "starting".to_owned(),
        StreamState::Retrying => "source down, retrying".to_owned(),
        StreamState::Offline => "source ended".to_owned(),
    }
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("cannot notify systemd: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_a_stream_that_starts_from_one_that_has_ended() {
        let counters = StreamCounters::default();
        assert_eq!(state(&counters, 0.0), "starting");
        for (of, text) in [
            (StreamState::Retrying, "source down, retrying"),
            (StreamState::Waiting, "waiting for a key frame"),
            (StreamState::Online, "2.5 results/s"),
            (StreamState::Stalled, "stalled, no frames"),
            (StreamState::Offline, "source ended"),
        ] {
            counters.set_state(of);
            assert_eq!(state(&counters, 2.5), text);
        }
        counters.set_state(StreamState::Online);
        counters.end();
        assert_eq!(state(&counters, 0.0), "source ended");
    }
}
