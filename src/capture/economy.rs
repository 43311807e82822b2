//! Leaves out coded frames that nobody needs: those that no other refers to, all but key frames, or those between the last
//! wanted picture and the next key frame.

use super::rate::Rate;
use crate::choice::Decode;

/// By how much key frames may come later than pictures are wanted, in shares of the interval: cameras are not exact.
const SLACK: f64 = 0.1;
/// The distances of key frames that are remembered. The longest one counts: some encoders vary them.
const DISTANCES: usize = 4;

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
    /// Which pictures are wanted, of those that are decoded.
    rate: Rate,
    /// Time stamp of the latest key frame, in nanoseconds.
    key_ns: Option<u64>,
    /// Nanoseconds between the latest key frames, the latest last.
    between_keys_ns: Vec<u64>,
    /// Time stamp of the latest frame.
    last_ns: Option<u64>,
    /// The shortest time between two frames.
    between_frames_ns: Option<u64>,
    /// Time stamp of the latest wanted picture, until the decoder returns it: it may need frames after it to do so.
    awaited_ns: Option<u64>,
    /// What is decoded until the next key frame, of what is needed.
    now: Decode,
    /// Whether nothing is needed until the next key frame.
    is_done: bool,
}

impl Economy {
    /// Before the first frame.
    pub(super) fn new(needs: Needs) -> Self {
        let now = if needs.decode == Decode::Auto { Decode::All } else { needs.decode };
        Self {
            needs,
            rate: Rate::every(needs.interval_ns),
            key_ns: None,
            between_keys_ns: Vec::with_capacity(DISTANCES),
            last_ns: None,
            between_frames_ns: None,
            awaited_ns: None,
            now,
            is_done: false,
        }
    }

    /// Whether frames are looked at for what refers to them.
    pub(super) fn needs_references(&self) -> bool {
        match self.needs.decode {
            Decode::Reference => true,
            Decode::Auto => self.needs.interval_ns > 0,
            Decode::All | Decode::Key => false,
        }
    }

    /// Whether a frame is to be decoded, of which others could be. After frames have been left out that others refer to, none
    /// is taken until a key frame.
    pub(super) fn takes(&mut self, pts_ns: Option<u64>, is_key: bool, is_reference: bool) -> bool {
        self.follow(pts_ns, is_key);
        if is_key && self.needs.decode == Decode::Auto {
            self.now = self.choice();
            self.is_done = false;
        } else if self.awaited_ns.is_none() {
            self.is_done |= self.is_rest_unneeded();
        }
        let is_taken = !self.is_done
            && match self.now {
                Decode::All | Decode::Auto => true,
                Decode::Reference => is_key || is_reference,
                Decode::Key => is_key,
            };
        match pts_ns {
            Some(pts_ns) if is_taken && self.needs.decode == Decode::Auto && self.needs.interval_ns > 0 => {
                let is_wanted = self.rate.wants(pts_ns);
                if is_wanted {
                    self.awaited_ns = Some(pts_ns);
                }
                self.is_done = self.now == Decode::Key;
                // Other frames of the group may refer to this one unless it is the only one.
                is_wanted || self.now != Decode::Key
            }
            _ => is_taken,
        }
    }

    /// The decoder has returned the picture with this time stamp.
    pub(super) fn shows(&mut self, pts_ns: Option<u64>) {
        self.awaited_ns = self.awaited_ns.filter(|awaited| pts_ns.is_some_and(|pts| pts < *awaited));
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
            if self.between_keys_ns.len() == DISTANCES {
                self.between_keys_ns.remove(0);
            }
            match since(self.key_ns) {
                Some(distance) => self.between_keys_ns.push(distance),
                None => self.between_keys_ns.clear(),
            }
            self.key_ns = Some(pts);
        }
    }

    /// How far apart key frames are at most; `None` if that is not known. The first distance may be too short: many servers
    /// send a key frame of its own to each client.
    fn group_ns(&self) -> Option<u64> {
        self.between_keys_ns.iter().max().copied().filter(|_| self.between_keys_ns.len() > 1)
    }

    /// The cheapest choice that leaves enough pictures.
    fn choice(&self) -> Decode {
        let interval = self.needs.interval_ns as f64;
        let within = |time: Option<u64>, most: f64| time.is_some_and(|time| time as f64 <= most);
        if interval == 0.0 {
            Decode::All
        } else if within(self.group_ns(), interval * (1.0 + SLACK)) {
            Decode::Key
        } else if within(self.between_frames_ns, interval / 2.0 * (1.0 + SLACK)) {
            // There is another frame close by for each that is left out.
            Decode::Reference
        } else {
            Decode::All
        }
    }

    /// Whether the next picture that is wanted is the next key frame, or a later one.
    fn is_rest_unneeded(&self) -> bool {
        let next_key = self.key_ns.zip(self.group_ns()).map(|(key, group)| key.saturating_add(group));
        let slack = (self.needs.interval_ns as f64 * SLACK) as u64;
        next_key.zip(self.rate.due_ns()).is_some_and(|(key, due)| due.saturating_add(slack) >= key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Whether a frame of a video with 25 per second is taken, with a key frame every `group`, of whose others every second
    /// one is no reference.
    fn takes(economy: &mut Economy, frame: u64, group: u64) -> bool {
        let in_group = frame % group;
        takes_coded(economy, frame, in_group == 0, in_group.is_multiple_of(2))
    }

    /// Whether a frame is taken; the decoder returns it at once.
    fn takes_coded(economy: &mut Economy, frame: u64, is_key: bool, is_reference: bool) -> bool {
        let pts_ns = Some(frame * SECOND / 25);
        let is_taken = economy.takes(pts_ns, is_key, is_reference);
        if is_taken {
            economy.shows(pts_ns);
        }
        is_taken
    }

    /// The numbers of the frames taken of the first `count` of this video.
    fn taken(economy: &mut Economy, count: u64, group: u64) -> Vec<u64> {
        (0..count).filter(|frame| takes(economy, *frame, group)).collect()
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
        // One key frame a second, and one picture: known at the third key frame.
        let expected: Vec<u64> = (0..25).chain((25..50).step_by(2)).chain([50, 75, 100]).collect();
        assert_eq!(taken(&mut economy(Decode::Auto, 1.0), 110, 25), expected);
    }

    #[test]
    fn key_frames_that_come_more_often_than_pictures_are_wanted_are_left_out_too() {
        let mut economy = economy(Decode::Auto, 5.0);
        taken(&mut economy, 50, 10);
        let later: Vec<u64> = (50..520).filter(|frame| takes(&mut economy, *frame, 10)).collect();
        assert_eq!(later, [130, 250, 380, 500], "of pictures that are due at 125, 250, 375 and 500");
    }

    #[test]
    fn frames_without_reference_are_left_out_if_their_neighbours_are_enough() {
        let expected: Vec<u64> = (0..50).chain((50..100).step_by(2)).collect();
        assert_eq!(taken(&mut economy(Decode::Auto, 0.5), 100, 50), expected);
    }

    #[test]
    fn nothing_is_decoded_between_the_last_wanted_picture_and_the_next_key_frame() {
        let mut economy = economy(Decode::Auto, 0.5);
        let mut takes = |frame: &u64| takes_coded(&mut economy, *frame, frame.is_multiple_of(50), true);
        // Pictures are due at 100, 112.5, 125 and 137.5.
        let expected: Vec<u64> = (0..=138).chain(150..=188).collect();
        assert_eq!((0..200).filter(|frame| takes(frame)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_longest_of_the_latest_groups_counts() {
        let mut economy = economy(Decode::Auto, 0.5);
        // Groups of 50 frames, of which every third one ends early. Its successor begins when pictures are due.
        let is_key = |frame: u64| [0, 50, 100].contains(&(frame % 125));
        let mut takes = |frame: &u64| takes_coded(&mut economy, *frame, is_key(*frame), true);
        let left_out: Vec<u64> = (0..375).filter(|frame| !takes(frame)).collect();
        // The third key frame is the first one after which anything is known.
        let expected: Vec<u64> = (164..175).chain(214..225).chain(289..300).chain(339..350).collect();
        assert_eq!(left_out, expected);
    }

    #[test]
    fn a_picture_that_the_decoder_holds_back_gets_the_frames_that_it_waits_for() {
        let mut economy = economy(Decode::Auto, 0.5);
        // The decoder returns a picture when it has the next two.
        let mut takes = |frame: &u64| {
            let pts_ns = |frame: u64| frame * SECOND / 25;
            let is_taken = economy.takes(Some(pts_ns(*frame)), frame.is_multiple_of(50), true);
            if is_taken && *frame >= 2 {
                economy.shows(Some(pts_ns(frame - 2)));
            }
            is_taken
        };
        let expected: Vec<u64> = (0..=140).chain(150..=190).collect();
        assert_eq!((0..200).filter(|frame| takes(frame)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn times_that_jump_back_begin_anew() {
        let mut economy = economy(Decode::Auto, 1.0);
        taken(&mut economy, 1000, 25);
        assert_eq!(taken(&mut economy, 20, 25).len(), 10, "the distance of key frames is not known");
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
