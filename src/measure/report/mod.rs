//! Reports: a page for browsers and for paper, a Markdown table, CSV for spreadsheets. Every figure is one of
//! [`Analysis`], and every curve comes from the samples of the same file.

mod absence;
mod csv;
mod markdown;
mod page;

use super::analysis::{Analysis, WindowFigures};
use super::journal::Recording;
pub use csv::csv;
pub use markdown::markdown;
pub use page::html;

/// A file with its figures.
#[derive(Debug)]
pub struct Measured {
    /// Its name.
    pub file: String,
    /// Its content.
    pub recording: Recording,
    /// Its figures.
    pub analysis: Analysis,
}

/// Whether a window counts: `valid`, or the codes of the reasons against it.
fn verdict(window: &WindowFigures) -> String {
    match window.reasons.as_slice() {
        [] => "valid".to_owned(),
        reasons => reasons.iter().map(|reason| reason.code()).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests;
