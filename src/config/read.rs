//! Reads small text files: only regular files of limited size.

use std::io::{self, Read};
use std::path::Path;

use crate::regular;

/// The text of `path`, which must be a regular file of at most `most` bytes: reading anything else, such as a pipe
/// without a writer, could block forever.
pub(super) fn text(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    regular::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {most} bytes")));
    }
    Ok(text)
}
