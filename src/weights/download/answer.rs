//! Classifies a server's answer by its status and headers: the whole file, the rest of it, or neither.

use ureq::http::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED};
use ureq::http::{Response, StatusCode};

use super::Error;
use super::part::Part;

/// Maximum length of a validator that is kept, in bytes.
const LONGEST_VALIDATOR: usize = 1 << 10;

/// Maximum length of a header that is shown, in characters.
const LONGEST_SHOWN: usize = 100;

/// An answer to the request for a file, or for the missing rest of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The whole file follows.
    Whole {
        /// Its length in bytes.
        total: Option<u64>,
        /// The server's identifier of this version.
        validator: Option<String>,
    },
    /// The missing rest follows, or the beginning of it.
    Rest {
        /// Where the answer ends, in bytes from the beginning of the file.
        end: u64,
        /// Length of the file in bytes.
        total: u64,
    },
    /// Nothing is missing.
    Complete,
    /// The missing rest is not available: request the whole file.
    Refused,
}

impl Answer {
    /// # Errors
    /// [`Error::Status`], [`Error::Page`] or [`Error::Encoded`] if it is not a file; [`Error::Range`] if the whole file
    /// was requested and only a part is returned.
    pub(super) fn read(response: &Response<ureq::Body>, part: &Part, shown: &str) -> Result<Self, Error> {
        let (status, headers) = (response.status(), response.headers());
        let url = || shown.to_owned();
        let from = part.length();
        match status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
            StatusCode::RANGE_NOT_SATISFIABLE if from > 0 => {
                let all = text(headers, CONTENT_RANGE).is_some_and(|range| unsatisfied(range) == Some(from));
                return Ok(if all { Self::Complete } else { Self::Refused });
            }
            status => return Err(Error::Status { url: url(), status: status.as_u16() }),
        }
        if text(headers, CONTENT_TYPE).is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html")) {
            return Err(Error::Page { url: url(), status: status.as_u16() });
        }
        if let Some(encoding) = text(headers, CONTENT_ENCODING).filter(|name| !name.eq_ignore_ascii_case("identity")) {
            return Err(Error::Encoded { url: url(), encoding: short(encoding) });
        }
        let validator = validator(headers);
        if status == StatusCode::OK {
            return Ok(Self::Whole { total: response.body().content_length(), validator });
        }
        let other = matches!((part.validator(), &validator), (Some(ours), Some(theirs)) if ours != theirs);
        let answered = text(headers, CONTENT_RANGE);
        match answered.and_then(range) {
            Some(Range { start, end, total }) if start == from && !other => {
                Ok(Self::Rest { end, total: total.unwrap_or(end) })
            }
            _ if from > 0 => Ok(Self::Refused),
            _ => Err(Error::Range { url: url(), answered: short(answered.unwrap_or("nothing")) }),
        }
    }
}

/// Whether a file that begins with `bytes` is a web page, whatever the server calls it.
pub(super) fn is_page(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let begins = |tag: &[u8]| bytes.get(..tag.len()).is_some_and(|found| found.eq_ignore_ascii_case(tag));
    begins(b"<!doctype html") || begins(b"<html")
}

/// The byte range of an answer; `end` is exclusive.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    start: u64,
    end: u64,
    total: Option<u64>,
}

/// Parses `bytes 10-99/100` and `bytes 10-99/*`.
fn range(text: &str) -> Option<Range> {
    let (range, total) = unit(text)?.split_once('/')?;
    let (start, last) = range.split_once('-')?;
    let (start, end) = (number(start)?, number(last)?.checked_add(1)?);
    let total = match total {
        "*" => None,
        total => Some(number(total)?),
    };
    (start < end && total.is_none_or(|total| end <= total)).then_some(Range { start, end, total })
}

/// The length in `bytes */100`.
fn unsatisfied(text: &str) -> Option<u64> {
    number(unit(text)?.strip_prefix("*/")?)
}

fn unit(text: &str) -> Option<&str> {
    let (unit, rest) = text.split_once(' ')?;
    unit.eq_ignore_ascii_case("bytes").then_some(rest.trim())
}

/// A number of digits only, without a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A value for `If-Range`: a strong `ETag`, or else the date.
fn validator(headers: &HeaderMap) -> Option<String> {
    let tag = text(headers, ETAG).filter(|tag| tag.starts_with('"'));
    let found = tag.or_else(|| text(headers, LAST_MODIFIED))?;
    (found.len() <= LONGEST_VALIDATOR).then(|| found.to_owned())
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_those_that_make_no_sense_are_not() {
        assert_eq!(range("bytes 10-99/100"), Some(Range { start: 10, end: 100, total: Some(100) }));
        assert_eq!(range("Bytes 0-0/*"), Some(Range { start: 0, end: 1, total: None }));
        for text in [
            "",
            "bytes",
            "bytes 10-99",
            "bytes 10-9/100",
            "bytes 10-100/100",
            "bytes -1-99/100",
            "bytes +1-99/100",
            "bytes a-b/c",
            "bytes 1-/2",
            "items 10-99/100",
            "bytes */100",
            "bytes 0-18446744073709551615/*",
            "bytes 0-99999999999999999999/*",
        ] {
            assert_eq!(range(text), None, "{text}");
        }
        assert_eq!(unsatisfied("bytes */100"), Some(100));
        assert_eq!(unsatisfied("bytes */*"), None);
    }

    #[test]
    fn web_pages_are_recognised_by_their_first_bytes() {
        for page in ["<html>", "<HTML lang='en'>", "\u{feff}\r\n <!DOCTYPE html>\n<html>", "<!doctype HTML PUBLIC"] {
            assert!(is_page(page.as_bytes()), "{page}");
        }
        for file in [&b"PK\x03\x04"[..], b"", b"<", b"<\0\0\0\0\0\0\0{", b"\x80\x02}", b"  <htm"] {
            assert!(!is_page(file), "{file:?}");
        }
    }

    #[test]
    fn a_weak_tag_gives_way_to_the_date() {
        let of = |pairs: &[(HeaderName, &'static str)]| {
            let header = |(name, value): &(HeaderName, &'static str)| {
                (name.clone(), ureq::http::HeaderValue::from_static(value))
            };
            validator(&pairs.iter().map(header).collect())
        };
        let date = "Sat, 01 Jan 2000 00:00:00 GMT";
        assert_eq!(of(&[(ETAG, "\"a\""), (LAST_MODIFIED, date)]).as_deref(), Some("\"a\""));
        assert_eq!(of(&[(ETAG, "W/\"a\""), (LAST_MODIFIED, date)]).as_deref(), Some(date));
        assert_eq!(of(&[(ETAG, "W/\"a\"")]), None);
    }
}
