//! Where the frames of a source come out: one tap for each of its streams.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::queue::QueueSender;
use super::quota::Quota;
use super::states::States;
use crate::capture::{Frame, Samples};
use crate::publish::Backlog;
use crate::shutdown::Stopped;
use crate::telemetry::{FrameNumbers, Pulse, StreamCounters};

/// The end of a source at which one stream takes its frames.
pub(super) struct Tap {
    stream: Arc<str>,
    pub(super) numbers: Arc<FrameNumbers>,
    pub(super) counters: Arc<StreamCounters>,
    pub(super) states: Arc<States>,
    inlet: QueueSender,
    /// Only for sources that are not live.
    backlog: Option<Backlog>,
    /// The same, if the stream ends after a number of results.
    quota: Option<Quota>,
    /// Whether the stream wants no more frames.
    is_done: AtomicBool,
}

/// What a tap is made of.
pub(super) struct TapParts {
    pub(super) stream: Arc<str>,
    pub(super) numbers: Arc<FrameNumbers>,
    pub(super) counters: Arc<StreamCounters>,
    pub(super) states: Arc<States>,
    pub(super) inlet: QueueSender,
    pub(super) backlog: Option<Backlog>,
    pub(super) quota: Option<Quota>,
}

impl From<TapParts> for Tap {
    fn from(parts: TapParts) -> Self {
        let TapParts { stream, numbers, counters, states, inlet, backlog, quota } = parts;
        Self { stream, numbers, counters, states, inlet, backlog, quota, is_done: AtomicBool::new(false) }
    }
}

impl Tap {
    /// Whether the stream wants no more frames.
    fn is_closed(&self) -> bool {
        self.is_done.load(Ordering::Relaxed) || self.inlet.is_closed()
    }

    /// Adds a frame, if the stream still wants one. The time that it waits is not `pulse`'s.
    fn deliver(&self, frame: Frame, stopped: &Stopped, pulse: &Pulse) {
        if self.is_closed() {
            return;
        }
        if self.try_deliver(frame, stopped, pulse).is_break() {
            self.is_done.store(true, Ordering::Relaxed);
        }
    }

    fn try_deliver(&self, frame: Frame, stopped: &Stopped, pulse: &Pulse) -> ControlFlow<()> {
        if let Some(backlog) = &self.backlog {
            // Waiting for a slow reader is not the source's fault.
            pulse.rest();
            if !backlog.reserve(stopped) {
                return ControlFlow::Break(());
            }
            pulse.beat();
        }
        self.inlet.deliver(frame)?;
        let Some(quota) = &self.quota else { return ControlFlow::Continue(()) };
        pulse.rest();
        let flow = quota.wait_for_next(stopped);
        pulse.beat();
        flow
    }
}

/// The taps of a source, which may change while it runs; `None` once it has ended.
pub(super) struct Taps(Mutex<Option<Arc<[Arc<Tap>]>>>);

impl Taps {
    /// Taps for the first streams.
    pub(super) fn new(taps: Vec<Tap>) -> Self {
        Self(Mutex::new(Some(taps.into_iter().map(Arc::new).collect())))
    }

    /// The taps now.
    pub(super) fn all(&self) -> Arc<[Arc<Tap>]> {
        self.lock().clone().unwrap_or_default()
    }

    fn change(&self, change: impl FnOnce(&[Arc<Tap>]) -> Arc<[Arc<Tap>]>) {
        let mut taps = self.lock();
        *taps = taps.take().map(|taps| change(&taps));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<[Arc<Tap>]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the queues of all streams, and of those that are added later.
    pub(super) fn end(&self) {
        *self.lock() = None;
    }

    /// Adds streams to a source that numbers its frames with `numbers`.
    pub(super) fn add(&self, more: &[Arc<Tap>], numbers: &FrameNumbers) {
        if more.is_empty() {
            return;
        }
        // Frames of the others are on their way: their numbers stay, unless one that joins has had higher ones.
        if let Some(next) = more.iter().map(|tap| tap.numbers.next()).max().filter(|next| *next > numbers.next()) {
            self.all().iter().for_each(|tap| tap.numbers.skip_to(next));
        }
        more.iter().for_each(|tap| tap.numbers.skip_to(numbers.next()));
        self.change(|taps| taps.iter().chain(more).cloned().collect());
    }

    /// Makes the numbers of all streams those of the source, which exceed all that any of them has had.
    pub(super) fn number_together(&self, numbers: &FrameNumbers) {
        let taps = self.all();
        if let [_, _, ..] = *taps {
            let next = taps.iter().map(|tap| tap.numbers.next()).max().unwrap_or(0).max(numbers.next());
            taps.iter().for_each(|tap| tap.numbers.skip_to(next));
        }
    }

    /// Removes the streams that are not among `names`: their queues end.
    pub(super) fn retain(&self, names: &[Arc<str>]) {
        self.change(|taps| taps.iter().filter(|tap| names.contains(&tap.stream)).cloned().collect());
    }

    /// The streams that are not among `names`.
    pub(super) fn without(&self, names: &[Arc<str>]) -> Vec<Arc<Tap>> {
        self.all().iter().filter(|tap| !names.contains(&tap.stream)).cloned().collect()
    }

    /// Whether no stream wants any more frames.
    pub(super) fn are_closed(&self) -> bool {
        self.all().iter().all(|tap| tap.is_closed())
    }

    /// Gives a frame to every stream; breaks if none wants another one.
    pub(super) fn deliver(&self, frame: Frame, stopped: &Stopped, pulse: &Pulse) -> ControlFlow<()> {
        let taps = self.all();
        if let [tap] = &*taps {
            tap.deliver(frame, stopped, pulse);
        } else {
            let Frame { file, seq, captured, arrived_ns, layout, pixels, .. } = frame;
            let samples = Arc::new(pixels);
            for tap in &*taps {
                let (stream, file) = (Arc::clone(&tap.stream), file.clone());
                tap.numbers.reach(seq + 1);
                let pixels = Samples::shared(&samples);
                tap.deliver(Frame { stream, file, seq, captured, arrived_ns, layout, pixels }, stopped, pulse);
            }
        }
        if taps.iter().all(|tap| tap.is_closed()) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
