//! Opens regular files without blocking. Opening a pipe without a writer, or reading a device, may block forever.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

/// Maximum time to wait until another program gives up its lease on a file.
const LEASE_BREAK: Duration = Duration::from_secs(5);
/// Time between attempts while waiting.
const RETRY: Duration = Duration::from_millis(20);

/// Opens the regular file at `path`, following links. If another program has a lease on it, waits up to 5 s.
///
/// # Errors
/// Any error of the system; [`io::ErrorKind::IsADirectory`] for a folder; [`io::ErrorKind::InvalidInput`] for anything
/// else that is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    check(&fs::metadata(path)?)?;
    // The file may have been replaced since the check; with `NONBLOCK`, opening a pipe returns at once.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let until = Instant::now() + LEASE_BREAK;
    loop {
        match File::options().read(true).custom_flags(flags).open(path) {
            // Another program, such as a file server, has a lease on it and has just been asked to give it up
            // (fcntl(2)).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => thread::sleep(RETRY),
            Err(error) => return Err(error),
            Ok(file) => {
                check(&file.metadata()?)?;
                return Ok(file);
            }
        }
    }
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
