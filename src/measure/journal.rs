//! The file of a measurement: JSON Lines, from which everything else is computed.
//!
//! The first line tells what was measured and where, the last one how it ended. In between, lines come in the order of
//! events. A file without its last line is incomplete and can be read all the same, up to its last whole line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::sample::{Inference, Sample};

/// Name and version of the file's schema.
pub const SCHEMA: &str = "hardnetd.measure.v1";

/// Maximum length of a line in bytes.
const LONGEST_LINE: u64 = 1 << 20;

/// Maximum number of lines: a day of 1000 inferences per second.
const MOST_LINES: usize = 100_000_000;

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Line {
    /// What is measured, and where: the first line.
    Environment(Box<Environment>),
    /// A phase begins.
    Phase(PhaseLine),
    /// A look at the machine.
    Sample(Sample),
    /// A frame has been classified.
    Inference(Inference),
    /// The measurement has ended: the last line.
    End(End),
}

/// The beginning of a phase, which lasts until the next one or the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseLine {
    /// Monotonic nanoseconds.
    pub at_ns: u64,
    /// What happens from now on.
    pub phase: Phase,
    /// Which configuration runs, if several are measured; numbered from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<usize>,
}

/// What happens during a part of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing runs.
    Idle,
    /// Frames are captured, and not classified.
    Capture,
    /// Frames are classified, and the machine settles.
    WarmUp,
    /// Frames are classified, and this part counts.
    Window,
    /// The program sets up what comes next.
    Pause,
}

/// How the measurement ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// Monotonic nanoseconds.
    pub at_ns: u64,
    /// Why it ended early; None if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<String>,
}

/// Why a file cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refuses.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is there already.
    #[error("{} exists, and a measurement writes over nothing: choose another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A line is not one of a measurement.
    #[error("{} line {line}: {message}; expected a file of `hardnetd measure` ({SCHEMA})", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

/// Writes a file, line by line.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Writer {
    /// Makes the file, which must not exist.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let file = File::create_new(path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: path.into() },
            _ => Error::Io { path: path.into(), source },
        })?;
        Ok(Self { path: path.into(), file: BufWriter::new(file) })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn write(&mut self, line: &Line) -> Result<(), Error> {
        let written = serde_json::to_writer(&mut self.file, line).map_err(io::Error::from);
        written.and_then(|()| self.file.write_all(b"\n")).map_err(|source| self.failed(source))
    }

    /// Hands what has been written to the system, so that it outlives the process.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.file.flush().map_err(|source| self.failed(source))
    }

    /// Makes sure that the file is on the disk.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.file.get_ref().sync_all().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), source }
    }
}

/// The content of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// What was measured, and where.
    pub environment: Environment,
    /// The phases, in order.
    pub phases: Vec<PhaseLine>,
    /// The looks at the machine, in order.
    pub samples: Vec<Sample>,
    /// The frames that were classified, in order.
    pub inferences: Vec<Inference>,
    /// How it ended; None if the file is incomplete.
    pub end: Option<End>,
}

/// Reads a file. What follows the last whole line is ignored if it was cut off.
///
/// # Errors
/// If the file cannot be read, does not begin as a measurement, or has a wrong line in the middle.
pub fn read(path: &Path) -> Result<Recording, Error> {
    let open = || File::open(path).map(BufReader::new);
    let file = open().map_err(|source| Error::Io { path: path.into(), source })?;
    parse(path, file)
}

/// Parses a file called `path`.
///
/// # Errors
/// As of [`read`].
pub fn parse(path: &Path, mut file: impl BufRead) -> Result<Recording, Error> {
    let wrong = |line: usize, message: String| Error::Line { path: path.into(), line, message };
    let mut recording: Option<Recording> = None;
    let mut text = Vec::new();
    for number in 1..=MOST_LINES {
        text.clear();
        let read = io::Read::take(&mut file, LONGEST_LINE).read_until(b'\n', &mut text);
        if read.map_err(|source| Error::Io { path: path.into(), source })? == 0 {
            break;
        }
        let is_whole = text.ends_with(b"\n");
        if !is_whole && text.len() as u64 >= LONGEST_LINE {
            return Err(wrong(number, format!("longer than {LONGEST_LINE} bytes")));
        }
        let line = match serde_json::from_slice::<Line>(&text) {
            Ok(line) => line,
            // Written partly when the program was killed.
            Err(_) if !is_whole && recording.is_some() => break,
            Err(error) => return Err(wrong(number, error.to_string())),
        };
        match (&mut recording, line) {
            (None, Line::Environment(environment)) if environment.schema == SCHEMA => {
                recording = Some(Recording {
                    environment: *environment,
                    phases: Vec::new(),
                    samples: Vec::new(),
                    inferences: Vec::new(),
                    end: None,
                });
            }
            (None, Line::Environment(environment)) => {
                return Err(wrong(number, format!("the schema is {:?}", environment.schema)));
            }
            (None, _) => return Err(wrong(number, "the first record is not the environment".into())),
            (Some(_), Line::Environment(_)) => return Err(wrong(number, "a second environment".into())),
            (Some(recording), Line::Phase(phase)) => recording.phases.push(phase),
            (Some(recording), Line::Sample(sample)) => recording.samples.push(sample),
            (Some(recording), Line::Inference(inference)) => recording.inferences.push(inference),
            (Some(recording), Line::End(end)) => recording.end = Some(end),
        }
    }
    recording.ok_or_else(|| wrong(1, "the file is empty".into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::measure::synthetic::{S, recording};

    #[test]
    fn what_is_written_is_read_again() {
        let mut recording = recording(false);
        recording.samples.truncate(100);
        recording.inferences.truncate(100);
        recording.end = Some(End { at_ns: 10 * S, interrupted: Some("stopped by a signal".into()) });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let mut writer = Writer::create(&path).unwrap();
        let Recording { environment, phases, samples, inferences, end } = recording.clone();
        writer.write(&Line::Environment(Box::new(environment))).unwrap();
        let lines = phases.into_iter().map(Line::Phase).chain(samples.into_iter().map(Line::Sample));
        for line in lines.chain(inferences.into_iter().map(Line::Inference)).chain(end.map(Line::End)) {
            writer.write(&line).unwrap();
        }
        writer.sync().unwrap();
        assert_eq!(read(&path).unwrap(), recording);
    }
}
