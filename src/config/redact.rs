//! Hides logins in addresses: the single place for everything that is printed, logged, or sent.
//!
//! [`redact`] is for a single value, such as a configured source; [`redact_words`] is for text that may contain some,
//! such as a log line. Both prefer to hide too much: an address that is not well formed may contain a password
//! anywhere. It is one file because what is hidden must be read together; a third of it are tests.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::printable::MAX_TEXT;

/// Replacement for a secret.
const HIDDEN: &str = "***";

/// Schemes that an address may begin with even if no `//` follows. Before any other colon is a user or a host.
const SCHEMES: [&str; 24] = [
    "file",
    "ftp",
    "ftps",
    "http",
    "https",
    "images",
    "libcamera",
    "mqtt",
    "mqtts",
    "nvargus",
    "rtmp",
    "rtmps",
    "rtp",
    "rtsp",
    "rtsps",
    "rtspt",
    "rtspu",
    "srt",
    "tcp",
    "test",
    "udp",
    "v4l2",
    "ws",
    "wss",
];

/// Parts of the names of keys with secret values.
const SECRET_PARTS: [&str; 9] =
    ["passw", "passc", "passphrase", "pwd", "token", "secret", "auth", "signature", "credential"];

/// Endings of the names of such keys: `loginpas`, `apikey`.
const SECRET_ENDS: [&str; 5] = ["pass", "pas", "psw", "pswd", "key"];

/// Full names of such keys, including abbreviations used by cameras.
const SECRET_KEYS: [&str; 8] = ["p", "pw", "pin", "psk", "sig", "sid", "jwt", "session"];

/// Keys of users, whose password may follow after a colon.
const USER_KEYS: [&str; 5] = ["user", "username", "usr", "login", "u"];

/// Maximum number of times that the name of a key may be percent-encoded.
const MOST_ENCODINGS: usize = 4;

/// Most bytes of a word that is looked through, whose time grows with the square of its length. Of a longer one, which no
/// address is, the rest is left out.
const LONGEST_WORD: usize = 1024;

/// Most bytes of an address or a path (Linux's `PATH_MAX`). A longer one is hidden as a whole.
const LONGEST_ADDRESS: usize = 4096;

/// Forms of addresses in messages.
const FORMS: [&str; 9] = [
    "pipeline:GST-LAUNCH-TEXT",
    "rtsp://HOST:PORT/PATH",
    "rtsp://USER:PASSWORD@HOST/PATH",
    "http://HOST:PORT/PATH",
    "https://HOST:PORT/PATH",
    "udp://ADDRESS:PORT",
    "srt://HOST:PORT",
    "srt://:PORT",
    "mqtt://[USER@]HOST[:PORT][/PREFIX]",
];

/// `scheme:user:password@host/…` with the password replaced by `***`, well formed or not, with or without the scheme;
/// likewise the values of keys such as `password=` in its path and query. A login without a colon may be a token and is
/// hidden entirely. File paths and other text are unchanged.
///
/// ```
/// use hardnetd::config::redact;
///
/// assert_eq!(redact("rtsp://me:secret@cam/1"), "rtsp://me:***@cam/1");
/// assert_eq!(redact("me:secret@cam/1"), "me:***@cam/1");
/// assert_eq!(redact("rtsp://cam/user=me&password=secret&channel=1"), "rtsp://cam/user=me&password=***&channel=1");
/// assert_eq!(redact("test:ball"), "test:ball");
/// ```
#[must_use]
pub fn redact(address: &str) -> String {
    // The properties of elements may be anything.
    if let Some(text) = address.strip_prefix("pipeline:") {
        let first = text.split_whitespace().next().unwrap_or_default();
        let is_name = first.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        let (first, has_more) = if is_name { (first, text.trim() != first) } else { ("", true) };
        let space = if first.is_empty() || !has_more { "" } else { " " };
        return format!("pipeline:{first}{space}{}", if has_more { "…" } else { "" });
    }
    if address.len() > LONGEST_ADDRESS && address.contains(['@', '=', '%', ':']) {
        return HIDDEN.to_owned();
    }
    hide_values(&hide_login(address))
}

/// Text for people, such as an error or a log line, with every address in it redacted as by [`redact`]. Words such as
/// `hardnetd@door.service` are unchanged, unless they are quoted and so somebody's value.
#[must_use]
pub fn redact_words(text: &str) -> Cow<'_, str> {
    if !text.contains(['@', '=', '%', ':']) {
        return Cow::Borrowed(text);
    }
    let (text, left_out) = text.split_at(text.floor_char_boundary(MAX_TEXT));
    let is_quote = |c: char| matches!(c, '\'' | '"' | '`');
    let mut quoted = false;
    let breaks = |c: char| c.is_whitespace() || c.is_control() || is_quote(c);
    let words = text.split_inclusive(breaks).map(|word| {
        let (bare, end) = word.split_at(word.trim_end_matches(breaks).len());
        let shown = if bare.len() > LONGEST_WORD { redact_long(bare, quoted) } else { redact_word(bare, quoted) } + end;
        quoted = word.ends_with(is_quote);
        shown
    });
    let mut shown: String = words.collect();
    if !left_out.is_empty() {
        shown.push('…');
    }
    Cow::Owned(shown)
}

/// The beginning of a word that is too long, unless it may be a login.
fn redact_long(word: &str, quoted: bool) -> String {
    let (start, rest) = word.split_at(word.floor_char_boundary(LONGEST_WORD));
    let shown = if rest.contains(['@', '%']) { HIDDEN.to_owned() } else { redact_word(start, quoted) };
    format!("{shown}…(+{})", rest.chars().count())
}

/// A single word of a text, after a bracket or the name of a field.
fn redact_word(word: &str, quoted: bool) -> String {
    let bare = word.trim_start_matches(['(', '[', '{', '<', ',', ';']);
    let field = bare.split_once('=').filter(|(name, value)| {
        name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')) && value.contains("://")
    });
    let bare = field.filter(|(name, _)| !is_secret(name)).map_or(bare, |(_, value)| value);
    let before = &word[..word.len() - bare.len()];
    let is_form = FORMS.iter().any(|form| bare.starts_with(form));
    let is_instance = !quoted && !bare.contains([':', '/', '?', '=', '%']);
    if is_form || is_instance {
        return word.to_owned();
    }
    // The name of an element and what a sentence adds to it.
    let end =
        if bare.starts_with("pipeline:") { bare.trim_end_matches([')', ':', ',', ';', '.']).len() } else { bare.len() };
    let (bare, after) = bare.split_at(end);
    format!("{before}{}{after}", redact(bare))
}

/// Where the address begins that is hidden behind the scheme of a file, or within a path; 0 if none is.
fn inner_address(address: &str) -> usize {
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let mut start = 0;
    loop {
        let (scheme, rest) = split_scheme(&address[start..]);
        let inner = match split_scheme(rest).0 {
            "" => rest.find("://").map(|at| rest[..at].trim_end_matches(is_scheme).len()),
            _ => Some(0),
        };
        match inner {
            Some(inner) if !is_network(scheme) && !scheme.is_empty() | is_path(scheme, rest) => {
                start += scheme.len() + inner;
            }
            _ => return start,
        }
    }
}

fn hide_login(address: &str) -> String {
    let (before, address) = address.split_at(inner_address(address));
    format!("{before}{}", hide_login_of(address))
}

/// The same for an address with no other inside.
fn hide_login_of(address: &str) -> String {
    let (scheme, rest) = split_scheme(address);
    if is_path(scheme, rest) {
        return address.to_owned();
    }
    let is_at = |at: &usize| rest.get(*at..).is_some_and(|rest| sign_length(rest, '@').is_some());
    let encoded = || (0..rest.len()).rfind(is_at).filter(|at| colon(&rest[..*at]).is_some());
    if let Some(end) = rest.rfind('@').or_else(encoded) {
        let (login, host) = rest.split_at(end);
        let host = hide_port(host);
        return match colon(login) {
            Some(at) if login[at..].starts_with(':') && !matches!(login.get(at + 1..=at + 1), None | Some("@")) => {
                format!("{scheme}{}:{HIDDEN}{host}", &login[..at])
            }
            // An '@' in a path (RFC 3986, 3.3), perhaps after a login without a colon.
            None if login.contains('/') => {
                let authority = &login[..login.find(['/', '?', '#']).unwrap_or(login.len())];
                match authority.rfind('@') {
                    Some(end) => format!("{scheme}{HIDDEN}{}{host}", &login[end..]),
                    None => format!("{scheme}{login}{host}"),
                }
            }
            _ if login.is_empty() => format!("{scheme}{host}"),
            _ => format!("{scheme}{HIDDEN}{host}"),
        };
    }
    // A login without its host: the text in place of the port is not a port.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.split_once(':') {
        Some((host, port)) if is_network(scheme) && !host.starts_with('[') && !is_port(port) => {
            format!("{scheme}{host}:{HIDDEN}{}", &rest[authority.len()..])
        }
        _ => address.to_owned(),
    }
}

/// `@host:port` unchanged, or `@user:password` with the password replaced: the two have been swapped.
fn hide_port(host: &str) -> String {
    let authority = host.split(['/', '?', '#']).next().unwrap_or(host);
    match authority.split_once(':') {
        Some((name, port)) if !name.contains('[') && !is_port(port) => {
            format!("{name}:{HIDDEN}{}", &host[authority.len()..])
        }
        _ => host.to_owned(),
    }
}

/// Whether a host follows this scheme.
fn is_network(scheme: &str) -> bool {
    const LOCAL: [&str; 7] = ["", "file:", "images:", "test:", "v4l2:", "libcamera:", "nvargus:"];
    scheme.ends_with("//") || !LOCAL.contains(&scheme.trim_end_matches('/'))
}

/// Whether it is a number, empty, or already hidden, including punctuation that may follow it in a sentence.
fn is_port(text: &str) -> bool {
    let text = text.trim_end_matches([':', ',', ';', '.', ')']);
    text == HIDDEN || text.chars().all(|c| c.is_ascii_digit())
}

/// The scheme, including the separator from the rest.
fn split_scheme(address: &str) -> (&str, &str) {
    let is_scheme = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let end = match address.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) && !scheme.is_empty() && rest.starts_with("//") => scheme.len() + 1,
        Some((scheme, _)) if SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)) => scheme.len() + 1,
        _ => 0,
    };
    let slashes = address[end..].len() - address[end..].trim_start_matches('/').len();
    address.split_at(end + slashes)
}

/// Whether it is a file path: text before an `@` in it is not a login.
fn is_path(scheme: &str, rest: &str) -> bool {
    let slashes = scheme.trim_start_matches(|c| c != '/').len();
    match scheme.trim_end_matches('/') {
        "" => slashes == 1 || ["./", "../", "~/"].iter().any(|start| rest.starts_with(start)),
        // After two slashes, a host begins.
        "file:" | "images:" => slashes != 2,
        "libcamera:" => slashes == 1,
        "v4l2:" => ["by-id/", "by-path/", "dev/"].iter().any(|start| rest.starts_with(start)),
        _ => false,
    }
}

/// Position of the first colon, percent-encoded or not.
fn colon(text: &str) -> Option<usize> {
    (0..text.len()).find(|at| text.get(*at..).is_some_and(|rest| sign_length(rest, ':').is_some()))
}

/// The text with the values of secret keys replaced.
fn hide_values(text: &str) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    let query = text.find('?').unwrap_or(text.len());
    while let Some((key, sign, after)) = next_key(rest, query.saturating_sub(text.len() - rest.len())) {
        shown.push_str(&rest[..rest.len() - after.len()]);
        rest = after;
        if !is_secret(&key) && !is_user(&key) {
            continue;
        }
        let end = value_end(after, sign.starts_with('%'));
        if end > 0 && (is_secret(&key) || colon(&after[..end]).is_some()) {
            shown.push_str(HIDDEN);
            rest = &after[end..];
        }
    }
    shown.push_str(rest);
    shown
}

/// The text without percent-encoding, which links add once for each page that they pass through.
fn decoded(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..MOST_ENCODINGS {
        if text.contains('%') {
            text = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        }
    }
    text
}

/// The length of `sign` at the beginning of `text`, plain or percent-encoded once or more.
fn sign_length(text: &str, sign: char) -> Option<usize> {
    if text.starts_with(sign) {
        return Some(1);
    }
    let mut digits = text.strip_prefix('%')?;
    while let Some(rest) = digits.strip_prefix("25") {
        digits = rest;
    }
    let code = digits.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok());
    (code == Some(sign as u8)).then(|| text.len() - digits.len() + 2)
}

/// The key before the next equals sign, decoded, the sign as written, and the text after it. From the byte `query` on,
/// a colon may replace the sign, as in JSON.
fn next_key(text: &str, query: usize) -> Option<(String, &str, &str)> {
    let sign = |at: usize| {
        let rest = text.get(at..)?;
        let colon = || sign_length(rest, ':').filter(|_| at >= query && !rest.starts_with("://"));
        sign_length(rest, '=').or_else(colon).map(|length| (at, length))
    };
    let (at, length) = (0..text.len()).find_map(sign)?;
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']');
    let is_around = |c: char| matches!(c, ' ' | '+' | '"' | '\'');
    let is_encoded = |c: char| is_part(c) || is_around(c) || c == '%';
    let key = decoded(&text[text[..at].trim_end_matches(is_encoded).len()..at]);
    let key = key.trim_end_matches(is_around);
    // `pass+word=` is a key, and `a b+password=` ends with one.
    let key: String = key.rsplit(|c: char| !is_part(c) && c != '+').next().unwrap_or_default().replace('+', "");
    Some((key, &text[at..at + length], &text[at + length..]))
}

/// The end of a value: before a sign that is followed by another key; an encoded sign counts only if the text's signs
/// `are_encoded`. A password may contain such signs as well.
fn value_end(text: &str, are_encoded: bool) -> usize {
    let begins_key = |rest: &str| {
        let key =
            rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_-.[]".contains(c)).len();
        key > 0 && sign_length(&rest[key..], '=').is_some_and(|length| length == 1 || are_encoded)
    };
    let ends = |at: &usize| {
        let Some(rest) = text.get(*at..) else { return false };
        let separator = ['&', ';'].into_iter().find_map(|sign| sign_length(rest, sign));
        separator.is_some_and(|length| (length == 1 || are_encoded) && begins_key(&rest[length..]))
    };
    (0..text.len()).find(ends).unwrap_or(text.len())
}

/// Whether the value of `key` is a secret, as for `password`, `login[password]`, `password[0]`. `password_file` names a
/// secret but is not one.
pub(super) fn is_secret(key: &str) -> bool {
    key.split(['[', ']']).any(is_secret_part)
}

fn is_secret_part(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let last = key.rsplit(['_', '-', '.']).next().unwrap_or(&key);
    if matches!(last, "file" | "loadcredential") {
        return false;
    }
    let joined = key.replace(['.', '_', '-'], "");
    SECRET_PARTS.iter().any(|part| key.contains(part) || joined.contains(part))
        || SECRET_ENDS.iter().any(|end| last.ends_with(end))
        || SECRET_KEYS.contains(&last)
}

fn is_user(key: &str) -> bool {
    USER_KEYS.iter().any(|user| key.eq_ignore_ascii_case(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_hidden_whatever_it_holds_and_however_the_address_is_written() {
        for (address, shown) in [
            ("rtsp://u:p@h:554/a", "rtsp://u:***@h:554/a"),
            ("rtsp://u:p@p/x@h/a", "rtsp://u:***@h/a"),
            ("rtsp:/u:p@h/a", "rtsp:/u:***@h/a"),
            ("rtsp:u:p@h/a", "rtsp:u:***@h/a"),
            ("RTSP:u:p@h/a", "RTSP:u:***@h/a"),
            ("rtsp://u:p q\"'@h/a", "rtsp://u:***@h/a"),
            ("rtsp://rtsp://u:p@h", "rtsp://rtsp:***@h"),
            ("v4l2:u:p@h", "v4l2:u:***@h"),
            ("v4l2://u:p@h", "v4l2://u:***@h"),
            ("foo://u:p@h", "foo://u:***@h"),
            ("u:p@h/a", "u:***@h/a"),
            ("u:p:q@h:554/a", "u:***@h:554/a"),
            ("u.v:p q@h/a", "u.v:***@h/a"),
            ("//u:p@h/a", "//u:***@h/a"),
            ("file://u:p@h/a", "file://u:***@h/a"),
            // A token, alone or in place of the user.
            ("rtsp://t@h/a", "rtsp://***@h/a"),
            ("rtsp://t:@h/a", "rtsp://***@h/a"),
            ("t@h/a", "***@h/a"),
            // Percent-encoded.
            ("rtsp://u%3Ap@h/a", "rtsp://***@h/a"),
            ("rtsp://u:p%40h/a", "rtsp://u:***%40h/a"),
            ("rtsp%3A%2F%2Fu%3Ap%40h", "***%40h"),
            // After the scheme of a file, or within a path.
            ("images:rtsp://u:p@h/a", "images:rtsp://u:***@h/a"),
            ("images:rtsp:u:p@h/a", "images:rtsp:u:***@h/a"),
            ("file:/rtsp://u:p@h/a", "file:/rtsp://u:***@h/a"),
            ("file:images:rtsp://u:p@h/a", "file:images:rtsp://u:***@h/a"),
            ("test:rtsp://u:p@h", "test:rtsp://u:***@h"),
            ("/photos/rtsp://u:p@h/a", "/photos/rtsp://u:***@h/a"),
            ("./rtsp://u:p@h/a", "./rtsp://u:***@h/a"),
            ("images://u:p@h/a", "images://u:***@h/a"),
            // Login and host swapped.
            ("rtsp://h:554/a@u:p", "rtsp://h:***@u:***"),
            ("rtsp://h/a@u:p", "rtsp://h/a@u:***"),
            ("rtsp://h@u:p/a", "rtsp://***@u:***/a"),
            // No host.
            ("rtsp://u:p", "rtsp://u:***"),
            ("rtsp://u:p/a", "rtsp://u:***/a"),
            ("rtsp://u:***:", "rtsp://u:***:"),
            ("rtsp://u:***p:", "rtsp://u:***"),
            ("rtsp:u:p/a", "rtsp:u:***/a"),
            ("mqtt:u:p", "mqtt:u:***"),
            // Nothing secret.
            ("rtsp://h:554/a", "rtsp://h:554/a"),
            ("rtsp://[::1]:554/a", "rtsp://[::1]:554/a"),
            ("rtsp://h/a@b", "rtsp://h/a@b"),
            ("file:/tmp/a:b@c", "file:/tmp/a:b@c"),
            ("file:///tmp/a:b@c", "file:///tmp/a:b@c"),
            ("/tmp/a:b@c", "/tmp/a:b@c"),
            ("./a:b@c", "./a:b@c"),
            ("v4l2:/dev/video0", "v4l2:/dev/video0"),
            ("clip.mp4", "clip.mp4"),
            ("test:ball?size=64x64&fps=5", "test:ball?size=64x64&fps=5"),
            ("srt://h:9000?passphrase=p", "srt://h:9000?passphrase=***"),
            ("udp://239.1.2.3:5000", "udp://239.1.2.3:5000"),
            ("libcamera:/base/i2c@8/imx708@1a", "libcamera:/base/i2c@8/imx708@1a"),
            // Elements have secrets, too.
            ("pipeline:rtspsrc location=rtsp://h user-id=u user-pw=p ! decodebin", "pipeline:rtspsrc …"),
            ("pipeline:videotestsrc", "pipeline:videotestsrc"),
            ("pipeline: u:p@h", "pipeline:…"),
        ] {
            assert_eq!(redact(address), shown, "{address}");
            assert_eq!(redact(shown), shown, "twice is once");
        }
    }

    #[test]
    fn values_of_secret_keys_are_hidden_in_paths_and_queries() {
        for (address, shown) in [
            ("rtsp://h/Password=p;b=c", "rtsp://h/Password=***;b=c"),
            ("rtsp://h/?pwd=p&token=q", "rtsp://h/?pwd=***&token=***"),
            ("rtsp://h/a?auth=u:p", "rtsp://h/a?auth=***"),
            ("rtsp://h/a?pass_word=p&c=1", "rtsp://h/a?pass_word=***&c=1"),
            ("rtsp://h/a?access_token=p&c=1", "rtsp://h/a?access_token=***&c=1"),
            ("rtsp://h/a?api-key=p", "rtsp://h/a?api-key=***"),
            ("rtsp://h/a?loginuse=u&loginpas=p", "rtsp://h/a?loginuse=u&loginpas=***"),
            ("rtsp://h/11?u=me&p=s", "rtsp://h/11?u=me&p=***"),
            ("rtsp://h/a?user=me:s&c=1", "rtsp://h/a?user=***&c=1"),
            ("rtsp://h/user=me_password=p_channel=1", "rtsp://h/user=me_password=***"),
            ("rtsp://h/a?password=p&q/r;s", "rtsp://h/a?password=***"),
            ("rtsp://h/a?x%26password%3Dp%26c%3D1", "rtsp://h/a?x%26password%3D***%26c%3D1"),
            ("rtsp://h/a?p%61ssword=p&c=1", "rtsp://h/a?p%61ssword=***&c=1"),
            ("rtsp://h/a?x[password]=p&c=1", "rtsp://h/a?x[password]=***&c=1"),
            ("rtsp://h/a?password[]=p&auth[0]=q", "rtsp://h/a?password[]=***&auth[0]=***"),
            ("rtsp://h/a?p%2561ssword=p&c=1", "rtsp://h/a?p%2561ssword=***&c=1"),
            ("rtsp://h/a?x%5Bpassword%5D=p&c=1", "rtsp://h/a?x%5Bpassword%5D=***&c=1"),
            ("h/user=me&password=p", "h/user=me&password=***"),
            ("rtsp://h/a?password=a%26x%3Dp&c=1", "rtsp://h/a?password=***&c=1"),
            ("rtsp://h/a?password=***p&c=1", "rtsp://h/a?password=***&c=1"),
            ("rtsp://h/a?password%253Dp", "rtsp://h/a?password%253D***"),
            ("rtsp://h/a?x%2526password%253Dp%2526c%253D1", "rtsp://h/a?x%2526password%253D***%2526c%253D1"),
            ("rtsp://u%253Ap%2540h/a", "rtsp://***%2540h/a"),
            ("rtsp://h/a?password%20=p", "rtsp://h/a?password%20=***"),
            ("rtsp://h/a?password+=p", "rtsp://h/a?password+=***"),
            ("rtsp://h/a?pass+word=p", "rtsp://h/a?pass+word=***"),
            ("rtsp://h/a?pass%2Eword=p", "rtsp://h/a?pass%2Eword=***"),
            ("rtsp://h/a?{\"password\":\"p\"}", "rtsp://h/a?{\"password\":***"),
            ("rtsp://h/a?%22password%22:%22p%22", "rtsp://h/a?%22password%22:***"),
            ("rtsp://h/a?password:p", "rtsp://h/a?password:***"),
            ("rtsp://h/a?x=1&password:p", "rtsp://h/a?x=1&password:***"),
            ("rtsp://h/a?psk=p", "rtsp://h/a?psk=***"),
            ("rtsp://h/a?password=", "rtsp://h/a?password="),
            ("rtsp://h/a?channel=1&subtype=0", "rtsp://h/a?channel=1&subtype=0"),
        ] {
            assert_eq!(redact(address), shown, "{address}");
            assert_eq!(redact(shown), shown, "twice is once");
        }
    }

    #[test]
    fn no_shape_of_an_address_shows_its_secret() {
        let schemes = [
            "",
            "//",
            "images:rtsp://",
            "/a/rtsp://",
            "rtsp://",
            "rtsp:",
            "rtsp:/",
            "RTSPS://",
            "foo://",
            "mqtt:",
            "rtsp%3A%2F%2F",
        ];
        let logins = ["me:{}@", "{}@", "{}:@", ":{}@", "me%3A{}@", "me:{}%40", "me:a@{}@", "me:x/{}?y@", "me: {}'\"#@"];
        let hosts =
            ["cam", "cam:554/1", "10.0.0.5:554/a/b", "[fe80::1]:554/1", "cam/1?channel=1#x", "cam/stream@1", ""];
        let queries = ["auth={}", "Password={}&x=1", "user=me_password={}_channel=1", "token={}", "login=me:{}"];
        let mut count = 0;
        let mut check = |address: String| {
            let address = address.replace("{}", "S3CR3T");
            assert!(!redact(&address).contains("S3CR3T"), "{address} is shown as {}", redact(&address));
            assert_eq!(redact(&redact(&address)), redact(&address), "twice is once");
            count += 1;
        };
        for scheme in schemes {
            for host in hosts {
                logins.iter().for_each(|login| check(format!("{scheme}{login}{host}")));
                queries.iter().for_each(|query| check(format!("{scheme}{host}/a?{query}")));
                queries.iter().for_each(|query| check(format!("{scheme}me:{{}}@{host}/{query}")));
            }
        }
        assert!(count > 500, "{count}");
    }

    #[test]
    fn a_word_without_end_takes_no_time_and_no_stack() {
        let count = 1 << 18;
        for part in ["file:", "images:", "u=", "u=&", "a:b/", "%25", "/x://", "p=@"] {
            let shown = redact_words(&part.repeat(count)).into_owned();
            assert!(shown.len() < 2 * LONGEST_WORD, "{part}: {} bytes", shown.len());
            assert!(shown.contains("…(+"), "{part}");
        }
        let words = "u=".repeat(400) + " ";
        assert!(redact_words(&words.repeat(count)).len() < 2 * MAX_TEXT);
        assert_eq!(redact(&"u=".repeat(count)), HIDDEN);
        let deep = "file:".repeat(700);
        assert_eq!(redact(&format!("{deep}rtsp://u:p@h")), format!("{deep}rtsp://u:***@h"));
        let long = format!("u:{}@h", "p".repeat(2 * LONGEST_WORD));
        assert!(!redact_words(&long).contains("pp"), "what may be a password is not shown");
    }

    #[test]
    fn addresses_in_a_sentence_are_redacted() {
        for (text, shown) in [
            (
                "error: unexpected argument 'rtsp://u:p@h/a' found\n\n  tip: see 'a:b'",
                "error: unexpected argument 'rtsp://u:***@h/a' found\n\n  tip: see 'a:b'",
            ),
            ("cannot read rtsp:u:p/1: no such file", "cannot read rtsp:u:***/1: no such file"),
            ("error: tcp: at src/a.rs:10:5, 'mqtt:1883'", "error: tcp: at src/a.rs:10:5, 'mqtt:1883'"),
            ("stream door (rtsp://u:p@h/a): gone", "stream door (rtsp://u:***@h/a): gone"),
            ("opened source=rtsp://u:p@h/a wait_s=2", "opened source=rtsp://u:***@h/a wait_s=2"),
            ("unit hardnetd@door.service, 'p@h'", "unit hardnetd@door.service, '***@h'"),
            ("expected rtsp://HOST:PORT/PATH", "expected rtsp://HOST:PORT/PATH"),
            (
                "expected https://HOST:PORT/PATH, or srt://:PORT with",
                "expected https://HOST:PORT/PATH, or srt://:PORT with",
            ),
            ("expected udp://ADDRESS:PORT, the port", "expected udp://ADDRESS:PORT, the port"),
            ("LoadCredential=a:/etc/b in the unit", "LoadCredential=a:/etc/b in the unit"),
            ("publish.mqtt.key_file = \"a.pem\"", "publish.mqtt.key_file = \"a.pem\""),
            ("\u{1b}[3mu:p@h\u{1b}[0m", "\u{1b}[3mu:***@h\u{1b}[0m"),
        ] {
            assert_eq!(redact_words(text), shown);
            assert_eq!(redact_words(shown), shown, "twice is once");
        }
    }
}
