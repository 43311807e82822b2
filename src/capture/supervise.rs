//! Runs a source from its start to its end, opens a lost camera again, and tells a silent source from a slow consumer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{select, tick};

use super::gst::{Notice, PipelineSession};
use super::scheme::{Carrier, End, Medium, images};
use super::{Deliver, Error, Progress, Settings, gst, teardown};
use crate::shutdown::Stopped;
use crate::telemetry::FrameNumbers;

/// First wait before a camera that failed is opened again; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// Longest time between two heartbeats of the thread: a quarter of the shortest limit that systemd can be given in whole
/// seconds.
pub(super) const BEAT: Duration = Duration::from_millis(250);

/// Frames of one source until it ends or `stopped` is set; each goes to `deliver`, with a number of `numbers`. A camera
/// that fails is opened again and again where its settings say so; `report` is told of it.
///
/// # Errors
/// The source cannot be opened, fails, or is silent for longer than its limits allow, and is not opened again.
pub fn run(
    settings: &Settings,
    numbers: &Arc<FrameNumbers>,
    stopped: &Stopped,
    deliver: &Deliver,
    report: &dyn Fn(Progress<'_>),
) -> Result<(), Error> {
    let mut wait = FIRST_RETRY;
    loop {
        // One pipeline at a time, or a camera could gather them, over reloads too.
        while teardown::lingers(settings) {
            if stopped.wait(BEAT) {
                return Ok(());
            }
            report(Progress::Watching);
        }
        let first = numbers.next();
        let outcome = run_once(settings, numbers, stopped, deliver, report);
        let Err(error) = outcome else { return Ok(()) };
        if !settings.source.is_camera() || settings.retry_max.is_zero() || !error.is_retryable(numbers.next() > 0) {
            return Err(error);
        }
        let next = numbers.next();
        if next > first {
            wait = FIRST_RETRY;
        }
        wait = wait.min(settings.retry_max);
        report(Progress::Retrying { error: &error, wait, next });
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            if stopped.wait(left.min(BEAT)) {
                return Ok(());
            }
            report(Progress::Watching);
        }
        wait *= 2;
    }
}

/// Whether a source can be opened, as far as this can be told without opening it: a file or a folder is there and can be
/// read, and the elements of its pipeline are installed.
///
/// # Errors
/// Those of [`run`] that come before the first frame.
pub fn check(settings: &Settings) -> Result<(), Error> {
    settings.source.open()?;
    settings.launch.as_ref().map_or(Ok(()), gst::check)
}

/// One attempt. When it has ended, it gives out no more numbers.
fn run_once(
    settings: &Settings,
    numbers: &Arc<FrameNumbers>,
    stopped: &Stopped,
    deliver: &Deliver,
    report: &dyn Fn(Progress<'_>),
) -> Result<(), Error> {
    let ticket = numbers.begin();
    let end = match settings.source.open()? {
        Medium::Pictures { folder, paths } => {
            return images::play(&settings.stream, folder, paths, &ticket, stopped, deliver, report);
        }
        Medium::Pipeline(end) => end,
    };
    let launch = settings.launch.as_ref();
    let launch = launch.ok_or_else(|| Error::Unusable { message: "the source has no pipeline".into() })?;
    report(Progress::Watching);
    let session = PipelineSession::start(&settings.stream, launch, ticket.clone(), Arc::clone(deliver))?;
    let outcome = watch(settings, &session, &end, stopped, report);
    // A frame that is decoded while the session is taken down belongs to no attempt.
    ticket.end();
    teardown::take_down(settings, session, stopped, report);
    outcome
}

/// Watches a running pipeline until it ends.
fn watch(
    settings: &Settings,
    session: &PipelineSession,
    end: &End<'_>,
    stopped: &Stopped,
    report: &dyn Fn(Progress<'_>),
) -> Result<(), Error> {
    let (start, stall) = (settings.start_timeout, settings.stall_timeout);
    let watch = tick((start.min(stall) / 4).clamp(Duration::from_millis(10), BEAT));
    let (mut at_rest, mut warnings) = (0, 0);
    loop {
        select! {
            recv(stopped.receiver()) -> _ => return Ok(()),
            recv(session.notices) -> notice => match notice {
                Ok(Notice::Failed(_) | Notice::End) | Err(_) if stopped.is_set() || session.activity.is_refused() => {
                    return Ok(());
                }
                Ok(Notice::Failed(Error::MissingDecoder { what, .. })) if session.activity.frames() > 0 => {
                    tracing::warn!(stream = %settings.stream, "{what} is missing; the video goes on without it");
                }
                Ok(Notice::Failed(Error::Reference { what })) if session.activity.frames() > 0 => {
                    tracing::warn!(stream = %settings.stream, "{what} in it is left alone; the video goes on");
                }
                Ok(Notice::Failed(error)) => return Err(error),
                Ok(Notice::End) | Err(_) => return end(session.activity.frames()),
                Ok(Notice::Warning(message)) => {
                    warnings += 1_u64;
                    // A camera decides how many there are.
                    if warnings.is_power_of_two() {
                        tracing::warn!(stream = %settings.stream, count = warnings, "{message}");
                    }
                }
            },
            recv(watch) -> _ => {
                report(Progress::Watching);
                if session.activity.is_flooded() {
                    return Err(Error::Flood);
                }
                let frames = session.activity.frames();
                let limit = if frames == 0 { start } else { stall };
                if session.activity.idle() > limit {
                    return Err(Error::Silent { seconds: limit.as_secs_f64(), frames });
                }
                let waits = frames == 0 && settings.source.carrier() == Carrier::File && session.notices.is_empty();
                at_rest = if waits && session.is_at_rest() { at_rest + 1 } else { 0 };
                if at_rest == 2 {
                    return Err(Error::Stopped);
                }
            }
        }
    }
}
