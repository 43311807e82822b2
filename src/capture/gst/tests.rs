#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;
use std::time::Duration;

use super::super::scheme::{Decoding, PATTERNS};
use super::*;
use crate::capture::Frame;
use crate::telemetry::FrameNumbers;

fn launch(text: &str, live: bool, decoding: Decoding) -> Launch {
    Launch {
        text: text.into(),
        properties: Vec::new(),
        live,
        endpoint: None,
        trust: Trust::System,
        decoding,
        decoder: DecoderChoice::Auto,
        device: None,
        custom: None,
        fetch: None,
    }
}

/// A session, and the numbers of its frames.
fn start(launch: &Launch) -> (PipelineSession, Receiver<u64>) {
    let (delivered, arrived) = bounded(60);
    let deliver: Deliver = Arc::new(move |frame: Frame| {
        delivered.send(frame.seq).unwrap();
        ControlFlow::Continue(())
    });
    let numbers = Arc::<FrameNumbers>::default();
    let session = PipelineSession::start(&"s".into(), launch, numbers.begin(), deliver, &Arc::default()).unwrap();
    (session, arrived)
}

#[test]
fn the_test_patterns_are_those_that_gstreamer_has() {
    init().unwrap();
    let element = gst::ElementFactory::make("videotestsrc").build().unwrap();
    let class = element.find_property("pattern").unwrap();
    let class = glib::EnumClass::with_type(class.value_type()).unwrap();
    let known: Vec<&str> = class.values().iter().map(|value| value.nick()).collect();
    assert_eq!(known, PATTERNS);
}

#[test]
fn a_session_whose_attempt_has_ended_delivers_no_more_frames() {
    let launch = launch(
        "videotestsrc name=source is-live=false num-buffers=50 ! video/x-raw,format=NV12,width=64,height=64",
        false,
        Decoding::ALL,
    );
    let numbers = Arc::<FrameNumbers>::default();
    let (delivered, arrived) = bounded(50);
    let (release, released) = bounded::<()>(0);
    let deliver: Deliver = Arc::new(move |frame: Frame| {
        delivered.send(frame.seq).unwrap();
        let _ = released.recv();
        ControlFlow::Continue(())
    });
    let ticket = numbers.begin();
    let start = |ticket, deliver| PipelineSession::start(&"s".into(), &launch, ticket, deliver, &Arc::default());
    let session = start(ticket.clone(), Arc::clone(&deliver)).unwrap();
    assert_eq!(arrived.recv().unwrap(), 0);
    // The attempt ends while the first frame is being delivered; the pipeline has 49 more.
    assert_eq!(ticket.end(), 1);
    drop(release);
    assert!(arrived.recv_timeout(Duration::from_millis(200)).is_err());
    drop(session);
    let _session = start(numbers.begin(), deliver).unwrap();
    assert_eq!([arrived.recv().unwrap(), arrived.recv().unwrap()], [1, 2]);
}

#[test]
fn decoders_may_lay_out_frames_as_they_like() {
    init().unwrap();
    let stream = crate::config::Stream::default();
    let launch = crate::capture::Source::parse("test:ball").unwrap().launch(&stream, None).unwrap();
    let (pipeline, _) = build(&launch).unwrap();
    let pad = pipeline.by_name("sink").unwrap().static_pad("sink").unwrap();
    let caps: gst::Caps = "video/x-raw,format=NV12,width=1920,height=1080,framerate=25/1".parse().unwrap();
    let mut query = gst::query::Allocation::new(Some(&caps), true);
    assert!(pad.query(query.query_mut()));
    assert!(query.find_allocation_meta::<gstreamer_video::VideoMeta>().is_some());
}

#[test]
fn pictures_beyond_the_rate_are_left_out_and_the_source_counts_as_alive() {
    let text = "videotestsrc name=source num-buffers=60 ! video/x-raw,format=NV12,width=64,height=64,framerate=30/1 \
                ! identity name=convert";
    let decoding = Decoding { max_fps: 5.0, every_nth: 2, ..Decoding::ALL };
    let launch = launch(text, false, decoding);
    let (session, arrived) = start(&launch);
    while !matches!(session.notices.recv().unwrap(), Notice::End) {}
    // Two seconds at five per second, of which every second one.
    assert_eq!(arrived.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert!(session.activity.idle(monotonic_ns()) < Duration::from_secs(60));
}

#[test]
fn a_pipeline_is_at_rest_when_none_of_its_threads_has_work() {
    let text = "videotestsrc name=source is-live=true num-buffers=3 ! video/x-raw,format=NV12,width=64,height=64";
    let launch = launch(text, true, Decoding::ALL);
    let (session, arrived) = start(&launch);
    assert!(!session.is_at_rest());
    assert_eq!(arrived.recv().unwrap(), 0);
    while !matches!(session.notices.recv().unwrap(), Notice::End) {}
    while !session.is_at_rest() {
        std::thread::yield_now();
    }
}

#[test]
fn a_pipeline_with_an_element_that_fails_while_it_shuts_down_is_shut_down_all_the_same() {
    init().unwrap();
    let pipeline = gst::parse::launch("videotestsrc ! fakesink name=end state-error=paused-to-ready").unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    pipeline.state(gst::ClockTime::from_seconds(60)).0.unwrap();
    let end = pipeline.by_name("end").unwrap();
    let (sender, failures) = bounded(9);
    pipeline.bus().unwrap().set_sync_handler(move |_, message| {
        if message.type_() == gst::MessageType::Error {
            end.set_property_from_str("state-error", "none");
            let _ = sender.try_send(());
        }
        gst::BusSyncReply::Drop
    });
    close(&pipeline);
    assert_eq!((pipeline.current_state(), failures.len()), (gst::State::Null, 1));
}
