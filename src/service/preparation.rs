//! The thread on which a configuration is prepared, beside whatever runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;

use super::Error;
use super::setup::{self, Current, Order, Ready};
use crate::shutdown::{self, Stop, Thread};
use crate::telemetry::Registry;

/// What comes of a preparation: `None` if that is what runs already.
pub(super) type Outcome = Result<Option<Box<Ready>>, Error>;

/// A configuration that is being prepared.
pub(super) struct Preparation {
    thread: Thread<Outcome>,
    cancel: Stop,
}

impl Preparation {
    /// Starts to prepare what `order` says, as a change of `current` if anything runs.
    ///
    /// # Errors
    /// The system refuses the thread.
    pub(super) fn start(order: &Arc<Order>, registry: &Arc<Registry>, current: Option<Current>) -> Result<Self, Error> {
        let (order, registry) = (Arc::clone(order), Arc::clone(registry));
        let (cancel, cancelled) = shutdown::channel();
        let prepare = move || setup::prepare(&order, &registry, current.as_ref(), &cancelled);
        let thread = shutdown::spawn("prepare", prepare).map_err(Error::Thread)?;
        Ok(Self { thread, cancel })
    }

    /// For `select!`: disconnects when there is an outcome.
    pub(super) fn done(&self) -> &Receiver<Infallible> {
        self.thread.done()
    }

    /// Takes the outcome, after [`done`](Self::done).
    pub(super) fn outcome(self) -> Outcome {
        self.thread.join(None)?
    }

    /// Gives it up: it ends at its next step, and what it has made is gone then. The thread is left.
    pub(super) fn cancel(self) -> Cancelled {
        drop(self.cancel);
        Cancelled(self.thread)
    }
}

/// A preparation that has been given up, and may still be at one of its steps.
pub(super) struct Cancelled(Thread<Outcome>);

impl Cancelled {
    pub(super) fn has_ended(&self) -> bool {
        self.0.has_ended()
    }

    /// Waits for its end until `deadline`.
    pub(super) fn wait(self, deadline: Instant) {
        if let Err(error) = self.0.join(Some(deadline)) {
            tracing::debug!("{error}");
        }
    }
}
