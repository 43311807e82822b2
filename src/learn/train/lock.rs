//! A lock on the folder of a training, so that no two processes write there.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::checkpoint::{self, CheckpointError};
use super::{log, report};

/// Name of the file with the model after the last epoch.
pub(super) const LAST: &str = "last.safetensors";

/// Name of the file with the model after the epoch with the best test.
pub(super) const BEST: &str = "best.safetensors";

/// The files of a training.
pub(super) const FILES: [&str; 5] = [checkpoint::FILE, LAST, BEST, log::FILE, report::FILE];

/// A lock, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// None if there is no folder yet.
    folder: Option<File>,
}

impl Lock {
    /// Locks `folder`, and removes what a process that was killed has left half-written there: names of [`FILES`] followed
    /// by a number and `.part`.
    ///
    /// # Errors
    /// [`CheckpointError::Busy`] if another process has it, [`CheckpointError::Folder`] if it cannot be opened.
    pub(super) fn take(folder: &Path) -> Result<Self, CheckpointError> {
        let file = match File::open(folder) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self { folder: None }),
            Err(source) => return Err(CheckpointError::Folder { path: folder.to_owned(), source }),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(CheckpointError::Busy { path: folder.to_owned() }),
            Err(TryLockError::Error(error)) => {
                tracing::warn!(
                    "{} cannot be locked, so that another process may write there: {error}",
                    folder.display()
                );
            }
        }
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let part = name.to_str().and_then(|name| name.strip_suffix(".part")?.rsplit_once('.'));
            if part.is_some_and(|(name, _)| FILES.contains(&name)) {
                // It is only in the way.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Self { folder: Some(file) })
    }

    /// Checks that `path` still is the folder that is locked.
    ///
    /// # Errors
    /// [`CheckpointError::Folder`].
    pub(super) fn check(&self, path: &Path) -> Result<(), CheckpointError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let place = |found: fs::Metadata| (found.dev(), found.ino());
        let same = || Ok(place(fs::metadata(path)?) == place(folder.metadata()?));
        let failed = |source| CheckpointError::Folder { path: path.to_owned(), source };
        match same() {
            Ok(true) => Ok(()),
            Ok(false) => Err(failed(std::io::Error::other("another folder has taken its place"))),
            Err(source) => Err(failed(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_lock_keeps_others_out_and_removes_half_written_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["state.safetensors", "state.safetensors.17.part", "other.17.part"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let lock = Lock::take(folder.path()).unwrap();
        assert!(matches!(Lock::take(folder.path()), Err(CheckpointError::Busy { .. })));
        drop(lock);
        Lock::take(folder.path()).unwrap();
        assert!(folder.path().join("state.safetensors").exists() && folder.path().join("other.17.part").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        Lock::take(&folder.path().join("missing")).unwrap();
    }

    #[test]
    fn a_folder_that_has_been_replaced_is_not_written_to() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("run");
        fs::create_dir(&folder).unwrap();
        let lock = Lock::take(&folder).unwrap();
        lock.check(&folder).unwrap();
        fs::rename(&folder, root.path().join("moved")).unwrap();
        assert!(lock.check(&folder).is_err());
        fs::create_dir(&folder).unwrap();
        assert!(matches!(lock.check(&folder), Err(CheckpointError::Folder { .. })));
    }
}
