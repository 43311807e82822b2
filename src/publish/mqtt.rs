//! Results to an MQTT broker, which may come and go.
//!
//! [`Mqtt`] puts messages into a bounded queue, from which the oldest give way when it is full. Two
//! threads take it from there (`mqtt_link`): one keeps the connection, the other sends while there
//! is one. Classification never waits for the broker.
//!
//! Topics under `<topic_prefix>/<device>`: `status` (retained: `online`, `stopped`, and `offline` as
//! the last will), `<stream>/status` (retained: `online`, `retrying`, `offline`), `<stream>/result`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rumqttc::{Client, LastWill, MqttOptions, QoS, Transport};

use super::mqtt_link::{self, Closing, Link};
use super::{Error, Outgoing, Sink, StreamState, Unsent, tls};
use crate::config;
use crate::shutdown::{self, Thread};

/// Messages that the client library may hold beside our own queue.
const CLIENT_QUEUE: usize = 16;
/// Messages that may wait for the broker's acknowledgement.
const IN_FLIGHT: u16 = 64;
/// Most bytes of a packet.
const LARGEST_PACKET: usize = 1 << 20;

/// One message.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) topic: Arc<str>,
    pub(super) payload: Vec<u8>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
}

/// What every retained topic holds now: sent again on every connection.
pub(super) type Retained = Arc<Mutex<BTreeMap<Arc<str>, Message>>>;

/// The MQTT sink.
pub struct Mqtt {
    base: String,
    qos: QoS,
    result_topics: BTreeMap<String, Arc<str>>,
    retained: Retained,
    sender: Sender<Message>,
    oldest: Receiver<Message>,
    dropped: Arc<AtomicU64>,
    close: Sender<Closing>,
    sending: Thread<()>,
    connection: Thread<()>,
    stop: shutdown::Stop,
    /// Dropping it lets the connection's thread begin; after `stop`, it ends instead.
    waiting: Option<shutdown::Stop>,
}

impl Mqtt {
    /// Makes ready to connect: [`Sink::begin`] does, and returns at once. If the broker cannot be reached, hardnetd tries
    /// again and again.
    ///
    /// # Errors
    /// The login or a certificate cannot be had (see [`check`]), or no thread can be started.
    pub fn new(settings: &config::Mqtt, device: &str) -> Result<Self, Error> {
        let base = format!("{}/{device}", settings.topic_prefix);
        let status: Arc<str> = format!("{base}/status").into();
        let (client, connection) = client(settings, device, &status)?;

        let (sender, queue) = bounded(settings.queue as usize);
        let (close, closing) = bounded(1);
        let (up_down, link_state) = bounded(1);
        let (stop, stopped) = shutdown::channel();
        let link = Link {
            broker: format!("{}:{}", settings.host, settings.port()),
            retry_max: Duration::from_secs_f64(settings.retry_max_s),
            state: up_down,
            outdated: link_state.clone(),
        };
        let (waiting, begun) = shutdown::channel();
        let keep = move || {
            // Disconnects when it is time.
            let _ = begun.receiver().recv();
            if !stopped.is_set() {
                link.keep(connection, &stopped);
            }
        };
        let connection = shutdown::spawn("mqtt", keep).map_err(Error::Thread)?;
        let oldest = queue.clone();
        let retained = Retained::default();
        let sending =
            mqtt_link::Sending { client, queue, link: link_state, closing, status, retained: Arc::clone(&retained) };
        let sending = shutdown::spawn("mqtt-send", move || sending.run()).map_err(Error::Thread)?;
        let qos = match settings.qos {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        let result_topics = BTreeMap::new();
        let dropped = Arc::default();
        let waiting = Some(waiting);
        Ok(Self {
            base,
            qos,
            result_topics,
            retained,
            sender,
            oldest,
            dropped,
            close,
            sending,
            connection,
            stop,
            waiting,
        })
    }

    /// Queues a message; when the queue is full the oldest one makes room, and is counted.
    fn queue(&self, mut message: Message) {
        while let Err(refused) = self.sender.try_send(message) {
            message = match refused {
                TrySendError::Full(message) => message,
                TrySendError::Disconnected(_) => return,
            };
            if self.oldest.try_recv().is_ok() {
                let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
                if dropped.is_power_of_two() {
                    tracing::warn!(dropped, "the MQTT queue is full: the oldest messages are dropped");
                }
            }
        }
    }
}

/// Whether the login and the certificates of `settings` can be had.
///
/// # Errors
/// A file of theirs cannot be read, or does not hold what it should.
pub fn check(settings: &config::Mqtt) -> Result<(), Error> {
    options(settings, String::new(), tls::transport(settings)?.0)?;
    Ok(())
}

/// The broker of `settings` and the login there; the rest is as the library has it.
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

fn client(settings: &config::Mqtt, device: &str, status: &str) -> Result<(Client, rumqttc::Connection), Error> {
    let id = match settings.client_id.as_str() {
        "" => format!("hardnetd-{device}"),
        id => id.to_owned(),
    };
    let mut options = options(settings, id, tls::transport(settings)?.0)?;
    options
        .set_keep_alive(Duration::from_secs(settings.keep_alive_s.into()))
        .set_last_will(LastWill::new(status, "offline", QoS::AtLeastOnce, true))
        .set_inflight(IN_FLIGHT)
        // Unacknowledged results outlive a lost connection only in a session that is kept.
        .set_clean_session(settings.qos == 0)
        .set_max_packet_size(LARGEST_PACKET, LARGEST_PACKET);
    let (client, mut connection) = Client::new(options, CLIENT_QUEUE);
    let mut network = rumqttc::NetworkOptions::new();
    network.set_connection_timeout(settings.connect_timeout_s.into()).set_tcp_nodelay(true);
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
        for message in unsent.messages {
            self.queue(message);
        }
    }

    fn result(&mut self, result: &Outgoing) -> Result<(), Error> {
        if self.sending.has_ended() || self.connection.has_ended() {
            return Err(Error::Ended);
        }
        let stream = &*result.record.stream;
        let topic = match self.result_topics.get(stream) {
            Some(topic) => Arc::clone(topic),
            None => {
                let topic: Arc<str> = format!("{}/{stream}/result", self.base).into();
                self.result_topics.insert(stream.to_owned(), Arc::clone(&topic));
                topic
            }
        };
        self.queue(Message { topic, payload: result.json().to_vec(), qos: self.qos, retain: false });
        Ok(())
    }

    fn stream(&mut self, stream: &str, state: StreamState) -> Result<(), Error> {
        let payload = match state {
            StreamState::Online => b"online".to_vec(),
            StreamState::Retrying => b"retrying".to_vec(),
            StreamState::Offline => b"offline".to_vec(),
        };
        let topic: Arc<str> = format!("{}/{stream}/status", self.base).into();
        let message = Message { topic: Arc::clone(&topic), payload, qos: QoS::AtLeastOnce, retain: true };
        self.retained.lock().unwrap_or_else(PoisonError::into_inner).insert(topic, message.clone());
        self.queue(message);
        Ok(())
    }

    fn close(self: Box<Self>, deadline: Instant) -> Result<(), Error> {
        let Self { sender, oldest, close, sending, connection, stop, waiting, .. } = *self;
        drop(sender);
        drop(stop);
        drop(waiting);
        if close.send_deadline(Closing { deadline }, deadline).is_err() {
            tracing::debug!("the MQTT threads have ended before");
        }
        for thread in [sending, connection] {
            if let Err(error) = thread.join(Some(deadline)) {
                tracing::debug!("{error}");
            }
        }
        match oldest.try_iter().collect::<Vec<Message>>() {
            messages if messages.is_empty() => Ok(()),
            messages => Err(Error::Unsent(Unsent { messages, ..Unsent::default() })),
        }
    }
}
