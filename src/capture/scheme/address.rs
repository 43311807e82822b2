//! Addresses of network cameras: host, port and login.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::SourceError;
use crate::config::{Stream, login_end};

/// Schemes of network cameras: the port of an address without one (RFC 7826, 4.2; RFC 9110, 4.2; 0: there is none),
/// whether it is reached over TLS, and the form of the address.
const SCHEMES: [(&str, u16, bool, &str); 5] = [
    ("rtsp", 554, false, "rtsp://HOST:PORT/PATH, the port from 1 to 65535"),
    ("rtsps", 322, true, "rtsps://HOST:PORT/PATH, the port from 1 to 65535"),
    ("http", 80, false, "http://HOST:PORT/PATH, the port from 1 to 65535"),
    ("https", 443, true, "https://HOST:PORT/PATH, the port from 1 to 65535"),
    ("srt", 0, false, "srt://HOST:PORT, the port from 1 to 65535"),
];

/// Characters of an address that a request cannot have.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`');

/// An address, or a part of it, with what a request cannot have in percent-encoding (RFC 3986, 2.1).
pub(in crate::capture) fn encoded(address: &str) -> String {
    utf8_percent_encode(address, ENCODED).to_string()
}

/// Where to reach a network camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The address to request: without the login.
    pub address: String,
    /// Whether it is reached over TLS.
    pub secure: bool,
}

impl Endpoint {
    pub(in crate::capture) fn of(address: &str) -> Result<Self, SourceError> {
        let (scheme, rest) = address.split_once("://").unwrap_or(("rtsp", address));
        let (_, standard, secure, form) = SCHEMES.into_iter().find(|(name, ..)| *name == scheme).unwrap_or(SCHEMES[0]);
        let wrong = || SourceError::Missing(form);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or_else(wrong)?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?,
            None if port.is_empty() && standard > 0 => standard,
            None => return Err(wrong()),
        };
        match host {
            "" => Err(wrong()),
            host => Ok(Self { host: host.to_owned(), port, address: address.to_owned(), secure }),
        }
    }

    /// Host and port as in an address; the port is left out if it is the standard one of the scheme.
    pub(in crate::capture) fn authority(&self) -> String {
        let scheme = self.address.split("://").next().unwrap_or_default();
        match SCHEMES.iter().any(|(name, standard, ..)| *name == scheme && *standard == self.port) {
            true => bracketed(&self.host),
            false => host_port(&self.host, self.port),
        }
    }
}

/// The host as in an address: an IPv6 address in brackets.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Host and port as in an address.
pub(super) fn host_port(host: &str, port: u16) -> String {
    format!("{}:{port}", bracketed(host))
}

/// The whole address of a scheme and what follows its colon.
///
/// # Errors
/// `form`, if nothing follows.
pub(super) fn whole(scheme: &str, rest: &str, form: &'static str) -> Result<String, SourceError> {
    match rest.strip_prefix("//") {
        None | Some("") => Err(SourceError::Missing(form)),
        Some(_) => Ok(format!("{scheme}:{rest}")),
    }
}

/// What a network camera is asked for, and as whom.
pub(super) struct Target {
    /// The address without its login.
    pub location: String,
    pub user: Option<String>,
    pub password: Option<String>,
}

impl Target {
    /// The parts of an address (RFC 3986, 3.2.1).
    pub(super) fn of(address: &str) -> Self {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let parts = || {
            let (scheme, rest) = address.split_once("://")?;
            let (login, host) = rest.split_at_checked(login_end(rest)?)?;
            Some((format!("{scheme}://{}", &host[1..]), login))
        };
        let Some((location, login)) = parts() else {
            return Self { location: address.to_owned(), user: None, password: None };
        };
        match login.split_once(':') {
            Some((user, password)) => Self { location, user: Some(decode(user)), password: Some(decode(password)) },
            None => Self { location, user: Some(decode(login)), password: None },
        }
    }

    /// With the login of the settings, which comes before that of the address.
    pub(super) fn with(mut self, stream: &Stream, password: Option<&str>) -> Self {
        if !stream.username.is_empty() {
            self.user = Some(stream.username.clone());
        }
        self.password = password.map(str::to_owned).or(self.password);
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::Source;
    use super::*;

    #[test]
    fn a_camera_is_reached_at_its_host_and_port_without_its_login() {
        let of = |uri: &str| Source::parse(uri).unwrap().endpoint();
        for (uri, host, port, address) in [
            ("rtsp://cam/1", "cam", 554, "rtsp://cam/1"),
            ("rtsp://u:p@cam:8554/1?x=a:b", "cam", 8554, "rtsp://cam:8554/1?x=a:b"),
            ("rtsp://u:p/@x@10.0.0.7", "10.0.0.7", 554, "rtsp://10.0.0.7"),
            ("rtsp://[fe80::1]:554/1", "fe80::1", 554, "rtsp://[fe80::1]:554/1"),
            ("rtsp://[::1]", "::1", 554, "rtsp://[::1]"),
            ("rtsps://u:p@nvr/1", "nvr", 322, "rtsps://nvr/1"),
            ("rtsps://nvr:7441/1", "nvr", 7441, "rtsps://nvr:7441/1"),
            ("http://u:p@cam/stream", "cam", 80, "http://cam/stream"),
            ("http://[::1]:81/a.jpg?x=1", "::1", 81, "http://[::1]:81/a.jpg?x=1"),
            ("https://cam", "cam", 443, "https://cam"),
        ] {
            let secure = uri.starts_with("rtsps") || uri.starts_with("https");
            let endpoint = Endpoint { host: host.into(), port, address: address.into(), secure };
            assert_eq!(of(uri), Some(Ok(endpoint)), "{uri}");
        }
        for uri in [
            "rtsp://cam:0/1",
            "rtsp://cam:99999/1",
            "rtsp://cam:x/1",
            "rtsp:///1",
            "rtsp://[::1/1",
            "rtsp://[::1]x",
            "http://cam:0/1",
            "https:///1",
        ] {
            let error = of(uri).unwrap().unwrap_err().to_string();
            assert!(error.contains("://HOST:PORT/PATH, the port from 1 to 65535"), "{uri}: {error}");
        }
        assert_eq!(of("test:ball"), None);
    }

    #[test]
    fn the_port_is_left_out_where_the_scheme_says_it() {
        for (address, authority) in [
            ("http://cam/a", "cam"),
            ("http://cam:80", "cam"),
            ("http://cam:443", "cam:443"),
            ("https://[::1]:443/", "[::1]"),
            ("https://[::1]:8443/", "[::1]:8443"),
        ] {
            assert_eq!(Endpoint::of(address).unwrap().authority(), authority, "{address}");
        }
    }
}
