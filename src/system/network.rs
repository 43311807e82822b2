//! Checks whether a host answers: its name, then a TCP connection, each within a limit.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::shutdown::{self, Thread};

/// Maximum addresses per name to try.
const MOST: usize = 8;

/// Most names that are looked up beside each other: the system's resolver may take long.
const MOST_LOOKUPS: usize = 4;

/// Why a host does not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreachable {
    #[error("the name {host} is not known ({source})")]
    Name { host: String, source: io::Error },
    #[error("the name {host} is not resolved within {} s", limit.as_secs_f64())]
    NameTime { host: String, limit: Duration },
    #[error("nothing listens at {address}")]
    Refused { address: SocketAddr },
    #[error("{address} does not answer within {} s", limit.as_secs_f64())]
    Silent { address: SocketAddr, limit: Duration },
    #[error("no route to {address} ({source})")]
    Network { address: SocketAddr, source: io::Error },
    #[error("cannot start a thread to look it up ({0})")]
    Thread(io::Error),
}

impl Unreachable {
    /// What to do about it; `what` is the kind of host, `key` the configuration key that names it.
    pub(crate) fn remedy(&self, what: &str, key: &str) -> String {
        match self {
            Self::Name { host, .. } if host.ends_with(".local") => {
                format!("check {key}; names in .local need avahi-daemon and libnss-mdns here, or give an address")
            }
            Self::Name { .. } | Self::NameTime { .. } => {
                format!("check {key} and DNS (`getent hosts NAME`), or give an address")
            }
            Self::Refused { .. } => {
                format!(
                    "start the {what}, check its port in {key}, and that it listens beyond its own loopback interface"
                )
            }
            Self::Silent { .. } => {
                format!("switch the {what} on, check {key}, and that no firewall drops the connection")
            }
            Self::Network { .. } => "check cable, Wi-Fi and routes (`ip route`)".into(),
            Self::Thread(_) => "raise TasksMax= of the unit, or `ulimit -u`".into(),
        }
    }
}

/// The addresses of `host`. The system's resolver has its own, longer limits; after `limit`, it is left to run in the
/// background.
fn resolve(host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, Unreachable> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let name = host.to_owned();
    let thread = shutdown::spawn("doc-resolve", move || {
        (name.as_str(), port).to_socket_addrs().map(|addresses| addresses.take(MOST).collect::<Vec<_>>())
    });
    let host = host.to_owned();
    match thread.map_err(Unreachable::Thread)?.join(Some(Instant::now() + limit)) {
        Ok(Ok(addresses)) if addresses.is_empty() => {
            Err(Unreachable::Name { host, source: io::Error::other("it has no address") })
        }
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(source)) => Err(Unreachable::Name { host, source }),
        Err(_) => Err(Unreachable::NameTime { host, limit }),
    }
}

/// Whether `error` is that of the system's resolver, which has no kind of its own.
pub(crate) fn is_unknown_name(error: &io::Error) -> bool {
    error.to_string().contains("failed to lookup address information")
}

/// Looks up the name `host` on a thread, which nobody needs to wait for; `None` for an address, if too many names are
/// looked up already, or if the system refuses the thread.
pub(crate) fn look_up(host: &str) -> Option<Thread<io::Result<()>>> {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    if host.parse::<IpAddr>().is_ok() {
        return None;
    }
    if RUNNING.fetch_add(1, Ordering::Relaxed) >= MOST_LOOKUPS {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    let host = host.to_owned();
    let thread = shutdown::spawn("resolve", move || {
        let found = (host.as_str(), 0_u16).to_socket_addrs().map(drop);
        RUNNING.fetch_sub(1, Ordering::Relaxed);
        found
    });
    if thread.is_err() {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
    thread.ok()
}

/// A connection to `port` of `host`, using the first of its addresses that answers within `limit`.
pub(crate) fn connect(host: &str, port: u16, limit: Duration) -> Result<(TcpStream, SocketAddr), Unreachable> {
    let end = Instant::now() + limit;
    let mut failure = None;
    for address in resolve(host, port, limit)? {
        let left = end.saturating_duration_since(Instant::now());
        let outcome = match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => TcpStream::connect_timeout(&address, left),
        };
        let error = match outcome {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => error,
        };
        failure.get_or_insert(match error.kind() {
            io::ErrorKind::ConnectionRefused => Unreachable::Refused { address },
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Unreachable::Silent { address, limit },
            _ => Unreachable::Network { address, source: error },
        });
    }
    Err(failure.unwrap_or_else(|| Unreachable::Name { host: host.to_owned(), source: io::ErrorKind::NotFound.into() }))
}

/// How far away an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// This machine.
    Loopback,
    /// A private or link-local address (RFC 1918, 3927, 4193, 4291, 6598).
    Local,
    /// Any other.
    Public,
}

/// How far away `address` is.
pub(crate) fn reach(address: IpAddr) -> Reach {
    match address.to_canonical() {
        address if address.is_loopback() => Reach::Loopback,
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            if v4.is_private() || v4.is_link_local() || shared { Reach::Local } else { Reach::Public }
        }
        IpAddr::V6(v6) if v6.is_unique_local() || v6.is_unicast_link_local() => Reach::Local,
        IpAddr::V6(_) => Reach::Public,
    }
}

#[cfg(test)]
mod units {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn addresses_outside_the_local_network_are_told() {
        for (address, expected) in [
            ("127.0.0.1", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("192.168.1.2", Reach::Local),
            ("10.0.0.1", Reach::Local),
            ("172.16.0.1", Reach::Local),
            ("172.32.0.1", Reach::Public),
            ("100.64.0.1", Reach::Local),
            ("100.128.0.1", Reach::Public),
            ("fe80::1", Reach::Local),
            ("fd00::1", Reach::Local),
            ("2001:db8::1", Reach::Public),
            ("8.8.8.8", Reach::Public),
        ] {
            assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn a_host_that_does_not_answer_is_told_by_how() {
        let limit = Duration::from_secs(60);
        let name = connect("nothing-of-that-name.invalid", 1, limit).unwrap_err();
        assert!(matches!(name, Unreachable::Name { .. } | Unreachable::NameTime { .. }), "{name}");
        assert!(name.remedy("broker", "publish.mqtt.host").contains("publish.mqtt.host"));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(matches!(connect("127.0.0.1", port, limit), Err(Unreachable::Refused { .. })));
    }

    #[test]
    fn names_are_looked_up_and_addresses_are_not() {
        let outcome = |host: &str| look_up(host).map(|lookup| lookup.join(None).unwrap());
        assert!(outcome("127.0.0.1").is_none() && outcome("::1").is_none());
        assert!(outcome("localhost").unwrap().is_ok());
        let error = outcome("nothing-of-that-name.invalid").unwrap().unwrap_err();
        assert!(is_unknown_name(&error), "{error}");
        assert!(!is_unknown_name(&io::ErrorKind::ConnectionRefused.into()));
    }

    #[test]
    fn the_limit_holds_where_nobody_accepts() {
        // The queue of a listener that never accepts fills up, and further connections wait.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let limit = Duration::from_secs(3);
        let mut open = Vec::new();
        let error = loop {
            assert!(open.len() < 10_000, "every connection is accepted");
            match connect("127.0.0.1", port, limit) {
                Ok(stream) => open.push(stream),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Unreachable::Silent { .. }), "{error}");
    }
}
