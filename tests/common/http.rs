//! A real HTTP server in this process whose answers a test determines; and a proxy.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Maximum time that a connection is held.
const HELD: Duration = Duration::from_secs(120);

/// A client's request.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET /path HTTP/1.1`.
    pub line: String,
    headers: Vec<(String, String)>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }

    /// The first byte requested, unless it is the whole file.
    pub fn start(&self) -> Option<usize> {
        let start = self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?;
        Some(start.parse().unwrap())
    }

    fn read(stream: &TcpStream) -> Option<Self> {
        let mut lines = BufReader::new(stream.take(64 << 10)).lines().map_while(Result::ok);
        let line = lines.next()?;
        let header = |line: String| line.split_once(':').map(|(key, value)| (key.to_owned(), value.trim().to_owned()));
        Some(Self { line, headers: lines.take_while(|line| !line.is_empty()).filter_map(header).collect() })
    }
}

/// How the end of the body is indicated.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    Close,
}

/// What follows after the bytes have been sent.
#[derive(Debug, Clone, Copy)]
enum Then {
    End,
    Stall,
    Drip(Duration),
}

/// A server's answer.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
    framing: Framing,
    sent: usize,
    then: Then,
}

impl Answer {
    /// All of `body`, with its length.
    pub fn new(status: u16, body: &[u8]) -> Self {
        let framing = Framing::Length(body.len());
        Self { status, headers: Vec::new(), body: body.to_vec(), framing, sent: body.len(), then: Then::End }
    }

    /// The answer of a server that supports ranges, for `file` with the version `tag`.
    pub fn of(file: &[u8], tag: Option<&str>, request: &Request) -> Self {
        let same = request.header("if-range").is_none_or(|asked| Some(asked) == tag);
        let answer = match request.start().filter(|_| same) {
            None => Self::new(200, file),
            Some(start) if start >= file.len() => {
                Self::new(416, b"").with(format!("Content-Range: bytes */{}", file.len()))
            }
            Some(start) => Self::new(206, &file[start..]).with(format!(
                "Content-Range: bytes {start}-{}/{}",
                file.len() - 1,
                file.len()
            )),
        };
        match tag {
            Some(tag) => answer.with(format!("ETag: {tag}")),
            None => answer,
        }
    }

    pub fn redirect(to: &str) -> Self {
        Self::new(302, b"elsewhere").with(format!("Location: {to}"))
    }

    /// With one more header, `Name: value`.
    pub fn with(mut self, header: impl Into<String>) -> Self {
        self.headers.push(header.into());
        self
    }

    /// Announces `length` bytes, whatever is sent.
    pub fn promising(mut self, length: usize) -> Self {
        self.framing = Framing::Length(length);
        self
    }

    /// In chunks, without a length.
    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// Without a length: the end of the connection ends the body.
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::Close;
        self
    }

    /// Breaks off after `sent` bytes.
    pub fn cut(mut self, sent: usize) -> Self {
        self.sent = sent;
        self
    }

    /// Is silent after `sent` bytes, until the client goes.
    pub fn stall(mut self, sent: usize) -> Self {
        (self.sent, self.then) = (sent, Then::Stall);
        self
    }

    /// Sends a single byte every `pause`.
    pub fn drip(mut self, pause: Duration) -> Self {
        (self.sent, self.then) = (0, Then::Drip(pause));
        self
    }

    fn write(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Whatever\r\nConnection: close\r\n", self.status);
        match self.framing {
            Framing::Length(length) => head += &format!("Content-Length: {length}\r\n"),
            Framing::Chunked => head += "Transfer-Encoding: chunked\r\n",
            Framing::Close => {}
        }
        for header in &self.headers {
            head += &format!("{header}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        let body = &self.body[..self.sent];
        if matches!(self.framing, Framing::Chunked) {
            for chunk in body.chunks(1000) {
                stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
                stream.write_all(chunk)?;
                stream.write_all(b"\r\n")?;
            }
            if self.sent == self.body.len() {
                stream.write_all(b"0\r\n\r\n")?;
            }
        } else {
            stream.write_all(body)?;
        }
        match self.then {
            Then::End => stream.shutdown(Shutdown::Write)?,
            Then::Stall => {}
            Then::Drip(pause) => {
                for byte in &self.body {
                    stream.write_all(&[*byte])?;
                    thread::sleep(pause);
                }
            }
        }
        // Until the client goes: an earlier end could discard bytes in transit.
        stream.set_read_timeout(Some(HELD))?;
        std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
    }
}

/// A server that answers until the test process ends.
#[derive(Clone)]
pub struct Server {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers the request with number `n`, counted from 0, with `answer(n, request)`.
    pub fn start(answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::listen(move |number, request, stream| {
            // A client may go at any time.
            let _ = answer(number, request).write(stream);
        })
    }

    /// Serves `file` with support for ranges, under the version `tag`.
    pub fn of(file: &[u8], tag: Option<&'static str>) -> Self {
        let file = file.to_vec();
        Self::start(move |_, request| Answer::of(&file, tag, request))
    }

    /// A proxy that makes a tunnel to any requested destination.
    pub fn proxy() -> Self {
        Self::listen(|_, request, mut client| {
            assert!(request.line.starts_with("CONNECT "), "{}", request.line);
            let mut server = TcpStream::connect(request.path()).unwrap();
            client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            let _ = std::io::copy(&mut server, &mut client);
            let _ = client.shutdown(Shutdown::Both);
        })
    }

    /// Lets `serve` answer the request with number `n`, counted from 0, in its own way.
    pub fn listen(serve: impl Fn(usize, &Request, &TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, serve) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::new(serve));
        let log = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, serve) = (Arc::clone(&log), Arc::clone(&serve));
                thread::spawn(move || {
                    let Some(request) = Request::read(&stream) else { return };
                    let number = {
                        let mut log = log.lock().unwrap();
                        log.push(request.clone());
                        log.len() - 1
                    };
                    serve(number, &request, &stream);
                });
            }
        });
        Self { port, requests }
    }

    /// The address of `path`, which begins with '/'.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The first byte requested; `None` for a whole file.
    pub fn starts(&self) -> Vec<Option<usize>> {
        self.requests().iter().map(Request::start).collect()
    }
}
