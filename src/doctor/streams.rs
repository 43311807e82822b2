//! The sources of the configured streams: whether files are there and whether cameras answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::network::{self, Reach, reach};
use super::{Context, Finding};
use crate::capture::{self, Endpoint, Settings, Source};
use crate::config::Stream;
use crate::exit::chain;
use crate::regular;

/// Most bytes of a camera's first line.
const LONGEST_LINE: u64 = 1024;

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let Some(config) = &context.config else { return vec![super::not_known("sources")] };
    let timeout = context.timeout;
    // All at one time: each camera may take the whole limit.
    thread::scope(|scope| {
        let begin = |stream| {
            let builder = thread::Builder::new().name("doc-stream".into());
            (stream, builder.spawn_scoped(scope, move || of(stream, timeout)))
        };
        let running: Vec<_> = config.streams.iter().map(begin).collect();
        let finish = |(stream, thread): (&Stream, io::Result<thread::ScopedJoinHandle<Finding>>)| match thread {
            Ok(thread) => {
                let fault = |_| Finding::error(stream.name.clone(), "the check failed", "please report it");
                thread.join().unwrap_or_else(fault)
            }
            Err(error) => super::no_thread(stream.name.clone(), &error),
        };
        running.into_iter().map(finish).collect()
    })
}

fn of(stream: &Stream, timeout: Duration) -> Finding {
    let name = stream.name.as_str();
    // The password file, too, is read here.
    let source = match Settings::new(stream) {
        Ok(settings) => settings.source,
        Err(error) => {
            let remedy =
                "put the file there, readable for the service (LoadCredential= in the unit), or correct the key";
            return Finding::error(name, chain(&error), remedy);
        }
    };
    let shown = source.describe();
    match &source {
        Source::Test(_) => Finding::ok(name, format!("{shown}, a test pattern")),
        Source::File(path) => file(name, path),
        Source::Images(path) => images(name, path),
        Source::Rtsp(_) => match source.endpoint() {
            Some(Ok(endpoint)) => camera(name, &shown, &endpoint, timeout),
            Some(Err(error)) => Finding::error(name, format!("{shown}: {error}"), "correct stream.source"),
            None => Finding::info(name, shown),
        },
    }
}

fn file(name: &str, path: &Path) -> Finding {
    let shown = path.display();
    match regular::open(path).and_then(|file| file.metadata()) {
        Ok(metadata) if metadata.len() == 0 => {
            Finding::error(name, format!("{shown} is empty"), "record it again, or correct stream.source")
        }
        Ok(metadata) => Finding::ok(name, format!("{shown}, {:.1} MB", metadata.len() as f64 / 1e6)),
        Err(error) => Finding::error(
            name,
            format!("{shown}: {error}"),
            "check the path and its mode; ProtectHome= in the unit hides the homes of users",
        ),
    }
}

fn images(name: &str, path: &Path) -> Finding {
    match capture::pictures(path) {
        Ok(pictures) => Finding::ok(name, format!("{}, {} pictures", path.display(), pictures.len())),
        Err(error) => Finding::error(
            name,
            chain(&error),
            "check the path and its mode; ProtectHome= in the unit hides the homes of users",
        ),
    }
}

/// Asks a camera what it can do, which needs no login (RFC 2326, 10.1): nothing is set up.
fn camera(name: &str, shown: &str, endpoint: &Endpoint, timeout: Duration) -> Finding {
    let start = Instant::now();
    let (connection, address) = match network::connect(&endpoint.host, endpoint.port, timeout) {
        Ok(connected) => connected,
        Err(error) => {
            return Finding::error(name, format!("{shown}: {error}"), error.remedy("camera", "stream.source"));
        }
    };
    let took = start.elapsed().as_millis();
    let remedy = "check the port: cameras serve RTSP at 554 or 8554 and HTTP at 80";
    match ask(connection, &endpoint.address, timeout) {
        Ok(line) if line.starts_with("RTSP/1.") => {
            let far = match reach(address.ip()) {
                Reach::Public => ", over a public network: pictures and login can be read on the way",
                Reach::Loopback | Reach::Local => "",
            };
            Finding::ok(name, format!("{shown}: {address} answers after {took} ms ({}){far}", line.trim_end()))
        }
        Ok(line) if line.is_empty() => {
            Finding::error(name, format!("{shown}: {address} hangs up instead of answering"), remedy)
        }
        Ok(_) => Finding::error(name, format!("{shown}: what answers at {address} does not speak RTSP"), remedy),
        Err(error) => {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, WouldBlock};
            let what = match error.kind() {
                WouldBlock | TimedOut => {
                    format!("accepts the connection and does not answer within {} s", timeout.as_secs_f64())
                }
                // With a part of the request unread, a close arrives as a reset.
                BrokenPipe | ConnectionAborted | ConnectionReset => "hangs up instead of answering".into(),
                _ => format!("cannot be asked ({error})"),
            };
            Finding::error(name, format!("{shown}: {address} {what}"), format!("{remedy}; restart a camera that hangs"))
        }
    }
}

/// The first line of the answer to OPTIONS; empty when the camera hangs up.
fn ask(mut connection: TcpStream, address: &str, timeout: Duration) -> io::Result<String> {
    let end = Instant::now() + timeout;
    connection.set_write_timeout(Some(timeout))?;
    let request = format!("OPTIONS {address} RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: hardnetd\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut answer = BufReader::new(connection).take(LONGEST_LINE);
    let mut line = Vec::new();
    // Bytes may come one at a time: the limit is for the whole line.
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        answer.get_ref().get_ref().set_read_timeout(Some(left))?;
        let bytes = answer.fill_buf()?;
        let (length, whole) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (bytes.len(), bytes.is_empty()),
        };
        line.extend_from_slice(&bytes[..length]);
        answer.consume(length);
        if whole {
            // What a stranger sends is shown on a terminal.
            let text = String::from_utf8_lossy(&line);
            return Ok(text.chars().filter(|c| !c.is_control()).collect());
        }
    }
}
