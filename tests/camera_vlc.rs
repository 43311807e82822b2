//! A network camera served by VLC, whose RTSP server shares no code with GStreamer's and sends over UDP: it is killed, freezes,
//! changes its video and is cut off the network. Its stream goes through the states in order, and
//! classification goes on soon after.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/network.rs"]
mod network;
#[path = "common/vlc.rs"]
mod vlc;
#[path = "common/watched.rs"]
mod watched;

use network::Network;
use rustix::process::Signal;
use vlc::Vlc;
use watched::Stream;

const UDP: &str = "start_timeout_s = 8\n[stream.rtsp]\ntransport = \"udp\"\n";

#[test]
fn a_server_that_is_killed_or_freezes_is_reopened_and_sound_beside_the_video_is_left_alone() {
    let mut camera = Vlc::serve("h264");
    let stream = Stream::start(&camera.address(), UDP);
    stream.reaches(&["online"]);
    camera.signal(Signal::KILL);
    stream.reaches(&["online", "retrying"]);
    camera.restart("h264");
    stream.goes_on();
    stream.reaches(&["online", "retrying", "online"]);
    camera.signal(Signal::STOP);
    stream.reaches(&["online", "retrying", "online", "stalled", "retrying"]);
    camera.signal(Signal::CONT);
    stream.goes_on();
    let stats = stream.stats();
    assert!(stats["stalls"].as_u64() >= Some(1) && stats["reconnects"].as_u64() >= Some(2), "{stats}");
    stream.stops();
}

#[test]
fn a_server_that_accepts_and_does_not_answer_is_retried_until_it_does() {
    let camera = Vlc::serve("h264");
    camera.signal(Signal::STOP);
    let stream = Stream::start(&camera.address(), UDP);
    stream.reaches(&["retrying"]);
    camera.signal(Signal::CONT);
    stream.goes_on();
    stream.reaches(&["retrying", "online"]);
    stream.stops();
}

#[test]
fn a_server_may_come_back_with_another_coding_size_and_rate() {
    let mut camera = Vlc::serve("h264");
    let stream = Stream::start(&camera.address(), UDP);
    stream.reaches(&["online"]);
    camera.signal(Signal::KILL);
    camera.restart("h265");
    stream.goes_on();
    let outcome = stream.stops();
    assert!(outcome.stderr.contains("a new format: 320x240"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("decoding with avdec_h265"), "{}", outcome.stderr);
}

#[test]
fn a_server_that_is_cut_off_the_network_is_reopened_when_it_is_back() {
    let Some(network) = Network::new() else { return };
    let camera = Vlc::serve_in(&network.name, &network.host, "h264");
    let stream = Stream::start(&camera.address(), UDP);
    stream.reaches(&["online"]);
    network.cut();
    stream.reaches(&["online", "stalled", "retrying"]);
    network.join();
    stream.goes_on();
    stream.reaches(&["online", "stalled", "retrying", "online"]);
    stream.stops();
}
