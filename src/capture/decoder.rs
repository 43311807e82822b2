//! Which decoder a stream takes, and how its pictures come into the memory of the processor. Pure: what is installed is an
//! argument.

use std::convert::Infallible;
use std::str::FromStr;

use super::elements::Decoder;

/// What `decoder` of a stream says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DecoderChoice {
    /// Hardware, where there is some that works.
    #[default]
    Auto,
    /// Software.
    Software,
    /// The element with this name.
    Element(String),
}

impl FromStr for DecoderChoice {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(match word {
            "auto" => Self::Auto,
            "software" => Self::Software,
            element => Self::Element(element.to_owned()),
        })
    }
}

impl DecoderChoice {
    /// Which of `decoders`, in the order in which `decodebin` tries them, it may try. Software is left out in front of
    /// hardware that `works`; behind it, it steps in where hardware refuses a video.
    #[must_use]
    pub fn allowed<'a>(&self, decoders: &'a [Decoder], works: &dyn Fn(&str) -> bool) -> Vec<&'a Decoder> {
        match self {
            Self::Software => decoders.iter().filter(|decoder| !decoder.hardware).collect(),
            Self::Element(name) => decoders.iter().filter(|decoder| decoder.name == *name).collect(),
            Self::Auto => {
                let works: Vec<bool> = decoders.iter().map(|it| it.hardware && works(&it.name)).collect();
                let last = works.iter().rposition(|works| *works);
                let takes = |at: usize| works[at] || !decoders[at].hardware && last.is_none_or(|last| at > last);
                (0..decoders.len()).filter(|at| takes(*at)).map(|at| &decoders[at]).collect()
            }
        }
    }
}

/// Memory of the processor, among the features of caps.
pub(super) const SYSTEM_MEMORY: &str = "memory:SystemMemory";

/// What copies pictures from other memory into that of the processor: the feature of their caps, and the elements. They
/// take pictures that are there already, too.
const CONVERTERS: [(&str, &str); 5] = [
    ("memory:NVMM", "nvvidconv ! video/x-raw,format=NV12"),
    ("memory:VAMemory", "vapostproc ! video/x-raw"),
    ("memory:VASurface", "vaapipostproc ! video/x-raw"),
    ("memory:CUDAMemory", "cudadownload ! video/x-raw"),
    ("memory:GLMemory", "gldownload ! video/x-raw"),
];

/// Elements that bring pictures into the memory of the processor, where they can be in memory of these kinds; `None` if
/// none is needed.
///
/// # Errors
/// The memory from which nothing is known to copy.
pub(super) fn converter<'a>(memories: &[&'a str]) -> Result<Option<&'static str>, &'a str> {
    if memories.is_empty() || memories.contains(&SYSTEM_MEMORY) {
        return Ok(None);
    }
    let known = CONVERTERS.iter().find(|(memory, _)| memories.contains(memory));
    known.map(|(_, elements)| Some(*elements)).ok_or(memories[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoders(list: &[(&str, i32, bool)]) -> Vec<Decoder> {
        let decoder = |(name, rank, hardware): &(&str, i32, bool)| Decoder {
            name: (*name).into(),
            rank: *rank,
            hardware: *hardware,
        };
        list.iter().map(decoder).collect()
    }

    #[test]
    fn a_stream_takes_hardware_where_it_works_or_what_its_settings_say() {
        let pi = decoders(&[("v4l2h264dec", 257, true), ("avdec_h264", 256, false), ("openh264dec", 64, false)]);
        let pi_5 = decoders(&[("v4l2slh265dec", 257, true), ("avdec_h265", 256, false)]);
        let jetson = decoders(&[("nvv4l2decoder", 267, true), ("avdec_h264", 256, false)]);
        let intel = decoders(&[("avdec_h264", 256, false), ("vah264dec", 128, true), ("openh264dec", 64, false)]);
        let pc = decoders(&[("avdec_h264", 256, false), ("openh264dec", 64, false)]);
        for (installed, choice, broken, expected) in [
            (&pi, "auto", "", &["v4l2h264dec", "avdec_h264", "openh264dec"][..]),
            (&pi, "auto", "v4l2h264dec", &["avdec_h264", "openh264dec"]),
            (&pi, "software", "", &["avdec_h264", "openh264dec"]),
            (&pi, "v4l2h264dec", "v4l2h264dec", &["v4l2h264dec"]),
            (&pi, "openh264dec", "", &["openh264dec"]),
            (&pi_5, "auto", "", &["v4l2slh265dec", "avdec_h265"]),
            (&jetson, "auto", "", &["nvv4l2decoder", "avdec_h264"]),
            (&jetson, "software", "", &["avdec_h264"]),
            (&intel, "auto", "", &["vah264dec", "openh264dec"]),
            (&intel, "auto", "vah264dec", &["avdec_h264", "openh264dec"]),
            (&pc, "auto", "", &["avdec_h264", "openh264dec"]),
            (&pc, "v4l2h264dec", "", &[]),
        ] {
            let Ok(wanted) = choice.parse::<DecoderChoice>();
            let allowed = wanted.allowed(installed, &|name| name != broken);
            let names: Vec<&str> = allowed.into_iter().map(|decoder| decoder.name.as_str()).collect();
            assert_eq!(names, expected, "{choice} without {broken:?} of {installed:?}");
        }
    }

    #[test]
    fn the_package_of_every_element_that_copies_is_known() {
        for (_, elements) in CONVERTERS {
            let element = elements.split(' ').next().unwrap_or_default();
            assert!(crate::capture::package::known(element).is_some(), "{element}");
        }
    }

    #[test]
    fn pictures_in_other_memory_are_copied_and_those_of_the_processor_are_not() {
        for (memories, expected) in [
            (&[][..], Ok(None)),
            (&[SYSTEM_MEMORY], Ok(None)),
            (&["memory:DMABuf", SYSTEM_MEMORY], Ok(None)),
            (&["memory:NVMM"], Ok(Some("nvvidconv ! video/x-raw,format=NV12"))),
            (&["memory:DMABuf", "memory:VAMemory"], Ok(Some("vapostproc ! video/x-raw"))),
            (&["memory:DMABuf"], Err("memory:DMABuf")),
        ] {
            assert_eq!(converter(memories), expected, "{memories:?}");
        }
    }
}
