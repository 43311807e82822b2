//! Destinations of results. A [`Sink`] takes one record at a time, in order; sinks are independent of each other.
//!
//! Each sink has a bounded queue and its own threads, so taking a record never waits: a blocked or lost sink does not
//! hold up the others. When the queue is full, the oldest result is dropped and counted; the results of a file wait
//! for standard output ([`Backlog`]). Sinks outlive the pipeline that feeds them.

mod address;
mod backlog;
mod handshake;
mod lines;
mod mqtt;
mod probe;
mod stdout;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::config::SecretError;
use crate::exit::Exit;
use crate::plural::counted;
use crate::record::{Record, StreamRecord, StreamState};
use crate::shutdown::Stopped;

pub use backlog::{Backlog, Permit};
pub use handshake::HandshakeError;
pub use mqtt::{Mqtt, check};
pub use probe::{Answer, Kept, ProbeError, probe};
pub use stdout::Stdout;
pub use tls::TlsError;

/// A line of JSON, shared by the sinks. Its memory is reused when all of them have released it.
pub type JsonLine = Arc<Vec<u8>>;

/// A record on its way out, serialised once for all sinks.
#[derive(Debug)]
pub struct Outgoing {
    /// The record.
    pub record: Record,
    /// The record as JSON, with a line feed; empty for the state of a stream, which has no JSON form.
    pub line: JsonLine,
    /// The result's place in the backlog of its stream; `None` for live streams. A sink that hands out every result of
    /// a file keeps a clone until it has done so.
    pub permit: Option<Permit>,
}

impl Outgoing {
    /// The state of a stream.
    #[must_use]
    pub fn stream(stream: Arc<str>, state: StreamState) -> Self {
        Self { record: Record::Stream(StreamRecord { stream, state }), line: JsonLine::default(), permit: None }
    }

    /// The record as JSON, without the line feed.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        self.line.strip_suffix(b"\n").unwrap_or(&self.line)
    }
}

/// A destination of records.
pub trait Sink: Send {
    /// Name of the sink in messages; unique within the process.
    fn name(&self) -> &'static str;

    /// Activates the sink: it may connect. Called once. Records taken before wait.
    fn begin(&mut self) {}

    /// Takes over what another sink of the same name could not hand out; called before [`begin`](Self::begin).
    fn adopt(&mut self, unsent: Unsent);

    /// Takes a record without waiting. A sink ignores kinds of records that it does not publish.
    ///
    /// # Errors
    /// If the sink is lost for good. A sink that can recover keeps what it can and returns no error.
    fn take(&mut self, outgoing: &Outgoing) -> Result<(), Error>;

    /// Called after the last record of a run that was not stopped: waits, until `stopped`, for readers that must get
    /// every result.
    ///
    /// # Errors
    /// As for [`Sink::take`].
    fn flush(&mut self, stopped: &Stopped) -> Result<(), Error> {
        let _ = stopped;
        Ok(())
    }

    /// Hands out what is left, until `deadline`.
    ///
    /// # Errors
    /// [`Error::Unsent`] if something could not be handed out; also if the sink was lost.
    fn close(self: Box<Self>, deadline: Instant) -> Result<(), Error>;
}

/// What a sink could not hand out.
#[derive(Debug)]
pub struct Unsent {
    rest: Rest,
    /// Why there was no connection to send them on, if there was none.
    unreachable: Option<String>,
    /// Results dropped earlier because the queue was full, and not reported yet.
    dropped: u64,
}

/// What is left in a sink, for one of the same kind.
#[derive(Debug)]
enum Rest {
    Stdout {
        lines: Vec<lines::Line>,
        /// Whether one more line is partly written and remains with its writer.
        is_cut: bool,
    },
    Mqtt(Vec<mqtt::Message>),
}

impl Unsent {
    /// Number of results.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.rest {
            Rest::Stdout { lines, is_cut } => lines.len() + usize::from(*is_cut),
            Rest::Mqtt(messages) => messages.len(),
        }
    }

    /// Whether there are no results.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Who was to take the results, and the setting that limits the queue.
    fn reader_and_limit(&self) -> (&'static str, &'static str) {
        match &self.rest {
            Rest::Stdout { .. } => ("the reader of standard output", "publish.stdout.queue"),
            Rest::Mqtt(_) => ("the MQTT broker", "publish.mqtt.queue"),
        }
    }
}

/// A sink cannot be opened, or is lost.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Standard output is not writable.
    #[error("cannot write results to standard output: {}", hint(.0))]
    Stdout(#[source] io::Error),
    /// The password file cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The settings of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The thread of a sink cannot be started.
    #[error("cannot start a thread for a sink")]
    Thread(#[source] io::Error),
    /// A thread of the MQTT client ended unexpectedly.
    #[error("the MQTT client has failed: this is a fault of the program, please report it")]
    Ended,
    /// Results were still waiting at the end, or had been dropped.
    #[error("{}", not_taken(.0))]
    Unsent(Unsent),
}

fn not_taken(unsent: &Unsent) -> String {
    let (reader, limit) = unsent.reader_and_limit();
    let results = counted(unsent.len(), "result", "results");
    let text = || match &unsent.unreachable {
        Some(reason) => format!("{results} did not reach {reader}: {reason}"),
        None => format!("{reader} did not take {results} before the stop's deadline (device.stop_timeout_s)"),
    };
    match unsent.dropped {
        0 => text(),
        dropped if unsent.is_empty() => {
            let results = counted(dropped, "result", "results");
            format!("{results} had been dropped because {limit} was full")
        }
        dropped => format!("{}; {dropped} more had been dropped because {limit} was full", text()),
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::BrokenPipe => "its reader is gone; keep it open, or set publish.stdout.enabled = false",
        io::ErrorKind::StorageFull => "the disk is full",
        _ => "check what it is redirected to",
    }
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Stdout(_) => Exit::Io,
            Self::Secret(_) | Self::Tls(_) => Exit::Config,
            Self::Ended => Exit::Internal,
            Self::Thread(_) | Self::Unsent(_) => Exit::Unavailable,
        }
    }
}
