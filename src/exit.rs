//! How the program ends: its exit codes, after `sysexits.h`, and the one line that says why.
//!
//! Every error enum of the crate says which one it stands for; only `main` exits.

/// Why the program ends, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command line is wrong.
    Usage = 64,
    /// The input exists, and its content cannot be used.
    Data = 65,
    /// An input does not exist or cannot be read.
    NoInput = 66,
    /// Something that is needed is missing or does not answer: a plugin, a host.
    Unavailable = 69,
    /// A fault of the program itself.
    Internal = 70,
    /// Reading or writing failed half-way.
    Io = 74,
    /// The system does not permit what the configuration asks for.
    NoPermission = 77,
    /// The configuration is wrong.
    Config = 78,
}

impl Exit {
    /// The number that the process returns.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// An error and its causes behind one another. The text may hold whatever a file holds: what shows it to people makes
/// it printable (`printable`).
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string().trim_end().to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        let message = message.trim_end();
        // Some libraries end their messages with that of the cause.
        if !text.ends_with(message) {
            text.push_str(": ");
            text.push_str(message);
        }
        cause = error.source();
    }
    text
}
