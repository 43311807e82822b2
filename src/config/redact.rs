//! Hides passwords in addresses, for everything that is printed.

/// `scheme://user:password@host/…` with the password replaced by `***`; other text as it is.
///
/// ```
/// assert_eq!(hardnetd::config::redact("rtsp://me:secret@cam/1"), "rtsp://me:***@cam/1");
/// assert_eq!(hardnetd::config::redact("test:ball"), "test:ball");
/// ```
#[must_use]
pub fn redact(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    // A password may itself hold '@' or '/': the last '@' ends it.
    let Some(at) = rest.rfind('@').filter(|at| *at < authority.len() || rest[..*at].contains(':')) else {
        return address.to_owned();
    };
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***{}", &rest[at..]),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn a_password_is_hidden_whatever_it_holds() {
        for (address, shown) in [
            ("rtsp://u:p@h:554/a", "rtsp://u:***@h:554/a"),
            ("rtsp://u:p@p/x@h/a", "rtsp://u:***@h/a"),
            ("rtsp://u@h/a", "rtsp://u@h/a"),
            ("rtsp://h:554/a", "rtsp://h:554/a"),
            ("file:/tmp/a:b@c", "file:/tmp/a:b@c"),
        ] {
            assert_eq!(redact(address), shown);
        }
    }
}
