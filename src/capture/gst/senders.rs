//! Limits each camera to one video stream with one packet sender.
//!
//! rtpbin gives every sender (SSRC; RFC 3550, 3) two threads and a pad, and rtspsrc crashes when two of these threads
//! add their pads at the same time (GStreamer 1.22). So all packets of a session get the SSRC of the first one: some
//! cameras change theirs at every key frame, and another sender in the session cannot be distinguished from the camera.
//! Packets on an RTP pad that are not RTP are dropped: rtpbin would take them for RTCP, which has its SSRC elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;

/// No sender yet; cannot collide, because an SSRC has 32 bits.
const NOBODY: u64 = u64::MAX;

/// Bytes of the shortest RTP packet; the last four are the SSRC (RFC 3550, 5.1).
const RTP_HEADER: usize = 12;

/// Bytes of an RTCP packet up to and including its SSRC, the last four (RFC 3550, 6.4 to 6.7).
const RTCP_HEADER: usize = 8;

/// Makes an `rtspsrc` play only the first video of the camera, and lets a single sender through to its `rtpbin`;
/// `arrive` is told the number of each of its packets.
pub(super) fn restrict(source: &gst::Element, arrive: impl Fn(u16) + Send + Sync + 'static) {
    let arrive = Arc::new(arrive);
    let choice = Mutex::<Choice>::default();
    source.connect("select-stream", false, move |arguments| {
        let number = arguments.get(1).and_then(|number| number.get::<u32>().ok());
        let caps = arguments.get(2).and_then(|caps| caps.get::<gst::Caps>().ok());
        let media = caps.as_ref().and_then(|caps| caps.structure(0)?.get::<String>("media").ok());
        let is_video = media.as_deref() == Some("video");
        let mut choice = choice.lock().unwrap_or_else(PoisonError::into_inner);
        let takes = number.is_some_and(|number| choice.takes(number, is_video));
        if is_video && !takes && !std::mem::replace(&mut choice.told, true) {
            let coding = caps.as_ref().and_then(|caps| caps.structure(0)?.get::<String>("encoding-name").ok());
            let coding = coding.as_deref().unwrap_or("unknown coding");
            tracing::info!("the camera offers several videos: the first one is played, not the next ({coding})");
        }
        Some(takes.to_value())
    });
    source.connect("new-manager", false, move |arguments| {
        let manager = arguments.get(1).and_then(|manager| manager.get::<gst::Element>().ok())?;
        // In addition to the packet filter: each of these streams is one sender.
        if manager.find_property("max-streams").is_some() {
            manager.set_property("max-streams", 1_u32);
        }
        let sender = Arc::new(AtomicU64::new(NOBODY));
        let arrive = Arc::clone(&arrive);
        manager.connect_pad_added(move |_, pad| {
            let (sender, arrive) = (Arc::clone(&sender), Arc::clone(&arrive));
            if pad.name().starts_with("recv_rtp_sink") {
                filter(pad, move |packet| take_rtp(packet, &sender).map(&*arrive).is_some());
            } else if pad.name().starts_with("recv_rtcp_sink") {
                filter(pad, move |packet| is_of_sender(packet, &sender));
            }
        });
        None
    });
    // Retransmitted packets have another SSRC.
    if source.find_property("do-retransmission").is_some() {
        source.set_property("do-retransmission", false);
    }
}

/// Selects which of a camera's streams is played. rtspsrc asks in the order of the camera's description, and starts
/// over when it tries another transport or follows a redirect.
#[derive(Debug, Default)]
struct Choice {
    asked: Option<u32>,
    has_video: bool,
    /// Whether the others have been told.
    told: bool,
}

impl Choice {
    fn takes(&mut self, number: u32, is_video: bool) -> bool {
        if self.asked.is_some_and(|last| number <= last) {
            self.has_video = false;
        }
        self.asked = Some(number);
        let takes = is_video && !self.has_video;
        self.has_video |= is_video;
        takes
    }
}

/// Lets only those packets through a pad for which `take` returns true.
fn filter(pad: &gst::Pad, take: impl Fn(&mut gst::Buffer) -> bool + Send + Sync + 'static) {
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
        let passes = match &mut info.data {
            Some(gst::PadProbeData::Buffer(packet)) => take(packet),
            Some(gst::PadProbeData::BufferList(list)) => {
                list.make_mut().foreach_mut(|mut packet, _| {
                    let passes = take(&mut packet);
                    std::ops::ControlFlow::Continue(Some(packet).filter(|_| passes))
                });
                true
            }
            _ => true,
        };
        super::result(passes)
    });
}

/// The first `N` bytes; `None` if there are fewer or if it is not version 2 of RTP or RTCP.
fn header<const N: usize>(packet: &gst::BufferRef) -> Option<[u8; N]> {
    let mut header = [0; N];
    // `copy_to_slice` panics if there are fewer.
    let is_whole = packet.size() >= N && packet.copy_to_slice(0, &mut header).is_ok();
    (is_whole && header[0] >> 6 == 2).then_some(header)
}

fn ssrc(header: &[u8]) -> u64 {
    header.last_chunk().map_or(NOBODY, |bytes| u32::from_be_bytes(*bytes).into())
}

/// Gives an RTP packet the SSRC of the first one and returns its number; `None` if it is not an RTP packet.
fn take_rtp(packet: &mut gst::Buffer, sender: &AtomicU64) -> Option<u16> {
    let header = header::<RTP_HEADER>(packet)?;
    // RTCP (RFC 5761, 4).
    if (192..=223).contains(&header[1]) {
        return None;
    }
    let (number, ssrc) = (u16::from_be_bytes([header[2], header[3]]), ssrc(&header));
    if let Err(first) = sender.compare_exchange(NOBODY, ssrc, Ordering::AcqRel, Ordering::Acquire)
        && first != ssrc
    {
        let mut bytes = packet.make_mut().map_writable().ok()?;
        let first = u32::try_from(first).unwrap_or_default().to_be_bytes();
        bytes[RTP_HEADER - first.len()..RTP_HEADER].copy_from_slice(&first);
    }
    Some(number)
}

/// Whether an RTCP packet comes from the sender of the first RTP packet.
fn is_of_sender(packet: &gst::BufferRef, sender: &AtomicU64) -> bool {
    header::<RTCP_HEADER>(packet).is_some_and(|header| ssrc(&header) == sender.load(Ordering::Acquire))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_first_video_is_played_at_each_attempt() {
        let mut choice = Choice::default();
        let description = [(0, false), (1, true), (2, true), (3, false)];
        for attempt in 0..3 {
            let taken = description.map(|(number, is_video)| choice.takes(number, is_video));
            assert_eq!(taken, [false, true, false, false], "attempt {attempt}");
        }
        assert!(choice.takes(1, true), "of a shorter description");
    }

    /// The output of a pad that is filtered with `take`, for a sequence of packets.
    fn filtered(
        packets: impl IntoIterator<Item = Vec<u8>>,
        take: impl Fn(&mut gst::Buffer) -> bool + Send + Sync + 'static,
    ) -> Vec<Vec<u8>> {
        super::super::init().unwrap();
        let (sender, passed) = crossbeam_channel::unbounded();
        let sink = gst::Pad::builder(gst::PadDirection::Sink)
            .chain_function(move |_, _, packet| {
                sender.send(packet.map_readable().unwrap().to_vec()).unwrap();
                Ok(gst::FlowSuccess::Ok)
            })
            .build();
        let source = gst::Pad::builder(gst::PadDirection::Src).build();
        filter(&sink, take);
        sink.set_active(true).unwrap();
        source.set_active(true).unwrap();
        source.link(&sink).unwrap();
        assert!(source.push_event(gst::event::StreamStart::new("test")));
        assert!(source.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new())));
        for packet in packets {
            source.push(gst::Buffer::from_slice(packet)).unwrap();
        }
        passed.try_iter().collect()
    }

    fn rtp(ssrc: u8) -> Vec<u8> {
        vec![0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, ssrc, 42]
    }

    fn rtcp(ssrc: u8) -> Vec<u8> {
        vec![0x80, 201, 0, 1, 0, 0, 0, ssrc]
    }

    #[test]
    fn all_packets_get_the_ssrc_of_the_first_one() {
        let sender = AtomicU64::new(NOBODY);
        let passed = filtered([7, 7, 8, 9, 7].map(rtp), move |packet| take_rtp(packet, &sender).is_some());
        assert_eq!(passed, vec![rtp(7); 5]);
    }

    #[test]
    fn what_is_no_rtp_does_not_pass_as_rtp() {
        let sender = Arc::new(AtomicU64::new(NOBODY));
        let short = (0..12).map(|length| rtp(7)[..length].to_vec());
        let other_version = std::iter::once(vec![0; 20]);
        let muxed = (192..=223).map(|kind| [&[0x90, kind][..], &rtp(7)[2..]].concat());
        let known = Arc::clone(&sender);
        let passed =
            filtered(short.chain(other_version).chain(muxed), move |packet| take_rtp(packet, &known).is_some());
        assert!(passed.is_empty(), "{passed:?}");
        assert_eq!(sender.load(Ordering::Acquire), NOBODY);
    }

    #[test]
    fn rtcp_passes_if_it_is_of_the_sender() {
        let packets = || (0..8).map(|length| rtcp(7)[..length].to_vec()).chain([rtcp(7), rtcp(8), vec![0; 8]]);
        for (sender, expected) in [(NOBODY, vec![]), (7, vec![rtcp(7)])] {
            let sender = AtomicU64::new(sender);
            assert_eq!(filtered(packets(), move |packet| is_of_sender(packet, &sender)), expected);
        }
    }
}
