//! Connections to network cameras that the program makes itself: TLS with the certificates of GLib, and a limit on a whole
//! conversation.

use std::cell::RefCell;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use gio::prelude::*;

use super::scheme::Endpoint;
use super::trust::{Trust, TrustError, Untrusted};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Untrusted(Box<Untrusted>),
    #[error("TLS fails: {0}")]
    Tls(gio::glib::Error),
}

/// TLS over `connection`, with a certificate that is trusted.
pub(super) fn encrypt(
    connection: TcpStream,
    endpoint: &Endpoint,
    trust: &Trust,
) -> Result<gio::TlsConnection, Trouble> {
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

/// What `converse` says, which reads and writes over `connection`. After `timeout`, the connection is closed, and the
/// outcome is [`io::ErrorKind::TimedOut`]: bytes may come one at a time, so the limit applies to the whole conversation.
pub(super) fn limited<T>(
    connection: &TcpStream,
    timeout: Duration,
    converse: impl FnOnce() -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let socket = connection.try_clone()?;
    let (done, over) = bounded::<()>(0);
    thread::scope(|scope| {
        let end = move || {
            let is_late = over.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout);
            is_late && socket.shutdown(Shutdown::Both).is_ok()
        };
        let end = thread::Builder::new().name("doc-limit".into()).spawn_scoped(scope, end)?;
        let answer = converse();
        drop(done);
        if end.join().unwrap_or(false) { Err(io::Error::from(io::ErrorKind::TimedOut).into()) } else { answer }
    })
}
