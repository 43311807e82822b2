//! What is to be sent, what is in flight, and what happens to it when a connection ends.
//!
//! [`Outbox`] is a state machine without I/O: the sink adds messages, the connection's thread reports what the client
//! library has written and the broker has acknowledged, and both take out what is to be sent next. It is one file
//! because every step reads and changes most of its state.
//!
//! The library keeps unacknowledged messages too, but it discards them if the broker comes back without the session,
//! resends them in the order of their identifiers, and stops forever after a collision of identifiers. The outbox
//! therefore keeps every message until it is acknowledged (MQTT 3.1.1, section 4.3) and decides what is resent after a
//! lost connection:
//!
//! - If the broker has kept the session, unacknowledged messages are resent under their identifiers, marked as
//!   duplicates, in the original order (4.4, 4.6). For QoS 2 this is what ensures "exactly once".
//! - If not, unacknowledged messages are sent as new ones. A message that had arrived is then delivered twice, also
//!   with QoS 2.
//!
//! Order of sending on a connection: what the session owes, the retained states, the device's `online`, what an earlier
//! connection did not deliver, and the queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rumqttc::QoS;

use super::message::{Entry, Message, Stage};
use crate::frame::monotonic_ns;
use crate::telemetry::SinkCounters;

/// Messages that the client library may hold unwritten.
pub(super) const CLIENT_QUEUE: usize = 16;

/// A message during whose sending this many connections ended is given up.
pub(super) const TRIES: u8 = 5;

/// Results of a topic that are given up in a row, after which the topic gets no more on the next connections.
const REFUSALS: u8 = 3;

/// Ping responses after which an unacknowledged message counts as overlooked: they span two whole intervals.
const PINGS: u8 = 3;

/// What a resumed session still has to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owed {
    /// PUBLISH, marked as a duplicate.
    Publish(u16, Message),
    /// PUBREL.
    Release(u16),
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The broker hung up soon after the start.
    HungUpEarly,
    /// A message was not acknowledged in time ([`Outbox::pinged`]).
    Overlooked,
    /// Anything else, such as a broker that is stopped or a network that is gone.
    Other,
}

/// What happened on a connection.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Results written.
    pub(super) written: u64,
    /// Results that the broker accepted: PUBACK or PUBREC.
    pub(super) taken: u64,
    /// Messages written but not acknowledged.
    pub(super) open: usize,
    /// Topic and payload size of the last message written.
    pub(super) last: Option<(Arc<str>, usize)>,
    /// A message that is given up, and the number of connections that it has ended.
    pub(super) given_up: Option<(Message, u8)>,
    /// Whether the further results of its topic are dropped.
    pub(super) barred: bool,
}

/// Messages on their way to the broker.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Maximum number of waiting results.
    limit: usize,
    /// Maximum number of unacknowledged messages.
    in_flight: usize,
    /// Number of packet identifiers, which start at 1; the library assigns them in turn.
    ids: u16,
    /// The identifier that the library assigns next.
    next_id: u16,
    /// Current limit of unacknowledged messages; grows with each accepted result.
    window: usize,
    /// Whether the next connection begins with one message at a time, to find the one that ends it.
    careful: bool,
    up: bool,
    closing: bool,
    ended: bool,
    /// The device's state.
    status: Arc<str>,
    /// The streams' states, by topic.
    states: BTreeMap<Arc<str>, &'static str>,
    /// Topics whose retained messages the broker does not accept.
    muted: BTreeSet<Arc<str>>,
    /// Connections that ended on a state, by topic: a new connection sends the newest state of each as a new message.
    tried: BTreeMap<Arc<str>, u8>,
    /// Results given up since the last one that the broker has accepted, by topic.
    refused: BTreeMap<Arc<str>, u8>,
    /// Topics of results that are dropped until a connection ends for another reason.
    barred: BTreeSet<Arc<str>>,
    greeting: VecDeque<Message>,
    /// What an earlier connection did not deliver; older than what is waiting.
    again: VecDeque<(Message, u8)>,
    waiting: VecDeque<Message>,
    farewell: Option<Message>,
    /// Messages in flight, in the order of sending.
    flying: VecDeque<Entry>,
    releases: VecDeque<u16>,
    lost: u64,
    written: u64,
    taken: u64,
    last: Option<(Arc<str>, usize)>,
    /// What the process reports of the sink.
    counters: Arc<SinkCounters>,
}

impl Outbox {
    /// `status` is the topic of the device's state, `streams` are the topics of the streams' states, all of them
    /// `offline`.
    pub(super) fn new(limit: usize, in_flight: u16, status: Arc<str>, streams: Vec<Arc<str>>) -> Self {
        Self {
            limit,
            in_flight: in_flight.into(),
            ids: Self::ids(in_flight),
            next_id: 1,
            window: in_flight.into(),
            careful: false,
            up: false,
            closing: false,
            ended: false,
            status,
            states: streams.into_iter().map(|topic| (topic, "offline")).collect(),
            muted: BTreeSet::new(),
            tried: BTreeMap::new(),
            refused: BTreeMap::new(),
            barred: BTreeSet::new(),
            greeting: VecDeque::new(),
            again: VecDeque::new(),
            waiting: VecDeque::new(),
            farewell: None,
            flying: VecDeque::new(),
            releases: VecDeque::new(),
            lost: 0,
            written: 0,
            taken: 0,
            last: None,
            counters: Arc::default(),
        }
    }

    /// Counts with `counters` from now on.
    pub(super) fn count_with(&mut self, counters: Arc<SinkCounters>) {
        self.counters = counters;
    }

    /// Number of packet identifiers for the library: several times the messages in flight, so that one late
    /// acknowledgement does not hold up the messages behind it.
    pub(super) fn ids(in_flight: u16) -> u16 {
        in_flight.saturating_mul(8).max(64)
    }

    /// Takes a result. If the queue is full, the oldest is dropped and counted, and this returns true.
    pub(super) fn push(&mut self, message: Message) -> bool {
        if self.barred.contains(&message.topic) {
            self.lose();
            return false;
        }
        let mut full = false;
        if self.waiting.len() >= self.limit
            && let Some(oldest) = self.waiting.iter().position(|message| !message.retain)
        {
            self.waiting.remove(oldest);
            self.lose();
            full = true;
        }
        self.waiting.push_back(message);
        full
    }

    /// Counts a result that will not be delivered.
    pub(super) fn lose(&mut self) {
        self.lost += 1;
        self.counters.count_lost();
    }

    /// Results that an earlier sink has lost and not reported.
    pub(super) fn report(&mut self, lost: u64) {
        self.lost += lost;
    }

    /// Results lost since [`Self::up`] last reported them.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes the state of a stream, which is sent if it is new. Without a connection it becomes part of the next greeting.
    pub(super) fn set(&mut self, topic: &Arc<str>, state: &'static str) {
        if self.states.insert(Arc::clone(topic), state) != Some(state) {
            self.tell(topic, state.as_bytes());
        }
    }

    /// Takes a text for the broker to retain, in place of one that still waits. Without a connection it is dropped.
    pub(super) fn tell(&mut self, topic: &Arc<str>, text: &[u8]) {
        if self.up && !self.muted.contains(topic) {
            self.waiting.retain(|message| !message.retain || message.topic != *topic);
            self.waiting.push_back(Message::state(topic, text));
        }
    }

    /// A connection has been made; `session` says whether the broker has kept the session. Returns the number of
    /// results lost since the last call.
    pub(super) fn up(&mut self, session: bool) -> u64 {
        self.up = true;
        self.counters.set_connected(true);
        self.window = if self.careful { 1 } else { self.in_flight };
        (self.written, self.taken, self.last) = (0, 0, None);
        self.releases.clear();
        if session {
            let released = self.flying.iter().filter(|entry| entry.stage == Stage::Released);
            self.releases.extend(released.map(|entry| entry.id));
        } else {
            // States are in the greeting, with their newest value.
            let results = self.flying.drain(..).rev().filter(|entry| !entry.message.retain);
            for entry in results {
                self.again.push_front((entry.message, entry.tries));
            }
        }
        let states = self.states.iter().map(|(topic, state)| Message::state(topic, state));
        self.greeting.extend(states);
        if !self.closing {
            self.greeting.push_back(Message::state(&self.status, "online"));
        }
        self.greeting.retain(|message| !self.muted.contains(&message.topic));
        std::mem::take(&mut self.lost)
    }

    /// The connection is lost, and the library's lists have been cleared.
    pub(super) fn down(&mut self, ending: Ending) -> Ended {
        self.up = false;
        self.counters.set_connected(false);
        let written = |entry: &&mut Entry| entry.stage == Stage::Written;
        let open = self.flying.iter_mut().filter(written).count();
        // QoS 0 results leave only their number.
        self.careful = ending == Ending::HungUpEarly && (open > 0 || self.written > self.taken);
        let suspect = match ending {
            Ending::HungUpEarly if open == 1 => self.flying.iter_mut().find(written),
            Ending::Overlooked => self.flying.iter_mut().find(|entry| entry.pings >= PINGS),
            _ => None,
        };
        let given_up = suspect.and_then(|entry| {
            entry.tries += 1;
            if entry.message.retain {
                self.tried.insert(Arc::clone(&entry.message.topic), entry.tries);
            }
            // Once a result of a topic is given up, the next one needs no further proof.
            let tries = if self.refused.contains_key(&entry.message.topic) { 1 } else { TRIES };
            (entry.tries >= tries).then_some(entry.id)
        });
        let given_up = given_up.and_then(|id| {
            let index = self.flying.iter().position(|entry| entry.id == id)?;
            self.flying.remove(index)
        });
        if ending == Ending::Other {
            self.barred.clear();
        }
        match &given_up {
            Some(entry) if entry.message.retain => drop(self.muted.insert(Arc::clone(&entry.message.topic))),
            Some(_) => self.lose(),
            None => {}
        }
        self.greeting.clear();
        self.waiting.retain(|message| !message.retain);
        self.take_back();
        for entry in &mut self.flying {
            if entry.stage != Stage::Released {
                entry.stage = Stage::Due;
            }
        }
        let refused = given_up.as_ref().map(|entry| &entry.message).filter(|message| !message.retain);
        let barred = refused.is_some_and(|message| self.refuse(&message.topic));
        let (written, taken, last) = (self.written, self.taken, self.last.take());
        let given_up = given_up.map(|entry| (entry.message, entry.tries));
        Ended { written, taken, open, last, given_up, barred }
    }

    /// Records that a result to `topic` is given up. Returns whether the topic is barred because of it: then the results
    /// to it that the broker does not have are dropped and counted.
    fn refuse(&mut self, topic: &Arc<str>) -> bool {
        let times = self.refused.entry(Arc::clone(topic)).or_default();
        *times = times.saturating_add(1);
        if *times < REFUSALS {
            return false;
        }
        self.barred.insert(Arc::clone(topic));
        let before = self.undelivered();
        self.flying.retain(|entry| entry.message.topic != *topic || entry.stage == Stage::Released);
        self.again.retain(|(message, _)| message.topic != *topic);
        self.waiting.retain(|message| message.topic != *topic);
        for _ in self.undelivered()..before {
            self.lose();
        }
        true
    }

    /// Messages that were handed to the library but never written are sent again as if they had not been handed over.
    fn take_back(&mut self) {
        let unsent = |entry: &Entry| entry.stage == Stage::Handed && !entry.sent;
        if let Some(first) = self.flying.iter().find(|entry| unsent(entry) && entry.id != 0) {
            self.next_id = first.id;
        }
        for index in (0..self.flying.len()).rev() {
            if unsent(&self.flying[index])
                && let Some(entry) = self.flying.remove(index)
                && !entry.message.retain
            {
                self.again.push_front((entry.message, entry.tries));
            }
        }
        if self.closing {
            self.bid_farewell();
        }
    }

    fn bid_farewell(&mut self) {
        let muted = self.muted.contains(&self.status);
        self.farewell = (!muted).then(|| Message::state(&self.status, "stopped"));
    }

    /// What the resumed session has to send next, before anything new.
    pub(super) fn resume(&mut self) -> Option<Owed> {
        if !self.up {
            return None;
        }
        if let Some(id) = self.releases.pop_front() {
            return Some(Owed::Release(id));
        }
        if self.active() >= self.window {
            return None;
        }
        let entry = self.flying.iter_mut().find(|entry| entry.stage == Stage::Due)?;
        entry.stage = Stage::Handed;
        entry.pings = 0;
        Some(Owed::Publish(entry.id, entry.message.clone()))
    }

    /// Messages that count towards the limit of unacknowledged ones.
    fn active(&self) -> usize {
        self.flying.iter().filter(|entry| entry.id != 0 && entry.stage != Stage::Due).count()
    }

    /// The next message for the library, which will number it [`Self::next_id`].
    pub(super) fn next(&mut self) -> Option<Message> {
        let owes = |entry: &Entry| entry.stage == Stage::Due;
        let handed = self.flying.iter().filter(|entry| entry.stage == Stage::Handed).count();
        if !self.up || handed >= CLIENT_QUEUE || !self.releases.is_empty() || self.flying.iter().any(owes) {
            return None;
        }
        let again = self.again.front().map(|(message, _)| message);
        let next = self.greeting.front().or(again).or(self.waiting.front()).or(self.farewell.as_ref())?;
        let numbered = next.qos != QoS::AtMostOnce;
        let taken = self.flying.iter().any(|entry| entry.id == self.next_id);
        if numbered && (taken || self.active() >= self.window) {
            return None;
        }
        let (message, tries) = if let Some(message) = self.greeting.pop_front() {
            let tries = self.tried.get(&message.topic).copied().unwrap_or(0);
            (message, tries)
        } else if let Some(again) = self.again.pop_front() {
            again
        } else {
            (self.waiting.pop_front().or_else(|| self.farewell.take())?, 0)
        };
        let id = if numbered { self.next_id } else { 0 };
        if numbered {
            self.next_id = Self::following(id, self.ids);
        }
        let kept = message.clone();
        self.flying.push_back(Entry { message: kept, id, stage: Stage::Handed, sent: false, tries, pings: 0 });
        Some(message)
    }

    fn following(id: u16, ids: u16) -> u16 {
        if id >= ids { 1 } else { id + 1 }
    }

    /// The library has written a PUBLISH, or is about to.
    pub(super) fn written(&mut self, id: u16) {
        let handed = |entry: &&mut Entry| entry.stage == Stage::Handed;
        let known = self.flying.iter_mut().filter(handed).find(|entry| entry.id == id);
        let entry = match known {
            Some(entry) => entry,
            // The library's numbering differs from the prediction.
            None => match self.flying.iter_mut().filter(handed).find(|entry| entry.id != 0 && !entry.sent) {
                Some(entry) => {
                    entry.id = id;
                    self.next_id = Self::following(id, self.ids);
                    entry
                }
                None => return,
            },
        };
        (entry.stage, entry.sent, entry.pings) = (Stage::Written, true, 0);
        self.last = Some((Arc::clone(&entry.message.topic), entry.message.payload.len()));
        if !entry.message.retain {
            self.written += 1;
        }
        if id == 0 {
            self.flying.retain(|entry| entry.id != 0 || entry.stage != Stage::Written);
        }
    }

    /// PUBACK.
    pub(super) fn acknowledged(&mut self, id: u16) {
        if let Some(entry) = self.remove(id, Stage::Written) {
            self.tried.remove(&entry.message.topic);
            self.refused.remove(&entry.message.topic);
            self.count_taken(entry.message.retain, entry.message.taken_ns);
        }
    }

    /// PUBREC.
    pub(super) fn received(&mut self, id: u16) {
        let written = |entry: &&mut Entry| entry.id == id && entry.stage == Stage::Written;
        if let Some(entry) = self.flying.iter_mut().find(written) {
            (entry.stage, entry.pings) = (Stage::Released, 0);
            self.refused.remove(&entry.message.topic);
            let (retain, taken_ns) = (entry.message.retain, entry.message.taken_ns);
            self.count_taken(retain, taken_ns);
        }
    }

    /// PUBCOMP.
    pub(super) fn completed(&mut self, id: u16) {
        self.remove(id, Stage::Released);
    }

    fn remove(&mut self, id: u16, stage: Stage) -> Option<Entry> {
        let index = self.flying.iter().position(|entry| entry.id == id && entry.stage == stage)?;
        self.flying.remove(index)
    }

    fn count_taken(&mut self, retain: bool, taken_ns: u64) {
        if !retain {
            self.taken += 1;
            self.counters.acknowledge(monotonic_ns().saturating_sub(taken_ns) / 1000);
            self.window = (self.window + 1).min(self.in_flight);
        }
    }

    /// The broker has answered a ping. Returns the topic of a message that it has overlooked: the connection must then
    /// end, because MQTT resends a message only on the next one.
    pub(super) fn pinged(&mut self) -> Option<Arc<str>> {
        for entry in self.flying.iter_mut().filter(|entry| matches!(entry.stage, Stage::Written | Stage::Released)) {
            entry.pings = entry.pings.saturating_add(1);
        }
        self.flying.iter().find(|entry| entry.pings >= PINGS).map(|entry| Arc::clone(&entry.message.topic))
    }

    /// Results accepted by the broker on this connection.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Closes the outbox: streams that are not `offline` become so, and the device's `stopped` is the last message.
    pub(super) fn close(&mut self) {
        let on: Vec<_> =
            self.states.iter().filter(|(_, state)| **state != "offline").map(|(topic, _)| Arc::clone(topic)).collect();
        for topic in on {
            self.set(&topic, "offline");
        }
        self.closing = true;
        self.bid_farewell();
    }

    /// Whether it has been closed.
    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether it has been closed, and the broker has acknowledged everything.
    pub(super) fn is_done(&self) -> bool {
        let messages = [&self.greeting, &self.waiting];
        let none_left = messages.iter().all(|messages| messages.is_empty()) && self.again.is_empty();
        self.closing && self.up && none_left && self.farewell.is_none() && self.flying.is_empty()
    }

    /// Number of results that are not known to be delivered.
    pub(super) fn undelivered(&self) -> usize {
        let results = |messages: &VecDeque<Message>| messages.iter().filter(|message| !message.retain).count();
        let flying = self.flying.iter().filter(|entry| !entry.message.retain).count();
        flying + self.again.len() + results(&self.waiting)
    }

    /// Takes the results that are not known to be delivered, in order of arrival.
    pub(super) fn take_undelivered(&mut self) -> Vec<Message> {
        let flying = self.flying.drain(..).map(|entry| entry.message);
        let again = self.again.drain(..).map(|(message, _)| message);
        flying.chain(again).chain(self.waiting.drain(..)).filter(|message| !message.retain).collect()
    }

    /// Whether only a new connection could change anything, and no result waits for one.
    pub(super) fn is_idle(&self) -> bool {
        self.ended || (!self.up && self.undelivered() == 0)
    }

    /// Whether the broker is connected.
    pub(super) fn is_connected(&self) -> bool {
        self.up
    }

    /// Leaves nothing to publish: a connection that is accepted too late must not undo the states of its successor.
    pub(super) fn abandon(&mut self) {
        self.states.clear();
        self.greeting.clear();
        self.releases.clear();
        self.farewell = None;
    }

    /// Records that the connection's thread has ended.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether the connection's thread has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests;
