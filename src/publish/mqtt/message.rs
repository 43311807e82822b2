//! Messages, and how far they have come.

use std::sync::Arc;

use rumqttc::QoS;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::publish) struct Message {
    pub(super) topic: Arc<str>,
    pub(super) payload: Vec<u8>,
    pub(super) qos: QoS,
    /// True for states, which the broker retains if it is asked to; false for results.
    pub(super) retain: bool,
    /// When the sink took it, in nanoseconds of the monotonic clock.
    pub(super) taken_ns: u64,
}

impl Message {
    /// A retained state.
    pub(super) fn state(topic: &Arc<str>, text: impl AsRef<[u8]>) -> Self {
        let (topic, payload) = (Arc::clone(topic), text.as_ref().to_vec());
        Self { topic, payload, qos: QoS::AtLeastOnce, retain: true, taken_ns: 0 }
    }
}

/// The progress of a message in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Unacknowledged in the session, and not yet resent on this connection.
    Due,
    /// Handed to the library.
    Handed,
    /// Written to the connection; waiting for PUBACK or PUBREC.
    Written,
    /// Owned by the broker (PUBREC); waiting for PUBCOMP.
    Released,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: Message,
    /// Packet identifier; 0 for QoS 0.
    pub(super) id: u16,
    pub(super) stage: Stage,
    /// Whether it has been written, on this connection or before: the broker may know its identifier.
    pub(super) sent: bool,
    /// Connections that ended because of it.
    pub(super) tries: u8,
    /// Ping responses since it was written.
    pub(super) pings: u8,
}
