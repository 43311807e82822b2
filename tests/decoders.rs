//! The choice of a decoder, through the whole program, with those that are installed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{Outcome, Running, encode, folder, hardnetd};

/// Two frames of H.264 in `folder`, and the outcome of `command` with this decoder for them.
fn of(folder: &Path, command: &[&str], decoder: &str) -> Outcome {
    let clip = folder.join("clip.mp4");
    if !clip.exists() {
        let source = "videotestsrc num-buffers=2 ! video/x-raw,width=320,height=240,framerate=30/1";
        encode(&format!("{source} ! x264enc ! video/x-h264,profile=baseline ! h264parse ! mp4mux"), &clip);
    }
    let path = folder.join("hardnetd.toml");
    let text = format!("[[stream]]\nname = \"clip\"\nsource = \"{}\"\ndecoder = \"{decoder}\"\n", clip.display());
    std::fs::write(&path, text).unwrap();
    let arguments = command.iter().copied().chain(["-c", path.to_str().unwrap()]);
    Running::start(&mut hardnetd(arguments)).finish()
}

#[test]
fn a_stream_takes_the_decoder_that_it_names_and_says_so() {
    let folder = folder();
    for (decoder, taken) in [
        ("auto", "decoding with avdec_h264 (software)"),
        ("software", "decoding with avdec_h264 (software)"),
        ("avdec_h264", "decoding with avdec_h264 (software)"),
        ("openh264dec", "decoding with openh264dec (software)"),
    ] {
        let outcome = of(folder.path(), &["run"], decoder);
        assert_eq!(outcome.records().len(), 2, "{decoder}");
        assert!(outcome.stderr.contains(taken), "{decoder}: {}", outcome.stderr);
    }
    let doctor = of(folder.path(), &["doctor"], "openh264dec");
    assert!(doctor.stdout.contains("ok\tgstreamer\tdecoder of clip\topenh264dec, as"), "{}", doctor.stdout);
    assert!(doctor.stdout.contains("\tH.264\tstreams take avdec_h264"), "{}", doctor.stdout);
}

#[test]
fn a_decoder_that_is_missing_or_none_or_for_other_video_is_an_error() {
    let folder = folder();
    for (decoder, code, message) in [
        ("v4l2h264dec", 69, "'v4l2h264dec' is not installed; it is in the package gstreamer1.0-plugins-good"),
        ("x264enc", 78, "'x264enc' is no video decoder (stream.decoder)"),
        ("jpegdec", 78, "the decoder 'jpegdec' (stream.decoder) does not take video/x-h264"),
    ] {
        let outcome = of(folder.path(), &["run"], decoder);
        assert_eq!(outcome.code(), code, "{}", outcome.stderr);
        assert!(outcome.message().contains(message), "{}", outcome.stderr);
    }
    let doctor = of(folder.path(), &["doctor"], "v4l2h264dec");
    assert!(
        doctor.stdout.contains("error\tgstreamer\tdecoder of clip\tv4l2h264dec is not installed"),
        "{}",
        doctor.stdout
    );
}
