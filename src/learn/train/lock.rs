//! A lock on the folder of a training, so that no two processes write there.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use super::checkpoint::CheckpointError;

/// A lock, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// None if there is no folder yet, or the file system has no locks.
    _folder: Option<File>,
}

impl Lock {
    /// Locks `folder`, and removes what a process that was killed has left half-written there: `names` followed by a number
    /// and `.part`.
    ///
    /// # Errors
    /// [`CheckpointError::Busy`] if another process has it.
    pub(super) fn take(folder: &Path, names: &[&str]) -> Result<Self, CheckpointError> {
        let Ok(file) = File::open(folder) else { return Ok(Self { _folder: None }) };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(CheckpointError::Busy { path: folder.to_owned() }),
            Err(TryLockError::Error(error)) => {
                tracing::debug!("{} cannot be locked: {error}", folder.display());
                return Ok(Self { _folder: None });
            }
        }
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let part = name.to_str().and_then(|name| name.strip_suffix(".part")?.rsplit_once('.'));
            if part.is_some_and(|(name, _)| names.contains(&name)) {
                // It is only in the way.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Self { _folder: Some(file) })
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
        let lock = Lock::take(folder.path(), &["state.safetensors"]).unwrap();
        assert!(matches!(Lock::take(folder.path(), &[]), Err(CheckpointError::Busy { .. })));
        drop(lock);
        Lock::take(folder.path(), &[]).unwrap();
        assert!(folder.path().join("state.safetensors").exists() && folder.path().join("other.17.part").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        Lock::take(&folder.path().join("missing"), &[]).unwrap();
    }
}
