//! The address of a file: the part that is requested, the part that is shown, and the login in it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use ureq::http::Uri;

use super::Error;
use crate::config::redact;

/// Replacement for a secret.
const HIDDEN: &str = "***";

/// An address that can be requested.
#[derive(Debug)]
pub(super) struct Address {
    /// The address to request, without the login.
    pub(super) plain: String,
    /// The address to show to people.
    pub(super) shown: String,
    /// The value of `Authorization`, if the address has a login.
    pub(super) login: Option<String>,
}

impl Address {
    /// # Errors
    /// [`Error::Url`] for anything other than a well-formed `http` or `https` address with a host.
    pub(super) fn new(url: &str) -> Result<Self, Error> {
        let wrong = |reason| Error::Url { url: shown(url), reason };
        let uri: Uri = url.parse().map_err(|_| wrong("it is not well formed"))?;
        let scheme = match uri.scheme_str() {
            Some("http") => "http",
            Some("https") => "https",
            _ => return Err(wrong("it does not begin with http:// or https://")),
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if uri.host().is_none_or(str::is_empty) || !is_port(authority) {
            return Err(wrong("it names no host"));
        }
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (Some(basic(login)), host),
            None => (None, authority),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self { plain: format!("{scheme}://{host}{path}"), shown: shown(url), login })
    }
}

/// `user:password`, percent-encoded in the address, as HTTP sends it.
fn basic(login: &str) -> String {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let mut bytes: Vec<u8> = percent_decode_str(user).collect();
    bytes.push(b':');
    bytes.extend(percent_decode_str(password));
    format!("Basic {}", BASE64_STANDARD.encode(bytes))
}

/// Whether the text after the host, if any, is a port number.
fn is_port(authority: &str) -> bool {
    match authority.rsplit_once(':') {
        None => true,
        Some((_, port)) => port.ends_with(']') || port.is_empty() || port.parse::<u16>().is_ok(),
    }
}

/// `url`, well formed or not, without the login and without the query, which may contain signatures and tokens.
pub(super) fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    // An unencoded password may contain any of these characters: the last '@' ends it.
    let (login, rest) = if authority.contains('@') || !is_port(authority) {
        ("***@", rest.rsplit_once('@').map_or(HIDDEN, |(_, host)| host))
    } else {
        ("", rest)
    };
    let mut text = match scheme {
        "" => login.to_owned(),
        scheme => format!("{scheme}://{login}"),
    };
    match rest.find(['?', '#']) {
        Some(at) if rest[at..].starts_with('?') => text.extend([&rest[..at], "?", HIDDEN]),
        Some(at) => text.push_str(&rest[..at]),
        None => text.push_str(rest),
    }
    redact(&text).replace(char::is_control, "?")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown_of_an_address_well_formed_or_not() {
        for (url, expected) in [
            ("https://h/a.pth", "https://h/a.pth"),
            ("https://[::1]:8443/a.pth", "https://[::1]:8443/a.pth"),
            ("https://h:80/model@1.0/a.pth#part", "https://h:***@1.0/a.pth"),
            ("https://h/model@1.0/a.pth", "https://h/model@1.0/a.pth"),
            ("https://me:secret@h/a.pth", "https://***@h/a.pth"),
            ("https://secret@h/a.pth", "https://***@h/a.pth"),
            ("https://me:sec/secret@h/a.pth", "https://***@h/a.pth"),
            ("https://me:sec?secret@h/a.pth", "https://***@h/a.pth"),
            ("https://me:sec@secret/secret@h/a.pth", "https://***@h/a.pth"),
            ("https://me:secret", "https://***@***"),
            ("https://h/a.pth?sig=secret", "https://h/a.pth?***"),
            ("https://h?secret", "https://h?***"),
            ("me:secret@h/a.pth", "***@h/a.pth"),
            ("https://h/a\nb", "https://h/a?b"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
            assert!(!shown(url).contains("sec"), "{url}");
        }
    }

    #[test]
    fn the_login_is_decoded_and_leaves_the_address() {
        let address = Address::new("http://me:p%40ss%3A@h:81/a?b=c#d").unwrap();
        assert_eq!(address.plain, "http://h:81/a?b=c");
        // `me:p@ss:`, encoded with an independent program.
        assert_eq!(address.login.unwrap(), "Basic bWU6cEBzczo=");
        assert_eq!(Address::new("HTTPS://h").unwrap().plain, "https://h/");
    }

    #[test]
    fn what_cannot_be_asked_is_refused_without_its_password() {
        for url in [
            "",
            "h/a",
            "/a",
            "file:///a",
            "ftp://me:secret@h/a",
            "https://",
            "https:///a",
            "https://me:secret@/a",
            "https://me:secret/x@h/a",
            "https://h:x/a",
            "https://h/a b",
            "https://[h/a",
            "http://h:99999/",
            "ü",
        ] {
            let error = Address::new(url).unwrap_err();
            assert!(matches!(error, Error::Url { .. }), "{url}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
