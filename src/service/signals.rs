//! The signals that the process understands.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator;

use crate::shutdown;

/// Signals that may wait to be seen.
const WAITING: usize = 4;
/// Time within which two signals count as one.
const TOGETHER: Duration = Duration::from_millis(100);
/// What the exit code of a process ended by a signal is above the signal's number.
const SIGNAL_EXIT: i32 = 128;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM or SIGINT: stop.
    Stop,
}

/// The signals that come.
#[derive(Debug)]
pub struct Signals {
    pub(super) received: Receiver<Signal>,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT and SIGHUP: they are delivered here, but the second of the first two ends the process.
    /// Two that come together count as one: `timeout` signals its child, and then the group that the child belongs to.
    ///
    /// # Errors
    /// The system refuses the handlers or the thread.
    pub fn install() -> io::Result<Self> {
        let armed = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_conditional_shutdown(signal, SIGNAL_EXIT + signal, Arc::clone(&armed))?;
        }
        let mut caught = iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let (sender, received) = bounded(WAITING);
        shutdown::spawn("signals", move || {
            for signal in caught.forever() {
                let signal = if signal == SIGHUP { Signal::Reload } else { Signal::Stop };
                // The queue is read all the time; one that is full holds the same again, or the process is stopping.
                let _ = sender.try_send(signal);
                if signal == Signal::Stop {
                    thread::sleep(TOGETHER);
                    armed.store(true, Ordering::Release);
                }
            }
        })?;
        Ok(Self { received })
    }
}
