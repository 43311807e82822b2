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
        Self { client, retry_max, wait, early: 0, refused: 0, told: false, warned: false }
    }

    /// A connection has been made: true if that should be reported.
    pub(super) fn connected(&mut self) -> bool {
        self.early < SUSPICIOUS - 1
    }

    /// The connection has lasted for `lasted`, and the broker has taken `taken` results on it: true if that ends a
    /// reported series of early ends.
    pub(super) fn goes_on(&mut self, lasted: Duration, taken: u64) -> bool {
        if lasted < STEADY && (taken == 0 || self.refused == 0) {
            return false;
        }
        self.refused = 0;
        if lasted >= STEADY {
            self.early = 0;
        }
        std::mem::take(&mut self.warned)
    }

    /// A connection attempt failed.
    pub(super) fn failed(&mut self) -> (Duration, Say) {
        (self.wait_longer(), self.say())
    }

    /// The connection ended after `lasted`; `overlooked` if the reason is a message that was not acknowledged.
    pub(super) fn ended(&mut self, lasted: Duration, overlooked: bool, ended: &Ended) -> (Duration, Say) {
        if ended.taken > 0 || (lasted >= STEADY && !overlooked) {
            self.refused = 0;
        }
        if lasted >= STEADY && !(overlooked && ended.taken == 0) {
            self.early = 0;
            (self.told, self.warned) = (false, false);
        } else {
            self.early += 1;
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
    refused: u32,
    open: usize,
    last: &'a Option<(Arc<str>, usize)>,
}

impl fmt::Display for Diagnosis<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Client { id, qos } = self.client;
        let (times, limit) = (self.times, STEADY.as_secs());
        write!(f, "the broker has closed {times} connections in a row within {limit} s of accepting them")?;
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
        Ended { written, taken, open, last: Some(("hardnetd/pi/door/result".into(), 812)), given_up: None }
    }

    #[test]
    fn waits_grow_while_no_result_is_taken_and_begin_anew_after_a_good_connection() {
        let mut health = health(1);
        let waits: Vec<_> = (0..8).map(|_| health.ended(SECOND, false, &end(5, 0, 5)).0.as_secs_f64()).collect();
        assert_eq!(waits, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!(health.ended(STEADY, false, &end(5, 5, 0)).0, FIRST_RETRY);
    }

    #[test]
    fn a_connection_on_which_a_result_was_taken_is_good_until_it_keeps_ending_early() {
        let mut health = health(1);
        let waits: Vec<_> = (0..5).map(|_| health.ended(SECOND, false, &end(5, 5, 0)).0.as_secs_f64()).collect();
        assert_eq!(waits, [0.5, 0.5, 1.0, 2.0, 4.0]);
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
