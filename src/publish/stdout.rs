//! JSON Lines on standard output: a dedicated thread writes every line whole, in one piece.
//!
//! A write into a pipe that nobody reads cannot be interrupted. So nothing waits for the writer thread without a
//! deadline, and there is a single one for the whole process, across reloads: a second one could write into the middle
//! of a line.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::lines::{Line, Lines};
use super::{Error, Outgoing, Rest, Sink, Unsent};
use crate::config;
use crate::record::Record;
use crate::shutdown::{self, Stopped};
use crate::telemetry::SinkCounters;

/// Maximum time between two checks whether a wait should end.
const LOOK: Duration = Duration::from_millis(50);
/// Time before output that would block is retried.
const RETRY: Duration = Duration::from_millis(10);

/// The writer's queue.
#[derive(Debug, Default)]
struct Queue {
    lines: Lines,
    /// Whether a line is being written.
    is_writing: bool,
    /// Whether the output has received part of a line: the next writer ends that line first.
    is_cut: bool,
    /// Whether a writer thread exists.
    has_writer: bool,
    /// Why there is no writer any more.
    lost: Option<io::Error>,
    counters: Option<Arc<SinkCounters>>,
}

impl Queue {
    fn push(&mut self, line: Line) {
        let Some(dropped) = self.lines.push(line) else { return };
        if let Some(counters) = &self.counters {
            counters.count_lost();
        }
        if dropped.is_power_of_two() {
            tracing::warn!(dropped, "nobody reads standard output: the oldest results of live streams are dropped");
        }
    }

    fn is_idle(&self) -> bool {
        self.lines.is_empty() && !self.is_writing
    }
}

/// State shared by the sink and its writer.
#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Notified when the queue changes.
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>, limit: Duration) -> MutexGuard<'a, Queue> {
        self.changed.wait_timeout(queue, limit).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Writes line by line while the output accepts them.
    fn write(&self, output: &mut impl Write) {
        let mut queue = self.lock();
        loop {
            queue = match queue.lines.pop() {
                None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(line) => {
                    queue.is_writing = true;
                    let is_cut = queue.is_cut;
                    drop(queue);
                    let written = end_line(output, is_cut).and_then(|()| write_all(output, &line.bytes));
                    drop(line);
                    let mut queue = self.lock();
                    queue.is_writing = false;
                    queue.is_cut &= written.is_err();
                    if let Err((error, is_cut)) = written {
                        (queue.lost, queue.has_writer) = (Some(error), false);
                        queue.is_cut |= is_cut;
                        queue.lines.clear();
                        self.changed.notify_all();
                        return;
                    }
                    self.changed.notify_all();
                    queue
                }
            };
        }
    }
}

/// Writes all of `bytes`, waiting while the output cannot take them: another process that shares the pipe may have made
/// it non-blocking.
///
/// # Errors
/// If the output is lost. The flag says whether it has received part of the line.
fn write_all(output: &mut impl Write, bytes: &[u8]) -> Result<(), (io::Error, bool)> {
    let mut rest = bytes;
    loop {
        let written = if rest.is_empty() { output.flush().map(|()| None) } else { output.write(rest).map(Some) };
        match written {
            Ok(None) => return Ok(()),
            Ok(Some(0)) => return Err((io::ErrorKind::WriteZero.into(), rest.len() < bytes.len())),
            Ok(Some(length)) => rest = &rest[length..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((error, (1..bytes.len()).contains(&rest.len()))),
        }
    }
}

/// Ends the line that the previous writer left incomplete.
fn end_line(output: &mut impl Write, is_cut: bool) -> Result<(), (io::Error, bool)> {
    if is_cut { write_all(output, b"\n") } else { Ok(()) }
}

/// Writes one line per result.
#[derive(Debug)]
pub struct Stdout {
    shared: Arc<Shared>,
    most: usize,
    /// Whether statistics are printed.
    stats: bool,
}

impl Stdout {
    /// The process's standard output.
    ///
    /// # Errors
    /// If the writer thread cannot be started.
    pub fn new(settings: &config::Stdout, counters: Arc<SinkCounters>) -> Result<Self, Error> {
        static PROCESS: Mutex<Option<Arc<Shared>>> = Mutex::new(None);
        let mut process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        let shared: &Arc<Shared> = process.get_or_insert_default();
        shared.lock().counters = Some(counters);
        let sink = Self::with(Arc::clone(shared), settings.queue as usize, io::stdout())?;
        Ok(Self { stats: settings.stats, ..sink })
    }

    /// Any other output.
    ///
    /// # Errors
    /// If the writer thread cannot be started.
    pub fn to(output: impl Write + Send + 'static, most: usize) -> Result<Self, Error> {
        Self::with(Arc::default(), most, output)
    }

    fn with(shared: Arc<Shared>, most: usize, mut output: impl Write + Send + 'static) -> Result<Self, Error> {
        let has_writer = std::mem::replace(&mut shared.lock().has_writer, true);
        if !has_writer {
            shared.lock().lost = None;
            let writer = Arc::clone(&shared);
            // The handle is dropped: the thread lives until the process ends or the output is lost.
            let started = shutdown::spawn("stdout", move || writer.write(&mut output));
            if let Err(error) = started {
                shared.lock().has_writer = false;
                return Err(Error::Thread(error));
            }
        }
        Ok(Self { shared, most, stats: false })
    }

    /// Reports a lost output to every sink that uses it: those from before a reload and those from after it.
    fn check(queue: &Queue) -> Result<(), Error> {
        let again = |error: &io::Error| match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        };
        queue.lost.as_ref().map_or(Ok(()), |error| Err(Error::Stdout(again(error))))
    }
}

impl Sink for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn begin(&mut self) {
        self.shared.lock().lines.limit(self.most);
    }

    fn adopt(&mut self, unsent: Unsent) {
        let Rest::Stdout { lines, .. } = unsent.rest else { return };
        let mut queue = self.shared.lock();
        queue.lines.limit(self.most);
        for line in lines {
            queue.push(line);
        }
        self.shared.changed.notify_all();
    }

    fn take(&mut self, outgoing: &Outgoing) -> Result<(), Error> {
        match outgoing.record {
            Record::Result(_) => {}
            Record::Stats(_) if self.stats => {}
            _ => return Ok(()),
        }
        let mut queue = self.shared.lock();
        Self::check(&queue)?;
        if let (Record::Result(_), Some(counters)) = (&outgoing.record, &queue.counters) {
            counters.count_taken();
        }
        queue.push(Line { bytes: Arc::clone(&outgoing.line), permit: outgoing.permit.clone() });
        self.shared.changed.notify_all();
        Ok(())
    }

    fn flush(&mut self, stopped: &Stopped) -> Result<(), Error> {
        let mut queue = self.shared.lock();
        while !queue.is_idle() && queue.lost.is_none() && !stopped.is_set() {
            queue = self.shared.wait(queue, LOOK);
        }
        Self::check(&queue)
    }

    fn close(self: Box<Self>, deadline: Instant) -> Result<(), Error> {
        let mut queue = self.shared.lock();
        while !queue.is_idle() && queue.lost.is_none() {
            match deadline.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => queue = self.shared.wait(queue, left),
                _ => break,
            }
        }
        Self::check(&queue)?;
        let rest = Rest::Stdout { lines: queue.lines.clear(), is_cut: queue.is_writing };
        let unsent = Unsent { rest, unreachable: None, dropped: 0 };
        if unsent.is_empty() { Ok(()) } else { Err(Error::Unsent(unsent)) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// Accepts a few bytes at a time, is busy at every second call, and is full in the end.
    struct Small {
        taken: Vec<u8>,
        room: usize,
        is_busy: bool,
    }

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.is_busy = !self.is_busy;
            if self.is_busy {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let length = bytes.len().min(3).min(self.room);
            if length == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= length;
            self.taken.extend(&bytes[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_output_that_would_block_is_waited_for_and_a_line_that_is_cut_is_ended() {
        let mut output = Small { taken: Vec::new(), room: 12, is_busy: false };
        write_all(&mut output, b"first\n").unwrap();
        let (error, is_cut) = write_all(&mut output, b"the second\n").unwrap_err();
        assert_eq!((error.kind(), is_cut), (io::ErrorKind::StorageFull, true));
        let (_, is_cut) = write_all(&mut output, b"third\n").unwrap_err();
        assert!(!is_cut, "nothing of it has been taken");
        output.room = 100;
        end_line(&mut output, true).and_then(|()| write_all(&mut output, b"fourth\n")).unwrap();
        assert_eq!(output.taken, b"first\nthe se\nfourth\n");
    }

    #[test]
    fn an_output_that_is_lost_while_a_reload_is_prepared_is_lost_to_the_sinks_of_both() {
        let shared = Arc::<Shared>::default();
        let full = || Small { taken: Vec::new(), room: 0, is_busy: false };
        let mut old = Stdout::with(Arc::clone(&shared), 8, full()).unwrap();
        let mut new = Stdout::with(Arc::clone(&shared), 8, full()).unwrap();
        shared.lock().push(Line { bytes: Arc::new(b"a line\n".to_vec()), permit: None });
        shared.changed.notify_all();
        let (_stop, stopped) = shutdown::channel();
        assert!(matches!(old.flush(&stopped), Err(Error::Stdout(_))));
        assert!(matches!(new.flush(&stopped), Err(Error::Stdout(_))));
        let mut third = Stdout::with(Arc::clone(&shared), 8, Small { room: 100, ..full() }).unwrap();
        shared.lock().push(Line { bytes: Arc::new(b"another\n".to_vec()), permit: None });
        shared.changed.notify_all();
        assert!(third.flush(&stopped).is_ok());
        assert!(shared.lock().is_idle(), "the new writer has written it");
    }
}
