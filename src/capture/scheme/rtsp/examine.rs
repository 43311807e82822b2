//! Asks a camera for its options, which needs no login and sets nothing up (RFC 2326, 10.1).

use std::cell::RefCell;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};
use gio::prelude::*;
use jiff::Timestamp;

use super::{Endpoint, Fault};
use crate::capture::trust::{Trust, TrustError, Untrusted, valid_until};
use crate::system::network::{self, Reach, Reached, reach};

/// Maximum bytes of a camera's first line.
const LONGEST_LINE: u64 = 1024;

const REMEDY: &str =
    "check scheme and port: cameras serve rtsp:// at 554 or 8554, rtsps:// at 322 or 7441, and HTTP at 80";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Untrusted(Box<Untrusted>),
    #[error("TLS fails: {0}")]
    Tls(gio::glib::Error),
}

/// Whether the camera at `endpoint`, `shown` as people may see it, answers within `timeout`.
///
/// # Errors
/// Why not, and what to do.
pub(super) fn examine(shown: &str, endpoint: &Endpoint, trust: &Trust, timeout: Duration) -> Result<String, Fault> {
    let start = Instant::now();
    let Reached { stream: connection, address, .. } = network::connect(&endpoint.host, endpoint.port, timeout)
        .map_err(|error| Fault::new(format!("{shown}: {error}"), error.remedy("camera", "stream.source")))?;
    let took = start.elapsed().as_millis();
    let (line, certificate) = match ask(connection, endpoint, trust, timeout) {
        Ok(answer) => answer,
        Err(Trouble::Io(error)) => {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut};
            let what = match error.kind() {
                TimedOut => format!("accepts the connection and does not answer within {} s", timeout.as_secs_f64()),
                // If part of the request is unread, a close arrives as a reset.
                BrokenPipe | ConnectionAborted | ConnectionReset => "hangs up instead of answering".into(),
                _ => format!("cannot be asked ({error})"),
            };
            return Err(Fault::new(
                format!("{shown}: {address} {what}"),
                format!("{REMEDY}; restart a camera that hangs"),
            ));
        }
        Err(Trouble::Untrusted(error)) => return Err(Fault::new(format!("{shown}: {error}"), error.remedy())),
        Err(Trouble::Trust(error)) => {
            return Err(Fault::new(format!("{shown}: {error}"), "install that package, or correct stream.ca_file"));
        }
        Err(error @ Trouble::Tls(_)) => return Err(Fault::new(format!("{shown}: {address}: {error}"), REMEDY)),
    };
    if line.is_empty() {
        return Err(Fault::new(format!("{shown}: {address} hangs up instead of answering"), REMEDY));
    }
    if !line.starts_with("RTSP/1.") {
        return Err(Fault::new(format!("{shown}: the server at {address} does not speak RTSP"), REMEDY));
    }
    let far = match reach(address.ip()) {
        Reach::Public if !endpoint.secure => ", over a public network: pictures and login can be read on the way",
        _ => "",
    };
    let until = certificate.map(|until| validity(until, Timestamp::now(), trust)).unwrap_or_default();
    let line = line.trim_end();
    Ok(format!("{shown}: {address} answers after {took} ms ({line}){until}; path and login not checked{far}"))
}

/// Until when a certificate that was accepted is valid, in words.
fn validity(until: Timestamp, now: Timestamp, trust: &Trust) -> String {
    match trust {
        _ if until >= now => format!(", certificate valid until {until}"),
        Trust::Anybody => format!(", certificate expired on {until}, accepted because none is checked"),
        _ => format!(", certificate expired on {until}, accepted because stream.ca_file contains it"),
    }
}

/// The first line of the answer to OPTIONS, empty if the camera hangs up, and until when its certificate is valid.
fn ask(
    connection: TcpStream,
    endpoint: &Endpoint,
    trust: &Trust,
    timeout: Duration,
) -> Result<(String, Option<Timestamp>), Trouble> {
    let socket = connection.try_clone()?;
    let (done, over) = bounded::<()>(0);
    thread::scope(|scope| {
        // Bytes may come one at a time; the limit applies to the whole conversation.
        let end = move || {
            let is_late = over.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout);
            is_late && socket.shutdown(Shutdown::Both).is_ok()
        };
        let end = thread::Builder::new().name("doc-limit".into()).spawn_scoped(scope, end)?;
        let answer = match endpoint.secure {
            false => options(&connection, &connection, &endpoint.address).map(|line| (line, None)).map_err(Trouble::Io),
            true => encrypt(connection, endpoint, trust).and_then(|tls| {
                let until = tls.peer_certificate().and_then(|certificate| valid_until(&certificate));
                let (input, output) = (tls.input_stream().into_read(), tls.output_stream().into_write());
                Ok((options(input, output, &endpoint.address)?, until))
            }),
        };
        drop(done);
        if end.join().unwrap_or(false) { Err(io::Error::from(io::ErrorKind::TimedOut).into()) } else { answer }
    })
}

/// TLS over `connection`, with a certificate that is trusted.
fn encrypt(connection: TcpStream, endpoint: &Endpoint, trust: &Trust) -> Result<gio::TlsConnection, Trouble> {
    let database = trust.database()?;
    let socket = gio::Socket::from_fd(connection.into()).map_err(Trouble::Tls)?;
    let base = socket.connection_factory_create_connection();
    let identity = gio::NetworkAddress::new(&endpoint.host, endpoint.port);
    let tls = gio::TlsClientConnection::new(&base, Some(&identity)).map_err(Trouble::Tls)?;
    if database.is_some() {
        tls.set_database(database.as_ref());
    }
    let refused = Rc::new(RefCell::new(None));
    tls.connect_accept_certificate({
        let (trust, refused, endpoint) = (trust.clone(), Rc::clone(&refused), endpoint.clone());
        move |_, certificate, faults| {
            let outcome = trust.accept(certificate, faults, &endpoint);
            let is_accepted = outcome.is_ok();
            *refused.borrow_mut() = outcome.err();
            is_accepted
        }
    });
    let outcome = tls.handshake(gio::Cancellable::NONE);
    match (outcome, refused.take()) {
        (Ok(()), _) => Ok(tls.upcast()),
        (Err(_), Some(untrusted)) => Err(Trouble::Untrusted(untrusted)),
        (Err(error), None) => Err(Trouble::Tls(error)),
    }
}

/// The first line of the answer to OPTIONS; empty if the camera hangs up.
fn options(input: impl Read, mut output: impl Write, address: &str) -> io::Result<String> {
    let request = format!("OPTIONS {address} RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: hardnetd\r\n\r\n");
    output.write_all(request.as_bytes())?;
    let mut line = Vec::new();
    BufReader::new(input.take(LONGEST_LINE)).read_until(b'\n', &mut line)?;
    // Untrusted text, shown on a terminal.
    Ok(String::from_utf8_lossy(&line).chars().filter(|c| !c.is_control()).collect())
}

#[cfg(test)]
mod units {
    use super::*;

    #[test]
    fn a_certificate_that_has_expired_is_said_to_have() {
        let [before, after] = [1_000, 2_000].map(|second| Timestamp::from_second(second).unwrap_or_default());
        assert!(validity(after, before, &Trust::System).ends_with("valid until 1970-01-01T00:33:20Z"));
        let file = Trust::File { path: "camera.pem".into(), certificates: [].into() };
        assert!(
            validity(before, after, &file).contains("expired on 1970-01-01T00:16:40Z, accepted because stream.ca_file")
        );
    }
}
