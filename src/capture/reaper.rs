//! Shuts pipelines down, each on a thread of its own. GStreamer waits for a camera that answers too slowly, and the kernel
//! for a device or a disk that hangs, possibly for ever; the source does not.
//!
//! A camera may serve only one connection, so its next pipeline waits for the previous one, but not longer than
//! `stream.close_s`. Then the pipeline is abandoned: it ends when it can. The number of abandoned pipelines of a source is
//! limited, also across reloads, because each takes memory and threads.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::player::{Clock, Session};
use super::supervise::BEAT;
use super::{Progress, Report, Settings};
use crate::shutdown::{self, Stopped, Thread};

/// Time, in [`BEAT`]s, after which a pipeline is left to finish shutting down in the background.
const PATIENCE: u32 = 2;

/// Abandoned pipelines of a source with which it is not opened again.
pub(super) const MOST_ABANDONED: usize = 3;

/// Pipelines that are shutting down.
static CLOSING: Mutex<Vec<Closing>> = Mutex::new(Vec::new());

/// A pipeline that is shutting down.
struct Closing {
    /// The camera, or the stream of another source.
    source: String,
    thread: Thread<()>,
    /// Monotonic nanoseconds.
    since_ns: u64,
    is_abandoned: bool,
}

/// What is left of a source's earlier pipelines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Those that have time to shut down.
    pub(super) closing: usize,
    /// Those that did not shut down in time.
    pub(super) abandoned: usize,
    /// Those of the abandoned that have not been reported before.
    pub(super) new: usize,
}

/// Looks what is left of the earlier pipelines of a source; those whose time is over are abandoned.
pub(super) fn look(settings: &Settings, now_ns: u64) -> Left {
    let source = source(settings);
    let mut left = Left::default();
    let mut closing = lock();
    closing.retain(|closing| !closing.thread.has_ended());
    for closing in closing.iter_mut().filter(|closing| closing.source == source) {
        if closing.is_abandoned {
            left.abandoned += 1;
        } else if Duration::from_nanos(now_ns.saturating_sub(closing.since_ns)) > settings.close_timeout {
            closing.is_abandoned = true;
            (left.abandoned, left.new) = (left.abandoned + 1, left.new + 1);
        } else {
            left.closing += 1;
        }
    }
    left
}

/// Shuts a pipeline down, in the background if it takes long.
pub(super) fn take_down(
    settings: &Settings,
    session: Box<dyn Session>,
    stopped: &Stopped,
    clock: &dyn Clock,
    report: &Report<'_>,
) {
    let since_ns = clock.now_ns();
    // If no thread can be started, the session is dropped here.
    let Ok(thread) = shutdown::spawn("teardown", move || drop(session)) else { return };
    for _ in 0..PATIENCE {
        let _ = report(Progress::Watching);
        if clock.wait_for_end(thread.done(), BEAT) {
            return;
        }
    }
    if !stopped.is_set() {
        tracing::warn!(
            stream = %settings.stream,
            close_s = settings.close_timeout.as_secs_f64(),
            "the pipeline has not shut down yet: GStreamer waits for an answer of the camera, or reads a large frame, or \
             the device hangs. The source will be reopened once it has, or after stream.close_s"
        );
    }
    lock().push(Closing { source: source(settings), thread, since_ns, is_abandoned: false });
}

fn lock() -> MutexGuard<'static, Vec<Closing>> {
    CLOSING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The address of the camera, or the path of its device; of any other source, the name of its stream.
fn source(settings: &Settings) -> String {
    let launch = settings.launch.as_ref();
    let address = launch.and_then(|launch| Some(launch.endpoint.as_ref()?.address.clone()));
    let device = || launch.and_then(|launch| Some(launch.device.as_ref()?.path.clone()));
    address.or_else(device).unwrap_or_else(|| format!("stream {}", settings.stream))
}
