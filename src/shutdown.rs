//! The stop signal, and threads that are joined with a deadline.
//!
//! Stopping means dropping a sender. The owner holds the [`Stop`]; every thread holds a clone of its [`Stopped`]. When
//! the `Stop` is dropped, all clones become ready at once and stay so.
//!
//! ```
//! let (stop, stopped) = hardnetd::shutdown::channel();
//! assert!(!stopped.is_set());
//! drop(stop);
//! assert!(stopped.is_set());
//! ```

use std::convert::Infallible;
use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

/// Held by the owner; dropping it signals every [`Stopped`].
#[derive(Debug)]
pub struct Stop {
    _sender: Sender<Infallible>,
}

/// The receiving side; cheap to clone.
#[derive(Debug, Clone)]
pub struct Stopped {
    receiver: Receiver<Infallible>,
}

/// Makes a connected pair.
#[must_use]
pub fn channel() -> (Stop, Stopped) {
    // Nothing is ever sent. Waiting on a zero-capacity channel would allocate each time.
    let (sender, receiver) = bounded(1);
    (Stop { _sender: sender }, Stopped { receiver })
}

impl Stopped {
    /// Whether a stop has been requested.
    #[must_use]
    pub fn is_set(&self) -> bool {
        matches!(self.receiver.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Waits for the stop, at most `limit`; true if it has been requested.
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

/// A named thread that its owner joins with a deadline.
#[derive(Debug)]
pub struct Thread<T> {
    name: String,
    done: Receiver<Infallible>,
    handle: JoinHandle<T>,
}

/// Why a thread did not return its result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// It was still running at the deadline.
    #[error("thread {name} did not end in time")]
    TimedOut {
        /// Name of the thread.
        name: String,
    },
    /// It panicked.
    #[error("thread {name} panicked: this is a fault of the program, please report it")]
    Panicked {
        /// Name of the thread.
        name: String,
    },
}

/// Starts `body` on a thread called `name`, of which Linux shows the first 15 bytes.
///
/// # Errors
/// If the system cannot create another thread.
pub fn spawn<T, F>(name: impl Into<String>, body: F) -> io::Result<Thread<T>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let name = name.into();
    let (running, done) = bounded(1);
    let handle = thread::Builder::new().name(name.clone()).spawn(move || {
        let _running: Sender<Infallible> = running;
        body()
    })?;
    Ok(Thread { name, done, handle })
}

impl<T> Thread<T> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For `select!`: disconnects when the thread has ended.
    #[must_use]
    pub fn done(&self) -> &Receiver<Infallible> {
        &self.done
    }

    /// Whether the thread has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.done.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Waits for the thread to end, until `deadline` (forever if `None`), and returns its result.
    ///
    /// # Errors
    /// If the thread is still running, in which case it is abandoned, or if it panicked.
    pub fn join(self, deadline: Option<Instant>) -> Result<T, JoinError> {
        let ended = match deadline {
            Some(deadline) => matches!(self.done.recv_deadline(deadline), Err(RecvTimeoutError::Disconnected)),
            None => self.done.recv().is_err(),
        };
        if !ended {
            return Err(JoinError::TimedOut { name: self.name });
        }
        self.handle.join().map_err(|_| JoinError::Panicked { name: self.name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_the_stop_reaches_every_clone() {
        let (stop, stopped) = channel();
        let other = stopped.clone();
        assert!(!other.wait(Duration::from_millis(1)));
        drop(stop);
        assert!(stopped.is_set());
        assert!(other.wait(Duration::from_secs(10)));
    }

    #[test]
    fn a_thread_that_ends_hands_back_its_outcome() -> io::Result<()> {
        let thread = spawn("answers", || 42)?;
        assert_eq!(thread.join(None), Ok(42));
        Ok(())
    }

    #[test]
    fn a_thread_that_goes_on_is_abandoned_at_the_deadline() -> io::Result<()> {
        let (stop, stopped) = channel();
        let thread = spawn("lingers", move || stopped.wait(Duration::from_secs(60)))?;
        let outcome = thread.join(Some(Instant::now() + Duration::from_millis(5)));
        assert_eq!(outcome, Err(JoinError::TimedOut { name: "lingers".into() }));
        drop(stop);
        Ok(())
    }

    #[test]
    fn a_panic_is_an_error_of_the_join() -> io::Result<()> {
        let thread = spawn("fails", || assert_eq!(1, 2, "on purpose"))?;
        assert_eq!(thread.join(None), Err(JoinError::Panicked { name: "fails".into() }));
        Ok(())
    }
}
