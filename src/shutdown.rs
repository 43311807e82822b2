//! The stop signal: stopping is dropping a sender.
//!
//! One [`Stop`] is owned by whoever decides; every thread holds a clone of its [`Stopped`], which
//! becomes ready, for all of them at once and for good, when the `Stop` is dropped.
//!
//! ```
//! let (stop, stopped) = hardnetd::shutdown::channel();
//! assert!(!stopped.is_set());
//! drop(stop);
//! assert!(stopped.is_set());
//! ```

use std::convert::Infallible;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

/// Held by the owner; dropping it stops everybody who holds the [`Stopped`].
#[derive(Debug)]
pub struct Stop {
    _sender: Sender<Infallible>,
}

/// The receiving side, cheap to clone.
#[derive(Debug, Clone)]
pub struct Stopped {
    receiver: Receiver<Infallible>,
}

/// Makes a connected pair.
#[must_use]
pub fn channel() -> (Stop, Stopped) {
    let (sender, receiver) = bounded(0);
    (Stop { _sender: sender }, Stopped { receiver })
}

impl Stopped {
    /// Whether the stop has been asked for.
    #[must_use]
    pub fn is_set(&self) -> bool {
        matches!(self.receiver.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Waits for the stop, `limit` at most; true when it has been asked for.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> bool {
        matches!(self.receiver.recv_timeout(limit), Err(RecvTimeoutError::Disconnected))
    }

    /// For `select!`: a channel that carries nothing and disconnects on the stop.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Infallible> {
        &self.receiver
    }
}
