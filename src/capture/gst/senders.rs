//! One stream of video from each camera, with one sender of packets.
//!
//! rtpbin gives every sender (SSRC; RFC 3550, 3) two threads and a pad, and rtspsrc crashes when two of these threads add
//! their pads at the same time (GStreamer 1.22). So the first sender of RTP packets is the camera, and whatever others
//! send is dropped before rtpbin. If a camera changes its SSRC, its stream stalls, and is opened again after
//! `stall_timeout_s`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;

/// No sender yet: an SSRC has 32 bits.
const NOBODY: u64 = u64::MAX;

/// Where the packets' SSRC stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// RFC 3550, 5.1: who sends first is the camera.
    Rtp,
    /// RFC 3550, 6.4 to 6.7: of the first packet of a compound.
    Rtcp,
}

/// Has an `rtspsrc` play the first video of the camera, and nothing else, and lets one sender through to its `rtpbin`.
pub(super) fn restrict(source: &gst::Element) {
    let choice = Mutex::<Choice>::default();
    source.connect("select-stream", false, move |arguments| {
        let number = arguments.get(1).and_then(|number| number.get::<u32>().ok());
        let caps = arguments.get(2).and_then(|caps| caps.get::<gst::Caps>().ok());
        let media = caps.as_ref().and_then(|caps| caps.structure(0)?.get::<String>("media").ok());
        let is_video = media.as_deref() == Some("video");
        let mut choice = choice.lock().unwrap_or_else(PoisonError::into_inner);
        Some(number.is_some_and(|number| choice.takes(number, is_video)).to_value())
    });
    source.connect("new-manager", false, |arguments| {
        let manager = arguments.get(1).and_then(|manager| manager.get::<gst::Element>().ok())?;
        let sender = Arc::new(AtomicU64::new(NOBODY));
        manager.connect_pad_added(move |_, pad| {
            let protocol = match pad.name() {
                name if name.starts_with("recv_rtp_sink") => Protocol::Rtp,
                name if name.starts_with("recv_rtcp_sink") => Protocol::Rtcp,
                _ => return,
            };
            filter(pad, protocol, Arc::clone(&sender));
        });
        None
    });
}

/// Which of a camera's streams is played. rtspsrc asks in the order of the camera's description, and once more from the
/// beginning when it tries another transport or follows a redirect.
#[derive(Debug, Default)]
struct Choice {
    asked: Option<u32>,
    has_video: bool,
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

fn filter(pad: &gst::Pad, protocol: Protocol, sender: Arc<AtomicU64>) {
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
        let is_right = |buffer: &gst::BufferRef| {
            let mut head = [0; 12];
            let length = buffer.copy_to_slice(0, &mut head).map_or_else(|copied| copied, |()| head.len());
            is_wanted(&head[..length], protocol, &sender)
        };
        let passes = match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => is_right(buffer),
            Some(gst::PadProbeData::BufferList(list)) => {
                list.make_mut().foreach_mut(|buffer, _| {
                    let passes = is_right(&buffer);
                    std::ops::ControlFlow::Continue(Some(buffer).filter(|_| passes))
                });
                true
            }
            _ => true,
        };
        // Not `Drop`: the bindings take the buffer, and GStreamer then complains of there being none.
        if passes { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Handled }
    });
}

/// Whether a packet that begins with `head` comes from the camera.
fn is_wanted(head: &[u8], protocol: Protocol, sender: &AtomicU64) -> bool {
    let at = if protocol == Protocol::Rtp { 8 } else { 4 };
    let Some(ssrc) = head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()) else { return false };
    // Version 2, in both.
    if head[0] >> 6 != 2 {
        return false;
    }
    let ssrc = u64::from(u32::from_be_bytes(ssrc));
    let known = match protocol {
        Protocol::Rtp => {
            sender.compare_exchange(NOBODY, ssrc, Ordering::AcqRel, Ordering::Acquire).unwrap_or_else(|it| it)
        }
        Protocol::Rtcp => sender.load(Ordering::Acquire),
    };
    known == ssrc || (known == NOBODY && protocol == Protocol::Rtp)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn the_first_sender_of_rtp_is_the_only_one() {
        let sender = AtomicU64::new(NOBODY);
        let rtp = |ssrc: u8| [0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, ssrc];
        let rtcp = |ssrc: u8| [0x80, 200, 0, 6, 0, 0, 0, ssrc, 0, 0, 0, 0];
        assert!(!is_wanted(&rtcp(7), Protocol::Rtcp, &sender), "no sender is known yet");
        assert!(!is_wanted(&rtp(7)[..11], Protocol::Rtp, &sender), "too short");
        assert!(!is_wanted(&[0; 12], Protocol::Rtp, &sender), "of another version");
        assert!(is_wanted(&rtp(7), Protocol::Rtp, &sender));
        assert!(is_wanted(&rtp(7), Protocol::Rtp, &sender) && is_wanted(&rtcp(7)[..8], Protocol::Rtcp, &sender));
        assert!(!is_wanted(&rtp(8), Protocol::Rtp, &sender) && !is_wanted(&rtcp(8), Protocol::Rtcp, &sender));
    }
}
