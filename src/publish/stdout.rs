//! JSON Lines on standard output: every line is written whole, at once.

use std::io::{self, Write};
use std::time::Instant;

use super::{Error, Sink, StreamState};
use crate::record::ResultRecord;

/// Writes one line per result.
#[derive(Debug)]
pub struct Stdout<W = io::Stdout> {
    output: W,
    line: Vec<u8>,
}

impl Stdout {
    /// The process's standard output.
    #[must_use]
    pub fn new() -> Self {
        Self::to(io::stdout())
    }
}

impl Default for Stdout {
    fn default() -> Self {
        Self::new()
    }
}

impl<W: Write + Send> Stdout<W> {
    /// Any other output.
    #[must_use]
    pub fn to(output: W) -> Self {
        Self { output, line: Vec::new() }
    }
}

impl<W: Write + Send> Sink for Stdout<W> {
    fn result(&mut self, _: &ResultRecord, line: &[u8]) -> Result<(), Error> {
        self.line.clear();
        self.line.extend_from_slice(line);
        self.line.push(b'\n');
        self.output.write_all(&self.line).and_then(|()| self.output.flush()).map_err(Error::Stdout)
    }

    fn stream(&mut self, _: &str, _: StreamState) -> Result<(), Error> {
        Ok(())
    }

    fn close(mut self: Box<Self>, _: Instant) -> Result<(), Error> {
        self.output.flush().map_err(Error::Stdout)
    }
}
