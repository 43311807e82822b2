//! Only pictures that the camera sent are classified, and all frames are accounted for.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/rtsp.rs"]
mod server;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use common::{Outcome, Running, colours, hardnetd, run, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use server::{serve, serve_damaged, serve_losing};

/// A red picture with a border, which is outside of what is classified. Without a reference it decodes to another
/// colour.
fn video(fps: u32, group: u32) -> String {
    format!(
        "videotestsrc is-live=true pattern=solid-color foreground-color=0xffff0000 \
         ! video/x-raw,width=640,height=480,framerate={fps}/1 ! videobox left=-80 autocrop=false \
         ! video/x-raw,width=720,height=480 ! videoconvert \
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={group} ! rtph264pay name=pay0 pt=96"
    )
}

/// The same with noise at one side: frames that take a decoder milliseconds.
fn noisy_video(fps: u32, group: u32) -> String {
    format!(
        "videotestsrc is-live=true pattern=snow ! video/x-raw,width=320,height=480,framerate={fps}/1 \
         ! videobox left=-1120 fill=red autocrop=false ! video/x-raw,width=1440,height=480 ! videoconvert \
         ! x264enc pass=quant quantizer=28 tune=zerolatency speed-preset=ultrafast key-int-max={group} \
         ! rtph264pay name=pay0 pt=96"
    )
}

/// How many frames the end of the log says were so.
fn count(outcome: &Outcome, what: &str) -> u64 {
    let line = outcome.stderr.lines().find(|line| line.contains("stream ended")).expect("the stream ended");
    let number = line.split(&format!("{what}=")).nth(1).unwrap();
    number.split(' ').next().unwrap().parse().unwrap()
}

fn classes(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["top"][0]["label"].as_str().unwrap()).collect()
}

#[test]
fn a_camera_that_is_joined_within_a_group_of_pictures_has_no_result_before_the_next_one() {
    let folder = common::folder();
    let model = colours::model(folder.path());
    let address = serve(&format!("( {} )", video(30, 90)));
    let arguments = ["run", "--model", model.to_str().unwrap(), "--source", &address];
    let first = Running::start(&mut hardnetd(arguments));
    wait_for("the first results", || (first.output().lines().count() > 20).then_some(()));
    let mut waited = 0;
    for attempt in 0..4 {
        // In the middle of other groups each time.
        thread::sleep(Duration::from_millis(700 * attempt));
        let outcome = run(arguments.into_iter().chain(["--frames", "5"]));
        let records = outcome.records();
        assert_eq!(classes(&records), ["red"; 5], "{}", outcome.stderr);
        waited += count(&outcome, "left_out");
    }
    assert!(waited > 0, "all four began with a key frame");
    first.signal(Signal::TERM);
    assert_eq!(first.finish().code(), 0);
}

#[test]
fn after_a_lost_packet_nothing_is_classified_until_the_next_key_frame_and_all_frames_are_counted() {
    let folder = common::folder();
    let model = colours::model(folder.path());
    let (address, sent) = serve_losing(&format!("( {} )", video(30, 30)), 97);
    let running = Running::start(&mut hardnetd(["run", "--model", model.to_str().unwrap(), "--source", &address]));
    wait_for("150 results", || (running.output().lines().count() > 150).then_some(()));
    running.signal(Signal::TERM);
    let outcome = running.finish();
    let sent = sent.load(Ordering::Relaxed);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(classes(&outcome.records()).iter().all(|class| *class == "red"), "{}", outcome.stdout);
    let (captured, left_out) = (count(&outcome, "captured"), count(&outcome, "left_out"));
    assert!(left_out > 10, "{}", outcome.stderr);
    // Frames that were lost whole are not known of; some are on their way at the end.
    let missing = sent - captured - left_out;
    assert!(missing < sent / 10 + 20, "{sent} frames: {}", outcome.stderr);
    assert!(outcome.stderr.contains("frames are left out"), "{}", outcome.stderr);
}

#[test]
fn a_decoder_that_cannot_keep_up_skips_groups_and_results_stay_young() {
    let folder = common::folder();
    let model = colours::model(folder.path());
    let (address, sent) = serve_losing(&format!("( {} )", noisy_video(60, 60)), u64::MAX);
    let running = Running::start(&mut hardnetd(["run", "--model", model.to_str().unwrap(), "--source", &address]));
    wait_for("the first results", || (running.output().lines().count() > 30).then_some(()));
    // It runs for a hundredth of the time, in which no processor decodes 18 such frames.
    for _ in 0..30 {
        running.signal(Signal::STOP);
        thread::sleep(Duration::from_millis(300));
        running.signal(Signal::CONT);
        thread::sleep(Duration::from_millis(3));
    }
    running.signal(Signal::TERM);
    let outcome = running.finish();
    let sent = sent.load(Ordering::Relaxed);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let records = outcome.records();
    assert!(classes(&records).iter().all(|class| *class == "red"), "{}", outcome.stdout);
    let (captured, left_out) = (count(&outcome, "captured"), count(&outcome, "left_out"));
    assert!(left_out > 30, "{}", outcome.stderr);
    assert!(sent - captured - left_out < 120, "{sent} frames, two seconds on their way: {}", outcome.stderr);
    let oldest = records.iter().map(|record| record["latency_us"]["total"].as_u64().unwrap()).max().unwrap();
    assert!(oldest < 5_000_000, "{oldest} us");
}

#[test]
fn damaged_jpeg_pictures_of_a_camera_are_counted() {
    let address = serve_damaged(
        "( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! jpegenc \
         ! rtpjpegpay name=pay0 pt=26 )",
    );
    let outcome = run(["run", "--source", &address, "--frames", "20"]);
    assert_eq!(outcome.records().len(), 20);
    let left_out = count(&outcome, "left_out");
    assert!((15..30).contains(&left_out), "every second picture is damaged: {}", outcome.stderr);
}
