//! The queue between a source and its inference thread: one frame deep.
//!
//! A live source never waits: if the queue is full, a new frame replaces the old one, which is counted. A file waits,
//! so that no frame is lost.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};

use super::ready::Bell;
use crate::capture::Frame;
use crate::shutdown::Stopped;
use crate::telemetry::StreamCounters;

/// The end at which the source adds frames.
pub(super) struct QueueSender {
    sender: Sender<Frame>,
    /// Takes a frame back out: the older one of a live source, or one that came too late.
    frames: Receiver<Frame>,
    live: bool,
    shared: Arc<Shared>,
    counters: Arc<StreamCounters>,
    stopped: Stopped,
}

/// What both ends know.
#[derive(Default)]
struct Shared {
    /// Whether no more frames are taken.
    closed: AtomicBool,
    /// Whether no more frames are added.
    ended: AtomicBool,
    /// Rings at a new frame, and at the end.
    bell: Mutex<Arc<Bell>>,
}

impl Shared {
    fn ring(&self) {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner).ring();
    }
}

/// The end at which inference threads take frames; dropping it closes the queue.
pub(super) struct QueueReceiver {
    frames: Receiver<Frame>,
    shared: Arc<Shared>,
    counters: Arc<StreamCounters>,
}

/// Makes a queue for a source that is live or not.
pub(super) fn queue(live: bool, counters: Arc<StreamCounters>, stopped: Stopped) -> (QueueSender, QueueReceiver) {
    let (sender, frames) = bounded(1);
    let shared = Arc::<Shared>::default();
    let inlet = QueueSender {
        sender,
        frames: frames.clone(),
        live,
        shared: Arc::clone(&shared),
        counters: Arc::clone(&counters),
        stopped,
    };
    (inlet, QueueReceiver { frames, shared, counters })
}

impl QueueSender {
    /// Whether frames are no longer taken.
    pub(super) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::SeqCst) || self.stopped.is_set()
    }

    /// Adds a frame; breaks if it will not be taken.
    pub(super) fn deliver(&self, frame: Frame) -> ControlFlow<()> {
        if self.is_closed() {
            return ControlFlow::Break(());
        }
        if self.live {
            self.replace(frame)?;
        } else {
            // Closing a queue empties it, which ends the wait.
            select! {
                send(self.sender, frame) -> sent => if sent.is_err() { return ControlFlow::Break(()) },
                recv(self.stopped.receiver()) -> _ => return ControlFlow::Break(()),
            }
        }
        self.counters.count_captured();
        // The queue may have been closed, and emptied, just before this frame was added. Both sides use the same
        // sequentially consistent order as the channel, so one of them sees the frame.
        if self.shared.closed.load(Ordering::SeqCst) {
            self.drop_one();
            return ControlFlow::Break(());
        }
        self.shared.ring();
        ControlFlow::Continue(())
    }

    fn replace(&self, mut frame: Frame) -> ControlFlow<()> {
        loop {
            frame = match self.sender.try_send(frame) {
                Ok(()) => return ControlFlow::Continue(()),
                Err(TrySendError::Full(frame)) => frame,
                Err(TrySendError::Disconnected(_)) => return ControlFlow::Break(()),
            };
            self.drop_one();
        }
    }

    fn drop_one(&self) {
        if self.frames.try_recv().is_ok() {
            self.counters.count_dropped();
        }
    }
}

impl Drop for QueueSender {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.shared.ring();
    }
}

impl QueueReceiver {
    /// Lets each frame from now on ring `bell`.
    pub(super) fn connect(&mut self, bell: &Arc<Bell>) {
        *self.shared.bell.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(bell);
    }

    /// Whether there is a frame, or never will be one.
    pub(super) fn is_ready(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire) || !self.frames.is_empty()
    }

    /// Takes the frame if there is one.
    pub(super) fn take(&self) -> Result<Frame, Empty> {
        // In this order: nothing is added after the end.
        let has_ended = self.shared.ended.load(Ordering::Acquire);
        self.frames.try_recv().map_err(|_| if has_ended { Empty::Ended } else { Empty::Yet })
    }
}

/// Why there is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    /// There may be one later.
    Yet,
    /// The source has ended.
    Ended,
}

impl Drop for QueueReceiver {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        while self.frames.try_recv().is_ok() {
            self.counters.count_dropped();
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use super::*;
    use crate::capture::Samples;
    use crate::frame::{Color, Layout, PixelAspect, PixelFormat, Timestamp};
    use crate::shutdown;

    /// A frame of one black pixel.
    pub(in crate::pipeline) fn frame(seq: u64) -> Frame {
        let layout =
            Layout { format: PixelFormat::Gray8, width: 1, height: 1, color: Color::RGB, aspect: PixelAspect::SQUARE };
        let captured = Timestamp::now();
        let pixels = Samples::nothing();
        Frame { stream: "s".into(), file: None, seq, captured, arrived_ns: captured.monotonic_ns, layout, pixels }
    }

    #[test]
    fn a_live_queue_keeps_the_newest_and_counts_the_rest() {
        let counters = Arc::new(StreamCounters::default());
        let (_stop, stopped) = shutdown::channel();
        let (inlet, outlet) = queue(true, Arc::clone(&counters), stopped);
        for seq in 0..5 {
            assert!(inlet.deliver(frame(seq)).is_continue());
        }
        assert_eq!(outlet.frames.try_recv().unwrap().seq, 4);
        assert_eq!((counters.read().captured, counters.read().dropped), (5, 4));
    }

    #[test]
    fn a_file_waits_until_its_frame_is_taken() {
        let counters = Arc::new(StreamCounters::default());
        let (_stop, stopped) = shutdown::channel();
        let (inlet, outlet) = queue(false, Arc::clone(&counters), stopped);
        let source = std::thread::spawn(move || (0..50).all(|seq| inlet.deliver(frame(seq)).is_continue()));
        let mut taken = Vec::new();
        loop {
            match outlet.take() {
                Ok(frame) => taken.push(frame.seq),
                Err(Empty::Yet) => std::thread::yield_now(),
                Err(Empty::Ended) => break,
            }
        }
        assert!(source.join().unwrap());
        assert_eq!(taken, (0..50).collect::<Vec<_>>());
        assert_eq!(counters.read().dropped, 0);
    }

    #[test]
    fn a_source_that_ends_leaves_its_last_frame() {
        let (_stop, stopped) = shutdown::channel();
        let (inlet, outlet) = queue(true, Arc::default(), stopped);
        assert!(!outlet.is_ready());
        assert_eq!(outlet.take().map(|frame| frame.seq), Err(Empty::Yet));
        assert!(inlet.deliver(frame(7)).is_continue());
        drop(inlet);
        assert!(outlet.is_ready());
        assert_eq!(outlet.take().map(|frame| frame.seq), Ok(7));
        assert!(outlet.is_ready(), "to say that it has ended");
        assert_eq!(outlet.take().map(|frame| frame.seq), Err(Empty::Ended));
    }

    #[test]
    fn a_stop_frees_a_source_that_waits() {
        let (stop, stopped) = shutdown::channel();
        let (inlet, _outlet) = queue(false, Arc::default(), stopped);
        assert!(inlet.deliver(frame(0)).is_continue());
        let source = std::thread::spawn(move || inlet.deliver(frame(1)));
        std::thread::sleep(Duration::from_millis(5));
        drop(stop);
        assert!(source.join().unwrap().is_break());
    }

    #[test]
    fn a_frame_that_waits_while_its_queue_is_closed_is_counted() {
        for live in [true, false] {
            for _ in 0..100 {
                let counters = Arc::new(StreamCounters::default());
                let (_stop, stopped) = shutdown::channel();
                let (inlet, outlet) = queue(live, Arc::clone(&counters), stopped);
                let source = std::thread::spawn(move || while inlet.deliver(frame(0)).is_continue() {});
                let _ = outlet.frames.recv();
                drop(outlet);
                source.join().unwrap();
                // One frame has been taken.
                assert_eq!(counters.read().captured, counters.read().dropped + 1, "live: {live}");
            }
        }
    }

    #[test]
    fn a_closed_queue_ends_its_source_and_counts_what_it_held() {
        for live in [true, false] {
            let counters = Arc::new(StreamCounters::default());
            let (_stop, stopped) = shutdown::channel();
            let (inlet, outlet) = queue(live, Arc::clone(&counters), stopped);
            assert!(inlet.deliver(frame(0)).is_continue());
            drop(outlet);
            assert!(inlet.deliver(frame(1)).is_break());
            assert_eq!((counters.read().captured, counters.read().dropped), (1, 1), "live: {live}");
        }
    }
}
