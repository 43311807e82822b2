use super::*;
use crate::choice::Decode;

/// Every frame is needed.
const ALL: Needs = Needs { decode: Decode::All, interval_ns: 0 };

const MS: u64 = 1_000_000;
const LATENCY: Duration = Duration::from_millis(200);

/// A camera of one packet per frame, 100 ms apart, whose decoder answers at once.
struct World {
    gate: Gate,
    number: u16,
}

impl World {
    fn new() -> Self {
        Self { gate: Gate::new(true, ALL), number: 65_530 }
    }

    /// The packets of frame `index` leave for the decoder, `lag` after they are due.
    fn packet(&mut self, index: u64, begins: bool, ends: bool, lag: Duration) {
        let now_ns = index * 100 * MS;
        self.gate.arrive(self.number, now_ns);
        let packet = Packet { number: self.number, pts: Some(index * 100 * MS), ends, begins };
        let now_ns = now_ns + u64::try_from((LATENCY + lag).as_nanos()).unwrap_or_default();
        self.gate.pass_on(packet, now_ns, LATENCY, lag);
        self.number = self.number.wrapping_add(1);
    }

    fn decodes(&mut self, index: u64, is_key: bool) -> bool {
        self.gate.decodes(Coded { pts: Some(index * 100 * MS), is_key, is_reference: true, follows_gap: false })
    }

    /// A whole frame; whether its picture is classified.
    fn frame(&mut self, index: u64, is_key: bool) -> bool {
        self.late_frame(index, is_key, Duration::ZERO)
    }

    fn late_frame(&mut self, index: u64, is_key: bool, lag: Duration) -> bool {
        self.packet(index, true, true, lag);
        self.decodes(index, is_key) && self.gate.shows(Some(index * 100 * MS), false)
    }

    fn lose_packet(&mut self) {
        self.number = self.number.wrapping_add(1);
    }
}

fn left_out(before_key_frame: u64, damaged: u64, late: u64) -> LeftOut {
    LeftOut { before_key_frame, damaged, late, not_needed: 0 }
}

#[test]
fn frames_that_are_not_needed_are_counted_apart_and_cost_no_others() {
    let mut gate = Gate::new(false, Needs { decode: Decode::Key, interval_ns: 0 });
    let mut decodes = |index: u64, is_key| {
        let pts = Some(index * 40 * MS);
        let passes = gate.decodes(Coded { pts, is_key, is_reference: true, follows_gap: false });
        passes && gate.shows(pts, false)
    };
    let decoded: Vec<u64> = (0..30).filter(|index| decodes(*index, index % 10 == 0)).collect();
    assert_eq!(decoded, [0, 10, 20]);
    assert!(!gate.is_shut());
    assert_eq!((gate.counts().not_needed, gate.counts().lost()), (27, 0));
}

#[test]
fn nothing_is_decoded_before_the_first_key_frame() {
    let mut world = World::new();
    let shown = (0..20).map(|index| world.frame(index, index % 8 == 5)).collect::<Vec<bool>>();
    assert_eq!(shown, [vec![false; 5], vec![true; 15]].concat());
    assert_eq!(world.gate.counts(), left_out(5, 0, 0));
}

#[test]
fn a_key_frame_whose_beginning_was_missed_is_none() {
    let mut world = World::new();
    world.packet(0, false, true, Duration::ZERO);
    assert!(!world.decodes(0, true));
    assert!(!world.frame(1, false));
    assert!(world.frame(2, true));
}

#[test]
fn after_a_loss_nothing_passes_until_the_next_whole_key_frame() {
    let mut world = World::new();
    assert!(world.frame(0, true) && world.frame(1, false));
    world.lose_packet();
    assert!(!world.frame(2, false) && !world.frame(3, false));
    assert!(world.frame(4, true) && world.frame(5, false));
    assert_eq!(world.gate.counts(), left_out(0, 2, 0));
}

#[test]
fn a_key_frame_that_lacks_packets_opens_nothing() {
    for (begins, ends) in [(true, false), (false, true)] {
        let mut world = World::new();
        assert!(world.frame(0, true));
        // The loss is at the end of the key frame, or at its beginning.
        if ends {
            world.lose_packet();
            world.packet(1, begins, ends, Duration::ZERO);
        } else {
            world.packet(1, begins, ends, Duration::ZERO);
            world.lose_packet();
            world.packet(2, true, true, Duration::ZERO);
        }
        assert!(!world.decodes(1, true), "{begins}");
        assert!(!world.frame(3, false));
        assert!(world.frame(4, true));
    }
}

#[test]
fn a_key_frame_right_behind_a_loss_is_whole() {
    let mut world = World::new();
    assert!(world.frame(0, true));
    world.lose_packet();
    assert!(world.frame(1, true), "the frame before it ended, and it begins at its beginning");
}

#[test]
fn pictures_shown_before_the_key_frame_after_a_gap_refer_to_others_before_it() {
    let mut world = World::new();
    // In the order of decoding: frames 4 and 5 are shown before the key frame, 6.
    for index in [3, 6, 4, 5, 7, 12, 10, 13] {
        world.packet(index, true, true, Duration::ZERO);
        let is_key = [6, 12].contains(&index);
        let passes = world.decodes(index, is_key);
        assert_eq!(passes, ![3, 4, 5].contains(&index), "{index}");
    }
    assert_eq!(world.gate.counts(), left_out(3, 0, 0));
}

#[test]
fn a_decoder_that_cannot_keep_up_skips_to_the_next_key_frame() {
    let mut world = World::new();
    let lag = |ms: u64| Duration::from_millis(ms);
    assert!(world.late_frame(0, true, lag(0)) && world.late_frame(1, false, lag(900)));
    assert!(!world.late_frame(2, false, lag(1100)), "it is late");
    assert!(!world.late_frame(3, false, lag(0)), "it refers to the one that was skipped");
    assert!(!world.late_frame(4, true, lag(1200)), "a key frame that is late itself");
    assert!(world.late_frame(5, true, lag(0)) && world.late_frame(6, false, lag(0)));
    assert_eq!(world.gate.counts(), left_out(0, 0, 3));
}

#[test]
fn key_frames_alone_are_skipped_early_and_one_by_one() {
    let mut world = World::new();
    let shown = [0, 100, 300, 100, 300].map(|ms| world.late_frame(ms, true, Duration::from_millis(ms)));
    assert_eq!(shown, [true, true, false, true, false]);
    assert_eq!(world.gate.counts(), left_out(0, 0, 2));
}

#[test]
fn only_what_both_clocks_call_late_is_late() {
    let mut gate = Gate::new(true, ALL);
    let key = Coded { pts: None, is_key: true, is_reference: true, follows_gap: false };
    let packet = Packet { number: 0, pts: None, ends: true, begins: true };
    gate.arrive(0, 0);
    // A camera that counts hours; then one that sends ahead of its time stamps.
    gate.pass_on(packet, 200 * MS, LATENCY, Duration::from_secs(3600));
    assert!(gate.decodes(key));
    gate.pass_on(Packet { number: 1, ..packet }, 9000 * MS, LATENCY, Duration::ZERO);
    assert!(gate.decodes(key));
}

#[test]
fn what_a_decoder_marks_is_left_out_with_all_that_follows_up_to_the_next_key_frame() {
    let mut world = World::new();
    let mut shown = Vec::new();
    // The decoder holds two frames.
    for index in 0..12 {
        world.packet(index, true, true, Duration::ZERO);
        world.decodes(index, index % 6 == 0);
        if let Some(picture) = index.checked_sub(2) {
            shown.push(world.gate.shows(Some(picture * 100 * MS), picture == 2));
        }
    }
    // 3 and 4 had been decoded when 2 came out; 5 was not decoded, and never comes out.
    assert_eq!(shown, [true, true, false, false, false, false, true, true, true, true]);
    let counts = world.gate.counts();
    assert_eq!((counts.before_key_frame, counts.late), (0, 0));
}

#[test]
fn what_a_decoder_never_returns_is_counted() {
    let mut world = World::new();
    for index in 0..150 {
        world.packet(index, true, true, Duration::ZERO);
        assert!(world.decodes(index, true));
        if index % 2 == 1 {
            assert!(world.gate.shows(Some(index * 100 * MS), false));
        }
    }
    assert_eq!(world.gate.counts(), left_out(0, 75, 0));
    for index in 150..350 {
        world.packet(index, true, true, Duration::ZERO);
        assert!(world.decodes(index, true));
    }
    assert_eq!(world.gate.counts(), left_out(0, 75 + 200 - HELD as u64, 0), "also if it returns none at all");
}

#[test]
fn a_gap_in_a_file_is_one_for_what_follows_it() {
    let mut gate = Gate::new(false, ALL);
    let mut decodes = |is_key, follows_gap| gate.decodes(Coded { pts: None, is_key, is_reference: true, follows_gap });
    assert!(decodes(true, true) && decodes(false, false));
    assert!(!decodes(false, true) && !decodes(false, false));
    assert!(decodes(true, true));
}

#[test]
fn the_first_packet_of_a_frame_is_told_from_the_others() {
    for (payload, bytes, begins) in [
        // Parameter sets, delimiters; slices with first_mb_in_slice 0 and 1.
        (Payload::H264, &[0x67, 0x42][..], true),
        (Payload::H264, &[0x09, 0xf0], true),
        (Payload::H264, &[0x65, 0x88], true),
        (Payload::H264, &[0x41, 0x42], false),
        // An aggregate of a parameter set; a fragment's beginning and its rest.
        (Payload::H264, &[0x78, 0, 9, 0x67, 0x42], true),
        (Payload::H264, &[0x78, 0, 9, 0x41, 0x42], false),
        (Payload::H264, &[0x7c, 0x85, 0x88], true),
        (Payload::H264, &[0x7c, 0x05, 0x88], false),
        (Payload::H264, &[0x7c, 0x85, 0x42], false),
        (Payload::H264, &[0x7c], true),
        // A video parameter set, two slices, an aggregate, a fragment and its rest, a suffix.
        (Payload::H265, &[0x40, 1, 0x0c], true),
        (Payload::H265, &[0x26, 1, 0xaf], true),
        (Payload::H265, &[0x02, 1, 0x40], false),
        (Payload::H265, &[0x60, 1, 0, 9, 0x40, 1, 0x0c], true),
        (Payload::H265, &[0x62, 1, 0x93, 0xaf], true),
        (Payload::H265, &[0x62, 1, 0x13, 0xaf], false),
        (Payload::H265, &[0x50, 1, 0x80], false),
        (Payload::Jpeg, &[0, 0, 0, 0, 1, 80], true),
        (Payload::Jpeg, &[0, 0, 5, 0x78, 1, 80], false),
        (Payload::Jpeg, &[0], false),
        (Payload::Other, &[0x10], true),
        (Payload::H264, &[], true),
    ] {
        assert_eq!(payload.begins(bytes), begins, "{payload:?} {bytes:02x?}");
    }
}
