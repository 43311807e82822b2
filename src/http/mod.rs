//! Answers HTTP requests about the running program: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever
//! supervises it.
//!
//! One thread serves all requests. A connection carries one request and is closed when it has lasted for
//! `http.timeout_s`, and at most 16 are open at a time; further ones wait in the queue of the system.

mod board;
mod metrics;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::{Semaphore, oneshot};

use crate::exit::Exit;
use crate::shutdown::{self, JoinError, Thread};
pub use board::Board;

/// Maximum number of open connections.
const CONNECTIONS: usize = 16;

/// Wait after the system refused a connection, most likely for lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Time for the thread to end.
const FAREWELL: Duration = Duration::from_secs(1);

const TEXT: &str = "text/plain; charset=utf-8";

const INDEX: &str = "hardnetd\n\n/metrics  for Prometheus\n/healthz  200 while every thread makes progress, otherwise 503\n\
                     /readyz   200 while a stream is online, otherwise 503\n";

/// Why requests cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened at.
    #[error("cannot listen at {address} (http.listen): {}", hint(source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The server cannot be started.
    #[error("cannot start the HTTP server")]
    Start(#[source] io::Error),
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Exit::NoPermission,
            Self::Bind { .. } | Self::Start(_) => Exit::Unavailable,
        }
    }
}

fn hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program uses the port; choose another one".into(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".into(),
        io::ErrorKind::PermissionDenied => "ports below 1024 are for root; choose a higher one".into(),
        _ => error.to_string(),
    }
}

/// An address at which connections are accepted and wait.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Listens at `address`.
    ///
    /// # Errors
    /// If the system refuses the address.
    pub fn bind(address: SocketAddr) -> Result<Self, Error> {
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(Self(listener))
        };
        bind().map_err(|source| Error::Bind { address, source })
    }

    /// Answers requests from `board` until the server is dropped.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn serve(self, board: Arc<Board>) -> Result<Server, Error> {
        let start = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let listener = {
                let _entered = runtime.enter();
                tokio::net::TcpListener::from_std(self.0)?
            };
            let (stop, stopped) = oneshot::channel();
            let thread = shutdown::spawn("http", move || runtime.block_on(accept(listener, board, stopped)))?;
            Ok(Server { stop: Some(stop), thread: Some(thread) })
        };
        start().map_err(Error::Start)
    }
}

/// The thread that answers. Dropping it closes all connections and the address.
#[derive(Debug)]
pub struct Server {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<Thread<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop = None;
        let joined = self.thread.take().map(|thread| thread.join(Some(Instant::now() + FAREWELL)));
        if let Some(Err(error @ (JoinError::TimedOut { .. } | JoinError::Panicked { .. }))) = joined {
            tracing::warn!("{error}");
        }
    }
}

/// Accepts connections until `stopped`.
async fn accept(listener: tokio::net::TcpListener, board: Arc<Board>, mut stopped: oneshot::Receiver<Infallible>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let next = async || {
        let place = Arc::clone(&places).acquire_owned().await;
        (place, listener.accept().await)
    };
    loop {
        let (place, accepted) = tokio::select! {
            next = next() => next,
            _ = &mut stopped => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let board = Arc::clone(&board);
        tokio::spawn(async move {
            let (_place, limit) = (place, board.limit());
            let answer = service_fn(move |request| {
                let answer = answer(&board, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answer);
            match tokio::time::timeout(limit, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!("HTTP: {error}"),
                Err(_) => tracing::debug!("HTTP: a connection lasted longer than http.timeout_s"),
            }
        });
    }
}

fn answer(board: &Board, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, content, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, path) => match path {
            "/" => (StatusCode::OK, TEXT, INDEX.to_owned()),
            "/metrics" => match board.metrics() {
                Ok(text) => (StatusCode::OK, prometheus::TEXT_FORMAT, text),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
            },
            "/healthz" => of_check(board.health()),
            "/readyz" => of_check(board.readiness()),
            _ => (StatusCode::NOT_FOUND, TEXT, format!("not found; there are:\n\n{INDEX}")),
        },
        _ => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD are allowed\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn of_check(outcome: Result<String, String>) -> (StatusCode, &'static str, String) {
    match outcome {
        Ok(text) => (StatusCode::OK, TEXT, text),
        Err(text) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, text),
    }
}
