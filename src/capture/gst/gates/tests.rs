#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

/// A pad with these caps and this configuration record.
fn pad(media: &str, record: &[u8]) -> gst::Pad {
    let pad = gst::Pad::new(gst::PadDirection::Src);
    pad.set_active(true).unwrap();
    let caps = gst::Caps::builder(media).field("codec_data", gst::Buffer::from_slice(record.to_vec())).build();
    pad.store_sticky_event(&gst::event::StreamStart::new("test")).unwrap();
    pad.store_sticky_event(&gst::event::Caps::new(&caps)).unwrap();
    pad
}

#[test]
fn a_configuration_record_that_is_too_short_for_its_length_byte_tells_no_length() {
    crate::capture::init().unwrap();
    for (media, is_h265, at) in [("video/x-h264", false, 4), ("video/x-h265", true, 21)] {
        for size in 0..=at {
            let units = units(&pad(media, &vec![0xff; size])).unwrap();
            assert_eq!((units.is_h265, units.length_bytes), (is_h265, 0), "{media}, {size} bytes");
        }
        for (byte, length) in [(0xfc, 1), (0xfd, 2), (0xff, 4)] {
            let units = units(&pad(media, &vec![byte; at + 1])).unwrap();
            assert_eq!(units.length_bytes, length, "{media}, {byte:#x}");
        }
    }
    assert!(units(&pad("video/x-vp8", &[1])).is_none());
}

#[test]
fn threads_are_limited_to_what_the_property_of_a_decoder_takes() {
    crate::capture::init().unwrap();
    let mut tried = 0;
    for (decoder, property) in [("vp8dec", "threads"), ("vp9dec", "threads"), ("avdec_h264", "max-threads")] {
        let Ok(decoder) = gst::ElementFactory::make(decoder).build() else { continue };
        tried += 1;
        for threads in [1, 2, 16, 17, 64, 0, u32::MAX] {
            set_threads(&decoder, threads);
            let set = decoder.property_value(property);
            let set = set.get::<u32>().ok().or_else(|| set.get::<i32>().ok()?.try_into().ok()).unwrap();
            let taken = threads.min(16);
            assert!(set == threads || set == taken.max(1) || threads == u32::MAX, "{threads}: {set}");
        }
    }
    assert!(tried > 0, "there is no such decoder");
}
