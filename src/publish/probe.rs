//! Asks an MQTT broker whether it would accept this program, without side effects: nothing is published, and a running
//! daemon of the same name keeps its connection.

use std::io;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rumqttc::{
    Client, ConnectReturnCode, ConnectionError, Event, NetworkOptions, Outgoing, Packet, StateError, Transport,
    mqttbytes,
};

use super::{HandshakeError, TlsError, mqtt, tls};
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

/// A broker's answer.
#[derive(Debug)]
pub struct Answer {
    /// Whether it accepts this program; otherwise the reason.
    pub login: Result<(), ProbeError>,
    /// Expiry of the first certificate of its chain to expire, if a chain was shown and verified.
    pub valid_until: Option<Timestamp>,
}

/// Connects to the broker of `settings` with its login, under its own client ID, and disconnects once the broker has
/// accepted (MQTT 3.1.1, 3.2.2.3). Returns after `limit` at the latest.
#[must_use]
pub fn probe(settings: &config::Mqtt, limit: Duration) -> Answer {
    match tls::transport(settings) {
        Err(error) => Answer { login: Err(error.into()), valid_until: None },
        Ok((transport, verifier)) => {
            let login = log_in(settings, transport, limit);
            Answer { login, valid_until: verifier.and_then(|verifier| verifier.valid_until()) }
        }
    }
}

fn log_in(settings: &config::Mqtt, transport: Transport, limit: Duration) -> Result<(), ProbeError> {
    let end = Instant::now() + limit;
    let id = format!("hardnetd-doctor-{}", std::process::id());
    let mut options = mqtt::options(settings, id, transport)?;
    options.set_clean_session(true);
    let (client, mut connection) = Client::new(options, 1);
    let mut network = NetworkOptions::new();
    network.set_connection_timeout(limit.as_secs() + 1);
    connection.eventloop.set_network_options(network);
    loop {
        match connection.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                if client.try_disconnect().is_err() {
                    return Ok(());
                }
            }
            Ok(Ok(Event::Outgoing(Outgoing::Disconnect))) => return Ok(()),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(reason(error, limit)),
            Err(_) => return Err(ProbeError::Silent { limit }),
        }
    }
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
