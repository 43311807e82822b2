//! Makes the pictures from which the default model learns the state of a video signal: good pictures, faults of cameras
//! and lenses, damage of decoders, and test patterns, through real encoders and decoders. `models/README.md` describes
//! them. `make model-data` installs the packages and runs this.

mod canvas;
mod damage;
mod faults;
mod growth;
mod labels;
mod list;
mod make;
mod output;
mod photos;
mod plan;
#[path = "../../src/learn/train/random.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with training, which uses the rest")]
mod random;
mod scenes;
mod stamps;
mod texture;
mod things;
mod video;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::{io, thread};

use clap::Parser;
use hardnetd::exit::Exit;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

use list::Record;
use make::Maker;
use output::Output;
use plan::{Clip, Set};
use random::Random;

/// Makes the training data of the default model: the state of a video signal.
#[derive(Debug, Parser)]
#[command(
    name = "signal_data",
    after_help = "\
DIR receives pictures/, and the lists train.jsonl, test.jsonl and photos.jsonl with one JSON object per picture: path, \
label, the name of the pasted stamp, and how it was made. DIR appears when everything is complete. The full set takes \
about 1.3 GB.

Examples:
  signal_data --output target/model-data
  signal_data --output /tmp/small --train 1000 --test 200"
)]
struct Arguments {
    /// Folder to make; it must not exist.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Number that determines everything random.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Pictures for training.
    #[arg(long, value_name = "N", default_value_t = 24_000, value_parser = number())]
    train: u32,
    /// Pictures for testing, of other scenes and photographs.
    #[arg(long, value_name = "N", default_value_t = 2_400, value_parser = number())]
    test: u32,
    /// Unaltered photographs for testing.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = number())]
    photos: u32,
    /// Side of the centre square that networks see, in pixels; the pictures' shorter side is an eighth more.
    #[arg(long, value_name = "PIXELS", default_value_t = 144, value_parser = clap::value_parser!(u16).range(32..=512))]
    size: u16,
    /// Threads [default: number of cores].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

fn number() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..=10_000_000)
}

/// Why there are no pictures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Something that a package installs.
    #[error("{what} is missing: install the Debian package {package}; `make model-data` does so")]
    Missing { what: String, package: &'static str },
    /// The folder is there.
    #[error("{} exists: choose another folder, or remove it first", path.display())]
    Exists { path: PathBuf },
    /// Writing failed.
    #[error("{} cannot be written", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// A picture of a package is broken.
    #[error("{} cannot be read: install its package again", path.display())]
    Picture { path: PathBuf, source: image::ImageError },
    /// A picture cannot be encoded or written.
    #[error("{} cannot be written", path.display())]
    Encode { path: PathBuf, source: image::ImageError },
    /// A pipeline failed.
    #[error("GStreamer: {message}, in `{launch}`")]
    Video { launch: String, message: String },
    /// Random scenes do not show what they should, however often they are drawn.
    #[error("no pictures of {label} for {set} were found: try another --seed")]
    Unmade { label: String, set: &'static str },
    /// The system refuses a thread or a signal handler.
    #[error("the system refuses a thread or a signal handler")]
    System(#[source] io::Error),
    /// A signal.
    #[error("stopped; nothing is left of the pictures made so far")]
    Stopped,
}

impl Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Missing { .. } => Exit::Unavailable,
            Self::Exists { .. } => Exit::Usage,
            Self::Write { .. } | Self::Encode { .. } => Exit::Io,
            Self::Picture { .. } => Exit::Data,
            Self::Video { .. } | Self::Unmade { .. } | Self::System(_) => Exit::Internal,
            Self::Stopped => Exit::Stopped,
        }
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // There is nobody left to tell.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(Exit::Usage.code()) } else { ExitCode::SUCCESS };
        }
    };
    match run(&arguments) {
        Ok(text) => {
            let _ = writeln!(io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                text.push_str(&format!(": {error}"));
                cause = error.source();
            }
            let _ = writeln!(io::stderr(), "signal_data: {text}");
            ExitCode::from(error.exit().code())
        }
    }
}

fn run(arguments: &Arguments) -> Result<String, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The first one ends the work tidily, the second at once.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(Error::System)?;
    }
    let [train, test, photos] = [arguments.train, arguments.test, arguments.photos].map(|count| count as usize);
    let clips = plan::clips(train, test, photos);
    video::init()?;
    let maker = Maker::new(arguments.seed, arguments.size.into())?;
    let output = Output::begin(&arguments.output)?;
    maker.load()?;
    let threads = match arguments.threads {
        Some(threads) => threads.into(),
        None => thread::available_parallelism().map_or(1, usize::from),
    };
    let bar = ProgressBar::new((train + test + photos) as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} pictures, {per_sec}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let made = make_all(&maker, &clips, &output, threads, &stop, &bar);
    bar.finish_and_clear();
    for (set, records) in Set::ALL.into_iter().zip(made?) {
        output.write_list(set, &records)?;
    }
    output.finish()?;
    let (photographs, stamps) = maker.sources();
    Ok(format!(
        "{}: {train} pictures for training, {test} for testing, {photos} photographs; of {photographs} photographs and \
         {stamps} stamps",
        arguments.output.display()
    ))
}

/// Makes all clips on several threads, and returns the lines of each set in order.
fn make_all(
    maker: &Maker,
    clips: &[Clip],
    output: &Output,
    threads: usize,
    stop: &AtomicBool,
    bar: &ProgressBar,
) -> Result<[Vec<Record>; 3], Error> {
    // Some states take longer than others: mixed, they let the time left be told.
    let mut order: Vec<&Clip> = clips.iter().collect();
    Random::new(0, &[]).shuffle(&mut order);
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, results) = mpsc::channel();
    thread::scope(|scope| {
        for index in 0..threads {
            let sender = sender.clone();
            let (order, next, failed) = (&order, &next, &failed);
            let work = move || {
                while let Some(clip) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if stop.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed) {
                        break;
                    }
                    let records = maker.make(clip).and_then(|made| output.write(clip, made));
                    if sender.send((*clip, records)).is_err() {
                        break;
                    }
                }
            };
            thread::Builder::new().name(format!("make-{index}")).spawn_scoped(scope, work).map_err(Error::System)?;
        }
        drop(sender);
        let mut done = Vec::new();
        let mut outcome = Ok(());
        for (clip, records) in results {
            match records {
                Ok(records) => {
                    bar.inc(records.len() as u64);
                    done.push((clip, records));
                }
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    outcome = outcome.and(Err(error));
                }
            }
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        outcome?;
        done.sort_by_key(|(clip, _)| clip.first);
        Ok(Set::ALL.map(|set| {
            let mine = done.iter().filter(|(clip, _)| clip.set == set);
            mine.flat_map(|(_, records)| records).cloned().collect()
        }))
    })
}

#[cfg(test)]
mod tests;
