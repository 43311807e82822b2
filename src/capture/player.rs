//! The supervisor's interface to the player of a source and to time: GStreamer and the system clock, or fakes in tests.

use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, select};

use super::gate::{Gate, LeftOut};
use super::scheme::Launch;
use super::{Deliver, Error, Flow};
use crate::frame::monotonic_ns;
use crate::shutdown::{Stopped, Thread};
use crate::telemetry::Ticket;

/// Maximum bytes that a network camera may send without producing a frame: ten seconds of 4K at 25 Mbit/s, for cameras
/// that send key frames that rarely. Parsers take seconds for a picture of that size.
pub(super) const MOST_PER_FRAME: u64 = 32 << 20;

/// Plays pipelines.
pub(super) trait Player {
    /// Starts one. Every frame goes to `deliver`; when that breaks, the source stops delivering.
    ///
    /// Frames get their numbers from `ticket`. Once its attempt has ended, no frame is delivered.
    fn start(
        &self,
        stream: &Arc<str>,
        launch: &Launch,
        ticket: Ticket,
        deliver: Deliver,
    ) -> Result<Box<dyn Session>, Error>;

    /// Looks up the name of a network camera's host, on a thread that nobody needs to wait for; `None` if that is not
    /// possible, or `host` is no name.
    fn look_up(&self, host: &str) -> Option<Thread<io::Result<()>>> {
        let _ = host;
        None
    }
}

/// A running pipeline. Dropping it shuts it down, which may take long.
pub(super) trait Session: Send {
    /// Its notices.
    fn notices(&self) -> &Receiver<Notice>;

    /// Its activity.
    fn activity(&self) -> &Activity;

    /// Whether none of its threads has work left and no element is being added.
    fn is_at_rest(&self) -> bool;
}

/// A notice from a running pipeline.
#[derive(Debug)]
pub(super) enum Notice {
    /// All frames have been delivered.
    End,
    /// The pipeline has failed.
    Failed(Error),
    /// A problem that does not stop it.
    Warning(String),
}

/// When frames arrived, for the supervisor.
#[derive(Debug)]
pub(super) struct Activity {
    frames: AtomicU64,
    last_ns: AtomicU64,
    delivering: AtomicBool,
    refused: AtomicBool,
    /// Bytes that a network camera has sent since the last frame.
    since_frame: AtomicU64,
    /// Since when frames have been left out until a key frame; 0 if they pass.
    shut_since_ns: AtomicU64,
    gates: Mutex<Vec<Arc<Mutex<Gate>>>>,
}

impl Activity {
    /// For a pipeline that starts now.
    pub(super) fn new(now_ns: u64) -> Arc<Self> {
        Arc::new(Self {
            frames: AtomicU64::new(0),
            last_ns: AtomicU64::new(now_ns),
            delivering: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            since_frame: AtomicU64::new(0),
            shut_since_ns: AtomicU64::new(0),
            gates: Mutex::default(),
        })
    }

    /// Takes a gate, whose counts it reports.
    pub(super) fn add_gate(&self, gate: Gate) -> Arc<Mutex<Gate>> {
        let gate = Arc::new(Mutex::new(gate));
        Self::lock(&self.gates).push(Arc::clone(&gate));
        gate
    }

    /// What a mutex protects, also after a panic.
    pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The source is alive, though its frame goes no further.
    pub(super) fn frame_left_out(&self, now_ns: u64) {
        self.last_ns.store(now_ns, Ordering::Release);
    }

    /// A coded frame has come to the decoder; whether it `passes`, and whether the gate `is_shut` behind it.
    pub(super) fn frame_coded(&self, now_ns: u64, passes: bool, is_shut: bool) {
        self.since_frame.store(0, Ordering::Relaxed);
        if !passes {
            self.frame_left_out(now_ns);
        }
        if is_shut {
            let _ = self.shut_since_ns.compare_exchange(0, now_ns, Ordering::AcqRel, Ordering::Acquire);
        } else {
            self.shut_since_ns.store(0, Ordering::Release);
        }
    }

    /// The frames that have been left out.
    pub(super) fn left_out(&self) -> LeftOut {
        let gates = Self::lock(&self.gates);
        gates.iter().map(|gate| Self::lock(gate).counts()).fold(LeftOut::default(), |sum, counts| sum + counts)
    }

    /// Counts `bytes` from a network camera; false if the limit is exceeded.
    pub(super) fn receive(&self, bytes: usize) -> bool {
        self.since_frame.fetch_add(bytes as u64, Ordering::Relaxed);
        !self.is_flooded()
    }

    /// A frame has arrived; its delivery begins.
    pub(super) fn begin_frame(&self) {
        self.since_frame.store(0, Ordering::Relaxed);
        self.delivering.store(true, Ordering::Release);
    }

    /// The frame is readable.
    pub(super) fn count_frame(&self) {
        self.frames.fetch_add(1, Ordering::Relaxed);
    }

    /// The frame has been delivered.
    pub(super) fn end_frame(&self, now_ns: u64) {
        self.last_ns.store(now_ns, Ordering::Release);
        self.delivering.store(false, Ordering::Release);
    }

    /// The consumer wants no more frames.
    pub(super) fn refuse(&self) {
        self.refused.store(true, Ordering::Release);
    }

    /// Bytes that a network camera has sent since the last frame.
    pub(super) fn received(&self) -> u64 {
        self.since_frame.load(Ordering::Relaxed)
    }

    /// Whether a network camera has sent more than [`MOST_PER_FRAME`] without a frame.
    pub(super) fn is_flooded(&self) -> bool {
        self.received() > MOST_PER_FRAME
    }

    /// Frames that have arrived.
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Whether the consumer wants no more frames.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// What the pipeline does at present; `next` is the number of the next frame.
    pub(super) fn flow(&self, now_ns: u64, next: u64) -> Flow {
        let keyless = match self.shut_since_ns.load(Ordering::Acquire) {
            0 => 0,
            since => now_ns.saturating_sub(since),
        };
        Flow { idle: self.idle(now_ns), keyless: Duration::from_nanos(keyless), next }
    }

    /// Time without a frame for which the source is to blame: zero while a frame is being delivered.
    pub(super) fn idle(&self, now_ns: u64) -> Duration {
        if self.delivering.load(Ordering::Acquire) {
            return Duration::ZERO;
        }
        Duration::from_nanos(now_ns.saturating_sub(self.last_ns.load(Ordering::Acquire)))
    }
}

/// How a wait ended.
#[derive(Debug)]
pub(super) enum Event {
    /// A stop has been requested.
    Stop,
    /// The pipeline sent a notice.
    Notice(Notice),
    /// The time limit was reached.
    Time,
}

/// A clock that can wait.
pub(super) trait Clock {
    /// Nanoseconds of a clock that never goes back.
    fn now_ns(&self) -> u64;

    /// Waits for the stop or a notice, at most `limit`.
    fn wait(&self, stopped: &Stopped, notices: &Receiver<Notice>, limit: Duration) -> Event;

    /// A number from 0 to 1 by chance.
    fn chance(&self) -> f64;

    /// Waits until a thread ends, which disconnects `done`; false if `limit` passes first.
    fn wait_for_end(&self, done: &Receiver<Infallible>, limit: Duration) -> bool;
}

/// The system's monotonic clock.
pub(super) struct SystemClock;

impl Clock for SystemClock {
    fn now_ns(&self) -> u64 {
        monotonic_ns()
    }

    fn wait(&self, stopped: &Stopped, notices: &Receiver<Notice>, limit: Duration) -> Event {
        select! {
            recv(stopped.receiver()) -> _ => Event::Stop,
            // A disconnected pipeline has ended.
            recv(notices) -> notice => Event::Notice(notice.unwrap_or(Notice::End)),
            default(limit) => Event::Time,
        }
    }

    fn chance(&self) -> f64 {
        // Each state hashes in a way of its own, which the standard library draws from the system's random numbers.
        let bits = RandomState::new().build_hasher().finish() >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }

    fn wait_for_end(&self, done: &Receiver<Infallible>, limit: Duration) -> bool {
        !matches!(done.recv_timeout(limit), Err(RecvTimeoutError::Timeout))
    }
}
