//! Which GStreamer elements and decoders are installed, according to the registry; builds no pipeline.
//!
//! Call [`init`](super::init) first.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::glib::translate::IntoGlib;
use gstreamer::prelude::*;

use super::decoder::SYSTEM_MEMORY;

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
    decoders_of(&gst::Caps::new_empty_simple(coding.media()))
}

/// The same of media with these caps. Those that only streams that name them take are left out.
pub(super) fn decoders_of(caps: &gst::Caps) -> Vec<Decoder> {
    let factories = gst::ElementFactory::factories_with_type(gst::ElementFactoryType::DECODER, gst::Rank::MARGINAL);
    let mut decoders: Vec<Decoder> =
        factories.iter().filter(|factory| factory.can_sink_any_caps(caps)).map(of_factory).collect();
    let named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    decoders.retain(|decoder| !named.contains(&decoder.name));
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

/// Whether the element called `name` starts: a hardware decoder then opens its device.
#[must_use]
pub fn starts(name: &str) -> bool {
    let Ok(element) = gst::ElementFactory::make(name).build() else { return false };
    let starts = element.set_state(gst::State::Ready).is_ok();
    starts & element.set_state(gst::State::Null).is_ok()
}

/// The elements that have started once.
static STARTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The same, without opening a device again that has worked before: a pipeline asks each time that it is made.
pub(super) fn has_started(name: &str) -> bool {
    let started = || STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut has_started = started().contains(name);
    if !has_started && starts(name) {
        started().insert(name.to_owned());
        has_started = true;
    }
    has_started
}

/// Whether the element called `name` decodes pictures; `None` if it is not installed.
#[must_use]
pub fn is_decoder(name: &str) -> Option<bool> {
    let factory = gst::ElementFactory::find(name)?;
    Some(is_decoder_class(factory.metadata("klass").unwrap_or_default()))
}

/// Whether elements of a class decode pictures (GStreamer, "Klass defines").
pub(super) fn is_decoder_class(class: &str) -> bool {
    let is = |word| class.split('/').any(|part| part == word);
    is("Decoder") && (is("Video") || is("Image"))
}

/// The decoders that decodebin considers only because a stream names them.
static NAMED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Makes decodebin consider the decoder called `name`, whatever its rank, which belongs to the whole process.
pub(super) fn consider(name: &str) {
    let factory = gst::ElementFactory::find(name);
    if let Some(factory) = factory.filter(|factory| factory.rank() < gst::Rank::MARGINAL) {
        NAMED.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        factory.set_rank(gst::Rank::MARGINAL);
    }
}

/// Whether the element called `name` takes media of the type `media`, in some form: a parser may make another of it.
pub(super) fn takes(name: &str, media: &str) -> bool {
    let inputs = inputs(name);
    inputs.is_any() || inputs.iter().any(|structure| structure.name() == media)
}

/// What the element called `name` takes.
pub(super) fn inputs(name: &str) -> gst::Caps {
    let mut caps = gst::Caps::new_empty();
    let Some(factory) = gst::ElementFactory::find(name) else { return caps };
    let templates = factory.static_pad_templates();
    for template in templates.iter().filter(|template| template.direction() == gst::PadDirection::Sink) {
        caps.merge(template.caps());
    }
    caps
}

/// The kinds of memory in which the element called `name` can give pictures, as features of caps.
pub(super) fn memories(name: &str) -> Vec<String> {
    let Some(factory) = gst::ElementFactory::find(name) else { return Vec::new() };
    let templates = factory.static_pad_templates();
    let sources = templates.iter().filter(|template| template.direction() == gst::PadDirection::Src);
    sources.flat_map(|template| memories_of(&template.caps())).collect()
}

/// The kinds of memory of pictures with these caps.
pub(super) fn memories_of(caps: &gst::Caps) -> Vec<String> {
    if caps.is_any() {
        return vec![SYSTEM_MEMORY.to_owned()];
    }
    let raw = caps.iter_with_features().filter(|(structure, _)| structure.name() == "video/x-raw");
    let memory = |features: &gst::CapsFeaturesRef| match features.is_any() {
        true => SYSTEM_MEMORY.to_owned(),
        false => {
            let memory = features.iter().find(|feature| feature.starts_with("memory:"));
            memory.map_or_else(|| SYSTEM_MEMORY.to_owned(), |memory| memory.to_string())
        }
    };
    raw.map(|(_, features)| memory(features)).collect()
}

fn of_factory(factory: &gst::ElementFactory) -> Decoder {
    let name = factory.name().to_string();
    let hardware = is_hardware(&name, factory.metadata("klass").unwrap_or_default());
    Decoder { rank: factory.rank().into_glib(), hardware, name }
}

/// A decoder and whether it is hardware, in words.
pub(super) fn shown(factory: &gst::ElementFactory) -> String {
    let decoder = of_factory(factory);
    format!("{} ({})", decoder.name, if decoder.hardware { "hardware" } else { "software" })
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
    fn caps_tell_the_memory_of_their_pictures() {
        super::super::init().unwrap();
        for (caps, expected) in [
            ("video/x-raw", &["memory:SystemMemory"][..]),
            ("video/x-raw(memory:NVMM),format=NV12", &["memory:NVMM"]),
            ("video/x-raw(memory:DMABuf); video/x-raw(format:Interlaced)", &["memory:DMABuf", "memory:SystemMemory"]),
            ("ANY", &["memory:SystemMemory"]),
            ("video/x-raw(ANY)", &["memory:SystemMemory"]),
            ("audio/x-raw", &[]),
        ] {
            assert_eq!(memories_of(&caps.parse().unwrap()), expected, "{caps}");
        }
        assert!(memories("avdec_h264").iter().all(|memory| memory == "memory:SystemMemory"));
        assert_eq!(
            (is_decoder("avdec_h264"), is_decoder("x264enc"), is_decoder("nosuchdec")),
            (Some(true), Some(false), None)
        );
        assert!(starts("avdec_h264") && !starts("nosuchdec"));
        assert!(has_started("avdec_h264") && has_started("avdec_h264") && !has_started("nosuchdec"));
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
