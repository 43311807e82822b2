//! `nvargus:N`: a CSI camera of a Jetson.

use std::time::Duration;

use super::{Carrier, Fault, Launch, Scheme, Source, SourceError, libcamera, sized};
use crate::config::Stream;

/// The form of the address.
pub(super) const FORM: &str = "nvargus:N";

/// The most sensors that a board has.
const SENSORS: u8 = 64;

/// A camera, by the number of its sensor.
#[derive(Debug)]
struct Camera {
    sensor: u8,
}

pub(super) fn parse(rest: &str) -> Result<Source, SourceError> {
    let sensor = if rest.is_empty() { Some(0) } else { rest.parse().ok().filter(|sensor| *sensor < SENSORS) };
    let sensor =
        sensor.ok_or(SourceError::Missing("nvargus:N, the number of a sensor: 0 for the first one, at most 63"))?;
    Ok(Source::new(Camera { sensor }))
}

impl Scheme for Camera {
    fn describe(&self) -> String {
        format!("nvargus:{}", self.sensor)
    }

    fn carrier(&self) -> Carrier {
        Carrier::Board
    }

    /// The camera gives its pictures in the memory of the board's engines, from which `nvvidconv` copies them.
    fn launch(&self, stream: &Stream, _password: Option<&str>) -> Option<Launch> {
        let caps = sized("video/x-raw(memory:NVMM),format=(string)NV12", &stream.nvargus);
        let text = format!(
            "nvarguscamerasrc name=source sensor-id={} ! {caps} ! nvvidconv ! video/x-raw,format=NV12",
            self.sensor
        );
        Some(Launch { live: true, ..Launch::of(&text, stream) })
    }

    fn examine(&self, _launch: Option<&Launch>, _timeout: Duration) -> Result<String, Fault> {
        libcamera::installed(&self.describe(), "nvarguscamerasrc")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::tests::launch;
    use super::*;
    use crate::config::BoardCamera;

    #[test]
    fn a_camera_of_a_jetson_is_asked_for_what_the_settings_say() {
        for (uri, nvargus, start) in [
            ("nvargus:0", BoardCamera::default(), "sensor-id=0 ! video/x-raw(memory:NVMM),format=(string)NV12"),
            ("nvargus:", BoardCamera::default(), "sensor-id=0 ! video/x-raw(memory:NVMM),format=(string)NV12"),
            (
                "nvargus:1",
                BoardCamera { width: 1280, height: 720, fps: 30.0 },
                "sensor-id=1 ! video/x-raw(memory:NVMM),format=(string)NV12,width=(int)1280,height=(int)720,\
                 framerate=(fraction)30000/1000",
            ),
        ] {
            let launch = launch(uri, &Stream { nvargus, ..Stream::default() });
            let end = "nvvidconv ! video/x-raw,format=NV12 ! videoconvert name=convert";
            assert_eq!(launch.text, format!("nvarguscamerasrc name=source {start} ! {end}"), "{uri}");
            assert!(launch.live && launch.properties.is_empty());
        }
        for uri in ["nvargus:x", "nvargus:-1", "nvargus:64", "nvargus:0 ! fakesink"] {
            let message = Source::parse(uri).unwrap_err().to_string();
            assert!(message.starts_with("expected nvargus:N, the number of a sensor"), "{uri}: {message}");
        }
    }
}
