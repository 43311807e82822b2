//! What systemd is told through `$NOTIFY_SOCKET` (sd_notify(3)); without it, nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::pipeline::Running;
use crate::telemetry::StreamCounts;

/// Time between two STATUS texts.
pub(super) const STATUS_PERIOD: Duration = Duration::from_secs(5);

/// The service is started, or has read its configuration again.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Watchdog]);
}

/// The configuration is read again; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Watchdog]),
        Err(_) => tell(&[NotifyState::Reloading, NotifyState::Watchdog]),
    }
}

/// The service stops.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Watchdog interval of the service manager; `None` if there is none.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Feeds the watchdog, unless a thread has made no progress for `limit`.
pub(super) fn beat(running: &Running, limit: Duration) {
    match running.stuck(limit) {
        None => tell(&[NotifyState::Watchdog]),
        Some((thread, age)) => {
            let age_s = age.as_secs_f64();
            tracing::error!(thread, age_s, "a thread makes no progress: the watchdog is not fed any more");
        }
    }
}

/// Tells the state of every stream; `before` has the results of each at the last time.
pub(super) fn status(running: &Running, before: &mut Vec<u64>) {
    let (mut text, mut classified, mut dropped) = (String::new(), 0, 0);
    for (index, (stream, counts)) in running.counts().enumerate() {
        if before.len() <= index {
            before.push(0);
        }
        #[allow(clippy::cast_precision_loss, reason = "results of five seconds")]
        let rate = (counts.classified - before[index]) as f64 / STATUS_PERIOD.as_secs_f64();
        before[index] = counts.classified;
        text += &format!("{stream}: {}; ", state(counts, rate));
        classified += counts.classified;
        dropped += counts.dropped;
    }
    text += &format!("{classified} results, {dropped} frames dropped");
    tracing::debug!("{text}");
    tell(&[NotifyState::Status(&text)]);
}

/// What a stream does, with its results per second.
fn state(counts: StreamCounts, rate: f64) -> String {
    match counts {
        StreamCounts { ended: true, .. } => "source ended".to_owned(),
        StreamCounts { online: true, .. } => format!("{rate:.1} results/s"),
        StreamCounts { retries: 0, .. } => "starting".to_owned(),
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
        let counts = StreamCounts::default();
        assert_eq!(state(counts, 0.0), "starting");
        assert_eq!(state(StreamCounts { ended: true, ..counts }, 0.0), "source ended");
        assert_eq!(state(StreamCounts { retries: 2, ..counts }, 0.0), "source down, retrying");
        let online = StreamCounts { online: true, retries: 2, ..counts };
        assert_eq!(state(online, 2.5), "2.5 results/s");
        assert_eq!(state(StreamCounts { ended: true, ..online }, 0.0), "source ended");
    }
}
