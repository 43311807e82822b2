//! Keeps frames whose answer was uncertain, for the next teaching (`[collect]`).
//!
//! ```text
//! inference threads: a Chooser per stream ──► queue of two frames ──► thread `collect`: JPEG files in FOLDER/STREAM/
//! ```
//!
//! An inference thread decides by the scores, copies an uncertain frame and hands it over; it never waits. If the queue is
//! full, the frame is left out and counted. The thread limits the pictures of a stream and a day and the size of the
//! folder, by what the folder holds: a restart, a reload and another process with the same folder need no memory of it.
//! A disk that fails is a warning, and concerns nothing else.

mod candidate;
mod folder;
mod jpeg;
mod keeper;
mod name;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crossbeam_channel::{Sender, TrySendError, bounded};

use crate::config;
use crate::frame::{Picture, Timestamp};
use crate::inference::UNKNOWN;
use crate::record::Scored;
use crate::shutdown::{self, Thread};
use candidate::Candidate;
pub use jpeg::{Jpeg, JpegError};
use keeper::Keeper;

/// Frames that wait for the thread, each a copy in memory.
const DEPTH: usize = 2;

/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// No day is full.
const NONE_FULL: u64 = u64::MAX;

/// Hands uncertain frames to the thread that keeps them.
#[derive(Debug)]
pub struct Collector {
    candidates: Sender<Candidate>,
    left_out: Arc<AtomicU64>,
    margin: f32,
    interval_ns: u64,
}

impl Collector {
    /// Starts the thread, which ends when the collector and all its choosers are gone and what they handed over has been
    /// kept; `None` if no folder is set.
    ///
    /// # Errors
    /// If the system cannot create another thread.
    pub fn start(settings: &config::Collect) -> io::Result<Option<(Self, Thread<()>)>> {
        if settings.folder.is_empty() {
            return Ok(None);
        }
        let (candidates, to_keep) = bounded(DEPTH);
        let left_out = Arc::<AtomicU64>::default();
        let (keeper, not_kept) = (Keeper::new(settings), Arc::clone(&left_out));
        let thread = shutdown::spawn("collect", move || {
            let mut keeper = keeper;
            to_keep.iter().for_each(|candidate| keeper.take(&candidate));
            let (kept, failed, left_out) = (keeper.kept(), keeper.failed(), not_kept.load(Ordering::Relaxed));
            if kept + failed + left_out > 0 {
                tracing::info!(kept, failed, left_out, "uncertain frames since the start or the last reload");
            }
        })?;
        let interval_ns = u64::try_from(settings.interval().as_nanos()).unwrap_or(u64::MAX);
        let margin = settings.margin as f32;
        Ok(Some((Self { candidates, left_out, margin, interval_ns }, thread)))
    }

    /// Decides for the frames of `stream`.
    #[must_use]
    pub fn chooser(&self, stream: &Arc<str>) -> Chooser {
        Chooser {
            stream: Arc::clone(stream),
            candidates: self.candidates.clone(),
            left_out: Arc::clone(&self.left_out),
            margin: self.margin,
            interval_ns: self.interval_ns,
            latest_ns: None,
            full_day: Arc::new(NONE_FULL.into()),
        }
    }
}

/// Decides which frames of a stream are kept, for its inference thread.
#[derive(Debug)]
pub struct Chooser {
    stream: Arc<str>,
    candidates: Sender<Candidate>,
    left_out: Arc<AtomicU64>,
    margin: f32,
    interval_ns: u64,
    /// When the latest frame was captured that was handed over.
    latest_ns: Option<u64>,
    /// The day, counted from 1970, that has all the pictures it may have; set by the thread.
    full_day: Arc<AtomicU64>,
}

impl Chooser {
    /// Goes on from `before`, which decided for the stream until now.
    pub fn follow(&mut self, before: Option<&Self>) {
        self.latest_ns = before.and_then(|before| before.latest_ns);
    }

    /// Whether a frame may be kept that was captured then.
    #[must_use]
    pub fn is_due(&self, captured: Timestamp) -> bool {
        let is_late_enough = |latest| captured.monotonic_ns.saturating_sub(latest) >= self.interval_ns;
        self.latest_ns.is_none_or(is_late_enough) && self.full_day.load(Ordering::Relaxed) != day(captured.utc)
    }

    /// Whether an answer of at least two classes, best first, is uncertain.
    #[must_use]
    pub fn is_uncertain(&self, top: &[Scored]) -> bool {
        match top {
            [first, ..] if &*first.label == UNKNOWN => true,
            [first, second, ..] => first.score - second.score < self.margin,
            _ => false,
        }
    }

    /// Hands over a copy of a frame that is due and whose answer is uncertain; never waits.
    pub fn keep(&mut self, picture: &Picture<'_>, captured: Timestamp, best: &Scored) {
        if self.candidates.is_full() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let candidate = Candidate {
            stream: Arc::clone(&self.stream),
            captured: captured.utc,
            label: Arc::clone(&best.label),
            score: best.score,
            full_day: Arc::clone(&self.full_day),
            samples: candidate::Samples::of(picture),
        };
        match self.candidates.try_send(candidate) {
            Ok(()) => self.latest_ns = Some(captured.monotonic_ns),
            // Another inference thread was faster.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.left_out.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// The day of a time in UTC, counted from 1970.
fn day(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() / DAY_S)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::path::Path;

    use super::*;
    use crate::frame::{Color, Layout, PixelAspect, PixelFormat};

    fn settings(folder: &Path) -> config::Collect {
        config::Collect { folder: folder.to_str().unwrap().into(), interval_s: 10.0, ..config::Collect::default() }
    }

    fn scored(answers: &[(&str, f32)]) -> Vec<Scored> {
        let scored = |(index, &(label, score)): (usize, &(&str, f32))| Scored { index, label: label.into(), score };
        answers.iter().enumerate().map(scored).collect()
    }

    #[test]
    fn an_answer_is_uncertain_within_the_margin_or_if_it_is_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let (collector, thread) = Collector::start(&settings(folder.path())).unwrap().unwrap();
        let chooser = collector.chooser(&"door".into());
        let is_uncertain = |answers: &[(&str, f32)]| chooser.is_uncertain(&scored(answers));
        assert!(is_uncertain(&[("open", 0.55), ("closed", 0.45)]));
        assert!(!is_uncertain(&[("open", 0.65), ("closed", 0.35)]));
        assert!(is_uncertain(&[("unknown", 0.9), ("closed", 0.05)]));
        assert!(is_uncertain(&[("unknown", 1.0)]) && !is_uncertain(&[("open", 1.0)]) && !is_uncertain(&[]));
        drop((collector, chooser));
        thread.join(None).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn frames_that_come_faster_than_the_disk_takes_them_are_left_out_and_counted() {
        let (candidates, nobody_reads) = bounded(DEPTH);
        let left_out = Arc::<AtomicU64>::default();
        let collector = Collector { candidates, left_out: Arc::clone(&left_out), margin: 0.2, interval_ns: 0 };
        let mut chooser = collector.chooser(&"door".into());
        let (format, aspect) = (PixelFormat::Gray8, PixelAspect::SQUARE);
        let layout = Layout { format, width: 8, height: 8, color: Color::RGB, aspect };
        for _ in 0..5 {
            chooser.keep(&Picture::packed(layout, &[7; 64]).unwrap(), Timestamp::now(), &scored(&[("open", 0.5)])[0]);
        }
        assert_eq!((nobody_reads.len(), left_out.load(Ordering::Relaxed)), (DEPTH, 5 - DEPTH as u64));
    }

    #[test]
    fn without_a_folder_there_is_no_thread() {
        assert!(Collector::start(&config::Collect::default()).unwrap().is_none());
    }

    #[test]
    fn a_frame_is_due_after_the_interval_and_not_on_a_full_day() {
        let folder = tempfile::tempdir().unwrap();
        let (collector, thread) = Collector::start(&settings(folder.path())).unwrap().unwrap();
        let mut chooser = collector.chooser(&"door".into());
        let now = Timestamp::now();
        let later = |s: u64| Timestamp { monotonic_ns: now.monotonic_ns + s * 1_000_000_000, ..now };
        assert!(chooser.is_due(now));
        let grey = [7; 64];
        let (format, aspect) = (PixelFormat::Gray8, PixelAspect::SQUARE);
        let layout = Layout { format, width: 8, height: 8, color: Color::RGB, aspect };
        chooser.keep(&Picture::packed(layout, &grey).unwrap(), now, &scored(&[("open", 0.5)])[0]);
        assert!(!chooser.is_due(later(9)) && chooser.is_due(later(10)));
        let mut next = collector.chooser(&"door".into());
        next.follow(Some(&chooser));
        assert!(!next.is_due(later(9)) && next.is_due(later(10)));
        next.full_day.store(day(now.utc), Ordering::Relaxed);
        assert!(!next.is_due(later(10)));
        drop((collector, chooser, next));
        thread.join(None).unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("door")).unwrap().count(), 1, "what waited has been kept");
    }
}
