//! GStreamer: its version, the elements that the configured streams need, and the decoders for their video.

use super::{Context, Finding};
use crate::capture::elements::{self, Coding, Decoder};
use crate::capture::{self, Carrier, DecoderChoice, Source, package};
use crate::config::Stream;
use crate::exit::chain;

pub(super) fn look(context: &Context) -> Vec<Finding> {
    if let Err(error) = capture::init() {
        let remedy = "apt install --reinstall libgstreamer1.0-0 gstreamer1.0-plugins-base";
        return vec![Finding::error("version", chain(&error), remedy)];
    }
    let mut findings = vec![Finding::ok("version", capture::version())];
    let mut decoded = Need::default();
    if let Some(config) = &context.config {
        let needs: Vec<Need> = config.streams.iter().filter_map(Need::of).collect();
        decoded.camera = needs.iter().any(|need| need.camera);
        decoded.file = needs.iter().any(|need| need.file);
        decoded.pictures = needs.iter().any(|need| need.pictures);
        let mut names: Vec<&str> = needs.iter().flat_map(|need| need.elements.iter().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        findings.push(installed(&names, &elements::is_installed));
    }
    for coding in Coding::ALL {
        let decoders = elements::decoders(coding);
        findings.push(decoder(coding, &decoded, &decoders, &elements::is_installed, &elements::starts));
    }
    let streams = context.config.iter().flat_map(|config| &config.streams);
    findings.extend(streams.filter_map(|stream| wanted(stream, &elements::is_decoder, &elements::starts)));
    findings.push(hardware(&elements::hardware_decoders()));
    findings
}

/// A stream's needs from GStreamer.
#[derive(Debug, Default)]
struct Need {
    /// Elements that are known before data arrives.
    elements: Vec<String>,
    /// Whether its video comes over RTP.
    camera: bool,
    /// Whether it comes from a file or from a camera at this machine, which may be in any coding.
    file: bool,
    /// Whether it comes as JPEG pictures.
    pictures: bool,
}

impl Need {
    fn of(stream: &Stream) -> Option<Self> {
        let source = Source::parse(&stream.source).ok()?;
        let launch = source.launch(stream, None)?;
        let mut elements: Vec<String> = launch.elements().into_iter().map(str::to_owned).collect();
        elements.extend(source.demuxer().map(str::to_owned));
        let carrier = source.carrier();
        let file = matches!(carrier, Carrier::File | Carrier::Device | Carrier::Packets);
        Some(Self { elements, camera: carrier == Carrier::Rtp, file, pictures: carrier == Carrier::Web })
    }
}

fn installed(names: &[&str], has: &dyn Fn(&str) -> bool) -> Finding {
    let missing: Vec<&str> = names.iter().copied().filter(|name| !has(name)).collect();
    match (names, missing.as_slice()) {
        ([], _) => Finding::absent("elements", "the configured streams need none"),
        (names, []) => Finding::ok("elements", names.join(", ")),
        (_, missing) => {
            let mut packages: Vec<&str> = missing.iter().map(|name| package::of_element(name)).collect();
            packages.sort_unstable();
            packages.dedup();
            let found = format!("missing for the configured streams: {}", missing.join(", "));
            Finding::error("elements", found, format!("apt install {}", packages.join(" ")))
        }
    }
}

/// The decoder for `coding` that a stream takes unless its settings say otherwise.
fn decoder(
    coding: Coding,
    need: &Need,
    decoders: &[Decoder],
    has: &dyn Fn(&str) -> bool,
    starts: &dyn Fn(&str) -> bool,
) -> Finding {
    let name = coding.name();
    let missing = if need.camera && !has(coding.depayloader()) {
        Some((coding.depayloader(), package::of_element(coding.depayloader())))
    } else if decoders.is_empty() {
        Some(("a decoder", package::of_media(coding.media())))
    } else {
        None
    };
    if let Some((what, package)) = missing {
        let remedy = format!("apt install {package}");
        let needed = need.camera || need.file || need.pictures && coding == Coding::Jpeg;
        return match (needed, coding) {
            (false, _) => Finding::absent(name, format!("{what} is not installed, and no configured stream needs it")),
            // The coding that nearly every camera sends.
            (true, Coding::H264) if need.camera => Finding::error(name, format!("{what} is not installed"), remedy),
            (true, _) => Finding::warning(
                name,
                format!("{what} is not installed; streams with {name} cannot be decoded"),
                remedy,
            ),
        };
    }
    let shown: Vec<String> = DecoderChoice::Auto.allowed(decoders, starts).into_iter().map(show).collect();
    let (first, others) = shown.split_first().map_or(("none", &[][..]), |(first, others)| (first.as_str(), others));
    let others = if others.is_empty() { String::new() } else { format!("; then {}", others.join(", ")) };
    let found = format!("streams take {first}{others}");
    match decoders.iter().find(|decoder| decoder.hardware && !starts(&decoder.name)) {
        Some(hardware) => {
            let remedy = "see the checks of devices and of the service's sandbox; GST_DEBUG=3 says more";
            Finding::warning(name, format!("{found}: the hardware decoder {} does not start", hardware.name), remedy)
        }
        None => Finding::ok(name, found),
    }
}

/// The decoder that a stream names, or its choice of software.
fn wanted(
    stream: &Stream,
    is_decoder: &dyn Fn(&str) -> Option<bool>,
    starts: &dyn Fn(&str) -> bool,
) -> Option<Finding> {
    let name = format!("decoder of {}", stream.name);
    let element = match stream.decoder.parse().unwrap_or_default() {
        DecoderChoice::Auto => return None,
        DecoderChoice::Software => return Some(Finding::ok(name, "software, as stream.decoder says")),
        DecoderChoice::Element(element) => element,
    };
    Some(match is_decoder(&element) {
        None => {
            let remedy = format!("correct stream.decoder: {}", package::remedy(&element));
            Finding::error(name, format!("{element} is not installed"), remedy)
        }
        Some(false) => Finding::error(name, format!("{element} is no video decoder"), "correct stream.decoder"),
        Some(true) if !starts(&element) => {
            let remedy = "see the checks of devices and of the service's sandbox, or set stream.decoder to auto";
            Finding::error(name, format!("{element} does not start"), remedy)
        }
        Some(true) => Finding::ok(name, format!("{element}, as stream.decoder says")),
    })
}

fn show(decoder: &Decoder) -> String {
    let Decoder { name, rank, hardware } = decoder;
    format!("{name} ({}, rank {rank})", if *hardware { "hardware" } else { "software" })
}

fn hardware(decoders: &[Decoder]) -> Finding {
    let names: Vec<&str> = decoders.iter().map(|decoder| decoder.name.as_str()).collect();
    match names.as_slice() {
        [] => Finding::absent("hardware decoders", "none: video is decoded in software"),
        names => Finding::ok("hardware decoders", names.join(", ")),
    }
}

#[cfg(test)]
mod units {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::doctor::State;

    fn of(name: &str, rank: i32, hardware: bool) -> Decoder {
        Decoder { name: name.into(), rank, hardware }
    }

    fn need(source: &str) -> Need {
        Need::of(&Stream { source: source.into(), ..Stream::default() }).unwrap()
    }

    #[test]
    fn missing_elements_are_named_with_their_packages() {
        let need = need("/media/clip.mp4");
        let names: Vec<&str> = need.elements.iter().map(String::as_str).collect();
        assert_eq!(names, ["filesrc", "decodebin", "videoconvert", "videoflip", "appsink", "qtdemux"]);
        assert_eq!(installed(&names, &|_| true).state, State::Ok);
        let finding = installed(&names, &|name| name != "qtdemux" && name != "decodebin");
        assert_eq!(finding.state, State::Error);
        assert!(finding.found.ends_with(": decodebin, qtdemux"), "{}", finding.found);
        let remedy = "apt install gstreamer1.0-plugins-base gstreamer1.0-plugins-good";
        assert_eq!(finding.remedy.as_deref(), Some(remedy));
        assert_eq!(installed(&[], &|_| true).state, State::Absent);
    }

    #[test]
    fn a_camera_cannot_do_without_h264() {
        let (camera, file, neither) = (need("rtsp://cam/1"), need("clip.mp4"), Need::default());
        let state =
            |coding, need, decoders: &[Decoder], has: bool| decoder(coding, need, decoders, &|_| has, &|_| true).state;
        assert_eq!(state(Coding::H264, &camera, &[], true), State::Error);
        assert_eq!(state(Coding::H264, &camera, &[of("avdec_h264", 256, false)], false), State::Error);
        assert_eq!(state(Coding::H265, &camera, &[], true), State::Warning);
        assert_eq!(state(Coding::H264, &file, &[], true), State::Warning);
        assert_eq!(state(Coding::H264, &neither, &[], true), State::Absent);
        let web = need("http://cam/1");
        assert_eq!(state(Coding::H264, &web, &[], true), State::Absent);
        assert_eq!(state(Coding::Jpeg, &web, &[], true), State::Warning);
        let finding = decoder(Coding::H264, &camera, &[], &|_| true, &|_| true);
        assert_eq!(finding.remedy.as_deref(), Some("apt install gstreamer1.0-libav"));
    }

    #[test]
    fn the_decoder_that_a_stream_would_take_is_told() {
        let camera = need("rtsp://cam/1");
        let pi = [of("v4l2h264dec", 257, true), of("avdec_h264", 256, false)];
        let finding = decoder(Coding::H264, &camera, &pi, &|_| true, &|_| true);
        let found = "streams take v4l2h264dec (hardware, rank 257); then avdec_h264 (software, rank 256)";
        assert_eq!((finding.state, finding.found.as_str()), (State::Ok, found));
        let intel = [of("avdec_h264", 256, false), of("vah264dec", 64, true)];
        let finding = decoder(Coding::H264, &camera, &intel, &|_| true, &|_| true);
        let found = "streams take vah264dec (hardware, rank 64)";
        assert_eq!((finding.state, finding.found.as_str()), (State::Ok, found));
        let finding = decoder(Coding::H264, &camera, &pi, &|_| true, &|name| name != "v4l2h264dec");
        let found = "streams take avdec_h264 (software, rank 256): the hardware decoder v4l2h264dec does not start";
        assert_eq!((finding.state, finding.found.as_str()), (State::Warning, found));
    }

    #[test]
    fn the_decoder_that_a_stream_names_is_checked() {
        let is_decoder = |name: &str| match name {
            "x264enc" => Some(false),
            "v4l2h264dec" | "avdec_h264" => Some(true),
            _ => None,
        };
        for (decoder, expected) in [
            ("auto", None),
            ("software", Some((State::Ok, "software, as stream.decoder says"))),
            ("avdec_h264", Some((State::Ok, "avdec_h264, as stream.decoder says"))),
            ("v4l2h264dec", Some((State::Error, "v4l2h264dec does not start"))),
            ("nvv4l2decoder", Some((State::Error, "nvv4l2decoder is not installed"))),
            ("x264enc", Some((State::Error, "x264enc is no video decoder"))),
        ] {
            let stream = Stream { name: "door".into(), decoder: decoder.into(), ..Stream::default() };
            let finding = wanted(&stream, &is_decoder, &|name| name != "v4l2h264dec");
            let said = finding.as_ref().map(|finding| (finding.state, finding.found.as_str()));
            assert_eq!(said, expected, "{decoder}");
        }
    }
}
