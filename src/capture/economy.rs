//! Leaves out coded frames that nobody needs: those that no other refers to, or all but key frames.

use crate::choice::Decode;

/// By how much key frames may come later than pictures are wanted, in shares of the interval: cameras are not exact.
const SLACK: f64 = 0.1;

/// What a stream needs of its coded frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Needs {
    /// Which frames are decoded.
    pub(super) decode: Decode,
    /// Nanoseconds between two wanted pictures; 0 if all are wanted.
    pub(super) interval_ns: u64,
}

/// Follows the coded frames of one video.
#[derive(Debug)]
pub(super) struct Economy {
    needs: Needs,
    /// Time stamp of the latest key frame, in nanoseconds.
    key_ns: Option<u64>,
    /// Time between the two latest key frames.
    between_keys_ns: Option<u64>,
    /// Time stamp of the latest frame.
    last_ns: Option<u64>,
    /// The shortest time between two frames.
    between_frames_ns: Option<u64>,
    /// What is decoded until the next key frame.
    now: Decode,
}

impl Economy {
    /// Before the first frame.
    pub(super) fn new(needs: Needs) -> Self {
        let now = if needs.decode == Decode::Auto { Decode::All } else { needs.decode };
        Self { needs, key_ns: None, between_keys_ns: None, last_ns: None, between_frames_ns: None, now }
    }

    /// Whether frames are looked at for what refers to them.
    pub(super) fn needs_references(&self) -> bool {
        match self.needs.decode {
            Decode::Reference => true,
            Decode::Auto => self.needs.interval_ns > 0,
            Decode::All | Decode::Key => false,
        }
    }

    /// Whether a frame is to be decoded, of which others could be. After frames have been left out, the choice changes only
    /// at a key frame.
    pub(super) fn takes(&mut self, pts_ns: Option<u64>, is_key: bool, is_reference: bool) -> bool {
        self.follow(pts_ns, is_key);
        if is_key && self.needs.decode == Decode::Auto {
            self.now = self.choice();
        }
        match self.now {
            Decode::All | Decode::Auto => true,
            Decode::Reference => is_key || is_reference,
            Decode::Key => is_key,
        }
    }

    fn follow(&mut self, pts_ns: Option<u64>, is_key: bool) {
        let Some(pts) = pts_ns else { return };
        let since =
            |earlier: Option<u64>| earlier.and_then(|earlier| pts.checked_sub(earlier)).filter(|time| *time > 0);
        if let Some(step) = since(self.last_ns) {
            self.between_frames_ns = Some(self.between_frames_ns.map_or(step, |least| least.min(step)));
        }
        self.last_ns = Some(pts);
        if is_key {
            self.between_keys_ns = since(self.key_ns);
            self.key_ns = Some(pts);
        }
    }

    /// The cheapest choice that leaves enough pictures.
    fn choice(&self) -> Decode {
        let interval = self.needs.interval_ns as f64;
        let within = |time: Option<u64>, most: f64| time.is_some_and(|time| time as f64 <= most);
        if interval == 0.0 {
            Decode::All
        } else if within(self.between_keys_ns, interval * (1.0 + SLACK)) {
            Decode::Key
        } else if within(self.between_frames_ns, interval / 2.0 * (1.0 + SLACK)) {
            // There is another frame close by for each that is left out.
            Decode::Reference
        } else {
            Decode::All
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// The numbers of the frames taken of `count` at 25 per second, with a key frame every `group`, of whose others every
    /// second one is no reference.
    fn taken(economy: &mut Economy, count: u64, group: u64) -> Vec<u64> {
        let take = |frame: &u64| {
            let in_group = frame % group;
            economy.takes(Some(frame * SECOND / 25), in_group == 0, in_group.is_multiple_of(2))
        };
        (0..count).filter(take).collect()
    }

    fn economy(decode: Decode, interval_s: f64) -> Economy {
        Economy::new(Needs { decode, interval_ns: (interval_s * SECOND as f64) as u64 })
    }

    #[test]
    fn what_is_asked_for_is_decoded() {
        assert_eq!(taken(&mut economy(Decode::All, 5.0), 6, 3), [0, 1, 2, 3, 4, 5]);
        assert_eq!(taken(&mut economy(Decode::Reference, 0.0), 7, 6), [0, 2, 4, 6]);
        assert_eq!(taken(&mut economy(Decode::Key, 0.0), 7, 3), [0, 3, 6]);
    }

    #[test]
    fn key_frames_are_enough_if_they_come_as_often_as_pictures_are_wanted() {
        // One key frame a second, and one picture: known at the second key frame.
        let expected: Vec<u64> = (0..=25).chain([50, 75]).collect();
        assert_eq!(taken(&mut economy(Decode::Auto, 1.0), 80, 25), expected);
    }

    #[test]
    fn frames_without_reference_are_left_out_if_their_neighbours_are_enough() {
        let expected: Vec<u64> = (0..50).chain((50..100).step_by(2)).collect();
        assert_eq!(taken(&mut economy(Decode::Auto, 0.5), 100, 50), expected);
    }

    #[test]
    fn all_are_decoded_if_all_are_wanted() {
        assert_eq!(taken(&mut economy(Decode::Auto, 0.0), 100, 10).len(), 100);
        assert_eq!(taken(&mut economy(Decode::Auto, 0.04), 100, 10).len(), 100);
    }

    #[test]
    fn frames_without_time_stamps_are_all_decoded() {
        let mut economy = economy(Decode::Auto, 1.0);
        assert!((0..100).all(|frame| economy.takes(None, frame % 10 == 0, false)));
    }
}
