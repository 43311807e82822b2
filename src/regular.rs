//! Files that can be read without waiting. Opening a pipe on which nobody writes, or reading a device, may never end.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

/// Longest time that another program may take to give up its lease on a file.
const LEASE_BREAK: Duration = Duration::from_secs(5);
/// Time between two tries meanwhile.
const RETRY: Duration = Duration::from_millis(20);

/// Opens the regular file at `path`, through links. It waits while another program has a lease on it, up to 5 s.
///
/// # Errors
/// What the system says, [`io::ErrorKind::IsADirectory`], or [`io::ErrorKind::InvalidInput`] for anything else that is no
/// regular file.
pub fn open(path: &Path) -> io::Result<File> {
    check(&fs::metadata(path)?)?;
    // The file may have been replaced since; without waiting, a pipe can be opened and found out.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let until = Instant::now() + LEASE_BREAK;
    loop {
        match File::options().read(true).custom_flags(flags).open(path) {
            // Another program, such as a file server, has a lease on it, and has just been asked for it (fcntl(2)).
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
