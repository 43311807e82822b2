//! A line per picture, for spreadsheets and programs.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::{Answer, Error, Sample};
use crate::replace::{self, replace};

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetailsForm {
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// A JSON object per line.
    JsonLines,
}

impl DetailsForm {
    /// The form for a file name; `None` if it ends in neither `.csv` nor `.jsonl`.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_ascii_lowercase().to_str()? {
            "csv" => Some(Self::Csv),
            "jsonl" => Some(Self::JsonLines),
            _ => None,
        }
    }
}

/// A line.
#[derive(Debug, Serialize)]
struct Line<'a> {
    file: String,
    class: usize,
    label: &'a str,
    found: usize,
    found_label: &'a str,
    score: f32,
    correct: bool,
}

/// Checks that [`details`] can write to `path`, as far as that is known before there are answers.
///
/// # Errors
/// [`Error::Details`].
pub fn check_details(path: &Path) -> Result<(), Error> {
    replace::check(path).map_err(|source| Error::Details { path: path.to_owned(), source })
}

/// Replaces the file at `path` with a line for each of `answers`.
///
/// # Errors
/// [`Error::Details`]; the file at `path` is then unchanged.
pub fn details(
    path: &Path,
    form: DetailsForm,
    samples: &[Sample],
    answers: &[Answer],
    labels: &[Arc<str>],
) -> Result<(), Error> {
    let label = |index: usize| labels.get(index).map_or("", |label| label);
    let lines = answers.iter().map(|Answer { sample, best }| {
        let sample = &samples[*sample];
        Line {
            file: sample.path.to_string_lossy().into_owned(),
            class: sample.class,
            label: label(sample.class),
            found: best.index,
            found_label: label(best.index),
            score: best.score,
            correct: best.index == sample.class,
        }
    });
    let write = |file: &mut std::fs::File| -> io::Result<()> {
        let mut out = BufWriter::new(file);
        match form {
            DetailsForm::Csv => {
                let mut table = csv::Writer::from_writer(&mut out);
                for line in lines {
                    table.serialize(line).map_err(io::Error::from)?;
                }
                table.flush()?;
            }
            DetailsForm::JsonLines => {
                for line in lines {
                    serde_json::to_writer(&mut out, &line)?;
                    writeln!(out)?;
                }
            }
        }
        out.flush()
    };
    replace(path, write).map_err(|source| Error::Details { path: path.to_owned(), source })
}
