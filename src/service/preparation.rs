//! The thread that prepares a configuration while the old one runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;

use super::Error;
use super::setup::{self, Current, Order, Ready};
use crate::shutdown::{self, Stop, Thread};
use crate::telemetry::Registry;

/// The result of a preparation: `None` if the configuration is already running.
pub(super) type Outcome = Result<Option<Box<Ready>>, Error>;

/// A configuration that is being prepared.
pub(super) struct Preparation {
    thread: Thread<Outcome>,
    cancel: Stop,
}

impl Preparation {
    /// Starts preparing `order`, as a change of `current` if something is running.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn start(order: &Arc<Order>, registry: &Arc<Registry>, current: Option<Current>) -> Result<Self, Error> {
        let (order, registry) = (Arc::clone(order), Arc::clone(registry));
        let (cancel, cancelled) = shutdown::channel();
        let prepare = move || setup::prepare(&order, &registry, current.as_ref(), &cancelled);
        let thread = shutdown::spawn("prepare", prepare).map_err(Error::Thread)?;
        Ok(Self { thread, cancel })
    }

    /// For `select!`: disconnects when there is a result.
    pub(super) fn done(&self) -> &Receiver<Infallible> {
        self.thread.done()
    }

    /// Takes the result; call after [`done`](Self::done).
    pub(super) fn outcome(self) -> Outcome {
        self.thread.join(None)?
    }

    /// Cancels it: it ends at its next step and discards what it has made. The thread is left alone.
    pub(super) fn cancel(self) -> Cancelled {
        drop(self.cancel);
        Cancelled(self.thread)
    }
}

/// A cancelled preparation, which may still be in one of its steps.
pub(super) struct Cancelled(Thread<Outcome>);

impl Cancelled {
    /// For `select!`: disconnects at its end.
    pub(super) fn done(&self) -> &Receiver<Infallible> {
        self.0.done()
    }

    /// Waits for its end, until `deadline`.
    pub(super) fn wait(self, deadline: Instant) {
        if let Err(error) = self.0.join(Some(deadline)) {
            tracing::debug!("{error}");
        }
    }
}
