//! `hardnetd classify`: pictures in, classes out.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::ProgressBar;
use serde::Serialize;

use super::{Error, ModelChoice, printed, progress_style};
use crate::capture::{Still, StillError, is_video};
use crate::exit::chain;
use crate::inference::InferenceSession;
use crate::kernels::runtime::Threads;
use crate::learn::features::PictureError;
use crate::preprocess::Preprocessor;
use crate::printable::{escaped, line};
use crate::record::{Scored, TopClasses};

/// Arguments of `classify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Pictures are turned upright as their EXIF orientation says. On a terminal, hardnetd prints a table; elsewhere, \
tab-separated lines: file, rank, index, label, score. In these lines, control characters in names are escaped (\\t, \
\\u{1b}); --json keeps them.

Examples:
  hardnetd classify photo.jpg
  hardnetd classify --top 1 --json photos/*.jpg | jq -r '.[] | [.file, .top[0].label] | @tsv'")]
pub(super) struct Arguments {
    /// Pictures: JPEG, PNG, WebP, BMP, GIF or TIFF files.
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelChoice,
    /// Threads that one inference takes.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// How many classes to list, best first.
    #[arg(short, long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    top: u32,
    /// Print a JSON array with an object for each picture.
    #[arg(long)]
    json: bool,
}

/// The result for one picture.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome<'a> {
    Classified { file: Cow<'a, str>, top: TopClasses },
    Failed { file: Cow<'a, str>, error: String },
}

/// What to do instead; empty if there is nothing to say.
fn hint(error: &PictureError) -> &'static str {
    match error {
        PictureError::Still(StillError::NotAPicture { path, .. }) if is_video(path) => {
            "; for a video, use `hardnetd run --source FILE`"
        }
        PictureError::Still(StillError::Unreadable { path, .. }) if path.is_dir() => {
            "; for all pictures of a folder, name them (FOLDER/*.jpg) or use `hardnetd run --source images:FOLDER`"
        }
        _ => "",
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let model = arguments.model.load()?;
    let mut session = model.session(&Threads::new(arguments.threads.into(), |_| ()))?;
    let mut preprocessor = Preprocessor::new(*model.transform())?;
    let top = arguments.top as usize;
    let progress = progress(arguments.images.len());
    let mut outcomes = Vec::with_capacity(arguments.images.len());
    let mut first_failure = None;
    for file in &arguments.images {
        let name = file.to_string_lossy();
        progress.set_message(line(&name).into_owned());
        outcomes.push(match classify(file, &mut preprocessor, &mut session, top) {
            Ok(top) => Outcome::Classified { file: name, top },
            Err(error) => {
                first_failure.get_or_insert(error.exit());
                Outcome::Failed { file: name, error: chain(&error) + hint(&error) }
            }
        });
        progress.inc(1);
    }
    progress.finish_and_clear();
    if let Some(warning) = model.training().warning() {
        tracing::warn!(model = model.name(), "{warning}");
    }
    let failures: Vec<&str> = outcomes.iter().filter_map(Outcome::error).collect();
    printed(print(&outcomes, arguments.json))?;
    match (first_failure, failures.as_slice()) {
        (None, _) => Ok(()),
        (Some(exit), [message]) if outcomes.len() == 1 => Err(Error::Picture { message: (*message).into(), exit }),
        (Some(exit), failures) => {
            for message in failures {
                tracing::error!("{message}");
            }
            Err(Error::Pictures { failed: failures.len(), total: outcomes.len(), exit })
        }
    }
}

impl Outcome<'_> {
    fn error(&self) -> Option<&str> {
        match self {
            Self::Classified { .. } => None,
            Self::Failed { error, .. } => Some(error),
        }
    }
}

/// Opens, prepares and classifies one picture.
fn classify(
    path: &Path,
    preprocessor: &mut Preprocessor,
    session: &mut InferenceSession,
    top: usize,
) -> Result<TopClasses, PictureError> {
    let still = Still::open(path)?;
    let prepared = preprocessor.run(&still.picture()?, session.input());
    prepared.map_err(|source| PictureError::Preprocess { name: path.display().to_string(), source })?;
    Ok(session.infer(top)?)
}

/// A progress bar on standard error if there are several pictures; hidden unless it is a terminal.
fn progress(images: usize) -> ProgressBar {
    if images < 2 {
        return ProgressBar::hidden();
    }
    ProgressBar::new(images as u64).with_style(progress_style("{bar:30} {pos}/{len} {rate} {msg}"))
}

fn print(outcomes: &[Outcome], json: bool) -> io::Result<()> {
    let mut output = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut output, outcomes)?;
        return writeln!(output);
    }
    let classified = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Classified { file, top } => Some((file, top)),
        Outcome::Failed { .. } => None,
    });
    if !output.is_terminal() {
        for (file, top) in classified {
            // A tab or a line feed in a field would look like a separator.
            let file = escaped(file);
            for (rank, Scored { index, label, score }) in top.iter().enumerate() {
                writeln!(output, "{file}\t{}\t{index}\t{}\t{score}", rank + 1, line(label))?;
            }
        }
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(["File", "Class", "Label", "Score"]);
    for (file, top) in classified {
        for (rank, Scored { index, label, score }) in top.iter().enumerate() {
            let file = if rank == 0 { line(file).into_owned() } else { String::new() };
            table.add_row([file, index.to_string(), line(label).into_owned(), format!("{:.1} %", score * 100.0)]);
        }
    }
    for column in [1, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(output, "{table}")
}
