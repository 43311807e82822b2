//! What people and programs keep in folders of pictures.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Folders that disks, archives, file servers and editors keep beside the user's own. Names that begin with a dot are left
/// out too.
const KEPT_BY_SYSTEMS: [&str; 7] =
    ["@eaDir", "#recycle", "#snapshot", "__MACOSX", "lost+found", "$RECYCLE.BIN", "System Volume Information"];

/// The files and folders in `folder`, in byte order, without hidden ones and what systems keep beside them.
///
/// # Errors
/// If the folder cannot be read.
pub fn visible(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| is_visible(&path.file_name().unwrap_or_default().to_string_lossy()));
    paths.sort();
    Ok(paths)
}

/// What tells a folder from all others of the machine, whatever links lead to it: its device and its number there.
///
/// # Errors
/// If there is no such folder, or it cannot be looked at.
pub fn place(folder: &Path) -> io::Result<(u64, u64)> {
    let found = fs::metadata(folder)?;
    Ok((found.dev(), found.ino()))
}

/// Whether [`visible`] shows a file or folder of this name.
#[must_use]
pub fn is_visible(name: &str) -> bool {
    !name.starts_with('.') && !KEPT_BY_SYSTEMS.contains(&name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn what_systems_keep_is_not_the_users_and_the_rest_is() {
        let root = tempfile::tempdir().unwrap();
        for name in KEPT_BY_SYSTEMS.iter().chain(&[".git", "#1 defects", "@home", "a.jpg"]) {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let found = visible(root.path()).unwrap();
        assert_eq!(found, ["#1 defects", "@home", "a.jpg"].map(|name| root.path().join(name)));
        assert!(visible(&root.path().join("nowhere")).is_err());
    }
}
