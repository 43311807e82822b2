//! `test:PATTERN?OPTIONS`: a pattern that GStreamer generates.

use std::time::Duration;

use super::{Carrier, Fault, Launch, Medium, Scheme, Source, SourceError};
use crate::capture::Error;
use crate::config::{Stream, redact};

/// How the address is written.
pub(super) const FORM: &str = "test:PATTERN";

/// The patterns of GStreamer's `videotestsrc`, by name.
pub const PATTERNS: [&str; 26] = [
    "smpte",
    "snow",
    "black",
    "white",
    "red",
    "green",
    "blue",
    "checkers-1",
    "checkers-2",
    "checkers-4",
    "checkers-8",
    "circular",
    "blink",
    "smpte75",
    "zone-plate",
    "gamut",
    "chroma-zone-plate",
    "solid-color",
    "ball",
    "smpte100",
    "bar",
    "pinwheel",
    "spokes",
    "gradient",
    "colors",
    "smpte-rp-219",
];

/// The pixel formats that a test pattern can be asked for, by their GStreamer names.
pub const FORMATS: [&str; 20] = [
    "NV12",
    "NV21",
    "NV16",
    "I420",
    "YV12",
    "Y42B",
    "Y444",
    "YUY2",
    "YVYU",
    "UYVY",
    "RGB",
    "BGR",
    "RGBx",
    "BGRx",
    "xRGB",
    "xBGR",
    "GRAY8",
    "I420_10LE",
    "P010_10LE",
    "AYUV64",
];

/// What a test pattern cannot be made of; the message says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TestError {
    /// No such pattern.
    #[error("unknown test pattern '{}'; expected one of {names}", redact(.0), names = PATTERNS.join(", "))]
    Pattern(String),
    /// An option is unknown or out of range.
    #[error(
        "unusable option '{}'; expected size=WxH (16 to 8192), fps=1..1000, frames=1.., live=true|false, \
         format={formats}",
        redact(.0),
        formats = FORMATS.join("|")
    )]
    Option(String),
}

/// A generated pattern and how it is delivered.
#[derive(Debug)]
struct TestPattern {
    /// One of [`PATTERNS`].
    pattern: &'static str,
    /// Columns.
    width: u32,
    /// Rows.
    height: u32,
    /// Frames per second.
    fps: u32,
    /// Frames after which the stream ends; never if `None`.
    frames: Option<u32>,
    /// Paced by the clock as a camera is (true), or as fast as it is taken, without loss (false).
    live: bool,
    /// Pixel format, one of [`FORMATS`].
    format: &'static str,
}

pub(super) fn parse(rest: &str) -> Result<Source, SourceError> {
    Ok(Source::new(TestPattern::parse(rest)?))
}

impl Scheme for TestPattern {
    fn describe(&self) -> String {
        format!("test:{}", self.pattern)
    }

    fn is_live(&self) -> bool {
        self.live
    }

    fn carrier(&self) -> Carrier {
        Carrier::Memory
    }

    fn launch(&self, stream: &Stream, _password: Option<&str>) -> Option<Launch> {
        Some(Launch { live: self.live, ..Launch::of(&self.text(), stream) })
    }

    fn open(&self) -> Result<Medium<'_>, Error> {
        Ok(Medium::Pipeline(Box::new(|_| Ok(()))))
    }

    fn examine(&self, _timeout: Duration) -> Result<String, Fault> {
        Ok(format!("{}, a test pattern", self.describe()))
    }
}

impl TestPattern {
    fn parse(text: &str) -> Result<Self, TestError> {
        let (name, options) = text.split_once('?').unwrap_or((text, ""));
        let pattern = PATTERNS.iter().find(|known| **known == name);
        let pattern = pattern.ok_or_else(|| TestError::Pattern(name.to_owned()))?;
        let mut test = Self { pattern, width: 640, height: 480, fps: 30, frames: None, live: true, format: "NV12" };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            test.set(option).ok_or_else(|| TestError::Option(option.to_owned()))?;
        }
        Ok(test)
    }

    fn set(&mut self, option: &str) -> Option<()> {
        let in_range = |text: &str, min: u32, max: u32| text.parse().ok().filter(|n| (min..=max).contains(n));
        let (key, value) = option.split_once('=')?;
        match key {
            "size" => {
                let (width, height) = value.split_once('x')?;
                self.width = in_range(width, 16, 8192)?;
                self.height = in_range(height, 16, 8192)?;
            }
            "fps" => self.fps = in_range(value, 1, 1000)?,
            "frames" => self.frames = Some(in_range(value, 1, i32::MAX as u32)?),
            "live" => self.live = value.parse().ok()?,
            "format" => self.format = FORMATS.iter().find(|known| **known == value)?,
            _ => return None,
        }
        Some(())
    }

    /// The elements that generate it.
    fn text(&self) -> String {
        let Self { pattern, width, height, fps, live, format, .. } = self;
        let frames = self.frames.map_or(-1, i64::from);
        format!(
            "videotestsrc name=source pattern={pattern} is-live={live} num-buffers={frames} \
             ! video/x-raw,format={format},width={width},height={height},framerate={fps}/1"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::launch;
    use super::*;

    #[test]
    fn a_test_pattern_is_live_at_30_fps_unless_asked_otherwise() {
        let stream = Stream::default();
        let plain = launch("test:ball", &stream);
        assert!(plain.live);
        assert_eq!(
            plain.text,
            "videotestsrc name=source pattern=ball is-live=true num-buffers=-1 \
             ! video/x-raw,format=NV12,width=640,height=480,framerate=30/1 ! videoconvert"
        );
        let other = launch("test:snow?size=64x32&fps=5&frames=9&live=false&format=YUY2", &stream);
        assert!(!other.live);
        assert_eq!(
            other.text,
            "videotestsrc name=source pattern=snow is-live=false num-buffers=9 \
             ! video/x-raw,format=YUY2,width=64,height=32,framerate=5/1 ! videoconvert"
        );
    }
}
