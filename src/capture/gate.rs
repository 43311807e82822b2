//! Decides which coded frames are decoded, and which decoded ones are classified: only pictures that the camera sent.
//!
//! A frame that refers to one that is missing decodes to a picture that never was. So frames are left out until a whole
//! key frame: at the beginning, after a loss, and if decoding is too slow, when all that wait up to the next key frame
//! are skipped together. Decoders mark only some damaged pictures; the numbers of the packets show each loss.
//!
//! [`Gate`] is told of packets, coded frames and pictures, with time passed in as an argument; it knows nothing of
//! GStreamer.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::economy::{Economy, Needs};

/// How far decoding may lag behind packets before frames are left out up to the next key frame.
const LATE: Duration = Duration::from_secs(1);
/// The same if all frames are key frames: leaving one out costs no other.
const LATE_INTRA: Duration = Duration::from_millis(200);
/// Frames that are remembered until they come out of the parser, which holds one or two.
const IN_PARSER: usize = 64;
/// Frames that a decoder may hold; more than any level of H.264 or H.265 allows (16) and a thread for each.
const HELD: usize = 64;
/// Packets whose arrival is remembered: seven seconds of 4K at 25 Mbit/s.
const ARRIVALS: usize = 1 << 14;

/// Why frames are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// There has been no key frame yet.
    BeforeKeyFrame,
    /// Packets are missing, or the decoder says that the picture is damaged.
    Damaged,
    /// Decoding is slower than the camera.
    Late,
    /// No picture of it is needed.
    NotNeeded,
}

/// Frames that were left out, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Before the first key frame of a connection, or of a file.
    pub before_key_frame: u64,
    /// With missing packets, or referring to a frame that has, or not decodable.
    pub damaged: u64,
    /// Skipped because decoding was slower than the camera.
    pub late: u64,
    /// Not decoded because fewer pictures are wanted (`max_fps`, `decode`).
    pub not_needed: u64,
}

impl std::ops::Add for LeftOut {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            before_key_frame: self.before_key_frame + other.before_key_frame,
            damaged: self.damaged + other.damaged,
            late: self.late + other.late,
            not_needed: self.not_needed + other.not_needed,
        }
    }
}

impl std::ops::Sub for LeftOut {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            before_key_frame: self.before_key_frame - earlier.before_key_frame,
            damaged: self.damaged - earlier.damaged,
            late: self.late - earlier.late,
            not_needed: self.not_needed - earlier.not_needed,
        }
    }
}

impl LeftOut {
    /// All of them.
    #[must_use]
    pub fn sum(self) -> u64 {
        self.lost() + self.not_needed
    }

    /// Those that were wanted.
    #[must_use]
    pub fn lost(self) -> u64 {
        self.before_key_frame + self.damaged + self.late
    }

    fn count(&mut self, reason: Reason) {
        *match reason {
            Reason::BeforeKeyFrame => &mut self.before_key_frame,
            Reason::Damaged => &mut self.damaged,
            Reason::Late => &mut self.late,
            Reason::NotNeeded => &mut self.not_needed,
        } += 1;
    }
}

/// A packet of a network camera, in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet {
    /// Its number.
    pub(super) number: u16,
    /// Time stamp of its frame, in nanoseconds.
    pub(super) pts: Option<u64>,
    /// Whether it is the last one of its frame, as far as its marker says.
    pub(super) ends: bool,
    /// Whether it may be the first one of its frame.
    pub(super) begins: bool,
}

/// A coded frame in front of the decoder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coded {
    /// Its time stamp, in nanoseconds.
    pub(super) pts: Option<u64>,
    /// Whether decoding can begin with it.
    pub(super) is_key: bool,
    /// Whether another frame may refer to it.
    pub(super) is_reference: bool,
    /// Whether data before it are missing, according to the demuxer. Packets say so themselves.
    pub(super) follows_gap: bool,
}

/// Follows one video from its packets to its pictures.
#[derive(Debug)]
pub(super) struct Gate {
    /// Why frames are left out at present; `None` if they pass.
    shut: Option<Reason>,
    counts: LeftOut,
    /// When packets arrived, in nanoseconds, by the lower bits of their numbers. Empty for files.
    arrived: Vec<u64>,
    /// The latest packet on its way to the decoder.
    last: Option<Packet>,
    /// How far decoding lags behind the packets.
    lag: Duration,
    /// Time stamps of the frames in the parser, in the order of their packets, and whether they lack some.
    in_parser: VecDeque<(u64, bool)>,
    /// Time stamp of the key frame after a gap: frames that follow it and are shown earlier refer to others before it.
    resumed_at: Option<u64>,
    last_was_key: bool,
    /// The key frame after the last gap, and why there was one. A decoder may keep frames before it for itself.
    last_gap: Option<(u64, Reason)>,
    /// Time stamps of the frames in the decoder, which gives them back in this order.
    held: BTreeSet<u64>,
    /// Whether pictures are left out until the one of [`Self::resumed_at`]: the decoder has marked one.
    is_suspect: bool,
    economy: Economy,
}

impl Gate {
    /// For packets of a network camera, or for a file; `needs` says which frames are decoded.
    pub(super) fn new(has_packets: bool, needs: Needs) -> Self {
        Self {
            shut: Some(Reason::BeforeKeyFrame),
            counts: LeftOut::default(),
            arrived: if has_packets { vec![0; ARRIVALS] } else { Vec::new() },
            last: None,
            lag: Duration::ZERO,
            in_parser: VecDeque::new(),
            resumed_at: None,
            last_was_key: false,
            last_gap: None,
            held: BTreeSet::new(),
            is_suspect: false,
            economy: Economy::new(needs),
        }
    }

    /// Whether [`Coded::is_reference`] matters.
    pub(super) fn needs_references(&self) -> bool {
        self.economy.needs_references()
    }

    /// What has been left out so far.
    pub(super) fn counts(&self) -> LeftOut {
        self.counts
    }

    /// Counts a frame that is left out before it comes to a decoder.
    pub(super) fn leave_out(&mut self, reason: Reason) {
        self.counts.count(reason);
    }

    /// Whether frames are left out until a key frame.
    pub(super) fn is_shut(&self) -> bool {
        self.shut.is_some()
    }

    /// A packet has arrived, before it is put in order.
    pub(super) fn arrive(&mut self, number: u16, now_ns: u64) {
        if let Some(arrived) = self.arrived.get_mut(usize::from(number) % ARRIVALS) {
            *arrived = now_ns;
        }
    }

    /// A packet leaves for the decoder, `overdue` by its time stamp: beyond the time that packets are held to put them in
    /// order, which is `latency`. What both clocks say counts: a camera may send faster than it says, or count hours.
    pub(super) fn pass_on(&mut self, packet: Packet, now_ns: u64, latency: Duration, overdue: Duration) {
        let arrived = self.arrived.get(usize::from(packet.number) % ARRIVALS).copied().unwrap_or(now_ns);
        let held = Duration::from_nanos(now_ns.saturating_sub(arrived));
        self.lag = held.saturating_sub(latency).min(overdue);
        let is_next = self.last.is_some_and(|last| last.number.wrapping_add(1) == packet.number);
        if let Some(last) = self.last.filter(|_| !is_next) {
            self.shut.get_or_insert(Reason::Damaged);
            if let Some((_, is_torn)) = self.in_parser.back_mut() {
                *is_torn |= !last.ends;
            }
        }
        let is_torn = !is_next && !packet.begins;
        match (packet.pts, self.in_parser.back_mut()) {
            (Some(pts), Some((last, was_torn))) if *last == pts => *was_torn |= is_torn || !is_next,
            (Some(pts), _) => self.in_parser.push_back((pts, is_torn)),
            (None, _) => {}
        }
        if self.in_parser.len() > IN_PARSER {
            self.in_parser.pop_front();
        }
        self.last = Some(packet);
    }

    /// Takes a frame out of the parser; whether it lacks packets. Those before it that do, and never came out, are
    /// counted.
    fn parsed(&mut self, pts: Option<u64>) -> bool {
        let Some(place) = self.in_parser.iter().position(|(known, _)| Some(*known) == pts) else { return false };
        let lost = self.in_parser.drain(..place).filter(|(_, is_torn)| *is_torn).count();
        self.counts.damaged += lost as u64;
        self.in_parser.pop_front().is_some_and(|(_, is_torn)| is_torn)
    }

    /// Whether a coded frame may be decoded; it is counted if not.
    pub(super) fn decodes(&mut self, frame: Coded) -> bool {
        let is_torn = self.parsed(frame.pts);
        let is_intra = frame.is_key && self.last_was_key;
        self.last_was_key = frame.is_key;
        let is_late = self.lag > if is_intra { LATE_INTRA } else { LATE };
        if is_late {
            self.shut.get_or_insert(Reason::Late);
        }
        if frame.follows_gap && !frame.is_key || is_torn {
            self.shut.get_or_insert(Reason::Damaged);
        }
        let reason = match self.shut {
            Some(reason) if frame.is_key && !is_torn && !is_late => {
                self.shut = None;
                self.resumed_at = frame.pts;
                self.last_gap = frame.pts.map(|pts| (pts, reason));
                None
            }
            Some(reason) => Some(reason),
            None if frame.is_key => {
                self.resumed_at = self.resumed_at.filter(|_| self.is_suspect);
                None
            }
            // Shown before the key frame, and coded after it.
            None => self.resumed_at.zip(frame.pts).and_then(|(key, pts)| (pts < key).then_some(Reason::BeforeKeyFrame)),
        };
        let mut is_needed = || self.economy.takes(frame.pts, frame.is_key, frame.is_reference);
        if let Some(reason) = reason.or_else(|| if is_needed() { None } else { Some(Reason::NotNeeded) }) {
            self.counts.count(reason);
            return false;
        }
        self.held.extend(frame.pts);
        if self.held.len() > HELD
            && let Some(first) = self.held.pop_first()
        {
            self.lose(first);
        }
        true
    }

    /// Counts a frame that the decoder has not returned.
    fn lose(&mut self, pts: u64) {
        let reason = self.last_gap.filter(|(key, _)| pts < *key).map_or(Reason::Damaged, |(_, reason)| reason);
        self.counts.count(reason);
    }

    /// Whether a picture may be classified; it is counted if not, and so are those that the decoder has not returned.
    pub(super) fn shows(&mut self, pts: Option<u64>, is_damaged: bool) -> bool {
        self.economy.shows(pts);
        if let Some(pts) = pts.filter(|pts| self.held.contains(pts)) {
            while let Some(first) = self.held.pop_first().filter(|first| *first < pts) {
                self.lose(first);
            }
        }
        if is_damaged {
            self.shut.get_or_insert(Reason::Damaged);
            self.resumed_at = None;
            self.is_suspect = true;
        }
        let has_resumed = self.shut.is_none() && self.resumed_at.is_none_or(|key| pts.is_some_and(|pts| pts >= key));
        self.is_suspect &= !has_resumed;
        if self.is_suspect {
            self.counts.count(Reason::Damaged);
        }
        !self.is_suspect
    }
}

/// How a video is coded in packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    /// RFC 6184.
    H264,
    /// RFC 7798.
    H265,
    /// RFC 2435.
    Jpeg,
    /// Any other.
    Other,
}

impl Payload {
    /// By the `encoding-name` of its description.
    pub(super) fn of(encoding: &str) -> Self {
        match encoding {
            "H264" => Self::H264,
            "H265" => Self::H265,
            "JPEG" => Self::Jpeg,
            _ => Self::Other,
        }
    }

    /// Whether a packet may be the first one of its frame: not so if it continues a fragment, or if its slice begins
    /// elsewhere than at the top left. True if it cannot be told.
    pub(super) fn begins(self, payload: &[u8]) -> bool {
        match (self, payload) {
            (Self::H264, [first, rest @ ..]) => match (first & 31, rest) {
                // STAP-A: a size, then a unit.
                (24, [_, _, unit, data @ ..]) => begins_h264(unit & 31, data),
                // FU-A and FU-B.
                (28 | 29, [header, data @ ..]) => header & 0x80 != 0 && begins_h264(header & 31, data),
                (kind, data) => begins_h264(kind, data),
            },
            (Self::H265, [first, _, rest @ ..]) => match (first >> 1 & 63, rest) {
                // Aggregation: a size, then a unit.
                (48, [_, _, unit, _, data @ ..]) => begins_h265(unit >> 1 & 63, data),
                // Fragment.
                (49, [header, data @ ..]) => header & 0x80 != 0 && begins_h265(header & 63, data),
                (kind, data) => begins_h265(kind, data),
            },
            // A type, then the position of the fragment.
            (Self::Jpeg, [_, fragment @ ..]) => fragment.starts_with(&[0; 3]),
            _ => true,
        }
    }
}

/// Slices begin with `first_mb_in_slice`, of which 0 is coded as one bit that is set (ITU-T H.264, 7.3.3).
fn begins_h264(kind: u8, data: &[u8]) -> bool {
    !matches!(kind, 1..=5) || data.first().is_some_and(|byte| byte & 0x80 != 0)
}

/// Slices, the types below 32, begin with `first_slice_segment_in_pic_flag` (ITU-T H.265, 7.3.6.1); 36, 37 and 40 follow
/// the slices of a frame.
fn begins_h265(kind: u8, data: &[u8]) -> bool {
    match kind {
        0..=31 => data.first().is_some_and(|byte| byte & 0x80 != 0),
        36 | 37 | 40 => false,
        _ => true,
    }
}
