//! `libcamera:` and `libcamera:ID`: a camera of the board, through libcamera (CSI cameras of a Raspberry Pi).

use std::time::Duration;

use super::{Carrier, Fault, Launch, Scheme, Source, SourceError, sized};
use crate::capture::{elements, gst, package};
use crate::config::{Stream, redact};

/// The form of the address.
pub(super) const FORM: &str = "libcamera:[ID]";

/// A camera, by the name that libcamera gives it; empty: its first one.
#[derive(Debug)]
struct Camera {
    id: String,
}

pub(super) fn parse(rest: &str) -> Result<Source, SourceError> {
    if rest.contains(char::is_control) || rest.starts_with("//") {
        return Err(SourceError::Missing(
            "libcamera: for the first camera, or libcamera:ID with a name that `cam --list` or `rpicam-hello \
             --list-cameras` shows",
        ));
    }
    Ok(Source::new(Camera { id: rest.to_owned() }))
}

impl Scheme for Camera {
    fn describe(&self) -> String {
        redact(&format!("libcamera:{}", self.id))
    }

    fn carrier(&self) -> Carrier {
        Carrier::Board
    }

    fn launch(&self, stream: &Stream, _password: Option<&str>) -> Option<Launch> {
        let caps = sized("video/x-raw,format=(string)NV12", &stream.libcamera);
        let text = format!("libcamerasrc name=source ! {caps}");
        let mut properties = Vec::new();
        if !self.id.is_empty() {
            properties.push(("source", "camera-name", self.id.clone()));
        }
        Some(Launch { live: true, properties, ..Launch::of(&text, stream) })
    }

    fn examine(&self, _launch: Option<&Launch>, _timeout: Duration) -> Result<String, Fault> {
        installed(&self.describe(), "libcamerasrc")
    }
}

/// Whether the element of a board's camera is installed. Opening the camera would take it away from a service that runs.
pub(super) fn installed(shown: &str, element: &str) -> Result<String, Fault> {
    if gst::init().is_ok() && !elements::is_installed(element) {
        let remedy = format!("apt install {}, on the board that has the camera", package::of_element(element));
        return Err(Fault::new(format!("{shown}: GStreamer has no {element}"), remedy));
    }
    Ok(format!("{shown}: not opened here"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::tests::launch;
    use super::*;
    use crate::config::BoardCamera;

    #[test]
    fn a_camera_of_the_board_is_asked_for_what_the_settings_say() {
        let sized = BoardCamera { width: 640, height: 480, fps: 15.0 };
        for (uri, libcamera, caps, name) in [
            ("libcamera:", BoardCamera::default(), "", None),
            ("libcamera:", sized.clone(), ",width=(int)640,height=(int)480,framerate=(fraction)15000/1000", None),
            (
                "libcamera:/base/axi/pcie@120000/rp1/i2c@88000/imx708@1a",
                BoardCamera { fps: 7.5, ..BoardCamera::default() },
                ",framerate=(fraction)7500/1000",
                Some("/base/axi/pcie@120000/rp1/i2c@88000/imx708@1a"),
            ),
        ] {
            let launch = launch(uri, &Stream { libcamera, ..Stream::default() });
            let start = "libcamerasrc name=source ! video/x-raw,format=(string)NV12";
            assert_eq!(launch.text, format!("{start}{caps} ! videoconvert name=convert"), "{uri}");
            let property = name.map(|name| ("source", "camera-name", name.to_owned()));
            assert_eq!(launch.properties, property.into_iter().collect::<Vec<_>>());
            assert!(launch.live);
        }
        assert!(Source::parse("libcamera://x").is_err());
    }
}
