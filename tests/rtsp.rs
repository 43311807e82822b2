//! A network camera: a real RTSP server in this process.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{hardnetd, run, seqs};
use gstreamer_rtsp_server::gst::{self, glib};
use gstreamer_rtsp_server::prelude::*;
use gstreamer_rtsp_server::{RTSPMediaFactory, RTSPServer};

/// Serves `launch` at `/camera` until the test process ends; returns the address.
fn serve(launch: &str) -> String {
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
fn a_camera_that_is_not_served_is_an_error_that_names_it() {
    let address = serve(&format!("( {VIDEO} )")).replace("/camera", "/nothing");
    let outcome = common::Running::start(&mut hardnetd(["run", "--source", &address])).finish();
    assert_eq!(outcome.code(), 66, "{}", outcome.stderr);
    assert!(outcome.message().contains("/nothing"), "{}", outcome.stderr);
}
