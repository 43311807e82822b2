//! `udp://ADDRESS:PORT`: video that an encoder sends to this machine, or to a multicast group.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::address::host_port;
use super::{Carrier, DECODE, Fault, Launch, Scheme, Source, SourceError};
use crate::choice::Payload;
use crate::config::Stream;

/// The form of the address.
pub(super) const FORM: &str = "udp://ADDRESS:PORT";

/// What is expected of the address.
const EXPECTED: &str = "udp://ADDRESS:PORT, the port from 1 to 65535: an address of this machine or of a multicast group, \
                        or none for all of this machine (udp://:5000); settings are in [stream.udp]";

/// Bytes that the kernel keeps: a second of 16 Mbit/s.
const BUFFER: u32 = 2 << 20;

/// Where packets arrive.
#[derive(Debug)]
struct Receiver {
    address: IpAddr,
    port: u16,
}

pub(super) fn parse(rest: &str) -> Result<Source, SourceError> {
    let parsed = || {
        // Players write an `@` before the address.
        let place = rest.strip_prefix("//")?.trim_start_matches('@').trim_end_matches('/');
        let (host, port) = place.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let address = if host.is_empty() { Ipv4Addr::UNSPECIFIED.into() } else { host.parse().ok()? };
        Some(Receiver { address, port })
    };
    parsed().map(Source::new).ok_or(SourceError::Missing(EXPECTED))
}

/// The elements between an `udpsrc` and decodebin: the caps of its packets, and what unpacks them.
pub(super) fn unpacked(payload: Payload, latency_ms: u32) -> (String, String) {
    let rtp = |encoding: &str, depayloader: &str| {
        (
            format!("\"application/x-rtp,media=(string)video,clock-rate=(int)90000,encoding-name=(string){encoding}\""),
            format!(" ! rtpjitterbuffer latency={latency_ms} ! {depayloader}"),
        )
    };
    match payload {
        Payload::Mpegts => ("\"video/mpegts,systemstream=(boolean)true\"".to_owned(), String::new()),
        Payload::RtpMpegts => rtp("MP2T", "rtpmp2tdepay"),
        Payload::RtpH264 => rtp("H264", "rtph264depay"),
        Payload::RtpH265 => rtp("H265", "rtph265depay"),
        Payload::RtpJpeg => rtp("JPEG", "rtpjpegdepay"),
    }
}

impl Scheme for Receiver {
    fn describe(&self) -> String {
        let all = self.address == Ipv4Addr::UNSPECIFIED;
        let address = if all { String::new() } else { self.address.to_string() };
        format!("udp://{}", host_port(&address, self.port))
    }

    fn carrier(&self) -> Carrier {
        Carrier::Packets
    }

    fn launch(&self, stream: &Stream, _password: Option<&str>) -> Option<Launch> {
        let (caps, unpack) = unpacked(stream.udp.payload, stream.udp.latency_ms);
        let text = format!(
            "udpsrc name=source port={port} buffer-size={BUFFER} caps={caps}{unpack} ! {DECODE}",
            port = self.port,
        );
        let properties = vec![("source", "address", self.address.to_string())];
        Some(Launch { live: true, properties, ..Launch::of(&text, stream) })
    }

    /// Listening for packets would take them away from a service that runs.
    fn examine(&self, _launch: Option<&Launch>, _timeout: Duration) -> Result<String, Fault> {
        Ok(format!("{}: not listened to here; the sender must send to this machine or group", self.describe()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::tests::launch;
    use super::*;
    use crate::config::Udp;

    const DECODE: &str =
        "! decodebin name=decode expose-all-streams=false caps=video/x-raw(ANY) ! videoconvert name=convert";

    #[test]
    fn the_pipeline_unpacks_what_the_settings_say() {
        const RTP: &str = "application/x-rtp,media=(string)video,clock-rate=(int)90000,encoding-name=(string)";
        for (payload, between) in [
            (Payload::Mpegts, "caps=\"video/mpegts,systemstream=(boolean)true\"".to_owned()),
            (Payload::RtpMpegts, format!("caps=\"{RTP}MP2T\" ! rtpjitterbuffer latency=50 ! rtpmp2tdepay")),
            (Payload::RtpH264, format!("caps=\"{RTP}H264\" ! rtpjitterbuffer latency=50 ! rtph264depay")),
            (Payload::RtpH265, format!("caps=\"{RTP}H265\" ! rtpjitterbuffer latency=50 ! rtph265depay")),
            (Payload::RtpJpeg, format!("caps=\"{RTP}JPEG\" ! rtpjitterbuffer latency=50 ! rtpjpegdepay")),
        ] {
            let stream = Stream { udp: Udp { payload, latency_ms: 50 }, ..Stream::default() };
            let launch = launch("udp://239.1.2.3:5000", &stream);
            assert_eq!(launch.text, format!("udpsrc name=source port=5000 buffer-size=2097152 {between} {DECODE}"));
            assert_eq!(launch.properties, [("source", "address", "239.1.2.3".to_owned())]);
            assert!(launch.live && launch.endpoint.is_none());
        }
    }

    #[test]
    fn an_address_is_of_this_machine_or_of_a_group() {
        for (uri, shown) in [
            ("udp://:5000", "udp://:5000"),
            ("udp://@:5000", "udp://:5000"),
            ("udp://0.0.0.0:5000", "udp://:5000"),
            ("udp://@239.1.2.3:5000/", "udp://239.1.2.3:5000"),
            ("udp://[ff02::1]:5000", "udp://[ff02::1]:5000"),
        ] {
            assert_eq!(Source::parse(uri).unwrap().describe(), shown, "{uri}");
        }
        for uri in ["udp:", "udp://", "udp://1.2.3.4", "udp://1.2.3.4:0", "udp://cam:5000", "udp://1.2.3.4:5000?fifo=1"]
        {
            let message = Source::parse(uri).unwrap_err().to_string();
            assert!(message.starts_with("expected udp://ADDRESS:PORT, the port from 1 to 65535"), "{uri}: {message}");
        }
    }
}
