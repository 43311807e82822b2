//! Asks a camera for its options, which needs no login and sets nothing up (RFC 2326, 10.1).

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use gio::prelude::*;
use jiff::Timestamp;

use super::{Endpoint, Fault};
use crate::capture::dial::{Trouble, encrypt, limited};
use crate::capture::trust::{Trust, valid_until};
use crate::system::network::{self, Reach, Reached, reach};

/// Maximum bytes of a camera's first line.
const LONGEST_LINE: u64 = 1024;

const REMEDY: &str =
    "check scheme and port: cameras serve rtsp:// at 554 or 8554, rtsps:// at 322 or 7441, and HTTP at 80";

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
    limited(&socket, timeout, || match endpoint.secure {
        false => options(&connection, &connection, &endpoint.address).map(|line| (line, None)).map_err(Trouble::Io),
        true => encrypt(connection, endpoint, trust).and_then(|tls| {
            let until = tls.peer_certificate().and_then(|certificate| valid_until(&certificate));
            let (input, output) = (tls.input_stream().into_read(), tls.output_stream().into_write());
            Ok((options(input, output, &endpoint.address)?, until))
        }),
    })
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
