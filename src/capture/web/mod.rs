//! Cameras on the web: pictures over HTTP, either as one answer without end (MJPEG, `multipart/x-mixed-replace`) or one
//! picture for each request.
//!
//! The program asks by itself instead of leaving it to GStreamer: a picture that is asked for again and again needs no
//! pipeline of its own, the size of a picture has a limit, and a login goes nowhere else. [`run`] hands pictures to an
//! [`Outlet`]; it knows nothing of GStreamer.

mod answer;
mod examine;
#[cfg(fuzzing)]
mod fuzzed;
mod login;
mod pictures;

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gio::prelude::*;

use super::dial::{Trouble, encrypt};
use super::guard::MOST_REDIRECTS;
use super::scheme::Endpoint;
use super::{Error, Trust};
use crate::choice::HttpKind;
use crate::config::redact;
use crate::exit::Exit;
use crate::shutdown::Stopped;
use crate::system::network::{self, Unreachable};
use answer::{Body, Head, ask, target};
pub(super) use examine::examine;
#[cfg(fuzzing)]
pub use fuzzed::answer as read_answer;
pub use login::Login;
use login::{Challenge, Unmet};
use pictures::{Found, Pictures};

/// Bytes that are read at a time.
const PIECE: usize = 32 << 10;

/// Maximum logins for one request, of which all but the last have a nonce that the camera no longer takes.
const MOST_LOGINS: u32 = 3;

/// Maximum characters of a camera's text that a message repeats.
const LONGEST: usize = 200;

/// What is fetched of a web camera.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetch {
    /// Where it is.
    pub endpoint: Endpoint,
    /// User and password, if it asks for them.
    pub login: Option<Login>,
    /// What it sends.
    pub kind: HttpKind,
    /// Time from one picture that is asked for to the next.
    pub poll: Duration,
    /// Time limit of a connection.
    pub connect: Duration,
}

/// Takes what a web camera sends.
pub(super) trait Outlet {
    /// Counts bytes that have arrived; false if there have been too many since the last picture.
    fn receive(&self, bytes: usize) -> bool;

    /// Takes a picture, a whole JPEG file.
    fn picture(&self, picture: Vec<u8>);

    /// A picture was cut off.
    fn cut_off(&self);
}

/// The connection to a camera, which another thread can end.
#[derive(Debug)]
pub(super) struct Line {
    stopped: Stopped,
    socket: Mutex<Option<TcpStream>>,
}

impl Line {
    /// A line that is given up when `stopped` is set and [`Line::hang_up`] is called.
    pub(super) fn new(stopped: Stopped) -> Self {
        Self { stopped, socket: Mutex::default() }
    }

    /// Ends the connection, and whatever waits for the camera.
    pub(super) fn hang_up(&self) {
        if let Some(socket) = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Lets `connection` be ended; false if it already is to be.
    fn take(&self, connection: &TcpStream) -> io::Result<bool> {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        *socket = Some(connection.try_clone()?);
        Ok(!self.stopped.is_set())
    }
}

/// How fetching ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing more is wanted.
    Stopped,
    /// The camera ended the stream.
    Over,
}

/// Fetches pictures until the line is hung up.
///
/// # Errors
/// Why there are no more.
pub(super) fn run(fetch: &Fetch, trust: &Trust, line: &Line, outlet: &dyn Outlet) -> Result<End, Error> {
    let mut caller = Caller { fetch, trust, line, challenge: None };
    loop {
        let begin = Instant::now();
        let outcome = caller.open().and_then(|opened| match opened {
            None => Ok(None),
            Some((kind, body)) => receive(kind, body, outlet).map(|()| Some(kind)),
        });
        // A camera may serve one connection only.
        line.hang_up();
        // What goes wrong with a line that has been hung up is nobody's concern.
        match outcome {
            _ if line.stopped.is_set() => return Ok(End::Stopped),
            Ok(Some(Kind::Picture)) => {}
            Ok(Some(Kind::Mjpeg)) => return Ok(End::Over),
            Ok(None) => return Ok(End::Stopped),
            Err(error) => return Err(error),
        }
        if line.stopped.wait(fetch.poll.saturating_sub(begin.elapsed())) {
            return Ok(End::Stopped);
        }
    }
}

/// What an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mjpeg,
    Picture,
}

/// Decides what an answer of the type `media` holds.
fn kind_of(media: &str, wanted: HttpKind) -> Result<Kind, Error> {
    match (wanted, media) {
        (HttpKind::Mjpeg, _) => Ok(Kind::Mjpeg),
        (HttpKind::Picture, _) => Ok(Kind::Picture),
        (HttpKind::Auto, "multipart/x-mixed-replace" | "multipart/mixed" | "video/x-motion-jpeg" | "video/mjpeg") => {
            Ok(Kind::Mjpeg)
        }
        (HttpKind::Auto, "image/jpeg" | "image/jpg" | "image/pjpeg") => Ok(Kind::Picture),
        (HttpKind::Auto, media) => {
            let media = if media.is_empty() { "something of no type".to_owned() } else { shown(media) };
            Err(failed(
                format!("the camera answers with {media}, and MJPEG or a JPEG picture is expected"),
                "check the path in stream.source; where the type is wrong, set kind in [stream.http]",
                Exit::Data,
            ))
        }
    }
}

/// Hands the pictures of an answer out: all, or the only one.
fn receive(kind: Kind, mut body: impl Read, outlet: &dyn Outlet) -> Result<(), Error> {
    let mut pictures = Pictures::new();
    let mut piece = vec![0; PIECE];
    let (mut count, mut is_cut_off) = (0_u64, false);
    loop {
        let length = match body.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && kind == Kind::Picture => break,
            Err(error) => return Err(broken(&error)),
        };
        if !outlet.receive(length) {
            return Err(Error::Flood);
        }
        pictures.push(&piece[..length]);
        loop {
            match pictures.next().map_err(|error| failed(error.to_string(), "make its pictures smaller", Exit::Data))? {
                None => break,
                Some(Found::CutOff) => {
                    is_cut_off = true;
                    outlet.cut_off();
                }
                Some(Found::Whole(picture)) => {
                    count += 1;
                    outlet.picture(picture);
                    if kind == Kind::Picture {
                        return Ok(());
                    }
                }
            }
        }
    }
    if count > 0 {
        return Ok(());
    }
    // A picture that is asked for again may be whole the next time.
    if kind == Kind::Picture && (is_cut_off || pictures.is_within()) {
        if pictures.is_within() {
            outlet.cut_off();
        }
        return Ok(());
    }
    Err(Error::NoVideo)
}

/// Calls a camera.
struct Caller<'a> {
    fetch: &'a Fetch,
    trust: &'a Trust,
    line: &'a Line,
    /// The challenge that was met last: the camera need not ask again for each picture.
    challenge: Option<Challenge>,
}

/// The body of an answer, and what it holds.
type Opened = (Kind, Body<BufReader<Box<dyn Read>>>);

impl Caller<'_> {
    /// Asks for the pictures; `None` if the line has been hung up.
    fn open(&mut self) -> Result<Option<Opened>, Error> {
        let (mut redirects, mut logins) = (0, 0);
        // A redirect is good for one picture: it may lead to the latest one.
        let mut asked = target(&self.fetch.endpoint.address);
        loop {
            let authorization = match (&mut self.challenge, &self.fetch.login) {
                (Some(challenge), Some(login)) => Some(challenge.answer(login, &asked)),
                _ => None,
            };
            let Some((head, input)) = self.exchange(&asked, authorization.as_deref())? else { return Ok(None) };
            match head.status {
                200 => return Ok(Some((kind_of(&head.media(), self.fetch.kind)?, head.body(input)))),
                401 => {
                    let Some(_) = &self.fetch.login else { return Err(Error::LoginMissing) };
                    let challenge = Challenge::of(head.all("WWW-Authenticate"), &self.fetch.endpoint);
                    let challenge = challenge.map_err(|unmet| match unmet {
                        Unmet::InClear => Error::AskedInClear,
                        Unmet::Unknown(what) => failed(
                            format!("the camera asks for a login that hardnetd cannot make ({})", shown(&what)),
                            "allow basic or digest authentication (MD5 or SHA-256) in its settings",
                            Exit::NoPermission,
                        ),
                    })?;
                    // A login is refused once and no more, because cameras lock a user out. Only its nonce may be too
                    // old, also one that was good for an earlier picture.
                    if logins > 0 && (!challenge.is_stale() || logins >= MOST_LOGINS) {
                        return Err(Error::LoginRefused);
                    }
                    logins += 1;
                    self.challenge = Some(challenge);
                }
                status @ (301 | 302 | 303 | 307 | 308) => {
                    redirects += 1;
                    if redirects > MOST_REDIRECTS {
                        return Err(Error::SentInCircles);
                    }
                    let location = head.all("Location").next().unwrap_or_default();
                    if location.is_empty() {
                        return Err(unexpected(status, "without a location"));
                    }
                    asked = self.follow(&asked, location)?;
                }
                status => return Err(unexpected(status, &head.reason)),
            }
            drop(input);
            self.line.hang_up();
        }
    }

    /// The target of a redirect from the target `asked` (RFC 3986, 5.2), which may lead to the same host and port only.
    fn follow(&self, asked: &str, location: &str) -> Result<String, Error> {
        let endpoint = &self.fetch.endpoint;
        let is_odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '\\' | '@');
        let is_same = |there: &Endpoint| {
            there.host.eq_ignore_ascii_case(&endpoint.host)
                && there.port == endpoint.port
                && there.secure == endpoint.secure
                && there.address.starts_with("http")
        };
        let elsewhere = || {
            let to = redact(location).chars().take(LONGEST).flat_map(char::escape_debug).collect();
            Error::SentElsewhere { to }
        };
        let first = location.split(['/', '?', '#']).next().unwrap_or_default();
        if first.contains(':') || location.starts_with("//") || location.contains(is_odd) {
            let (scheme, rest) = location.split_once(':').unwrap_or_default();
            let there = Endpoint::of(&format!("{}:{rest}", scheme.to_ascii_lowercase()));
            let there = there.ok().filter(is_same).filter(|_| !location.contains(is_odd));
            return there.map(|there| target(&there.address)).ok_or_else(elsewhere);
        }
        let path = asked.split('?').next().unwrap_or_default();
        let base = match location.chars().next() {
            Some('/') => "",
            Some('?') => path,
            Some('#') => asked,
            _ => &path[..path.rfind('/').map_or(0, |at| at + 1)],
        };
        Ok(target(&format!("http://x{base}{location}")))
    }

    /// Connects, asks, and reads the head of the answer; `None` if the line has been hung up.
    #[allow(clippy::type_complexity, reason = "the input may be encrypted or not")]
    fn exchange(
        &self,
        target: &str,
        authorization: Option<&str>,
    ) -> Result<Option<(Head, BufReader<Box<dyn Read>>)>, Error> {
        let endpoint = &self.fetch.endpoint;
        let reached = network::connect(&endpoint.host, endpoint.port, self.fetch.connect).map_err(unreachable)?;
        if !self.line.take(&reached.stream).map_err(|error| broken(&error))? {
            return Ok(None);
        }
        let (mut input, output) = channel(reached.stream, endpoint, self.trust).map_err(of_trouble)?;
        ask(output, endpoint, target, authorization).map_err(|error| broken(&error))?;
        match Head::read(&mut input).map_err(|error| broken(&error))? {
            Some(head) => Ok(Some((head, input))),
            None => Err(failed(
                "the server does not speak HTTP".into(),
                "check scheme and port in stream.source: cameras serve http:// at 80 or 8080, https:// at 443",
                Exit::Unavailable,
            )),
        }
    }
}

/// Both directions of a connection, encrypted if the endpoint says so.
#[allow(clippy::type_complexity, reason = "they may be encrypted or not")]
fn channel(
    connection: TcpStream,
    endpoint: &Endpoint,
    trust: &Trust,
) -> Result<(BufReader<Box<dyn Read>>, Box<dyn Write>), Trouble> {
    if !endpoint.secure {
        let output = connection.try_clone()?;
        return Ok((BufReader::with_capacity(PIECE, Box::new(connection)), Box::new(output)));
    }
    let tls = encrypt(connection, endpoint, trust)?;
    let output = Box::new(tls.output_stream().into_write());
    let input = Encrypted { input: tls.input_stream().into_read(), _connection: tls };
    Ok((BufReader::with_capacity(PIECE, Box::new(input)), output))
}

/// The input of an encrypted connection, which lives as long.
struct Encrypted {
    input: gio::InputStreamRead<gio::InputStream>,
    _connection: gio::TlsConnection,
}

impl Read for Encrypted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

/// What a status other than 200 means.
fn unexpected(status: u16, reason: &str) -> Error {
    let (advice, exit) = match status {
        403 => ("check the rights of the user in the camera's settings", Exit::NoPermission),
        404 | 410 => ("check the path in stream.source", Exit::NoInput),
        500.. => ("restart the camera if this stays so", Exit::Unavailable),
        _ => ("check the address in stream.source", Exit::Unavailable),
    };
    failed(format!("the camera answers {status} {reason}").trim_end().to_owned(), advice, exit)
}

fn unreachable(error: Unreachable) -> Error {
    match error {
        Unreachable::Name { host, source } => Error::UnknownHost { host, source },
        error => failed(
            error.to_string(),
            "check that the address is right and that something answers there",
            Exit::Unavailable,
        ),
    }
}

fn of_trouble(trouble: Trouble) -> Error {
    match trouble {
        Trouble::Io(error) => broken(&error),
        Trouble::Trust(error) => Error::Trust(error),
        Trouble::Untrusted(error) => Error::Untrusted(error),
        Trouble::Tls(error) => {
            failed(format!("TLS fails: {error}"), "check scheme and port in stream.source", Exit::Unavailable)
        }
    }
}

fn broken(error: &io::Error) -> Error {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, FileTooLarge, InvalidData, UnexpectedEof};
    let (what, exit) = match error.kind() {
        UnexpectedEof | BrokenPipe | ConnectionAborted | ConnectionReset => {
            ("the camera hangs up before its answer is complete".to_owned(), Exit::Unavailable)
        }
        FileTooLarge => ("the head of the camera's answer is longer than 16 KiB".to_owned(), Exit::Data),
        InvalidData => ("the camera's answer is damaged".to_owned(), Exit::Data),
        _ => (format!("the connection to the camera fails: {error}"), Exit::Unavailable),
    };
    failed(what, "restart the camera if this stays so", exit)
}

fn failed(message: String, advice: &'static str, exit: Exit) -> Error {
    Error::Failed { message, advice, exit }
}

/// Text of a camera for people.
fn shown(text: &str) -> String {
    text.chars().take(LONGEST).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::shutdown;

    fn caller<T>(address: &str, of: impl FnOnce(Caller<'_>) -> T) -> T {
        let (_stop, stopped) = shutdown::channel();
        let fetch = Fetch {
            endpoint: Endpoint::of(address).unwrap(),
            login: None,
            kind: HttpKind::Auto,
            poll: Duration::from_secs(1),
            connect: Duration::from_secs(1),
        };
        let line = Line::new(stopped);
        of(Caller { fetch: &fetch, trust: &Trust::System, line: &line, challenge: None })
    }

    #[test]
    fn a_redirect_leads_to_the_same_host_and_port_or_nowhere() {
        caller("http://cam:81/a/b?c", |caller| {
            let follow = |location| caller.follow("/a/b?c", location);
            for (location, expected) in [
                ("/x?y", "/x?y"),
                ("x", "/a/x"),
                // RFC 3986, 5.4.1.
                ("?d", "/a/b?d"),
                ("#d", "/a/b?c"),
                ("HTTP://CAM:81/z", "/z"),
                ("http://cam:81", "/"),
                ("/x?next=http://other/", "/x?next=http://other/"),
            ] {
                assert_eq!(follow(location).unwrap(), expected, "{location}");
            }
            for location in [
                "http://cam/z",
                "https://cam:81/z",
                "http://other:81/z",
                "//cam:81/z",
                "http://cam:81@other/",
                "http://u:p@cam:81/",
                "rtsp://cam:81/",
                "/a b",
            ] {
                assert!(matches!(follow(location), Err(Error::SentElsewhere { .. })), "{location}");
            }
            let Error::SentElsewhere { to } = follow("http://me:s3cret@cam/").unwrap_err() else {
                panic!("the port is another");
            };
            assert!(!to.contains("s3cret"), "{to}");
        });
    }

    #[test]
    fn the_type_of_the_answer_decides_unless_the_settings_do() {
        use HttpKind::{Auto, Mjpeg, Picture};
        for (media, wanted, expected) in [
            ("multipart/x-mixed-replace", Auto, Some(Kind::Mjpeg)),
            ("image/jpeg", Auto, Some(Kind::Picture)),
            ("text/html", Auto, None),
            ("", Auto, None),
            ("application/octet-stream", Picture, Some(Kind::Picture)),
            ("text/plain", Mjpeg, Some(Kind::Mjpeg)),
        ] {
            assert_eq!(kind_of(media, wanted).ok(), expected, "{media}");
        }
    }
}
