//! The two threads of the MQTT sink: one keeps the connection, one sends while there is one.
//!
//! While the broker is away nothing is handed to the client library, whose own list of pending
//! requests has no bound.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, select};
use rumqttc::{Client, Connection, ConnectionError, Event, Outgoing, Packet, QoS};

use super::HandshakeError;
use super::mqtt::{Message, Retained};
use crate::shutdown::Stopped;

/// First wait between two attempts to connect; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// A connection that lasted this long was a good one: the next one is sought quickly again.
const STEADY: Duration = Duration::from_secs(10);

/// Whether there is a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Up,
    Down,
}

/// Asks the sender to finish.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closing {
    pub(super) deadline: Instant,
}

/// The connection's thread.
pub(super) struct Link {
    pub(super) broker: String,
    pub(super) retry_max: Duration,
    /// One state deep.
    pub(super) state: Sender<State>,
    /// The other end of the same: takes out a state that a newer one replaces.
    pub(super) outdated: Receiver<State>,
}

impl Link {
    /// Connects, and connects again, until it has disconnected on request; once `stopped` is set, a
    /// lost connection is not sought again.
    pub(super) fn keep(&self, mut connection: Connection, stopped: &Stopped) {
        let mut wait = FIRST_RETRY;
        let mut complained = false;
        let mut disconnecting = false;
        let mut since = None;
        loop {
            match connection.recv() {
                Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                    tracing::info!(broker = %self.broker, "MQTT connected");
                    since = Some(Instant::now());
                    self.tell(State::Up);
                }
                // The broker hangs up next. Doing so from here, with its acknowledgements unread, would
                // reset the connection under the last messages.
                Ok(Ok(Event::Outgoing(Outgoing::Disconnect))) => disconnecting = true,
                Ok(Ok(_)) => {}
                Err(_) => return,
                Ok(Err(error)) => {
                    self.tell(State::Down);
                    if disconnecting || stopped.is_set() {
                        return;
                    }
                    if since.take().is_some_and(|since: Instant| since.elapsed() >= STEADY) {
                        wait = FIRST_RETRY;
                        complained = false;
                    }
                    if complained {
                        tracing::debug!(broker = %self.broker, "MQTT: still no connection: {}", reason(&error));
                    } else {
                        tracing::warn!(broker = %self.broker, "MQTT: no connection, trying again: {}", reason(&error));
                        complained = true;
                    }
                    if stopped.wait(wait) {
                        return;
                    }
                    wait = (wait * 2).min(self.retry_max);
                }
            }
        }
    }

    /// Leaves the newest state for the sender, and never waits for it: the sender may itself be
    /// waiting for this thread to take requests.
    fn tell(&self, mut state: State) {
        while let Err(TrySendError::Full(refused)) = self.state.try_send(state) {
            let _ = self.outdated.try_recv();
            state = refused;
        }
    }
}

fn reason(error: &ConnectionError) -> String {
    if let Some(error) = HandshakeError::of(error) {
        return format!("{error}; {}", error.remedy());
    }
    match error {
        ConnectionError::ConnectionRefused(code) => {
            format!("the broker refuses ({code:?}); check publish.mqtt.username, password_file and client_id")
        }
        other => other.to_string(),
    }
}

/// The sender's thread.
pub(super) struct Sending {
    pub(super) client: Client,
    pub(super) queue: Receiver<Message>,
    pub(super) link: Receiver<State>,
    pub(super) closing: Receiver<Closing>,
    pub(super) status: Arc<str>,
    pub(super) retained: Retained,
}

impl Sending {
    /// Sends what the queue brings, in order, while the connection is up.
    pub(super) fn run(self) {
        let mut up = false;
        let idle = crossbeam_channel::never();
        loop {
            let queue = if up { &self.queue } else { &idle };
            select! {
                recv(self.link) -> state => match state {
                    Ok(state) => {
                        up = state == State::Up;
                        if up {
                            self.greet();
                        }
                    }
                    Err(_) => return,
                },
                recv(queue) -> message => match message {
                    Ok(message) => self.send(message),
                    // The sink is closing, and the queue is empty.
                    Err(_) => return self.finish(),
                },
                recv(self.closing) -> closing => {
                    if !up && !self.wait_for_connection(closing.map_or_else(|_| Instant::now(), |c| c.deadline)) {
                        return;
                    }
                    for message in self.queue.iter() {
                        self.send(message);
                    }
                    return self.finish();
                }
            }
        }
    }

    /// On every connection: the retained state, then `online`.
    fn greet(&self) {
        let retained: Vec<Message> =
            self.retained.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for message in retained {
            self.send(message);
        }
        self.send(self.status("online"));
    }

    fn finish(&self) {
        self.send(self.status("stopped"));
        if self.client.disconnect().is_err() {
            tracing::debug!("the MQTT connection has ended before");
        }
    }

    /// A connection that is about to come up is worth the wait when messages are held.
    fn wait_for_connection(&self, deadline: Instant) -> bool {
        while !self.queue.is_empty() {
            match self.link.recv_deadline(deadline) {
                Ok(State::Up) => {
                    self.greet();
                    return true;
                }
                Ok(State::Down) => {}
                Err(_) => return false,
            }
        }
        false
    }

    fn status(&self, text: &str) -> Message {
        let payload = text.as_bytes().to_vec();
        Message { topic: Arc::clone(&self.status), payload, qos: QoS::AtLeastOnce, retain: true }
    }

    fn send(&self, message: Message) {
        let Message { topic, payload, qos, retain } = message;
        if self.client.publish(topic.as_ref(), qos, retain, payload).is_err() {
            tracing::debug!("the MQTT connection has ended before");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_never_waits_for_the_sender_and_leaves_the_newest_state() {
        let (state, outdated) = crossbeam_channel::bounded(1);
        let reader = outdated.clone();
        let link = Link { broker: String::new(), retry_max: FIRST_RETRY, state, outdated };
        for _ in 0..100 {
            link.tell(State::Up);
            link.tell(State::Down);
        }
        assert_eq!(reader.try_recv(), Ok(State::Down));
        assert!(reader.is_empty());
    }
}
