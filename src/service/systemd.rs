//! Notifications to systemd through `$NOTIFY_SOCKET` (sd_notify(3)); without it, they do nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::pipeline::Running;
use crate::plural::counted;
use crate::telemetry::{FrameCounts, Registry, StreamStatus};

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
    for (stream, status) in running.statuses() {
        let counts = registry.totals(stream).read();
        let results = counts.classified + counts.carried;
        let before = seen.results.insert(Arc::clone(stream), results).unwrap_or(0);
        #[allow(clippy::cast_precision_loss, reason = "results of a few seconds")]
        let rate = results.saturating_sub(before) as f64 / elapsed_s;
        text += &format!("{stream}: {}; ", state(status, rate));
    }
    let sum = registry.sum();
    let results = counted(sum.classified + sum.carried, "result", "results");
    text += &format!("{results}, {} dropped", counted(sum.dropped, "frame", "frames"));
    if sum.carried > 0 {
        text += &format!(", {} carried over", sum.carried);
    }
    if sum.left_out > 0 {
        text += &format!(", {} left out", sum.left_out);
    }
    tracing::debug!("{text}");
    tell(&[NotifyState::Status(&text)]);
}

/// The state of a stream, with its results per second.
fn state(status: StreamStatus, rate: f64) -> String {
    match status {
        StreamStatus { ended: true, .. } => "source ended".to_owned(),
        StreamStatus { online: true, .. } => format!("{rate:.1} results/s"),
        StreamStatus { waiting: true, .. } => "waiting for a key frame".to_owned(),
        StreamStatus { counts: FrameCounts { retries: 0, .. }, .. } => "starting".to_owned(),
        _ => "source down, retrying".to_owned(),
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
        let new = StreamStatus::default();
        let opened_again = StreamStatus { counts: FrameCounts { retries: 2, ..FrameCounts::default() }, ..new };
        assert_eq!(state(new, 0.0), "starting");
        assert_eq!(state(StreamStatus { ended: true, ..new }, 0.0), "source ended");
        assert_eq!(state(opened_again, 0.0), "source down, retrying");
        assert_eq!(state(StreamStatus { waiting: true, ..opened_again }, 0.0), "waiting for a key frame");
        let online = StreamStatus { online: true, ..opened_again };
        assert_eq!(state(online, 2.5), "2.5 results/s");
        assert_eq!(state(StreamStatus { ended: true, ..online }, 0.0), "source ended");
    }
}
