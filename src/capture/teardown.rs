//! Taking pipelines down. GStreamer waits for a camera that answers too slowly, possibly for ever.

use std::sync::{Mutex, PoisonError};

use super::player::{Clock, Session};
use super::supervise::BEAT;
use super::{Progress, Settings};
use crate::shutdown::{self, Stopped, Thread};

/// Time after which a camera's pipeline that is being taken down is left to itself, in [`BEAT`]s.
const PATIENCE: u32 = 2;

/// Pipelines that are still being taken down, by the address of the camera.
static LEFT: Mutex<Vec<(String, Thread<()>)>> = Mutex::new(Vec::new());

/// Whether a pipeline of the same camera is still being taken down.
pub(super) fn lingers(settings: &Settings) -> bool {
    let Some(address) = address(settings) else { return false };
    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    left.retain(|(_, thread)| !thread.has_ended());
    left.iter().any(|(other, _)| other == address)
}

/// Takes a pipeline down. That of a camera, on a thread of its own, which is left to itself if it takes long.
pub(super) fn take_down(
    settings: &Settings,
    session: Box<dyn Session>,
    stopped: &Stopped,
    clock: &dyn Clock,
    report: &dyn Fn(Progress<'_>),
) {
    let Some(address) = address(settings) else { return };
    // Without a thread, the session is dropped here.
    let Ok(thread) = shutdown::spawn("teardown", move || drop(session)) else { return };
    for _ in 0..PATIENCE {
        report(Progress::Watching);
        if clock.wait_for_end(thread.done(), BEAT) {
            return;
        }
    }
    if !stopped.is_set() {
        tracing::warn!(
            stream = %settings.stream,
            "the camera's pipeline has not shut down yet: GStreamer reads a slow answer, or a large picture. The camera is \
             reopened when it has"
        );
    }
    LEFT.lock().unwrap_or_else(PoisonError::into_inner).push((address.to_owned(), thread));
}

/// Where a camera is reached, if the source is one.
fn address(settings: &Settings) -> Option<&str> {
    settings.launch.as_ref()?.endpoint.as_ref().map(|endpoint| endpoint.address.as_str())
}
