//! A network camera that falls silent, changes, or sends what nobody can use: a real RTSP server with faults. Its stream goes
//! through the states in order, classification goes on soon after the fault, and all frames are accounted for.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/rtsp.rs"]
mod server;
#[path = "common/watched.rs"]
mod watched;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use common::wait_for;
use gstreamer_rtsp_server::prelude::*;
use server::{noise_from, serve, serve_faulty};
use watched::Stream;

const VIDEO: &str = "videotestsrc is-live=true pattern=ball \
    ! capsfilter name=size caps=video/x-raw,width=640,height=480,framerate=30/1 \
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay config-interval=-1 name=pay0 pt=96";

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
    // A quarter of it is left for coming back.
    let stream = Stream::start_with(&camera.address, 12.0, "");
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
    // Frames of the other format are on their way.
    thread::sleep(Duration::from_secs(1));
    stream.goes_on();
    let stats = stream.stats();
    assert!(stats["reconnects"] == 0 && stats["stalls"] == 0, "{stats}");
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
    let stats = stream.stats();
    assert!(stats["left_out"].as_u64() > Some(0) || stats["reconnects"].as_u64() > Some(0), "{stats}");
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
