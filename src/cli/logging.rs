//! Logs: to standard error, in colour only on a terminal; to the journal with their fields where standard error leads to
//! it, as in a service.

use std::env;
use std::io::{self, IsTerminal, Write};

use libsystemd::logging::connected_to_journal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Verbosity;
use super::journal::Journal;
use crate::config::redact_words;

/// Whether colours are wanted where a terminal shows them (no-color.org).
pub(super) fn colour() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes lines of the log without the logins of addresses, whoever has logged them. A line comes in one piece.
struct Redacted<W>(W);

impl<W: Write> Write for Redacted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(redact_words(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Starts logging for the process. `$HARDNETD_LOG` wins over the flags.
pub(super) fn start(verbosity: &Verbosity) {
    let default = match (verbosity.quiet, verbosity.verbose) {
        (true, _) => "warn",
        (false, 0) => "warn,hardnetd=info",
        (false, 1) => "info,hardnetd=debug",
        (false, _) => "trace",
    };
    let asked = env::var("HARDNETD_LOG").ok();
    let (filter, refused) = match asked.as_deref().map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(default), Some(error)),
        None => (EnvFilter::new(default), None),
    };
    let started = if connected_to_journal() {
        tracing_subscriber::registry().with(filter).with(Journal).try_init()
    } else {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(|| Redacted(io::stderr()))
            .with_ansi(io::stderr().is_terminal() && colour())
            .log_internal_errors(false)
            .with_target(false)
            .finish()
            .try_init()
    };
    if let Err(error) = started {
        tracing::debug!("logging has been started before: {error}");
    }
    if let Some(error) = refused {
        tracing::warn!("$HARDNETD_LOG is ignored: {error}");
    }
}
