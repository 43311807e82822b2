//! Why a file with weights cannot be had from a server.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::exit::Exit;

/// Why a file cannot be had. Addresses in it have no login and no query.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be used.
    #[error("the address {url} cannot be used: {reason}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The address of the proxy cannot be used.
    #[error("the proxy {url} cannot be used")]
    Proxy {
        /// The address.
        url: String,
    },
    /// The digest that is expected is none.
    #[error("{prefix:?} is not the beginning of a SHA-256 digest: 1 to 64 of the digits 0-9 and a-f")]
    Prefix {
        /// What was given.
        prefix: String,
    },
    /// The server cannot be reached, or breaks off.
    #[error("cannot download {url}")]
    Network {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The server, or the network, says nothing.
    #[error("nothing came from {url} for {limit:?}")]
    Silent {
        /// The address.
        url: String,
        /// The longest wait.
        limit: Duration,
    },
    /// All tries together take too long.
    #[error("the download of {url} is not complete after {limit:?}")]
    Slow {
        /// The address.
        url: String,
        /// The longest time.
        limit: Duration,
    },
    /// The server sends somewhere else too often, or to no address.
    #[error("{url} redirects too often, or to an address that cannot be used")]
    Redirect {
        /// The address.
        url: String,
    },
    /// The server sends from an encrypted connection to one that is not.
    #[error("{url} redirects from https to http, where anybody on the way can change the file")]
    Downgrade {
        /// The address.
        url: String,
    },
    /// The server has no such file, or does not give it away.
    #[error("{url} answers with status {status}")]
    Status {
        /// The address.
        url: String,
        /// The status, as HTTP numbers them.
        status: u16,
    },
    /// The answer is a page for people.
    #[error("{url} answers with a web page instead of a file (status {status})")]
    Page {
        /// The address.
        url: String,
        /// The status, as HTTP numbers them.
        status: u16,
    },
    /// The transfer ended early.
    #[error("{url} ended the transfer after {found} of {total} bytes")]
    Cut {
        /// The address.
        url: String,
        /// Bytes that came.
        found: u64,
        /// Bytes that were promised.
        total: u64,
    },
    /// The whole file was asked for, and the server answers with another part.
    #[error("{url} answers with the part `{answered}` when it is asked for the whole file")]
    Range {
        /// The address.
        url: String,
        /// What it answers.
        answered: String,
    },
    /// The file comes in an encoding that was not asked for.
    #[error("{url} sends the file encoded as `{encoding}`")]
    Encoded {
        /// The address.
        url: String,
        /// The encoding.
        encoding: String,
    },
    /// More comes than was promised.
    #[error("{url} sends more than the {total} bytes that it promised")]
    Longer {
        /// The address.
        url: String,
        /// Bytes that were promised.
        total: u64,
    },
    /// The file is too long.
    #[error("the file at {url} is longer than {limit} bytes")]
    TooLong {
        /// The address.
        url: String,
        /// The most bytes that are accepted.
        limit: u64,
    },
    /// The file is not the one that is expected.
    #[error("the file at {url} is not the expected one: its SHA-256 is {found}, which does not begin with {expected}")]
    Digest {
        /// The address.
        url: String,
        /// What the digest must begin with.
        expected: String,
        /// The digest.
        found: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The path is taken by something else.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Another process downloads the same file.
    #[error("another process is writing to {}", path.display())]
    Busy {
        /// The file that it writes to.
        path: PathBuf,
    },
    /// No thread waits for the stop signal.
    #[error("cannot start a thread for the download")]
    Thread(#[source] io::Error),
    /// The stop was asked for.
    #[error("the download was stopped")]
    Stopped,
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Url { .. } | Self::Proxy { .. } | Self::Prefix { .. } => Exit::Usage,
            Self::Network { .. }
            | Self::Silent { .. }
            | Self::Slow { .. }
            | Self::Redirect { .. }
            | Self::Downgrade { .. }
            | Self::Status { .. }
            | Self::Page { .. }
            | Self::Cut { .. }
            | Self::Busy { .. }
            | Self::Stopped => Exit::Unavailable,
            Self::Range { .. }
            | Self::Encoded { .. }
            | Self::Longer { .. }
            | Self::TooLong { .. }
            | Self::Digest { .. } => Exit::Data,
            Self::File { .. } | Self::NotAFile { .. } => Exit::Io,
            Self::Thread(_) => Exit::Internal,
        }
    }

    /// Whether another try may go better.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Silent { .. } | Self::Cut { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Self::Network { source, .. } => match &**source {
                // What TLS complains about comes as invalid data while a connection is made.
                ureq::Error::Io(error) => error.kind() != io::ErrorKind::InvalidData,
                ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::ConnectProxyFailed(_) => true,
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether what has come so far is of no use to another run.
    pub(super) fn spoils(&self) -> bool {
        matches!(self, Self::Longer { .. } | Self::TooLong { .. } | Self::Digest { .. })
    }

    /// What the client library reports, without what it says about addresses.
    pub(super) fn from_library(error: ureq::Error, url: &str, limits: &super::Limits) -> Self {
        let url = url.to_owned();
        match error {
            ureq::Error::Timeout(ureq::Timeout::Global) => Self::Slow { url, limit: limits.total },
            ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
                Self::Silent { url, limit: limits.connect }
            }
            ureq::Error::Timeout(_) => Self::Silent { url, limit: limits.idle },
            ureq::Error::RequireHttpsOnly(_) => Self::Downgrade { url },
            // The messages of some of these show where the server sends.
            ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed | ureq::Error::BadUri(_) => {
                Self::Redirect { url }
            }
            ureq::Error::Protocol(reason) if reason.to_string().contains("location header") => Self::Redirect { url },
            error => Self::Network { url, source: Box::new(error) },
        }
    }
}
