//! Reads the files in which an ONNX file keeps its weights.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::engine::import::{PartError, Parts};
use crate::regular;
use crate::weights::file;

/// The folder of an ONNX file.
#[derive(Debug)]
pub(super) struct Folder {
    folder: PathBuf,
    /// The ONNX file, which may be a link to another folder: caches of downloads have such links for all files.
    path: PathBuf,
    files: BTreeMap<PathBuf, Part>,
}

#[derive(Debug)]
struct Part {
    file: File,
    length: u64,
    /// Bytes that have been read, of all tensors together.
    read: u64,
}

impl Folder {
    /// The folder of the ONNX file at `path`.
    pub(super) fn of(path: &Path) -> Self {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self { folder: folder.to_owned(), path: path.to_owned(), files: BTreeMap::new() }
    }

    /// SHA-256, in hexadecimal digits, of the model whose ONNX file has the digest `sha256`: that digest if there are no
    /// other files; otherwise the digest of it and theirs, as text with a line for each, in the order of their names.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub(super) fn digest(&self, sha256: String) -> Result<String, file::Error> {
        if self.files.is_empty() {
            return Ok(sha256);
        }
        let mut all = format!("{sha256}\n");
        for path in self.files.keys() {
            all += &format!("{}\n", file::sha256(path)?);
        }
        Ok(Sha256::digest(all).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The file at `location`, which must be in the folder or in one below it; if it is a link, also in the folder to which
    /// the ONNX file is a link.
    fn open(&self, location: &str) -> Result<(PathBuf, File), PartError> {
        let unreadable = |source| PartError::Unreadable { source };
        let relative = Path::new(location);
        let is_inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if location.is_empty() || !relative.components().all(is_inside) {
            return Err(PartError::Outside);
        }
        let path = fs::canonicalize(self.folder.join(relative)).map_err(unreadable)?;
        let folder = fs::canonicalize(&self.folder).map_err(unreadable)?;
        let linked = fs::canonicalize(&self.path).ok().and_then(|path| Some(path.parent()?.to_owned()));
        if !path.starts_with(folder) && path.parent() != linked.as_deref() {
            return Err(PartError::Outside);
        }
        let file = regular::open(&path).map_err(unreadable)?;
        Ok((path, file))
    }
}

impl Parts for Folder {
    fn read(&mut self, location: &str, offset: u64, length: u64) -> Result<Vec<u8>, PartError> {
        let unreadable = |source| PartError::Unreadable { source };
        let (path, file) = self.open(location)?;
        let part = match self.files.entry(path) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                let length = file.metadata().map_err(unreadable)?.len();
                new.insert(Part { file, length, read: 0 })
            }
        };
        let end = offset.saturating_add(length);
        if end > part.length {
            return Err(PartError::Short { length: part.length, end });
        }
        part.read = part.read.saturating_add(length);
        if part.read > part.length {
            return Err(PartError::Shared);
        }
        let mut bytes = Vec::new();
        let room = usize::try_from(length).ok().and_then(|length| bytes.try_reserve_exact(length).ok());
        room.ok_or_else(|| unreadable(io::ErrorKind::OutOfMemory.into()))?;
        part.file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
        (&mut part.file).take(length).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(PartError::Short { length: part.length, end }) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn only_files_in_the_folder_are_read_and_no_more_than_they_hold() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("model");
        fs::create_dir_all(folder.join("deeper")).unwrap();
        fs::write(outer.path().join("secret"), "12345678").unwrap();
        fs::write(folder.join("deeper/part"), "abcdefgh").unwrap();
        std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
        let mut parts = Folder::of(&folder.join("net.onnx"));
        for outside in ["../secret", "deeper/../../secret", "/etc/passwd", "link"] {
            assert!(matches!(parts.read(outside, 0, 1), Err(PartError::Outside)), "{outside}");
        }
        // As in a cache of downloads: both are links to the same folder.
        fs::write(outer.path().join("blob"), "").unwrap();
        std::os::unix::fs::symlink("../blob", folder.join("cached.onnx")).unwrap();
        assert_eq!(Folder::of(&folder.join("cached.onnx")).read("link", 0, 2).unwrap(), b"12");
        assert!(matches!(parts.read("missing", 0, 1), Err(PartError::Unreadable { .. })));
        assert!(matches!(parts.read("deeper", 0, 1), Err(PartError::Unreadable { .. })));
        assert_eq!(parts.digest("00".into()).unwrap(), "00");
        assert_eq!(parts.read("deeper/part", 2, 3).unwrap(), b"cde");
        assert!(matches!(parts.read("./deeper/part", 6, 3), Err(PartError::Short { length: 8, end: 9 })));
        assert!(matches!(parts.read("deeper/part", u64::MAX, u64::MAX), Err(PartError::Short { .. })));
        assert!(matches!(parts.read("deeper/part", 0, 6), Err(PartError::Shared)));
        assert_ne!(parts.digest("00".into()).unwrap(), "00");
    }
}
