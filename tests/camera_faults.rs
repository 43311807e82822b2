//! A network camera that falls silent, changes, or sends what nobody can use: a real RTSP server with faults. Its stream goes
//! through the states in order, classification goes on soon after the fault, and all frames are accounted for.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/rtsp.rs"]
mod server;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use common::broker::Broker;
use common::subscriber::Subscriber;
use common::{Outcome, Running, hardnetd, wait_for};
use gstreamer_rtsp_server::prelude::*;
use jiff::Timestamp;
use rustix::process::Signal;
use server::{noise_from, serve, serve_faulty};
use tempfile::TempDir;

const VIDEO: &str = "videotestsrc is-live=true pattern=ball \
    ! capsfilter name=size caps=video/x-raw,width=640,height=480,framerate=30/1 \
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay config-interval=-1 name=pay0 pt=96";

/// The limit of silence and the wait before reopening, in seconds.
const STALL: f64 = 4.0;
const RETRY: f64 = 0.5;

/// What a connection and the first picture may take on a busy machine.
const SETUP: Duration = Duration::from_secs(15);

/// A stream from a camera, with what a subscriber learns of it.
struct Stream {
    running: Running,
    subscriber: Subscriber,
    folder: TempDir,
    _broker: Broker,
}

impl Stream {
    fn start(address: &str, keys: &str) -> Self {
        let (broker, folder) = (Broker::start("allow_anonymous true"), common::folder());
        let subscriber = Subscriber::start(broker.port, &[]);
        let config = folder.path().join("hardnetd.toml");
        std::fs::write(folder.path().join("password"), "wr0ng\n").unwrap();
        let text = format!(
            "[device]\nname = \"pi\"\nstop_timeout_s = 30\n[model]\nsize = \"32x32\"\n\
             [publish.mqtt]\nenabled = true\nhost = \"127.0.0.1\"\nport = {}\nstats_s = 1\n\
             [[stream]]\nname = \"camera\"\nsource = \"{address}\"\nstall_timeout_s = {STALL}\n\
             retry_first_s = {RETRY}\nretry_max_s = {RETRY}\nretry_jitter = 0.0\n{}",
            broker.port,
            keys.replace("FOLDER", folder.path().to_str().unwrap())
        );
        std::fs::write(&config, text).unwrap();
        let running = Running::start(&mut hardnetd(["run", "-c", config.to_str().unwrap()]));
        Self { running, subscriber, folder, _broker: broker }
    }

    /// The file of a password that is wrong at first.
    fn password(&self) -> PathBuf {
        self.folder.path().join("password")
    }

    /// The states since it was `offline` at the start. A busy machine may have it wait for a key frame in between.
    fn states(&self) -> Vec<String> {
        let lines = self.subscriber.lines();
        let states = lines.iter().filter_map(|line| line.split_once(' ')?.1.strip_prefix("hardnetd/pi/camera/status "));
        let states = states.skip_while(|state| *state == "offline").filter(|state| *state != "waiting");
        let mut states: Vec<String> = states.map(str::to_owned).collect();
        states.dedup();
        states
    }

    /// Waits until the states have been these, and no others.
    fn reaches(&self, expected: &[&str]) {
        wait_for("the state", || {
            let states = self.states();
            let same = states.iter().zip(expected).all(|(state, expected)| state == expected);
            assert!(same && states.len() <= expected.len(), "{states:?}, not {expected:?}: {}", self.running.log());
            (states.len() == expected.len()).then_some(())
        });
    }

    /// When the frames of the results so far were captured.
    fn captured(&self) -> Vec<Timestamp> {
        let output = self.running.output();
        let (whole, _) = output.rsplit_once('\n').unwrap_or_default();
        let time = |line: &str| -> Timestamp {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            record["captured_at"].as_str().unwrap().parse().unwrap()
        };
        whole.lines().map(time).collect()
    }

    /// Waits for results of frames after a fault, of which the first may take the limit of silence, a wait, and a connection.
    fn goes_on(&self) {
        let start = Timestamp::now();
        let first = wait_for("further results", || {
            let after: Vec<Timestamp> = self.captured().into_iter().filter(|captured| *captured > start).collect();
            Some(after).filter(|after| after.len() >= 3)?.first().copied()
        });
        let took = Duration::try_from(first.duration_since(start)).unwrap();
        let limit = Duration::from_secs_f64(STALL + RETRY) + SETUP;
        assert!(took < limit, "{took:?}: {}", self.running.log());
    }

    /// The latest statistics of the stream, after a moment.
    fn stats(&self) -> serde_json::Value {
        let schema = include_str!("../assets/hardnetd.stats.v1.schema.json");
        let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
        let all = || -> Vec<String> {
            let lines = self.subscriber.lines();
            lines.iter().filter_map(|line| line.strip_prefix("0 hardnetd/pi/stats ")).map(str::to_owned).collect()
        };
        let before = all().len();
        let last = wait_for("statistics", || Some(all()).filter(|all| all.len() >= before + 2)?.pop());
        let stats = serde_json::from_str(&last).unwrap();
        if let Err(error) = schema.validate(&stats) {
            panic!("{error}: {last}");
        }
        stats["streams"][0].clone()
    }

    /// Stops it; its records add up.
    fn stops(self) -> Outcome {
        self.running.signal(Signal::TERM);
        let outcome = self.running.finish();
        common::numbers_add_up(&outcome.records());
        outcome
    }
}

#[test]
fn a_camera_that_accepts_and_never_sends_is_retried_until_it_sends() {
    let camera = serve_faulty(&format!("( {VIDEO} )"), None);
    camera.faults.is_mute.store(true, Ordering::SeqCst);
    let stream = Stream::start(&camera.address, "start_timeout_s = 3\n");
    stream.reaches(&["retrying"]);
    let stats = stream.stats();
    assert!(stats["state"] == "retrying" && stats["classified"] == 0, "{stats}");
    assert!(stats["last_failure"]["reason"].as_str().unwrap().starts_with("no frame within 3 s"), "{stats}");
    camera.faults.is_mute.store(false, Ordering::SeqCst);
    stream.goes_on();
    stream.reaches(&["retrying", "online"]);
    let stats = stream.stats();
    assert!(stats["reconnects"].as_u64() >= Some(1) && stats["state"] == "online" && stats["stalls"] == 0, "{stats}");
    stream.stops();
}

#[test]
fn a_camera_that_freezes_is_stalled_then_retried_and_one_that_goes_on_in_time_is_not() {
    let camera = serve_faulty(&format!("( {VIDEO} )"), None);
    let stream = Stream::start(&camera.address, "");
    let mute = |is_mute| camera.faults.is_mute.store(is_mute, Ordering::SeqCst);
    stream.reaches(&["online"]);
    mute(true);
    stream.reaches(&["online", "stalled"]);
    mute(false);
    stream.reaches(&["online", "stalled", "online"]);
    assert_eq!(stream.stats()["reconnects"], 0);
    mute(true);
    stream.reaches(&["online", "stalled", "online", "stalled", "retrying"]);
    mute(false);
    stream.goes_on();
    stream.reaches(&["online", "stalled", "online", "stalled", "retrying", "online"]);
    let stats = stream.stats();
    assert_eq!(stats["stalls"], 2, "{stats}");
    assert!(stats["last_failure"]["reason"].as_str().unwrap().contains("stream.stall_timeout_s"), "{stats}");
    let outcome = stream.stops();
    assert_eq!(outcome.stderr.matches("the stream is stalled").count(), 2, "{}", outcome.stderr);
}

#[test]
fn a_camera_may_change_size_and_rate_while_it_sends() {
    let camera = serve_faulty(&format!("( {VIDEO} )"), None);
    let stream = Stream::start(&camera.address, "");
    stream.reaches(&["online"]);
    camera.faults.resize("video/x-raw,width=320,height=240,framerate=10/1");
    wait_for("the new format", || stream.running.log().contains("a new format: 320x240").then_some(()));
    stream.goes_on();
    camera.faults.resize("video/x-raw,width=640,height=480,framerate=30/1");
    stream.goes_on();
    let outcome = stream.stops();
    assert!(!outcome.stderr.contains("ERROR"), "{}", outcome.stderr);
}

#[test]
fn a_camera_may_change_its_coding_between_two_connections() {
    let few = VIDEO.replace("is-live=true", "is-live=true num-buffers=300");
    let camera = serve_faulty(&format!("( {few} )"), None);
    let stream = Stream::start(&camera.address, "");
    stream.reaches(&["online"]);
    let jpeg = "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! jpegenc";
    camera.factory.set_launch(&format!("( {jpeg} ! rtpjpegpay name=pay0 pt=26 )"));
    stream.reaches(&["online", "retrying", "online"]);
    stream.goes_on();
    assert!(stream.stats()["last_failure"]["reason"].as_str().unwrap().contains("the camera ended the stream after"));
    let outcome = stream.stops();
    assert!(outcome.stderr.contains("a new format: 320x240"), "{}", outcome.stderr);
}

#[test]
fn a_corrected_password_is_used_at_the_next_login_without_a_reload() {
    let camera = serve_faulty(&format!("( {VIDEO} )"), Some(("me", "right")));
    let stream = Stream::start(&camera.address, "username = \"me\"\npassword_file = \"FOLDER/password\"\n");
    stream.reaches(&["retrying"]);
    let stats = stream.stats();
    assert!(stats["last_failure"]["reason"].as_str().unwrap().contains("refuses the login"), "{stats}");
    std::fs::write(stream.password(), "right\n").unwrap();
    // Logins are half a minute apart.
    stream.reaches(&["retrying", "online"]);
    stream.goes_on();
    let outcome = stream.stops();
    assert!(!outcome.stderr.contains("wr0ng"), "{}", outcome.stderr);
}

#[test]
fn sound_and_metadata_beside_the_video_are_left_alone() {
    let sound = "audiotestsrc is-live=true ! audioconvert ! alawenc ! rtppcmapay name=pay1 pt=97";
    // Something that is neither sound nor pictures: raw samples as GStreamer's own media `application`.
    let metadata = "audiotestsrc is-live=true ! audio/x-raw,rate=8000 ! rtpgstpay name=pay2 pt=98";
    let stream = Stream::start(&serve(&format!("( {VIDEO} {sound} {metadata} )")), "");
    stream.reaches(&["online"]);
    stream.goes_on();
    assert_eq!(stream.stats()["reconnects"], 0);
    stream.stops();
}

#[test]
fn a_camera_whose_time_stamps_jump_back_goes_on() {
    let camera = serve_faulty(&format!("( {VIDEO} )"), None);
    let stream = Stream::start(&camera.address, "");
    stream.reaches(&["online"]);
    for seconds in [10_u32, 3600] {
        // At 90,000 per second.
        camera.faults.jump.fetch_sub(seconds * 90_000, Ordering::SeqCst);
        stream.goes_on();
    }
    stream.stops();
}

#[test]
fn noise_in_place_of_the_video_ends_with_the_noise() {
    let camera = serve_faulty(&format!("( {VIDEO} )"), None);
    let stream = Stream::start(&camera.address, "key_frame_timeout_s = 8\n");
    stream.reaches(&["online"]);
    camera.faults.is_garbled.store(true, Ordering::SeqCst);
    thread::sleep(Duration::from_secs(6));
    camera.faults.is_garbled.store(false, Ordering::SeqCst);
    stream.goes_on();
    let outcome = stream.stops();
    assert!(!outcome.stderr.contains("panicked") && !outcome.stderr.contains("CRITICAL"), "{}", outcome.stderr);
}

/// Leads to the camera at `address`, but for the first connections: two get noise for an answer, and one gets none.
fn detour(address: &str) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (host, path) = address.strip_prefix("rtsp://").unwrap().split_once('/').unwrap();
    let (host, path) = (host.to_owned(), path.to_owned());
    thread::spawn(move || {
        let mut held = Vec::new();
        for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
            match number {
                0 | 1 => {
                    let mut noise = vec![0; 100_000];
                    noise_from(number as u32, &mut noise);
                    let mut client = client;
                    thread::spawn(move || client.write_all(&noise));
                }
                2 => held.push(client),
                _ => {
                    let camera = TcpStream::connect(&host).unwrap();
                    pass_on(client.try_clone().unwrap(), camera.try_clone().unwrap());
                    pass_on(camera, client);
                }
            }
        }
    });
    format!("rtsp://127.0.0.1:{port}/{path}")
}

/// Copies what one side sends to the other, until either ends.
fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
    });
}

#[test]
fn a_camera_that_answers_with_noise_or_not_at_all_is_retried_until_it_makes_sense() {
    let address = detour(&serve(&format!("( {VIDEO} )")));
    let stream = Stream::start(&address, "start_timeout_s = 5\n");
    stream.reaches(&["retrying", "online"]);
    stream.goes_on();
    let stats = stream.stats();
    assert!(stats["reconnects"].as_u64() >= Some(2), "{stats}");
    let outcome = stream.stops();
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
}
