//! Logs as entries of the systemd journal: with a priority, and with every field of an event as a field of the entry, so
//! that `journalctl -u hardnetd HARDNETD_STREAM=door` shows what concerns one stream (systemd.journal-fields(7)).

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use libsystemd::logging::{Priority, journal_send};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::config::redact_words;

/// The field of an event that holds its text.
const MESSAGE: &str = "message";

/// Sends events to the journal.
pub(super) struct Journal;

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let entry = Entry::of(event);
        let fields = entry.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        if journal_send(priority(*event.metadata().level()), &entry.message, fields).is_err() {
            // Where the socket is away, standard error may still lead to the journal; nothing else is left to tell it.
            let _ = writeln!(io::stderr(), "{}", entry.message);
        }
    }
}

fn priority(level: Level) -> Priority {
    match level {
        Level::ERROR => Priority::Error,
        Level::WARN => Priority::Warning,
        Level::INFO => Priority::Info,
        Level::DEBUG | Level::TRACE => Priority::Debug,
    }
}

/// An event as the journal takes it. The text has the fields behind it, as on standard error: `journalctl` shows the text
/// alone.
struct Entry {
    message: String,
    fields: Vec<(String, String)>,
}

impl Entry {
    fn of(event: &Event<'_>) -> Self {
        let mut fields = vec![("SYSLOG_IDENTIFIER".to_owned(), env!("CARGO_PKG_NAME").to_owned())];
        let metadata = event.metadata();
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            fields.push(("CODE_FILE".to_owned(), file.to_owned()));
            fields.push(("CODE_LINE".to_owned(), line.to_string()));
        }
        let mut entry = Self { message: String::new(), fields };
        event.record(&mut Text(&mut entry.message));
        event.record(&mut entry);
        entry.message = redact_words(&entry.message).into_owned();
        entry
    }
}

/// Takes the text of an event, wherever it stands among its fields.
struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == MESSAGE {
            // Writing to a string does not fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // What libraries log through `log` tells its place in such fields.
        if field.name() == MESSAGE || field.name().starts_with("log.") {
            return;
        }
        let value = format!("{value:?}");
        let _ = write!(self.message, " {}={value}", field.name());
        let name = field.name().replace(|c: char| !c.is_ascii_alphanumeric(), "_").to_ascii_uppercase();
        self.fields.push((format!("HARDNETD_{name}"), redact_words(&value).into_owned()));
    }
}

#[cfg(test)]
mod units {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<(u8, Entry)>>>);

    impl<S: Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            self.0.lock().unwrap().push((priority(*event.metadata().level()).into(), Entry::of(event)));
        }
    }

    #[test]
    fn an_event_keeps_its_priority_its_text_and_its_fields() {
        let seen = Seen::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(seen.clone()), || {
            tracing::warn!(stream = %"door", wait_s = 2.5, "opened again: {}", "no answer");
            tracing::error!("two\nlines");
        });
        let seen = seen.0.lock().unwrap();
        let [(warning, opened), (error, lines)] = seen.as_slice() else { panic!("two events") };
        assert_eq!((*warning, *error), (4, 3), "the priorities of syslog(3)");
        assert_eq!(opened.message, "opened again: no answer stream=door wait_s=2.5");
        assert_eq!(lines.message, "two\nlines");
        let field = |name: &str| {
            opened.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        assert_eq!(field("HARDNETD_STREAM"), "door");
        assert_eq!(field("HARDNETD_WAIT_S"), "2.5");
        assert_eq!(field("SYSLOG_IDENTIFIER"), "hardnetd");
        assert!(field("CODE_FILE").ends_with("journal.rs"));
        assert!(field("CODE_LINE").parse::<u32>().is_ok());
    }
}
