//! `rtsp://HOST:PORT/PATH` and `rtsps://HOST:PORT/PATH`: a network camera.

mod examine;

use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::{Carrier, Fault, Launch, Medium, Scheme, Source, SourceError};
use crate::capture::Error;
use crate::choice::RtspTransport;
use crate::config::{Stream, login_end, redact};

/// The form of the address.
pub(super) const FORM: &str = "rtsp://HOST/PATH";
/// The form of the address over TLS.
pub(super) const SECURE_FORM: &str = "rtsps://HOST/PATH";

/// How an address over TLS begins.
const SECURE: &str = "rtsps://";

/// Port of an `rtsp://` address without one (RFC 7826, 4.2).
const RTSP_PORT: u16 = 554;
/// Port of an `rtsps://` address without one (RFC 7826, 4.2).
const RTSPS_PORT: u16 = 322;

/// A network camera, by its whole address.
#[derive(Debug)]
struct Camera {
    address: String,
}

pub(super) fn parse(rest: &str) -> Result<Source, SourceError> {
    match rest.strip_prefix("//") {
        None | Some("") => Err(SourceError::Missing("rtsp://HOST:PORT/PATH")),
        Some(_) => Ok(Source::new(Camera { address: format!("rtsp:{rest}") })),
    }
}

pub(super) fn parse_secure(rest: &str) -> Result<Source, SourceError> {
    match rest.strip_prefix("//") {
        None | Some("") => Err(SourceError::Missing("rtsps://HOST:PORT/PATH")),
        Some(_) => Ok(Source::new(Camera { address: format!("rtsps:{rest}") })),
    }
}

impl Scheme for Camera {
    fn describe(&self) -> String {
        redact(&self.address)
    }

    fn is_live(&self) -> bool {
        true
    }

    fn is_camera(&self) -> bool {
        true
    }

    fn carrier(&self) -> Carrier {
        Carrier::Rtp
    }

    fn endpoint(&self) -> Option<Result<Endpoint, SourceError>> {
        Some(Endpoint::of(&login(&self.address).0))
    }

    fn launch(&self, stream: &Stream, password: Option<&str>) -> Option<Launch> {
        let protocols = match stream.rtsp.transport {
            RtspTransport::Tcp => "tcp",
            RtspTransport::Udp => "udp",
            RtspTransport::Auto => "tcp+udp-mcast+udp",
        };
        let (location, user, in_address) = login(&self.address);
        let timeout_us = stream.start_timeout().as_micros();
        let text = format!(
            "rtspsrc name=source latency={latency} protocols={protocols} \
             tcp-timeout={timeout_us} ! application/x-rtp,media=video \
             ! decodebin name=decode expose-all-streams=false caps=video/x-raw(ANY)",
            latency = stream.rtsp.latency_ms,
        );
        let endpoint = Endpoint::of(&location).ok();
        let mut properties = vec![("source", "location", location)];
        let user = if stream.username.is_empty() { user } else { Some(stream.username.clone()) };
        properties.extend(user.map(|user| ("source", "user-id", user)));
        properties.extend(password.map(str::to_owned).or(in_address).map(|password| ("source", "user-pw", password)));
        Some(Launch { properties, live: true, endpoint, ..Launch::of(&text, stream) })
    }

    fn open(&self) -> Result<Medium<'_>, Error> {
        Ok(Medium::Pipeline(Box::new(|frames| Err(Error::Ended { frames }))))
    }

    fn examine(&self, launch: Option<&Launch>, timeout: Duration) -> Result<String, Fault> {
        let shown = self.describe();
        let endpoint = Endpoint::of(&login(&self.address).0)
            .map_err(|error| Fault::new(format!("{shown}: {error}"), "correct stream.source"))?;
        let trust = launch.map(|launch| launch.trust.clone()).unwrap_or_default();
        examine::examine(&shown, &endpoint, &trust, timeout)
    }
}

/// Where to reach a network camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The address to request: without the login.
    pub address: String,
    /// Whether it is reached over TLS.
    pub secure: bool,
}

impl Endpoint {
    pub(in crate::capture) fn of(address: &str) -> Result<Self, SourceError> {
        let wrong = || SourceError::Missing("rtsp://HOST:PORT/PATH, the port from 1 to 65535");
        let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
        let secure = address.starts_with(SECURE);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or_else(wrong)?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?,
            None if port.is_empty() && secure => RTSPS_PORT,
            None if port.is_empty() => RTSP_PORT,
            None => return Err(wrong()),
        };
        match host {
            "" => Err(wrong()),
            host => Ok(Self { host: host.to_owned(), port, address: address.to_owned(), secure }),
        }
    }
}

/// An address without its login, and the user and password of that login (RFC 3986, 3.2.1).
fn login(address: &str) -> (String, Option<String>, Option<String>) {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let parts = || {
        let (scheme, rest) = address.split_once("://")?;
        let (login, host) = rest.split_at_checked(login_end(rest)?)?;
        Some((format!("{scheme}://{}", &host[1..]), login))
    };
    match parts() {
        None => (address.to_owned(), None, None),
        Some((location, login)) => match login.split_once(':') {
            Some((user, password)) => (location, Some(decode(user)), Some(decode(password))),
            None => (location, Some(decode(login)), None),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::tests::launch;
    use super::*;
    use crate::config::Rtsp;

    #[test]
    fn rtsp_takes_its_settings_and_hides_its_password() {
        let stream = Stream {
            rtsp: Rtsp { latency_ms: 50, transport: RtspTransport::Udp },
            username: "me".into(),
            ..Stream::default()
        };
        let launch = launch("rtsp://u:p@host/1", &stream);
        assert!(launch.live);
        assert!(launch.text.contains("latency=50 protocols=udp "), "{}", launch.text);
        assert!(!launch.text.contains("drop"), "pictures refer to what would be dropped: {}", launch.text);
        assert!(launch.properties.contains(&("source", "user-id", "me".to_owned())));
        assert!(launch.properties.contains(&("source", "user-pw", "secret".to_owned())));
        assert!(launch.properties.contains(&("source", "location", "rtsp://host/1".to_owned())));
        assert_eq!(Source::parse("rtsp://u:p@host/1").unwrap().describe(), "rtsp://u:***@host/1");
    }

    #[test]
    fn a_login_in_the_address_is_handed_over_beside_it() {
        let properties =
            |address: &str| Source::parse(address).unwrap().launch(&Stream::default(), None).unwrap().properties;
        let of = |name, value: &str| ("source", name, value.to_owned());
        assert_eq!(
            properties("rtsp://me:p%40s:s@host:554/1"),
            [of("location", "rtsp://host:554/1"), of("user-id", "me"), of("user-pw", "p@s:s")]
        );
        assert_eq!(properties("rtsp://me@host/1"), [of("location", "rtsp://host/1"), of("user-id", "me")]);
        assert_eq!(properties("rtsp://host/1"), [of("location", "rtsp://host/1")]);
        assert_eq!(properties("rtsp://host/cam@1"), [of("location", "rtsp://host/cam@1")]);
    }

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
        ] {
            let secure = uri.starts_with("rtsps");
            let endpoint = Endpoint { host: host.into(), port, address: address.into(), secure };
            assert_eq!(of(uri), Some(Ok(endpoint)), "{uri}");
        }
        for uri in
            ["rtsp://cam:0/1", "rtsp://cam:99999/1", "rtsp://cam:x/1", "rtsp:///1", "rtsp://[::1/1", "rtsp://[::1]x"]
        {
            assert!(of(uri).unwrap().is_err(), "{uri}");
        }
        assert_eq!(of("test:ball"), None);
    }
}
