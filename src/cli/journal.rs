//! Logs as entries of the systemd journal: with a priority, and with every field of an event as a field of the entry,
//! so that `journalctl -u hardnetd HARDNETD_STREAM=door` shows only what concerns that stream
//! (systemd.journal-fields(7)).

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use rustix::fs::fstat;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::logging::{MESSAGE, is_of_log};
use crate::config::redact_words;
use crate::printable;

/// Socket on which systemd-journald accepts entries, one per datagram.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Whether standard error is connected to the journal: `$JOURNAL_STREAM` has the device and the inode of a stream that
/// is (systemd.exec(5)).
pub(super) fn is_connected() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|own| stream == format!("{}:{}", own.st_dev, own.st_ino))
}

/// Sends events to the journal.
pub(super) struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    /// # Errors
    /// If the system refuses a socket.
    pub(super) fn new() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // If the journal accepts nothing, entries are lost instead of blocking the caller.
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    fn send(&self, priority: u8, entry: &Entry, to: &Path) -> io::Result<()> {
        self.socket.send_to(&entry.datagram(priority), to).map(drop)
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let entry = Entry::of(event);
        match self.send(priority(*event.metadata().level()), &entry, Path::new(SOCKET)) {
            // The socket is missing, or the entry is too long for a datagram. Standard error leads to the journal, too.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                let _ = writeln!(io::stderr(), "{}", entry.message);
            }
            _ => {}
        }
    }
}

/// The journal priority of a level (syslog(3)).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// An event in the form of a journal entry. Its text ends with the fields, as on standard error, because `journalctl`
/// shows only the text. The text is one printable line, whatever the event contains; the fields are exact.
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

    /// The entry in journald's protocol (systemd.io, "Native Journal Protocol").
    fn datagram(&self, priority: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        add(&mut bytes, "PRIORITY", &priority.to_string());
        add(&mut bytes, "MESSAGE", &self.message);
        for (name, value) in &self.fields {
            add(&mut bytes, name, value);
        }
        bytes
    }
}

/// Adds `NAME=value` and a newline; a value of several lines is preceded by its length instead.
fn add(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend(name.bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend((value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend(value.bytes());
    bytes.push(b'\n');
}

/// Extracts the text of an event from its fields.
struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == MESSAGE {
            // Writing to a string cannot fail.
            let _ = printable::write(self.0, format_args!("{value:?}"));
        }
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == MESSAGE || is_of_log(field) {
            return;
        }
        let value = format!("{value:?}");
        let _ = write!(self.message, " {}={}", field.name(), printable::Line(&value));
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
            self.0.lock().unwrap().push((priority(*event.metadata().level()), Entry::of(event)));
        }
    }

    #[test]
    fn an_event_keeps_its_priority_its_text_and_its_fields() {
        let seen = Seen::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(seen.clone()), || {
            tracing::warn!(stream = %"door", wait_s = 2.5, "opened again: {}", "no answer");
            tracing::error!(answer = %"a\u{1b}b", "two\nlines");
        });
        let seen = seen.0.lock().unwrap();
        let [(warning, opened), (error, lines)] = seen.as_slice() else { panic!("two events") };
        assert_eq!((*warning, *error), (4, 3), "the priorities of syslog(3)");
        assert_eq!(opened.message, "opened again: no answer stream=door wait_s=2.5");
        assert_eq!(
            lines.message, "two\\nlines answer=a\\u{1b}b",
            "no line can be forged, nor a terminal told anything"
        );
        assert!(lines.fields.contains(&("HARDNETD_ANSWER".to_owned(), "a\u{1b}b".to_owned())), "fields are exact");
        let field = |name: &str| {
            opened.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        assert_eq!(field("HARDNETD_STREAM"), "door");
        assert_eq!(field("HARDNETD_WAIT_S"), "2.5");
        assert_eq!(field("SYSLOG_IDENTIFIER"), "hardnetd");
        assert!(field("CODE_FILE").ends_with("journal.rs"));
        assert!(field("CODE_LINE").parse::<u32>().is_ok());
    }
    #[test]
    fn an_entry_is_a_datagram_with_a_field_in_each_line_and_a_length_before_several_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        let fields = vec![("HARDNETD_STREAM".to_owned(), "door".to_owned())];
        let entry = Entry { message: "two\nlines".to_owned(), fields };
        Journal::new().unwrap().send(4, &entry, &path).unwrap();
        let mut bytes = [0; 1024];
        let length = journald.recv(&mut bytes).unwrap();
        let expected = b"PRIORITY=4\nMESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\nHARDNETD_STREAM=door\n";
        assert_eq!(bytes[..length], expected[..]);
    }

    #[test]
    fn a_journal_that_is_away_and_an_entry_that_no_datagram_holds_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journal = Journal::new().unwrap();
        let send = |bytes| journal.send(6, &Entry { message: "x".repeat(bytes), fields: Vec::new() }, &path);
        assert_eq!(send(1).unwrap_err().kind(), io::ErrorKind::NotFound);
        let _journald = UnixDatagram::bind(&path).unwrap();
        assert_eq!(send(64 << 20).unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
    }
}
