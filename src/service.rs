//! The process as a service: signals in, state out to systemd, and a running pipeline between.
//!
//! SIGTERM and SIGINT stop the sources and drain what is in flight; a second one ends the process at
//! once. SIGHUP reads the configuration again. Under systemd (`Type=notify`) READY, RELOADING, STATUS, STOPPING and
//! WATCHDOG are told through `$NOTIFY_SOCKET` (sd_notify(3)); elsewhere that does nothing.
//!
//! The watchdog is fed while every thread goes on: an inference thread that waits for frames does, and so does the
//! thread of a camera that is away and opened again and again. It is not fed when one has been at the same piece of
//! work for the whole of `WatchdogSec=`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, bounded, never, select, tick};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator;

use crate::exit::chain;
use crate::pipeline::{self, Running};
use crate::shutdown;
use crate::telemetry::StreamCounts;

/// Time between two STATUS texts.
const STATUS_PERIOD: Duration = Duration::from_secs(5);
/// Signs of life within the time after which systemd misses them.
const BEATS: u32 = 3;
/// Signals that may wait to be seen.
const SIGNALS: usize = 4;
/// What the exit code of a process ended by a signal is above the signal's number.
const SIGNAL_EXIT: i32 = 128;

/// The signals that the process understands.
pub struct Signals {
    signals: Receiver<i32>,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT and SIGHUP: they are delivered here, but the second of the first two ends the process.
    ///
    /// # Errors
    /// The system refuses the handlers or the thread.
    pub fn install() -> io::Result<Self> {
        let armed = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the handler that ends the process runs first and sees the flag of an
            // earlier signal only.
            signal_hook::flag::register_conditional_shutdown(signal, SIGNAL_EXIT + signal, Arc::clone(&armed))?;
            signal_hook::flag::register(signal, Arc::clone(&armed))?;
        }
        let mut caught = iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let (sender, signals) = bounded(SIGNALS);
        shutdown::spawn("signals", move || {
            for signal in caught.forever() {
                // A full queue holds one like it already, or the process is stopping.
                let _ = sender.try_send(signal);
            }
        })?;
        Ok(Self { signals })
    }
}

/// How a pipeline came to its end.
#[derive(Debug)]
pub enum Ended<T> {
    /// Its sources ended, or it was stopped.
    Done,
    /// It made way for what a reload gave.
    Reloaded(T),
}

/// Sees a pipeline through to its end: until its sources end, a part of it fails, or a signal comes. On SIGHUP, `reload`
/// says what is to run from now on; nothing when the pipeline is to go on as it is.
///
/// # Errors
/// A part failed. Work that a stop had to abandon is a warning.
pub fn supervise<T>(
    mut running: Running,
    signals: &Signals,
    stop_timeout: Duration,
    mut reload: impl FnMut() -> Option<T>,
) -> Result<Ended<T>, pipeline::Error> {
    tell(&[NotifyState::Ready, NotifyState::Watchdog]);
    let status = tick(STATUS_PERIOD);
    let limit = sd_notify::watchdog_enabled();
    let watchdog = limit.map_or_else(never, |limit| tick(limit / BEATS));
    let mut failures = running.failures().clone();
    let mut overdue = never();
    let mut deadline = None;
    let (mut by_signal, mut reloaded) = (false, None);
    let mut before = Vec::new();
    loop {
        select! {
            recv(running.done()) -> _ => break,
            recv(signals.signals) -> signal => match signal {
                Ok(SIGHUP) if deadline.is_none() => {
                    reloaded = reread(&mut reload);
                    if reloaded.is_some() {
                        (deadline, overdue) = stop(&mut running, stop_timeout);
                    }
                }
                Ok(signal @ (SIGTERM | SIGINT)) => {
                    tracing::info!(signal, "stopping");
                    (by_signal, reloaded) = (true, None);
                    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
                    (deadline, overdue) = stop(&mut running, stop_timeout);
                }
                _ => {}
            },
            recv(failures) -> failure => {
                failures = never();
                if failure.is_ok() {
                    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
                    (deadline, overdue) = stop(&mut running, stop_timeout);
                }
            }
            recv(overdue) -> _ => break,
            recv(status) -> _ => report(&running, &mut before),
            recv(watchdog) -> _ => beat(&running, limit.unwrap_or_default()),
        }
    }
    tell(&[if reloaded.is_none() { NotifyState::Stopping } else { NotifyState::Watchdog }]);
    match (running.finish(deadline), reloaded) {
        (Err(error), Some(next)) => {
            tracing::warn!("before the reload: {}", chain(&error));
            Ok(Ended::Reloaded(next))
        }
        (Ok(()), Some(next)) => Ok(Ended::Reloaded(next)),
        (Err(error), None) if by_signal && error.is_abandoned_work() => {
            tracing::warn!("stopped without finishing: {}", chain(&error));
            Ok(Ended::Done)
        }
        (outcome, None) => outcome.map(|()| Ended::Done),
    }
}

/// Reads the configuration again and tells systemd so; READY follows here unless there is something new to run.
fn reread<T>(reload: &mut impl FnMut() -> Option<T>) -> Option<T> {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Watchdog]),
        Err(_) => tell(&[NotifyState::Reloading, NotifyState::Watchdog]),
    }
    let reloaded = reload();
    // Loading a model and starting a pipeline are steps of their own, each as long as the watchdog waits at most.
    match reloaded {
        Some(_) => tell(&[NotifyState::Watchdog]),
        None => tell(&[NotifyState::Ready, NotifyState::Watchdog]),
    }
    reloaded
}

fn stop(running: &mut Running, stop_timeout: Duration) -> (Option<Instant>, Receiver<Instant>) {
    running.stop();
    (Some(Instant::now() + stop_timeout), after(stop_timeout))
}

/// Feeds the watchdog, unless a thread has made no progress for `limit`.
fn beat(running: &Running, limit: Duration) {
    match running.stuck(limit) {
        None => tell(&[NotifyState::Watchdog]),
        Some((thread, age)) => {
            let age_s = age.as_secs_f64();
            tracing::error!(thread, age_s, "a thread makes no progress: the watchdog is not fed any more");
        }
    }
}

/// Tells systemd the state of every stream; `before` has the results of each at the last time.
fn report(running: &Running, before: &mut Vec<u64>) {
    let (mut text, mut classified, mut dropped) = (String::new(), 0, 0);
    for (index, (stream, counts)) in running.counts().enumerate() {
        if before.len() <= index {
            before.push(0);
        }
        #[allow(clippy::cast_precision_loss, reason = "results of five seconds")]
        let rate = (counts.classified - before[index]) as f64 / STATUS_PERIOD.as_secs_f64();
        before[index] = counts.classified;
        let state = match counts {
            StreamCounts { online: true, .. } => format!("{rate:.1} results/s"),
            StreamCounts { retries: 0, .. } => "starting".to_owned(),
            _ => "source down, retrying".to_owned(),
        };
        text += &format!("{stream}: {state}; ");
        classified += counts.classified;
        dropped += counts.dropped;
    }
    text += &format!("{classified} results, {dropped} frames dropped");
    tracing::debug!("{text}");
    tell(&[NotifyState::Status(&text)]);
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("cannot notify systemd: {error}");
    }
}
