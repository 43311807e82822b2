//! `v4l2:DEVICE`, or just its path: a camera at this machine (Video4Linux).
//!
//! What it is asked for is decided when it is opened (`capture/device/choose.rs`): the launch text is the same for all.

use std::time::Duration;

use super::{Carrier, DECODE, Fault, Launch, Scheme, Source, SourceError};
use crate::capture::device::{self, Device};
use crate::capture::{Error, gst};
use crate::config::Stream;
use crate::exit::chain;
use crate::system::Host;

/// The form of the address.
pub(super) const FORM: &str = "v4l2:/dev/video0";

/// All forms of the address.
const FORMS: &str = "v4l2:/dev/videoN, v4l2:by-id/NAME or v4l2:by-path/NAME";

/// A camera, by the path of its device or of a link to it.
#[derive(Debug)]
struct Camera {
    path: String,
}

pub(super) fn parse(rest: &str) -> Result<Source, SourceError> {
    let rest = match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        _ => rest,
    };
    let path = match rest {
        stable if stable.starts_with("by-id/") || stable.starts_with("by-path/") => format!("/dev/v4l/{stable}"),
        path => path.to_owned(),
    };
    let is_device = path.strip_prefix("/dev/").is_some_and(|name| !name.is_empty());
    let is_plain =
        !path.ends_with('/') && !path.split('/').any(|part| part == "..") && !path.contains(char::is_control);
    if is_device && is_plain { Ok(Source::new(Camera { path })) } else { Err(SourceError::Missing(FORMS)) }
}

impl Scheme for Camera {
    fn describe(&self) -> String {
        format!("v4l2:{}", self.path.strip_prefix("/dev/v4l/").unwrap_or(&self.path))
    }

    fn carrier(&self) -> Carrier {
        Carrier::Device
    }

    /// The filter `wanted` gets its caps when the camera is opened. Time stamps are the driver's, so that the age of a
    /// frame counts from its capture.
    fn launch(&self, stream: &Stream, _password: Option<&str>) -> Option<Launch> {
        let text = format!("v4l2src name=source ! capsfilter name=wanted ! {DECODE}");
        let properties = vec![("source", "device", self.path.clone())];
        let device = Some(Device::of(&self.path, stream));
        Some(Launch { properties, live: true, device, ..Launch::of(&text, stream) })
    }

    fn examine(&self, launch: Option<&Launch>, _timeout: Duration) -> Result<String, Fault> {
        let shown = self.describe();
        let device = launch.and_then(|launch| launch.device.clone());
        let device = device.unwrap_or_else(|| Device::of(&self.path, &Stream::default()));
        let host = Host::here();
        let about: Vec<String> =
            [device::name(&host, &self.path), device::driver(&host, &self.path)].into_iter().flatten().collect();
        let about = if about.is_empty() { String::new() } else { format!(" ({})", about.join(", ")) };
        match gst::examine_device(&device) {
            Ok(found) => Ok(format!("{shown}{about}: {found}")),
            Err(Error::Device(error)) => Err(Fault::new(
                format!("{shown}{about}: {}", error.trouble.found(&error.path)),
                error.trouble.remedy(&error.path),
            )),
            Err(error) => Err(Fault::new(format!("{shown}{about}: {}", chain(&error)), "see the check of GStreamer")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::tests::launch;
    use super::*;
    use crate::choice::CameraFormat;
    use crate::config::V4l2;

    #[test]
    fn a_camera_is_named_by_its_device_or_by_a_name_that_does_not_change() {
        for (uri, path, shown) in [
            ("v4l2:/dev/video0", "/dev/video0", "v4l2:/dev/video0"),
            ("v4l2:///dev/video0", "/dev/video0", "v4l2:/dev/video0"),
            ("/dev/video12", "/dev/video12", "v4l2:/dev/video12"),
            ("v4l2:/dev/front-camera", "/dev/front-camera", "v4l2:/dev/front-camera"),
            ("v4l2:by-id/usb-x-video-index0", "/dev/v4l/by-id/usb-x-video-index0", "v4l2:by-id/usb-x-video-index0"),
            (
                "v4l2:by-path/pci-0000:00:14.0-usb-0:5:1.0-video-index0",
                "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:5:1.0-video-index0",
                "v4l2:by-path/pci-0000:00:14.0-usb-0:5:1.0-video-index0",
            ),
            ("/dev/v4l/by-id/usb-x", "/dev/v4l/by-id/usb-x", "v4l2:by-id/usb-x"),
        ] {
            let source = Source::parse(uri).unwrap();
            let device = source.launch(&Stream::default(), None).unwrap().device.unwrap();
            assert_eq!((device.path.as_str(), source.describe().as_str()), (path, shown), "{uri}");
            assert!(source.is_camera() && source.is_live(), "{uri}");
        }
        for uri in [
            "v4l2:",
            "v4l2:0",
            "v4l2:video0",
            "v4l2:by-id/",
            "v4l2:/etc/passwd",
            "v4l2:/dev/../etc/passwd",
            "v4l2:/dev/",
        ] {
            let message = Source::parse(uri).unwrap_err().to_string();
            assert_eq!(message, "expected v4l2:/dev/videoN, v4l2:by-id/NAME or v4l2:by-path/NAME", "{uri}");
        }
    }

    #[test]
    fn the_pipeline_is_the_same_for_all_cameras_and_settings() {
        let camera = "v4l2src name=source ! capsfilter name=wanted \
                      ! decodebin name=decode expose-all-streams=false caps=video/x-raw(ANY)";
        let v4l2 = |v4l2: V4l2| Stream { v4l2, ..Stream::default() };
        for (uri, stream) in [
            ("v4l2:/dev/video0", Stream::default()),
            ("/dev/video0 ! fakesink", Stream::default()),
            ("v4l2:by-id/x", v4l2(V4l2 { width: 640, height: 480, fps: 15.0, ..V4l2::default() })),
            ("v4l2:by-id/x", v4l2(V4l2 { format: CameraFormat::Mjpeg, ..V4l2::default() })),
            ("v4l2:by-id/x", v4l2(V4l2 { controls: "gain=1".into(), ..V4l2::default() })),
        ] {
            let launch = launch(uri, &stream);
            assert_eq!(launch.text, format!("{camera} ! videoconvert name=convert"), "{uri}");
            let path = launch.device.as_ref().map(|device| device.path.clone()).unwrap();
            assert_eq!(launch.properties, [("source", "device", path)], "{uri}");
            assert!(launch.live && launch.endpoint.is_none(), "{uri}");
        }
        let stream = v4l2(V4l2 { controls: "gain=-3,auto_exposure=1".into(), fps: 7.5, ..V4l2::default() });
        let device = launch("/dev/video0", &stream).device.unwrap();
        assert_eq!(device.controls, [("gain".to_owned(), -3), ("auto_exposure".to_owned(), 1)]);
        assert_eq!(device.wanted.shown(), "a usable format at 7.5 fps");
    }

    #[test]
    fn a_camera_that_is_away_opens_and_is_examined_with_what_to_do() {
        let source = Source::parse("v4l2:by-id/usb-nobody-has-this").unwrap();
        assert!(source.open().is_ok(), "it may come");
        let fault = source.examine(None, Duration::from_secs(1)).unwrap_err();
        assert_eq!(fault.found, "v4l2:by-id/usb-nobody-has-this: there is no /dev/v4l/by-id/usb-nobody-has-this");
        assert!(fault.remedy.contains("camera"), "{}", fault.remedy);
    }
}
