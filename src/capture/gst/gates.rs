//! Connects [`Gate`]s to a pipeline: to the packets of its `rtspsrc` and to its video decoders.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib::{ParamFlags, ParamSpecInt, ParamSpecUInt};
use gstreamer::prelude::*;

use super::{result, senders};
use crate::capture::economy::Needs;
use crate::capture::gate::{Coded, Gate, Packet, Payload};
use crate::capture::nal::Units;
use crate::capture::player::Activity;
use crate::capture::rate::Rate;
use crate::capture::scheme::Decoding;
use crate::frame::monotonic_ns;

/// Bytes of an RTP packet that tell what it holds: the header with 15 further senders, and the beginning of the payload.
const BEGINNING: usize = 12 + 15 * 4 + 8;

/// Leaves out frames that refer to missing ones, in a pipeline that has not been started.
pub(super) fn attach(
    pipeline: &gst::Pipeline,
    camera: Option<&gst::Element>,
    decoding: &Decoding,
    activity: &Arc<Activity>,
) {
    let Decoding { decode, threads, .. } = *decoding;
    let needs = Needs { decode, interval_ns: Rate::of(decoding).interval_ns() };
    let of_camera = camera.map(|source| {
        let gate = activity.add_gate(Gate::new(true, needs));
        let arrived = Arc::clone(&gate);
        senders::restrict(source, move |number| Activity::lock(&arrived).arrive(number, monotonic_ns()));
        follow_packets(source, &gate);
        gate
    });
    let activity = Arc::clone(activity);
    pipeline.connect_deep_element_added(move |_, _, element| {
        let class = element.factory().map(|factory| factory.metadata("klass").unwrap_or_default().to_owned());
        let is_decoder = class
            .is_some_and(|class| class.contains("Decoder") && (class.contains("Video") || class.contains("Image")));
        let (Some(coded), Some(pictures)) = (element.static_pad("sink"), element.static_pad("src")) else { return };
        if is_decoder {
            set_threads(element, threads);
            let gate = of_camera.clone().unwrap_or_else(|| activity.add_gate(Gate::new(false, needs)));
            guard_decoder(&coded, &pictures, gate, of_camera.is_some(), &activity);
        }
    });
}

/// Sets the number of threads of a software decoder, by the name of the property that it has.
fn set_threads(decoder: &gst::Element, threads: u32) {
    for name in ["max-threads", "n-threads", "threads"] {
        let property = decoder.find_property(name).filter(|property| property.flags().contains(ParamFlags::WRITABLE));
        let Some(property) = property else { continue };
        // A number outside the range of the property would be a panic.
        if let Some(range) = property.downcast_ref::<ParamSpecUInt>() {
            decoder.set_property(name, threads.max(range.minimum()).min(range.maximum()));
        } else if let Some(range) = property.downcast_ref::<ParamSpecInt>() {
            let threads = i32::try_from(threads).unwrap_or(i32::MAX);
            decoder.set_property(name, threads.max(range.minimum()).min(range.maximum()));
        }
    }
}

/// Leaves out pictures that are not wanted, before they are converted.
pub(super) fn attach_rate(pipeline: &gst::Pipeline, decoding: &Decoding, activity: &Arc<Activity>) {
    let rate = Rate::of(decoding);
    let pad = pipeline.by_name("convert").and_then(|convert| convert.static_pad("sink"));
    let Some(pad) = pad.filter(|_| !rate.is_unlimited()) else { return };
    let (rate, activity) = (Mutex::new(rate), Arc::clone(activity));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &info.data else { return gst::PadProbeReturn::Ok };
        let now_ns = monotonic_ns();
        let is_wanted = Activity::lock(&rate).wants(buffer.pts().map_or(now_ns, gst::ClockTime::nseconds));
        if !is_wanted {
            activity.frame_left_out(now_ns);
        }
        result(is_wanted)
    });
}

/// How the coded frames of a pad are divided into units; `None` if nothing is known of what they refer to.
fn units(pad: &gst::Pad) -> Option<Units> {
    let caps = pad.current_caps()?;
    let structure = caps.structure(0)?;
    let is_h265 = match structure.name().as_str() {
        "video/x-h264" => false,
        "video/x-h265" => true,
        _ => return None,
    };
    // The length of a length is in a byte of the configuration record (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1).
    let record = structure.get::<gst::Buffer>("codec_data").ok();
    let length = |record: gst::Buffer| {
        let (at, mut byte) = (if is_h265 { 21 } else { 4 }, [0]);
        // Asking for bytes beyond the end panics.
        Some(()).filter(|()| record.size() > at)?;
        record.copy_to_slice(at, &mut byte).ok()?;
        Some(usize::from(byte[0] & 3) + 1)
    };
    Some(Units { is_h265, length_bytes: record.and_then(length).unwrap_or(0) })
}

/// Leaves out coded frames in front of a decoder, and pictures behind it.
fn guard_decoder(
    coded: &gst::Pad,
    pictures: &gst::Pad,
    gate: Arc<Mutex<Gate>>,
    has_packets: bool,
    activity: &Arc<Activity>,
) {
    let (behind, activity) = (Arc::clone(&gate), Arc::clone(activity));
    let needs_references = Activity::lock(&gate).needs_references();
    let is_reference = move |pad: &gst::Pad, buffer: &gst::BufferRef| {
        let Some(units) = Some(pad).filter(|_| needs_references).and_then(units) else { return true };
        buffer.map_readable().is_ok_and(|data| units.is_reference(&data))
    };
    coded.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &info.data else { return gst::PadProbeReturn::Ok };
        let has = |flag| buffer.flags().contains(flag);
        let frame = Coded {
            pts: buffer.pts().map(gst::ClockTime::nseconds),
            is_key: !has(gst::BufferFlags::DELTA_UNIT) || !has_packets && !marks_key_frames(pad),
            is_reference: is_reference(pad, buffer),
            follows_gap: !has_packets && has(gst::BufferFlags::DISCONT),
        };
        let mut gate = Activity::lock(&gate);
        let passes = gate.decodes(frame);
        activity.frame_coded(monotonic_ns(), passes, gate.is_shut());
        result(passes)
    });
    pictures.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &info.data else { return gst::PadProbeReturn::Ok };
        let is_damaged = buffer.flags().contains(gst::BufferFlags::CORRUPTED);
        result(Activity::lock(&behind).shows(buffer.pts().map(gst::ClockTime::nseconds), is_damaged))
    });
}

/// Whether the frames of a file are marked reliably: by a parser, which these two always have.
fn marks_key_frames(pad: &gst::Pad) -> bool {
    let caps = pad.current_caps();
    let name = caps.as_ref().and_then(|caps| Some(caps.structure(0)?.name().as_str()));
    matches!(name, Some("video/x-h264" | "video/x-h265"))
}

/// Tells a gate of the packets of an `rtspsrc`, as they leave it.
fn follow_packets(source: &gst::Element, gate: &Arc<Mutex<Gate>>) {
    let latency = Duration::from_millis(source.property::<u32>("latency").into());
    let gate = Arc::clone(gate);
    source.connect_pad_added(move |source, pad| {
        let (source, gate) = (source.downgrade(), Arc::clone(&gate));
        let mut payload = None;
        let follow = move |pad: &gst::Pad, buffer: &gst::BufferRef| {
            let payload = *payload.get_or_insert_with(|| coding(pad));
            let Some(packet) = packet(buffer, payload) else { return };
            let overdue = source.upgrade().and_then(|source| overdue(&source, pad, buffer.pts()?));
            let overdue = overdue.map_or(Duration::MAX, |overdue| overdue.saturating_sub(latency));
            Activity::lock(&gate).pass_on(packet, monotonic_ns(), latency, overdue);
        };
        let follow = Mutex::new(follow);
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |pad, info| {
            let mut follow = Activity::lock(&follow);
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => follow(pad, buffer),
                Some(gst::PadProbeData::BufferList(list)) => list.iter().for_each(|buffer| follow(pad, buffer)),
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
    });
}

fn coding(pad: &gst::Pad) -> Payload {
    let caps = pad.current_caps();
    let name = caps.as_ref().and_then(|caps| caps.structure(0)?.get::<&str>("encoding-name").ok());
    Payload::of(name.unwrap_or_default())
}

/// Time since a packet's time stamp; `None` if it cannot be told.
fn overdue(source: &gst::Element, pad: &gst::Pad, pts: gst::ClockTime) -> Option<Duration> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let due = source.base_time()? + segment.segment().downcast_ref::<gst::ClockTime>()?.to_running_time(pts)?;
    Some(Duration::from_nanos(source.clock()?.time().saturating_sub(due).nseconds()))
}

/// Reads the header of an RTP packet (RFC 3550, 5.1 and 5.3.1); `None` if it is none.
fn packet(buffer: &gst::BufferRef, payload: Payload) -> Option<Packet> {
    let mut bytes = [0; BEGINNING];
    let length = buffer.size().min(BEGINNING);
    buffer.copy_to_slice(0, &mut bytes[..length]).ok()?;
    let bytes = &bytes[..length];
    let [first, second, high, low, ..] = *bytes else { return None };
    let mut start = 12 + 4 * usize::from(first & 15);
    let mut beginning = [0; 8];
    if first & 0x10 != 0 {
        let words = bytes.get(start + 2..start + 4)?;
        start += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    let there = buffer.size().saturating_sub(start).min(beginning.len());
    // Asking for bytes beyond the end panics.
    if there > 0 {
        buffer.copy_to_slice(start, &mut beginning[..there]).ok()?;
    }
    Some(Packet {
        number: u16::from_be_bytes([high, low]),
        pts: buffer.pts().map(gst::ClockTime::nseconds),
        ends: second & 0x80 != 0,
        begins: payload.begins(&beginning[..there]),
    })
}

#[cfg(test)]
mod tests;
