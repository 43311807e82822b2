//! Shuts pipelines down. GStreamer waits for a camera that answers too slowly, and the kernel for one that hangs, possibly
//! forever.

use std::sync::{Mutex, PoisonError};

use super::player::{Clock, Session};
use super::supervise::BEAT;
use super::{Progress, Report, Settings};
use crate::shutdown::{self, Stopped, Thread};

/// Time, in [`BEAT`]s, after which a camera's pipeline is left to finish shutting down in the background.
const PATIENCE: u32 = 2;

/// Pipelines still shutting down, by the address of the camera.
static LEFT: Mutex<Vec<(String, Thread<()>)>> = Mutex::new(Vec::new());

/// Whether a pipeline of the same camera is still shutting down.
pub(super) fn lingers(settings: &Settings) -> bool {
    let Some(address) = address(settings) else { return false };
    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    left.retain(|(_, thread)| !thread.has_ended());
    left.iter().any(|(other, _)| other == address)
}

/// Shuts a pipeline down. A camera's pipeline gets its own thread, which is left in the background if it takes long.
pub(super) fn take_down(
    settings: &Settings,
    session: Box<dyn Session>,
    stopped: &Stopped,
    clock: &dyn Clock,
    report: &Report<'_>,
) {
    let Some(address) = address(settings) else { return };
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
            "the camera's pipeline has not shut down yet: GStreamer waits for an answer, or reads a large \
             frame. The camera will be reopened once it has"
        );
    }
    LEFT.lock().unwrap_or_else(PoisonError::into_inner).push((address.to_owned(), thread));
}

/// The address of the camera, the path of its device, or the source as it is configured, if the source is a camera.
fn address(settings: &Settings) -> Option<&str> {
    let launch = settings.launch.as_ref()?;
    let device = || launch.device.as_ref().map(|device| device.path.as_str());
    let other = || settings.source.is_camera().then_some(settings.config.source.as_str());
    launch.endpoint.as_ref().map(|endpoint| endpoint.address.as_str()).or_else(device).or_else(other)
}
