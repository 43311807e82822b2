//! The signals that the process handles.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator;

use crate::shutdown;

/// Signals that may wait to be handled.
const WAITING: usize = 4;
/// Interval within which two signals count as one.
const TOGETHER: Duration = Duration::from_millis(100);
/// Offset between a signal's number and the exit code of a process that it ended.
const SIGNAL_EXIT: i32 = 128;

/// The request of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGHUP: reload the configuration.
    Reload,
    /// SIGTERM or SIGINT, received at that time: stop.
    Stop(Instant),
}

/// The received signals.
#[derive(Debug)]
pub struct Signals {
    pub(super) received: Receiver<Signal>,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT and SIGHUP: they are delivered here, but a second SIGTERM or SIGINT ends the process.
    /// Two in quick succession count as one: `timeout` signals its child, and then the child's whole group.
    ///
    /// # Errors
    /// If the system refuses the handlers or the thread.
    pub fn install() -> io::Result<Self> {
        let armed = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_conditional_shutdown(signal, SIGNAL_EXIT + signal, Arc::clone(&armed))?;
        }
        let mut caught = iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let (sender, received) = bounded(WAITING);
        shutdown::spawn("signals", move || {
            for signal in caught.forever() {
                let is_stop = signal != SIGHUP;
                // The queue may be read late. It always has room for a stop; one reload is as good as many.
                if is_stop || sender.len() + 1 < WAITING {
                    let _ = sender.try_send(if is_stop { Signal::Stop(Instant::now()) } else { Signal::Reload });
                }
                if is_stop {
                    thread::sleep(TOGETHER);
                    armed.store(true, Ordering::Release);
                }
            }
        })?;
        Ok(Self { received })
    }
}
