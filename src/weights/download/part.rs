//! The bytes received so far: in a file next to the destination, with a note of what they belong to.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::digest::{Check, feed, hex};
use super::Error;
use crate::replace::{self, beside};
use crate::shutdown::Stopped;

/// Bytes read and written at a time.
pub(super) const CHUNK: usize = 64 << 10;

/// Maximum length of a note that is read, in bytes.
const LONGEST_NOTE: u64 = 16 << 10;

/// Number of times that the file is reopened because another process has just moved it away.
const OPENINGS: usize = 3;

/// What the bytes belong to.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// Digest of the address, which may itself contain secrets.
    source: String,
    /// The server's identifier of this version of the file.
    validator: Option<String>,
}

/// An incomplete file. Other processes cannot write to it meanwhile.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    note_path: PathBuf,
    note: Note,
    file: File,
    hash: Sha256,
    length: u64,
    pieced: bool,
}

impl Part {
    /// The part of `to` that an earlier run left, or an empty one.
    ///
    /// The bytes left are reused if there are no more than `longest`, and if a digest will verify them (`verified`) or
    /// they come from `address` and the server can tell whether the file is still the same.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process writes to it, [`Error::File`] if it cannot be opened or read,
    /// [`Error::Stopped`].
    pub(super) fn open(to: &Path, address: &str, verified: bool, longest: u64, stop: &Stopped) -> Result<Self, Error> {
        let path = beside(to, ".part");
        let note_path = beside(to, ".part.info");
        let file = open_locked(&path)?;
        let source = hex(&Sha256::digest(address));
        let left = read_note(&note_path).filter(|note| note.source == source);
        if left.is_none() {
            remove(&note_path);
        }
        let note = left.unwrap_or(Note { source, validator: None });
        let usable = verified || note.validator.is_some();
        let mut part = Self { path, note_path, note, file, hash: Sha256::new(), length: 0, pieced: false };
        let length = part.file.metadata().map_err(|source| part.failed("read", source))?.len();
        if usable && (1..=longest).contains(&length) {
            let read =
                feed(&mut part.hash, &mut part.file, || stop.is_set()).map_err(|source| part.failed("read", source))?;
            part.length = read.ok_or(Error::Stopped)?;
            part.pieced = true;
        } else {
            part.clear()?;
        }
        Ok(part)
    }

    /// Number of bytes present.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The server's identifier of the version that the bytes belong to.
    pub(super) fn validator(&self) -> Option<&str> {
        self.note.validator.as_deref()
    }

    /// Whether the bytes come from more than one answer, and so may belong to different files.
    pub(super) fn is_pieced(&self) -> bool {
        self.pieced
    }

    /// Marks that bytes of another answer follow.
    pub(super) fn piece(&mut self) {
        self.pieced = self.length > 0;
    }

    /// Discards the bytes.
    pub(super) fn clear(&mut self) -> Result<(), Error> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(|source| self.failed("write", source))?;
        (self.hash, self.length, self.pieced) = (Sha256::new(), 0, false);
        self.note.validator = None;
        Ok(())
    }

    /// Discards the bytes, and records that a version called `validator` follows.
    pub(super) fn begin(&mut self, validator: Option<String>) -> Result<(), Error> {
        // In this order, so that a note never accompanies bytes of another version.
        self.clear()?;
        self.note.validator = validator;
        let text = serde_json::to_vec(&self.note).map_err(io::Error::from);
        let written = text.and_then(|text| replace::create(&self.note_path)?.write_all(&text));
        written.map_err(|source| Error::File { action: "write", path: self.note_path.clone(), source })
    }

    /// Appends bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|source| self.failed("write", source))?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// SHA-256 of the bytes, as 64 lower-case hexadecimal digits.
    pub(super) fn digest(&self) -> String {
        hex(&self.hash.clone().finalize())
    }

    /// The digest of the bytes that `check` compares.
    ///
    /// # Errors
    /// [`Error::File`] if they cannot be read again, [`Error::Stopped`].
    pub(super) fn digest_for(&mut self, check: Check, stop: &Stopped) -> Result<String, Error> {
        if matches!(check, Check::Sha256(_)) {
            return Ok(self.digest());
        }
        // The length comes before the bytes: they are hashed when it is known.
        let read = self.file.rewind().and_then(|()| check.of(&mut self.file, self.length, || stop.is_set()));
        read.map_err(|source| self.failed("read", source))?.ok_or(Error::Stopped)
    }

    /// Syncs the file and renames it to `to`.
    pub(super) fn finish(self, to: &Path) -> Result<(), Error> {
        self.file.sync_all().map_err(|source| self.failed("write", source))?;
        fs::rename(&self.path, to).map_err(|source| Error::File { action: "write", path: to.to_owned(), source })?;
        remove(&self.note_path);
        replace::sync_folder(to);
        Ok(())
    }

    /// Keeps the bytes for another run; does nothing if there are none.
    pub(super) fn leave(self) {
        if self.length == 0 {
            self.discard();
        }
    }

    /// Removes everything.
    pub(super) fn discard(self) {
        remove(&self.path);
        remove(&self.note_path);
    }

    fn failed(&self, action: &'static str, source: io::Error) -> Error {
        Error::File { action, path: self.path.clone(), source }
    }
}

/// The digest of the file at `path` that `check` compares, and its length in bytes.
///
/// # Errors
/// [`Error::File`] if it cannot be read, [`Error::Stopped`].
pub(super) fn digest_of(path: &Path, check: Check, stop: &Stopped) -> Result<(String, u64), Error> {
    let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let digest = check.of(&mut file, length, || stop.is_set()).map_err(failed)?;
    Ok((digest.ok_or(Error::Stopped)?, length))
}

/// Opens or creates the file, locked for this process.
fn open_locked(path: &Path) -> Result<File, Error> {
    let failed = |source| Error::File { action: "write", path: path.to_owned(), source };
    for _ in 0..OPENINGS {
        let not_a_file = || Error::NotAFile { path: path.to_owned() };
        // A pipe or a device could block the program.
        if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(not_a_file());
        }
        let mut options = OpenOptions::new();
        replace::without_links(options.read(true).write(true).create(true).truncate(false));
        let file = options.open(path).map_err(|error| match error.raw_os_error() {
            // Somebody has just placed a link there.
            Some(libc::ELOOP) => not_a_file(),
            _ => failed(error),
        })?;
        let found = file.metadata().map_err(failed)?;
        // Writing to a file with several names would change it under all of them.
        if !found.is_file() || found.nlink() > 1 {
            return Err(not_a_file());
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => break,
            // The file system does not support locks.
            Err(TryLockError::Error(error)) => tracing::debug!(path = %path.display(), "no lock: {error}"),
        }
        // The previous owner of the lock may have renamed the file to its final name meanwhile; it is then no longer a
        // part.
        let there = fs::symlink_metadata(path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (found.dev(), found.ino())) {
            return Ok(file);
        }
    }
    Err(Error::Busy { path: path.to_owned() })
}

/// The note at `path`, if it is usable.
fn read_note(path: &Path) -> Option<Note> {
    let file = replace::without_links(OpenOptions::new().read(true)).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(LONGEST_NOTE).read_to_end(&mut text).ok()?;
    let mut note: Note = serde_json::from_slice(&text).ok()?;
    // It is sent to the server verbatim.
    note.validator = note.validator.filter(|text| text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    Some(note)
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), "the file cannot be removed: {error}");
        }
        _ => {}
    }
}
