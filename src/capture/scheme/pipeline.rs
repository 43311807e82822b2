//! `pipeline:GST-LAUNCH-TEXT`: a pipeline of the user's own that ends in raw video.
//!
//! What the text means is GStreamer's to say (`capture/gst/custom.rs`). Whoever writes it can have GStreamer open anything.

use std::time::Duration;

use super::{Carrier, Fault, Launch, Scheme, Source, SourceError};
use crate::capture::gst;
use crate::config::{Stream, redact};
use crate::exit::chain;

/// The form of the address.
pub(super) const FORM: &str = "pipeline:GST-LAUNCH-TEXT";

/// A pipeline, as its text.
#[derive(Debug)]
struct Custom {
    text: String,
}

pub(super) fn parse(rest: &str) -> Result<Source, SourceError> {
    match rest.trim() {
        "" => Err(SourceError::Missing(
            "a GStreamer pipeline that ends in raw video, such as \"pipeline:v4l2src device=/dev/video0\"",
        )),
        text => Ok(Source::new(Custom { text: text.to_owned() })),
    }
}

impl Scheme for Custom {
    /// The properties of its elements may be secrets.
    fn describe(&self) -> String {
        redact(&format!("pipeline:{}", self.text))
    }

    fn carrier(&self) -> Carrier {
        Carrier::Custom
    }

    fn launch(&self, stream: &Stream, _password: Option<&str>) -> Option<Launch> {
        Some(Launch { live: true, custom: Some(self.text.clone()), ..Launch::of(&self.text, stream) })
    }

    fn examine(&self, launch: Option<&Launch>, _timeout: Duration) -> Result<String, Fault> {
        let shown = self.describe();
        let launch = launch.cloned().or_else(|| self.launch(&Stream::default(), None));
        match launch.as_ref().map_or(Ok(()), gst::check) {
            Ok(()) => Ok(format!("{shown}: GStreamer understands it; it was not started")),
            Err(error) => Err(Fault::new(format!("{shown}: {}", chain(&error)), "correct stream.source")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::CONVERT;
    use super::super::tests::launch;
    use super::*;

    #[test]
    fn the_text_is_launched_as_it_is_and_the_conversion_follows() {
        for text in
            ["videotestsrc", "v4l2src device=/dev/video0 ! jpegdec", "videotestsrc ! video/x-raw,width=64 ! queue"]
        {
            let launch = launch(&format!("pipeline: {text} "), &Stream::default());
            assert_eq!(launch.text, format!("{text}{CONVERT}"));
            assert_eq!(launch.custom.as_deref(), Some(text));
            assert!(launch.live && launch.properties.is_empty() && launch.endpoint.is_none());
        }
        assert!(
            parse(" ").unwrap_err().to_string().starts_with("expected a GStreamer pipeline that ends in raw video")
        );
    }

    #[test]
    fn what_follows_the_first_element_is_shown_to_nobody() {
        let source =
            Source::parse("pipeline:rtspsrc location=rtsp://me:s3cret@cam user-pw=s3cret ! decodebin").unwrap();
        assert_eq!(source.describe(), "pipeline:rtspsrc …");
        assert_eq!(Source::parse("pipeline:videotestsrc").unwrap().describe(), "pipeline:videotestsrc");
        assert!(source.is_live() && source.is_camera());
    }
}
