//! The scheme of a source, and which keys of a stream are for which schemes.

use super::schema::Stream;

/// Schemes of network cameras.
const NETWORK: &[&str] = &["rtsp", "rtsps", "http", "https"];

/// Schemes with a password.
const WITH_PASSWORD: &[&str] = &["rtsp", "rtsps", "http", "https", "srt"];

/// Schemes with an authority behind `//`.
const WITH_AUTHORITY: &[&str] = &["rtsp", "rtsps", "http", "https", "udp", "srt"];

/// Schemes of coded video.
const CODED: &[&str] = &["file", "rtsp", "rtsps", "http", "https", "udp", "srt", "v4l2"];

/// Schemes over TLS.
const TLS: &[&str] = &["rtsps", "https"];

/// Keys and sub-tables of `[[stream]]` that are for some schemes only; all others are for every source.
const ONLY_FOR: [(&str, &[&str]); 12] = [
    ("username", NETWORK),
    ("password_file", WITH_PASSWORD),
    ("ca_file", TLS),
    ("danger_accept_any_certificate", TLS),
    ("decoder", CODED),
    ("rtsp", &["rtsp", "rtsps"]),
    ("http", &["http", "https"]),
    ("udp", &["udp"]),
    ("srt", &["srt"]),
    ("v4l2", &["v4l2"]),
    ("libcamera", &["libcamera"]),
    ("nvargus", &["nvargus"]),
];

/// Keys that were renamed, in which section: those of files written for an earlier version.
const MOVED: [(&str, &str, &str); 2] =
    [("rtsp_latency_ms", "rtsp", "latency_ms"), ("rtsp_transport", "rtsp", "transport")];

/// The scheme of a source, and what follows its colon. A path has the scheme `file`, or `v4l2` if it is that of a
/// camera (`/dev/video0`, `/dev/v4l/by-id/…`).
///
/// ```
/// use hardnetd::config::split_scheme;
///
/// assert_eq!(split_scheme("rtsp://cam/1"), ("rtsp", "//cam/1"));
/// assert_eq!(split_scheme("/dev/video0"), ("v4l2", "/dev/video0"));
/// assert_eq!(split_scheme("./odd:name.mp4"), ("file", "./odd:name.mp4"));
/// ```
#[must_use]
pub fn split_scheme(source: &str) -> (&str, &str) {
    match source.split_once(':') {
        _ if source.starts_with("/dev/video") || source.starts_with("/dev/v4l/") => ("v4l2", source),
        Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
        _ => ("file", source),
    }
}

fn is_scheme(text: &str) -> bool {
    text.len() > 1 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-'))
}

impl Stream {
    /// The scheme of the source.
    pub(super) fn scheme(&self) -> &str {
        split_scheme(&self.source).0
    }

    /// Whether the source is a network camera over TLS.
    pub(super) fn is_over_tls(&self) -> bool {
        TLS.contains(&self.scheme())
    }

    /// Whether the source is a network camera.
    pub(super) fn is_network_camera(&self) -> bool {
        NETWORK.contains(&self.scheme())
    }
}

/// The schemes that `key`, such as `rtsp.latency_ms`, is for; `None`: every source.
pub(super) fn only_for(key: &str) -> Option<&'static [&'static str]> {
    let first = key.split('.').next().unwrap_or(key);
    ONLY_FOR.iter().find(|(known, _)| *known == first).map(|(_, schemes)| *schemes)
}

/// Section and key to which `key` of `[[stream]]` has moved.
pub(super) fn moved(key: &str) -> Option<(&'static str, &'static str)> {
    MOVED.iter().find(|(old, ..)| *old == key).map(|(_, section, key)| (*section, *key))
}

/// How sources of these schemes begin, as a list of words.
pub(super) fn beginnings(schemes: &[&str]) -> String {
    let beginnings: Vec<String> = schemes.iter().map(|scheme| beginning(scheme)).collect();
    match beginnings.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// How sources of a scheme begin.
fn beginning(scheme: &str) -> String {
    let slashes = if WITH_AUTHORITY.contains(&scheme) { "//" } else { "" };
    format!("{scheme}:{slashes}")
}

#[cfg(test)]
mod tests {
    use super::super::schema::Keys;
    use super::*;

    #[test]
    fn every_key_that_is_limited_to_schemes_exists() {
        let is_key = |keys: Keys, name: &str| keys.iter().any(|(key, _)| *key == name);
        for (name, schemes) in ONLY_FOR {
            let is_section = Stream::SECTIONS.iter().any(|(section, _)| *section == name);
            assert!(is_section || is_key(Stream::KEYS, name), "{name}");
            assert!(!schemes.is_empty());
        }
        for (section, _) in Stream::SECTIONS {
            assert!(only_for(section).is_some(), "{section} is for every source");
        }
        for (old, section, key) in MOVED {
            assert!(!is_key(Stream::KEYS, old), "{old}");
            assert!(Stream::SECTIONS.iter().any(|(known, keys)| *known == section && is_key(keys, key)), "{key}");
        }
    }

    #[test]
    fn a_path_under_dev_video_is_a_camera_and_others_are_files() {
        for (source, scheme) in [
            ("v4l2:by-id/usb-x", "v4l2"),
            ("/dev/video12", "v4l2"),
            ("/dev/v4l/by-path/pci-0000:00:14.0-usb-0:5:1.0-video-index0", "v4l2"),
            ("file:/dev/video0", "file"),
            ("/dev/null", "file"),
            ("video0", "file"),
            ("C:clip.mp4", "file"),
            ("test:ball", "test"),
        ] {
            assert_eq!(split_scheme(source).0, scheme, "{source}");
        }
    }
}
