//! Where results go. A [`Sink`] takes one record at a time, in order; sinks do not know each other.
//!
//! Each sink has a bounded queue and threads of its own, so that taking a record never waits: a sink that is blocked or
//! lost holds up no other. When the queue is full, the oldest result of a live stream gives way and is counted; a file
//! waits ([`Backlog`]). Sinks outlive the pipeline that feeds them.

mod backlog;
mod handshake;
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
pub use probe::{Answer, ProbeError, probe};
pub use stdout::Stdout;
pub use tls::TlsError;

/// A line of JSON, which sinks share. Its memory is used again when all of them have let it go.
pub type JsonLine = Arc<Vec<u8>>;

/// A record on its way out, written as JSON once for all sinks.
#[derive(Debug)]
pub struct Outgoing {
    /// The record.
    pub record: Record,
    /// The same as JSON, with the line's end; empty for the state of a stream, which has no JSON.
    pub line: JsonLine,
    /// The place of a result in the backlog of its stream; `None` for live streams. A sink that hands out every result of
    /// a file keeps a clone until it has done so.
    pub permit: Option<Permit>,
}

impl Outgoing {
    /// The state of a stream.
    #[must_use]
    pub fn stream(stream: Arc<str>, state: StreamState) -> Self {
        Self { record: Record::Stream(StreamRecord { stream, state }), line: JsonLine::default(), permit: None }
    }

    /// The record as JSON, without the line's end.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        self.line.strip_suffix(b"\n").unwrap_or(&self.line)
    }
}

/// Takes what leaves the program.
pub trait Sink: Send {
    /// What the sink is called in messages; a process has one sink of each name.
    fn name(&self) -> &'static str;

    /// The sink is in force from now on: it may connect. Called once, before the first record.
    fn begin(&mut self) {}

    /// Takes over what another sink of the same name could not hand out, before [`begin`](Self::begin).
    fn adopt(&mut self, unsent: Unsent);

    /// Takes a record, without waiting. A sink leaves records of kinds that it does not publish.
    ///
    /// # Errors
    /// The sink is lost for good. One that can come back keeps what it can, and returns no error.
    fn take(&mut self, outgoing: &Outgoing) -> Result<(), Error>;

    /// After the last record of a run that was not stopped: waits, until `stopped`, for who must get every result.
    ///
    /// # Errors
    /// As for [`Sink::take`].
    fn flush(&mut self, stopped: &Stopped) -> Result<(), Error> {
        let _ = stopped;
        Ok(())
    }

    /// Hands out what is still held, until `deadline`.
    ///
    /// # Errors
    /// [`Error::Unsent`]: something remains that could not be handed out. Or the sink was lost.
    fn close(self: Box<Self>, deadline: Instant) -> Result<(), Error>;
}

/// What a sink could not hand out.
#[derive(Debug, Default)]
pub struct Unsent {
    lines: Vec<stdout::Line>,
    /// Whether one more line is being written, and stays with its writer.
    is_cut: bool,
    messages: Vec<mqtt::Message>,
    /// Why there was no connection to send them on, if there was none.
    unreachable: Option<String>,
    /// Results that were dropped before, for want of room in a queue, and have not been reported yet.
    dropped: u64,
}

impl Unsent {
    /// How many results there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len() + usize::from(self.is_cut) + self.messages.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A sink cannot be opened, or is lost.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Standard output cannot be written.
    #[error("cannot write results to standard output: {}", hint(.0))]
    Stdout(#[source] io::Error),
    /// The password file cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The settings of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No thread for a sink.
    #[error("cannot start a thread for a sink")]
    Thread(#[source] io::Error),
    /// A thread of the MQTT client has ended by itself.
    #[error("the MQTT client has failed: this is a fault of the program, please report it")]
    Ended,
    /// Results were still waiting at the end, or had been dropped.
    #[error("{}", not_taken(.0))]
    Unsent(Unsent),
}

fn not_taken(unsent: &Unsent) -> String {
    let who =
        if unsent.lines.is_empty() && !unsent.is_cut { "the MQTT broker" } else { "whoever reads standard output" };
    let results = counted(unsent.len(), "result", "results");
    let text = || match &unsent.unreachable {
        Some(reason) => format!("{results} did not reach {who}: {reason}"),
        None => format!("{who} did not take {results} before the stop's deadline (device.stop_timeout_s)"),
    };
    match unsent.dropped {
        0 => text(),
        dropped if unsent.is_empty() => {
            let results = counted(dropped, "result", "results");
            format!("{results} had been dropped, since publish.mqtt.queue was full")
        }
        dropped => format!("{}; {dropped} more had been dropped, since publish.mqtt.queue was full", text()),
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
    /// The exit code that the error stands for.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Stdout(_) => Exit::Io,
            Self::Secret(_) | Self::Tls(_) => Exit::Config,
            Self::Thread(_) | Self::Ended => Exit::Internal,
            Self::Unsent(_) => Exit::Unavailable,
        }
    }
}
