//! Which of a broker's addresses the client library connects to.
//!
//! The library tries the addresses of a name one after the other within a single time limit, and waits for each as long
//! as the system does: one that swallows packets takes all of that time, on every attempt. The library is therefore
//! given the address that answers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rumqttc::{MqttOptions, Transport};

use crate::system::network::{self, Unreachable};

/// Makes `options` lead to the address of `host` that answers first, within `limit`.
///
/// Over TLS, the library tells the server the host that it connects to (RFC 6066, section 3), and brokers that serve
/// several names need theirs. There it keeps the name unless an address before the chosen one swallows packets.
pub(super) fn choose(options: &mut MqttOptions, host: &str, limit: Duration) -> Result<(), Unreachable> {
    let start = Instant::now();
    let addresses = network::resolve(host, options.broker_address().1, limit)?;
    let is_tcp = matches!(options.transport(), Transport::Tcp);
    let address = match addresses[..] {
        [address] => is_tcp.then_some(address),
        _ => {
            let reached = network::race(host, &addresses, start, limit)?;
            (is_tcp || reached.has_overtaken).then_some(reached.address)
        }
    };
    *options = at(options, address.map_or_else(|| host.to_owned(), text));
    Ok(())
}

/// Makes `options` lead to `address`.
pub(super) fn lead(options: &mut MqttOptions, address: SocketAddr) {
    *options = at(options, text(address));
}

/// An address as the library takes it. Those of a link have a scope (RFC 4007, section 11).
fn text(address: SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        other => other.ip().to_string(),
    }
}

/// The same options for `host`, which the library does not let change.
fn at(options: &MqttOptions, host: String) -> MqttOptions {
    let mut copy = MqttOptions::new(options.client_id(), host, options.broker_address().1);
    copy.set_transport(options.transport())
        .set_keep_alive(options.keep_alive())
        .set_inflight(options.inflight())
        .set_clean_session(options.clean_session())
        .set_max_packet_size(options.max_packet_size(), options.max_packet_size());
    if let Some(login) = options.credentials() {
        copy.set_credentials(login.username, login.password);
    }
    if let Some(will) = options.last_will() {
        copy.set_last_will(will);
    }
    copy
}
