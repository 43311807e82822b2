//! Every transition in a table, and many random orders of events with the frame numbers of the real tickets.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use super::StreamState::{Offline, Online, Retrying, Stalled, Starting, Waiting};
use super::*;
use crate::telemetry::{FrameNumbers, Ticket};

const LIMITS: Limits =
    Limits { start: Duration::from_secs(20), stall: Duration::from_secs(10), key_frame: Duration::from_secs(60) };

fn flow(idle_ms: u64, keyless_ms: u64, next: u64) -> Flow {
    Flow { idle: Duration::from_millis(idle_ms), keyless: Duration::from_millis(keyless_ms), next }
}

fn playing(idle_ms: u64, keyless_ms: u64) -> Event {
    Event::Playing(flow(idle_ms, keyless_ms, 7))
}

/// A stream in `state`, with seven frames behind it.
fn in_state(state: StreamState) -> Lifecycle {
    let mut lifecycle = Lifecycle::new(&LIMITS);
    let result = Event::Result { seq: 0 };
    let events: &[Event] = match state {
        Starting => &[],
        Online => &[result],
        Stalled => &[result, playing(8000, 0)],
        Waiting => &[playing(0, 2000)],
        Retrying => &[Event::Failed { next: 7 }],
        Offline => &[Event::Ended],
    };
    for event in events {
        lifecycle.take(*event);
    }
    assert_eq!(lifecycle.state(), state);
    lifecycle
}

#[test]
fn every_event_leads_from_every_state_to_the_one_in_the_table() {
    let (late, fresh) = (Event::Result { seq: 6 }, Event::Result { seq: 7 });
    let (flowing, quiet, keyless) = (playing(7500, 1000), playing(7501, 1000), playing(0, 1001));
    // One that stops sending while no key frame has come: what it lacked still counts.
    let both = playing(8000, 2000);
    let failed = Event::Failed { next: 7 };
    for (from, to) in [
        (Starting, [(late, Online), (flowing, Starting), (quiet, Starting), (both, Waiting), (failed, Retrying)]),
        (Online, [(late, Online), (flowing, Online), (quiet, Stalled), (both, Waiting), (failed, Retrying)]),
        (Stalled, [(late, Stalled), (flowing, Online), (quiet, Stalled), (both, Waiting), (failed, Retrying)]),
        (Waiting, [(late, Waiting), (flowing, Waiting), (quiet, Waiting), (both, Waiting), (failed, Retrying)]),
        (Retrying, [(late, Retrying), (flowing, Retrying), (quiet, Retrying), (both, Waiting), (failed, Retrying)]),
        (Offline, [(late, Offline), (flowing, Offline), (quiet, Offline), (both, Offline), (failed, Offline)]),
    ] {
        let with_result = if from == Offline { Offline } else { Online };
        let without_key_frame = if from == Offline { Offline } else { Waiting };
        for (event, to) in
            to.into_iter().chain([(fresh, with_result), (keyless, without_key_frame), (Event::Ended, Offline)])
        {
            let mut lifecycle = in_state(from);
            let told = lifecycle.take(event);
            assert_eq!(lifecycle.state(), to, "{from:?}, {event:?}");
            assert_eq!(told, Some(to).filter(|to| *to != from), "{from:?}, {event:?}");
            assert_eq!(lifecycle.take(event), None, "{from:?}, {event:?} again");
        }
    }
}

#[test]
fn a_stall_is_told_after_three_quarters_of_its_limit_and_fails_after_all_of_it() {
    let mut lifecycle = in_state(Online);
    assert_eq!(lifecycle.take(playing(7500, 0)), None);
    assert_eq!(lifecycle.take(playing(7501, 0)), Some(Stalled));
    assert!(LIMITS.exceeded(flow(10_000, 0, 7), 7, 0, 0).is_none());
    let error = LIMITS.exceeded(flow(10_001, 0, 7), 7, 0, 0);
    assert!(matches!(error, Some(Error::Silent { seconds: 10.0, frames: 7, received: 0 })), "{error:?}");
}

#[test]
fn a_source_without_frames_has_the_start_limit_and_one_without_key_frames_has_its_own() {
    assert!(LIMITS.exceeded(flow(20_000, 0, 0), 0, 0, 0).is_none());
    let error = LIMITS.exceeded(flow(20_001, 0, 0), 0, 0, 0);
    assert!(matches!(error, Some(Error::Silent { seconds: 20.0, frames: 0, received: 0 })), "{error:?}");
    assert!(LIMITS.exceeded(flow(0, 60_000, 0), 0, 9, 0).is_none());
    let error = LIMITS.exceeded(flow(0, 60_001, 0), 0, 9, 0);
    assert!(matches!(error, Some(Error::NoKeyFrame { seconds: Some(60.0), left_out: 9 })), "{error:?}");
}

/// Numbers without order, the same at every run (Marsaglia, "Xorshift RNGs").
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The states that may follow.
fn may_follow(state: StreamState) -> &'static [StreamState] {
    match state {
        Starting | Retrying => &[Online, Waiting, Retrying, Offline],
        Online => &[Stalled, Waiting, Retrying, Offline],
        Stalled => &[Online, Waiting, Retrying, Offline],
        Waiting => &[Online, Retrying, Offline],
        Offline => &[],
    }
}

/// A source on a clock of its own: attempts that come and go, frames that are late or lost, and results that overtake
/// failures.
struct Source {
    random: Random,
    lifecycle: Lifecycle,
    told: Vec<StreamState>,
    now_ms: u64,
    last_frame_ms: u64,
    keyless_since_ms: Option<u64>,
    numbers: Arc<FrameNumbers>,
    /// Those of all attempts; each but the last has ended.
    tickets: Vec<Ticket>,
    /// Frames that have no result yet.
    waiting: Vec<u64>,
    delivered: Vec<u64>,
    /// Number of the first frame after the latest failure.
    reopened_at: u64,
}

impl Source {
    fn new(seed: u64) -> Self {
        let numbers = Arc::<FrameNumbers>::default();
        Self {
            random: Random(seed * 2 + 1),
            lifecycle: Lifecycle::new(&LIMITS),
            told: Vec::new(),
            now_ms: 0,
            last_frame_ms: 0,
            keyless_since_ms: None,
            tickets: vec![numbers.begin()],
            numbers,
            waiting: Vec::new(),
            delivered: Vec::new(),
            reopened_at: 0,
        }
    }

    fn take(&mut self, event: Event) {
        let before = self.lifecycle.state();
        let told = self.lifecycle.take(event);
        let after = self.lifecycle.state();
        assert_eq!(told.is_some(), before != after, "{event:?}");
        assert!(before == after || may_follow(before).contains(&after), "{before:?}, {event:?}: {after:?}");
        if let (Event::Result { seq }, Some(state)) = (event, told) {
            assert!(state == Online && seq >= self.reopened_at, "frame {seq} is older than the failure");
        }
        self.told.extend(told);
    }

    fn step(&mut self) {
        self.now_ms += self.random.below(1500);
        match self.random.below(20) {
            // A frame, also of an attempt that is over: it gets no number.
            0..=7 => {
                let index = self.random.below(self.tickets.len() as u64) as usize;
                let is_current = index + 1 == self.tickets.len();
                let number = self.tickets[index].number();
                assert_eq!(number.is_some(), is_current);
                if let Some(number) = number {
                    self.waiting.push(number);
                    self.delivered.push(number);
                    (self.last_frame_ms, self.keyless_since_ms) = (self.now_ms, None);
                }
            }
            // A result of any frame that waits, in whatever order.
            8..=12 if !self.waiting.is_empty() => {
                let index = self.random.below(self.waiting.len() as u64) as usize;
                let seq = self.waiting.swap_remove(index);
                self.take(Event::Result { seq });
            }
            13 => self.keyless_since_ms = Some(self.now_ms),
            14 => self.now_ms += 8000,
            15 => {
                let next = self.tickets.last().unwrap().end();
                self.reopened_at = next;
                self.take(Event::Failed { next });
                let ticket = self.numbers.begin();
                self.tickets.push(ticket);
                (self.last_frame_ms, self.keyless_since_ms) = (self.now_ms, None);
            }
            16 if self.random.below(40) == 0 => self.take(Event::Ended),
            _ => {
                let keyless = self.keyless_since_ms.map_or(0, |since| self.now_ms - since);
                let flow = flow(self.now_ms - self.last_frame_ms, keyless, self.numbers.next());
                self.take(Event::Playing(flow));
            }
        }
    }
}

#[test]
fn whatever_the_order_of_events_states_are_legal_and_told_once_and_numbers_only_rise() {
    let mut reached = std::collections::BTreeSet::new();
    for seed in 0..500 {
        let mut source = Source::new(seed);
        for _ in 0..400 {
            source.step();
        }
        let told = &source.told;
        assert!(told.windows(2).all(|pair| pair[0] != pair[1]), "seed {seed}: {told:?}");
        assert!(told.iter().rev().skip(1).all(|state| *state != Offline), "seed {seed}: {told:?}");
        let numbers = &source.delivered;
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: {numbers:?}");
        reached.extend(told.windows(2).map(|pair| (pair[0].name(), pair[1].name())));
    }
    // The events are random enough: every step between states has been made.
    let states = [Online, Stalled, Waiting, Retrying, Offline];
    let all = states.iter().flat_map(|from| may_follow(*from).iter().map(|to| (from.name(), to.name())));
    for step in all.filter(|(from, to)| from != to) {
        assert!(reached.contains(&step), "{step:?} was not tried");
    }
}
