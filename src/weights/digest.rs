//! Digests of files, and what they must be.

use std::fmt::Write as _;
use std::io::{self, Read};

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Bytes read at a time.
const CHUNK: usize = 64 << 10;

/// What the digest of a file must be. All digits are hexadecimal, in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check<'a> {
    /// Its SHA-256 begins with these digits, 1 to 64 of them.
    Sha256(&'a str),
    /// Its id as a blob of Git is these 40 digits: the SHA-1 of `blob LENGTH`, a zero byte and the content.
    GitBlob(&'a str),
}

impl<'a> Check<'a> {
    /// The expected digits.
    #[must_use]
    pub fn digits(self) -> &'a str {
        match self {
            Self::Sha256(digits) | Self::GitBlob(digits) => digits,
        }
    }

    /// The kind of digest.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::GitBlob(_) => "Git blob id",
        }
    }

    /// Number of digits of a whole digest.
    fn whole(self) -> usize {
        match self {
            Self::Sha256(_) => 64,
            Self::GitBlob(_) => 40,
        }
    }

    /// Whether the digits are all that the digest has, so that no other file with them can be made.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.digits().len() == self.whole()
    }

    /// Whether the digits can be those of such a digest.
    #[must_use]
    pub fn is_well_formed(self) -> bool {
        let digits = self.digits();
        let least = if matches!(self, Self::GitBlob(_)) { self.whole() } else { 1 };
        let are_digits = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        are_digits && (least..=self.whole()).contains(&digits.len())
    }

    /// Whether a file with the digest `found`, of this kind, is the right one.
    #[must_use]
    pub fn accepts(self, found: &str) -> bool {
        found.starts_with(self.digits())
    }

    /// The digest of this kind of the rest of `input`, which has `length` bytes; `None` if `stop` says so.
    pub(super) fn of(self, input: &mut impl Read, length: u64, stop: impl Fn() -> bool) -> io::Result<Option<String>> {
        fn whole<D: Digest>(mut hash: D, input: &mut impl Read, stop: impl Fn() -> bool) -> io::Result<Option<String>> {
            Ok(feed(&mut hash, input, stop)?.map(|_| hex(&hash.finalize())))
        }
        match self {
            Self::Sha256(_) => whole(Sha256::new(), input, stop),
            Self::GitBlob(_) => whole(Sha1::new_with_prefix(format!("blob {length}\0")), input, stop),
        }
    }
}

/// Hashes the rest of `input` and returns its length in bytes; `None` if `stop` says so.
pub(super) fn feed(hash: &mut impl Digest, input: &mut impl Read, stop: impl Fn() -> bool) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; CHUNK];
    let mut length = 0;
    while !stop() {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(Some(length)),
            Ok(count) => {
                hash.update(&buffer[..count]);
                length += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn digests_are_those_of_sha256sum_and_git_hash_object() {
        let of = |check: Check, text: &str| check.of(&mut text.as_bytes(), text.len() as u64, || false).unwrap();
        let sha256 = "a7998f247bd965694ff227fa325c81169a07471a8b6808d3e002a486c4e65975";
        assert_eq!(of(Check::Sha256(""), "key\n").as_deref(), Some(sha256));
        // `printf 'key\\n' | git hash-object --stdin`, and the same of nothing.
        let blob = "06bfde493370196db0ee5355ce9c073af4c3c272";
        assert_eq!(of(Check::GitBlob(""), "key\n").as_deref(), Some(blob));
        assert_eq!(of(Check::GitBlob(""), "").as_deref(), Some("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"));
        assert_eq!(Check::GitBlob("").of(&mut &b"key"[..], 3, || true).unwrap(), None, "stopped");
        assert!(Check::Sha256(&sha256[..8]).accepts(sha256) && !Check::Sha256("ffff").accepts(sha256));
    }

    #[test]
    fn a_prefix_may_stand_for_a_sha256_only() {
        let digits = "0123456789abcdef".repeat(5);
        for (check, well_formed, whole) in [
            (Check::Sha256(""), false, false),
            (Check::Sha256("0"), true, false),
            (Check::Sha256(&digits[..64]), true, true),
            (Check::Sha256(&digits[..65]), false, false),
            (Check::Sha256("A0"), false, false),
            (Check::GitBlob(&digits[..39]), false, false),
            (Check::GitBlob(&digits[..40]), true, true),
            (Check::GitBlob(&digits[..41]), false, false),
        ] {
            assert_eq!((check.is_well_formed(), check.is_whole()), (well_formed, whole), "{check:?}");
        }
    }
}
