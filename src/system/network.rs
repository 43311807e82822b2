//! Checks whether a host answers: its name, then a TCP connection to one of its addresses, within a limit.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use crate::shutdown::{self, Thread};

/// Maximum addresses per name to try.
const MOST: usize = 8;

/// How long an address has to answer before the next one is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

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
    #[error("cannot start a thread to reach it ({0})")]
    Thread(io::Error),
}

impl Unreachable {
    fn of(address: SocketAddr, source: io::Error, limit: Duration) -> Self {
        match source.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused { address },
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::Silent { address, limit },
            _ => Self::Network { address, source },
        }
    }

    /// How much it says about a host of several addresses: one that refuses is the host, one without a route may be of
    /// a network that this machine does not use.
    fn weight(&self) -> u8 {
        match self {
            Self::Refused { .. } => 2,
            Self::Silent { .. } => 1,
            _ => 0,
        }
    }

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

/// The addresses of `host`, in the system's order, but with both families in turn: those of a family that leads nowhere
/// do not take all places. The system's resolver has its own, longer limits; after `limit`, it is left to run in the
/// background.
pub(crate) fn resolve(host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, Unreachable> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let name = host.to_owned();
    let thread = shutdown::spawn("resolve", move || {
        (name.as_str(), port).to_socket_addrs().map(|addresses| in_turn(addresses.collect()))
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

/// The first [`MOST`] of `addresses`, with both families in turn.
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv4) else { return addresses };
    let (same, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv4() == first);
    let mut places: Vec<_> = same.into_iter().enumerate().chain(other.into_iter().enumerate()).collect();
    places.sort_by_key(|(place, _)| *place);
    places.into_iter().map(|(_, address)| address).take(MOST).collect()
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) stream: TcpStream,
    pub(crate) address: SocketAddr,
    /// Whether an earlier address of the host has not answered yet.
    pub(crate) has_overtaken: bool,
}

/// A connection to `port` of `host`, within `limit`.
pub(crate) fn connect(host: &str, port: u16, limit: Duration) -> Result<Reached, Unreachable> {
    let start = Instant::now();
    let addresses = resolve(host, port, limit)?;
    race(host, &addresses, start, limit)
}

/// A connection to the first of the `addresses` of `host` to answer, within `limit` after `start`. The next address is
/// tried when the previous one has failed, or has not answered for [`HEAD_START`] (RFC 8305): one that swallows packets
/// does not hold up the others.
pub(crate) fn race(
    host: &str,
    addresses: &[SocketAddr],
    start: Instant,
    limit: Duration,
) -> Result<Reached, Unreachable> {
    let end = start + limit;
    let (sender, outcomes) = bounded(addresses.len());
    let mut waiting = addresses.iter();
    let mut pending = Vec::new();
    let mut failures = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let next = waiting.next().filter(|_| !left.is_zero());
        if let Some(&address) = next {
            let sender = sender.clone();
            // Sockets that connect after the winner are closed with the channel.
            let attempt = move || drop(sender.send((address, TcpStream::connect_timeout(&address, left))));
            match shutdown::spawn("connect", attempt) {
                Ok(_) => pending.push(address),
                Err(error) => failures.push(Unreachable::Thread(error)),
            }
        }
        if pending.is_empty() {
            match next {
                Some(_) => continue,
                None => break,
            }
        }
        let until = if waiting.len() == 0 { end } else { end.min(Instant::now() + HEAD_START) };
        match outcomes.recv_deadline(until) {
            Ok((address, Ok(stream))) => {
                let has_overtaken = pending.first() != Some(&address);
                return Ok(Reached { stream, address, has_overtaken });
            }
            Ok((address, Err(error))) => {
                pending.retain(|other| *other != address);
                failures.push(Unreachable::of(address, error, limit));
            }
            Err(_) if until >= end => break,
            Err(_) => {}
        }
    }
    failures.extend(pending.into_iter().map(|address| Unreachable::Silent { address, limit }));
    let none = || Unreachable::Name { host: host.to_owned(), source: io::ErrorKind::NotFound.into() };
    Err(failures.into_iter().rev().max_by_key(Unreachable::weight).unwrap_or_else(none))
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

    use std::net::TcpListener;

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
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(matches!(connect("127.0.0.1", port, limit), Err(Unreachable::Refused { .. })));
    }

    #[test]
    fn names_are_looked_up_and_addresses_are_not() {
        let outcome = |host: &str| look_up(host).map(|lookup| lookup.join(None).unwrap());
        assert!(outcome("127.0.0.1").is_none() && outcome("::1").is_none());
        assert!(outcome("localhost").unwrap().is_ok());
        assert!(outcome("nothing-of-that-name.invalid").unwrap().is_err());
    }

    /// A listener at `address` that swallows connections: its queue is full.
    fn black_hole(address: &str) -> (TcpListener, Vec<TcpStream>) {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let limit = Duration::from_millis(500);
        let queue = std::iter::from_fn(|| TcpStream::connect_timeout(&address, limit).ok()).take(10_000).collect();
        (listener, queue)
    }

    #[test]
    fn the_limit_holds_where_nobody_accepts() {
        let (listener, _queue) = black_hole("127.0.0.1:0");
        let error = connect("127.0.0.1", listener.local_addr().unwrap().port(), Duration::from_secs(1)).unwrap_err();
        assert!(matches!(error, Unreachable::Silent { .. }), "{error}");
    }

    #[test]
    fn an_address_that_swallows_packets_does_not_hold_up_the_next() {
        let (silent, _queue) = black_hole("127.0.0.2:0");
        let silent = silent.local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let refusing = SocketAddr::from(([127, 0, 0, 3], silent.port()));
        let of = |addresses: &[SocketAddr], limit| race("host", addresses, Instant::now(), limit);
        // Longer than the test may take: only the other address can end the wait.
        let long = Duration::from_secs(3600);
        assert_eq!(of(&[silent, refusing, open], long).unwrap().address, open);
        let error = of(&[silent, refusing], Duration::from_secs(1)).unwrap_err();
        assert!(matches!(error, Unreachable::Refused { address } if address == refusing), "{error}");
    }

    #[test]
    fn the_families_of_addresses_take_turns() {
        let [a, b, c, d] = ["[::1]:1", "[::2]:1", "127.0.0.1:1", "127.0.0.2:1"].map(|a| a.parse().unwrap());
        assert_eq!(in_turn(vec![a, b, c, d]), [a, c, b, d]);
        assert_eq!(in_turn(vec![c, d]), [c, d]);
        let many = (1..=20).map(|host| SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, host], 1)));
        assert!(in_turn(many.chain([c]).collect())[..MOST].contains(&c));
    }
}
