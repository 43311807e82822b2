//! The process as a service: signals in, state out to systemd, and a running pipeline between.
//!
//! SIGTERM and SIGINT stop the sources and drain what is in flight; a second one ends the process at
//! once. Under systemd (`Type=notify`) READY, STATUS and STOPPING are told through `$NOTIFY_SOCKET`
//! (sd_notify(3)); elsewhere that does nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, bounded, never, select, tick};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::chain;
use crate::pipeline::{self, Running};
use crate::shutdown;

/// Time between two STATUS texts.
const STATUS_PERIOD: Duration = Duration::from_secs(5);
/// What the exit code of a process ended by a signal is above the signal's number.
const SIGNAL_EXIT: i32 = 128;

/// The signals that stop the process.
pub struct StopSignals {
    signals: Receiver<i32>,
}

impl StopSignals {
    /// Takes over SIGTERM and SIGINT: the first is delivered here, the second ends the process.
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
        let mut caught = Signals::new([SIGTERM, SIGINT])?;
        let (sender, signals) = bounded(1);
        shutdown::spawn("signals", move || {
            for signal in caught.forever() {
                if sender.try_send(signal).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { signals })
    }
}

/// Sees a pipeline through to its end: until its sources end, a part of it fails, or a signal comes.
///
/// # Errors
/// A part failed. Work that a stop had to abandon is a warning.
pub fn supervise(mut running: Running, signals: &StopSignals, stop_timeout: Duration) -> Result<(), pipeline::Error> {
    tell(&[NotifyState::Ready]);
    let status = tick(STATUS_PERIOD);
    let mut failures = running.failures().clone();
    let mut overdue = never();
    let mut deadline = None;
    let mut by_signal = false;
    let mut before = 0;
    loop {
        select! {
            recv(running.done()) -> _ => break,
            recv(signals.signals) -> signal => {
                let Ok(signal) = signal else { continue };
                tracing::info!(signal, "stopping");
                by_signal = true;
                (deadline, overdue) = stop(&mut running, stop_timeout);
            }
            recv(failures) -> failure => {
                failures = never();
                if failure.is_ok() {
                    (deadline, overdue) = stop(&mut running, stop_timeout);
                }
            }
            recv(overdue) -> _ => break,
            recv(status) -> _ => before = report(&running, before),
        }
    }
    tell(&[NotifyState::Stopping]);
    match running.finish(deadline) {
        Err(error) if by_signal && error.is_abandoned_work() => {
            tracing::warn!("stopped without finishing: {}", chain(&error));
            Ok(())
        }
        outcome => outcome,
    }
}

fn stop(running: &mut Running, stop_timeout: Duration) -> (Option<Instant>, Receiver<Instant>) {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
    running.stop();
    (Some(Instant::now() + stop_timeout), after(stop_timeout))
}

/// Tells systemd the state of the streams; returns the number of results so far.
fn report(running: &Running, before: u64) -> u64 {
    let (mut streams, mut classified, mut dropped) = (0, 0, 0);
    for (_, counts) in running.counts() {
        streams += 1;
        classified += counts.classified;
        dropped += counts.dropped;
    }
    #[allow(clippy::cast_precision_loss, reason = "results of five seconds")]
    let rate = (classified - before) as f64 / STATUS_PERIOD.as_secs_f64();
    let text = format!("{streams} streams, {rate:.1} results/s, {classified} results, {dropped} frames dropped");
    tracing::debug!("{text}");
    tell(&[NotifyState::Status(&text)]);
    classified
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("cannot notify systemd: {error}");
    }
}
