//! Tests the outbox between the state of the real client library and a broker that loses connections and sessions.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rumqttc::{Event, MqttState, Outgoing, Packet, PubAck, PubComp, PubRec, PubRel, Publish, Request};

use super::*;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// The broker's behaviour.
#[derive(Debug, Clone, Copy)]
struct Habits {
    qos: QoS,
    /// Whether the session survives a lost connection: always or at random.
    keeps_session: bool,
    /// Whether it acknowledges in any order.
    disorderly: bool,
}

const DEVICE: &str = "h/pi/status";
const DOOR: &str = "h/pi/door/status";
const IN_FLIGHT: u16 = 5;
const LIMIT: usize = 1000;

fn outbox(limit: usize) -> Outbox {
    Outbox::new(limit, IN_FLIGHT, DEVICE.into(), vec![DOOR.into()])
}

fn result(topic: &str, number: usize, qos: QoS) -> Message {
    Message { topic: topic.into(), payload: number.to_string().into_bytes(), qos, retain: false, taken_ns: 0 }
}

struct World {
    random: Random,
    habits: Habits,
    outbox: Outbox,
    up: bool,
    // The client library: its event loop keeps these lists around its state.
    library: MqttState,
    channel: VecDeque<Request>,
    pending: VecDeque<Request>,
    to_broker: VecDeque<Packet>,
    to_client: VecDeque<Packet>,
    /// QoS 2 messages that the broker holds and has not delivered.
    held: BTreeMap<u16, Publish>,
    delivered: Vec<(String, String)>,
    given_up: usize,
}

impl World {
    fn new(seed: u64, habits: Habits) -> Self {
        let outbox = outbox(LIMIT);
        let library = MqttState::new(Outbox::ids(IN_FLIGHT), false);
        Self {
            random: Random(seed),
            habits,
            outbox,
            up: false,
            library,
            channel: VecDeque::new(),
            pending: VecDeque::new(),
            to_broker: VecDeque::new(),
            to_client: VecDeque::new(),
            held: BTreeMap::new(),
            delivered: Vec::new(),
            given_up: 0,
        }
    }

    fn connect(&mut self) {
        let session = self.habits.keeps_session || self.random.one_in(2);
        if !session {
            self.held.clear();
        }
        self.up = true;
        self.outbox.up(session);
    }

    /// Some packets in flight still arrive, but no answer does.
    fn disconnect(&mut self) {
        for _ in 0..self.random.below(self.to_broker.len() + 1) {
            self.broker_takes();
        }
        self.to_broker.clear();
        self.to_client.clear();
        self.events();
        self.library.clean();
        self.channel.clear();
        self.pending.clear();
        self.up = false;
        let ending = [Ending::Other, Ending::HungUpEarly][self.random.below(2)];
        let before = self.outbox.lost();
        self.outbox.down(ending);
        self.given_up += usize::try_from(self.outbox.lost() - before).unwrap();
    }

    fn hand(&mut self) {
        while let Some(owed) = self.outbox.resume() {
            self.pending.push_back(match owed {
                Owed::Release(id) => Request::PubRel(PubRel::new(id)),
                Owed::Publish(id, message) => {
                    let mut publish = Publish::new(&*message.topic, message.qos, message.payload);
                    (publish.pkid, publish.dup) = (id, true);
                    Request::Publish(publish)
                }
            });
        }
        while let Some(message) = self.outbox.next() {
            let mut publish = Publish::new(&*message.topic, message.qos, message.payload);
            publish.retain = message.retain;
            self.channel.push_back(Request::Publish(publish));
            assert!(self.channel.len() <= CLIENT_QUEUE, "the library's queue would be full");
        }
    }

    fn events(&mut self) {
        for event in std::mem::take(&mut self.library.events) {
            match event {
                Event::Outgoing(Outgoing::Publish(id)) => self.outbox.written(id),
                Event::Outgoing(Outgoing::AwaitAck(id)) => panic!("two messages have the identifier {id}"),
                Event::Incoming(Packet::PubAck(answer)) => self.outbox.acknowledged(answer.pkid),
                Event::Incoming(Packet::PubRec(answer)) => self.outbox.received(answer.pkid),
                Event::Incoming(Packet::PubComp(answer)) => self.outbox.completed(answer.pkid),
                _ => {}
            }
        }
    }

    fn library_writes(&mut self) -> bool {
        let Some(request) = self.pending.pop_front().or_else(|| self.channel.pop_front()) else { return false };
        let packet = self.library.handle_outgoing_packet(request).unwrap();
        self.to_broker.extend(packet);
        self.events();
        true
    }

    fn library_reads(&mut self) -> bool {
        let Some(packet) = self.to_client.pop_front() else { return false };
        let packet = self.library.handle_incoming_packet(packet).unwrap();
        self.to_broker.extend(packet);
        self.events();
        true
    }

    fn broker_takes(&mut self) -> bool {
        let Some(packet) = self.to_broker.pop_front() else { return false };
        let answer = match packet {
            Packet::Publish(publish) => match publish.qos {
                QoS::AtMostOnce => {
                    self.deliver(&publish);
                    return true;
                }
                QoS::AtLeastOnce => {
                    self.deliver(&publish);
                    Packet::PubAck(PubAck::new(publish.pkid))
                }
                QoS::ExactlyOnce => {
                    let id = publish.pkid;
                    self.held.insert(id, publish);
                    Packet::PubRec(PubRec::new(id))
                }
            },
            Packet::PubRel(release) => {
                if let Some(publish) = self.held.remove(&release.pkid) {
                    self.deliver(&publish);
                }
                Packet::PubComp(PubComp { pkid: release.pkid })
            }
            other => panic!("{other:?}"),
        };
        let place =
            if self.habits.disorderly { self.random.below(self.to_client.len() + 1) } else { self.to_client.len() };
        self.to_client.insert(place, answer);
        true
    }

    fn deliver(&mut self, publish: &Publish) {
        self.delivered.push((publish.topic.clone(), String::from_utf8(publish.payload.to_vec()).unwrap()));
    }

    fn step(&mut self) {
        match self.random.below(5) {
            0 => drop(self.library_writes()),
            1 | 2 => drop(self.broker_takes()),
            _ => drop(self.library_reads()),
        }
        self.hand();
        self.check();
    }

    /// Runs without faults until nothing changes.
    fn settle(&mut self) {
        if !self.up {
            self.connect();
        }
        loop {
            self.hand();
            let moved = [self.library_writes(), self.broker_takes(), self.library_reads()];
            if !moved.contains(&true) {
                return;
            }
        }
    }

    fn check(&self) {
        let numbered = self.outbox.flying.iter().filter(|entry| entry.id != 0);
        let ids: BTreeSet<u16> = numbered.clone().map(|entry| entry.id).collect();
        assert_eq!(ids.len(), numbered.count(), "identifiers are unique: {:?}", self.outbox.flying);
        assert!(ids.len() <= usize::from(IN_FLIGHT));
        assert!(self.outbox.flying.len() <= usize::from(IN_FLIGHT) + CLIENT_QUEUE);
        assert!(self.outbox.again.len() <= usize::from(IN_FLIGHT) + CLIENT_QUEUE);
    }

    fn delivered_of(&self, topic: &str) -> Vec<&str> {
        self.delivered.iter().filter(|(of, _)| of == topic).map(|(_, payload)| payload.as_str()).collect()
    }
}

/// A random history of `steps` steps with results of two streams, and a quiet end. Returns the number of results.
fn live(world: &mut World, steps: usize) -> usize {
    let mut results = 0;
    for _ in 0..steps {
        match world.random.below(12) {
            0..=2 => {
                let topic = ["a", "b"][world.random.below(2)];
                world.outbox.push(result(topic, results, world.habits.qos));
                results += 1;
                world.hand();
            }
            3 if world.random.one_in(8) => {
                let state = ["online", "retrying"][world.random.below(2)];
                world.outbox.set(&DOOR.into(), state);
                world.hand();
            }
            4 if world.up && world.random.one_in(5) => world.disconnect(),
            5 if !world.up => {
                world.connect();
                world.hand();
            }
            _ if world.up => world.step(),
            _ => {}
        }
        world.check();
    }
    world.settle();
    results
}

fn histories(habits: Habits, check: impl Fn(&World, usize)) {
    for seed in 0..100 {
        let mut world = World::new(seed, habits);
        let results = live(&mut world, 600);
        assert!(results > 50);
        assert_eq!(world.outbox.lost(), 0, "the queue is large enough");
        assert_eq!(world.outbox.undelivered(), 0, "seed {seed}: {:?}", world.outbox);
        check(&world, results);
    }
}

fn missing(world: &World, results: usize) -> usize {
    let delivered: BTreeSet<&str> = world.delivered.iter().map(|(_, payload)| payload.as_str()).collect();
    (0..results).filter(|number| !delivered.contains(number.to_string().as_str())).count()
}

/// Result numbers of a topic, in the order of first delivery.
fn first(world: &World, topic: &str) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let numbers = world.delivered_of(topic).into_iter().map(|number| number.parse().unwrap());
    numbers.filter(|number| seen.insert(*number)).collect()
}

#[test]
fn a_closed_sink_that_is_connected_too_late_publishes_nothing() {
    let mut outbox = outbox(LIMIT);
    outbox.set(&DOOR.into(), "online");
    outbox.push(result("h/pi/door/result", 1, QoS::AtLeastOnce));
    outbox.close();
    assert_eq!(outbox.take_undelivered().len(), 1);
    outbox.abandon();
    outbox.up(false);
    assert!(outbox.next().is_none() && outbox.is_done());
}

#[test]
fn with_qos_2_and_a_session_every_result_arrives_exactly_once_and_in_order() {
    let habits = Habits { qos: QoS::ExactlyOnce, keeps_session: true, disorderly: false };
    histories(habits, |world, results| {
        let numbers: Vec<&str> = [world.delivered_of("a"), world.delivered_of("b")].concat();
        // A message that is given up may have arrived.
        assert!(numbers.len() + world.given_up >= results && numbers.len() <= results);
        for topic in ["a", "b"] {
            let numbers = world.delivered_of(topic);
            let first = first(world, topic);
            assert_eq!(first.len(), numbers.len(), "no duplicates");
            assert!(first.is_sorted(), "{first:?}");
        }
    });
}

#[test]
fn no_result_is_lost_whatever_becomes_of_the_session() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for disorderly in [false, true] {
            histories(Habits { qos, keeps_session: false, disorderly }, |world, results| {
                assert!(missing(world, results) <= world.given_up);
                if !disorderly {
                    assert!(first(world, "a").is_sorted() && first(world, "b").is_sorted());
                }
            });
        }
    }
}

#[test]
fn with_qos_1_and_a_session_results_arrive_in_order() {
    let habits = Habits { qos: QoS::AtLeastOnce, keeps_session: true, disorderly: false };
    histories(habits, |world, results| {
        assert!(missing(world, results) <= world.given_up);
        assert!(first(world, "a").is_sorted() && first(world, "b").is_sorted());
    });
}

#[test]
fn the_broker_ends_with_the_newest_states() {
    let habits = Habits { qos: QoS::AtLeastOnce, keeps_session: false, disorderly: false };
    histories(habits, |world, _| {
        let last = world.delivered_of(DOOR).last().copied();
        let muted = world.outbox.muted.contains(DOOR);
        assert!(muted || last == world.outbox.states.get(DOOR).copied(), "{last:?}");
        assert!(world.delivered_of(DEVICE).ends_with(&["online"]) || world.outbox.muted.contains(DEVICE));
    });
}

#[test]
fn the_end_comes_after_every_result_and_every_state() {
    let habits = Habits { qos: QoS::AtLeastOnce, keeps_session: false, disorderly: false };
    for seed in 0..100 {
        let mut world = World::new(seed, habits);
        live(&mut world, 200);
        world.outbox.set(&DOOR.into(), "online");
        world.outbox.push(result("a", 1_000_000, habits.qos));
        world.outbox.close();
        assert!(!world.outbox.is_done());
        world.settle();
        assert!(world.outbox.is_done(), "seed {seed}: {:?}", world.outbox);
        if world.outbox.muted.is_empty() {
            let end: Vec<&str> = world.delivered.iter().rev().take(3).map(|(_, payload)| payload.as_str()).collect();
            assert_eq!(end, ["stopped", "offline", "1000000"]);
        }
    }
}

/// An outbox with a connection and the greeting acknowledged.
fn greeted(qos: QoS) -> Outbox {
    let mut outbox = outbox(LIMIT);
    greet(&mut outbox, false);
    outbox.push(result("a", 0, qos));
    outbox
}

fn greet(outbox: &mut Outbox, session: bool) {
    outbox.up(session);
    while outbox.greeting.front().is_some() {
        let id = outbox.next_id;
        outbox.next().unwrap();
        outbox.written(id);
        outbox.acknowledged(id);
    }
}

#[test]
fn a_connection_begins_with_the_streams_states_and_then_says_online() {
    let mut outbox = Outbox::new(1, IN_FLIGHT, DEVICE.into(), vec![DOOR.into(), "h/pi/yard/status".into()]);
    outbox.set(&DOOR.into(), "retrying");
    outbox.push(result("a", 0, QoS::AtMostOnce));
    outbox.up(false);
    let sent: Vec<_> = std::iter::from_fn(|| outbox.next()).map(|message| message.payload).collect();
    assert_eq!(sent, [&b"retrying"[..], b"offline", b"online", b"0"]);
}

#[test]
fn a_message_that_ends_one_connection_after_the_other_is_given_up_and_the_next_ones_are_sent() {
    for session in [false, true] {
        let mut outbox = outbox(LIMIT);
        outbox.push(result("a", 0, QoS::AtLeastOnce));
        outbox.push(result("a", 1, QoS::AtLeastOnce));
        let arrived = (0..2 * TRIES).any(|_| {
            outbox.up(session);
            connection_that_ends_with(&mut outbox, b"0")
        });
        assert!(arrived, "the message behind it is never sent");
    }
}

/// Acknowledges everything except `fatal`, at which the broker hangs up. True if message `1` gets through.
fn connection_that_ends_with(outbox: &mut Outbox, fatal: &[u8]) -> bool {
    loop {
        while outbox.resume().is_some() || outbox.next().is_some() {}
        let handed = |entry: &&Entry| entry.stage == Stage::Handed;
        let written: Vec<_> = outbox.flying.iter().filter(handed).map(|e| (e.id, e.message.payload.clone())).collect();
        if written.is_empty() {
            return false;
        }
        for (id, _) in &written {
            outbox.written(*id);
        }
        if written.iter().any(|(_, payload)| payload == fatal) {
            if let Some((message, _)) = outbox.down(Ending::HungUpEarly).given_up {
                assert_eq!(message.payload, fatal);
            }
            return false;
        }
        for (id, payload) in written {
            outbox.acknowledged(id);
            if payload == b"1" {
                return true;
            }
        }
    }
}

/// A connection on which the broker hangs up at every result to `topic`. Returns the numbers of the other results.
fn connection_without(outbox: &mut Outbox, topic: &str) -> Vec<String> {
    outbox.up(false);
    let mut taken = Vec::new();
    while let Some(message) = outbox.next() {
        let id = outbox.flying.back().unwrap().id;
        outbox.written(id);
        if &*message.topic == topic {
            outbox.down(Ending::HungUpEarly);
            return taken;
        }
        outbox.acknowledged(id);
        if !message.retain {
            taken.push(String::from_utf8(message.payload).unwrap());
        }
    }
    taken
}

#[test]
fn a_topic_that_the_broker_does_not_allow_soon_holds_up_no_other_and_every_loss_is_counted() {
    let mut outbox = outbox(LIMIT);
    for number in 0..40 {
        outbox.push(result(if number % 2 == 0 { "a" } else { "b" }, number, QoS::AtLeastOnce));
    }
    let mut lost = 0;
    let mut taken = Vec::new();
    for _ in 0..TRIES + REFUSALS {
        lost += outbox.lost();
        taken.extend(connection_without(&mut outbox, "a"));
    }
    let numbers: Vec<String> = (1..40).step_by(2).map(|number: u32| number.to_string()).collect();
    assert_eq!(taken, numbers);
    assert_eq!((lost + outbox.lost(), outbox.undelivered()), (20, 0));
    outbox.push(result("a", 40, QoS::AtLeastOnce));
    assert_eq!(outbox.lost(), 1, "nothing of the topic waits");

    // Another reason for the end: the next connection tries the topic again.
    outbox.down(Ending::Other);
    outbox.push(result("a", 41, QoS::AtLeastOnce));
    assert_eq!(outbox.undelivered(), 1);
    assert_eq!(connection_without(&mut outbox, "none"), ["41"]);
    assert!(outbox.refused.is_empty());
}

#[test]
fn a_broker_that_stops_while_messages_are_on_their_way_costs_none() {
    let mut outbox = greeted(QoS::AtLeastOnce);
    for _ in 0..50 {
        let id = outbox.next_id;
        assert_eq!(outbox.next().unwrap().payload, b"0");
        outbox.written(id);
        assert!(outbox.down(Ending::Other).given_up.is_none());
        greet(&mut outbox, false);
    }
}

#[test]
fn a_state_that_the_broker_does_not_take_holds_up_no_result() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut outbox = outbox(LIMIT);
        outbox.push(result("a", 0, qos));
        let refused = Arc::clone(outbox.states.keys().next().unwrap());
        // The first connection begins with several messages at a time.
        let is_taken = (0..TRIES + 2).any(|_| {
            outbox.up(false);
            while let Some(message) = outbox.next() {
                let id = outbox.flying.back().unwrap().id;
                outbox.written(id);
                if message.topic == refused {
                    outbox.down(Ending::HungUpEarly);
                    return false;
                }
                outbox.acknowledged(id);
                if message.payload == b"0" {
                    return true;
                }
            }
            outbox.down(Ending::HungUpEarly);
            false
        });
        assert!(is_taken, "the result is never sent ({qos:?})");
    }
}

#[test]
fn a_message_that_is_overlooked_ends_the_connection_after_two_whole_intervals() {
    let mut outbox = greeted(QoS::AtLeastOnce);
    let id = outbox.next_id;
    outbox.next().unwrap();
    outbox.written(id);
    assert_eq!([outbox.pinged(), outbox.pinged()], [None, None]);
    assert_eq!(outbox.pinged().as_deref(), Some("a"));
}

#[test]
fn the_oldest_result_gives_way_and_states_do_not() {
    let mut outbox = outbox(2);
    outbox.up(false);
    while outbox.next().is_some() {}
    // The window is full from here on.
    let fill: Vec<bool> = (0..8).map(|number| outbox.push(result("a", number, QoS::AtLeastOnce))).collect();
    assert_eq!(fill.iter().filter(|full| **full).count(), 6);
    outbox.set(&DOOR.into(), "online");
    outbox.push(result("a", 8, QoS::AtLeastOnce));
    outbox.set(&DOOR.into(), "retrying");
    let waiting: Vec<_> = outbox.waiting.iter().map(|message| message.payload.as_slice()).collect();
    assert_eq!(waiting, [&b"7"[..], b"8", b"retrying"]);
    assert_eq!(outbox.lost(), 7);
    outbox.down(Ending::Other);
    assert_eq!(outbox.up(false), 7, "told at the next connection");
    assert_eq!(outbox.lost(), 0);
}

#[test]
fn statistics_go_out_on_a_connection_that_is_there_and_only_the_newest_wait() {
    let (mut outbox, topic) = (outbox(LIMIT), Arc::from("h/pi/stats"));
    let sent = |outbox: &mut Outbox| -> Vec<String> {
        std::iter::from_fn(|| outbox.next()).map(|message| String::from_utf8(message.payload).unwrap()).collect()
    };
    outbox.tell(&topic, b"1");
    outbox.up(false);
    assert_eq!(sent(&mut outbox), ["offline", "online"]);
    outbox.tell(&topic, b"2");
    outbox.tell(&topic, b"3");
    assert_eq!((sent(&mut outbox), outbox.lost()), (vec!["3".to_owned()], 0));
}
