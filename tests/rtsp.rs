//! A network camera: a real RTSP server in this process.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/rtsp.rs"]
mod server;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use common::{Running, hardnetd, run, seqs, wait_for};
use rustix::process::Signal;
use server::{serve, serve_to};

const VIDEO: &str = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=480,framerate=30/1 \
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 pt=96";

#[test]
fn a_network_camera_gives_results_over_tcp_and_udp() {
    let address = serve(&format!("( {VIDEO} )"));
    for transport in ["tcp", "udp"] {
        let folder = common::folder();
        let config = folder.path().join("hardnetd.toml");
        let stream = format!(
            "[[stream]]\nname = \"camera\"\nsource = \"{address}\"\n[stream.rtsp]\ntransport = \"{transport}\"\n"
        );
        std::fs::write(&config, stream).unwrap();
        let records = run(["run", "-c", config.to_str().unwrap(), "--frames", "20"]).records();
        assert_eq!(records.len(), 20, "{transport}");
        let seqs = seqs(&records);
        assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{transport}: {seqs:?}");
    }
}

#[test]
fn a_camera_that_sends_over_udp_alone_says_which_setting_to_change() {
    let address = server::serve_over_udp(&format!("( {VIDEO} )"));
    let outcome = run(["run", "--source", &address]);
    assert_eq!(outcome.code(), 69, "{}", outcome.stderr);
    assert!(outcome.message().contains("set transport to \"udp\""), "{}", outcome.stderr);
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
    assert_eq!(outcome.stderr.matches("several videos: the first one is played, not the next (JPEG)").count(), 1);
    assert!(outcome.stderr.contains("a new format: 640x480"), "{}", outcome.stderr);
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

/// A camera that refuses every login, with these challenges; returns its address and the logins so far.
fn refusing(challenges: &'static [&'static str]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("127.0.0.1:{}/camera", listener.local_addr().unwrap().port());
    let logins = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&logins);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = BufReader::new(connection.unwrap());
            let mut request = String::new();
            while connection.read_line(&mut request).is_ok_and(|length| length > 0) {
                if !request.ends_with("\r\n\r\n") {
                    continue;
                }
                let header = |name: &str| request.lines().find(|line| line.starts_with(name)).unwrap_or_default();
                let login = header("Authorization:");
                if !login.is_empty() {
                    seen.lock().unwrap().push(login.to_owned());
                }
                let answer = if request.starts_with("OPTIONS") {
                    "200 OK\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY\r\n".to_owned()
                } else {
                    let each = challenges.iter().map(|challenge| format!("WWW-Authenticate: {challenge}\r\n"));
                    format!("401 Unauthorized\r\n{}", each.collect::<String>())
                };
                let answer = format!("RTSP/1.0 {answer}{}\r\n\r\n", header("CSeq:"));
                request.clear();
                if connection.get_mut().write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    (address, logins)
}

#[test]
fn a_refused_login_is_called_one_and_not_repeated_at_once() {
    let (address, logins) = refusing(&["Digest realm=\"r\", nonce=\"n\""]);
    let source = format!("rtsp://me:wrong@{address}");
    let outcome = run(["run", "--source", &source]);
    assert_eq!(outcome.code(), 77, "{}", outcome.stderr);
    assert!(outcome.message().contains("the camera refuses the login"), "{}", outcome.stderr);
    assert_eq!(logins.lock().unwrap().len(), 1);

    let folder = common::folder();
    let config = folder.path().join("hardnetd.toml");
    let stream = format!("[[stream]]\nname = \"camera\"\nsource = \"{source}\"\nretry_jitter = 0.0\n");
    std::fs::write(&config, stream).unwrap();
    let running = Running::start(&mut hardnetd(["run", "-c", config.to_str().unwrap()]));
    wait_for("the refusal", || running.log().contains("wait_s=30").then_some(()));
    std::thread::sleep(std::time::Duration::from_secs(2));
    running.signal(Signal::TERM);
    assert_eq!(running.finish().code(), 0);
    assert_eq!(logins.lock().unwrap().len(), 2);
}

#[test]
fn a_corrected_password_is_used_after_a_reload() {
    let address = serve_to(&format!("( {VIDEO} )"), Some(("me", "right")));
    let folder = common::folder();
    let (config, password) = (folder.path().join("hardnetd.toml"), folder.path().join("password"));
    std::fs::write(&password, "wrong\n").unwrap();
    let login = format!("username = \"me\"\npassword_file = \"{}\"\n", password.display());
    std::fs::write(&config, format!("[[stream]]\nname = \"camera\"\nsource = \"{address}\"\n{login}")).unwrap();
    let running = Running::start(&mut hardnetd(["run", "-c", config.to_str().unwrap(), "--frames", "2"]));
    wait_for("the refusal", || running.log().contains("the camera refuses the login").then_some(()));
    std::fs::write(&password, "right\n").unwrap();
    running.signal(Signal::HUP);
    assert_eq!(running.finish().records().len(), 2);
}

#[test]
fn a_digest_that_gstreamer_cannot_make_is_told_apart_from_a_wrong_password() {
    const SHA: &str = "Digest realm=\"r\", nonce=\"sha\", algorithm=\"SHA-256\"";
    let (address, logins) = refusing(&[SHA]);
    let outcome = run(["run", "--source", &format!("rtsp://me:p@{address}")]);
    assert_eq!(outcome.code(), 77, "{}", outcome.stderr);
    assert!(outcome.message().contains("SHA-256 only"), "{}", outcome.stderr);
    assert!(logins.lock().unwrap().is_empty());

    for challenges in
        [&[SHA, "Digest realm=\"r\", nonce=\"md\", algorithm=MD5"], &["Digest realm=\"r\", nonce=\"md\"", SHA]]
    {
        let (address, logins) = refusing(challenges);
        let outcome = run(["run", "--source", &format!("rtsp://me:p@{address}")]);
        assert!(outcome.message().contains("refuses the login"), "{}", outcome.stderr);
        let logins = logins.lock().unwrap();
        assert!(logins.len() == 1 && logins[0].contains("nonce=\"md\""), "{logins:?}");
    }
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
