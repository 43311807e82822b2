//! Which GStreamer elements and decoders are installed, according to the registry; builds no pipeline.
//!
//! Call [`init`](super::init) first.

use gstreamer as gst;
use gstreamer::glib::translate::IntoGlib;
use gstreamer::prelude::*;

/// A video coding used by cameras and files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// H.264, AVC.
    H264,
    /// H.265, HEVC.
    H265,
    /// A sequence of JPEG pictures.
    Jpeg,
}

impl Coding {
    /// All codings, the most common first.
    pub const ALL: [Self; 3] = [Self::H264, Self::H265, Self::Jpeg];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::H265 => "H.265",
            Self::Jpeg => "JPEG",
        }
    }

    /// Its media type in GStreamer.
    #[must_use]
    pub fn media(self) -> &'static str {
        match self {
            Self::H264 => "video/x-h264",
            Self::H265 => "video/x-h265",
            Self::Jpeg => "image/jpeg",
        }
    }

    /// The element that extracts it from RTP packets.
    #[must_use]
    pub fn depayloader(self) -> &'static str {
        match self {
            Self::H264 => "rtph264depay",
            Self::H265 => "rtph265depay",
            Self::Jpeg => "rtpjpegdepay",
        }
    }
}

/// An installed decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoder {
    /// Name of the element.
    pub name: String,
    /// Its rank: decodebin tries the highest first.
    pub rank: i32,
    /// Whether it is a hardware decoder.
    pub hardware: bool,
}

/// Whether the element called `name` is installed.
#[must_use]
pub fn is_installed(name: &str) -> bool {
    gst::ElementFactory::find(name).is_some()
}

/// The decoders of `coding` that decodebin considers, in the order in which it tries them.
#[must_use]
pub fn decoders(coding: Coding) -> Vec<Decoder> {
    let caps = gst::Caps::new_empty_simple(coding.media());
    let factories = gst::ElementFactory::factories_with_type(gst::ElementFactoryType::DECODER, gst::Rank::MARGINAL);
    let mut decoders: Vec<Decoder> =
        factories.iter().filter(|factory| factory.can_sink_any_caps(&caps)).map(of_factory).collect();
    decoders.sort_by(|a, b| b.rank.cmp(&a.rank).then_with(|| a.name.cmp(&b.name)));
    decoders
}

/// All hardware video decoders, whatever their coding or rank.
#[must_use]
pub fn hardware_decoders() -> Vec<Decoder> {
    let factories = gst::ElementFactory::factories_with_type(gst::ElementFactoryType::DECODER, gst::Rank::NONE);
    let mut decoders: Vec<Decoder> = factories.iter().map(of_factory).filter(|decoder| decoder.hardware).collect();
    decoders.sort_by(|a, b| a.name.cmp(&b.name));
    decoders
}

fn of_factory(factory: &gst::ElementFactory) -> Decoder {
    let name = factory.name().to_string();
    let hardware = is_hardware(&name, factory.metadata("klass").unwrap_or_default());
    Decoder { rank: factory.rank().into_glib(), hardware, name }
}

/// Hardware decoders say so in their class (GStreamer, "Klass defines": `Codec/Decoder/Video/Hardware`). NVIDIA's
/// decoder for Jetson does not; it is recognised by name.
fn is_hardware(name: &str, class: &str) -> bool {
    let of = |word| class.split('/').any(|part| part == word);
    (of("Hardware") && (of("Video") || of("Image"))) || name.starts_with("nvv4l2") || name == "nvjpegdec"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::package;
    use super::*;

    #[test]
    fn hardware_is_told_by_the_class_and_nvidias_by_the_name() {
        assert!(is_hardware("v4l2h264dec", "Codec/Decoder/Video/Hardware"));
        assert!(is_hardware("nvv4l2decoder", "Codec/Decoder/Video"));
        assert!(!is_hardware("avdec_h264", "Codec/Decoder/Video"));
        assert!(!is_hardware("somedec", "Codec/Decoder/Audio/Hardware"));
    }

    #[test]
    fn decodebin_takes_the_first_decoder_that_is_listed() {
        super::super::init().unwrap();
        let decoders = decoders(Coding::H264);
        let source = "videotestsrc num-buffers=2 ! x264enc ! decodebin name=decode ! fakesink";
        let pipeline = gst::parse::launch(source).unwrap().downcast::<gst::Pipeline>().unwrap();
        pipeline.set_state(gst::State::Paused).unwrap();
        let (outcome, ..) = pipeline.state(gst::ClockTime::from_seconds(60));
        outcome.unwrap();
        let decode = pipeline.by_name("decode").unwrap().downcast::<gst::Bin>().unwrap();
        let inside: Vec<String> = decode
            .iterate_elements()
            .into_iter()
            .flatten()
            .filter_map(|e| Some(e.factory()?.name().to_string()))
            .collect();
        pipeline.set_state(gst::State::Null).unwrap();
        assert!(inside.contains(&decoders[0].name), "{decoders:?} {inside:?}");
    }

    #[test]
    fn every_element_that_has_a_package_is_in_it() {
        super::super::init().unwrap();
        for coding in Coding::ALL {
            assert!(is_installed(coding.depayloader()), "{coding:?}");
            assert_eq!(package::of_element(coding.depayloader()), "gstreamer1.0-plugins-good");
        }
        assert!(!is_installed("nosuchelement"));
    }
}
