//! The thread that maintains the connection.
//!
//! The client library writes packets, reads acknowledgements and sends pings. The outbox decides what is sent and
//! resent: after a lost connection the library's own lists are cleared.

use std::io;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use rumqttc::{
    Connection, ConnectionError, Disconnect, Event, EventLoop, Outgoing, Packet, PubRel, Publish, Request, StateError,
};

use super::Shared;
use super::health::{Health, STEADY, Say};
use super::outbox::{Ending, Outbox, Owed};
use crate::plural::counted;
use crate::publish::{HandshakeError, address};
use crate::shutdown::Stopped;
use crate::system::network::Unreachable;

/// How long a broker may take to hang up after DISCONNECT.
const LINGER: Duration = Duration::from_secs(1);

/// The connection's thread.
pub(super) struct Link {
    pub(super) host: String,
    /// Host and port.
    pub(super) broker: String,
    /// Time limit of a connection attempt, and of a write, in seconds.
    pub(super) limit: u64,
    pub(super) shared: Arc<Shared>,
    pub(super) health: Health,
    /// Whether to end the session left by an earlier process first.
    pub(super) fresh: bool,
    /// When the current connection was accepted.
    pub(super) since: Option<Instant>,
    /// Whether DISCONNECT has been requested.
    pub(super) leaving: bool,
    /// How long the broker may still take to hang up, once DISCONNECT is written.
    pub(super) linger: Option<Instant>,
}

/// Marks the end of the thread for waiting threads, whatever the cause.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.outbox().end();
        self.0.changed.notify_all();
    }
}

impl Link {
    /// Connects and reconnects until it has disconnected on request. Once `stopped` is set, it tries to reconnect once
    /// more at most, and only for waiting results.
    pub(super) fn keep(mut self, mut connection: Connection, stopped: &Stopped) {
        let shared = Arc::clone(&self.shared);
        let _end = End(&shared);
        let mut last = false;
        loop {
            let library = &mut connection.eventloop;
            let chosen = if library.network.is_none() && !self.leaving { self.choose(library) } else { Ok(()) };
            let wait = match chosen {
                Err(error) => Some(self.failed(&away(&self.broker, &error))),
                Ok(()) => {
                    let event = match self.linger {
                        None => connection.recv().ok(),
                        Some(end) => connection.recv_timeout(end.saturating_duration_since(Instant::now())).ok(),
                    };
                    match event {
                        None => return,
                        Some(Ok(event)) => self.take(&mut connection.eventloop, &event),
                        Some(Err(error)) => Some(self.lost(&mut connection.eventloop, &error)),
                    }
                }
            };
            let Some(wait) = wait else { continue };
            if self.leaving || last {
                return;
            }
            if stopped.wait(wait) {
                if shared.outbox().undelivered() == 0 {
                    return;
                }
                last = true;
            }
        }
    }

    /// Leads the library to an address that answers, and leaves it the rest of the time.
    fn choose(&self, library: &mut EventLoop) -> Result<(), Unreachable> {
        let (start, limit) = (Instant::now(), Duration::from_secs(self.limit));
        address::choose(&mut library.mqtt_options, &self.host, limit)?;
        let left = limit.saturating_sub(start.elapsed());
        library.network_options.set_connection_timeout(left.as_secs() + 1);
        Ok(())
    }

    /// Handles an event. Returns how long to wait if the connection is given up because of it.
    fn take(&mut self, library: &mut EventLoop, event: &Event) -> Option<Duration> {
        let shared = Arc::clone(&self.shared);
        if matches!(event, Event::Incoming(Packet::ConnAck(_))) {
            // From now on the limit of a write.
            library.network_options.set_connection_timeout(self.limit);
        }
        match event {
            Event::Incoming(Packet::ConnAck(_)) if self.fresh => {
                library.pending.push_back(Request::Disconnect(Disconnect));
                return None;
            }
            Event::Outgoing(Outgoing::Disconnect) if self.fresh => {
                self.fresh = false;
                forget(library);
                library.mqtt_options.set_clean_session(false);
                return None;
            }
            Event::Outgoing(Outgoing::Disconnect) => {
                self.leaving = true;
                self.linger = Some(Instant::now() + LINGER);
                return None;
            }
            _ => {}
        }
        let mut outbox = shared.outbox();
        match event {
            Event::Incoming(Packet::ConnAck(answer)) => {
                self.since = Some(Instant::now());
                *shared.trouble() = None;
                let lost = outbox.up(answer.session_present);
                self.tell_up(lost);
            }
            Event::Incoming(Packet::PingResp) => {
                if let Some(topic) = outbox.pinged() {
                    tracing::warn!(
                        broker = %self.broker,
                        "MQTT: the broker answers, but has not acknowledged a message to {topic} for twice \
                         publish.mqtt.keep_alive_s: connecting again, to repeat it"
                    );
                    let reason = "it has not acknowledged a message for twice publish.mqtt.keep_alive_s";
                    *shared.trouble() = Some(reason.into());
                    return Some(self.end(library, outbox, Ending::Overlooked));
                }
            }
            // Two messages have the same identifier: the library would stop publishing.
            Event::Outgoing(Outgoing::AwaitAck(_)) => return Some(self.end(library, outbox, Ending::Other)),
            event => note(&mut outbox, event),
        }
        self.watch(&outbox);
        self.send(library, &mut outbox);
        None
    }

    fn tell_up(&mut self, lost: u64) {
        if self.health.connected() {
            tracing::info!(broker = %self.broker, "MQTT connected");
        } else {
            tracing::debug!(broker = %self.broker, "MQTT connected");
        }
        if lost > 0 {
            tracing::warn!(
                lost,
                "MQTT: results were lost: publish.mqtt.queue was full, or the broker does not take them (size, topic)"
            );
        }
    }

    fn watch(&mut self, outbox: &Outbox) {
        let lasted = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        if self.health.goes_on(lasted, outbox.taken()) {
            tracing::info!(broker = %self.broker, "MQTT: the connection is stable again");
        }
    }

    /// Passes on everything that may be sent now, and DISCONNECT after the last acknowledgement.
    fn send(&mut self, library: &mut EventLoop, outbox: &mut Outbox) {
        while let Some(owed) = outbox.resume() {
            library.pending.push_back(match owed {
                Owed::Release(id) => Request::PubRel(PubRel::new(id)),
                Owed::Publish(id, message) => {
                    let mut publish = Publish::new(&*message.topic, message.qos, message.payload);
                    (publish.pkid, publish.dup, publish.retain) = (id, true, message.retain && self.shared.retain);
                    Request::Publish(publish)
                }
            });
        }
        self.shared.hand(outbox);
        if outbox.is_done() && !self.leaving {
            self.leaving = true;
            library.pending.push_back(Request::Disconnect(Disconnect));
        }
        if outbox.is_closing() {
            self.shared.changed.notify_all();
        }
    }

    /// The connection is lost or failed. Returns how long to wait before the next attempt.
    fn lost(&mut self, library: &mut EventLoop, error: &ConnectionError) -> Duration {
        let shared = Arc::clone(&self.shared);
        let reason = reason(&self.broker, self.since.is_some(), error);
        let Some(since) = self.since else { return self.failed(&reason) };
        *shared.trouble() = Some(reason.clone());
        let ending = if hung_up(error) && since.elapsed() < STEADY { Ending::HungUpEarly } else { Ending::Other };
        tracing::debug!(broker = %self.broker, "MQTT: the connection has ended: {reason}");
        self.end_because(library, shared.outbox(), ending, Some(&reason))
    }

    /// An attempt failed. Returns how long to wait before the next one.
    fn failed(&mut self, reason: &str) -> Duration {
        *self.shared.trouble() = Some(reason.to_owned());
        let (wait, say) = self.health.failed();
        self.tell_lost(&say, reason);
        wait
    }

    fn end(&mut self, library: &mut EventLoop, outbox: MutexGuard<'_, Outbox>, ending: Ending) -> Duration {
        self.end_because(library, outbox, ending, None)
    }

    fn end_because(
        &mut self,
        library: &mut EventLoop,
        mut outbox: MutexGuard<'_, Outbox>,
        ending: Ending,
        reason: Option<&str>,
    ) -> Duration {
        let lasted = self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        // Events that arrived before the end.
        for event in std::mem::take(&mut library.state.events) {
            note(&mut outbox, &event);
        }
        forget(library);
        let ended = outbox.down(ending);
        let undelivered = outbox.undelivered();
        drop(outbox);
        self.shared.changed.notify_all();
        if let Some((message, tries)) = &ended.given_up {
            tracing::warn!(
                topic = %message.topic,
                bytes = message.payload.len(),
                "MQTT: message dropped: {} ended while sending it. It may exceed the broker's size limit, or its topic \
                 may be forbidden",
                counted(*tries, "connection", "connections")
            );
            if ended.barred {
                tracing::warn!(
                    topic = %message.topic,
                    "MQTT: further results to this topic are dropped and counted until the connection ends for another \
                     reason: the broker has taken none of the last ones"
                );
            }
        }
        tracing::debug!(undelivered, open = ended.open, "MQTT: kept for the next connection");
        let (wait, say) = self.health.ended(lasted, ending == Ending::Overlooked, &ended);
        match (say, reason) {
            (Say::Warn(text), _) if !self.leaving => tracing::warn!(broker = %self.broker, "MQTT: {text}"),
            (say, Some(reason)) if !self.leaving => self.tell_lost(&say, reason),
            _ => {}
        }
        wait
    }

    fn tell_lost(&self, say: &Say, reason: &str) {
        match say {
            Say::First => tracing::warn!(broker = %self.broker, "MQTT: no connection, trying again: {reason}"),
            _ => tracing::debug!(broker = %self.broker, "MQTT: still no connection: {reason}"),
        }
    }
}

/// Clears the library's lists and drops its connection.
fn forget(library: &mut EventLoop) {
    library.clean();
    library.pending.clear();
    library.state.events.clear();
    library.state.collision = None;
}

/// Records what the broker or the library reports about a message.
fn note(outbox: &mut Outbox, event: &Event) {
    match event {
        Event::Outgoing(Outgoing::Publish(id)) => outbox.written(*id),
        Event::Incoming(Packet::PubAck(answer)) => outbox.acknowledged(answer.pkid),
        Event::Incoming(Packet::PubRec(answer)) => outbox.received(answer.pkid),
        Event::Incoming(Packet::PubComp(answer)) => outbox.completed(answer.pkid),
        _ => {}
    }
}

/// Whether the broker ended the connection.
fn hung_up(error: &ConnectionError) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let by_peer =
        |error: &io::Error| matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof);
    match error {
        ConnectionError::MqttState(StateError::ConnectionAborted) => true,
        ConnectionError::MqttState(StateError::Io(error) | StateError::Deserialization(rumqttc::Error::Io(error)))
        | ConnectionError::Io(error) => by_peer(error),
        _ => false,
    }
}

/// Why `broker`, a host and a port, is not reached.
fn away(broker: &str, error: &Unreachable) -> String {
    match error {
        Unreachable::Refused { .. } => refused(broker),
        Unreachable::Silent { .. } => silent(broker),
        error => format!("{error}; {}", error.remedy("broker", "publish.mqtt.host")),
    }
}

fn refused(broker: &str) -> String {
    format!("nothing listens at {broker}; start the broker, or check publish.mqtt.host and port")
}

fn silent(broker: &str) -> String {
    format!("no answer from {broker} within publish.mqtt.connect_timeout_s")
}

/// Why there is no connection to `broker`, a host and a port. It has accepted the connection before, or not.
fn reason(broker: &str, accepted: bool, error: &ConnectionError) -> String {
    if let Some(error) = HandshakeError::of(error) {
        let remedy = error.remedy();
        let what = match error {
            HandshakeError::Other(what) => what,
            error => error.to_string(),
        };
        return format!("{broker} was reached, and TLS failed: {what}; {remedy}");
    }
    match error {
        ConnectionError::Tls(error) => format!(
            "{broker} was reached, and TLS failed: {error}; check that publish.mqtt.port is that of MQTT over TLS \
             (usually 8883)"
        ),
        ConnectionError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => refused(broker),
        ConnectionError::NetworkTimeout => silent(broker),
        ConnectionError::ConnectionRefused(code) => {
            format!("the broker refuses ({code:?}); check publish.mqtt.username, password_file and client_id")
        }
        error if hung_up(error) && accepted => "the broker has closed the connection".into(),
        error if hung_up(error) => format!(
            "{broker} has closed the connection before accepting it; check that publish.mqtt.port and tls agree with \
             the broker; if it refuses retained messages or last wills, set publish.mqtt.retain or last_will = \
             false"
        ),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_a_closed_port_and_tls_are_told_apart() {
        let failed = ConnectionError::Io;
        let certificate = rustls::CertificateError::UnknownIssuer;
        let handshake = io::Error::other(rustls::Error::InvalidCertificate(certificate));
        for (error, start) in [
            (failed(io::ErrorKind::ConnectionRefused.into()), "nothing listens at broker.local:1883; "),
            (
                failed(handshake),
                "broker.local:1883 was reached, and TLS failed: the broker's certificate is not signed by a trusted",
            ),
            (failed(io::ErrorKind::ConnectionReset.into()), "the broker has closed the connection"),
            (ConnectionError::NetworkTimeout, "no answer from broker.local:1883 within publish.mqtt.connect_timeout_s"),
        ] {
            let text = reason("broker.local:1883", true, &error);
            assert!(text.starts_with(start), "{text}");
        }
        let source = io::Error::other("failed to lookup address information: Name or service not known");
        let text = away("broker.local:1883", &Unreachable::Name { host: "broker.local".into(), source });
        assert!(text.starts_with("the name broker.local is not known"), "{text}");
        let text = reason("broker.local:8883", false, &failed(io::ErrorKind::ConnectionReset.into()));
        assert!(text.contains("before accepting it; check that publish.mqtt.port and tls agree"), "{text}");
    }
}
