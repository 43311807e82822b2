//! Files that can be read without waiting. Opening a pipe on which nobody writes, or reading a device, may never end.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens the regular file at `path`, through links.
///
/// # Errors
/// What the system says, [`io::ErrorKind::IsADirectory`], or [`io::ErrorKind::InvalidInput`] for anything else that is no
/// regular file.
pub fn open(path: &Path) -> io::Result<File> {
    check(&fs::metadata(path)?)?;
    // The file may have been replaced since; without waiting, a pipe can be opened and found out.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

/// Whether it is a regular file.
///
/// # Errors
/// As for [`open`].
pub fn check(found: &fs::Metadata) -> io::Result<()> {
    match found {
        found if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        found if !found.is_file() => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        _ => Ok(()),
    }
}
