//! Logs: to standard error, in colour only on a terminal; to the journal with their fields where standard error leads to
//! it, as in a service.

use std::env;
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Verbosity;
use super::journal::{self, Journal};

/// Whether colours are wanted where a terminal shows them (no-color.org).
pub(super) fn colour() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
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
    let journal = journal::is_connected().then(Journal::new).and_then(Result::ok);
    let started = match journal {
        Some(journal) => tracing_subscriber::registry().with(filter).with(journal).try_init(),
        None => tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal() && colour())
            .log_internal_errors(false)
            .with_target(false)
            .finish()
            .try_init(),
    };
    if let Err(error) = started {
        tracing::debug!("logging has been started before: {error}");
    }
    if let Some(error) = refused {
        tracing::warn!("$HARDNETD_LOG is ignored: {error}");
    }
}
