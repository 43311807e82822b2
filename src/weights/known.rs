//! Records the digests of downloaded files: once a short digest or a name has stood for a file, it always stands for the
//! same file.
//!
//! Some published names of weights contain the first digits of their SHA-256, so few that another file with the same
//! digits can be forged; for others, no digest is published. The whole digest of the first good file is kept in a text
//! file, one per line, in the format of `sha256sum`.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::digest::Check;
use crate::exit::Exit;
use crate::replace::{replace, without_links};

/// Maximum size of a record in bytes.
const MAX_LENGTH: u64 = 1 << 20;

/// Why a record is unusable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written.
    #[error("cannot {action} the record of digests {}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not a valid record.
    #[error(
        "{}, line {line}: expected a SHA-256 of 64 digits, two spaces and a name; remove the file to start over",
        path.display()
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::File { .. } => Exit::Io,
            Self::Line { .. } => Exit::Data,
        }
    }
}

/// What stands for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key<'a> {
    /// The first digits of its SHA-256.
    Digits(&'a str),
    /// Its name.
    Name(&'a str),
}

impl Key<'_> {
    /// Whether this stands for the file `name` with the SHA-256 `digest`.
    fn is_of(self, digest: &str, name: &str) -> bool {
        match self {
            Self::Digits(digits) => digest.starts_with(digits),
            Self::Name(own) => own == name,
        }
    }
}

/// A record of digests.
#[derive(Debug)]
pub struct Known {
    path: PathBuf,
    /// Digests and names.
    entries: Vec<(String, String)>,
}

impl Known {
    /// The record in the file at `path`; an empty one if there is no file.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
        let mut text = String::new();
        match without_links(OpenOptions::new().read(true)).open(path) {
            Ok(file) if file.metadata().map_err(failed)?.is_file() => {
                file.take(MAX_LENGTH).read_to_string(&mut text).map_err(failed)?;
            }
            Ok(_) => return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let entry = |(index, line): (usize, &str)| {
            let entry = line.split_once("  ").filter(|(digest, name)| is_whole(digest) && !name.is_empty());
            let (digest, name) = entry.ok_or_else(|| Error::Line { path: path.to_owned(), line: index + 1 })?;
            Ok((digest.to_owned(), name.to_owned()))
        };
        let entries = text.lines().enumerate().map(entry).collect::<Result<_, Error>>()?;
        Ok(Self { path: path.to_owned(), entries })
    }

    /// The whole digest of the file that `key` stands for; `None` if it is new.
    #[must_use]
    pub fn find(&self, key: Key) -> Option<&str> {
        self.entries.iter().find(|(digest, name)| key.is_of(digest, name)).map(|(digest, _)| digest.as_str())
    }

    /// Path of the record.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records that `key` stands for `digest`, that of the file called `name`, and for no other digest. Creates missing
    /// folders.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn note(&mut self, key: Key, digest: &str, name: &str) -> Result<(), Error> {
        if self.find(key) == Some(digest) {
            return Ok(());
        }
        self.entries.retain(|(known, name)| !key.is_of(known, name));
        self.entries.push((digest.to_owned(), name.replace(char::is_control, "?")));
        let text: String = self.entries.iter().map(|(digest, name)| format!("{digest}  {name}\n")).collect();
        let written = self.path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let written = written.and_then(|()| replace(&self.path, |file| file.write_all(text.as_bytes())));
        written.map_err(|source| Error::File { action: "write", path: self.path.clone(), source })
    }
}

/// Whether `digest` is a whole SHA-256, in lower-case hexadecimal digits.
fn is_whole(digest: &str) -> bool {
    let check = Check::Sha256(digest);
    check.is_whole() && check.is_well_formed()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn what_a_prefix_has_stood_for_is_known_until_another_digest_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/hardnetd/digests");
        let (first, second, other) = ("ab".repeat(32), "abab".to_owned() + &"00".repeat(30), "cd".repeat(32));
        let mut known = Known::open(&path).unwrap();
        assert_eq!(known.find(Key::Digits("abab")), None);
        known.note(Key::Digits("abab"), &first, "a-abab.pth").unwrap();
        known.note(Key::Digits("cdcd"), &other, "b\n.pth").unwrap();
        let mut known = Known::open(&path).unwrap();
        assert_eq!(
            (known.find(Key::Digits("abab")), known.find(Key::Digits("cdcdcd")), known.find(Key::Digits("ef"))),
            (Some(&*first), Some(&*other), None)
        );
        known.note(Key::Digits("abab"), &second, "a-abab.pth").unwrap();
        let known = Known::open(&path).unwrap();
        assert_eq!(known.find(Key::Digits("abab")), Some(&*second));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{other}  b?.pth\n{second}  a-abab.pth\n"));
    }

    #[test]
    fn a_name_has_one_digest_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("digests");
        let (first, second, name) = ("ab".repeat(32), "cd".repeat(32), "a.pdparams");
        let mut known = Known::open(&path).unwrap();
        known.note(Key::Digits("ab"), &first, "a-ab.pth").unwrap();
        assert_eq!(known.find(Key::Name(name)), None);
        known.note(Key::Name(name), &second, name).unwrap();
        known.note(Key::Name(name), &first, name).unwrap();
        let known = Known::open(&path).unwrap();
        assert_eq!((known.find(Key::Name(name)), known.find(Key::Digits("cd"))), (Some(&*first), None));
        assert_eq!(known.find(Key::Name("a-ab.pth")), Some(&*first));
    }

    #[test]
    fn a_record_that_is_none_is_an_error_that_names_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("digests");
        std::fs::write(&path, format!("{}  a\nabab  b\n", "ab".repeat(32))).unwrap();
        let error = Known::open(&path).unwrap_err();
        assert!(error.to_string().contains("digests, line 2: expected a SHA-256"), "{error}");
        assert!(matches!(Known::open(folder.path()), Err(Error::File { .. })));
    }
}
