//! `hardnetd teach`: new classes from tens of pictures.

use std::io::{self, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use comfy_table::{CellAlignment, Table, presets};
use indicatif::ProgressBar;

use super::camera::Camera;
use super::features::seconds;
use super::model::json;
use super::{Error, interrupt, printed, progress_style};
use crate::config;
use crate::exit::{Exit, chain};
use crate::frame::Region;
use crate::hardnet;
use crate::inference::{Engine, UNKNOWN};
use crate::learn::stream::Watch;
use crate::learn::teach::collect::{CollectError, Collector};
use crate::learn::teach::drift::{Comparison, Drift, DriftError};
use crate::learn::teach::report::{Accuracy, Report};
use crate::learn::teach::{self, TeachOptions, teach};
use crate::model::taught::{self, is_taught};
use crate::model::{ModelFormat, SaveError, built_in, save};
use crate::plural::{counted, first_of};
use crate::printable::line;
use crate::replace;
use crate::shutdown::Stopped;

/// Frames per second that are looked at.
const FRAMES_PER_SECOND: f64 = 4.0;

/// Arguments of `teach`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args(["output", "source", "stream", "drift"])), after_help = "\
DIR holds a folder of pictures per class, named after the class: 20 pictures of each are enough for the states of one object \
in front of a fixed camera. Take them at several hours, and leave some for `hardnetd eval`. The model looks at the whole \
picture, or at --region; `run`, `classify` and `eval` then look at the same part. A picture that is unlike all taught ones is `unknown`.

The accuracy is cross-validated: each picture is judged by a model that has not seen it. A model that is no better than \
naming the largest class for every picture is not saved. An earlier taught model of the same name is replaced. The model is \
named after its file, without the extension.

With --source (or --stream) and --label, hardnetd adds what a camera shows to DIR/LABEL instead, without near duplicates; \
--region compares that part alone. With --drift, it compares pictures with those that a model was taught with, and says when \
to teach again.

Examples:
  hardnetd teach --data gate --source rtsp://camera.local/1 --label open --seconds 10
  hardnetd teach --data gate --stream door --label closed      # a stream of the service's configuration
  hardnetd teach --data gate --region 0.4,0.3,0.2,0.4 --output gate.safetensors
  hardnetd run --model gate.safetensors --source rtsp://camera.local/1
  hardnetd teach --drift gate.safetensors --source rtsp://camera.local/1 --seconds 60")]
pub(super) struct Arguments {
    /// Folder with a folder of pictures for each class.
    #[arg(short, long, value_name = "DIR", required_unless_present = "drift")]
    data: Option<PathBuf>,
    /// The model file to write: .safetensors.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["camera", "drift"])]
    output: Option<PathBuf>,
    /// Model whose network is used: signal, hardnet39ds, hardnet68ds, hardnet68, hardnet85, or a model file.
    #[arg(short, long, value_name = "M", default_value = built_in::NAME, conflicts_with_all = ["camera", "drift"])]
    model: String,
    /// The part of the picture to look at: x, y, width and height in fractions of its sides, such as 0.25,0.5,0.5,0.5
    /// [default: that of the taught model that is replaced, or the whole picture].
    #[arg(long, value_name = "X,Y,W,H", allow_hyphen_values = true, conflicts_with = "drift")]
    region: Option<Region>,
    #[command(flatten)]
    camera: Camera,
    /// Class of the pictures from the source: they are added to DIR/LABEL.
    #[arg(short, long, value_name = "LABEL", requires = "camera", conflicts_with = "drift")]
    label: Option<String>,
    /// How many seconds to look at the source, from its first frame.
    #[arg(long, value_name = "S", default_value = "10", requires = "camera", value_parser = seconds)]
    seconds: Duration,
    /// Maximum seconds without a frame.
    #[arg(long, value_name = "S", default_value = "20", requires = "camera", value_parser = seconds)]
    timeout: Duration,
    /// Compare pictures with those that this model was taught with.
    #[arg(long, value_name = "MODEL")]
    drift: Option<String>,
    /// Threads [default: number of cores].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
    /// Save a model even if it is no better than chance, and replace a file that is not a taught model.
    #[arg(short, long, requires = "output")]
    force: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let stopped = interrupt::install()?;
    match (&arguments.drift, arguments.camera.stream()?, &arguments.output, &arguments.data) {
        (Some(model), stream, ..) => drift(arguments, model, stream, &stopped),
        (None, Some(stream), _, Some(data)) => collect(arguments, stream, data, &stopped),
        (None, None, Some(output), Some(data)) => learn(arguments, data, output, &stopped),
        // The command line excludes this.
        _ => Err(Error::Argument("--data DIR is needed".to_owned())),
    }
}

fn threads(arguments: &Arguments) -> usize {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    arguments.threads.map_or(cores, usize::from)
}

/// Teaches a model and saves it.
fn learn(arguments: &Arguments, data: &Path, output: &Path, stopped: &Stopped) -> Result<(), Error> {
    if output.to_str().is_none() {
        return Err(Error::Argument(format!("--output {}: expected a name in UTF-8", output.display())));
    }
    if !matches!(ModelFormat::of(output), Ok(ModelFormat::Safetensors)) {
        let output = output.display();
        let message =
            format!("--output {output}: the name of a taught model ends in .safetensors; `model export` writes ONNX");
        return Err(Error::Argument(message));
    }
    // Teaching again is the usual case.
    if output.exists() && !arguments.force && !is_taught(output) {
        return Err(SaveError::Exists { path: output.to_owned() }.into());
    }
    replace::check(output).map_err(|source| SaveError::Write { path: output.to_owned(), source })?;
    let set = teach::read(data).map_err(teach::Error::from)?;
    if !set.left_out.is_empty() {
        let files = counted(set.left_out.len(), "picture is", "pictures are");
        let names = first_of(set.left_out.iter().map(|path| path.display()));
        tracing::warn!("{files} left out, because they are in no class's folder: {names}");
    }
    let options = TeachOptions {
        model: arguments.model.clone(),
        name: name(output),
        region: arguments.region.or_else(|| earlier_region(output)).unwrap_or(Region::WHOLE),
        engine: Engine::default(),
        threads: threads(arguments),
    };
    let bar = ProgressBar::new(set.samples.len() as u64)
        .with_style(progress_style("{bar:30} {pos}/{len} pictures, {rate}, {eta} left{msg}"));
    let outcome = teach(&set, &options, stopped, |done| {
        bar.set_position(done);
        if done == set.samples.len() as u64 {
            bar.set_message(", cross-validating");
        }
    });
    bar.finish_and_clear();
    let outcome = match outcome {
        Err(teach::Error::Stopped) => return Err(Error::Stopped),
        outcome => outcome?,
    };
    let is_useless = outcome.is_no_better_than_chance();
    let is_saved = !is_useless || arguments.force;
    if stopped.is_set() {
        return Err(Error::Stopped);
    }
    if is_saved {
        save(&outcome.definition, output, true)?;
    }
    match arguments.json {
        true => json(&outcome.report)?,
        false => printed(print(&outcome.report, is_saved.then_some(output)))?,
    }
    match is_saved {
        true => Ok(()),
        false => {
            let (Accuracy { right, pictures, .. }, chance) = (outcome.report.accuracy, outcome.report.chance);
            Err(Error::Chance { right, pictures, chance: chance * 100.0 })
        }
    }
}

/// The name of a taught model: that of its file without the extension, with `-` for what names of networks do not have.
fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = stem.chars().map(|c| if is_plain(&c) { c } else { '-' }).take(50).collect();
    // Names of other models, and of no file, say nothing.
    match hardnet::find(&name).is_some() || name == built_in::NAME || name.chars().all(|c| c == '.') {
        true => format!("taught-{name}"),
        false => name,
    }
}

/// The part of the picture that the taught model at `path` looks at. None if it is the whole picture, or there is no such
/// model.
fn earlier_region(path: &Path) -> Option<Region> {
    let region = taught::region(path).filter(|region| *region != Region::WHOLE)?;
    tracing::info!("looks at the region {region}, as {} does; --region 0,0,1,1 is the whole picture", path.display());
    Some(region)
}

/// Adds what a source shows to the folder of a class.
fn collect(arguments: &Arguments, stream: config::Stream, data: &Path, stopped: &Stopped) -> Result<(), Error> {
    let Some(label) = &arguments.label else {
        return Err(Error::Argument("--label LABEL is needed: the class of the frames".to_owned()));
    };
    let region = arguments.region.unwrap_or(Region::WHOLE);
    let bar = ProgressBar::no_length().with_style(progress_style("{pos} pictures of the folder {rate}"));
    let collector = Collector::new(data, label, region, |done| {
        bar.set_position(done);
        !stopped.is_set()
    });
    bar.finish_and_clear();
    let mut collector = collector?;
    if stopped.is_set() {
        return Err(Error::Stopped);
    }
    let bar = seconds_bar(arguments.seconds);
    let mut began = None;
    let watched = watch(arguments, stream).run(stopped, |frame| {
        let began = began.get_or_insert_with(Instant::now);
        collector.take(&frame)?;
        bar.set_message(counted(collector.collected.added, "picture", "pictures"));
        bar.set_position(began.elapsed().as_secs());
        Ok::<_, CollectError>(ControlFlow::Continue(()))
    });
    bar.finish_and_clear();
    let (done, folder) = (collector.collected, data.join(label).display().to_string());
    // If no frame came, the error says enough.
    let watched = match watched {
        Err(error) if done.added + done.near_duplicates == 0 => return Err(error.into()),
        watched => watched,
    };
    let told = match arguments.json {
        true => json(&done),
        false => printed(writeln!(
            io::stdout(),
            "{}: {} added; {} left out as near duplicates",
            line(&folder),
            counted(done.added, "picture", "pictures"),
            counted(done.near_duplicates, "frame", "frames")
        )),
    };
    watched?;
    told
}

/// Where the pictures are that are compared.
enum Pictures<'a> {
    Stream(Box<config::Stream>),
    Data(&'a Path),
}

/// Compares pictures with those that a model was taught with.
fn drift(arguments: &Arguments, model: &str, stream: Option<config::Stream>, stopped: &Stopped) -> Result<(), Error> {
    let pictures = match (stream, &arguments.data) {
        (Some(stream), None) => Pictures::Stream(Box::new(stream)),
        (None, Some(data)) => Pictures::Data(data),
        (Some(_), Some(_)) => {
            return Err(Error::Argument("--drift takes pictures from --data or from a camera: name one".to_owned()));
        }
        (None, None) => {
            return Err(Error::Argument(
                "--drift needs pictures: --data DIR, --source URI or --stream NAME".to_owned(),
            ));
        }
    };
    let mut comparison = Comparison::new(model, Engine::default(), threads(arguments))?;
    match pictures {
        Pictures::Stream(stream) => {
            let bar = seconds_bar(arguments.seconds);
            let source = config::redact(&stream.source).to_string();
            let mut began = None;
            let watched = watch(arguments, *stream).run(stopped, |frame| {
                let began = began.get_or_insert_with(Instant::now);
                let picture = frame.picture().map_err(|error| message(&error, Exit::Data))?;
                comparison
                    .take(&picture, || format!("frame {} of {source}", frame.seq))
                    .map_err(|error| message(&error, error.exit()))?;
                bar.set_position(began.elapsed().as_secs());
                Ok::<_, Error>(ControlFlow::Continue(()))
            });
            bar.finish_and_clear();
            watched?;
        }
        Pictures::Data(data) => {
            let paths = teach::data::pictures(data).map_err(teach::Error::from)?;
            let bar = ProgressBar::new(paths.len() as u64)
                .with_style(progress_style("{bar:30} {pos}/{len} pictures, {rate}, {eta} left"));
            for path in paths {
                if stopped.is_set() {
                    bar.finish_and_clear();
                    return Err(Error::Stopped);
                }
                if let Err(error) = comparison.take_file(&path) {
                    bar.finish_and_clear();
                    return Err(message(&error, error.exit()));
                }
                bar.inc(1);
            }
            bar.finish_and_clear();
        }
    }
    let drift = match comparison.finish() {
        Err(DriftError::Nothing) if stopped.is_set() => return Err(Error::Stopped),
        drift => drift?,
    };
    match arguments.json {
        true => json(&drift),
        false => printed(print_drift(&drift)),
    }
}

fn message(error: &dyn std::error::Error, exit: Exit) -> Error {
    Error::Picture { message: chain(error), exit }
}

fn watch(arguments: &Arguments, stream: config::Stream) -> Watch {
    Watch { stream, max_fps: FRAMES_PER_SECOND, timeout: arguments.timeout, end_after: Some(arguments.seconds) }
}

/// A progress bar for a number of seconds.
fn seconds_bar(seconds: Duration) -> ProgressBar {
    ProgressBar::new(seconds.as_secs()).with_style(progress_style("{bar:30} {pos}/{len} s {msg}"))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn print(report: &Report, saved: Option<&Path>) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let style = if output.is_terminal() { presets::UTF8_HORIZONTAL_ONLY } else { presets::NOTHING };
    let labels: Vec<String> = report.classes.iter().map(|class| line(&class.label).into_owned()).collect();
    let Accuracy { right, pictures, share, low, high } = report.accuracy;
    writeln!(
        output,
        "accuracy  {} (95 % interval {} to {}): cross-validation gets {right} of {} right",
        percent(share),
        percent(low),
        percent(high),
        counted(pictures, "picture", "pictures")
    )?;
    writeln!(
        output,
        "unknown   beyond a distance of {:.2}, {} of the pictures of these classes",
        report.unknown.threshold,
        percent(report.unknown.false_alarms)
    )?;
    if let Some(region) = Region::new(report.region).ok().filter(|region| *region != Region::WHOLE) {
        writeln!(output, "region    {region}")?;
    }
    for class in report.classes.iter().filter(|class| 2 * class.near_duplicates > class.pictures) {
        let near = counted(
            class.near_duplicates,
            "picture is nearly the same as another",
            "pictures are nearly the same as others",
        );
        writeln!(output, "{}: {near}, of {}; more varied ones teach more", line(&class.label), class.pictures)?;
    }
    let mut table = Table::new();
    let header =
        ["Class", "Pictures"].map(str::to_owned).into_iter().chain(labels.iter().map(|label| format!("→ {label}")));
    table.load_style(style).set_header(header);
    for ((label, class), row) in labels.iter().zip(&report.classes).zip(&report.confusion) {
        let numbers = std::iter::once(class.pictures).chain(row.iter().copied()).map(|number| number.to_string());
        table.add_row(std::iter::once(label.clone()).chain(numbers));
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    writeln!(output, "\n{table}")?;
    if !report.wrong.is_empty() {
        let mut table = Table::new();
        table.load_style(style).set_header(["Wrong in cross-validation", "Class", "Taken for"]);
        for wrong in &report.wrong {
            table.add_row([line(&wrong.file.to_string_lossy()), line(&wrong.label), line(&wrong.taken_for)]);
        }
        writeln!(output, "\n{table}")?;
    }
    let mut table = Table::new();
    table.load_style(style).set_header(["Pictures of each class", "Accuracy"]);
    for point in &report.curve {
        table.add_row([point.pictures_per_class.to_string(), percent(point.share)]);
    }
    table.column_iter_mut().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    writeln!(output, "\n{table}\n\n{}", line(&report.advice))?;
    if !report.left_out.is_empty() {
        writeln!(output, "{} left out", counted(report.left_out.len() as u64, "picture", "pictures"))?;
    }
    match saved {
        Some(path) => {
            let path = path.display().to_string();
            writeln!(output, "{}: {}, and `{UNKNOWN}`", line(&path), counted(labels.len() as u64, "class", "classes"))
        }
        None => writeln!(output, "not saved"),
    }
}

fn print_drift(drift: &Drift) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let Drift { pictures, left_out, unknown, share, distance, taught_distance, threshold, advice, .. } = drift;
    writeln!(output, "unknown   {unknown} of {} ({})", counted(*pictures, "picture", "pictures"), percent(*share))?;
    writeln!(
        output,
        "distance  {distance:.2} on average, {taught_distance:.2} when it was taught; unknown beyond {threshold:.2}"
    )?;
    if *left_out > 0 {
        writeln!(output, "{} left out", counted(*left_out, "picture", "pictures"))?;
    }
    writeln!(output, "{advice}")
}

impl From<CollectError> for Error {
    fn from(error: CollectError) -> Self {
        match error {
            CollectError::Stream(error) => Self::Stream(error),
            error => Self::Collect(error),
        }
    }
}
