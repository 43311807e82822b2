//! The lists of pictures: what is in each, and how it was made.

use serde::Serialize;

use super::video::{Codec, Route};

/// One line of a list.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub(crate) struct Record {
    /// File, from the folder of the list.
    pub(crate) path: String,
    /// The state.
    pub(crate) label: String,
    /// The main stamp, if it can be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stamp: Option<String>,
    /// The scene: `photo:NAME`, `rendered:KIND` or `videotestsrc:PATTERN`.
    pub(crate) source: String,
    /// Size of the frame, such as `640x480`.
    pub(crate) frame: String,
    /// Pixel format of the frame.
    pub(crate) format: &'static str,
    /// Compression: `raw`, `jpeg` or `h264`; `none` for an unaltered photograph.
    pub(crate) codec: &'static str,
    /// Quality of JPEG in percent, or the quantizer of H.264.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quality: Option<u32>,
    /// Bit rate of H.264, kbit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bit_rate: Option<u32>,
    /// How strong the fault is, in its own unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) strength: Option<f64>,
}

impl Record {
    /// The line of a picture that came along `route`.
    pub(crate) fn new(label: String, source: String, route: &Route) -> Self {
        let (quality, bit_rate) = match route.codec {
            Codec::Raw => (None, None),
            Codec::Jpeg { quality } => (Some(quality), None),
            Codec::H264Quality { quantizer } => (Some(quantizer), None),
            Codec::H264Rate { rate } => (None, Some(rate)),
        };
        Self {
            path: String::new(),
            label,
            stamp: None,
            source,
            frame: format!("{}x{}", route.width, route.height),
            format: route.format,
            codec: route.codec.name(),
            quality,
            bit_rate,
            strength: None,
        }
    }

    /// With the strength of its fault, to three digits.
    pub(crate) fn with_strength(self, strength: f64) -> Self {
        Self { strength: Some((strength * 1000.0).round() / 1000.0), ..self }
    }
}
