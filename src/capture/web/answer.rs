//! One HTTP/1.1 exchange (RFC 9112): writes a request, reads the head of the answer, and then its body piece by piece.

use std::io::{self, BufRead, Read, Write};

use crate::capture::scheme::{Endpoint, encoded};

/// Maximum bytes of the head of an answer.
const LONGEST_HEAD: u64 = 16 << 10;

/// Maximum bytes of the line before a chunk.
const LONGEST_LINE: u64 = 1 << 10;

/// Maximum headers of an answer.
const MOST_HEADERS: usize = 100;

/// What is asked of a camera: path and query.
pub(super) fn target(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let path = &rest[rest.find(['/', '?', '#']).unwrap_or(rest.len())..];
    let path = path.split('#').next().unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{slash}{}", encoded(path))
}

/// Asks for `target`.
pub(super) fn ask(
    mut output: impl Write,
    endpoint: &Endpoint,
    target: &str,
    authorization: Option<&str>,
) -> io::Result<()> {
    let login = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {}\r\nUser-Agent: hardnetd/{}\r\nAccept: multipart/x-mixed-replace, image/jpeg\r\n\
         {login}Connection: close\r\n\r\n",
        endpoint.authority(),
        env!("CARGO_PKG_VERSION"),
    );
    output.write_all(request.as_bytes())?;
    output.flush()
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    /// What the server calls its status, without control characters.
    pub(super) reason: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Reads one; `None` if it is not HTTP.
    pub(super) fn read(input: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut input = input.take(LONGEST_HEAD);
        let mut line = || -> io::Result<String> {
            let mut bytes = Vec::new();
            input.read_until(b'\n', &mut bytes)?;
            if !bytes.ends_with(b"\n") {
                let is_too_long = input.limit() == 0;
                let kind = if is_too_long { io::ErrorKind::FileTooLarge } else { io::ErrorKind::UnexpectedEof };
                return Err(kind.into());
            }
            // Untrusted text, shown on a terminal.
            Ok(String::from_utf8_lossy(&bytes).trim_end().chars().filter(|c| !c.is_control() || *c == '\t').collect())
        };
        loop {
            let first = line()?;
            let mut words = first.splitn(3, ' ');
            let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
            let status =
                words.next().and_then(|status| status.parse().ok()).filter(|status| (100..600).contains(status));
            let (true, Some(status)) = (is_http, status) else { return Ok(None) };
            let reason = words.next().unwrap_or_default().chars().take(100).collect();
            let mut headers = Vec::new();
            loop {
                let line = line()?;
                if line.is_empty() {
                    break;
                }
                let (key, value) = line.split_once(':').unwrap_or((&line, ""));
                if headers.len() < MOST_HEADERS {
                    headers.push((key.trim().to_owned(), value.trim().to_owned()));
                }
            }
            // What comes before the answer (RFC 9110, 15.2).
            if status >= 200 {
                return Ok(Some(Self { status, reason, headers }));
            }
        }
    }

    /// The values of the headers called `name`.
    pub(super) fn all<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The media type, without parameters, in lower case; empty if there is none.
    pub(super) fn media(&self) -> String {
        let value = self.all("Content-Type").next().unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The body that follows in `input`.
    pub(super) fn body<R: BufRead>(&self, input: R) -> Body<R> {
        let is_chunked = self.all("Transfer-Encoding").any(|value| value.to_ascii_lowercase().ends_with("chunked"));
        let length = self.all("Content-Length").next().and_then(|length| length.parse().ok());
        let framing = match (is_chunked, length) {
            (true, _) => Framing::Chunked { left: 0, is_first: true },
            (false, Some(left)) => Framing::Length { left },
            (false, None) => Framing::Close,
        };
        Body { input, framing }
    }
}

/// How the end of a body is told (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length { left: u64 },
    Chunked { left: u64, is_first: bool },
    Close,
    Over,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Body<R> {
    input: R,
    framing: Framing,
}

impl<R: BufRead> Read for Body<R> {
    /// A body that ends before it should is an error.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = match self.framing {
            Framing::Over | Framing::Length { left: 0 } => return Ok(0),
            Framing::Close => return self.input.read(buffer),
            Framing::Length { left } => left,
            Framing::Chunked { left: 0, is_first } => {
                if !is_first {
                    self.line()?;
                }
                let size = self.line()?;
                let size = size.split(';').next().unwrap_or_default().trim();
                let left = u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
                self.framing = Framing::Chunked { left, is_first: false };
                if left == 0 {
                    self.framing = Framing::Over;
                    return Ok(0);
                }
                left
            }
            Framing::Chunked { left, .. } => left,
        };
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.input.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Framing::Length { left } | Framing::Chunked { left, .. } = &mut self.framing {
            *left -= count as u64;
        }
        Ok(count)
    }
}

impl<R: BufRead> Body<R> {
    /// The line before a chunk, or the rest of the one behind it.
    fn line(&mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        (&mut self.input).take(LONGEST_LINE).read_until(b'\n', &mut bytes)?;
        if !bytes.ends_with(b"\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// The status and the body of an answer.
    fn read(answer: &str) -> io::Result<(u16, String)> {
        let mut input = answer.as_bytes();
        let head = Head::read(&mut input)?.ok_or(io::ErrorKind::InvalidInput)?;
        let mut text = String::new();
        head.body(input).read_to_string(&mut text)?;
        Ok((head.status, text))
    }

    #[test]
    fn an_answer_ends_where_it_says() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellorest",
            "HTTP/1.0 200\n\nhello",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\nrest",
        ] {
            assert_eq!(read(answer).unwrap(), (200, "hello".to_owned()), "{answer}");
        }
    }

    #[test]
    fn what_is_cut_off_or_no_http_is_told() {
        use io::ErrorKind::{FileTooLarge, InvalidData, InvalidInput, UnexpectedEof};
        for (answer, kind) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", UnexpectedEof),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello", UnexpectedEof),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsix\r\nhello\r\n", InvalidData),
            ("HTTP/1.1 200 OK\r\nA: b\r\n", UnexpectedEof),
            ("", UnexpectedEof),
            ("RTSP/1.0 200 OK\r\n\r\n", InvalidInput),
            ("HTTP/1.1 2000 OK\r\n\r\n", InvalidInput),
            ("SSH-2.0-x\r\n", InvalidInput),
        ] {
            assert_eq!(read(answer).unwrap_err().kind(), kind, "{answer}");
        }
        let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(20_000));
        assert_eq!(read(&long).unwrap_err().kind(), FileTooLarge);
    }

    #[test]
    fn a_request_has_the_path_of_the_address_and_nothing_that_ends_a_line() {
        for (address, expected) in [
            ("http://cam", "/"),
            ("http://cam/a/b.jpg?x=1&y=%20#part", "/a/b.jpg?x=1&y=%20"),
            ("http://cam:81?action=stream", "/?action=stream"),
            ("http://cam/a b\r\nX: y/ü", "/a%20b%0D%0AX:%20y/%C3%BC"),
        ] {
            assert_eq!(target(address), expected, "{address}");
        }
        let mut request = Vec::new();
        let endpoint = Endpoint::of("http://[::1]:81/a").unwrap();
        ask(&mut request, &endpoint, "/a", Some("Basic eA==")).unwrap();
        let request = String::from_utf8(request).unwrap();
        assert!(request.starts_with("GET /a HTTP/1.1\r\nHost: [::1]:81\r\n"), "{request}");
        assert!(request.ends_with("\r\nAuthorization: Basic eA==\r\nConnection: close\r\n\r\n"), "{request}");
    }
}
