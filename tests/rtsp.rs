//! A network camera: a real RTSP server in this process.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/rtsp.rs"]
mod server;

use common::{hardnetd, run, seqs};
use server::{serve, serve_to};

const VIDEO: &str = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=480,framerate=30/1 \
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 pt=96";

#[test]
fn a_network_camera_gives_results_over_tcp_and_udp() {
    let address = serve(&format!("( {VIDEO} )"));
    for transport in ["tcp", "udp"] {
        let folder = common::folder();
        let config = folder.path().join("hardnetd.toml");
        let stream =
            format!("[[stream]]\nname = \"camera\"\nsource = \"{address}\"\nrtsp_transport = \"{transport}\"\n");
        std::fs::write(&config, stream).unwrap();
        let records = run(["run", "-c", config.to_str().unwrap(), "--frames", "20"]).records();
        assert_eq!(records.len(), 20, "{transport}");
        let seqs = seqs(&records);
        assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{transport}: {seqs:?}");
    }
}

#[test]
fn the_sound_of_a_camera_is_left_alone() {
    let sound = "audiotestsrc is-live=true ! audioconvert ! alawenc ! rtppcmapay name=pay1 pt=97";
    let address = serve(&format!("( {VIDEO} {sound} )"));
    let records = run(["run", "--source", &address, "--frames", "5"]).records();
    assert_eq!(records.len(), 5);
}

#[test]
fn of_two_videos_of_a_camera_the_first_is_played() {
    let second = "videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=48,framerate=90/1 ! jpegenc \
        ! rtpjpegpay name=pay1 pt=26";
    let address = serve(&format!("( {VIDEO} {second} )"));
    let outcome = run(["run", "--source", &address, "--frames", "20"]);
    assert_eq!(outcome.records().len(), 20);
    assert!(outcome.stderr.contains("width=(int)640"), "{}", outcome.stderr);
}

#[test]
fn a_camera_that_is_not_served_is_an_error_that_names_it() {
    let address = serve(&format!("( {VIDEO} )")).replace("/camera", "/nothing");
    let outcome = common::Running::start(&mut hardnetd(["run", "--source", &address])).finish();
    assert_eq!(outcome.code(), 66, "{}", outcome.stderr);
    assert!(outcome.message().contains("/nothing"), "{}", outcome.stderr);
}

#[test]
fn a_camera_that_wants_a_login_gets_it_from_the_address_or_from_a_file() {
    let address = serve_to(&format!("( {VIDEO} )"), Some(("me", "p@ss")));
    let plain = run(["run", "--source", &address, "--frames", "1"]);
    assert_eq!(plain.code(), 77, "{}", plain.stderr);
    assert!(plain.message().contains("stream.password_file"), "{}", plain.stderr);

    let with_login = address.replace("rtsp://", "rtsp://me:p%40ss@");
    assert_eq!(run(["run", "--source", &with_login, "--frames", "2"]).records().len(), 2);

    let folder = common::folder();
    let config = folder.path().join("hardnetd.toml");
    let password = folder.path().join("password");
    std::fs::write(&password, "p@ss\n").unwrap();
    let with_user = address.replace("rtsp://", "rtsp://me@");
    let stream = format!(
        "[[stream]]\nname = \"camera\"\nsource = \"{with_user}\"\npassword_file = \"{}\"\n",
        password.display()
    );
    std::fs::write(&config, stream).unwrap();
    assert_eq!(run(["run", "-c", config.to_str().unwrap(), "--frames", "2"]).records().len(), 2);
}

#[test]
fn a_camera_that_ends_the_stream_is_unavailable() {
    let video = VIDEO.replace("is-live=true", "is-live=true num-buffers=20");
    let outcome = run(["run", "--source", &serve(&format!("( {video} )"))]);
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.message().contains("the camera ended the stream after"), "{}", outcome.stderr);
    assert!(!common::records(&outcome.stdout).is_empty());
}

#[test]
fn a_camera_that_ends_the_stream_is_opened_again_where_it_is_configured() {
    let video = VIDEO.replace("is-live=true", "is-live=true num-buffers=20");
    let folder = common::folder();
    let config = folder.path().join("hardnetd.toml");
    let address = serve(&format!("( {video} )"));
    std::fs::write(&config, format!("[[stream]]\nname = \"camera\"\nsource = \"{address}\"\n")).unwrap();
    let outcome = run(["run", "-c", config.to_str().unwrap(), "--frames", "45"]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let records = outcome.records();
    assert_eq!(records.len(), 45);
    common::numbers_add_up(&records);
    assert!(outcome.stderr.matches("will be reopened").count() >= 2, "{}", outcome.stderr);
}

#[test]
fn the_doctor_hears_a_camera_without_logging_in() {
    let video = format!("( {VIDEO} )");
    for address in [serve(&video), serve_to(&video, Some(("me", "p@ss")))] {
        let folder = common::folder();
        let config = folder.path().join("hardnetd.toml");
        let with_login = address.replace("rtsp://", "rtsp://me:hunter2@");
        std::fs::write(&config, format!("[[stream]]\nname = \"camera\"\nsource = \"{with_login}\"\n")).unwrap();
        let outcome = run(["doctor", "--timeout", "60", "-c", config.to_str().unwrap()]);
        let line = outcome.stdout.lines().find(|line| line.contains("\tstreams\tcamera\t")).unwrap();
        assert!(line.starts_with("ok\t") && line.contains("me:***@127.0.0.1") && line.contains("RTSP/1.0"), "{line}");
        assert!(!format!("{}{}", outcome.stdout, outcome.stderr).contains("hunter2"), "{}", outcome.stdout);
    }
}
