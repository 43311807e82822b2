//! What the folder holds, and how it stays within its size.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use super::name;
use crate::replace::replace;

/// Time after which the folder is read again: somebody takes pictures out, or another process adds some.
const REREAD: Duration = Duration::from_secs(60);

/// Age of a half-written file that nobody finishes any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Why a picture is not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    /// The folder, or that of a stream in it, is not there and cannot be made, or cannot be read.
    #[error("cannot use the folder {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    /// The name of the stream is no name of a folder.
    #[error("the stream {stream:?} cannot have a folder of its name")]
    Stream { stream: String },
    /// An older picture cannot be removed.
    #[error("cannot remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
    /// The picture cannot be written.
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// A single picture is larger than the folder may be.
    #[error("a picture has {} kB, more than collect.max_size_mb allows for all", bytes.div_ceil(1000))]
    Large { bytes: u64 },
}

/// A picture in the folder. The oldest comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct File {
    time: Timestamp,
    stream: String,
    name: String,
}

/// A folder with a folder for each stream, and in these the pictures that hardnetd has written. Other files do not count
/// and stay as they are.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    /// Bytes that the pictures may take.
    most: u64,
    /// The pictures and their sizes in bytes.
    files: BTreeMap<File, u64>,
    bytes: u64,
    read: Option<Instant>,
}

impl Folder {
    /// The folder `root`, whose pictures may take `most` bytes; it is not looked at yet.
    pub(super) fn new(root: &Path, most: u64) -> Self {
        Self { root: root.to_owned(), most, files: BTreeMap::new(), bytes: 0, read: None }
    }

    /// Makes sure that there is a folder for `stream`, and that its content is known. The folder itself is made as well,
    /// but not those above it: a disk may be missing.
    pub(super) fn open(&mut self, stream: &str) -> Result<(), FolderError> {
        if Path::new(stream).file_name() != Some(stream.as_ref()) {
            return Err(FolderError::Stream { stream: stream.to_owned() });
        }
        for path in [&self.root, &self.root.join(stream)] {
            let failed = |source| FolderError::Folder { path: path.clone(), source };
            match path.metadata() {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Err(failed(io::ErrorKind::NotADirectory.into())),
                Err(_) if path.is_symlink() => {
                    let missing = io::Error::new(io::ErrorKind::NotFound, "it is a link to a folder that is missing");
                    return Err(failed(missing));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(path).map_err(failed)?,
                Err(error) => return Err(failed(error)),
            }
        }
        if self.read.is_none_or(|read| read.elapsed() >= REREAD) {
            self.read().map_err(|source| FolderError::Folder { path: self.root.clone(), source })?;
            self.read = Some(Instant::now());
        }
        Ok(())
    }

    /// Looks for pictures in the folders of all streams, also of those that are no longer configured.
    fn read(&mut self) -> io::Result<()> {
        self.files.clear();
        self.bytes = 0;
        for entry in fs::read_dir(&self.root)?.flatten() {
            let Ok(stream) = entry.file_name().into_string() else { continue };
            // A folder that cannot be read has nothing that could be removed.
            for file in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
                let (Ok(name), Ok(found)) = (file.file_name().into_string(), file.metadata()) else { continue };
                if !found.is_file() {
                    continue;
                }
                if let Some(time) = name::parse(&name, &stream) {
                    self.add(File { time, stream: stream.clone(), name }, found.len());
                } else if name::is_part(&name, &stream) {
                    let age = found.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
                    if age.is_some_and(|age| age > ABANDONED) {
                        let _ = fs::remove_file(file.path());
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, file: File, bytes: u64) {
        let before = self.files.insert(file, bytes).unwrap_or(0);
        self.bytes = (self.bytes - before).saturating_add(bytes);
    }

    /// Number of pictures of `stream` from `day` (see [`name::day`]).
    pub(super) fn count(&self, stream: &str, day: &str) -> usize {
        self.files.keys().filter(|file| file.stream == stream && file.name.starts_with(day)).count()
    }

    /// The latest picture of `stream` that is not from after `now`, which a clock that was set back makes of earlier ones.
    pub(super) fn latest(&self, stream: &str, now: Timestamp) -> Option<Timestamp> {
        self.files.keys().rev().find(|file| file.stream == stream && file.time <= now).map(|file| file.time)
    }

    /// The picture that has to go first: the oldest. If the clock was set back, the new pictures seem older than those from
    /// after `now`; if these are further away, the oldest of them goes.
    fn first_to_go(&mut self, now: Timestamp) -> Option<(File, u64)> {
        let far = |file: &File| now.duration_since(file.time).unsigned_abs();
        let is_last = match (self.files.keys().next(), self.files.keys().next_back()) {
            (Some(first), Some(last)) => far(last) > far(first),
            _ => false,
        };
        match self.files.keys().find(|file| is_last && file.time > now).cloned() {
            Some(later) => self.files.remove_entry(&later),
            None => self.files.pop_first(),
        }
    }

    /// Adds a picture to the folder of `stream`, after removing as many of the oldest as necessary.
    pub(super) fn write(
        &mut self,
        stream: &str,
        time: Timestamp,
        name: String,
        content: &[u8],
    ) -> Result<(), FolderError> {
        let bytes = content.len() as u64;
        if bytes > self.most {
            return Err(FolderError::Large { bytes });
        }
        while self.bytes + bytes > self.most {
            let Some((File { stream, name, .. }, size)) = self.first_to_go(time) else { break };
            self.bytes -= size;
            let path = self.root.join(stream).join(name);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    // It still counts, when the folder is read again.
                    self.read = None;
                    return Err(FolderError::Remove { path, source });
                }
                _ => tracing::debug!("removed {}: the collection has its size", path.display()),
            }
        }
        let path = self.root.join(stream).join(&name);
        replace(&path, |out| out.write_all(content))
            .map_err(|source: io::Error| FolderError::Write { path, source })?;
        self.add(File { time, stream: stream.to_owned(), name }, bytes);
        Ok(())
    }
}
