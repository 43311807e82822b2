//! Where the frames of a source come out: one tap for each of its streams.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::queue::QueueSender;
use super::quota::Quota;
use super::states::States;
use crate::capture::{Flow, Frame, Samples};
use crate::publish::Backlog;
use crate::shutdown::Stopped;
use crate::telemetry::{FrameNumbers, Pulse, StreamCounters};

/// The end of a source at which one stream takes its frames.
pub(super) struct Tap {
    stream: Arc<str>,
    numbers: Arc<FrameNumbers>,
    pub(super) counters: Arc<StreamCounters>,
    states: Arc<States>,
    inlet: QueueSender,
    start: OnceLock<Start>,
    /// Only for sources that are not live.
    backlog: Option<Backlog>,
    /// The same, if the stream ends after a number of results.
    quota: Option<Quota>,
    /// Whether the stream wants no more frames.
    is_done: AtomicBool,
}

/// The first frame that a stream takes of a source. Each counts its frames for itself: a stream goes on with its own
/// numbers, whichever source it joins.
struct Start {
    /// Its number among the frames of the source.
    of_source: u64,
    /// Its number among the frames of the stream.
    of_stream: u64,
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
        let (start, is_done) = (OnceLock::new(), AtomicBool::new(false));
        Self { stream, numbers, counters, states, inlet, start, backlog, quota, is_done }
    }
}

impl Tap {
    /// Whether the stream wants no more frames.
    fn is_closed(&self) -> bool {
        self.is_done.load(Ordering::Relaxed) || self.inlet.is_closed()
    }

    /// Takes frames from the one on that is the source's number `of_source`.
    fn begin(&self, of_source: u64) {
        // A tap has one source.
        let _ = self.start.set(Start { of_source, of_stream: self.numbers.next() });
    }

    /// The number in the stream of the source's frame `of_source`; `None` if the stream joined after that frame.
    fn number(&self, of_source: u64) -> Option<u64> {
        let start = self.start.get()?;
        Some(start.of_stream + of_source.checked_sub(start.of_source)?)
    }

    /// The number in the stream of the source's next frame `of_source`.
    fn next(&self, of_source: u64) -> u64 {
        self.number(of_source).unwrap_or_else(|| self.numbers.next())
    }

    /// Reports what the running source does.
    pub(super) fn playing(&self, flow: Flow) {
        self.states.playing(Flow { next: self.next(flow.next), ..flow });
    }

    /// Reports that the source has failed; its first frame after reopening gets the number `of_source`.
    pub(super) fn retrying(&self, of_source: u64) {
        self.states.retrying(self.next(of_source));
    }

    /// The source has a frame with the number `of_source` that cannot be read.
    pub(super) fn count_unreadable(&self, of_source: u64) {
        let Some(seq) = self.number(of_source) else { return };
        self.numbers.reach(seq + 1);
        self.counters.count_captured();
        self.counters.count_failed();
    }

    /// Adds a frame with a number of the source, if the stream still wants one. The time that it waits is not `pulse`'s.
    fn deliver(&self, frame: Frame, stopped: &Stopped, pulse: &Pulse) {
        let Some(seq) = self.number(frame.seq).filter(|_| !self.is_closed()) else { return };
        self.numbers.reach(seq + 1);
        if self.try_deliver(Frame { seq, ..frame }, stopped, pulse).is_break() {
            self.is_done.store(true, Ordering::Relaxed);
        }
    }

    fn try_deliver(&self, frame: Frame, stopped: &Stopped, pulse: &Pulse) -> ControlFlow<()> {
        if let Some(backlog) = &self.backlog {
            // Waiting for a slow reader, or for the turns of other streams, is not the source's fault.
            pulse.rest();
            if !backlog.reserve(stopped) {
                return ControlFlow::Break(());
            }
        }
        self.inlet.deliver(frame)?;
        pulse.beat();
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

    /// Adds streams to a source whose next frame has the number `next`.
    pub(super) fn add(&self, more: &[Arc<Tap>], next: u64) {
        more.iter().for_each(|tap| tap.begin(next));
        self.change(|taps| taps.iter().chain(more).cloned().collect());
    }

    /// Lets the streams begin with a source whose next frame has the number `next`.
    pub(super) fn begin(&self, next: u64) {
        self.all().iter().for_each(|tap| tap.begin(next));
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
                let pixels = Samples::shared(&samples);
                tap.deliver(Frame { stream, file, seq, captured, arrived_ns, layout, pixels }, stopped, pulse);
            }
        }
        if taps.iter().all(|tap| tap.is_closed()) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use crossbeam_channel::bounded;

    use super::super::queue::tests::frame;
    use super::super::queue::{QueueReceiver, queue};
    use super::*;
    use crate::capture::Settings;
    use crate::config;
    use crate::shutdown;

    /// A tap for a stream that has had `had` frames.
    fn tap(had: u64, stopped: &Stopped) -> (Tap, QueueReceiver) {
        let (counters, numbers) = (Arc::<StreamCounters>::default(), Arc::<FrameNumbers>::default());
        numbers.reach(had);
        let (inlet, outlet) = queue(true, Arc::clone(&counters), stopped.clone());
        let settings = Settings::new(&config::Stream::default()).unwrap();
        let (stream, (results, _)) = (Arc::<str>::from("s"), bounded(1));
        let states =
            States::new(Arc::clone(&stream), settings.limits(), Arc::clone(&counters), results, stopped.clone());
        let states = Arc::new(states);
        (TapParts { stream, numbers, counters, states, inlet, backlog: None, quota: None }.into(), outlet)
    }

    #[test]
    fn a_stream_goes_on_with_its_own_numbers_in_a_source_that_it_joins() {
        let (_stop, stopped) = shutdown::channel();
        let pulse = Pulse::default();
        let (first, of_first) = tap(0, &stopped);
        let (second, of_second) = tap(70, &stopped);
        let taps = Taps::new(vec![first]);
        taps.begin(0);
        let deliver = |seq| assert!(taps.deliver(frame(seq), &stopped, &pulse).is_continue());
        let taken = |outlet: &QueueReceiver| outlet.take().map(|frame| frame.seq).ok();
        deliver(0);
        assert_eq!((taken(&of_first), taken(&of_second)), (Some(0), None));
        taps.add(&[Arc::new(second)], 2);
        // A frame that was on its way when the second stream joined is none of its own.
        deliver(1);
        assert_eq!((taken(&of_first), taken(&of_second)), (Some(1), None));
        deliver(2);
        assert_eq!((taken(&of_first), taken(&of_second)), (Some(2), Some(70)));
        // Frames 3 and 4 could not be read.
        deliver(5);
        assert_eq!((taken(&of_first), taken(&of_second)), (Some(5), Some(73)));
        assert_eq!(taps.all().iter().map(|tap| tap.next(6)).collect::<Vec<_>>(), [6, 74]);
    }
}
