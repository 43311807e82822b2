//! The queue between a source and its inference thread: one frame deep.
//!
//! A live source never waits: if the queue is full, a new frame replaces the old one, which is counted. A file waits,
//! so that no frame is lost.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};

use crate::capture::Frame;
use crate::shutdown::Stopped;
use crate::telemetry::StreamCounters;

/// The end at which the source adds frames.
pub(super) struct QueueSender {
    sender: Sender<Frame>,
    /// Takes a frame back out: the older one of a live source, or one that came too late.
    frames: Receiver<Frame>,
    live: bool,
    closed: Arc<AtomicBool>,
    counters: Arc<StreamCounters>,
    stopped: Stopped,
}

/// The end at which the inference thread takes frames; dropping it closes the queue.
pub(super) struct QueueReceiver {
    pub(super) frames: Receiver<Frame>,
    closed: Arc<AtomicBool>,
    counters: Arc<StreamCounters>,
}

/// Makes a queue for a source that is live or not.
pub(super) fn queue(live: bool, counters: Arc<StreamCounters>, stopped: Stopped) -> (QueueSender, QueueReceiver) {
    let (sender, frames) = bounded(1);
    let closed = Arc::new(AtomicBool::new(false));
    let inlet = QueueSender {
        sender,
        frames: frames.clone(),
        live,
        closed: Arc::clone(&closed),
        counters: Arc::clone(&counters),
        stopped,
    };
    (inlet, QueueReceiver { frames, closed, counters })
}

impl QueueSender {
    /// Whether frames are no longer taken.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst) || self.stopped.is_set()
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
        if self.closed.load(Ordering::SeqCst) {
            self.drop_one();
            return ControlFlow::Break(());
        }
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

impl Drop for QueueReceiver {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        while self.frames.try_recv().is_ok() {
            self.counters.count_dropped();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use super::*;
    use crate::capture::Samples;
    use crate::frame::{Color, Layout, PixelAspect, PixelFormat, Timestamp};
    use crate::shutdown;

    fn frame(seq: u64) -> Frame {
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
        let taken: Vec<u64> = outlet.frames.iter().map(|frame| frame.seq).collect();
        assert!(source.join().unwrap());
        assert_eq!(taken, (0..50).collect::<Vec<_>>());
        assert_eq!(counters.read().dropped, 0);
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
