//! The command line: one file per subcommand. Arguments, progress and tables; no logic.

mod bench;
mod camera;
mod classify;
mod completions;
mod config;
mod doctor;
mod eval;
mod features;
mod interrupt;
mod journal;
mod lines;
mod logging;
mod man;
mod measure;
mod model;
mod run;
mod teach;
#[cfg(feature = "train")]
mod train;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use indicatif::{ProgressState, ProgressStyle};

use crate::choice::{BackendChoice, Choice, IsaChoice, MemoryMode};
use crate::config::{MAX_FPS, MIN_FPS, SIDES, parse_mean, parse_size, parse_std, redact, redact_words};
use crate::exit::{Exit, chain};
use crate::inference::{self, Engine};
use crate::learn::stream::StreamError;
use crate::model::{FetchError, Model, ModelOptions, Preprocessing, built_in};
use crate::system::affinity;
use crate::{capture, preprocess, printable, service};

const EXAMPLES: &str = "\
Examples:
  hardnetd run --source test:smpte --frames 100    classify a test stream, print JSON Lines
  hardnetd run -c /etc/hardnetd/hardnetd.toml      what the service runs
  hardnetd classify photo.jpg                      classify a picture
  hardnetd teach --data gate --output gate.safetensors    learn classes of your own
  hardnetd config default > hardnetd.toml          start a configuration of your own
  hardnetd doctor                                  find problems and their remedies

Exit codes: 0 success, 64 wrong usage, 65 unusable data, 66 missing input, 69 unavailable, \
70 internal error, 74 input or output failed, 75 stopped by a signal before the end, 77 permission denied, 78 wrong configuration, \
128 + n ended by a second signal n.";

/// Classifies camera streams on small computers with HarDNet.
#[derive(Debug, Parser)]
#[command(name = "hardnetd", version, max_term_width = 100, after_help = EXAMPLES, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    verbosity: Verbosity,
}

#[derive(Debug, Args)]
struct Verbosity {
    /// Log more: -v for debug, -vv for everything. $HARDNETD_LOG overrides it (such as "warn,hardnetd=debug").
    // Behind the options of each command.
    #[arg(short, long, global = true, display_order = 900, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Log warnings and errors only.
    #[arg(short, long, global = true, display_order = 901, conflicts_with = "verbose")]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: streams in, classifications out.
    Run(run::Arguments),
    /// Classify pictures: JPEG, PNG, WebP, BMP, GIF, TIFF.
    Classify(classify::Arguments),
    /// Measure the accuracy of a model on labelled pictures.
    Eval(eval::Arguments),
    /// Teach a model new classes with tens of pictures of your own, on this machine.
    Teach(teach::Arguments),
    /// Print the features of pictures or of a stream, for clustering and searching.
    Features(features::Arguments),
    /// Measure how fast models run on this machine.
    Bench(bench::Arguments),
    /// Measure latency and power in the field, from the source to the result.
    Measure(measure::Arguments),
    /// List, describe, fetch, import, export and verify models.
    Model(model::Arguments),
    /// Train a network on pictures of your own, from scratch or from weights.
    #[cfg(feature = "train")]
    Train(train::Arguments),
    /// Print or check the configuration.
    Config(config::Arguments),
    /// Check the machine, the configuration, the broker and the cameras, and suggest remedies.
    Doctor(doctor::Arguments),
    /// Print a completion script for a shell.
    Completions(completions::Arguments),
    /// Write the man pages.
    #[command(hide = true)]
    Man(man::Arguments),
}

/// The option that names the configuration file.
#[derive(Debug, Args)]
struct ConfigFile {
    /// Configuration file [default: /etc/hardnetd/hardnetd.toml if it exists]; conf.d/*.toml beside it is read too.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The options that choose a model and change it.
#[derive(Debug, Args)]
struct ModelChoice {
    /// Model: signal, hardnet39ds, hardnet68ds, hardnet68, hardnet85, or a model file.
    #[arg(short, long, value_name = "M", default_value = built_in::NAME)]
    model: String,
    /// Text file with one label per line, instead of the model's own labels.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Rows and columns of the network's input, such as 320x256, instead of the model's own.
    #[arg(long, value_name = "HxW", value_parser = size)]
    size: Option<[usize; 2]>,
    /// Output with the scores, of an ONNX file with several, instead of the first with a row of values.
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// Mean of R, G and B, of 0 to 1, such as 0.5,0.5,0.5, instead of the model's own or ImageNet's.
    #[arg(long, value_name = "R,G,B", value_parser = mean)]
    mean: Option<[f32; 3]>,
    /// Standard deviation of R, G and B, above 0, at most 1, instead of the model's own or ImageNet's.
    #[arg(long, value_name = "R,G,B", value_parser = deviation)]
    std: Option<[f32; 3]>,
    /// Share of the resized picture's shorter side that the input takes, such as 0.875, instead of the model's own.
    #[arg(long, value_name = "R", value_parser = ratio)]
    crop_ratio: Option<f64>,
    #[command(flatten)]
    engine: EngineChoice,
}

/// The options that say how a network is run.
#[derive(Debug, Clone, Copy, Args)]
struct EngineChoice {
    /// What runs the network; auto: the native engine, or tract (if built in) for networks that it does not support.
    #[arg(long, value_name = "B", default_value = "auto", value_parser = choice::<BackendChoice>())]
    backend: BackendChoice,
    /// Instruction set of the native engine; auto: the best that the processor has.
    #[arg(long, value_name = "I", default_value = "auto", value_parser = choice::<IsaChoice>())]
    isa: IsaChoice,
    /// Trade memory for speed: fast, or lean (less memory, slower).
    #[arg(long, value_name = "MEM", default_value = "fast", value_parser = choice::<MemoryMode>())]
    memory: MemoryMode,
}

impl From<EngineChoice> for Engine {
    fn from(EngineChoice { backend, isa, memory }: EngineChoice) -> Self {
        Self { backend, isa, memory }
    }
}

/// Parses a word of a choice. Help and messages list the words.
fn choice<T: Choice>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::WORDS).try_map(|word| word.parse::<T>())
}

impl ModelChoice {
    fn load(&self) -> Result<Model, crate::model::Error> {
        let engine = self.engine.into();
        let (size, crop_ratio) = (self.size, self.crop_ratio);
        let preprocessing = Preprocessing { mean: self.mean, std: self.std, crop_ratio, size: None };
        let (labels, output) = (self.labels.clone(), self.output.clone());
        Model::load(&self.model, &ModelOptions { labels, size, output, preprocessing, region: None, engine })
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.1..=1.0).contains(ratio));
    ratio.ok_or_else(|| "expected a number from 0.1 to 1, such as 0.875".into())
}

fn mean(text: &str) -> Result<[f32; 3], String> {
    let expected =
        || "expected three numbers from 0 to 1, such as 0.485,0.456,0.406 (125 of 255 is 0.49), or one for all";
    parse_mean(text).ok_or_else(|| expected().into())
}

fn deviation(text: &str) -> Result<[f32; 3], String> {
    let expected = || "expected three numbers above 0, at most 1, such as 0.229,0.224,0.225, or one for all";
    parse_std(text).ok_or_else(|| expected().into())
}

/// Frames per second, as an argument.
fn frames_per_second(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| *number == 0.0 || (MIN_FPS..=MAX_FPS).contains(number));
    number.ok_or_else(|| format!("expected a number from {MIN_FPS} to {MAX_FPS}, or 0"))
}

fn size(text: &str) -> Result<[usize; 2], String> {
    let (least, most) = (SIDES.start(), SIDES.end());
    parse_size(text).ok_or_else(|| format!("expected rows and columns from {least} to {most}, such as 224x224"))
}

/// What a model is worth that is not certainly better than naming the largest class, which is right in `chance` percent.
fn worth(right: u64, pictures: u64, chance: f64) -> &'static str {
    match 100.0 * right as f64 / pictures.max(1) as f64 > chance {
        true => "these are too few pictures to tell whether it is better than chance",
        false => "it is no better than chance",
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is wrong; clap has already reported it.
    #[error("wrong usage")]
    Usage,
    /// An argument is wrong.
    #[error("{0}")]
    Argument(String),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] crate::config::Error),
    /// GStreamer is unusable.
    #[error(transparent)]
    Capture(#[from] capture::Error),
    /// The model cannot be run.
    #[error(transparent)]
    Inference(#[from] inference::Error),
    /// The model cannot be loaded.
    #[error(transparent)]
    Model(#[from] crate::model::Error),
    /// Threads cannot be pinned.
    #[error(transparent)]
    Affinity(affinity::Error),
    /// There are fewer cores than threads.
    #[error("--threads {threads} needs as many cores, and this process may use {cores:?}")]
    FewCores {
        /// The number of threads.
        threads: usize,
        /// The available cores.
        cores: Vec<u32>,
    },
    /// The results of the model are wrong.
    #[error("{model} differs by more than {tolerance:e}, first at {first}")]
    Differs {
        /// Name of the model.
        model: String,
        /// The maximum tolerated difference.
        tolerance: f64,
        /// The first module that differs.
        first: String,
    },
    /// Published weights cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A model cannot be written to a file.
    #[error(transparent)]
    Save(#[from] crate::model::SaveError),
    /// A picture cannot be prepared.
    #[error(transparent)]
    Preprocess(#[from] preprocess::Error),
    /// The daemon does not start, or did not end well.
    #[error(transparent)]
    Service(#[from] service::Error),
    /// The accuracy cannot be measured.
    #[error(transparent)]
    Eval(#[from] crate::eval::Error),
    /// Features cannot be computed.
    #[error(transparent)]
    Features(#[from] crate::learn::features::Error),
    /// A model cannot be taught.
    #[error(transparent)]
    Teach(#[from] crate::learn::teach::Error),
    /// Pictures cannot be collected.
    #[error(transparent)]
    Collect(crate::learn::teach::collect::CollectError),
    /// Pictures cannot be compared with taught ones.
    #[error(transparent)]
    Drift(#[from] crate::learn::teach::drift::DriftError),
    /// A taught model is no better than chance.
    #[error(
        "the model is not saved: {}. Cross-validation gets {right} of {pictures} pictures right, and naming the largest class \
         for every picture would get {chance:.0} % of them",
        worth(*right, *pictures, *chance)
    )]
    Chance {
        /// Pictures that cross-validation gets right.
        right: u64,
        /// All pictures.
        pictures: u64,
        /// The share of the largest class, in percent.
        chance: f64,
    },
    /// A source has no frames, or no more.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// Speed cannot be measured.
    #[error(transparent)]
    Bench(#[from] crate::bench::Error),
    /// Nothing can be measured in the field, or it ended early.
    #[error(transparent)]
    Measure(#[from] crate::measure::Error),
    /// A network cannot be trained.
    #[cfg(feature = "train")]
    #[error(transparent)]
    Train(#[from] crate::learn::train::error::Error),
    /// A signal has stopped the work.
    #[error("stopped by a signal")]
    Stopped,
    /// Something is wrong with the machine or the configuration; the details have been printed.
    #[error("{errors} of {checks} checks found an error")]
    ChecksFailed {
        /// Number of checks that found an error.
        errors: usize,
        /// Number of checks.
        checks: usize,
        /// The exit code for the errors.
        exit: Exit,
    },
    /// Signals cannot be caught.
    #[error("cannot catch signals")]
    Signals(#[source] io::Error),
    /// A folder of man pages cannot be written.
    #[error("cannot write man pages to {folder}")]
    ManPages {
        /// The folder.
        folder: String,
        /// What the system says.
        source: io::Error,
    },
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// Some models could not be listed; each has been reported.
    #[error("{failed} of {total} models cannot be listed")]
    Models {
        /// Models that failed.
        failed: usize,
        /// Models there were.
        total: usize,
        /// The exit code of the first failure.
        exit: Exit,
    },
    /// The only picture could not be classified.
    #[error("{message}")]
    Picture {
        /// What is wrong with it.
        message: String,
        /// The exit code of the failure.
        exit: Exit,
    },
    /// Some pictures could not be used; each has been reported.
    #[error("{failed} of {total} pictures cannot be used")]
    Pictures {
        /// Pictures that failed.
        failed: usize,
        /// Number of pictures.
        total: usize,
        /// The exit code of the first failure.
        exit: Exit,
    },
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage | Self::Argument(_) => Exit::Usage,
            Self::Config(error) => error.exit(),
            Self::Capture(source) => source.exit(),
            Self::Inference(error) => error.exit(),
            Self::Model(error) => error.exit(),
            Self::Affinity(_) => Exit::Unavailable,
            Self::FewCores { .. } => Exit::Usage,
            Self::Fetch(error) => error.exit(),
            Self::Save(error) => error.exit(),
            Self::Preprocess(_) | Self::Differs { .. } => Exit::Data,
            Self::Service(error) => error.exit(),
            Self::Eval(error) => error.exit(),
            Self::Features(error) => error.exit(),
            Self::Teach(error) => error.exit(),
            Self::Collect(error) => error.exit(),
            Self::Drift(error) => error.exit(),
            Self::Chance { .. } => Exit::Data,
            Self::Stream(error) => error.exit(),
            Self::Bench(error) => error.exit(),
            Self::Measure(error) => error.exit(),
            #[cfg(feature = "train")]
            Self::Train(error) => error.exit(),
            Self::Stopped => Exit::Stopped,
            Self::Signals(_) => Exit::Internal,
            Self::Output(_) | Self::ManPages { .. } => Exit::Io,
            Self::Picture { exit, .. }
            | Self::Pictures { exit, .. }
            | Self::Models { exit, .. }
            | Self::ChecksFailed { exit, .. } => *exit,
        }
    }

    /// The error and its causes in printable form: on one line, except for the problems of a configuration, which have
    /// a line each. `None` if it has already been printed. `arguments` are those of the program, which it may quote.
    #[must_use]
    pub fn message(&self, arguments: &[OsString]) -> Option<String> {
        let hint = || self.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        let shown = |text: String| redact_words(&without_logins(text, arguments)).into_owned();
        match self {
            Self::Usage => None,
            Self::Config(_) | Self::Service(service::Error::Config(_)) => Some(printable::block(&shown(chain(self)))),
            _ => Some(printable::line(&shown(chain(self) + &hint())).into_owned()),
        }
    }

    /// What to change on the command line, whose options the lower layers do not know.
    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Model(crate::model::Error::Head { .. }) => "--new-head leaves it out",
            Self::Model(crate::model::Error::NoHead { .. }) => "name it with --classes N or --labels FILE",
            Self::Save(crate::model::SaveError::Exists { .. }) => "--force overwrites it",
            Self::Fetch(FetchError::Unpublished { name }) if name.contains('/') => {
                "an address or a file goes after --from, behind the name of the model"
            }
            Self::Fetch(FetchError::Download(error)) if error.exit() == Exit::Unavailable => {
                "you can also download the file on another machine and name it with --source and --from"
            }
            Self::Fetch(FetchError::Digest { .. }) => "--source says where a file was published",
            Self::Bench(crate::bench::Error::FixedIsa { .. }) => "leave --isa out",
            Self::Bench(crate::bench::Error::FixedMemory { .. }) => "leave --memory out",
            Self::Bench(crate::bench::Error::OneThread { .. }) => "leave --threads out",
            Self::Eval(crate::eval::Error::Dataset(crate::eval::DatasetError::Folders { .. })) => {
                "--list names the list"
            }
            Self::Chance { .. } => {
                "look at the region and for pictures in the wrong folder, add more, or save it all the same with --force"
            }
            Self::Stream(StreamError::Source { source, .. }) if matches!(**source, capture::Error::Silent { .. }) => {
                "--timeout changes the limit"
            }
            _ => return None,
        })
    }
}

/// The style of a progress bar: `template`, in which `{rate}` are the steps per second.
fn progress_style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
        // A bar that cannot be shown is left out.
        let _ = write!(out, "{:.1}/s", state.per_sec());
    })
}

/// How printing went. A reader that has gone has had enough, as `head` has.
fn printed(outcome: io::Result<()>) -> Result<(), Error> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.map_err(Error::Output),
    }
}

/// The text with each argument in it redacted: a password may contain spaces and quotes.
fn without_logins(text: String, arguments: &[OsString]) -> String {
    let arguments = arguments.iter().skip(1).filter_map(|argument| argument.to_str());
    let values = arguments.map(|argument| match argument.strip_prefix("--").and_then(|flag| flag.split_once('=')) {
        Some((_, value)) => value,
        None => argument,
    });
    values.fold(text, |text, value| {
        let shown = redact(value);
        if shown == value { text } else { text.replace(value, &shown) }
    })
}

/// Names the option for a value without one, such as a source or a file.
fn suggest_option(error: &mut clap::Error, arguments: &[OsString]) {
    const OPTIONS: [(&str, &str); 6] = [
        ("run", "--source"),
        ("eval", "--images"),
        ("bench", "--model"),
        ("teach", "--data"),
        ("config", "--config"),
        ("doctor", "--config"),
    ];
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidArg) else { return };
    if error.kind() != ErrorKind::UnknownArgument || value.starts_with('-') {
        return;
    }
    let command = arguments.iter().skip(1).find(|argument| !argument.to_string_lossy().starts_with('-'));
    if let Some((_, option)) = OPTIONS.iter().find(|(name, _)| command.is_some_and(|command| command == name)) {
        let tip = format!("use '{option} {value}'").into();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
}

/// The command line, from which help, man pages and completions are generated.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the arguments, the first of which is the program's name, and runs the command.
///
/// # Errors
/// Any error of the command.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            if !error.use_stderr() {
                return printed(error.print());
            }
            // The error quotes arguments, which may come from file names expanded by a shell.
            let quotes = arguments.iter().map(|argument| printable::line(&argument.to_string_lossy()).into_owned());
            let mut error = Cli::try_parse_from(quotes).err().unwrap_or(error);
            suggest_option(&mut error, &arguments);
            // Misplaced text may be an address with a password.
            let text = error.render();
            let coloured = io::stderr().is_terminal() && logging::colour();
            let text = if coloured { text.ansi().to_string() } else { text.to_string() };
            let text = without_logins(text, &arguments);
            let _ = io::stderr().write_all(redact_words(&text).as_bytes());
            return Err(Error::Usage);
        }
    };
    let _log = logging::start(&cli.verbosity, matches!(cli.command, Command::Run(_)));
    inference::tract::silence_caught_panics();
    match cli.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Classify(arguments) => classify::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Teach(arguments) => teach::run(&arguments),
        Command::Features(arguments) => features::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Measure(arguments) => measure::run(&arguments),
        Command::Model(arguments) => model::run(&arguments),
        #[cfg(feature = "train")]
        Command::Train(arguments) => train::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    }
}
