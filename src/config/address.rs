//! Broker addresses: the host of `[publish.mqtt]`, and `--sink`.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Maximum length of a host name in bytes (RFC 1035, 2.3.4).
const LONGEST_HOST: usize = 253;

/// A broker given as `mqtt://[USER@]HOST[:PORT][/PREFIX]` or `mqtts://…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The user name, if any.
    pub username: Option<String>,
    /// Host name or address; an IPv6 address without brackets.
    pub host: String,
    /// The TCP port; 0 if not given.
    pub port: u16,
    /// First levels of the topics, if any.
    pub topic_prefix: Option<String>,
}

impl Broker {
    /// Parses a broker address.
    ///
    /// # Errors
    /// What is wrong, without quoting any part of the address.
    pub fn parse(address: &str) -> Result<Self, String> {
        let (tls, rest) = match address.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("mqtt") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("mqtts") => (true, rest),
            _ if address.contains('@') => return Err("the scheme mqtt:// or mqtts:// is missing".into()),
            _ => return Err("unknown sink (for a file, redirect standard output)".into()),
        };
        // A password may contain any character that ends an authority, so the last '@' ends the login.
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let (username, rest) = match rest.rsplit_once('@') {
            Some(_) if !authority.contains('@') && is_place(authority) => return Err("an '@' after the host".into()),
            Some((login, _)) if login.contains(':') || login.contains("%3A") || login.contains("%3a") => {
                return Err("a password here would be seen by every user; use publish.mqtt.password_file".into());
            }
            Some((login, _)) if login.contains(['/', '?', '#']) => return Err("an '@' after the host".into()),
            Some((login, rest)) => (Some(login.to_owned()), rest),
            None => (None, rest),
        };
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err("no host".into());
        }
        check_host(host)?;
        let port = match port.map(str::parse) {
            None => 0,
            Some(Ok(port)) if port > 0 => port,
            Some(_) => return Err("the port is no number from 1 to 65535".into()),
        };
        let topic_prefix = Some(prefix).filter(|prefix| !prefix.is_empty()).map(str::to_owned);
        topic_prefix.as_deref().map_or(Ok(()), check_topic)?;
        Ok(Self { tls, username, host: host.to_owned(), port, topic_prefix })
    }
}

/// Whether it can only be a host, with a port or without.
fn is_place(authority: &str) -> bool {
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    !host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Checks that `text` is a host name or address, and nothing else.
///
/// # Errors
/// What is expected, with a hint if another key is meant.
pub(super) fn check_host(text: &str) -> Result<(), String> {
    const EXPECTED: &str = "expected the name or the address of a host, such as \"broker.local\" or \"192.168.1.2\"";
    if text.contains("://") {
        return Err(format!(
            "{EXPECTED}, without a scheme: port, tls, username and topic_prefix are keys of their own"
        ));
    }
    if text.contains('@') {
        return Err(format!("{EXPECTED}, without a login: username and password_file are keys of their own"));
    }
    if text.trim() != text {
        return Err(format!("{EXPECTED}, without spaces around it"));
    }
    if text.contains('/') {
        return Err(format!("{EXPECTED}, without a path: topic_prefix is a key of its own"));
    }
    if let Some(inner) = text.strip_prefix('[') {
        let (address, rest) = inner.split_once(']').unwrap_or((inner, ""));
        return Err(match (is_ipv6(address), rest) {
            (true, "") => format!("expected the address without brackets: \"{address}\""),
            (true, _) => format!("expected the address alone, \"{address}\": port is a key of its own"),
            (false, _) => EXPECTED.to_owned(),
        });
    }
    if text.contains(':') && !is_ipv6(text) {
        return Err(format!("{EXPECTED}: port is a key of its own, and tls another"));
    }
    if text.contains(':') || is_name(text) { Ok(()) } else { Err(EXPECTED.to_owned()) }
}

/// What the first levels of a topic have to be.
pub(super) const TOPIC: &str = "expected topic levels such as \"site/hardnetd\", without '+', '#', spaces around them \
                                or empty levels, and no '$' in front";

/// Whether `text` can be the first levels of a topic.
///
/// # Errors
/// What is expected.
pub(super) fn check_topic(text: &str) -> Result<(), String> {
    let is_level = |level: &str| {
        !level.is_empty()
            && level.trim() == level
            && !level.contains(['+', '#'])
            && !level.chars().any(char::is_control)
    };
    // Topics that begin with '$' are the broker's own (MQTT 3.1.1, 4.7.2).
    let is_topic = text.len() <= 256 && !text.starts_with('$') && text.split('/').all(is_level);
    if is_topic { Ok(()) } else { Err(TOPIC.to_owned()) }
}

/// An IPv6 address with or without a zone after a percent sign (RFC 4007, 11).
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "-"));
    address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && zone.chars().all(|c| c.is_ascii_graphic() && c != '%')
}

/// A host name, in which local networks also use underscores, or an IPv4 address.
fn is_name(text: &str) -> bool {
    let labels = text.strip_suffix('.').unwrap_or(text).split('.');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    // A last label of digits makes it an address (RFC 1123, 2.1).
    let is_address = labels.clone().next_back().is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    text.len() <= LONGEST_HOST && labels.clone().all(is_label) && (!is_address || text.parse::<Ipv4Addr>().is_ok())
}

/// Whether `host` can only be this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let address = host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    address || host == "localhost" || host.ends_with(".localhost")
}

/// Whether the address of a camera holds a password: something behind a colon before the `@`.
pub(super) fn holds_password(source: &str) -> bool {
    let login = source.split_once("://").and_then(|(_, rest)| rest.get(..login_end(rest)?));
    login.and_then(|login| login.split_once(':')).is_some_and(|(_, password)| !password.is_empty())
}

/// Whether a camera's address names a user.
pub(super) fn holds_user(source: &str) -> bool {
    source.split_once("://").is_some_and(|(_, rest)| login_end(rest).is_some())
}

/// Where the login ends in `rest`, which is what follows `://`: at the last `@` before the path (RFC 3986, 3.2). If there is
/// none, and what should be a port is no number, it is a login with a password that nobody has encoded: at the last `@` of
/// all. Any other `@` is part of the path.
#[must_use]
pub fn login_end(rest: &str) -> Option<usize> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rfind('@').or_else(|| {
        let (_, port) = authority.split_once(':').filter(|_| !authority.starts_with('['))?;
        rest.rfind('@').filter(|_| !port.chars().all(|c| c.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_login_ends_before_the_host_and_never_in_a_path() {
        for (rest, login) in [
            ("u:p@cam/1", Some("u:p")),
            ("u:p@p@cam/1", Some("u:p@p")),
            ("u:p@cam/stream@1", Some("u:p")),
            ("me@cam", Some("me")),
            ("u:p/@x@10.0.0.7", Some("u:p/@x")),
            ("u:p?@cam/1", Some("u:p?")),
            ("cam/stream@1", None),
            ("cam:554/stream@1", None),
            ("[::1]:554/stream@1", None),
            ("cam?user=a@b", None),
            ("cam", None),
        ] {
            assert_eq!(login_end(rest).map(|end| &rest[..end]), login, "{rest}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_nothing_besides() {
        for host in
            ["localhost", "broker.local", "broker.local.", "my_broker", "10.0.0.1", "::1", "fe80::1%eth0", "a-1"]
        {
            assert_eq!(check_host(host), Ok(()), "{host}");
        }
        for (host, hint) in [
            ("", "expected the name"),
            ("mqtt://broker", "without a scheme"),
            ("me@broker", "without a login"),
            (" localhost", "without spaces"),
            ("localhost\n", "without spaces"),
            ("broker/a", "without a path"),
            ("127.0.0.1:1883", "port is a key of its own"),
            ("[::1]", "without brackets: \"::1\""),
            ("[::1]:1883", "alone, \"::1\": port"),
            ("[a", "expected the name"),
            ("a b", "expected the name"),
            ("a..b", "expected the name"),
            ("1.2.3", "expected the name"),
            ("1.2.3.999", "expected the name"),
            ("bröker", "expected the name"),
            ("fe80::1%", "port is a key"),
        ] {
            let message = check_host(host).unwrap_err();
            assert!(message.contains(hint), "{host}: {message}");
        }
        assert!(check_host(&"a".repeat(64)).is_err());
        assert!(check_host(&"a.".repeat(127)).is_err());
    }

    #[test]
    fn a_broker_is_read_out_of_its_address() {
        let plain = |host: &str| Broker { tls: false, username: None, host: host.into(), port: 0, topic_prefix: None };
        assert_eq!(Broker::parse("mqtt://broker"), Ok(plain("broker")));
        assert_eq!(Broker::parse("MQTT://broker"), Ok(plain("broker")));
        assert_eq!(Broker::parse("mqtt://[::1]:1884"), Ok(Broker { port: 1884, ..plain("::1") }));
        assert_eq!(Broker::parse("mqtt://[::1]"), Ok(plain("::1")));
        let all =
            Broker { tls: true, username: Some("me".into()), port: 1, topic_prefix: Some("a/b".into()), ..plain("h") };
        assert_eq!(Broker::parse("mqtts://me@h:1/a/b"), Ok(all));
        for (address, part) in [
            ("smoke", "unknown sink (for a file, redirect standard output)"),
            ("me:secret@h", "scheme"),
            ("mqtt://me:secret@h", "password_file"),
            ("mqtt://me:sec/ret@h", "password_file"),
            ("mqtt://me%3Asecret@h", "password_file"),
            ("mqtt://h/a@b", "after the host"),
            ("mqtt://", "no host"),
            ("mqtt://:1", "no host"),
            ("mqtt://h:0", "from 1 to 65535"),
            ("mqtt://h:x", "from 1 to 65535"),
            ("mqtt://h h", "expected the name"),
            ("mqtt://h/a//b", "expected topic levels"),
        ] {
            let message = Broker::parse(address).unwrap_err();
            assert!(message.contains(part) && !message.contains("ret"), "{address}: {message}");
        }
    }

    #[test]
    fn this_machine_is_known_by_its_names_and_addresses() {
        for host in ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["broker.local", "10.0.0.1", "localhost.example.org", "128.0.0.1"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
