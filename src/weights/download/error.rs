//! Why a weight file could not be downloaded.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::exit::Exit;

/// Why a file could not be downloaded. Addresses in it have no login and no query.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is unusable.
    #[error("the address {url} cannot be used: {reason}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The proxy's address is unusable.
    #[error("the proxy {url} cannot be used")]
    Proxy {
        /// The address.
        url: String,
    },
    /// The expected digest is invalid.
    #[error("{digits:?} cannot be a {kind}: 40 of the digits 0-9 and a-f for Git, up to 64 for SHA-256")]
    Digits {
        /// The kind of digest.
        kind: &'static str,
        /// The given value.
        digits: String,
    },
    /// The server is unreachable, or the connection broke.
    #[error("cannot download {url}")]
    Network {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The server or the network is silent.
    #[error("nothing came from {url} for {limit:?}")]
    Silent {
        /// The address.
        url: String,
        /// The time limit.
        limit: Duration,
    },
    /// All attempts together took too long.
    #[error("the download of {url} is not complete after {limit:?}")]
    Slow {
        /// The address.
        url: String,
        /// The time limit.
        limit: Duration,
    },
    /// The server redirects too often, or to an invalid address.
    #[error("{url} redirects too often, or to an address that cannot be used")]
    Redirect {
        /// The address.
        url: String,
    },
    /// The server redirects from an encrypted connection to an unencrypted one.
    #[error("{url} redirects from https to http, where an attacker on the network can change the file")]
    Downgrade {
        /// The address.
        url: String,
    },
    /// The server does not have the file, or refuses it.
    #[error("{url} answers with status {status}")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The answer is a web page.
    #[error("{url} answers with a web page instead of a file (status {status})")]
    Page {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The transfer ended early.
    #[error("{url} ended the transfer after {found} of {total} bytes")]
    Cut {
        /// The address.
        url: String,
        /// Bytes received.
        found: u64,
        /// Bytes announced.
        total: u64,
    },
    /// The whole file was requested, but the server returned a part.
    #[error("{url} answers with the part `{answered}` instead of the whole file")]
    Range {
        /// The address.
        url: String,
        /// The part that it returned.
        answered: String,
    },
    /// The file comes in an encoding that was not requested.
    #[error("{url} sends the file encoded as `{encoding}`")]
    Encoded {
        /// The address.
        url: String,
        /// The encoding.
        encoding: String,
    },
    /// The server sent more than it announced.
    #[error("{url} sends more than the {total} bytes that it announced")]
    Longer {
        /// The address.
        url: String,
        /// Bytes announced.
        total: u64,
    },
    /// The file is too long.
    #[error("the file at {url} is longer than {limit} bytes")]
    TooLong {
        /// The address.
        url: String,
        /// Maximum bytes accepted.
        limit: u64,
    },
    /// The file differs from the expected one.
    #[error("the file at {url} is not the expected one: its {kind} is {found}, which does not begin with {expected}")]
    Digest {
        /// The address.
        url: String,
        /// The kind of digest.
        kind: &'static str,
        /// The expected digest, or its beginning.
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
    /// The path is not a regular file.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Another process is downloading the same file.
    #[error("another process is writing to {}", path.display())]
    Busy {
        /// The file that it writes to.
        path: PathBuf,
    },
    /// The thread that waits for the stop signal cannot be started.
    #[error("cannot start a thread for the download")]
    Thread(#[source] io::Error),
    /// A stop was requested.
    #[error("the download was stopped")]
    Stopped,
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Url { .. } | Self::Proxy { .. } | Self::Digits { .. } => Exit::Usage,
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

    /// Whether the server, or the way to it, is the cause, so that another server may have the file.
    #[must_use]
    pub fn is_of_server(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::Stopped => false,
            other => matches!(other.exit(), Exit::Unavailable | Exit::Data),
        }
    }

    /// Whether another attempt may succeed.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Silent { .. } | Self::Cut { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Self::Network { source, .. } => match &**source {
                // TLS errors arrive as invalid data while connecting.
                ureq::Error::Io(error) => error.kind() != io::ErrorKind::InvalidData,
                ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::ConnectProxyFailed(_) => true,
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether the bytes received so far are useless for another run.
    pub(super) fn spoils(&self) -> bool {
        matches!(self, Self::Longer { .. } | Self::TooLong { .. } | Self::Digest { .. })
    }

    /// Converts an error of the client library, leaving out what it says about addresses.
    pub(super) fn from_library(error: ureq::Error, url: &str, limits: &super::Limits) -> Self {
        let url = url.to_owned();
        match error {
            ureq::Error::Timeout(ureq::Timeout::Global) => Self::Slow { url, limit: limits.total },
            ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
                Self::Silent { url, limit: limits.connect }
            }
            ureq::Error::Timeout(_) => Self::Silent { url, limit: limits.idle },
            ureq::Error::RequireHttpsOnly(_) => Self::Downgrade { url },
            // Some of these messages show the redirect target.
            ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed | ureq::Error::BadUri(_) => {
                Self::Redirect { url }
            }
            ureq::Error::Protocol(reason) if reason.to_string().contains("location header") => Self::Redirect { url },
            error => Self::Network { url, source: Box::new(error) },
        }
    }
}
