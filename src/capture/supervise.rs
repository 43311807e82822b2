//! Runs a source from start to end, reopens a lost camera, and distinguishes a silent source from a slow consumer.
//!
//! [`Attempt`], [`Limits`](super::Limits) and [`Backoff`] decide, with time passed in as arguments; [`Supervisor`] waits and
//! acts.

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::never;

use super::backoff::Backoff;
use super::player::{Activity, Clock, Event, Notice, Player, Session, SystemClock};
use super::reaper::{self, Left, MOST_ABANDONED};
use super::scheme::{Carrier, Medium, images};
use super::{Deliver, Error, Flow, LeftOut, Progress, Report, Settings, gst};
use crate::choice::AtEnd;
use crate::exit::Exit;
use crate::shutdown::Stopped;
use crate::telemetry::FrameNumbers;

/// Maximum time between two heartbeats of the thread: a quarter of the shortest limit, in whole seconds, that systemd
/// accepts.
pub(super) const BEAT: Duration = Duration::from_millis(250);
/// Maximum time, in [`BEAT`]s, to wait for the lookup of a camera's name after a failure.
const LOOKUP: u32 = 4;

/// Runs a source until it ends or `stopped` is set. Each frame goes to `deliver`, with a number from `numbers`. A
/// camera that fails is reopened repeatedly if its settings say so. `report` is informed at least every quarter of
/// a second, and ends the run when no more frames are wanted.
///
/// # Errors
/// If the source cannot be opened, fails, or is silent beyond its limits, and is not reopened.
pub fn run(
    settings: &Settings,
    numbers: &Arc<FrameNumbers>,
    stopped: &Stopped,
    deliver: &Deliver,
    report: &Report<'_>,
) -> Result<(), Error> {
    Supervisor { settings, numbers, stopped, deliver, report, player: &gst::Gstreamer::default(), clock: &SystemClock }
        .run()
}

/// Checks whether a source can be opened, as far as possible without opening it: whether the file or folder exists and
/// is readable, and whether the elements of its pipeline are installed.
///
/// # Errors
/// The errors of [`run`] that occur before the first frame.
pub fn check(settings: &Settings) -> Result<(), Error> {
    settings.source.open()?;
    settings.launch.as_ref().map_or(Ok(()), gst::check)
}

/// Waits and acts for one source.
struct Supervisor<'a> {
    settings: &'a Settings,
    numbers: &'a Arc<FrameNumbers>,
    stopped: &'a Stopped,
    deliver: &'a Deliver,
    report: &'a Report<'a>,
    player: &'a dyn Player,
    clock: &'a dyn Clock,
}

impl Supervisor<'_> {
    fn run(&self) -> Result<(), Error> {
        let mut backoff = Backoff::new(self.settings.waits);
        let begin = self.numbers.next();
        let mut is_first = true;
        loop {
            if self.wait_for_earlier().is_break() {
                return Ok(());
            }
            let first = self.numbers.next();
            let outcome = self.run_once(std::mem::take(&mut is_first));
            let next = self.numbers.next();
            let (error, had_frames) = match outcome {
                Ok(Outcome::Stopped) => return Ok(()),
                Ok(Outcome::Ended { frames }) => match self.settings.at_end {
                    AtEnd::Loop if frames > 0 => continue,
                    AtEnd::Loop | AtEnd::Retry if !self.settings.waits.are_none() => {
                        (Error::Over { frames }, frames > 0)
                    }
                    _ => return Ok(()),
                },
                Err(error) => {
                    let error = if next > first { error } else { self.explained(error) };
                    if !is_opened_again(self.settings, &error, next > begin) {
                        return Err(error);
                    }
                    (error, next > first)
                }
            };
            let wait = backoff.next(&error, had_frames, self.clock.chance());
            if (self.report)(Progress::Retrying { error: &error, wait, next }).is_break() || self.pause(wait) {
                return Ok(());
            }
        }
    }

    /// Waits for earlier pipelines of the source: for each as long as it may take to shut down, and for as many as there are
    /// too many. Breaks if no more frames are wanted meanwhile.
    fn wait_for_earlier(&self) -> ControlFlow<()> {
        let stream = &self.settings.stream;
        let (mut is_told, mut is_hindered) = (false, false);
        loop {
            let Left { closing, abandoned, new } = reaper::look(self.settings, self.clock.now_ns());
            if new > 0 {
                (self.report)(Progress::Abandoned { pipelines: new as u64 })?;
            }
            if abandoned >= MOST_ABANDONED {
                if !std::mem::replace(&mut is_hindered, true) {
                    (self.report)(Progress::Hindered(&Error::Stuck { pipelines: abandoned }))?;
                }
            } else if closing == 0 {
                return ControlFlow::Continue(());
            } else if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(%stream, "waiting for the previous connection to this camera to close");
            }
            if self.pause(BEAT) {
                return ControlFlow::Break(());
            }
        }
    }

    /// Replaces the error of a camera that could not be connected to with [`Error::UnknownHost`] if its name turns out to
    /// be unknown in time.
    fn explained(&self, error: Error) -> Error {
        let endpoint = self.settings.launch.as_ref().and_then(|launch| launch.endpoint.as_ref());
        let (Some(endpoint), Error::Failed { exit: Exit::Unavailable, .. }) = (endpoint, &error) else { return error };
        let Some(lookup) = self.player.look_up(&endpoint.host) else { return error };
        for _ in 0..LOOKUP {
            if (self.report)(Progress::Watching).is_break() || self.stopped.is_set() {
                break;
            }
            if self.clock.wait_for_end(lookup.done(), BEAT) {
                return match lookup.join(None) {
                    Ok(Err(source)) => Error::UnknownHost { host: endpoint.host.clone(), source },
                    _ => error,
                };
            }
        }
        error
    }

    /// Waits; true if no more frames are wanted meanwhile.
    fn pause(&self, wait: Duration) -> bool {
        let until = self.clock.now_ns().saturating_add(nanoseconds(wait));
        loop {
            let left = Duration::from_nanos(until.saturating_sub(self.clock.now_ns()));
            if left.is_zero() {
                return false;
            }
            if matches!(self.clock.wait(self.stopped, &never(), left.min(BEAT)), Event::Stop) {
                return true;
            }
            if (self.report)(Progress::Watching).is_break() {
                return true;
            }
        }
    }

    /// Runs one attempt, which may be the first. After it has ended, it issues no more numbers.
    fn run_once(&self, is_first: bool) -> Result<Outcome, Error> {
        let Self { settings, stopped, deliver, report, .. } = *self;
        let ticket = self.numbers.begin();
        let end = match settings.source.open()? {
            Medium::Pictures(paths) => {
                let source = images::Pictures { stream: &settings.stream, paths, is_first };
                return Ok(match source.play(&ticket, stopped, deliver, report) {
                    ControlFlow::Break(()) => Outcome::Stopped,
                    ControlFlow::Continue(frames) => Outcome::Ended { frames },
                });
            }
            Medium::Pipeline(end) => end,
        };
        let launch = settings.launch();
        let launch = launch.ok_or_else(|| Error::Unusable { message: "the source has no pipeline".into() })?;
        if report(Progress::Watching).is_break() {
            return Ok(Outcome::Stopped);
        }
        let session = self.player.start(&settings.stream, &launch, ticket.clone(), Arc::clone(deliver))?;
        let mut told = LeftOut::default();
        let outcome = match self.watch(&*session, &mut told) {
            Decision::End => match (session.activity().frames(), session.activity().left_out().lost()) {
                (0, left_out @ 1..) => Err(Error::NoKeyFrame { seconds: None, left_out }),
                (frames, _) => end(frames).map(|()| Outcome::Ended { frames }),
            },
            Decision::Fail(error) => Err(error),
            Decision::Continue | Decision::Stop => Ok(Outcome::Stopped),
        };
        // A frame that is decoded while the session shuts down belongs to no attempt.
        ticket.end();
        let _ = self.tell_left_out(session.activity(), &mut told);
        reaper::take_down(settings, session, stopped, self.clock, report);
        outcome
    }

    /// Reports the frames that have been left out since `told`.
    fn tell_left_out(&self, activity: &Activity, told: &mut LeftOut) -> ControlFlow<()> {
        let (left_out, before) = (activity.left_out(), *told);
        *told = left_out;
        if left_out == before {
            return ControlFlow::Continue(());
        }
        let (stream, LeftOut { before_key_frame, damaged, late, .. }) = (&self.settings.stream, left_out);
        // The camera decides how many there are.
        let has_grown = |now: u64, then: u64| now.checked_ilog2() != then.checked_ilog2();
        if has_grown(damaged + late, before.damaged + before.late) {
            tracing::warn!(%stream, damaged, late, "frames are left out: damaged, or decoded too late; each time up to the next frame that needs no other");
        } else if has_grown(before_key_frame, before.before_key_frame) {
            tracing::debug!(%stream, before_key_frame, "frames are left out until there is a key frame");
        }
        (self.report)(Progress::LeftOut(left_out - before))
    }

    /// Watches a running pipeline until a decision is made.
    fn watch(&self, session: &dyn Session, told: &mut LeftOut) -> Decision {
        let mut attempt = Attempt::new(self.settings);
        let period = nanoseconds(attempt.period());
        let mut due = self.clock.now_ns().saturating_add(period);
        loop {
            // Checks are due on time, however many notices arrive.
            let now = self.clock.now_ns();
            let event = match due.checked_sub(now) {
                None | Some(0) => Event::Time,
                Some(left) => self.clock.wait(self.stopped, session.notices(), Duration::from_nanos(left)),
            };
            let decision = match event {
                Event::Stop => Decision::Stop,
                Event::Notice(notice) => attempt.notice(notice, session.activity(), self.stopped.is_set()),
                Event::Time => {
                    let now = self.clock.now_ns();
                    due = now.saturating_add(period);
                    let activity = session.activity();
                    let playing = activity.flow(now, self.numbers.next());
                    let flow = (self.report)(Progress::Playing(playing));
                    match (flow, self.tell_left_out(activity, told)) {
                        (ControlFlow::Continue(()), ControlFlow::Continue(())) => attempt.tick(playing, session),
                        _ => Decision::Stop,
                    }
                }
            };
            if !matches!(decision, Decision::Continue) {
                return decision;
            }
        }
    }
}

/// How an attempt ended that has not failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// No more frames are wanted.
    Stopped,
    /// The source has no more.
    Ended {
        /// Frames that it has delivered.
        frames: u64,
    },
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether a failed source is reopened, unless its settings or the failure rule it out: cameras are, and files that are to be
/// read again.
fn is_opened_again(settings: &Settings, error: &Error, had_frames: bool) -> bool {
    let is_retryable = match (settings.source.carrier(), settings.at_end) {
        // Anybody can send packets that look like another coding.
        (Carrier::Packets, _) => error.is_retryable(true),
        _ if settings.source.is_camera() => error.is_retryable(had_frames),
        (_, AtEnd::Retry) => error.is_of_file(),
        (_, AtEnd::Loop) => had_frames && error.is_of_file(),
        (_, AtEnd::Stop) => false,
    };
    is_retryable && !settings.waits.are_none()
}

/// The decision about an attempt.
#[derive(Debug)]
enum Decision {
    /// Keep watching.
    Continue,
    /// The consumer wants no more frames.
    Stop,
    /// The pipeline has ended; the scheme judges whether that is right.
    End,
    /// It has failed.
    Fail(Error),
}

/// The rules for one attempt.
#[derive(Debug)]
struct Attempt<'a> {
    settings: &'a Settings,
    /// Consecutive checks that found the pipeline at rest.
    at_rest: u32,
    warnings: u64,
}

impl<'a> Attempt<'a> {
    fn new(settings: &'a Settings) -> Self {
        Self { settings, at_rest: 0, warnings: 0 }
    }

    /// Time between two checks.
    fn period(&self) -> Duration {
        let limits = &self.settings.limits;
        (limits.start.min(limits.stall) / 4).clamp(Duration::from_millis(10), BEAT)
    }

    fn notice(&mut self, notice: Notice, activity: &Activity, stopped: bool) -> Decision {
        let stream = &self.settings.stream;
        match notice {
            Notice::Failed(_) | Notice::End if stopped || activity.is_refused() => return Decision::Stop,
            Notice::Failed(Error::MissingDecoder { what, .. }) if activity.frames() > 0 => {
                tracing::warn!(%stream, "no decoder for {what}; the video continues without it");
            }
            Notice::Failed(Error::OtherDecoder { element, media }) if activity.frames() > 0 => {
                tracing::warn!(%stream, "the decoder '{element}' does not take {media}; the video continues without it");
            }
            Notice::Failed(Error::Reference { what }) if activity.frames() > 0 => {
                tracing::warn!(%stream, "ignoring {what} in the stream; the video continues");
            }
            Notice::Failed(error) => return Decision::Fail(error),
            Notice::End => return Decision::End,
            Notice::Warning(message) => {
                self.warnings += 1;
                // The camera decides how many there are.
                if self.warnings.is_power_of_two() {
                    tracing::warn!(%stream, count = self.warnings, "{message}");
                }
            }
        }
        Decision::Continue
    }

    fn tick(&mut self, flow: Flow, session: &dyn Session) -> Decision {
        let activity = session.activity();
        if activity.is_flooded() {
            return Decision::Fail(Error::Flood);
        }
        let frames = activity.frames();
        let receives = self.settings.source.carrier() == Carrier::Packets;
        let (left_out, received) = (activity.left_out().sum(), if receives { activity.received() } else { 0 });
        if let Some(error) = self.settings.limits.exceeded(flow, frames, left_out, received) {
            return Decision::Fail(error);
        }
        let is_file = self.settings.source.carrier() == Carrier::File;
        let waits = frames == 0 && is_file && session.notices().is_empty();
        self.at_rest = if waits && session.is_at_rest() { self.at_rest + 1 } else { 0 };
        if self.at_rest == 2 { Decision::Fail(Error::Stopped) } else { Decision::Continue }
    }
}
