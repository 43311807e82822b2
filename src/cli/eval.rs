//! `hardnetd eval`: the accuracy of a model on labelled pictures.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use clap::Args;
use comfy_table::{Table, presets};
use indicatif::ProgressBar;

use super::{Error, ModelChoice, printed, progress_style};
use crate::eval::{
    Confusion, Dataset, DetailsForm, Doubt, EvalOptions, Report, check_details, details, evaluate, from_folders,
    from_list,
};
use crate::model::SaveError;
use crate::plural::{counted, first_of};
use crate::printable::line;

/// Most classes of a printed confusion matrix.
const MATRIX: usize = 40;

/// Arguments of `eval`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without a list, DIR holds one folder per class: named after the model's labels (in any case, _ for spaces), or with the \
numbers of the classes, or else in the order of the classes. Pictures may lie in folders below these; hidden ones are \
left out. With a list, each line names a file below DIR and its class, by name or, if no class has that name, by number, \
such as `ILSVRC2012_val_00000001.JPEG 65`, or `{\"path\": \"1.jpg\", \"label\": \"cat\"}`.

--json has everything: recall and precision of each class, the confusion matrix without its zeros, and what remains \
if answers below a score are ignored.

For a taught model, a folder named `unknown` holds pictures that belong to none of its classes.

Pictures are prepared as torchvision and Pillow do it, and are turned by their EXIF orientation only for a taught model.

Examples:
  hardnetd eval --model hardnet68.safetensors --images ILSVRC2012_img_val --list val_list.txt
  hardnetd eval --model birds.safetensors --images birds/test --json > report.json
  hardnetd eval --model gate.safetensors --images gate --matrix --thresholds --details gate.csv")]
pub(super) struct Arguments {
    /// Folder with the pictures.
    #[arg(short, long, value_name = "DIR")]
    images: PathBuf,
    /// List with a file name and a class per line.
    #[arg(short, long, value_name = "FILE")]
    list: Option<PathBuf>,
    #[command(flatten)]
    model: ModelChoice,
    /// Pictures classified at the same time, each on one thread [default: number of cores].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// How many of the worst classes to list.
    #[arg(long, value_name = "N", default_value_t = 10)]
    worst: u16,
    /// Print recall and precision of every class.
    #[arg(long)]
    classes: bool,
    /// Print the confusion matrix, for up to 40 classes.
    #[arg(long)]
    matrix: bool,
    /// Print coverage and accuracy at several score thresholds.
    #[arg(long)]
    thresholds: bool,
    /// Write a line per picture to this file, whose name ends in .csv or .jsonl.
    #[arg(long, value_name = "FILE")]
    details: Option<PathBuf>,
    /// Replace the file of --details if it exists.
    #[arg(short, long, requires = "details")]
    force: bool,
    /// Exit with an error if a picture cannot be classified, after the report.
    #[arg(long)]
    strict: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let lines = arguments.details.as_ref().map(|path| {
        let wrong = || format!("--details {}: expected a name that ends in .csv or .jsonl", path.display());
        DetailsForm::of(path).map(|form| (path, form)).ok_or_else(|| Error::Argument(wrong()))
    });
    let lines = lines.transpose()?;
    if let Some((path, _)) = lines {
        if path.symlink_metadata().is_ok() && !arguments.force {
            return Err(SaveError::Exists { path: path.clone() }.into());
        }
        check_details(path)?;
    }
    let model = Arc::new(arguments.model.load()?);
    let set = match &arguments.list {
        Some(list) => from_list(&arguments.images, list, &model.answers()),
        // A taught model also has an answer for what is in no class.
        None => from_folders(&arguments.images, &model.answers(), model.classes()),
    };
    let Dataset { samples, left_out, doubt } = set.map_err(crate::eval::Error::from)?;
    if !left_out.is_empty() {
        let files = counted(left_out.len(), "file is", "files are");
        tracing::warn!(
            "{files} left out, because they are not pictures or are in no class's folder: {}",
            first_of(left_out.iter().map(|path| path.display()))
        );
    }
    match doubt {
        Some(Doubt::Order { first, last }) => {
            let (low, high) = (&model.labels()[0], &model.labels()[model.classes() - 1]);
            tracing::warn!(
                "no folder is named after a class: the folders are the classes in the order of their names, from {first} \
                 ({low}) to {last} ({high})"
            );
        }
        Some(Doubt::Numbers) => tracing::warn!(
            "the folders have the numbers of classes as names, so that 2 is class 2. torchvision's ImageFolder sorts them as \
             text: if the model was trained that way, give its labels in that order (--labels)"
        ),
        None => {}
    }
    if let Some(warning) = model.training().warning() {
        tracing::warn!(model = model.name(), "{warning}");
    }
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = arguments.jobs.map_or(cores, usize::from);
    let options = EvalOptions { threads, worst: arguments.worst.into() };
    let progress = progress(samples.len() as u64);
    let start = Instant::now();
    let report = evaluate(&model, &samples, options, |done| progress.set_position(done));
    progress.finish_and_clear();
    let (report, answers) = report?;
    // The report comes first: it does not depend on the file.
    let written = match lines {
        Some((path, form)) => details(path, form, &samples, &answers, &model.answers()),
        None => Ok(()),
    };
    let rate = samples.len() as f64 / start.elapsed().as_secs_f64().max(f64::EPSILON);
    let (pictures, threads) = (counted(samples.len(), "picture", "pictures"), counted(threads, "thread", "threads"));
    tracing::info!("{pictures}, {rate:.1} per second on {threads}");
    printed(print(&report, arguments, &model.answers()))?;
    written?;
    match report.broken.first().filter(|_| arguments.strict) {
        Some(first) => Err(crate::eval::Error::Broken { pictures: report.broken.len(), exit: first.exit }.into()),
        None => Ok(()),
    }
}

/// A progress bar on standard error; hidden unless it is a terminal.
fn progress(samples: u64) -> ProgressBar {
    ProgressBar::new(samples).with_style(progress_style("{bar:30} {pos}/{len} pictures, {rate}, {eta} left"))
}

fn print(report: &Report, arguments: &Arguments, labels: &[Arc<str>]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut output, report)?;
        return writeln!(output);
    }
    writeln!(output, "{} on {}", line(&report.model), counted(report.images, "picture", "pictures"))?;
    writeln!(output, "top-1  {}  ({} right)", percent(report.top1), report.top1_correct)?;
    if let Some(correct) = report.top5_correct {
        writeln!(output, "top-5  {}  ({correct} right)", percent(report.top5))?;
    }
    if !report.broken.is_empty() {
        writeln!(output, "unreadable: {}, not counted", counted(report.broken.len(), "picture", "pictures"))?;
    }
    let style = if output.is_terminal() { presets::UTF8_HORIZONTAL_ONLY } else { presets::NOTHING };
    let wanted = [
        (!report.worst.is_empty(), worst as fn(&Report, &[Arc<str>]) -> Table),
        (arguments.classes, classes),
        (arguments.matrix, matrix),
        (arguments.thresholds, thresholds),
    ];
    for (_, table) in wanted.into_iter().filter(|(is_wanted, _)| *is_wanted) {
        let mut table = table(report, labels);
        table.load_style(style);
        writeln!(output, "\n{table}")?;
    }
    Ok(())
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.2} %", share * 100.0))
}

fn worst(report: &Report, _: &[Arc<str>]) -> Table {
    let mut table = Table::new();
    table.set_header(["Worst classes", "Right", "Taken for"]);
    for class in &report.worst {
        let confused = class.confused_with.iter().map(|Confusion { label, images, .. }| format!("{label} ({images})"));
        let right = format!("{} of {}", class.correct, class.images);
        let class = format!("{} {}", class.index, class.label);
        let confused = confused.collect::<Vec<_>>().join(", ");
        table.add_row([line(&class), right.into(), line(&confused)]);
    }
    table
}

fn classes(report: &Report, _: &[Arc<str>]) -> Table {
    let mut table = Table::new();
    table.set_header(["Class", "Pictures", "Recall", "Precision"]);
    for class in &report.classes {
        let name = format!("{} {}", class.index, class.label);
        let cells = [class.images.to_string(), percent(class.recall), percent(class.precision)];
        table.add_row([line(&name)].into_iter().chain(cells.map(Into::into)));
    }
    table
}

/// Classes as rows, and the classes found as columns, which have numbers as names: those with pictures, and those found.
fn matrix(report: &Report, labels: &[Arc<str>]) -> Table {
    let mut table = Table::new();
    let shown: BTreeSet<usize> = report.confusion.iter().flat_map(|cell| [cell.class, cell.found]).collect();
    if shown.len() > MATRIX {
        table.add_row([format!("{} classes are too many for a matrix; --json has its cells", shown.len())]);
        return table;
    }
    let columns = shown.iter().map(ToString::to_string);
    table.set_header(["Pictures of, taken for".to_owned()].into_iter().chain(columns));
    for class in shown.iter().copied() {
        let images = |found: usize| {
            let cell = report.confusion.iter().find(|cell| (cell.class, cell.found) == (class, found));
            cell.map_or_else(|| ".".to_owned(), |cell| cell.images.to_string())
        };
        let name = format!("{class} {}", labels.get(class).map_or("", |label| label));
        table.add_row([line(&name).into_owned()].into_iter().chain(shown.iter().copied().map(images)));
    }
    table
}

fn thresholds(report: &Report, _: &[Arc<str>]) -> Table {
    let mut table = Table::new();
    table.set_header(["Score from", "Answered", "Share", "Right"]);
    for threshold in &report.thresholds {
        let answered = threshold.answered.to_string();
        let (coverage, accuracy) = (percent(threshold.coverage), percent(threshold.accuracy));
        table.add_row([format!("{:.2}", threshold.score), answered, coverage, accuracy]);
    }
    table
}
