//! Limits how many frames a file delivers if its stream ends after a number of results.
//!
//! The source takes a frame only if a result of it is wanted: once as many are on their way as results are missing, it
//! waits until one of them fails, or until the stream has had its results.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, select, unbounded};

use crate::shutdown::Stopped;

/// The side of the source.
pub(super) struct Quota {
    /// Frames that may come before it has to wait.
    left: Mutex<u64>,
    failed: Receiver<()>,
}

/// The side of the inference thread, which says which frames become no result; dropping it ends the source.
pub(super) struct Failures(Sender<()>);

/// For a stream that ends after `results` results, at least one.
pub(super) fn quota(results: u64) -> (Quota, Failures) {
    // A source empties it with every frame, so that it holds few.
    let (sender, failed) = unbounded();
    (Quota { left: Mutex::new(results), failed }, Failures(sender))
}

impl Quota {
    /// Waits, after a frame has been delivered, until another one is wanted; breaks when none is.
    pub(super) fn wait_for_next(&self, stopped: &Stopped) -> ControlFlow<()> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.saturating_sub(1) + self.failed.try_iter().count() as u64;
        if *left > 0 {
            return ControlFlow::Continue(());
        }
        select! {
            recv(self.failed) -> failed => {
                if failed.is_err() {
                    return ControlFlow::Break(());
                }
                *left = 1;
                ControlFlow::Continue(())
            }
            recv(stopped.receiver()) -> _ => ControlFlow::Break(()),
        }
    }
}

impl Failures {
    /// A frame that was delivered became no result.
    pub(super) fn tell(&self) {
        // A source that has ended wants no other frame.
        let _ = self.0.send(());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::shutdown;

    #[test]
    fn a_frame_is_wanted_in_place_of_each_that_fails_and_none_beyond_the_results() {
        let (_stop, stopped) = shutdown::channel();
        let (quota, failures) = quota(3);
        assert!(quota.wait_for_next(&stopped).is_continue());
        failures.tell();
        // One became a result, one failed, and two results are missing.
        assert!(quota.wait_for_next(&stopped).is_continue());
        assert!(quota.wait_for_next(&stopped).is_continue());
        let source = std::thread::spawn(move || {
            let again = quota.wait_for_next(&stopped);
            (again, quota.wait_for_next(&stopped))
        });
        failures.tell();
        drop(failures);
        assert_eq!(source.join().unwrap(), (ControlFlow::Continue(()), ControlFlow::Break(())));
    }

    #[test]
    fn a_stop_frees_a_source_that_waits() {
        let (stop, stopped) = shutdown::channel();
        let (quota, _failures) = quota(1);
        let source = std::thread::spawn(move || quota.wait_for_next(&stopped));
        drop(stop);
        assert!(source.join().unwrap().is_break());
    }
}
