//! `hardnetd features`: pictures or a stream in, features out.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args};
use indicatif::ProgressBar;
use serde::Serialize;

use super::camera::Camera;
use super::{EngineChoice, Error, frames_per_second, interrupt, printed, progress_style, size};
use crate::capture::{is_picture, pictures};
use crate::config;
use crate::engine::features::{Grid, MAX_CELLS};
use crate::exit::{Exit, chain};
use crate::frame::Region;
use crate::kernels::runtime::Threads;
use crate::learn::features::{FeatureSession, PictureError};
use crate::learn::npy::NpyWriter;
use crate::learn::stream::Watch;
use crate::learn::teach::{self, data};
use crate::model::{Definition, Extractor, ModelOptions, SaveError, Training, built_in};
use crate::printable::line;
use crate::replace::{self, replace};
use crate::shutdown::Stopped;

/// Arguments of `features`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("input").required(true).multiple(true).args(["pictures", "source", "stream"])), after_help = "\
Features are the values that the network's own last linear layer reads: a few hundred numbers that describe a picture, for \
clustering, searching, or a classifier of your own. A taught model lends its network and its region. --map adds the means of an earlier map over a grid of cells, which \
also say where something is; `hardnetd model info` lists the modules.

Each picture is a line: {\"path\":…,\"features\":[…]}, or {\"stream\":…,\"seq\":…,\"features\":[…]} for a frame. With \
--output, the features go to a NumPy file of 32-bit floats with a row for each picture, and standard output has the \
lines without them. Pictures that cannot be read are named on standard error and left out.

Examples:
  hardnetd features photo.jpg
  hardnetd features --model hardnet68.safetensors photos --output photos.npy > photos.jsonl
  hardnetd features --map base.4:2 --region 0.25,0.5,0.5,0.5 yard/*.jpg
  hardnetd features --source rtsp://camera.local/1 --max-fps 1 --frames 100 --output yard.npy")]
pub(super) struct Arguments {
    /// Pictures, or folders with pictures, also in folders below them.
    #[arg(value_name = "IMAGE|DIR", conflicts_with = "camera")]
    pictures: Vec<PathBuf>,
    #[command(flatten)]
    camera: Camera,
    /// End after N frames [default: with the source, or with Ctrl-C].
    #[arg(short = 'n', long, value_name = "N", requires = "camera", value_parser = clap::value_parser!(u64).range(1..))]
    frames: Option<u64>,
    /// Frames per second to let through, such as 2 or 0.2; 0: all.
    #[arg(long, value_name = "N", default_value = "0", requires = "camera", value_parser = frames_per_second)]
    max_fps: f64,
    /// Maximum seconds without a frame.
    #[arg(long, value_name = "S", default_value = "20", requires = "camera", value_parser = seconds)]
    timeout: Duration,
    /// Model: signal, hardnet39ds, hardnet68ds, hardnet68, hardnet85, or a model file.
    #[arg(short, long, value_name = "M", default_value = built_in::NAME)]
    model: String,
    /// The part of the picture to look at: x, y, width and height in fractions of its sides, such as 0.25,0.5,0.5,0.5.
    #[arg(long, value_name = "X,Y,W,H", allow_hyphen_values = true)]
    region: Option<Region>,
    /// Also the means of this module's output over N × N cells [default of N: 1]; can be repeated.
    #[arg(long, value_name = "MODULE[:N]", value_parser = grid)]
    map: Vec<Grid>,
    /// Rows and columns of the network's input, such as 320x256, instead of the model's own.
    #[arg(long, value_name = "HxW", value_parser = size)]
    size: Option<[usize; 2]>,
    #[command(flatten)]
    engine: EngineChoice,
    /// Threads that one inference takes.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// The NumPy file to write.
    #[arg(short, long, value_name = "FILE.npy")]
    output: Option<PathBuf>,
    /// Replace the file if it exists.
    #[arg(short, long, requires = "output")]
    force: bool,
}

/// Seconds of a limit.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok().filter(|number| (0.1..=3600.0).contains(number));
    number.map(Duration::from_secs_f64).ok_or_else(|| "expected seconds from 0.1 to 3600".into())
}

fn grid(text: &str) -> Result<Grid, String> {
    let (map, cells) = text.rsplit_once(':').unwrap_or((text, "1"));
    let cells = cells.parse().ok().filter(|cells| (1..=MAX_CELLS).contains(cells));
    let expected = || format!("expected the name of a module, and cells from 1 to {MAX_CELLS}, such as base.4:2");
    cells
        .filter(|_| !map.is_empty())
        .map(|cells| Grid { map: map.to_owned(), cells, inner: false })
        .ok_or_else(expected)
}

/// What a row belongs to.
#[derive(Serialize)]
#[serde(untagged)]
enum Name<'a> {
    Picture { path: &'a str },
    Frame { stream: &'a str, seq: u64 },
}

/// A line of the output.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    name: Name<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    features: Option<&'a [f32]>,
}

/// Where rows go.
struct Rows<'a> {
    file: Option<(NpyWriter<'a>, &'a Path)>,
    lines: io::StdoutLock<'static>,
    count: u64,
    /// Whether the reader of the lines has gone.
    is_unread: bool,
}

impl<'a> Rows<'a> {
    /// Lines on standard output, and a file that gets the features.
    fn to(file: Option<(NpyWriter<'a>, &'a Path)>) -> Self {
        Self { file, lines: io::stdout().lock(), count: 0, is_unread: false }
    }

    fn push(&mut self, name: Name<'_>, features: &[f32]) -> Result<(), Error> {
        if let Some((file, path)) = &mut self.file {
            file.push(features).map_err(|source| unwritten(path, source))?;
        }
        self.count += 1;
        if self.is_unread {
            return Ok(());
        }
        let row = Row { name, features: self.file.is_none().then_some(features) };
        let written = serde_json::to_writer(&mut self.lines, &row).map_err(io::Error::from);
        let written = written.and_then(|()| writeln!(self.lines));
        self.is_unread = matches!(&written, Err(error) if error.kind() == io::ErrorKind::BrokenPipe);
        printed(written)
    }

    /// Whether nobody takes further rows.
    fn is_over(&self) -> bool {
        self.is_unread && self.file.is_none()
    }
}

fn unwritten(path: &Path, source: io::Error) -> Error {
    SaveError::Write { path: path.to_owned(), source }.into()
}

/// An error of the work or of the system, on the way through [`replace()`].
enum Failed {
    Work(Error),
    System(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    if let Some(path) = arguments.output.as_ref().filter(|path| path.extension().is_none_or(|ending| ending != "npy")) {
        return Err(Error::Argument(format!("--output {}: expected a name that ends in .npy", path.display())));
    }
    if let Some(path) = arguments.output.as_ref().filter(|path| path.symlink_metadata().is_ok() && !arguments.force) {
        return Err(SaveError::Exists { path: path.clone() }.into());
    }
    if let Some(path) = &arguments.output {
        replace::check(path).map_err(|source| SaveError::Write { path: path.clone(), source })?;
    }
    let stopped = interrupt::install()?;
    let engine = arguments.engine.into();
    let options = ModelOptions { size: arguments.size, region: arguments.region, engine, ..ModelOptions::default() };
    let definition = Definition::open(&arguments.model, &options)?;
    if definition.training == Training::Seeded {
        tracing::warn!("{}: its features are those of random weights", definition.name());
    }
    let extractor = Extractor::compile(definition, &arguments.map, options.engine)?;
    let mut session = FeatureSession::new(&extractor, &Threads::new(arguments.threads.into(), |_| ()))?;
    let Some(path) = &arguments.output else {
        return write(arguments, &mut session, &mut Rows::to(None), &stopped);
    };
    let mut incomplete = Ok(());
    let outcome = replace(path, |file| {
        let file = NpyWriter::new(file, session.length())?;
        let mut rows = Rows::to(Some((file, path)));
        match write(arguments, &mut session, &mut rows, &stopped) {
            // The rows of the others are worth keeping.
            Err(error) if rows.count > 0 && !matches!(error, Error::Save(_) | Error::Stopped) => {
                incomplete = Err(error)
            }
            outcome => outcome.map_err(Failed::Work)?,
        }
        if let Some((file, _)) = rows.file {
            file.finish()?;
        }
        Ok(())
    });
    match outcome {
        Ok(()) => incomplete,
        Err(Failed::Work(error)) => Err(error),
        Err(Failed::System(source)) => Err(unwritten(path, source)),
    }
}

/// Writes the rows of all pictures or frames.
fn write(
    arguments: &Arguments,
    session: &mut FeatureSession,
    rows: &mut Rows<'_>,
    stopped: &Stopped,
) -> Result<(), Error> {
    match arguments.camera.stream()? {
        Some(stream) => write_frames(arguments, stream, session, rows, stopped),
        None => write_pictures(&arguments.pictures, session, rows, stopped),
    }
}

fn write_frames(
    arguments: &Arguments,
    stream: config::Stream,
    session: &mut FeatureSession,
    rows: &mut Rows<'_>,
    stopped: &Stopped,
) -> Result<(), Error> {
    let (max_fps, timeout) = (arguments.max_fps, arguments.timeout);
    let source = config::redact(&stream.source).to_string();
    let watch = Watch { stream, max_fps, timeout, end_after: None };
    let mut left = arguments.frames;
    watch.run(stopped, |frame| {
        let picture =
            frame.picture().map_err(|error| Error::Picture { message: error.to_string(), exit: Exit::Data })?;
        let name = || format!("frame {} of {source}", frame.seq);
        match session.features(&picture, name) {
            Ok(features) => rows.push(Name::Frame { stream: &frame.stream, seq: frame.seq }, features)?,
            Err(error) => return Err(Error::Picture { message: chain(&error), exit: error.exit() }),
        }
        left = left.map(|left| left - 1);
        Ok(if left == Some(0) || rows.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}

fn write_pictures(
    paths: &[PathBuf],
    session: &mut FeatureSession,
    rows: &mut Rows<'_>,
    stopped: &Stopped,
) -> Result<(), Error> {
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => match data::pictures(path).map_err(teach::Error::from)? {
                // The error says what counts as a picture.
                found if found.is_empty() => files.extend(pictures(path).map_err(crate::capture::Error::from)?),
                found => files.extend(found),
            },
            false => files.push(path.clone()),
        }
    }
    let style = progress_style("{bar:30} {pos}/{len} {rate} {msg}");
    let progress = if files.len() < 2 { ProgressBar::hidden() } else { ProgressBar::new(files.len() as u64) };
    let progress = progress.with_style(style);
    let mut failures = Vec::new();
    for path in &files {
        if stopped.is_set() {
            progress.finish_and_clear();
            return Err(Error::Stopped);
        }
        let name = path.to_string_lossy();
        progress.set_message(line(&name).into_owned());
        match session.features_of_file(path) {
            Ok(features) => rows.push(Name::Picture { path: &name }, features)?,
            // The network would fail for the others, too.
            Err(error @ PictureError::Inference(_)) => {
                progress.finish_and_clear();
                return Err(Error::Picture { message: chain(&error), exit: error.exit() });
            }
            Err(error) => failures.push(error),
        }
        progress.inc(1);
        if rows.is_over() {
            break;
        }
    }
    progress.finish_and_clear();
    let Some(exit) = failures.first().map(|error| error.exit()) else { return Ok(()) };
    if let ([error], true) = (failures.as_slice(), files.len() == 1) {
        let hint = if is_picture(&files[0]) { "" } else { "; for a video, use --source FILE" };
        return Err(Error::Picture { message: chain(error) + hint, exit });
    }
    for error in &failures {
        tracing::error!("{}", chain(error));
    }
    Err(Error::Pictures { failed: failures.len(), total: files.len(), exit })
}
