//! Publishes results to an MQTT broker, which may come and go.
//!
//! [`Mqtt`] keeps results in a bounded queue that drops the oldest when it is full; it never waits for the broker. One
//! thread maintains the connection ([`link`]); a state machine ([`outbox`]) decides what is sent, and what is resent
//! after a lost connection.
//!
//! Topics under `<topic_prefix>/<device>`: `status` (retained: `online`, `stopped`, and `offline` as the last will),
//! `<stream>/status` (retained: `online`, `stalled`, `waiting`, `retrying`, `offline`), `<stream>/result`, `stats`
//! (retained).
//!
//! MQTT allows a single will, which is used for the device: unless the device is `online`, neither are its streams,
//! whatever their retained states say. Every connection begins with the states of the streams, `offline` until the
//! first result, and only then reports `online` for the device.

mod health;
mod link;
mod message;
mod outbox;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rumqttc::{Client, LastWill, MqttOptions, QoS, Transport};

use super::{Error, Outgoing, Rest, Sink, Unsent, tls};
use crate::config;
use crate::frame::monotonic_ns;
use crate::record::{Record, StreamRecord, StreamState};
use crate::shutdown::{self, Thread};
use crate::telemetry::SinkCounters;
use health::Health;
use link::Link;
pub(super) use message::Message;
use outbox::{CLIENT_QUEUE, Outbox};

/// Maximum packet size in bytes.
const LARGEST_PACKET: usize = 1 << 20;

/// Maximum bytes of a PUBLISH besides topic and payload (MQTT 3.1.1, 3.3): fixed header, lengths, identifier.
const PACKET_OVERHEAD: usize = 9;

/// Part of a stop's time that is reserved for DISCONNECT.
const GOODBYE: Duration = Duration::from_millis(100);

/// State shared by the sink and its thread.
struct Shared {
    outbox: Mutex<Outbox>,
    /// Notified of changes while the sink is closing.
    changed: Condvar,
    client: Client,
    /// Whether the broker is to retain states.
    retain: bool,
    /// Why there is no connection, once an attempt has failed.
    trouble: Mutex<Option<String>>,
}

impl Shared {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes everything that may be sent now to the client library. Never waits: the library's queue has room for it.
    fn hand(&self, outbox: &mut Outbox) {
        while let Some(Message { topic, payload, qos, retain, .. }) = outbox.next() {
            if let Err(error) = self.client.try_publish(&*topic, qos, retain && self.retain, payload) {
                tracing::error!(%topic, "MQTT: a message is not accepted: {error}");
            }
        }
    }
}

/// The MQTT sink.
pub struct Mqtt {
    base: String,
    qos: QoS,
    result_topics: BTreeMap<String, Arc<str>>,
    dropped: u64,
    counters: Arc<SinkCounters>,
    shared: Arc<Shared>,
    connection: Option<Thread<()>>,
    stop: Option<shutdown::Stop>,
    /// Dropping it lets the thread connect; if `stop` was dropped before, the thread ends instead.
    waiting: Option<shutdown::Stop>,
}

impl Mqtt {
    /// Prepares the connection; [`Sink::begin`] starts it and returns at once. If the broker is unreachable, hardnetd
    /// retries. The states of `streams` are `offline` until set.
    ///
    /// # Errors
    /// If the login or a certificate is unavailable (see [`check`]), or no thread can be started.
    pub fn new<'a>(
        settings: &config::Mqtt,
        device: &str,
        streams: impl IntoIterator<Item = &'a str>,
        counters: Arc<SinkCounters>,
    ) -> Result<Self, Error> {
        let base = format!("{}/{device}", settings.topic_prefix);
        let status: Arc<str> = settings.status_topic(device).into();
        let id = settings.id(device);
        let (client, connection) = client(settings, id.clone(), &status)?;
        let streams = streams.into_iter().map(|stream| format!("{base}/{stream}/status").into()).collect();
        let mut outbox = Outbox::new(settings.queue as usize, settings.in_flight, status, streams);
        outbox.count_with(Arc::clone(&counters));
        let (outbox, changed, trouble) = (outbox.into(), Condvar::new(), Mutex::default());
        let shared = Arc::new(Shared { outbox, changed, client, retain: settings.retain, trouble });
        let retry_max = Duration::from_secs_f64(settings.retry_max_s);
        let link = Link {
            host: settings.host.clone(),
            broker: format!("{}:{}", settings.host, settings.port()),
            limit: settings.connect_timeout_s.into(),
            shared: Arc::clone(&shared),
            health: Health::new(health::Client { id, qos: settings.qos }, retry_max),
            fresh: settings.qos == 2,
            since: None,
            leaving: false,
            linger: None,
        };
        let (stop, stopped) = shutdown::channel();
        let (waiting, begun) = shutdown::channel();
        let keep = move || {
            // Disconnects when the sink begins.
            let _ = begun.receiver().recv();
            if !stopped.is_set() {
                link.keep(connection, &stopped);
            }
        };
        let connection = shutdown::spawn("mqtt", keep).map_err(Error::Thread)?;
        let qos = match settings.qos {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        let (connection, stop, waiting) = (Some(connection), Some(stop), Some(waiting));
        Ok(Self { base, qos, result_topics: BTreeMap::new(), dropped: 0, counters, shared, connection, stop, waiting })
    }

    /// Counts a dropped result: true at the 1st, 2nd, 4th, 8th, …
    fn drops_more(&mut self) -> bool {
        self.dropped += 1;
        self.dropped.is_power_of_two()
    }

    /// Takes a result of `stream`, as JSON.
    fn result(&mut self, stream: &str, json: &[u8]) -> Result<(), Error> {
        let topic = match self.result_topics.get(stream) {
            Some(topic) => Arc::clone(topic),
            None => {
                let topic: Arc<str> = format!("{}/{stream}/result", self.base).into();
                self.result_topics.insert(stream.to_owned(), Arc::clone(&topic));
                topic
            }
        };
        let shared = Arc::clone(&self.shared);
        let mut outbox = shared.outbox();
        if outbox.has_ended() {
            return Err(Error::Ended);
        }
        self.counters.count_taken();
        if !fits(&topic, json) {
            outbox.lose();
            if self.drops_more() {
                let (bytes, dropped) = (json.len(), self.dropped);
                tracing::warn!(%topic, bytes, dropped, "a result exceeds the MQTT packet limit ({LARGEST_PACKET})");
            }
            return Ok(());
        }
        let taken_ns = monotonic_ns();
        let message = Message { topic, payload: json.to_vec(), qos: self.qos, retain: false, taken_ns };
        let full = outbox.push(message);
        shared.hand(&mut outbox);
        drop(outbox);
        if full && self.drops_more() {
            tracing::warn!(dropped = self.dropped, "the MQTT queue is full: the oldest results are dropped");
        }
        Ok(())
    }

    /// Takes the state of a stream.
    fn state(&self, StreamRecord { stream, state }: &StreamRecord) {
        let topic: Arc<str> = format!("{}/{stream}/status", self.base).into();
        let mut outbox = self.shared.outbox();
        outbox.set(&topic, word(*state));
        self.shared.hand(&mut outbox);
    }

    /// Takes statistics, as JSON. Without a connection they are dropped: the next ones tell more.
    fn stats(&self, json: &[u8]) {
        let topic: Arc<str> = format!("{}/stats", self.base).into();
        if !fits(&topic, json) {
            let bytes = json.len();
            tracing::warn!(%topic, bytes, "statistics exceed the MQTT packet limit ({LARGEST_PACKET})");
            return;
        }
        let mut outbox = self.shared.outbox();
        outbox.tell(&topic, json);
        self.shared.hand(&mut outbox);
    }

    /// Starts closing: waiting results are still sent, then the states, then DISCONNECT.
    fn begin_to_close(&mut self) {
        // Drops `stop` first, which ends a wait for the next connection attempt.
        self.stop = None;
        self.waiting = None;
        let mut outbox = self.shared.outbox();
        outbox.close();
        self.shared.hand(&mut outbox);
    }

    /// Waits until the broker has acknowledged everything, but no longer than `deadline`.
    fn wait_until_done(&self, deadline: Instant) {
        let mut outbox = self.shared.outbox();
        while !outbox.is_done() && !outbox.is_idle() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            outbox = self.shared.changed.wait_timeout(outbox, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Whether a message is within [`LARGEST_PACKET`].
fn fits(topic: &str, payload: &[u8]) -> bool {
    topic.len() + payload.len() + PACKET_OVERHEAD <= LARGEST_PACKET
}

/// The state of a stream as subscribers know it: one that is starting is not there yet.
fn word(state: StreamState) -> &'static str {
    match state {
        StreamState::Starting => StreamState::Offline.name(),
        state => state.name(),
    }
}

/// Checks that the login and the certificates of `settings` are available.
///
/// # Errors
/// If one of their files cannot be read or has the wrong content.
pub fn check(settings: &config::Mqtt) -> Result<(), Error> {
    options(settings, String::new(), tls::transport(settings)?.0)?;
    Ok(())
}

/// The broker of `settings` and its login, with the library's defaults for the rest.
pub(super) fn options(
    settings: &config::Mqtt,
    id: String,
    transport: Transport,
) -> Result<MqttOptions, config::SecretError> {
    let mut options = MqttOptions::new(id, settings.host.as_str(), settings.port());
    options.set_transport(transport);
    if !settings.username.is_empty() {
        let password = match settings.password_file.as_str() {
            "" => String::new(),
            file => config::read_secret("publish.mqtt.password_file", file)?,
        };
        options.set_credentials(settings.username.as_str(), password);
    }
    Ok(options)
}

fn client(settings: &config::Mqtt, id: String, status: &str) -> Result<(Client, rumqttc::Connection), Error> {
    let mut options = options(settings, id, tls::transport(settings)?.0)?;
    options
        .set_keep_alive(Duration::from_secs(settings.keep_alive_s.into()))
        // To the library this is the number of identifiers; the outbox limits the messages in flight.
        .set_inflight(Outbox::ids(settings.in_flight))
        // With QoS 2, the first connection ends the session of an earlier process: the broker may still hold
        // identifiers of its messages, and would take new messages with these identifiers for the old ones.
        .set_clean_session(settings.qos != 1)
        .set_max_packet_size(LARGEST_PACKET, LARGEST_PACKET);
    if settings.last_will {
        options.set_last_will(LastWill::new(status, "offline", QoS::AtLeastOnce, settings.retain));
    }
    // One more place, for DISCONNECT.
    let (client, mut connection) = Client::new(options, CLIENT_QUEUE + 1);
    let mut network = rumqttc::NetworkOptions::new();
    network.set_tcp_nodelay(true);
    connection.eventloop.set_network_options(network);
    Ok((client, connection))
}

impl Sink for Mqtt {
    fn name(&self) -> &'static str {
        "mqtt"
    }

    fn begin(&mut self) {
        self.waiting = None;
    }

    fn adopt(&mut self, unsent: Unsent) {
        let Rest::Mqtt(messages) = unsent.rest else { return };
        let shared = Arc::clone(&self.shared);
        let mut outbox = shared.outbox();
        for message in messages {
            if outbox.push(message) && self.drops_more() {
                tracing::warn!(dropped = self.dropped, "the MQTT queue is full: the oldest results are dropped");
            }
        }
        outbox.report(unsent.dropped);
    }

    fn take(&mut self, outgoing: &Outgoing) -> Result<(), Error> {
        match &outgoing.record {
            Record::Result(result) => self.result(&result.stream, outgoing.json()),
            Record::Stream(record) => {
                self.state(record);
                Ok(())
            }
            Record::Stats(_) => {
                self.stats(outgoing.json());
                Ok(())
            }
        }
    }

    fn close(mut self: Box<Self>, deadline: Instant) -> Result<(), Error> {
        self.begin_to_close();
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        self.wait_until_done(deadline - GOODBYE.min(left / 4));
        let is_connected = self.shared.outbox().is_connected();
        if !self.shared.outbox().is_done() && self.shared.client.try_disconnect().is_err() {
            tracing::debug!("the MQTT thread has already ended");
        }
        // A thread in a pointless connection attempt ends by itself, within publish.mqtt.connect_timeout_s.
        let is_idle = self.shared.outbox().is_idle();
        let deadline = if is_idle { deadline.min(Instant::now() + GOODBYE) } else { deadline };
        match self.connection.take().map(|thread| thread.join(Some(deadline))) {
            Some(Err(error)) if is_idle => tracing::debug!("{error}"),
            Some(Err(error)) => {
                tracing::warn!("the MQTT broker did not take the last messages, which include the states: {error}");
            }
            _ => {}
        }
        let mut outbox = self.shared.outbox();
        let undelivered = outbox.take_undelivered();
        outbox.abandon();
        match (undelivered, outbox.lost()) {
            (messages, 0) if messages.is_empty() => Ok(()),
            (messages, dropped) => {
                let reason =
                    || self.shared.trouble().clone().unwrap_or_else(|| "no connection has been established yet".into());
                let unreachable = (!is_connected).then(reason);
                Err(Error::Unsent(Unsent { rest: Rest::Mqtt(messages), unreachable, dropped }))
            }
        }
    }
}

impl Drop for Mqtt {
    /// The thread ends by itself even without [`Sink::close`].
    fn drop(&mut self) {
        if self.connection.is_some() {
            self.begin_to_close();
        }
    }
}
