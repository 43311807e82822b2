//! What a camera may choose of the transports that it is offered (RFC 2326, 12.39).

use std::net::IpAddr;

/// How packets come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lower {
    Tcp,
    Udp,
    Multicast,
}

/// The kind of transport, as `rtspsrc` reads it from parts without blanks; `None` for a form that is not read alike
/// everywhere. The third component of the profile decides, whatever follows it; without one, it is multicast unless
/// `unicast` says otherwise.
fn lower(parts: &[&str]) -> Option<Lower> {
    let profile = parts.first()?.to_ascii_lowercase();
    let profile: Vec<&str> = profile.split('/').collect();
    let mut lower = match profile[..] {
        ["rtp", "avp" | "savp" | "avpf" | "savpf"] => Lower::Multicast,
        ["rtp", "avp" | "savp" | "avpf" | "savpf", "udp"] => Lower::Udp,
        ["rtp", "avp" | "savp" | "avpf" | "savpf", "tcp"] => Lower::Tcp,
        _ => return None,
    };
    for part in &parts[1..] {
        match (part.to_ascii_lowercase().as_str(), lower) {
            ("multicast", Lower::Tcp) => return None,
            ("multicast", _) => lower = Lower::Multicast,
            ("unicast", Lower::Multicast) => lower = Lower::Udp,
            _ => {}
        }
    }
    Some(lower)
}

fn parts(transport: &str) -> Vec<&str> {
    transport.split(';').map(str::trim).collect()
}

/// The value of a parameter, if the part is that parameter.
fn value<'a>(part: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = part.split_once('=')?;
    key.trim().eq_ignore_ascii_case(name).then_some(value)
}

/// The header `Transport` to go on with after the camera has answered `chosen` to `offered`; `None` if that was not
/// offered. A unicast session sends to the camera's host only, whatever other hosts the answer names; a multicast
/// session sends to the group that it names.
pub(super) fn accepted(offered: &str, chosen: &str) -> Option<String> {
    let chosen = parts(chosen.split(',').next()?);
    let kind = lower(&chosen)?;
    if !offered.split(',').any(|offer| lower(&parts(offer)) == Some(kind)) {
        return None;
    }
    if kind == Lower::Multicast {
        let mut groups = chosen.iter().filter_map(|part| value(part, "destination"));
        let is_group = |host: &str| host.parse().is_ok_and(|host: IpAddr| host.is_multicast());
        return (groups.next().is_some_and(is_group) && groups.next().is_none()).then(|| chosen.join(";"));
    }
    // GStreamer writes the others to standard error.
    let is_known = |part: &str| {
        let known = ["interleaved", "client_port", "server_port", "port", "ttl", "ssrc", "mode", "layers"];
        matches!(part.to_ascii_lowercase().as_str(), "unicast" | "append")
            || known.into_iter().any(|name| value(part, name).is_some())
    };
    let (profile, parameters) = chosen.split_first()?;
    let kept = parameters.iter().filter(|part| is_known(part)).copied();
    Some(std::iter::once(*profile).chain(kept).collect::<Vec<_>>().join(";"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "RTP/AVP/TCP;unicast;interleaved=0-1";
    const UDP: &str = "RTP/AVP;unicast;client_port=5000-5001";
    const MULTICAST: &str = "RTP/AVP;multicast";
    const GROUP: &str = "RTP/AVP;multicast;destination=239.1.2.3;port=1-2;ttl=1";

    #[test]
    fn a_camera_chooses_among_what_it_was_offered() {
        for (offered, chosen, accepts) in [
            (TCP, TCP, true),
            (TCP, "rtp/avp/tcp;interleaved=0-1", true),
            (TCP, UDP, false),
            (TCP, MULTICAST, false),
            (TCP, "RTP/AVP", false),
            (TCP, "", false),
            // `rtspsrc` reads the third component only.
            (TCP, "RTP/AVP/UDP/TCP;unicast;client_port=1-2;server_port=9-10", false),
            (TCP, "RTP/AVP/MCAST/TCP", false),
            (TCP, "RTP/AVP /TCP;interleaved=0-1", false),
            (TCP, "X/TCP;interleaved=0-1", false),
            (TCP, "RTP/AVP/TCP;multicast", false),
            (UDP, UDP, true),
            (UDP, "RTP/AVP/UDP;unicast;client_port=5000-5001;server_port=6000-6001", true),
            (UDP, "RTP/AVP/UDP;client_port=5000-5001;server_port=6000-6001", true),
            (UDP, GROUP, false),
            (UDP, "RTP/AVP;unicast;multicast;destination=239.1.2.3", false),
            (UDP, TCP, false),
            ("RTP/AVP;unicast;client_port=5000-5001,RTP/AVP;multicast", GROUP, true),
            ("RTP/AVP;unicast;client_port=5000-5001,RTP/AVP;multicast", TCP, false),
            // It would send to the address of the description, or to a host that is no group.
            (MULTICAST, MULTICAST, false),
            (MULTICAST, "RTP/AVP;multicast;destination=10.0.0.8", false),
            (MULTICAST, "RTP/AVP;multicast;destination=239.1.2.3;destination=10.0.0.8", false),
            (MULTICAST, "RTP/AVP/UDP;source=10.0.0.9;server_port=1-2", false),
        ] {
            assert_eq!(accepted(offered, chosen).is_some(), accepts, "{offered}: {chosen}");
        }
    }

    #[test]
    fn an_answer_names_no_other_host_to_send_to() {
        let chosen = "RTP/AVP ; unicast;source=10.0.0.9; Destination = 10.0.0.8;server_port=1-2;x=y;ssrc=1;";
        assert_eq!(accepted(UDP, chosen).as_deref(), Some("RTP/AVP;unicast;server_port=1-2;ssrc=1"));
        assert_eq!(accepted(MULTICAST, GROUP).as_deref(), Some(GROUP));
    }

    /// Whatever is accepted, GStreamer reads as one of the kinds that were offered.
    #[test]
    fn a_choice_reads_the_same_the_second_time() {
        for chosen in [TCP, UDP, GROUP, " RTP/AVP/UDP ;client_port=1-2", "rtp/savp; UNICAST ;server_port=1-2"] {
            let offered = format!("{TCP},{UDP},{MULTICAST}");
            let once = accepted(&offered, chosen);
            assert_eq!(once.as_deref().and_then(|once| accepted(&offered, once)), once, "{chosen}");
            assert!(once.is_some_and(|once| !once.contains(' ')), "{chosen}");
        }
    }
}
