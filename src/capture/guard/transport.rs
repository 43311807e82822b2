//! What a camera may choose of the transports that it is offered (RFC 2326, 12.39).

/// How packets come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lower {
    Tcp,
    Udp,
    Multicast,
}

/// As `rtspsrc` reads it: without `unicast`, it is multicast.
fn lower(transport: &str) -> Lower {
    let text = transport.to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    if parts.next().is_some_and(|profile| profile.ends_with("/tcp")) {
        return Lower::Tcp;
    }
    let has = |word: &str| text.split(';').any(|part| part.trim().starts_with(word));
    if has("unicast") && !has("multicast") { Lower::Udp } else { Lower::Multicast }
}

/// The header `Transport` to go on with after the camera has answered `chosen` to `offered`; `None` if that was not
/// offered. A unicast session sends to the camera's host only, whatever other hosts the answer names.
pub(super) fn accepted(offered: &str, chosen: &str) -> Option<String> {
    let chosen = chosen.split(',').next().unwrap_or_default();
    let kind = lower(chosen);
    if !offered.split(',').any(|offer| lower(offer) == kind) {
        return None;
    }
    let names_host = |part: &&str| {
        let part = part.trim().to_ascii_lowercase();
        part.starts_with("source") || part.starts_with("destination")
    };
    let parts: Vec<&str> = chosen.split(';').filter(|part| kind == Lower::Multicast || !names_host(part)).collect();
    Some(parts.join(";"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "RTP/AVP/TCP;unicast;interleaved=0-1";
    const UDP: &str = "RTP/AVP;unicast;client_port=5000-5001";
    const MULTICAST: &str = "RTP/AVP;multicast";

    #[test]
    fn a_camera_chooses_among_what_it_was_offered() {
        for (offered, chosen, accepts) in [
            (TCP, TCP, true),
            (TCP, "rtp/avp/tcp;interleaved=0-1", true),
            (TCP, UDP, false),
            (TCP, MULTICAST, false),
            (TCP, "RTP/AVP", false),
            (TCP, "", false),
            (UDP, UDP, true),
            (UDP, "RTP/AVP/UDP;unicast;client_port=5000-5001;server_port=6000-6001", true),
            (UDP, MULTICAST, false),
            (UDP, "RTP/AVP;unicast;multicast;destination=239.1.2.3", false),
            (UDP, TCP, false),
            ("RTP/AVP;unicast;client_port=5000-5001,RTP/AVP;multicast", MULTICAST, true),
            ("RTP/AVP;unicast;client_port=5000-5001,RTP/AVP;multicast", TCP, false),
        ] {
            assert_eq!(accepted(offered, chosen).is_some(), accepts, "{offered}: {chosen}");
        }
    }

    #[test]
    fn an_answer_names_no_other_host_to_send_to() {
        let chosen = "RTP/AVP;unicast;source=10.0.0.9; Destination=10.0.0.8;server_port=1-2;ssrc=1";
        assert_eq!(accepted(UDP, chosen).as_deref(), Some("RTP/AVP;unicast;server_port=1-2;ssrc=1"));
        let group = "RTP/AVP;multicast;destination=239.1.2.3;port=1-2;ttl=1";
        assert_eq!(accepted(MULTICAST, group).as_deref(), Some(group));
    }
}
