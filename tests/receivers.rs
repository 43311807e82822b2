//! Video that others send, and pipelines of the user's own: real senders in programs of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/network.rs"]
mod network;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{Outcome, Running, folder, hardnetd, run, wait_for};
use network::Network;
use rustix::process::Signal;

const PICTURES: &str =
    "videotestsrc is-live=true pattern=smpte ! video/x-raw,format=I420,width=320,height=240,framerate=30/1";

const H264: &str = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! h264parse";

/// With the parameter sets at each key frame. Without open groups of pictures: they are repeated at IDR pictures only.
const H265: &str = "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=15 option-string=open-gop=0 ! h265parse config-interval=-1";

/// A program that sends until the test ends.
struct Sender(Child);

impl Sender {
    fn start(text: &str) -> Self {
        let mut command = Command::new("gst-launch-1.0");
        command.arg("-q").args(text.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("gst-launch-1.0 is installed"))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A UDP port of the loopback interface that was free a moment ago.
fn free_port() -> u16 {
    std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn config(folder: &Path, source: &str, keys: &str) -> String {
    let path = folder.join("hardnetd.toml");
    std::fs::write(&path, format!("[[stream]]\nname = \"sent\"\nsource = \"{source}\"\n{keys}")).unwrap();
    path.to_str().unwrap().to_owned()
}

fn of(command: &[&str], source: &str, keys: &str) -> Outcome {
    let folder = folder();
    Running::start(&mut hardnetd(command.iter().copied().chain(["-c", &config(folder.path(), source, keys)]))).finish()
}

/// Asserts that five frames of the sender's picture are classified.
#[track_caller]
fn shows(outcome: &Outcome) {
    let records = outcome.records();
    assert_eq!(records.len(), 5, "{}", outcome.stderr);
    common::numbers_add_up(&records);
    assert_eq!(records[4]["top"][0]["label"], "pattern smpte");
}

#[test]
fn packets_of_every_payload_give_results() {
    for (payload, coding) in [
        ("mpegts", format!("{H264} ! mpegtsmux alignment=7")),
        ("rtp-mpegts", format!("{H264} ! mpegtsmux ! rtpmp2tpay")),
        ("rtp-h264", format!("{H264} ! rtph264pay config-interval=-1")),
        ("rtp-h265", format!("{H265} ! rtph265pay config-interval=-1")),
        ("rtp-jpeg", "jpegenc ! rtpjpegpay".to_owned()),
    ] {
        let port = free_port();
        let _sender = Sender::start(&format!("{PICTURES} ! {coding} ! udpsink host=127.0.0.1 port={port}"));
        let keys = format!("[stream.udp]\npayload = \"{payload}\"\n");
        shows(&of(&["run", "--frames", "5"], &format!("udp://127.0.0.1:{port}"), &keys));
    }
}

#[test]
fn packets_to_a_multicast_group_give_results() {
    let Some(network) = Network::new() else { return };
    let text = format!("{PICTURES} ! {H264} ! mpegtsmux alignment=7 ! udpsink host=239.255.42.7 port=5004");
    let mut sender = Command::new("gst-launch-1.0");
    sender.arg("-q").args(text.split_whitespace());
    let _sender = Sender(network.command(&sender).spawn().expect("gst-launch-1.0 is installed"));
    let receiver = hardnetd(["run", "--frames", "5", "--source", "udp://239.255.42.7:5004"]);
    let mut receiver = network.command(&receiver);
    receiver.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shows(&Running::start(&mut receiver).finish());
}

/// Packets that found no room at a UDP port (proc(5), `/proc/net/udp`); `None` if nobody receives there.
fn missed(port: u16) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let line = table
        .lines()
        .find(|line| line.split_whitespace().nth(1).is_some_and(|it| it.ends_with(&format!(":{port:04X}"))));
    line?.split_whitespace().last()?.parse().ok()
}

#[test]
fn packets_without_content_take_no_memory() {
    let port = free_port();
    let running = Running::start(&mut hardnetd(["run", "--source", &format!("udp://127.0.0.1:{port}")]));
    let resident_kb = || -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    wait_for("the port", || missed(port));
    let before = resident_kb();
    let sender = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let mut sent = 0;
    // Fewer than those after which the source is given up.
    for number in 0..150_000 {
        sent += u64::from(sender.send_to(&[], ("127.0.0.1", port)).is_ok());
        if number % 50 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
    let (after, arrived) = (resident_kb(), sent - missed(port).unwrap());
    assert!(arrived > 100_000, "{arrived} of {sent}");
    assert!(after < before + 32_000, "{before} became {after} kB: {}", running.log());
    running.signal(Signal::TERM);
    let outcome = running.finish();
    assert!(!outcome.stderr.contains("assertion") && !outcome.stderr.contains("reopened"), "{}", outcome.stderr);
}

#[test]
fn a_receiver_waits_for_its_sender_and_survives_its_pauses() {
    let folder = folder();
    let port = free_port();
    let keys = "start_timeout_s = 3\nstall_timeout_s = 3\nretry_first_s = 0.1\nretry_max_s = 0.2\n";
    let config = config(folder.path(), &format!("udp://:{port}"), keys);
    let running = Running::start(&mut hardnetd(["run", "-c", &config]));
    let wait = |text: &str| wait_for(text, || running.log().contains(text).then_some(()));
    wait("no frame within 3 s of the start");
    let text = format!("{PICTURES} ! {H264} ! mpegtsmux alignment=7 ! udpsink host=127.0.0.1 port={port}");
    for round in 1..=2 {
        let sender = Sender::start(&text);
        let before = running.output().lines().count();
        wait_for("results", || (running.output().lines().count() > before + 2).then_some(()));
        drop(sender);
        wait_for("a stall", || (running.log().matches("no frame for 3 s after").count() >= round).then_some(()));
    }
    running.signal(Signal::TERM);
    let outcome = running.finish();
    common::numbers_add_up(&outcome.records());
}

#[test]
fn a_sender_may_change_its_coding_and_packets_that_are_no_video_are_told() {
    let folder = folder();
    let port = free_port();
    let keys = "start_timeout_s = 4\nstall_timeout_s = 4\nretry_first_s = 0.1\nretry_max_s = 0.2\n";
    let config = config(folder.path(), &format!("udp://:{port}"), keys);
    let running = Running::start(&mut hardnetd(["run", "-c", &config]));
    let sends = |coding: &str| Sender::start(&format!("{PICTURES} ! {coding} ! udpsink host=127.0.0.1 port={port}"));
    let results = || running.output().lines().count();
    for coding in [H264, H265, H264] {
        let _sender = sends(&format!("{coding} ! mpegtsmux alignment=7"));
        let before = results();
        wait_for("results", || (results() > before + 5).then_some(()));
    }
    let _sender = sends("rtpvrawpay");
    wait_for("the reason", || running.log().contains("kB arrived: compare").then_some(()));
    running.signal(Signal::TERM);
    let outcome = running.finish();
    common::numbers_add_up(&outcome.records());
}

#[test]
fn srt_gives_results_whoever_calls_and_with_a_passphrase() {
    let folder = folder();
    let password = folder.path().join("password");
    std::fs::write(&password, "correct horse\n").unwrap();
    let with_password = format!("password_file = \"{}\"\n", password.display());
    let coded = format!("{PICTURES} ! {H264} ! mpegtsmux alignment=7");
    for (sink, secret, source, keys) in [
        ("srtsink wait-for-connection=false uri=srt://127.0.0.1:PORT?mode=listener", "", "srt://127.0.0.1:PORT", ""),
        (
            "srtsink wait-for-connection=false uri=srt://127.0.0.1:PORT?mode=listener",
            "pbkeylen=16 passphrase=",
            "srt://127.0.0.1:PORT",
            with_password.as_str(),
        ),
        ("srtsink uri=srt://127.0.0.1:PORT?mode=caller", "", "srt://:PORT", "[stream.srt]\nmode = \"listener\"\n"),
    ] {
        let port = free_port().to_string();
        let keys = format!("start_timeout_s = 10\nretry_first_s = 0.1\nretry_max_s = 0.5\n{keys}");
        let config = config(folder.path(), &source.replace("PORT", &port), &keys);
        let mut running = None;
        if source.starts_with("srt://:") {
            running = Some(Running::start(&mut hardnetd(["run", "--frames", "5", "-c", &config])));
            std::thread::sleep(std::time::Duration::from_secs(2));
        }
        let mut command = Command::new("gst-launch-1.0");
        command.arg("-q").args(format!("{coded} ! {}", sink.replace("PORT", &port)).split_whitespace());
        if let Some((length, property)) = secret.split_once(' ') {
            command.args([length, &format!("{property}correct horse")]);
        }
        let sender = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("gst-launch-1.0 is installed");
        let _sender = Sender(sender);
        let running = running.unwrap_or_else(|| Running::start(&mut hardnetd(["run", "--frames", "5", "-c", &config])));
        let outcome = running.finish();
        shows(&outcome);
        assert!(!outcome.stderr.contains("correct horse"), "{}", outcome.stderr);
    }
}

#[test]
fn a_stop_does_not_wait_for_a_peer_that_never_calls_or_answers() {
    for source in ["srt://127.0.0.1:PORT", "srt://:PORT", "udp://:PORT"] {
        let folder = folder();
        let config =
            config(folder.path(), &source.replace("PORT", &free_port().to_string()), "start_timeout_s = 3600\n");
        let running = Running::start(&mut hardnetd(["run", "-c", &config]));
        std::thread::sleep(std::time::Duration::from_secs(2));
        running.signal(Signal::TERM);
        let outcome = running.finish();
        assert_eq!(outcome.code(), 0, "{source}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("without finishing"), "{source}: {}", outcome.stderr);
    }
}

#[test]
fn a_pipeline_of_the_user_gives_results_and_is_started_again_when_it_ends() {
    shows(&run(["run", "--frames", "5", "--source", &format!("pipeline:{PICTURES}")]));
    let coded = format!("pipeline:{PICTURES} ! {H264} ! decodebin name=decode");
    shows(&run(["run", "--frames", "5", "--source", &coded]));
    let ends = format!("pipeline:{}", PICTURES.replace("is-live=true", "is-live=true num-buffers=4"));
    let outcome = run(["run", "--source", &ends]);
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.message().contains("ended the stream after 4 frames"), "{}", outcome.stderr);
    let outcome = of(&["run", "--frames", "10"], &ends, "retry_first_s = 0.1\n");
    let records = outcome.records();
    assert_eq!(records.len(), 10);
    common::numbers_add_up(&records);
    assert!(outcome.stderr.matches("will be reopened").count() >= 2, "{}", outcome.stderr);
}

#[test]
fn a_pipeline_that_is_wrong_is_an_error_of_the_configuration_that_names_the_stream() {
    for (text, code, part) in [
        ("videotestsrc ! ", 78, "the pipeline of the source is wrong: "),
        ("videotestsrc ! appsink", 78, "leave appsink out"),
        ("audiotestsrc", 78, "it ends in audio/x-raw: expected video/x-raw"),
        ("videotestsrc ! nvvidconv", 69, "'nvvidconv' is not installed; it is in the package nvidia-l4t-gstreamer"),
    ] {
        let source = format!("pipeline:{text}");
        let outcome = of(&["run"], &source, "");
        assert_eq!(outcome.code(), code, "{}", outcome.stderr);
        assert!(outcome.message().contains(part) && outcome.message().contains("sent"), "{}", outcome.stderr);
        let doctor = of(&["doctor", "--timeout", "60"], &source, "");
        let line = doctor.stdout.lines().find(|line| line.contains("\tstreams\tsent\t")).unwrap();
        assert!(line.starts_with("error\t") && line.contains(part), "{line}");
    }
    let secret = "pipeline:rtspsrc location=rtsp://127.0.0.1:1/ user-id=me user-pw=hunter2 ! decodebin";
    for command in [&["run", "-v"][..], &["doctor", "--timeout", "60"], &["config", "show"]] {
        let outcome = of(command, secret, "retry_max_s = 0\nstart_timeout_s = 5\n");
        assert!(!format!("{}{}", outcome.stdout, outcome.stderr).contains("hunter2"), "{}", outcome.stderr);
    }
}

#[test]
fn cameras_of_boards_are_missing_here_with_the_package_to_install() {
    for (source, element, package) in [
        ("libcamera:", "libcamerasrc", "gstreamer1.0-libcamera"),
        ("nvargus:0", "nvarguscamerasrc", "nvidia-l4t-gstreamer"),
    ] {
        let outcome = run(["run", "--source", source]);
        assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
        let message = outcome.message();
        assert!(message.contains(element) && message.contains(package), "{message}");
        let doctor = of(&["doctor", "--timeout", "60"], source, "");
        let line = doctor.stdout.lines().find(|line| line.contains("\tstreams\tsent\t")).unwrap();
        assert!(line.starts_with("error\t") && line.contains(element) && line.contains(package), "{line}");
    }
}

#[test]
fn settings_that_are_wrong_for_a_receiver_are_told() {
    for (source, keys, part) in [
        ("udp://:5000", "username = \"me\"\n", "only for sources with rtsp://, rtsps://, http:// and https://"),
        (
            "udp://:5000",
            "password_file = \"x\"\n",
            "only for sources with rtsp://, rtsps://, http://, https:// and srt://",
        ),
        ("udp://:5000", "[stream.srt]\nlatency_ms = 1\n", "only for sources with srt://"),
        ("udp://:5000", "[stream.udp]\npayload = \"flv\"\n", "\"mpegts\", \"rtp-mpegts\""),
        ("udp://cam:5000", "", "expected udp://ADDRESS:PORT"),
        ("srt://cam:9000?mode=caller", "", "a setting of [stream.srt]"),
        ("libcamera:", "[stream.nvargus]\nwidth = 64\n", "only for sources with nvargus:"),
        ("nvargus:x", "", "expected nvargus:N"),
        ("pipeline:videotestsrc", "decoder = \"software\"\n", "only for sources with"),
        ("pipeline: ", "", "expected a GStreamer pipeline that ends in raw video"),
    ] {
        let outcome = of(&["config", "check"], source, keys);
        assert_eq!(outcome.code(), 78, "{source} {keys}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
    }
}
