//! `rtsp://HOST:PORT/PATH` and `rtsps://HOST:PORT/PATH`: a network camera.

mod examine;

use std::time::Duration;

use super::address::{Endpoint, Target, encoded, whole};
use super::{Carrier, DECODE, Fault, Launch, Scheme, Source, SourceError};
use crate::choice::RtspTransport;
use crate::config::{Stream, redact};

/// The form of the address.
pub(super) const FORM: &str = "rtsp://HOST/PATH";
/// The form of the address over TLS.
pub(super) const SECURE_FORM: &str = "rtsps://HOST/PATH";

/// A network camera, by its whole address.
#[derive(Debug)]
struct Camera {
    address: String,
}

pub(super) fn parse(rest: &str) -> Result<Source, SourceError> {
    Ok(Source::new(Camera { address: whole("rtsp", rest, "rtsp://HOST:PORT/PATH")? }))
}

pub(super) fn parse_secure(rest: &str) -> Result<Source, SourceError> {
    Ok(Source::new(Camera { address: whole("rtsps", rest, "rtsps://HOST:PORT/PATH")? }))
}

impl Scheme for Camera {
    fn describe(&self) -> String {
        redact(&self.address)
    }

    fn carrier(&self) -> Carrier {
        Carrier::Rtp
    }

    fn endpoint(&self) -> Option<Result<Endpoint, SourceError>> {
        Some(Endpoint::of(&Target::of(&self.address).location))
    }

    fn launch(&self, stream: &Stream, password: Option<&str>) -> Option<Launch> {
        let protocols = match stream.rtsp.transport {
            RtspTransport::Tcp => "tcp",
            RtspTransport::Udp => "udp",
            RtspTransport::Auto => "tcp+udp-mcast+udp",
        };
        let Target { location, user, password } = Target::of(&self.address).with(stream, password);
        let timeout_us = stream.start_timeout().as_micros();
        let text = format!(
            "rtspsrc name=source latency={latency} protocols={protocols} \
             tcp-timeout={timeout_us} ! application/x-rtp,media=video ! {DECODE}",
            latency = stream.rtsp.latency_ms,
        );
        let endpoint = Endpoint::of(&location).ok();
        let mut properties = vec![("source", "location", encoded(&location))];
        properties.extend(user.map(|user| ("source", "user-id", user)));
        properties.extend(password.map(|password| ("source", "user-pw", password)));
        Some(Launch { properties, live: true, endpoint, ..Launch::of(&text, stream) })
    }

    fn examine(&self, launch: Option<&Launch>, timeout: Duration) -> Result<String, Fault> {
        let shown = self.describe();
        let endpoint = Endpoint::of(&Target::of(&self.address).location)
            .map_err(|error| Fault::new(format!("{shown}: {error}"), "correct stream.source"))?;
        let trust = launch.map(|launch| launch.trust.clone()).unwrap_or_default();
        examine::examine(&shown, &endpoint, &trust, timeout)
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
        assert_eq!(properties("rtsp://host/a b\r\n%20"), [of("location", "rtsp://host/a%20b%0D%0A%20")], "one line");
    }
}
