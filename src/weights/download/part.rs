//! The bytes that have come so far: in a file beside the destination, with a note of what they are a part of.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Error;
use crate::replace::{self, beside};
use crate::shutdown::Stopped;

/// Bytes that are read and written at once.
pub(super) const CHUNK: usize = 64 << 10;

/// Longest note that is read, in bytes.
const LONGEST_NOTE: u64 = 16 << 10;

/// How often the file is opened again because another process has just moved it away.
const OPENINGS: usize = 3;

/// What the bytes are a part of.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// Digest of the address, which may hold secrets itself.
    source: String,
    /// What the server calls this version of the file.
    validator: Option<String>,
}

/// A file that is not complete yet. No other process writes to it meanwhile.
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
    /// What was left is taken up when it is no longer than `longest` bytes, and when a digest will verify
    /// it (`verified`), or when it comes from `address` and the server can tell whether it is still the
    /// same file.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process writes to it, [`Error::File`] when it cannot be opened or
    /// read, [`Error::Stopped`].
    pub(super) fn open(to: &Path, address: &str, verified: bool, longest: u64, stop: &Stopped) -> Result<Self, Error> {
        let path = beside(to, ".part");
        let note_path = beside(to, ".part.info");
        let file = open_locked(&path)?;
        let source = hex(Sha256::digest(address));
        let left = read_note(&note_path).filter(|note| note.source == source);
        if left.is_none() {
            remove(&note_path);
        }
        let note = left.unwrap_or(Note { source, validator: None });
        let usable = verified || note.validator.is_some();
        let mut part = Self { path, note_path, note, file, hash: Sha256::new(), length: 0, pieced: false };
        let length = part.file.metadata().map_err(|source| part.failed("read", source))?.len();
        if usable && (1..=longest).contains(&length) {
            let read = feed(&mut part.file, &mut part.hash, stop).map_err(|source| part.failed("read", source))?;
            part.length = read.ok_or(Error::Stopped)?;
            part.pieced = true;
        } else {
            part.clear()?;
        }
        Ok(part)
    }

    /// Number of bytes that are there.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// What the server calls the version that the bytes are of.
    pub(super) fn validator(&self) -> Option<&str> {
        self.note.validator.as_deref()
    }

    /// Whether the bytes come out of more than one answer, and may be of different files.
    pub(super) fn is_pieced(&self) -> bool {
        self.pieced
    }

    /// From here on, bytes of another answer follow.
    pub(super) fn piece(&mut self) {
        self.pieced = self.length > 0;
    }

    /// Throws the bytes away.
    pub(super) fn clear(&mut self) -> Result<(), Error> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(|source| self.failed("write", source))?;
        (self.hash, self.length, self.pieced) = (Sha256::new(), 0, false);
        self.note.validator = None;
        Ok(())
    }

    /// Throws the bytes away, and notes that a version called `validator` follows.
    pub(super) fn begin(&mut self, validator: Option<String>) -> Result<(), Error> {
        // In this order: a note never stands beside bytes of another version.
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
        hex(self.hash.clone().finalize())
    }

    /// Gives the file its name `to`, on the disk, too.
    pub(super) fn finish(self, to: &Path) -> Result<(), Error> {
        self.file.sync_all().map_err(|source| self.failed("write", source))?;
        fs::rename(&self.path, to).map_err(|source| Error::File { action: "write", path: to.to_owned(), source })?;
        remove(&self.note_path);
        replace::sync_folder(to);
        Ok(())
    }

    /// Leaves the bytes for another run; does nothing if there are none.
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

/// SHA-256 of the file at `path`, as 64 lower-case hexadecimal digits, and its length in bytes.
///
/// # Errors
/// [`Error::File`] when it cannot be read, [`Error::Stopped`].
pub(super) fn digest_of(path: &Path, stop: &Stopped) -> Result<(String, u64), Error> {
    let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
    let mut hash = Sha256::new();
    let mut file = File::open(path).map_err(failed)?;
    let length = feed(&mut file, &mut hash, stop).map_err(failed)?.ok_or(Error::Stopped)?;
    Ok((hex(hash.finalize()), length))
}

/// Hashes what follows in `file`, and says how many bytes that is; nothing when it was stopped.
fn feed(file: &mut File, hash: &mut Sha256, stop: &Stopped) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; CHUNK];
    let mut length = 0;
    while !stop.is_set() {
        match file.read(&mut buffer) {
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

/// Opens the file, or makes it, for this process only.
fn open_locked(path: &Path) -> Result<File, Error> {
    let failed = |source| Error::File { action: "write", path: path.to_owned(), source };
    for _ in 0..OPENINGS {
        let not_a_file = || Error::NotAFile { path: path.to_owned() };
        // A pipe or a device could keep the program waiting.
        if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(not_a_file());
        }
        let mut options = OpenOptions::new();
        replace::without_links(options.read(true).write(true).create(true).truncate(false));
        let file = options.open(path).map_err(|error| match error.raw_os_error() {
            // Somebody has just put a link there.
            Some(libc::ELOOP) => not_a_file(),
            _ => failed(error),
        })?;
        let found = file.metadata().map_err(failed)?;
        // What is written to a file with several names changes under all of them.
        if !found.is_file() || found.nlink() > 1 {
            return Err(not_a_file());
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => break,
            // A file system without locks.
            Err(TryLockError::Error(error)) => tracing::debug!(path = %path.display(), "no lock: {error}"),
        }
        // Whoever had the lock may have given the file its final name meanwhile: it is no part any more.
        let there = fs::symlink_metadata(path);
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (found.dev(), found.ino())) {
            return Ok(file);
        }
    }
    Err(Error::Busy { path: path.to_owned() })
}

/// The note at `path`, where there is one that can be used.
fn read_note(path: &Path) -> Option<Note> {
    let file = replace::without_links(OpenOptions::new().read(true)).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(LONGEST_NOTE).read_to_end(&mut text).ok()?;
    let mut note: Note = serde_json::from_slice(&text).ok()?;
    // It is sent as it is.
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

fn hex(bytes: impl AsRef<[u8]>) -> String {
    let mut text = String::new();
    for byte in bytes.as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
