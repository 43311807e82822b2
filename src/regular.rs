//! Opens regular files without blocking, and reads small text files. Opening a pipe without a writer, or reading a device,
//! may block forever.

use std::fs::{self, File};
use std::io::{self, Read};
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

/// The text of the regular file at `path`: UTF-8, without the byte order mark that some editors write.
///
/// # Errors
/// As for [`open`]; [`io::ErrorKind::FileTooLarge`] for more than `most` bytes; [`io::ErrorKind::InvalidData`] if it is
/// not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {most} bytes")));
    }
    text(bytes).map_err(|problem| io::Error::new(io::ErrorKind::InvalidData, problem))
}

/// Whether [`read_text`] failed because of what is in the file.
#[must_use]
pub fn is_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidData)
}

fn text(mut bytes: Vec<u8>) -> Result<String, String> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("text in UTF-16; save it as UTF-8".into());
    }
    String::from_utf8(bytes).map_err(|error| {
        let bytes = error.as_bytes();
        let line = bytes[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is not text in UTF-8")
    })
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn text_is_read_without_a_byte_order_mark_and_anything_else_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        let read = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            read_text(&path, 8)
        };
        assert_eq!(read(b"\xef\xbb\xbfpass").unwrap(), "pass");
        assert_eq!(read("\u{fc}\u{feff}".as_bytes()).unwrap(), "\u{fc}\u{feff}", "a mark counts at the start only");
        for (bytes, problem) in [
            (&b"\xff\xfep\0"[..], "text in UTF-16; save it as UTF-8"),
            (b"\xfe\xff\0p", "text in UTF-16; save it as UTF-8"),
            (b"a\nb\xff", "line 2 is not text in UTF-8"),
            (b"123456789", "more than 8 bytes"),
        ] {
            let error = read(bytes).unwrap_err();
            assert_eq!(error.to_string(), problem);
            assert!(is_content(&error));
        }
        assert!(!is_content(&read_text(folder.path(), 8).unwrap_err()));
    }
}
