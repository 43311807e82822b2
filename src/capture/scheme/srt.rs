//! `srt://HOST:PORT`: MPEG-TS over SRT, fetched from an encoder or received from one.

use std::time::Duration;

use super::address::{Endpoint, host_port};
use super::{Carrier, DECODE, Fault, Launch, Scheme, Source, SourceError};
use crate::capture::{Error, elements, gst, package};
use crate::choice::SrtMode;
use crate::config::Stream;

/// The form of the address.
pub(super) const FORM: &str = "srt://HOST:PORT";

/// What is expected of the address.
const EXPECTED: &str = "srt://HOST:PORT, the port from 1 to 65535, or srt://:PORT with mode = \"listener\"; everything \
                        else is a setting of [stream.srt], and the passphrase is in password_file";

/// A caller or a listener.
#[derive(Debug)]
struct Peer {
    /// Without brackets; empty for a listener.
    host: String,
    port: u16,
}

pub(super) fn parse(rest: &str) -> Result<Source, SourceError> {
    let parsed = || {
        let place = rest.strip_prefix("//")?.trim_end_matches('/');
        if place.contains(['?', '/', '#', '@']) || place.contains(char::is_whitespace) {
            return None;
        }
        if let Some(port) = place.strip_prefix(':') {
            return Some(Peer { host: String::new(), port: port.parse().ok().filter(|port| *port > 0)? });
        }
        let endpoint = Endpoint::of(&format!("srt://{place}")).ok()?;
        Some(Peer { host: endpoint.host, port: endpoint.port })
    };
    parsed().map(Source::new).ok_or(SourceError::Missing(EXPECTED))
}

impl Peer {
    fn address(&self) -> String {
        format!("srt://{}", host_port(&self.host, self.port))
    }
}

impl Scheme for Peer {
    fn describe(&self) -> String {
        self.address()
    }

    fn carrier(&self) -> Carrier {
        Carrier::Packets
    }

    /// The mode is part of the address, too: `srtsrc` takes one without a host for a listener.
    fn launch(&self, stream: &Stream, password: Option<&str>) -> Option<Launch> {
        let mode = match (stream.srt.mode, self.host.is_empty()) {
            (SrtMode::Auto, false) | (SrtMode::Caller, _) => "caller",
            (SrtMode::Auto, true) | (SrtMode::Listener, _) => "listener",
        };
        let text = format!(
            "srtsrc name=source latency={latency} ! video/mpegts,systemstream=(boolean)true ! {DECODE}",
            latency = stream.srt.latency_ms,
        );
        let mut properties = vec![("source", "uri", format!("{}?mode={mode}", self.address()))];
        if !stream.srt.stream_id.is_empty() {
            properties.push(("source", "streamid", stream.srt.stream_id.clone()));
        }
        properties.extend(password.map(|password| ("source", "passphrase", password.to_owned())));
        Some(Launch { live: true, properties, ..Launch::of(&text, stream) })
    }

    /// "The passphrase must be at least 10 and at most 79 characters long" (SRT API, `SRTO_PASSPHRASE`).
    fn check_password(&self, password: Option<&str>) -> Result<(), Error> {
        match password.map(str::len) {
            Some(length) if !(10..=79).contains(&length) => Err(Error::Passphrase { length }),
            _ => Ok(()),
        }
    }

    /// A call would take the place of the service where an encoder takes one caller.
    fn examine(&self, _launch: Option<&Launch>, _timeout: Duration) -> Result<String, Fault> {
        let shown = self.describe();
        if gst::init().is_ok() && !elements::is_installed("srtsrc") {
            let package = package::of_element("srtsrc");
            return Err(Fault::new(format!("{shown}: GStreamer has no srtsrc"), format!("apt install {package}")));
        }
        Ok(format!("{shown}: not called here"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::tests::launch;
    use super::*;
    use crate::config::Srt;

    #[test]
    fn who_calls_follows_the_settings_or_the_address() {
        for (uri, mode, expected) in [
            ("srt://encoder:9000", SrtMode::Auto, "srt://encoder:9000?mode=caller"),
            ("srt://[::1]:9000/", SrtMode::Caller, "srt://[::1]:9000?mode=caller"),
            ("srt://:9000", SrtMode::Auto, "srt://:9000?mode=listener"),
            ("srt://10.0.0.7:9000", SrtMode::Listener, "srt://10.0.0.7:9000?mode=listener"),
        ] {
            let srt = Srt { mode, latency_ms: 300, stream_id: "#!::r=door".into() };
            let launch = launch(uri, &Stream { srt, ..Stream::default() });
            assert_eq!(
                launch.text,
                "srtsrc name=source latency=300 ! video/mpegts,systemstream=(boolean)true \
                 ! decodebin name=decode expose-all-streams=false caps=video/x-raw(ANY) ! videoconvert name=convert"
            );
            let of = |name, value: &str| ("source", name, value.to_owned());
            assert_eq!(
                launch.properties,
                [of("uri", expected), of("streamid", "#!::r=door"), of("passphrase", "secret")],
                "{uri}"
            );
        }
    }

    #[test]
    fn a_passphrase_has_the_length_that_srt_takes() {
        let source = Source::parse("srt://encoder:9000").unwrap();
        let lengths = [0, 9, 10, 79, 80].map(|length| source.check_password(Some(&"x".repeat(length))).is_ok());
        assert_eq!(lengths, [false, false, true, true, false]);
        assert!(source.check_password(None).is_ok());
    }

    #[test]
    fn an_address_has_a_port_and_no_settings() {
        for uri in ["srt:", "srt://", "srt://cam", "srt://cam:0", "srt://:x", "srt://cam:9000?passphrase=s3cret"] {
            let message = Source::parse(uri).unwrap_err().to_string();
            assert!(message.starts_with("expected srt://HOST:PORT, the port from 1 to 65535"), "{uri}: {message}");
        }
    }
}
