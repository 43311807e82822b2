//! How the program ends: its exit codes, after `sysexits.h`, and the one-line error message.
//!
//! Every error enum of the crate maps to one; only `main` exits.

/// The reason for ending, as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command line is wrong.
    Usage = 64,
    /// The input exists, but its content is unusable.
    Data = 65,
    /// An input does not exist or cannot be read.
    NoInput = 66,
    /// Something required is missing or does not respond, such as a plugin or a host.
    Unavailable = 69,
    /// A bug in the program.
    Internal = 70,
    /// Reading or writing failed part-way.
    Io = 74,
    /// A signal stopped the work before its end; the same command can continue it.
    Stopped = 75,
    /// The system denies permission for what the configuration asks.
    NoPermission = 77,
    /// The configuration is wrong.
    Config = 78,
}

impl Exit {
    /// The exit code of the process.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// An error and its causes, joined. The text may contain anything that a file contains; callers that show it make it
/// printable (`printable`).
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string().trim_end().to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        let message = message.trim_end();
        // Some libraries append the cause's message to their own.
        if !text.ends_with(message) {
            text.push_str(": ");
            text.push_str(message);
        }
        cause = error.source();
    }
    text
}
