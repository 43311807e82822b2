//! Which Debian package contains a GStreamer element or a decoder.

/// What to do about an element that GStreamer does not have, as the end of a sentence.
#[must_use]
pub fn remedy(element: &str) -> String {
    let is_hardware = |name: &str| name.starts_with("v4l2") && name.ends_with("dec");
    match known(element) {
        None => "check its name, or install the package that contains it".into(),
        Some(package) if is_hardware(element) => {
            format!("it is in the package {package}, and there only on a machine with such a decoder")
        }
        Some(package) => format!("it is in the package {package} (apt install {package})"),
    }
}

/// The package that contains `element`; of one that is not known, the package of those that every pipeline has.
#[must_use]
pub fn of_element(element: &str) -> &'static str {
    known(element).unwrap_or("gstreamer1.0-plugins-base")
}

/// The package that contains `element`, if it is one that sources need.
#[must_use]
pub fn known(element: &str) -> Option<&'static str> {
    Some(match element {
        "appsink" | "appsrc" | "videotestsrc" | "videoconvert" | "videoconvertscale" | "videoscale" | "videorate"
        | "decodebin" | "uridecodebin" | "theoradec" | "oggdemux" => "gstreamer1.0-plugins-base",
        "filesrc" | "capsfilter" | "queue" | "typefind" => "libgstreamer1.0-0",
        "rtspsrc" | "v4l2src" | "udpsrc" | "rtpjitterbuffer" | "rtpmp2tdepay" | "videoflip" | "rtph264depay"
        | "rtph265depay" | "rtpjpegdepay" | "jpegdec" | "qtdemux" | "matroskademux" | "avidemux" | "flvdemux" => {
            "gstreamer1.0-plugins-good"
        }
        "vapostproc" | "cudadownload" | "tsdemux" | "srtsrc" | "jpegparse" | "h264parse" | "h265parse"
        | "openh264dec" => "gstreamer1.0-plugins-bad",
        "gldownload" => "gstreamer1.0-gl",
        "libcamerasrc" => "gstreamer1.0-libcamera",
        name if name.starts_with("avdec_") => "gstreamer1.0-libav",
        name if name.starts_with("vaapi") => "gstreamer1.0-vaapi",
        // Decoders of Video4Linux with and without state, and of VA.
        name if name.starts_with("v4l2sl") || name.starts_with("va") && name.ends_with("dec") => {
            "gstreamer1.0-plugins-bad"
        }
        name if name.starts_with("v4l2") => "gstreamer1.0-plugins-good",
        "nvvidconv" | "nvarguscamerasrc" | "nvjpegdec" => "nvidia-l4t-gstreamer",
        name if name.starts_with("nvv4l2") => "nvidia-l4t-gstreamer",
        // Decoders of NVIDIA's cards.
        name if name.starts_with("nv") && name.ends_with("dec") => "gstreamer1.0-plugins-bad",
        _ => return None,
    })
}

/// The package that supports the media type `media`, such as `video/x-h264`.
#[must_use]
pub fn of_media(media: &str) -> &'static str {
    match media {
        "video/x-vp8" | "video/x-vp9" | "image/jpeg" | "image/png" | "video/quicktime" | "video/x-matroska"
        | "video/webm" | "video/x-msvideo" | "video/x-flv" | "application/x-rtp" | "rtsp" => {
            "gstreamer1.0-plugins-good"
        }
        "video/x-theora" | "application/ogg" => "gstreamer1.0-plugins-base",
        "video/mpegts" | "video/x-av1" => "gstreamer1.0-plugins-bad",
        _ => "gstreamer1.0-libav",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_boards_are_in_the_packages_of_boards() {
        for (element, package) in [
            ("v4l2h264dec", "gstreamer1.0-plugins-good"),
            ("v4l2slh264dec", "gstreamer1.0-plugins-bad"),
            ("vah264dec", "gstreamer1.0-plugins-bad"),
            ("avdec_h264", "gstreamer1.0-libav"),
            ("nvv4l2decoder", "nvidia-l4t-gstreamer"),
            ("nvarguscamerasrc", "nvidia-l4t-gstreamer"),
            ("nvh264dec", "gstreamer1.0-plugins-bad"),
            ("vaapih264dec", "gstreamer1.0-vaapi"),
            ("libcamerasrc", "gstreamer1.0-libcamera"),
            ("srtsrc", "gstreamer1.0-plugins-bad"),
            ("udpsrc", "gstreamer1.0-plugins-good"),
            ("videoconvert", "gstreamer1.0-plugins-base"),
        ] {
            assert_eq!(of_element(element), package, "{element}");
        }
    }

    #[test]
    fn a_name_that_is_not_known_may_be_misspelt() {
        assert_eq!(remedy("videotestsrcx"), "check its name, or install the package that contains it");
        assert_eq!(
            remedy("srtsrc"),
            "it is in the package gstreamer1.0-plugins-bad (apt install gstreamer1.0-plugins-bad)"
        );
        assert!(remedy("v4l2h264dec").ends_with("there only on a machine with such a decoder"));
    }
}
