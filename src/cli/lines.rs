//! Log lines of a daemon, written by a separate thread, so that logging never waits for the reader.
//!
//! If nobody reads, the newest lines are dropped and counted. The next line that can be written is followed by their
//! number.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::plural::counted;
use crate::shutdown;

/// Maximum number of waiting lines.
const WAITING: usize = 1024;
/// Maximum time that the end of the process waits for the remaining lines.
const FLUSH: Duration = Duration::from_millis(500);

enum Item {
    Line(Vec<u8>),
    /// Signalled when everything before it has been written.
    Mark(Sender<()>),
}

/// Accepts lines, one per call of `write`.
#[derive(Clone)]
pub(super) struct Lines {
    items: Sender<Item>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    /// Starts the thread, which writes to `output`.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn to(output: impl Write + Send + 'static) -> io::Result<Self> {
        let (items, waiting) = bounded(WAITING);
        let dropped = Arc::<AtomicU64>::default();
        let lines = Self { items, dropped: Arc::clone(&dropped) };
        // The handle is dropped: the output may never take the rest.
        shutdown::spawn("log", move || write(&waiting, &dropped, output))?;
        Ok(lines)
    }

    /// Waits a short time until the lines so far are written.
    pub(super) fn flush(&self) {
        let end = Instant::now() + FLUSH;
        let (written, is_written) = bounded(1);
        if self.items.send_deadline(Item::Mark(written), end).is_ok() {
            // If the output is blocked, the lines are not waited for any longer.
            let _ = is_written.recv_deadline(end);
        }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.items.try_send(Item::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(items: &Receiver<Item>, dropped: &AtomicU64, mut output: impl Write) {
    for item in items {
        match item {
            // If the output fails, the line is lost; the next one may succeed, for example after a disk was full.
            Item::Line(line) => drop(output.write_all(&line)),
            Item::Mark(written) => drop(written.send(())),
        }
        let count = dropped.swap(0, Ordering::Relaxed);
        if count > 0 {
            let lines = counted(count, "line of the log was", "lines of the log were");
            drop(writeln!(output, "{lines} dropped, since nobody read the log"));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::Mutex;

    use super::*;

    /// Takes one line per permit.
    #[derive(Clone)]
    struct Slow {
        permits: Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Without a sender, everything is accepted.
            let _ = self.permits.recv();
            self.taken.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_output_that_takes_nothing_holds_up_nobody_and_what_it_missed_is_counted() {
        let (permit, permits) = bounded::<()>(0);
        let slow = Slow { permits, taken: Arc::default() };
        let mut lines = Lines::to(slow.clone()).unwrap();
        lines.write_all(b"first\n").unwrap();
        // The line has reached the output when the thread can take a permit.
        permit.send(()).unwrap();
        for number in 0..WAITING + 10 {
            lines.write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        // Returns although nothing is accepted.
        lines.flush();
        drop(permit);
        // The lines written and those reported as missing add up to all lines.
        let accounted = || {
            let taken = slow.taken.lock().unwrap();
            let text = std::str::from_utf8(&taken).unwrap();
            let dropped = text.lines().filter_map(|line| line.split_once(" line")?.0.parse::<usize>().ok());
            let (dropped, kept) = (dropped.sum::<usize>(), text.lines().filter(|line| line.parse::<usize>().is_ok()));
            (dropped, kept.count() + dropped)
        };
        let end = Instant::now() + Duration::from_secs(60);
        while accounted().1 < WAITING + 10 {
            assert!(Instant::now() < end, "{:?}", accounted());
            std::thread::yield_now();
        }
        let (dropped, all) = accounted();
        assert!(dropped > 0);
        assert_eq!(all, WAITING + 10);
    }
}
