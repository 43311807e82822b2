//! Logs: to standard error, in colour only on a terminal; to the journal, with their fields, if standard error is
//! connected to it, as in a service.

use std::io::{self, IsTerminal, Write};
use std::{env, fmt};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Verbosity;
use super::journal::{self, Journal};
use super::lines::Lines;
use crate::config::redact_words;
use crate::printable;

/// The field of an event that holds its text.
pub(super) const MESSAGE: &str = "message";

/// Whether colours are wanted on a terminal (no-color.org).
pub(super) fn colour() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes log lines with the logins in addresses removed, whatever their origin. Each line arrives in one piece.
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

/// A started log. Dropping it waits a short time for the remaining lines.
pub(super) struct Log(Option<Lines>);

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(lines) = &self.0 {
            lines.flush();
        }
    }
}

/// Starts logging for the process. `$HARDNETD_LOG` overrides the flags. A `daemon` never waits for the reader of
/// standard error.
pub(super) fn start(verbosity: &Verbosity, daemon: bool) -> Log {
    // tract warns of every operator set that is newer than its own tests.
    let default = match (verbosity.quiet, verbosity.verbose) {
        (true, _) => "warn,tract_onnx=error",
        (false, 0) => "warn,hardnetd=info,tract_onnx=error",
        (false, 1) => "info,hardnetd=debug",
        (false, _) => "trace",
    };
    let asked = env::var("HARDNETD_LOG").ok().filter(|filter| !filter.is_empty());
    let (filter, refused) = match asked.as_deref().map(filter) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (filter(default).unwrap_or_default(), Some(error)),
        None => (filter(default).unwrap_or_default(), None),
    };
    let journal = journal::is_connected().then(Journal::new).and_then(Result::ok);
    // If the thread cannot be started, the logging threads write their own lines.
    let lines = (daemon && journal.is_none()).then(|| Lines::to(Redacted(io::stderr()))).and_then(Result::ok);
    let writer = match lines.clone() {
        Some(lines) => BoxMakeWriter::new(move || lines.clone()),
        None => BoxMakeWriter::new(|| Redacted(io::stderr())),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let started = match journal {
        Some(journal) => registry.with(journal).try_init(),
        None => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(writer)
                    .with_ansi(io::stderr().is_terminal() && colour())
                    .fmt_fields(Line)
                    .log_internal_errors(false)
                    .with_target(false),
            )
            .try_init(),
    };
    if let Err(error) = started {
        tracing::debug!("logging has been started before: {error}");
    }
    if let Some(error) = refused {
        tracing::warn!("$HARDNETD_LOG is ignored: {error}");
    }
    Log(lines)
}

/// Reads a list such as `warn,hardnetd=debug`: levels, each for the modules whose path begins with the name before it.
///
/// # Errors
/// If it is no such list, or, as after a typing error in a level, nothing of hardnetd is in it.
fn filter(text: &str) -> Result<Targets, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let parsed = parts.collect::<Vec<_>>().join(",").parse::<Targets>().map_err(|error| error.to_string());
    let text: String = text.chars().take(SHOWN).collect();
    match parsed {
        Ok(targets) if concerns_us(&targets) => Ok(targets),
        Ok(_) => Err(format!("{text:?} selects nothing of hardnetd; expected levels and modules, such as {EXAMPLE:?}")),
        Err(error) => Err(format!("{text:?}: {error}; expected levels and modules, such as {EXAMPLE:?}")),
    }
}

/// Characters shown of a wrong filter.
const SHOWN: usize = 80;

/// A filter for messages.
const EXAMPLE: &str = "warn,hardnetd=debug";

/// Whether a filter has a level for everything, or one for a module of hardnetd.
fn concerns_us(targets: &Targets) -> bool {
    targets.default_level().is_some() || targets.iter().any(|(target, _)| target.starts_with("hardnetd"))
}

/// Whether a field gives the origin of a library's message that came through `log`.
pub(super) fn is_of_log(field: &Field) -> bool {
    field.name().starts_with("log.")
}

/// Formats the text and the fields of an event as one line, whatever characters they contain.
struct Line;

impl<'w> FormatFields<'w> for Line {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Visitor { writer, begun: false, outcome: Ok(()) };
        fields.record(&mut visitor);
        visitor.outcome
    }
}

struct Visitor<'w> {
    writer: Writer<'w>,
    begun: bool,
    outcome: fmt::Result,
}

impl Visitor<'_> {
    fn field(&mut self, field: &Field, value: fmt::Arguments<'_>) -> fmt::Result {
        if self.begun {
            self.writer.write_char(' ')?;
        }
        self.begun = true;
        if field.name() != MESSAGE {
            let (on, off) = if self.writer.has_ansi_escapes() { ("\x1b[3m", "\x1b[0m") } else { ("", "") };
            write!(self.writer, "{on}{}{off}=", field.name())?;
        }
        printable::write(&mut self.writer, value)
    }
}

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.outcome.is_ok() && !is_of_log(field) {
            self.outcome = self.field(field, format_args!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing::Level;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(colour: bool) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(colour)
            .fmt_fields(Line)
            .without_time()
            .with_target(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(stream = %"door\u{1b}]0;x\u{7}", name = "a\nb", count = 3, "an answer: {}", "no\n WARN forged\u{9b}m");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_of_the_log_holds_one_event_and_nothing_that_a_terminal_obeys() {
        let line = " WARN an answer: no\\n WARN forged\\u{9b}m stream=door\\u{1b}]0;x\\u{7} name=\"a\\nb\" count=3\n";
        assert_eq!(logged(false), line);
    }

    #[test]
    fn a_filter_sets_a_level_for_everything_and_for_modules() {
        let chosen = filter("warn, hardnetd=info,,hardnetd::publish=debug").unwrap();
        let wanted = [
            ("gst", Level::WARN, true),
            ("gst", Level::INFO, false),
            ("hardnetd::service", Level::INFO, true),
            ("hardnetd::service", Level::DEBUG, false),
            ("hardnetd::publish::mqtt", Level::DEBUG, true),
            ("hardnetd::publish::mqtt", Level::TRACE, false),
        ];
        for (target, level, enabled) in wanted {
            assert_eq!(chosen.would_enable(target, &level), enabled, "{target} {level}");
        }
        assert!(filter("off").is_ok() && filter("hardnetd::publish=trace").is_ok());
        for wrong in ["hardnetd=loud", "nonsense", "debgu", "=,=", "*"] {
            assert!(filter(wrong).is_err_and(|error| error.contains(wrong) && error.contains(EXAMPLE)), "{wrong}");
        }
    }

    #[test]
    fn colours_are_those_of_the_program() {
        let text = logged(true);
        assert!(text.contains("\u{1b}[3mstream\u{1b}[0m=door\\u{1b}]0;x\\u{7}"), "{text:?}");
        assert_eq!(text.lines().count(), 1);
    }
}
