//! Reads a file by position: every length is checked against the rest of the file before memory is allocated for it.

use std::io::{self, BufRead as _, BufReader, Read, Seek, SeekFrom};

use crate::exit::Exit;

/// Why bytes cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is shorter than its content says.
    #[error("the content ends at byte {length}, and {needed} bytes from byte {at} on are needed")]
    End {
        /// Position of the first byte.
        at: u64,
        /// Number of bytes needed.
        needed: u64,
        /// Position of the end.
        length: u64,
    },
    /// There is no memory for the bytes.
    #[error("{needed} bytes do not fit into memory")]
    Memory {
        /// Number of bytes needed.
        needed: u64,
    },
    /// A line of text is too long.
    #[error("the line at byte {at} is longer than {limit} bytes")]
    Line {
        /// Position of the line.
        at: u64,
        /// Maximum length of a line.
        limit: usize,
    },
    /// The system cannot read the file.
    #[error("reading failed")]
    Io {
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Io { .. } => Exit::Io,
            Self::End { .. } | Self::Memory { .. } | Self::Line { .. } => Exit::Data,
        }
    }
}

fn failed(source: io::Error) -> Error {
    Error::Io { source }
}

/// A reader that knows its position and its end.
#[derive(Debug)]
pub struct Input<R> {
    reader: BufReader<R>,
    position: u64,
    length: u64,
}

impl<R: Read + Seek> Input<R> {
    /// Wraps all of `reader`, from its first byte.
    ///
    /// # Errors
    /// [`Error::Io`] if the reader cannot seek.
    pub fn new(mut reader: R) -> Result<Self, Error> {
        let length = reader.seek(SeekFrom::End(0)).map_err(failed)?;
        reader.seek(SeekFrom::Start(0)).map_err(failed)?;
        Ok(Self { reader: BufReader::new(reader), position: 0, length })
    }

    /// Position of the next byte.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Total number of bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`Error::End`] at the end, [`Error::Io`] if reading fails.
    pub fn byte(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`Error::End`] if there are fewer, [`Error::Io`] if reading fails.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.check(N as u64)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// [`Error::End`] if there are fewer, [`Error::Memory`] if memory is insufficient, [`Error::Io`] if reading fails.
    pub fn bytes(&mut self, length: u64) -> Result<Vec<u8>, Error> {
        self.check(length)?;
        let mut bytes = zeros(length)?;
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The bytes up to the next line feed, which is skipped.
    ///
    /// # Errors
    /// [`Error::Line`] if there are more than `limit`, [`Error::End`] without a line feed, [`Error::Io`] if reading
    /// fails.
    pub fn line(&mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let at = self.position;
        let mut line = Vec::new();
        let most = limit as u64 + 1;
        let read = self.reader.by_ref().take(most).read_until(b'\n', &mut line).map_err(failed)? as u64;
        self.position += read;
        match line.pop() {
            Some(b'\n') => Ok(line),
            _ if read == most => Err(Error::Line { at, limit }),
            _ => Err(Error::End { at, needed: read + 1, length: self.length }),
        }
    }

    /// Skips `length` bytes.
    ///
    /// # Errors
    /// [`Error::End`] if there are fewer, [`Error::Io`] if seeking fails.
    pub fn skip(&mut self, length: u64) -> Result<(), Error> {
        self.check(length)?;
        self.seek(self.position + length)
    }

    /// Moves to `position`.
    ///
    /// # Errors
    /// [`Error::End`] if `position` lies beyond the end, [`Error::Io`] if seeking fails.
    pub fn seek(&mut self, position: u64) -> Result<(), Error> {
        if position > self.length {
            return Err(Error::End { at: position, needed: 0, length: self.length });
        }
        // Both lie within the file, whose length is at most `i64::MAX`.
        self.reader.seek_relative(position.wrapping_sub(self.position) as i64).map_err(failed)?;
        self.position = position;
        Ok(())
    }

    /// The underlying reader, at an unspecified position.
    #[must_use]
    pub fn into_inner(self) -> R {
        self.reader.into_inner()
    }

    fn check(&self, needed: u64) -> Result<(), Error> {
        if needed <= self.length - self.position {
            Ok(())
        } else {
            Err(Error::End { at: self.position, needed, length: self.length })
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.reader.read_exact(bytes).map_err(|source| match source.kind() {
            // The file has shrunk since it was opened.
            io::ErrorKind::UnexpectedEof => {
                Error::End { at: self.position, needed: bytes.len() as u64, length: self.length }
            }
            _ => failed(source),
        })?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

/// A buffer of `length` zeros.
///
/// # Errors
/// [`Error::Memory`] if memory is insufficient.
pub fn zeros(length: u64) -> Result<Vec<u8>, Error> {
    let memory = || Error::Memory { needed: length };
    let count = usize::try_from(length).map_err(|_| memory())?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(count).map_err(|_| memory())?;
    bytes.resize(count, 0);
    Ok(bytes)
}
