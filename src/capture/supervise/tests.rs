//! What the supervision does with a source that follows a script.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::thread;

use super::*;
use crate::capture::player::MOST_PER_FRAME;
use crate::config::Stream;
use crate::record::StreamState;
use world::{Script, Step, World};

/// A camera with a start limit of 2 s, a stall limit of 1 s and waits of at most 3 s.
fn camera(host: &str) -> Stream {
    Stream {
        source: format!("rtsp://{host}/1"),
        start_timeout_s: 2.0,
        stall_timeout_s: 1.0,
        retry_max_s: 3.0,
        ..Stream::default()
    }
}

fn once(host: &str) -> Stream {
    Stream { retry_max_s: 0.0, ..camera(host) }
}

fn failed() -> Error {
    Error::Failed { message: "lost".into(), advice: "look", exit: crate::exit::Exit::Unavailable }
}

fn fails_at(ms: u64) -> Script {
    Ok(vec![(ms, Step::Say(Notice::Failed(failed())))])
}

#[test]
fn a_source_without_a_first_frame_fails_after_the_start_limit() {
    let world = World::new(&once("start"), [Ok(vec![])]);
    assert!(matches!(world.run(), Err(Error::Silent { seconds: 2.0, frames: 0, .. })));
    assert_eq!(world.now_ms(), 2250, "the first check after it");
}

#[test]
fn a_source_that_stalls_fails_after_the_stall_limit() {
    let world = World::new(&once("stall"), [Ok(vec![(1900, Step::Frame), (2700, Step::Frame)])]);
    assert!(matches!(world.run(), Err(Error::Silent { seconds: 1.0, frames: 2, .. })));
    assert_eq!(world.now_ms(), 3750);
}

#[test]
fn a_wait_for_a_key_frame_is_no_silence_and_is_reported_after_a_second() {
    let left_out = (0..50).map(|index| (500 + 100 * index, Step::Coded(true)));
    let steps = left_out.chain([(5500, Step::Coded(false)), (5510, Step::Frame), (6000, Step::Stop)]);
    let world = World::new(&once("group"), [Ok(steps.collect())]);
    assert!(world.run().is_ok());
    assert_eq!(*world.frames.borrow(), [[0]]);
    let waits = world.key_frame_waits.borrow();
    assert_eq!((waits.first(), waits.last()), (Some(&1750), Some(&5250)), "{waits:?}");
}

#[test]
fn a_camera_that_never_sends_a_key_frame_fails_after_its_limit_and_one_that_stops_meanwhile_sooner() {
    let stream = Stream { key_frame_timeout_s: 3.0, ..once("keyless") };
    let left_out = (0..100).map(|index| (100 * index, Step::Coded(true))).collect();
    let world = World::new(&stream, [Ok(left_out)]);
    assert!(matches!(world.run(), Err(Error::NoKeyFrame { seconds: Some(3.0), .. })));
    assert_eq!(world.now_ms(), 3250);
    let world = World::new(&Stream { source: "rtsp://gone/1".into(), ..stream }, [Ok(vec![(100, Step::Coded(true))])]);
    assert!(matches!(world.run(), Err(Error::Silent { seconds: 2.0, frames: 0, .. })));
}

#[test]
fn a_video_without_a_key_frame_has_ended_with_an_error() {
    let stream = Stream { source: "test:ball".into(), ..Stream::default() };
    let steps = vec![(5, Step::LeaveOut), (10, Step::Say(Notice::End))];
    let world = World::new(&stream, [Ok(steps)]);
    assert!(matches!(world.run(), Err(Error::NoKeyFrame { seconds: None, left_out: 1 })));
}

#[test]
fn a_slow_consumer_is_no_silence_of_the_source() {
    let world = World::new(&once("slow"), [Ok(vec![(100, Step::Block), (60_000, Step::Stop)])]);
    assert!(world.run().is_ok());
    assert_eq!(world.now_ms(), 60_000);
}

#[test]
fn waits_double_up_to_the_longest_and_begin_anew_after_frames() {
    let frames = vec![(10, Step::Frame), (20, Step::Say(Notice::Failed(failed())))];
    let scripts = [fails_at(0), fails_at(0), fails_at(0), Err(failed()), fails_at(0), Ok(frames), fails_at(0)];
    let world = World::new(&camera("waits"), scripts);
    assert!(world.run().is_ok());
    assert_eq!(world.waits(), [500, 1000, 2000, 3000, 3000, 500, 1000]);
    assert_eq!(*world.starts.borrow(), [0, 500, 1500, 3500, 6500, 9500, 10_020, 11_020]);
}

#[test]
fn a_source_that_ends_stops_begins_again_or_waits_as_its_settings_say() {
    let played = |frames: u64| {
        let frames = (0..frames).map(|index| (index * 10, Step::Frame));
        Ok(frames.chain([(100, Step::Say(Notice::End))]).collect())
    };
    for (at_end, starts, waits) in [
        (AtEnd::Stop, &[0][..], &[][..]),
        (AtEnd::Loop, &[0, 100, 200], &[500]),
        (AtEnd::Retry, &[0, 600, 1200], &[500, 500, 1000]),
    ] {
        let stream = Stream { source: "test:ball".into(), at_end, ..camera("unused") };
        let world = World::new(&stream, [played(3), played(2), played(0)]);
        let _ = world.run();
        assert_eq!(world.starts.borrow()[..starts.len()], *starts, "{at_end}");
        assert_eq!(world.waits()[..waits.len()], *waits, "{at_end}");
    }
}

#[test]
fn refused_logins_are_few_and_far_between_whatever_the_longest_wait() {
    let refused = || Ok(vec![(0, Step::Say(Notice::Failed(Error::LoginRefused)))]);
    let frames = vec![(10, Step::Frame), (20, Step::Say(Notice::Failed(Error::LoginRefused)))];
    let scripts = [refused(), fails_at(0), refused(), refused(), refused(), Ok(frames), refused()];
    let world = World::new(&camera("login"), scripts);
    assert!(world.run().is_ok());
    assert_eq!(world.waits(), [30_000, 1000, 60_000, 300_000, 300_000, 30_000, 60_000]);
    let starts = world.starts.borrow();
    let in_two_minutes = |at: u64| starts.iter().filter(|start| (at..at + 120_000).contains(*start)).count();
    assert!(starts.iter().all(|start| in_two_minutes(*start) <= 4), "{starts:?}");
}

#[test]
fn only_a_camera_is_opened_again_and_only_where_its_settings_say_so() {
    let pattern = Stream { source: "test:ball".into(), ..camera("unused") };
    for stream in [pattern, once("again")] {
        let world = World::new(&stream, [fails_at(5)]);
        assert!(matches!(world.run(), Err(Error::Failed { .. })));
        assert_eq!((world.starts.borrow().len(), world.waits().len()), (1, 0));
    }
}

#[test]
fn a_camera_that_cannot_come_back_is_not_opened_again() {
    let missing = || Notice::Failed(Error::MissingDecoder { what: "H.265".into(), package: "p" });
    let world = World::new(&camera("codec"), [Ok(vec![(5, Step::Say(missing()))])]);
    assert!(matches!(world.run(), Err(Error::MissingDecoder { .. })));
    // After frames of this attempt, it concerns something beside the video; after frames of an earlier one, the camera
    // may change back.
    let later = [Ok(vec![(5, Step::Frame), (6, Step::Say(missing())), (7, Step::Say(Notice::End))])];
    let world = World::new(&camera("codec"), later.into_iter().chain([Ok(vec![(5, Step::Say(missing()))])]));
    assert!(world.run().is_ok());
    assert_eq!(world.waits(), [500, 1000]);
}

#[test]
fn a_camera_whose_name_is_not_known_says_so_and_is_opened_again() {
    let world = World::new(&once("nowhere"), [fails_at(5)]);
    world.is_unknown.set(true);
    assert!(matches!(world.run(), Err(Error::UnknownHost { host, .. }) if host == "nowhere"));
    let frames = vec![(5, Step::Frame), (6, Step::Say(Notice::Failed(failed())))];
    let world = World::new(&camera("nowhere"), [fails_at(5), Ok(frames)]);
    world.is_unknown.set(true);
    assert!(world.run().is_ok());
    assert_eq!(world.waits(), [500, 500]);
}

#[test]
fn the_first_failure_ends_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let stream = Stream { source: file.path().display().to_string(), ..camera("unused") };
    let world = World::new(&stream, [Ok(vec![(1, Step::Frame), (2, Step::Say(Notice::Failed(failed())))])]);
    assert!(matches!(world.run(), Err(Error::Failed { .. })));
    assert_eq!((world.starts.borrow().len(), world.waits().len()), (1, 0));
}

#[test]
fn a_file_is_given_up_once_its_pipeline_rests_before_the_first_frame_and_a_camera_is_not() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let stream = Stream { source: file.path().display().to_string(), ..once("unused") };
    let world = World::new(&stream, [Ok(vec![(0, Step::Rest)])]);
    assert!(matches!(world.run(), Err(Error::Stopped)));
    assert_eq!(world.now_ms(), 500, "found twice");
    let world = World::new(&once("rest"), [Ok(vec![(0, Step::Rest)])]);
    assert!(matches!(world.run(), Err(Error::Silent { .. })));
}

#[test]
fn an_end_is_judged_by_the_scheme() {
    let end = || Ok(vec![(1, Step::Frame), (2, Step::Say(Notice::End))]);
    assert!(matches!(World::new(&once("end"), [end()]).run(), Err(Error::Ended { frames: 1 })));
    let pattern = Stream { source: "test:ball".into(), ..Stream::default() };
    assert!(World::new(&pattern, [end()]).run().is_ok());
}

#[test]
fn a_camera_that_sends_without_a_frame_floods() {
    let most = usize::try_from(MOST_PER_FRAME).unwrap();
    let steps = vec![(100, Step::Bytes(most)), (150, Step::Frame), (200, Step::Bytes(most)), (800, Step::Bytes(1))];
    let world = World::new(&once("flood"), [Ok(steps)]);
    assert!(matches!(world.run(), Err(Error::Flood)));
    assert_eq!(world.now_ms(), 1000);
}

#[test]
fn a_failure_after_frames_are_refused_or_after_the_stop_is_none() {
    let world = World::new(&camera("refused"), [Ok(vec![(1, Step::Refuse), (2, Step::Say(Notice::Failed(failed())))])]);
    assert!(world.run().is_ok());
    assert!(world.waits().is_empty());
    let settings = Settings::new(&camera("stopped")).unwrap();
    let decision = Attempt::new(&settings).notice(Notice::Failed(failed()), &Activity::new(0), true);
    assert!(matches!(decision, Decision::Stop));
}

#[test]
fn a_stop_ends_a_wait_at_once() {
    let world = World::new(&camera("stop"), [fails_at(0), fails_at(0)]);
    world.stop_at.set(Some(777));
    assert!(world.run().is_ok());
    assert_eq!((world.now_ms(), world.starts.borrow().len()), (777, 2));
}

#[test]
fn a_camera_whose_frames_are_no_longer_wanted_is_not_waited_for() {
    for (unwanted_at, end) in [(100, 250), (777, 1000), (900, 1000)] {
        let world = World::new(&camera("unwanted"), [fails_at(0), Ok(vec![])]);
        world.unwanted_at.set(Some(unwanted_at));
        assert!(world.run().is_ok());
        assert_eq!(world.now_ms(), end, "at the first beat after {unwanted_at}");
    }
    let world = World::new(&camera("unwanted"), [Ok(vec![(300, Step::Frame), (310, Step::Say(Notice::End))])]);
    world.unwanted_at.set(Some(310));
    assert!(world.run().is_ok());
    assert_eq!((world.now_ms(), world.starts.borrow().len()), (310, 1));
}

#[test]
fn the_thread_reports_at_least_once_in_each_beat() {
    let world = World::new(&camera("beats"), [Ok(vec![(300, Step::Frame), (310, Step::Say(Notice::End))]), Ok(vec![])]);
    world.stop_at.set(Some(9000));
    assert!(world.run().is_ok());
    let beats = world.beats.borrow();
    assert!(beats.windows(2).all(|pair| pair[1] - pair[0] <= 250), "{beats:?}");
}

#[test]
fn a_hail_of_warnings_keeps_no_check_from_its_time() {
    let warnings = (0..3000).map(|ms| (ms, Step::Say(Notice::Warning("odd".into()))));
    let world = World::new(&once("hail"), [Ok(warnings.collect())]);
    assert!(matches!(world.run(), Err(Error::Silent { frames: 0, .. })));
    assert_eq!(world.now_ms(), 2250);
}

#[test]
fn numbers_go_on_over_attempts_and_a_frame_after_an_attempt_gets_none() {
    let attempt = || {
        let end = Step::Say(Notice::End);
        // The last frame comes during the wait before reopening.
        Ok(vec![(1, Step::Frame), (2, Step::Frame), (3, end), (100, Step::Frame)])
    };
    let world = World::new(&camera("numbers"), [attempt(), attempt()]);
    assert!(world.run().is_ok());
    assert_eq!(world.frames.borrow()[..2], [vec![0, 1], vec![2, 3]]);
    assert_eq!(*world.retries.borrow(), [(500, 2), (500, 4)]);
}

#[test]
fn a_camera_whose_pipeline_is_still_taken_down_stays_closed() {
    let world = World::new(&camera("lingers"), [fails_at(0)]);
    world.hold_until.set(Some(5100));
    assert!(world.run().is_ok());
    let starts = world.starts.borrow();
    assert_eq!(*starts, [0, 5250], "at the first beat after it");
}

#[test]
fn a_pipeline_that_does_not_shut_down_in_time_is_abandoned_and_the_stream_goes_on_with_a_new_one() {
    let stream = Stream { close_s: 2.0, ..camera("hangs") };
    let frames = || Ok(vec![(10, Step::Frame), (20, Step::Say(Notice::Failed(failed())))]);
    let world = World::new(&stream, [frames(), frames()]);
    world.hold_until.set(Some(60_000));
    assert!(world.run().is_ok());
    let (starts, abandoned) = (world.starts.borrow(), world.abandoned.borrow());
    // The first check after two seconds from the failure, of which half a second is patience and another the wait.
    assert_eq!(*starts, [0, 2270, 4540]);
    assert_eq!(*abandoned, [(2270, 1), (4540, 1)]);
    assert_eq!(world.frames.borrow()[..2], [[0], [1]], "numbers go on");
    assert!(world.hindered.borrow().is_empty());
    let (online, retrying) = (StreamState::Online, StreamState::Retrying);
    let states: Vec<StreamState> = world.states.borrow().iter().map(|(_, state)| *state).collect();
    assert_eq!(states, [online, retrying, online, retrying]);
}

#[test]
fn a_camera_whose_pipelines_never_shut_down_has_a_limited_number_of_them_and_says_so() {
    let stream = Stream { close_s: 1.0, ..camera("stuck") };
    let world = World::new(&stream, (0..9).map(|_| fails_at(0)));
    world.hold_until.set(Some(100_000));
    world.stop_at.set(Some(50_000));
    assert!(world.run().is_ok());
    assert_eq!(world.starts.borrow().len(), MOST_ABANDONED);
    let abandoned: u64 = world.abandoned.borrow().iter().map(|(_, pipelines)| pipelines).sum();
    assert_eq!(abandoned, MOST_ABANDONED as u64);
    {
        let hindered = world.hindered.borrow();
        assert!(hindered.len() == 1 && hindered[0].1.starts_with("3 pipelines of it do not shut down"), "{hindered:?}");
    }
    // Another stream of that camera, as after a reload, waits for the same pipelines.
    let again = World::new(&Stream { name: "other".into(), ..stream }, [Ok(vec![])]);
    again.stop_at.set(Some(50_000));
    assert!(again.run().is_ok());
    assert!(again.starts.borrow().is_empty());
    assert_eq!((again.abandoned.borrow().len(), again.hindered.borrow().len()), (0, 1));
    // Once they have shut down, it is opened.
    world.holds.borrow_mut().clear();
    while reaper::look(&world.settings, 0) != Left::default() {
        thread::yield_now();
    }
    let at_last = World::new(&Stream { close_s: 1.0, ..camera("stuck") }, [Ok(vec![(0, Step::Stop)])]);
    assert!(at_last.run().is_ok());
    assert_eq!(*at_last.starts.borrow(), [0]);
}

#[test]
fn a_file_whose_pipeline_does_not_shut_down_ends_all_the_same() {
    let stream = Stream { name: "hanging-file".into(), source: "test:ball".into(), ..Stream::default() };
    let world = World::new(&stream, [Ok(vec![(5, Step::Frame), (10, Step::Say(Notice::End))])]);
    world.hold_until.set(Some(60_000));
    assert!(world.run().is_ok());
    assert_eq!(world.now_ms(), 510);
}

#[test]
fn a_source_that_falls_silent_is_stalled_then_retried_and_one_that_goes_on_is_online_again() {
    let frames = [100, 200, 1150, 1200].map(|ms| (ms, Step::Frame));
    let world = World::new(&camera("silence"), [Ok(frames.into_iter().collect()), Ok(vec![(0, Step::Stop)])]);
    assert!(world.run().is_ok());
    let (online, stalled, retrying) = (StreamState::Online, StreamState::Stalled, StreamState::Retrying);
    // Checks are due every quarter of a second.
    let states = [(100, online), (1000, stalled), (1150, online), (2000, stalled), (2250, retrying)];
    assert_eq!(*world.states.borrow(), states);
}

#[test]
fn what_is_opened_again_depends_on_the_source_and_on_what_its_end_means() {
    let is = |source: &str, at_end: AtEnd, error: &Error, had_frames: bool| {
        let stream = Stream { source: source.into(), at_end, ..Stream::default() };
        is_opened_again(&Settings::new(&stream).unwrap(), error, had_frames)
    };
    let no_decoder = Error::MissingDecoder { what: "H.264".into(), package: "gstreamer1.0-libav" };
    assert!(!is("rtsp://cam/1", AtEnd::Stop, &no_decoder, false));
    assert!(is("rtsp://cam/1", AtEnd::Stop, &no_decoder, true));
    assert!(is("udp://:5000", AtEnd::Stop, &no_decoder, false), "anybody can send packets");
    for (at_end, had_frames, again) in [
        (AtEnd::Stop, true, false),
        (AtEnd::Loop, false, false),
        (AtEnd::Loop, true, true),
        (AtEnd::Retry, false, true),
    ] {
        assert_eq!(is("clip.mp4", at_end, &Error::Stopped, had_frames), again, "{at_end:?}");
        assert!(!is("clip.mp4", at_end, &no_decoder, had_frames), "it will not come by itself");
    }
}
