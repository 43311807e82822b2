//! A network camera: a real RTSP server in this process.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{hardnetd, run, seqs};
use gstreamer_rtsp_server::gst::{self, glib};
use gstreamer_rtsp_server::prelude::*;
use gstreamer_rtsp_server::{
    RTSP_PERM_MEDIA_FACTORY_ACCESS, RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, RTSP_TOKEN_MEDIA_FACTORY_ROLE, RTSPAuth,
    RTSPMediaFactory, RTSPServer, RTSPToken,
};

/// Serves `launch` at `/camera` until the test process ends; returns the address.
fn serve(launch: &str) -> String {
    serve_to(launch, None)
}

/// Like `serve`, but requires a login.
fn serve_to(launch: &str, login: Option<(&'static str, &'static str)>) -> String {
    gst::init().unwrap();
    let (sender, port) = std::sync::mpsc::channel();
    let launch = launch.to_owned();
    std::thread::Builder::new()
        .name("rtsp-server".into())
        .spawn(move || {
            let context = glib::MainContext::new();
            let server = RTSPServer::new();
            server.set_address("127.0.0.1");
            server.set_service("0");
            let factory = RTSPMediaFactory::new();
            factory.set_launch(&launch);
            factory.set_shared(true);
            if let Some((user, password)) = login {
                let auth = RTSPAuth::new();
                let token = RTSPToken::builder().field(RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer").build();
                auth.add_basic(&RTSPAuth::make_basic(user, password), &token);
                let role = gst::Structure::builder("viewer")
                    .field(RTSP_PERM_MEDIA_FACTORY_ACCESS, true)
                    .field(RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, true)
                    .build();
                factory.add_role_from_structure(&role);
                server.set_auth(Some(&auth));
            }
            server.mount_points().unwrap().add_factory("/camera", factory);
            let _source = server.attach(Some(&context)).unwrap();
            sender.send(server.bound_port()).unwrap();
            glib::MainLoop::new(Some(&context), false).run();
        })
        .unwrap();
    format!("rtsp://127.0.0.1:{}/camera", port.recv().unwrap())
}

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
