//! Whether connections last: how long to wait before the next one, and what to report about those that ended.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::outbox::Ended;

/// First wait between two connection attempts; each further wait is twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// A connection that lasts this long is a good one.
pub(super) const STEADY: Duration = Duration::from_secs(10);

/// Number of consecutive connections ending early that is no longer a coincidence.
const SUSPICIOUS: u32 = 3;

/// Properties of the client that may make a broker hang up.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// Client id.
    pub(super) id: String,
    /// Quality of service of results.
    pub(super) qos: u8,
}

/// The history of connections.
#[derive(Debug)]
pub(super) struct Health {
    client: Client,
    retry_max: Duration,
    wait: Duration,
    /// Consecutive connections that ended early.
    early: u32,
    /// Of these, the ones on which the broker took no result although some were sent.
    refused: u32,
    /// How long the longest of them lasted.
    longest: Duration,
    /// Whether the current outage has been reported.
    told: bool,
    /// Whether a series of early ends has been reported.
    warned: bool,
}

/// What to report about an end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// The outage begins.
    First,
    /// It continues.
    Again,
    /// Connections keep ending early.
    Warn(String),
}

impl Health {
    pub(super) fn new(client: Client, retry_max: Duration) -> Self {
        let wait = FIRST_RETRY.min(retry_max);
        Self { client, retry_max, wait, early: 0, refused: 0, longest: Duration::ZERO, told: false, warned: false }
    }

    /// A connection has been made: true if that should be reported.
    pub(super) fn connected(&mut self) -> bool {
        self.early < SUSPICIOUS - 1
    }

    /// How long a connection has to last to be a good one. Two clients with one id take the connection from each other,
    /// and each lasts as long as the other waits, which is as long as this client does, or twice or half as long. So a
    /// series of early ends is over only when a connection outlasts all of that.
    fn steady(&self) -> Duration {
        if self.early == 0 { STEADY } else { STEADY.max(self.wait * 2) }
    }

    /// The connection has lasted for `lasted`, and the broker has taken `taken` results on it: true if that ends a
    /// reported series of early ends.
    pub(super) fn goes_on(&mut self, lasted: Duration, taken: u64) -> bool {
        let is_steady = lasted >= self.steady();
        if !is_steady && (taken == 0 || self.refused == 0) {
            return false;
        }
        self.refused = 0;
        if is_steady {
            (self.early, self.longest) = (0, Duration::ZERO);
        }
        std::mem::take(&mut self.warned)
    }

    /// A connection attempt failed.
    pub(super) fn failed(&mut self) -> (Duration, Say) {
        (self.wait_longer(), self.say())
    }

    /// The connection ended after `lasted`; `overlooked` if the reason is a message that was not acknowledged.
    pub(super) fn ended(&mut self, lasted: Duration, overlooked: bool, ended: &Ended) -> (Duration, Say) {
        let is_steady = lasted >= self.steady();
        if ended.taken > 0 || (is_steady && !overlooked) {
            self.refused = 0;
        }
        if is_steady && !(overlooked && ended.taken == 0) {
            (self.early, self.longest) = (0, Duration::ZERO);
            (self.told, self.warned) = (false, false);
        } else {
            self.early += 1;
            self.longest = self.longest.max(lasted);
            self.refused += u32::from(ended.taken == 0 && (ended.open > 0 || ended.written > 0));
        }
        let good = self.early == 0 || (ended.taken > 0 && self.early < SUSPICIOUS);
        if good {
            self.wait = FIRST_RETRY.min(self.retry_max);
        }
        let wait = self.wait_longer();
        // At the 3rd, 6th, 12th, … early end.
        let (times, rest) = (self.early / SUSPICIOUS, self.early % SUSPICIOUS);
        if rest == 0 && times.is_power_of_two() && !overlooked {
            (self.told, self.warned) = (true, true);
            return (wait, Say::Warn(self.diagnosis(ended).to_string()));
        }
        (wait, self.say())
    }

    fn wait_longer(&mut self) -> Duration {
        let wait = self.wait;
        self.wait = (wait * 2).min(self.retry_max);
        wait
    }

    fn say(&mut self) -> Say {
        if std::mem::replace(&mut self.told, true) { Say::Again } else { Say::First }
    }

    fn diagnosis<'a>(&'a self, ended: &'a Ended) -> Diagnosis<'a> {
        Diagnosis {
            client: &self.client,
            times: self.early,
            within: self.longest.max(STEADY),
            refused: self.refused,
            open: ended.open,
            last: &ended.last,
        }
    }
}

/// Likely reasons why a broker hangs up repeatedly.
struct Diagnosis<'a> {
    client: &'a Client,
    times: u32,
    within: Duration,
    refused: u32,
    open: usize,
    last: &'a Option<(Arc<str>, usize)>,
}

impl fmt::Display for Diagnosis<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Client { id, qos } = self.client;
        let (times, within) = (self.times, self.within.as_secs_f64().ceil());
        write!(f, "the broker has closed {times} connections in a row within {within} s of accepting them")?;
        let other = format!(
            "another client uses the client id {id} and each takes the connection from the other (set \
             publish.mqtt.client_id or device.name)"
        );
        // A broker that acknowledges everything objects to no message.
        let content = self.open == 0 && (*qos > 0 || self.refused == 0);
        let Some((topic, bytes)) = self.last.as_ref().filter(|_| !content) else {
            return write!(f, ", although it had acknowledged everything that was sent; most likely {other}");
        };
        if *qos > 0 && self.refused > 0 {
            write!(f, ", and acknowledged no result")?;
        }
        write!(f, "; the last message was {bytes} bytes to {topic}. Likely causes: ")?;
        if *qos == 2 && self.refused > 0 {
            write!(f, "it does not support QoS 2 (try publish.mqtt.qos = 1); ")?;
        }
        write!(
            f,
            "its maximum packet size is smaller; its access list forbids the topic; it refuses retained messages (publish.mqtt.retain = false); {other}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn health(qos: u8) -> Health {
        Health::new(Client { id: "pi".into(), qos }, Duration::from_secs(30))
    }

    fn end(written: u64, taken: u64, open: usize) -> Ended {
        Ended {
            written,
            taken,
            open,
            last: Some(("hardnetd/pi/door/result".into(), 812)),
            given_up: None,
            barred: false,
        }
    }

    #[test]
    fn waits_grow_while_no_result_is_taken_and_begin_anew_after_a_good_connection() {
        let mut health = health(1);
        let waits: Vec<_> = (0..8).map(|_| health.ended(SECOND, false, &end(5, 0, 5)).0.as_secs_f64()).collect();
        assert_eq!(waits, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!(health.ended(STEADY * 6, false, &end(5, 5, 0)).0, FIRST_RETRY);
    }

    #[test]
    fn a_connection_on_which_a_result_was_taken_is_good_until_it_keeps_ending_early() {
        let mut health = health(1);
        let waits: Vec<_> = (0..5).map(|_| health.ended(SECOND, false, &end(5, 5, 0)).0.as_secs_f64()).collect();
        assert_eq!(waits, [0.5, 0.5, 1.0, 2.0, 4.0]);
    }

    #[test]
    fn two_clients_with_one_id_come_to_rest() {
        // Each connection lasts until the other client has waited; results are taken on all of them.
        let mut clients = [health(1), health(1)];
        let (mut lasted, mut time, mut changes) = (SECOND, 0.0, Vec::new());
        for turn in 0..100 {
            lasted = clients[turn % 2].ended(lasted, false, &end(5, 5, 0)).0;
            time += lasted.as_secs_f64();
            changes.push(time);
        }
        assert!(changes.iter().filter(|time| **time < 120.0).count() < 20, "{changes:?}");
        let last: Vec<_> = changes.windows(2).rev().take(50).map(|pair| pair[1] - pair[0]).collect();
        assert!(last.iter().all(|wait| *wait == 30.0), "{last:?}");
    }

    #[test]
    fn a_series_of_early_ends_is_over_when_a_connection_outlasts_the_waits() {
        let mut health = health(1);
        for _ in 0..8 {
            health.ended(SECOND, false, &end(5, 5, 0));
        }
        assert!(!health.goes_on(STEADY * 5, 5), "the other client may still be waiting");
        assert!(health.goes_on(STEADY * 6, 5));
        assert_eq!(health.ended(STEADY * 6, false, &end(5, 5, 0)).0, FIRST_RETRY);
    }

    #[test]
    fn a_message_that_is_never_acknowledged_makes_no_good_connection_however_long_it_lasts() {
        let mut health = health(1);
        let waits: Vec<_> = (0..3).map(|_| health.ended(STEADY * 3, true, &end(1, 0, 1)).0.as_secs_f64()).collect();
        assert_eq!(waits, [0.5, 1.0, 2.0]);
    }

    #[test]
    fn connections_that_end_early_are_warned_of_at_the_third_and_then_ever_more_rarely() {
        let mut health = health(2);
        let is_warning = |_: &u32| matches!(health.ended(SECOND, false, &end(1, 0, 1)).1, Say::Warn(_));
        let warned: Vec<_> = (1..=24).filter(is_warning).collect();
        assert_eq!(warned, [3, 6, 12, 24]);
    }

    #[test]
    fn the_causes_follow_from_what_was_acknowledged() {
        let text = |qos, end: &Ended| {
            let mut health = health(qos);
            let says = (0..3).map(|_| health.ended(SECOND, false, end).1).last();
            match says {
                Some(Say::Warn(text)) => text,
                other => panic!("{other:?}"),
            }
        };
        let refused = text(1, &end(3, 0, 3));
        assert!(refused.contains("acknowledged no result; the last message was 812 bytes to hardnetd/pi/door/result"));
        assert!(refused.contains("maximum packet size") && !refused.contains("QoS 2"), "{refused}");
        assert!(text(2, &end(3, 0, 3)).contains("does not support QoS 2"));
        let taken_over = text(1, &end(3, 3, 0));
        assert!(taken_over.contains("most likely another client uses the client id pi"), "{taken_over}");
        assert!(!taken_over.contains("size"), "{taken_over}");
        let unknown = text(0, &end(3, 0, 0));
        assert!(unknown.contains("maximum packet size") && unknown.contains("client id pi"), "{unknown}");
        assert!(!unknown.contains("acknowledged no"), "QoS 0 is never acknowledged: {unknown}");
    }

    #[test]
    fn connected_is_news_until_connections_keep_ending() {
        let mut health = health(1);
        let news: Vec<_> = (0..4)
            .map(|_| {
                let news = health.connected();
                health.ended(SECOND, false, &end(1, 0, 1));
                news
            })
            .collect();
        assert_eq!(news, [true, true, false, false]);
        assert!(!health.goes_on(SECOND, 0));
        assert!(health.goes_on(SECOND, 1), "results are taken again");
        assert!(!health.goes_on(SECOND, 2), "which is told once");
    }

    #[test]
    fn an_outage_is_told_once() {
        let mut health = health(1);
        let said: Vec<_> = (0..3).map(|_| health.failed().1).collect();
        assert_eq!(said, [Say::First, Say::Again, Say::Again]);
        health.ended(STEADY, false, &end(1, 1, 0));
        assert_eq!(health.failed().1, Say::Again);
    }
}
