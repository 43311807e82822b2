//! Atomic file replacement: a file is either complete under its name or unchanged.
//!
//! Never writes through a link that somebody has planted: new files are created with `O_EXCL`, and a rename replaces a
//! link rather than its target.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Replaces the file at `path` with what `write` writes, once that is on disk: readers see either the old file or the
/// new one, whatever happens in between.
///
/// # Errors
/// Any error of `write` or of the system. The file at `path` is then unchanged.
pub fn replace<E: From<io::Error>>(path: &Path, write: impl FnOnce(&mut File) -> Result<(), E>) -> Result<(), E> {
    place(path, write, |part, path| fs::rename(part, path))
}

/// Writes what `write` writes into a new file at `path`, which appears there once it is on disk.
///
/// # Errors
/// Any error of `write` or of the system; [`io::ErrorKind::AlreadyExists`] if there is a file, also one that another
/// process has made in the meantime. It is then unchanged.
pub fn add<E: From<io::Error>>(path: &Path, write: impl FnOnce(&mut File) -> Result<(), E>) -> Result<(), E> {
    place(path, write, rename_unless_there)
}

/// Gives what `write` writes the name `path` by `rename`, once it is on disk.
fn place<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), E>,
    rename: fn(&Path, &Path) -> io::Result<()>,
) -> Result<(), E> {
    let part = part(path);
    let mut file = create(&part)?;
    let written = write(&mut file).and_then(|()| {
        file.sync_all()?;
        Ok(rename(&part, path)?)
    });
    if written.is_err() {
        // There may be nothing to remove, and the original error matters more.
        let _ = fs::remove_file(&part);
        return written;
    }
    sync_folder(path);
    written
}

/// Renames a file unless there is one at `to`.
fn rename_unless_there(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot do both at once.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
        done => Ok(done?),
    }
}

/// Checks that the file at `path` can be replaced, as far as that is known before something is written.
///
/// # Errors
/// Any error of the system.
pub fn check(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let part = part(path);
    create(&part)?;
    fs::remove_file(&part)
}

/// Where the content of the file at `path` is written before it takes its name.
fn part(path: &Path) -> PathBuf {
    beside(path, &format!(".{}.part", std::process::id()))
}

/// Creates an empty file at `path`, after removing any existing file or link.
///
/// # Errors
/// Any error of the system.
pub fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

/// Sets `options` to follow no links and not to wait for the other end of a pipe.
pub fn without_links(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
}

/// `path` with `ending` appended to its name.
#[must_use]
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Syncs the folder of `path` to disk. Some file systems do not support this, and the content of files is safe without
/// it.
pub fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::debug!(path = %path.display(), "the folder cannot be synchronised: {error}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_replaced_and_what_it_points_to_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (other, path) = (folder.path().join("other"), folder.path().join("file"));
        fs::write(&other, "mine").unwrap();
        symlink(&other, &path).unwrap();
        symlink(&other, beside(&path, &format!(".{}.part", std::process::id()))).unwrap();
        replace(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!((fs::read(&other).unwrap(), fs::read(&path).unwrap()), (b"mine".to_vec(), b"new".to_vec()));
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_failure_leaves_the_file_as_it_was_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        let failed = replace(&path, |file| {
            file.write_all(b"ne")?;
            Err(io::Error::other("no more"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no more");
        assert_eq!((fs::read(&path).unwrap(), fs::read_dir(folder.path()).unwrap().count()), (b"old".to_vec(), 1));
        assert!(replace(&folder.path().join("no/file"), |_| Ok::<(), io::Error>(())).is_err());
    }

    #[test]
    fn a_new_file_never_takes_the_place_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        add(&path, |file| file.write_all(b"first")).unwrap();
        let failed = add(&path, |file| file.write_all(b"second")).unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::AlreadyExists);
        symlink(folder.path().join("nowhere"), folder.path().join("link")).unwrap();
        assert!(add(&folder.path().join("link"), |file| file.write_all(b"x")).is_err());
        assert_eq!((fs::read(&path).unwrap(), fs::read_dir(folder.path()).unwrap().count()), (b"first".to_vec(), 2));
    }

    #[test]
    fn a_check_changes_nothing_and_finds_what_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        check(&path).unwrap();
        check(&folder.path().join("new")).unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::read_dir(folder.path()).unwrap().count()), (b"old".to_vec(), 1));
        assert!(check(folder.path()).is_err() && check(&folder.path().join("no/file")).is_err());
    }
}
