//! Which Debian package contains a GStreamer element or a decoder.

/// The package that contains `element`.
#[must_use]
pub fn of_element(element: &str) -> &'static str {
    match element {
        "filesrc" | "capsfilter" | "queue" | "typefind" => "libgstreamer1.0-0",
        "rtspsrc" | "v4l2src" | "videoflip" | "rtph264depay" | "rtph265depay" | "rtpjpegdepay" | "jpegdec"
        | "qtdemux" | "matroskademux" | "avidemux" | "flvdemux" => "gstreamer1.0-plugins-good",
        "tsdemux" => "gstreamer1.0-plugins-bad",
        _ => "gstreamer1.0-plugins-base",
    }
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
