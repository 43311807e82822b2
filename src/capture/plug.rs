//! Which elements `decodebin` may plug by itself: those that read only their input and open nothing else.
//!
//! Playlists, manifests and session descriptions name addresses and files, and the elements that read them open those:
//! `hlsdemux`, `dashdemux`, `mssdemux`, `sdpdemux` and whatever else is installed. So a demuxer is plugged only if it
//! is known to read nothing but its input. Parsers, decoders and depayloaders have no reason to read anything else.

/// Demuxers that open nothing but their input.
const DEMUXERS: [&str; 22] = [
    "apedemux",
    "asfdemux",
    "avdemux_gif",
    "avdemux_gxf",
    "avdemux_ivf",
    "avdemux_mxf",
    "avdemux_nut",
    "avdemux_yuv4mpegpipe",
    "avidemux",
    "dvdemux",
    "flvdemux",
    "id3demux",
    "ivfparse",
    "matroskademux",
    "mpegpsdemux",
    "multipartdemux",
    "mxfdemux",
    "oggdemux",
    "qtdemux",
    "rmdemux",
    "tsdemux",
    "y4mdec",
];

/// Media that name addresses or other files, by GStreamer media type.
const REFERENCES: [(&str, &str); 9] = [
    ("application/x-hls", "an HLS playlist"),
    ("application/dash+xml", "a DASH manifest"),
    ("application/vnd.ms-sstr+xml", "a Smooth Streaming manifest"),
    ("application/sdp", "an SDP session description"),
    ("application/smil", "a SMIL presentation"),
    ("application/xspf+xml", "an XSPF playlist"),
    ("text/uri-list", "a list of addresses"),
    ("image/svg", "an SVG drawing"),
    ("image/svg+xml", "an SVG drawing"),
];

/// A QuickTime movie that contains only an address.
pub(super) const REFERENCE_MOVIE: &str = "a QuickTime reference movie";

/// What `media` is, if it names addresses or other files.
pub(super) fn reference(media: &str) -> Option<&'static str> {
    REFERENCES.iter().find(|(known, _)| *known == media).map(|(_, what)| *what)
}

/// Whether `decodebin` may plug the element `factory`, of class `class` (GStreamer, "Klass defines"), for data of type
/// `media`.
pub(super) fn is_allowed(media: &str, factory: &str, class: &str) -> bool {
    let is = |word| class.split('/').any(|part| part == word);
    if reference(media).is_some() {
        return false;
    }
    if ["Source", "Sink", "Bin", "Adaptive", "Subtitle"].into_iter().any(is) {
        return false;
    }
    match is("Demuxer") {
        true => DEMUXERS.contains(&factory),
        false if is("Network") => is("Depayloader"),
        false => is("Parser") || is("Decoder"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_other_addresses_is_never_plugged() {
        for (media, factory, class) in [
            ("application/x-hls", "hlsdemux", "Codec/Demuxer/Adaptive"),
            ("application/x-hls", "hlsdemux2", "Codec/Demuxer/Adaptive"),
            ("application/x-hls", "avdemux_hls", "Codec/Demuxer"),
            ("video/x-vendor", "vendorhls", "Codec/Demuxer/Adaptive"),
            ("application/dash+xml", "dashdemux", "Codec/Demuxer/Adaptive"),
            ("application/vnd.ms-sstr+xml", "mssdemux", "Codec/Demuxer/Adaptive"),
            ("application/sdp", "sdpdemux", "Codec/Demuxer/Network/RTP"),
            ("application/x-rtp", "rtspsrc", "Source/Network"),
            ("application/x-rtp", "rtpdec", "Codec/Parser/Network"),
            ("text/uri-list", "urilistdec", "Codec/Decoder"),
            ("video/x-anything", "uridecodebin", "Generic/Bin/Decoder"),
            ("application/x-concat", "avdemux_concat", "Codec/Demuxer"),
            ("application/x-subtitle", "subparse", "Codec/Parser/Subtitle"),
            ("image/svg+xml", "rsvgdec", "Codec/Decoder/Image"),
            ("video/quicktime", "unknowndemux", "Codec/Demuxer"),
            ("video/x-raw", "filesink", "Sink/File"),
        ] {
            assert!(!is_allowed(media, factory, class), "{factory}");
        }
    }

    #[test]
    fn containers_and_codings_are_plugged() {
        for (media, factory, class) in [
            ("video/quicktime", "qtdemux", "Codec/Demuxer"),
            ("video/x-h264", "h264parse", "Codec/Parser/Converter/Video"),
            ("video/x-h264", "v4l2h264dec", "Codec/Decoder/Video/Hardware"),
            ("image/jpeg", "jpegdec", "Codec/Decoder/Image"),
            ("video/mpegts", "tsparse", "Codec/Parser"),
            ("application/x-rtp", "rtph264depay", "Codec/Depayloader/Network/RTP"),
            ("application/x-yuv4mpeg", "y4mdec", "Codec/Demuxer"),
        ] {
            assert!(is_allowed(media, factory, class), "{factory}");
        }
    }
}
