//! The process as a service: signals in, status out to systemd, and a running pipeline in between.
//!
//! SIGTERM and SIGINT stop the sources and drain the work in flight; a second one ends the process at once. SIGHUP
//! reloads the configuration: everything that can fail is prepared on a separate thread while the old pipeline runs,
//! and the new pipeline replaces the old one only when it is ready. Until then, and after any failure, the old
//! configuration stays in force. The sources of streams that have not changed go on. Under systemd (`Type=notify`),
//! READY, RELOADING, STATUS, STOPPING and WATCHDOG are sent to `$NOTIFY_SOCKET` (sd_notify(3)).
//!
//! The watchdog is fed while every thread of the running pipeline makes progress. That includes an inference thread
//! that waits for frames, and the thread of an absent camera that is being reopened. It is not fed once a thread has
//! been busy with the same piece of work for the whole of `WatchdogSec=`.

mod files;
mod measured;
mod models;
mod preparation;
mod setup;
mod signals;
mod systemd;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, at, never, select, tick};

use crate::exit::{Exit, chain};
use crate::http::{Board, Listener, Server};
use crate::pipeline::{self, KeptSource, Running, Sinks};
use crate::shutdown::JoinError;
use crate::telemetry::Registry;
use crate::{capture, config, http, inference, model, publish};
pub use measured::Measured;
use preparation::{Cancelled, Outcome, Preparation};
use setup::{Current, Ready, Setup};
pub use setup::{Order, Purpose};
use signals::Signal;
pub use signals::Signals;
use systemd::Seen;

/// Heartbeats within the watchdog interval.
const BEATS: u32 = 3;
/// A stop has at least this part of its time, one divided by it, once the switch of a reload has ended.
const LEAST_SHARE: u32 = 4;
/// Maximum time that a stop waits for a start in progress.
const LEAVE_START: Duration = Duration::from_millis(1500);

/// Why the service did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// A reload would replace all streams by the test pattern.
    #[error("the configuration lists no [[stream]] any more; to go on without cameras, restart the service")]
    NoStreams,
    /// A stream cannot be opened.
    #[error("stream `{stream}`")]
    Stream {
        /// Name of the stream.
        stream: String,
        /// What is wrong.
        source: capture::Error,
    },
    /// The model of a stream cannot be loaded.
    #[error("the model of stream `{stream}`")]
    StreamModel {
        /// Name of the stream.
        stream: String,
        /// What is wrong.
        source: Box<model::Error>,
    },
    /// GStreamer cannot be used.
    #[error(transparent)]
    Capture(#[from] capture::Error),
    /// The model cannot be loaded.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// A sink cannot be opened.
    #[error(transparent)]
    Publish(#[from] publish::Error),
    /// HTTP requests cannot be answered.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The pipeline failed.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    /// The thread that prepares a configuration cannot be started.
    #[error("cannot start the thread `prepare`")]
    Thread(#[source] io::Error),
    /// The preparation panicked.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The preparation was cancelled.
    #[error("the reload was cancelled")]
    Cancelled,
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(error) => error.exit(),
            Self::NoStreams => Exit::Config,
            Self::Stream { source, .. } | Self::Capture(source) => source.exit(),
            Self::Model(error) => error.exit(),
            Self::StreamModel { source, .. } => source.exit(),
            Self::Publish(error) => error.exit(),
            Self::Http(error) => error.exit(),
            Self::Pipeline(error) => error.exit(),
            Self::Thread(_) => Exit::Unavailable,
            Self::Join(_) | Self::Cancelled => Exit::Internal,
        }
    }

    /// Whether the system refused a thread.
    fn is_lack_of_threads(&self) -> bool {
        matches!(self, Self::Thread(_) | Self::Publish(publish::Error::Thread(_)))
            || matches!(self, Self::Pipeline(pipeline::Error::Thread { .. }))
            || matches!(self, Self::Pipeline(pipeline::Error::Inference(inference::Error::Threads { .. })))
    }
}

/// Runs `order` until its sources end, a part of it fails, or a signal stops it.
///
/// # Errors
/// If the start fails, or an indispensable part fails. Work abandoned by a stop is only a warning.
pub fn run(signals: &Signals, order: Order) -> Result<(), Error> {
    let (order, registry) = (Arc::new(order), Arc::new(Registry::new()));
    let Some((mut ready, is_reload_due)) = start(signals, &order, &registry)? else { return Ok(()) };
    let sinks = ready.take_sinks(Sinks::new(), &[], Instant::now(), &registry);
    let (mut running, gate) = ready.pipeline.go(sinks, Vec::new());
    drop(gate);
    let setup = Arc::new(ready.setup);
    let board = Arc::new(Board::new(Arc::clone(&registry)));
    let (preparation, given_up, seen, server) = (None, None, Seen::new(), None);
    let mut service =
        Service { signals, order, registry, setup, is_reload_due, preparation, given_up, seen, board, server };
    service.answer(&running, ready.listener);
    loop {
        match service.supervise(running)? {
            Some(next) => running = next,
            None => return Ok(()),
        }
    }
}

/// Prepares the first configuration. Returns what is ready and whether a reload is due; `None` if a stop comes first.
fn start(signals: &Signals, order: &Arc<Order>, registry: &Arc<Registry>) -> Result<Option<(Box<Ready>, bool)>, Error> {
    let preparation = Preparation::start(order, registry, None)?;
    let mut is_reload_due = false;
    loop {
        select! {
            recv(preparation.done()) -> _ => break,
            recv(signals.received) -> signal => match signal {
                Ok(Signal::Reload) => is_reload_due = true,
                _ => {
                    tracing::info!("stopping before the start is complete");
                    systemd::stopping();
                    preparation.cancel().wait(Instant::now() + LEAVE_START);
                    return Ok(None);
                }
            }
        }
    }
    Ok(preparation.outcome()?.map(|ready| (ready, is_reload_due)))
}

/// The goal for the running pipeline.
enum Aim {
    Serve,
    /// To be replaced by what has been prepared.
    Switch(Box<Ready>),
    Stop {
        by_signal: bool,
    },
}

/// The service around the running pipeline.
struct Service<'a> {
    signals: &'a Signals,
    order: Arc<Order>,
    registry: Arc<Registry>,
    setup: Arc<Setup>,
    /// Whether a SIGHUP is pending.
    is_reload_due: bool,
    preparation: Option<(Preparation, Receiver<Instant>)>,
    given_up: Option<Cancelled>,
    /// What the latest status told.
    seen: Seen,
    /// What HTTP requests are answered from.
    board: Arc<Board>,
    /// Who answers them, if anybody does.
    server: Option<Server>,
}

impl Service<'_> {
    /// Runs a pipeline until it ends; returns its replacement, if any.
    fn supervise(&mut self, mut running: Running) -> Result<Option<Running>, Error> {
        systemd::ready();
        let status = tick(systemd::STATUS_PERIOD);
        let watchdog_limit = systemd::watchdog();
        let watchdog = watchdog_limit.map_or_else(never, |limit| tick(limit / BEATS));
        let stop_timeout = self.setup.config.device.stop_timeout();
        if let Some(limit) = watchdog_limit.filter(|limit| *limit <= stop_timeout + *limit / BEATS) {
            let (limit_s, stop_timeout_s) = (limit.as_secs_f64(), stop_timeout.as_secs_f64());
            tracing::warn!(
                limit_s,
                stop_timeout_s,
                "device.stop_timeout_s is too long for WatchdogSec=: systemd kills the service if a reload takes that long"
            );
        }
        let mut failures = running.failures().clone();
        let (mut aim, mut deadline, mut overdue) = (Aim::Serve, None, never());
        let (nothing_prepared, no_limit, nothing_given_up) = (never(), never(), never());
        loop {
            let mut stop = false;
            // One preparation at a time, even if it was given up.
            let may_prepare = self.preparation.is_none() && self.given_up.is_none();
            if matches!(aim, Aim::Serve) && self.is_reload_due && may_prepare {
                self.prepare(&running);
            }
            let (prepared, limit) = match &self.preparation {
                Some((preparation, limit)) => (preparation.done(), limit),
                None => (&nothing_prepared, &no_limit),
            };
            let given_up = self.given_up.as_ref().map_or(&nothing_given_up, Cancelled::done);
            select! {
                recv(running.done()) -> _ => break,
                recv(overdue) -> _ => break,
                recv(self.signals.received) -> signal => match signal {
                    Ok(Signal::Reload) if matches!(aim, Aim::Stop { .. }) => {}
                    Ok(Signal::Reload) => self.ask_for_reload(),
                    Ok(Signal::Stop(received)) => {
                        deadline.get_or_insert(end_of_stop(received, Instant::now(), stop_timeout));
                        (aim, stop) = (Aim::Stop { by_signal: true }, true);
                        tracing::info!("stopping");
                        systemd::stopping();
                    }
                    Err(_) => (aim, stop) = (Aim::Stop { by_signal: true }, true),
                },
                recv(failures) -> failure => {
                    failures = never();
                    if failure.is_ok() && matches!(aim, Aim::Serve) {
                        systemd::stopping();
                        (aim, stop) = (Aim::Stop { by_signal: false }, true);
                    }
                }
                recv(prepared) -> _ => {
                    if let Some(ready) = self.prepared() {
                        (aim, stop) = (Aim::Switch(ready), true);
                    }
                }
                recv(limit) -> _ => self.give_up(),
                recv(given_up) -> _ => self.given_up = None,
                recv(status) -> _ => {
                    systemd::status(&running, &self.registry, &mut self.seen);
                    let stuck = running.stuck(self.setup.config.http.stuck());
                    let trouble = |(thread, age): (&str, Duration)| {
                        format!("thread {thread} has made no progress for {:.0} s", age.as_secs_f64())
                    };
                    self.board.set_trouble(stuck.map(trouble));
                }
                recv(watchdog) -> _ => systemd::beat(&running, watchdog_limit.unwrap_or_default()),
            }
            if stop {
                if let Some((preparation, _)) = self.preparation.take() {
                    self.given_up = Some(preparation.cancel());
                }
                let end = *deadline.get_or_insert_with(|| Instant::now() + stop_timeout);
                match &aim {
                    Aim::Switch(ready) => running.hand_over(&ready.pipeline, &ready.unchanged),
                    Aim::Serve | Aim::Stop { .. } => running.stop(end),
                }
                overdue = at(end);
            }
        }
        match aim {
            Aim::Switch(ready) => Ok(Some(self.switch(running, *ready, deadline))),
            Aim::Serve => self.end(running, deadline, false).map(|()| None),
            Aim::Stop { by_signal } => self.end(running, deadline, by_signal).map(|()| None),
        }
    }

    /// Answers HTTP requests about `running` from now on; at a new address if `listener` is one.
    fn answer(&mut self, running: &Running, listener: Option<Listener>) {
        let http = &self.setup.config.http;
        self.board.run(&self.setup.device, running.streams(), http.timeout());
        let Some(address) = http.address() else {
            self.server = None;
            return;
        };
        let Some(listener) = listener else { return };
        self.server = None;
        match listener.serve(Arc::clone(&self.board)) {
            Ok(server) => {
                tracing::info!(%address, "answering HTTP requests");
                self.server = Some(server);
            }
            Err(error) => tracing::error!("{}", chain(&error)),
        }
    }

    /// Takes note of a SIGHUP.
    fn ask_for_reload(&mut self) {
        self.is_reload_due = true;
        if self.given_up.is_some() {
            tracing::warn!(
                "the last reload timed out and is still blocked; the configuration will be reloaded when it returns. Look \
                 for a file that does not respond (a network share?)"
            );
        }
    }

    /// Starts preparing the current configuration.
    fn prepare(&mut self, running: &Running) {
        self.is_reload_due = false;
        systemd::reloading();
        let current = Current { setup: Arc::clone(&self.setup), lost: running.lost_sinks() };
        match Preparation::start(&self.order, &self.registry, Some(current)) {
            Ok(preparation) => {
                self.preparation = Some((preparation, after(self.setup.config.device.reload_timeout())));
            }
            Err(error) => refuse(&error),
        }
    }

    /// Takes what has been prepared; `None` if the old configuration stays in force.
    fn prepared(&mut self) -> Option<Box<Ready>> {
        let (preparation, _) = self.preparation.take()?;
        let outcome: Outcome = preparation.outcome();
        match outcome {
            Ok(Some(ready)) => return Some(ready),
            Ok(None) => {
                tracing::info!("reloaded: the configuration is the same");
                systemd::ready();
            }
            Err(error) => refuse(&error),
        }
        None
    }

    fn give_up(&mut self) {
        if let Some((preparation, _)) = self.preparation.take() {
            self.given_up = Some(preparation.cancel());
            let limit_s = self.setup.config.device.reload_timeout_s;
            tracing::error!(
                limit_s,
                "the configuration is not reloaded, the old one stays in force: preparing the new one took longer than \
                 device.reload_timeout_s"
            );
            systemd::ready();
        }
    }

    /// Replaces a pipeline that hands over with what is `ready`. Streams that have not changed go on; sources that stop
    /// do so before new ones begin, since a camera may serve only one connection.
    fn switch(&mut self, mut old: Running, mut ready: Ready, deadline: Option<Instant>) -> Running {
        let deadline = deadline.unwrap_or_else(|| old.deadline());
        let (sinks, outcome) = old.take_sinks(Some(deadline));
        let kept = old.take_kept(deadline);
        let sinks = ready.take_sinks(sinks, &kept, deadline, &self.registry);
        let unchanged = kept.iter().flat_map(KeptSource::states).count();
        let (running, gate) = ready.pipeline.go(sinks, kept);
        if let Err(error) = old.finish(outcome, deadline) {
            tracing::warn!("while stopping the old configuration: {}", chain(&error));
        }
        drop(gate);
        let started = running.statuses().count() - unchanged;
        tracing::info!(unchanged, started, "reloaded: unchanged streams continue, the others are restarted");
        self.setup = Arc::new(ready.setup);
        self.answer(&running, ready.listener);
        running
    }

    /// Closes the sinks and waits for the threads.
    fn end(&mut self, mut running: Running, deadline: Option<Instant>, by_signal: bool) -> Result<(), Error> {
        systemd::stopping();
        let (sinks, mut outcome) = running.take_sinks(deadline);
        let deadline = deadline.unwrap_or_else(|| running.deadline());
        // In reverse order: standard output continues writing by itself meanwhile.
        for sink in sinks.into_iter().rev() {
            match (sink.close(deadline), &outcome) {
                (Err(error), Ok(())) => outcome = Err(error.into()),
                (Err(error), Err(_)) => tracing::error!("{}", chain(&error)),
                (Ok(()), _) => {}
            }
        }
        let ended = running.finish(outcome, deadline);
        if let Some(given_up) = self.given_up.take() {
            given_up.wait(deadline);
        }
        match ended {
            Err(error) if by_signal && error.is_abandoned_work() => {
                tracing::warn!("stopped without finishing: {}", chain(&error));
                Ok(())
            }
            // A stream that failed earlier did not end the service.
            Err(error) if by_signal && error.is_of_stream() => {
                tracing::warn!("{}", chain(&error));
                Ok(())
            }
            ended => Ok(ended?),
        }
    }
}

/// Reports that the old configuration stays in force.
fn refuse(error: &Error) {
    let hint = match error.is_lack_of_threads() {
        true => "; until the switch, the threads of both configurations exist: raise TasksMax= in the unit, or restart",
        false => "",
    };
    let text = chain(error);
    // A list has a line for each problem.
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    tracing::error!("the configuration is not reloaded, the old one stays in force: {first}{hint}");
    for line in lines {
        tracing::error!("{}", line.trim_start());
    }
    systemd::ready();
}

/// When a stop ends whose signal was `received`, and which begins `now`, because the switch of a reload kept it waiting. The
/// sinks have some time in any case.
fn end_of_stop(received: Instant, now: Instant, limit: Duration) -> Instant {
    (received + limit).max(now + limit / LEAST_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_that_a_switch_kept_waiting_has_what_is_left_and_a_quarter_at_least() {
        let (received, second) = (Instant::now(), Duration::from_secs(1));
        for (waited, end) in [(0, 4), (1, 4), (3, 4), (4, 5), (9, 10)] {
            assert_eq!(end_of_stop(received, received + waited * second, 4 * second), received + end * second);
        }
    }
}
