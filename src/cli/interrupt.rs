//! Signals that end a command early, but in order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Error;
use crate::shutdown::{self, Stopped};

/// Offset between a signal's number and the exit code of a process that it ended.
const SIGNAL_EXIT: i32 = 128;
/// Interval within which two signals count as one.
const TOGETHER: Duration = Duration::from_millis(100);

/// What is set by the first SIGINT or SIGTERM. The second one ends the process.
///
/// # Errors
/// [`Error::Signals`] if the system refuses the handlers or the thread.
pub(super) fn install() -> Result<Stopped, Error> {
    let start = || -> io::Result<Stopped> {
        let armed = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, SIGNAL_EXIT + signal, Arc::clone(&armed))?;
        }
        let mut caught = Signals::new([SIGINT, SIGTERM])?;
        let (stop, stopped) = shutdown::channel();
        shutdown::spawn("signals", move || {
            let mut stop = Some(stop);
            for _ in caught.forever() {
                stop = None;
                thread::sleep(TOGETHER);
                armed.store(true, Ordering::Release);
            }
            drop(stop);
        })?;
        Ok(stopped)
    };
    start().map_err(Error::Signals)
}
