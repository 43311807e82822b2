//! Hides passwords in addresses, for everything that is printed.

/// Keys of a path or query whose values are secrets, as cameras use them.
const SECRET_KEYS: [&str; 5] = ["password=", "passwd=", "pwd=", "pass=", "token="];

/// What a secret is replaced with.
const HIDDEN: &str = "***";

/// `scheme:user:password@host/…` with the password replaced by `***`, well formed or not, and so the
/// values of keys such as `password=`; other text as it is. What names a file is left alone.
///
/// ```
/// use hardnetd::config::redact;
///
/// assert_eq!(redact("rtsp://me:secret@cam/1"), "rtsp://me:***@cam/1");
/// assert_eq!(redact("rtsp://cam/user=me&password=secret&channel=1"), "rtsp://cam/user=me&password=***&channel=1");
/// assert_eq!(redact("test:ball"), "test:ball");
/// ```
#[must_use]
pub fn redact(address: &str) -> String {
    match address.split_once(':') {
        None | Some(("file" | "images" | "test", _)) => address.to_owned(),
        Some((scheme, rest)) => hide_values(&format!("{scheme}:{}", hide_login(rest))),
    }
}

/// Text for a person, such as a usage error, with the addresses in it redacted.
#[must_use]
pub fn redact_words(text: &str) -> String {
    let breaks = |c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '`');
    text.split_inclusive(breaks).map(redact).collect()
}

/// What stands after the scheme, without the password. It may itself hold '@' or '/': the last '@'
/// ends it.
fn hide_login(rest: &str) -> String {
    let start = rest.len() - rest.trim_start_matches('/').len();
    let (slashes, rest) = rest.split_at(start);
    let hidden = rest.rsplit_once('@').and_then(|(login, host)| {
        let (user, _) = login.split_once(':')?;
        Some(format!("{slashes}{user}:{HIDDEN}@{host}"))
    });
    hidden.unwrap_or_else(|| format!("{slashes}{rest}"))
}

fn hide_values(address: &str) -> String {
    let mut shown = address.to_owned();
    for key in SECRET_KEYS {
        let mut from = 0;
        while let Some(at) = shown[from..].to_ascii_lowercase().find(key) {
            let start = from + at + key.len();
            let ends = |c: char| matches!(c, '&' | ';' | '/' | '\'' | '"' | '`') || c.is_whitespace();
            let end = shown[start..].find(ends).map_or(shown.len(), |length| start + length);
            shown.replace_range(start..end, HIDDEN);
            from = start + HIDDEN.len();
        }
    }
    shown
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
            ("rtsp://u@h/a", "rtsp://u@h/a"),
            ("rtsp://h:554/a", "rtsp://h:554/a"),
            ("rtsp://h/Password=p;b=c", "rtsp://h/Password=***;b=c"),
            ("rtsp://h/?pwd=p&token=q", "rtsp://h/?pwd=***&token=***"),
            ("file:/tmp/a:b@c", "file:/tmp/a:b@c"),
            ("clip.mp4", "clip.mp4"),
        ] {
            assert_eq!(redact(address), shown);
        }
    }

    #[test]
    fn addresses_in_a_sentence_are_redacted() {
        let text = "error: unexpected argument 'rtsp://u:p@h/a' found\n\n  tip: see 'a:b'";
        assert_eq!(redact_words(text), "error: unexpected argument 'rtsp://u:***@h/a' found\n\n  tip: see 'a:b'");
    }
}
