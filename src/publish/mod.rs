//! Where results go. A [`Sink`] takes one record at a time, in order; sinks do not know each other.

mod handshake;
mod mqtt;
mod probe;
mod stdout;
mod tls;

use std::io;
use std::time::Instant;

use crate::config::SecretError;
use crate::exit::Exit;
use crate::record::ResultRecord;

pub use handshake::HandshakeError;
pub use mqtt::{Mqtt, Unsent, check};
pub use probe::{Answer, ProbeError, probe};
pub use stdout::Stdout;
pub use tls::TlsError;

/// Whether a stream delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamState {
    /// It does.
    Online,
    /// Its source has failed and is opened again.
    Retrying,
    /// It does no longer.
    Offline,
}

/// Takes what leaves the program.
pub trait Sink: Send {
    /// Takes a result; `line` is the record as JSON, without the line's end.
    ///
    /// # Errors
    /// The sink is lost for good. One that can come back keeps what it can, and returns no error.
    fn result(&mut self, record: &ResultRecord, line: &[u8]) -> Result<(), Error>;

    /// Takes the new state of a stream.
    ///
    /// # Errors
    /// As for [`Sink::result`].
    fn stream(&mut self, stream: &str, state: StreamState) -> Result<(), Error>;

    /// Hands out what is still held, until `deadline`.
    ///
    /// # Errors
    /// Something remains that could not be handed out.
    fn close(self: Box<Self>, deadline: Instant) -> Result<(), Error>;
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
    /// No thread for the connection.
    #[error("cannot start a thread for MQTT")]
    Thread(#[source] io::Error),
    /// A thread of the MQTT client has ended by itself.
    #[error("the MQTT client has failed: this is a fault of the program, please report it")]
    Ended,
    /// Results were still waiting at the end, or had been dropped.
    #[error("{0}")]
    Unsent(Unsent),
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
