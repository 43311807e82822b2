//! Pictures in folders, as teaching and training read them.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::capture::{self, is_picture};

/// A file or folder that cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) path: PathBuf,
    pub(super) source: io::Error,
}

/// The pictures in a folder and in those below it, in byte order.
pub(super) fn pictures(folder: &Path) -> Result<Vec<PathBuf>, Unreadable> {
    let (mut found, mut seen, mut folders) = (Vec::new(), HashSet::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let place = capture::place(&folder).map_err(|source| Unreadable { path: folder.clone(), source })?;
        // A link may lead back.
        if !seen.insert(place) {
            continue;
        }
        for path in visible(&folder)? {
            if path.is_dir() {
                folders.push(path);
            } else if is_picture(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// What a folder holds: see [`capture::visible`].
pub(super) fn visible(folder: &Path) -> Result<Vec<PathBuf>, Unreadable> {
    capture::visible(folder).map_err(|source| Unreadable { path: folder.to_owned(), source })
}
