//! Asks an MQTT broker whether it would accept this program, and for the state of the device, without side effects:
//! nothing is published, and a running daemon of the same name keeps its connection.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rumqttc::{
    Client, ConnectReturnCode, Connection, ConnectionError, Event, NetworkOptions, Outgoing, Packet, QoS,
    RecvTimeoutError, StateError, SubscribeReasonCode, Transport, mqttbytes,
};

use super::{HandshakeError, TlsError, address, mqtt, tls};
use crate::config::{self, SecretError};

/// Why a reachable broker would not accept this program.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The password file cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The settings of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The TLS handshake fails.
    #[error(transparent)]
    Handshake(HandshakeError),
    /// The user name or the password is wrong, or the broker asks for one.
    #[error("the broker refuses the login ({reason})")]
    Login {
        /// The broker's answer.
        reason: &'static str,
    },
    /// The broker refuses for another reason.
    #[error("the broker refuses the connection ({reason})")]
    Refused {
        /// The broker's answer.
        reason: &'static str,
    },
    /// The broker hangs up without an answer.
    #[error("it hangs up instead of answering")]
    HungUp,
    /// The answer is not MQTT.
    #[error("the server does not speak MQTT: {0}")]
    NotMqtt(String),
    /// The broker does not answer in time.
    #[error("it accepts the connection and does not answer within {} s", limit.as_secs_f64())]
    Silent {
        /// The time limit.
        limit: Duration,
    },
}

/// How long a broker may take for a retained message after it has accepted the subscription.
const RETAINED: Duration = Duration::from_secs(1);

/// What a broker keeps as the state of the device (its retained message).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// `online`.
    Online,
    /// Another state, or none.
    NotOnline,
    /// The broker does not say.
    Unknown,
}

/// A broker's answer.
#[derive(Debug)]
pub struct Answer {
    /// If it accepts this program, what it keeps as the state of the device; otherwise the reason.
    pub login: Result<Kept, ProbeError>,
    /// Expiry of the first certificate of its chain to expire, if a chain was shown and verified.
    pub valid_until: Option<Timestamp>,
}

/// Connects to the broker of `settings`, at `address` if one is given, with its login, under its own client ID, asks for
/// the state of `device`, and disconnects. Returns after `limit` at the latest.
#[must_use]
pub fn probe(settings: &config::Mqtt, device: &str, address: Option<SocketAddr>, limit: Duration) -> Answer {
    match tls::transport(settings) {
        Err(error) => Answer { login: Err(error.into()), valid_until: None },
        Ok((transport, verifier)) => {
            let login = connect(settings, address, transport, limit).and_then(|(client, mut connection)| {
                ask(&client, &mut connection, &settings.status_topic(device), limit)
            });
            Answer { login, valid_until: verifier.and_then(|verifier| verifier.valid_until()) }
        }
    }
}

fn connect(
    settings: &config::Mqtt,
    address: Option<SocketAddr>,
    transport: Transport,
    limit: Duration,
) -> Result<(Client, Connection), ProbeError> {
    let id = format!("hardnetd-doctor-{}", std::process::id());
    let mut options = mqtt::options(settings, id, transport)?;
    options.set_clean_session(true);
    if let Some(address) = address {
        address::lead(&mut options, address);
    }
    let (client, mut connection) = Client::new(options, 2);
    let mut network = NetworkOptions::new();
    network.set_connection_timeout(limit.as_secs() + 1);
    connection.eventloop.set_network_options(network);
    Ok((client, connection))
}

/// Waits until the broker has accepted (MQTT 3.1.1, 3.2.2.3), asks for the state at `topic`, and disconnects.
fn ask(client: &Client, connection: &mut Connection, topic: &str, limit: Duration) -> Result<Kept, ProbeError> {
    let end = Instant::now() + limit;
    loop {
        match next(connection, end) {
            Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => break,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(reason(error, limit)),
            Err(_) => return Err(ProbeError::Silent { limit }),
        }
    }
    let kept = state(client, connection, topic, end);
    if connection.eventloop.network.is_some() && client.try_disconnect().is_ok() {
        while let Ok(Ok(event)) = next(connection, end) {
            if event == Event::Outgoing(Outgoing::Disconnect) {
                break;
            }
        }
    }
    Ok(kept)
}

/// What the broker keeps at `topic`. It sends that as soon as it has accepted a subscription (3.3.1.3).
fn state(client: &Client, connection: &mut Connection, topic: &str, end: Instant) -> Kept {
    let (mut kept, mut until) = (Kept::Unknown, end);
    if client.try_subscribe(topic, QoS::AtMostOnce).is_err() {
        return kept;
    }
    while let Ok(Ok(event)) = next(connection, until) {
        match event {
            Event::Incoming(Packet::SubAck(answer)) if answer.return_codes == [SubscribeReasonCode::Failure] => break,
            Event::Incoming(Packet::SubAck(_)) => {
                (kept, until) = (Kept::NotOnline, end.min(Instant::now() + RETAINED));
            }
            Event::Incoming(Packet::Publish(message)) if *message.payload == *b"online" => return Kept::Online,
            Event::Incoming(Packet::Publish(_)) => return Kept::NotOnline,
            _ => {}
        }
    }
    kept
}

fn next(connection: &mut Connection, until: Instant) -> Result<Result<Event, ConnectionError>, RecvTimeoutError> {
    connection.recv_timeout(until.saturating_duration_since(Instant::now()))
}

fn reason(error: ConnectionError, limit: Duration) -> ProbeError {
    if let Some(error) = HandshakeError::of(&error) {
        return ProbeError::Handshake(error);
    }
    match error {
        ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword) => {
            ProbeError::Login { reason: "bad user name or password" }
        }
        ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized) => {
            ProbeError::Login { reason: "not authorised" }
        }
        ConnectionError::ConnectionRefused(code) => ProbeError::Refused {
            reason: match code {
                ConnectReturnCode::RefusedProtocolVersion => "it does not speak MQTT 3.1.1",
                ConnectReturnCode::BadClientId => "it does not allow the client id",
                _ => "its service is unavailable",
            },
        },
        ConnectionError::NetworkTimeout => ProbeError::Silent { limit },
        ConnectionError::Io(_)
        | ConnectionError::Tls(_)
        | ConnectionError::MqttState(StateError::ConnectionAborted | StateError::Io(_)) => ProbeError::HungUp,
        // A close with unread bytes is a reset; one within a packet leaves an incomplete packet.
        ConnectionError::MqttState(StateError::Deserialization(mqttbytes::Error::Io(error)))
            if error.kind() == io::ErrorKind::ConnectionReset =>
        {
            ProbeError::HungUp
        }
        // Bytes that are not a packet are an error of the library's state.
        other => ProbeError::NotMqtt(other.to_string()),
    }
}
