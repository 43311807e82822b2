//! Downloads one weight file: resumes a download that was interrupted, and verifies the file before it gets its name.
//!
//! The bytes go to `<to>.part` next to the destination. `<to>.part.info` records the address and the version of the
//! file that they belong to. Both stay if a download is interrupted, and are deleted when it completes or its bytes are
//! useless.

mod address;
mod answer;
mod error;
mod part;

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::select;
use ureq::http::header::{ACCEPT_ENCODING, AUTHORIZATION, IF_RANGE, RANGE};
use ureq::http::uri::{Scheme, Uri};
use ureq::http::{HeaderValue, Response};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, ResponseExt as _};

use super::digest::Check;
use crate::exit::chain;
use crate::shutdown::{self, Stopped};
use address::Address;
use answer::Answer;
pub use error::Error;
use part::{CHUNK, Part};

/// Maximum pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Longer limits are cut to this, which the clock can represent.
const LONGEST_LIMIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Maximum number of redirects.
const REDIRECTS: u32 = 10;

/// Time limit for the thread that waits for the stop signal to end.
const JOIN: Duration = Duration::from_secs(1);

/// Limits on waiting times and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Time limit for finding the host, and again for connecting to it, including TLS.
    pub connect: Duration,
    /// Time limit for an answer, and for each next piece of it.
    pub idle: Duration,
    /// Time limit for everything. Bytes received by then are kept, and another run resumes from them.
    pub total: Duration,
    /// Pause before the second attempt, at most 30 s. Doubles up to that with each attempt that makes no progress.
    pub pause: Duration,
    /// Number of attempts, at least 1. Each one resumes where the last one stopped.
    pub attempts: u32,
    /// Number of attempts, at least 1, after which a server that has not sent a byte of the file is left.
    pub empty_attempts: u32,
    /// Maximum size of the file in bytes.
    pub max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(24 * 60 * 60),
            pause: Duration::from_secs(1),
            attempts: 5,
            empty_attempts: 5,
            max_bytes: 1 << 30,
        }
    }
}

/// The proxy between this computer and the server. Every proxy is asked for a tunnel (`CONNECT`), for `http://` as
/// well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Proxy<'a> {
    /// The first of `ALL_PROXY`, `HTTPS_PROXY` and `HTTP_PROXY` that is an address, for both `http://` and `https://`;
    /// no proxy for the hosts in `NO_PROXY`.
    #[default]
    Environment,
    /// No proxy.
    Direct,
    /// This one: `http://`, `https://`, `socks4://`, `socks4a://`, `socks5://` or `socks5h://`, with or without a login.
    At(&'a str),
}

/// Progress of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the file received. Drops to 0 if the file must be downloaded again.
    pub bytes: u64,
    /// Length of the file in bytes, if the server states it.
    pub total: Option<u64>,
    /// Whether some of the bytes come from an earlier attempt or run.
    pub resumed: bool,
}

/// A complete file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256, as 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Whether it was already present and nothing was downloaded.
    pub present: bool,
}

/// A file to download.
#[derive(Debug, Clone)]
pub struct Download<'a> {
    /// Its address: `http://` or `https://`. A login in it is sent (`Basic`), but never shown, and not sent to redirect
    /// targets. Redirects from `https://` to `http://` are not followed.
    pub url: &'a str,
    /// Destination, in an existing folder.
    pub to: &'a Path,
    /// What its digest must be. Without it, only the length is checked, and an existing file is replaced.
    pub check: Option<Check<'a>>,
    /// Limits on waiting times and size.
    pub limits: Limits,
    /// The proxy, if any.
    pub proxy: Proxy<'a>,
}

impl Download<'_> {
    /// Downloads the file; does nothing if the destination already has the right digest.
    ///
    /// The bytes of an earlier run or attempt are reused if the server can tell that the file has not changed, or if
    /// the digest will show it. If the digest shows that the pieces do not belong together, the file is downloaded
    /// again, once, with the same number of attempts. `progress` is called with every piece of up to 64 KiB. After
    /// `stopped`, this returns as soon as no lookup or connection is in progress, which `limits.connect` bounds.
    ///
    /// # Errors
    /// Any [`Error`]. The destination is then unchanged.
    pub fn run(&self, progress: &mut dyn FnMut(Progress), stopped: &Stopped) -> Result<Downloaded, Error> {
        let address = Address::new(self.url)?;
        if let Some(check) = self.check.filter(|check| !check.is_well_formed()) {
            return Err(Error::Digits { kind: check.kind(), digits: check.digits().to_owned() });
        }
        if let Some(present) = self.present(stopped)? {
            return Ok(present);
        }
        let agent = self.agent()?;
        let (over, ended) = shutdown::channel();
        let watch = {
            let (agent, stopped) = (agent.clone(), stopped.clone());
            let wait = move || {
                select! {
                    // Ends the waits of open connections.
                    recv(stopped.receiver()) -> _ => agent.shutdown(),
                    recv(ended.receiver()) -> _ => {}
                }
            };
            shutdown::spawn("download-stop", wait).map_err(Error::Thread)?
        };
        let start = Instant::now();
        let mut fetch = Fetch { download: self, address, agent, start, progress, stopped };
        let outcome = fetch.run();
        drop(over);
        if let Err(error) = watch.join(Some(Instant::now() + JOIN)) {
            tracing::debug!("{error}");
        }
        outcome
    }

    /// The file at the destination, if it is already the right one.
    fn present(&self, stopped: &Stopped) -> Result<Option<Downloaded>, Error> {
        let path = self.to.to_owned();
        match fs::metadata(self.to) {
            Ok(found) if !found.is_file() => return Err(Error::NotAFile { path }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::File { action: "read", path, source }),
        }
        let Some(check) = self.check else { return Ok(None) };
        let (found, bytes) = part::digest_of(self.to, check, stopped)?;
        if !check.accepts(&found) {
            return Ok(None);
        }
        let sha256 = match check {
            Check::Sha256(_) => found,
            Check::GitBlob(_) => part::digest_of(self.to, Check::Sha256(""), stopped)?.0,
        };
        Ok(Some(Downloaded { path, bytes, sha256, present: true }))
    }

    fn agent(&self) -> Result<Agent, Error> {
        let proxy = match self.proxy {
            Proxy::Environment => ureq::Proxy::try_from_env(),
            Proxy::Direct => None,
            Proxy::At(url) => Some(ureq::Proxy::new(url).map_err(|_| Error::Proxy { url: address::shown(url) })?),
        };
        let limit = |limit: Duration| Some(limit.min(LONGEST_LIMIT));
        let (connect, idle) = (limit(self.limits.connect), limit(self.limits.idle));
        let config = Agent::config_builder()
            .proxy(proxy)
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .user_agent(concat!("hardnetd/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(REDIRECTS)
            .https_only(self.url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:")))
            .save_redirect_history(true)
            .timeout_resolve(connect)
            .timeout_connect(connect)
            .timeout_send_request(idle)
            .timeout_recv_response(idle)
            .timeout_per_read(idle)
            .timeout_per_write(idle);
        Ok(config.build().into())
    }
}

/// A download in progress.
struct Fetch<'a> {
    download: &'a Download<'a>,
    address: Address,
    agent: Agent,
    start: Instant,
    progress: &'a mut dyn FnMut(Progress),
    stopped: &'a Stopped,
}

impl Fetch<'_> {
    fn run(&mut self) -> Result<Downloaded, Error> {
        let Download { to, check, ref limits, .. } = *self.download;
        let mut part = Part::open(to, &self.address.plain, check.is_some(), limits.max_bytes, self.stopped)?;
        match self.verified(&mut part) {
            Ok(sha256) => {
                let bytes = part.length();
                part.finish(to)?;
                Ok(Downloaded { path: to.to_owned(), bytes, sha256, present: false })
            }
            Err(error) => {
                if error.spoils() {
                    part.discard();
                } else {
                    part.leave();
                }
                Err(error)
            }
        }
    }

    /// Downloads the whole file, checks its digest and returns its SHA-256.
    fn verified(&mut self, part: &mut Part) -> Result<String, Error> {
        self.whole(part)?;
        let Some(check) = self.download.check else { return Ok(part.digest()) };
        let mut found = part.digest_for(check, self.stopped)?;
        if part.is_pieced() && !check.accepts(&found) {
            let kind = check.kind();
            tracing::warn!(url = %self.address.shown, "the resumed download has the wrong {kind}; starting over");
            part.clear()?;
            self.whole(part)?;
            found = part.digest_for(check, self.stopped)?;
        }
        if check.accepts(&found) {
            Ok(part.digest())
        } else {
            let (kind, expected) = (check.kind(), check.digits().to_owned());
            Err(Error::Digest { url: self.shown(), kind, expected, found })
        }
    }

    /// Repeats attempts until the whole file is there.
    fn whole(&mut self, part: &mut Part) -> Result<(), Error> {
        let limits = &self.download.limits;
        let mut pause = limits.pause.min(LONGEST_PAUSE);
        let (mut left, mut empty_left) = (limits.attempts, limits.empty_attempts);
        loop {
            let before = part.length();
            let error = match self.attempt(part) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            left = left.saturating_sub(1);
            empty_left = empty_left.saturating_sub(1);
            if part.length() == 0 {
                left = left.min(empty_left);
            }
            if self.stopped.is_set() {
                return Err(Error::Stopped);
            }
            if left == 0 || !error.is_retryable() {
                return Err(error);
            }
            if part.length() > before {
                pause = limits.pause.min(LONGEST_PAUSE);
            }
            tracing::warn!(url = %self.address.shown, bytes = part.length(), left, "trying again: {}", chain(&error));
            if self.stopped.wait(pause.min(self.remaining())) {
                return Err(Error::Stopped);
            }
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// Requests the missing rest, or the whole file, and receives it.
    fn attempt(&mut self, part: &mut Part) -> Result<(), Error> {
        if self.download.check.is_none() && part.validator().is_none() {
            // Nothing could show whether the bytes belong to the same file.
            part.clear()?;
        }
        loop {
            let response = self.ask(part)?;
            let (end, total) = match Answer::read(&response, part, &self.address.shown)? {
                Answer::Whole { total, validator } => {
                    part.begin(validator)?;
                    (total, total)
                }
                Answer::Rest { end, total } => {
                    part.piece();
                    (Some(end), Some(total))
                }
                Answer::Complete => return Ok(()),
                // An empty part has no rest that can be refused, so this happens only once.
                Answer::Refused => {
                    part.clear()?;
                    continue;
                }
            };
            return self.receive(response, part, end, total);
        }
    }

    fn ask(&self, part: &Part) -> Result<Response<Body>, Error> {
        let remaining = self.remaining();
        if remaining.is_zero() {
            return Err(Error::Slow { url: self.shown(), limit: self.download.limits.total });
        }
        let mut request = self.agent.get(&self.address.plain).header(ACCEPT_ENCODING, "identity");
        if let Some(mut login) = self.address.login.as_deref().and_then(|login| HeaderValue::from_str(login).ok()) {
            login.set_sensitive(true);
            request = request.header(AUTHORIZATION, login);
        }
        if part.length() > 0 {
            request = request.header(RANGE, format!("bytes={}-", part.length()));
            if let Some(validator) = part.validator() {
                request = request.header(IF_RANGE, validator);
            }
        }
        let answer = request.config().timeout_global(Some(remaining)).build().call();
        let answer = answer.map_err(|error| self.failed(error))?;
        // A chain of redirects may go from http to https, but not back.
        let encrypted = |uri: &Uri| uri.scheme() == Some(&Scheme::HTTPS);
        let leaves = |pair: &[Uri]| encrypted(&pair[0]) && !encrypted(&pair[1]);
        if answer.get_redirect_history().is_some_and(|way| way.windows(2).any(leaves)) {
            return Err(Error::Downgrade { url: self.shown() });
        }
        Ok(answer)
    }

    /// Receives bytes up to `end` of a file of `total` bytes.
    fn receive(
        &mut self,
        response: Response<Body>,
        part: &mut Part,
        end: Option<u64>,
        total: Option<u64>,
    ) -> Result<(), Error> {
        let limit = self.download.limits.max_bytes;
        let too_long = |shown: &str| Error::TooLong { url: shown.to_owned(), limit };
        if total.is_some_and(|total| total > limit) {
            return Err(too_long(&self.address.shown));
        }
        let status = response.status().as_u16();
        let mut reader = response.into_body().into_reader();
        let mut buffer = vec![0; CHUNK];
        loop {
            (self.progress)(Progress { bytes: part.length(), total, resumed: part.is_pieced() });
            let read = reader.read(&mut buffer);
            // Both the end and a failure may result from the stop.
            if self.stopped.is_set() {
                return Err(Error::Stopped);
            }
            let count = match read {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && total.is_some() => break,
                Err(error) => return Err(self.failed(error.into())),
            };
            if part.length() == 0 && answer::is_page(&buffer[..count]) {
                return Err(Error::Page { url: self.shown(), status });
            }
            let length = part.length().saturating_add(count as u64);
            if let Some(total) = end.filter(|&end| length > end) {
                return Err(Error::Longer { url: self.shown(), total });
            }
            if length > limit {
                return Err(too_long(&self.address.shown));
            }
            part.append(&buffer[..count])?;
        }
        match total {
            Some(total) if part.length() < total => Err(Error::Cut { url: self.shown(), found: part.length(), total }),
            _ => Ok(()),
        }
    }

    /// Remaining time for the whole download.
    fn remaining(&self) -> Duration {
        self.download.limits.total.min(LONGEST_LIMIT).saturating_sub(self.start.elapsed())
    }

    fn failed(&self, error: ureq::Error) -> Error {
        Error::from_library(error, &self.address.shown, &self.download.limits)
    }

    fn shown(&self) -> String {
        self.address.shown.clone()
    }
}
