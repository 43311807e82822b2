//! `hardnetd measure`: latency and power in the field.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::ProgressBar;

use super::run::sources;
use super::{ConfigFile, Error, interrupt, printed, progress_style};
use crate::config::{Flag, FlagValue};
use crate::frame::monotonic_ns;
use crate::measure::analysis::analyse;
use crate::measure::environment::{Environment, Limits};
use crate::measure::instruments::Instruments;
use crate::measure::journal::{self, Line, Phase, SCHEMA, Writer};
use crate::measure::protocol::{Plan, Progress, Schedule, Session};
use crate::measure::report::{Measured as File, csv, html, markdown};
use crate::measure::sample::Sample;
use crate::plural::counted;
use crate::printable::line;
use crate::replace::{self, replace};
use crate::service::{Measured, Order};
use crate::system::affinity;
use crate::system::host::{Host, device_name, kernel};
use crate::{capture, measure};

/// Arguments of `measure`.
#[derive(Debug, Args)]
#[command(after_help = "\
`run` measures a configuration as it works in the field, from the source to the result: a minute idle, a minute of \
capturing without inference, a warm-up until the temperature has settled, five windows of a minute, a minute idle. The \
figures are medians of the valid windows. A window is not valid if the machine was throttled, a governor changed, a source \
was reopened, the sensor was silent, the clock was set, idle power differs before and after, or other programs took \
processor time; the report says which.

Everything goes to one file of JSON Lines, from which `report` computes every figure again. A measurement that was stopped \
or killed leaves a file that can be read up to its last whole line. Files and test patterns are played without an end.

Which sensors a machine has: `hardnetd doctor`. Calibration and an external meter: [power] in the configuration.

Examples:
  hardnetd measure run -c /etc/hardnetd/hardnetd.toml
  hardnetd measure run --quick --source test:ball --model hardnet39ds
  hardnetd measure baseline -c /etc/hardnetd/hardnetd.toml
  hardnetd measure report pi4.jsonl pi5.jsonl --html report.html --csv windows.csv")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure the machine idle, and capturing without inference.
    Baseline(Workload),
    /// Measure a configuration: idle, capturing, warm-up, five windows, idle.
    Run(Workload),
    /// Show the figures of measurements: as Markdown, as a page for browsers, as CSV.
    Report(Report),
}

/// What is measured, and how long.
#[derive(Debug, Args)]
struct Workload {
    #[command(flatten)]
    file: ConfigFile,
    /// Where frames come from, instead of the configured streams; can be repeated.
    #[arg(short, long, value_name = "URI")]
    source: Vec<String>,
    /// Model of the streams that name none: signal, hardnet39ds, hardnet68ds, hardnet68, hardnet85, or a model file.
    #[arg(short, long, value_name = "M")]
    model: Option<String>,
    /// Threads that one inference takes.
    #[arg(long, value_name = "N")]
    threads: Option<i64>,
    /// Half a minute with low demands, to try things out; the report says so.
    #[arg(long)]
    quick: bool,
    /// The file that everything goes to, which must not exist [default: hardnetd-measure-TIME.jsonl].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The tables are printed as Markdown. The page of --html needs nothing but itself: it loads nothing, has no script, and can be \
sent, read on a telephone and printed. It shows several measurements side by side: what a result costs, how long inferences \
take, latency against energy, power, temperature and frequency over time, and every window with its verdict. Each figure \
names the time and the number of samples that it comes from.

Examples:
  hardnetd measure report measurement.jsonl
  hardnetd measure report pi4.jsonl pi5.jsonl --html report.html
  hardnetd measure report measurement.jsonl --csv windows.csv --json")]
struct Report {
    /// Files of measurements, which are shown side by side.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also write a page for browsers and for paper. An existing file is replaced.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also write the figures of every window as CSV. An existing file is replaced.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    match &arguments.command {
        Command::Baseline(workload) => observe(workload, &Schedule::Baseline),
        Command::Run(workload) => observe(workload, &Schedule::Points(vec![0])),
        Command::Report(arguments) => report(arguments),
    }
}

fn observe(workload: &Workload, schedule: &Schedule) -> Result<(), Error> {
    let stopped = interrupt::install()?;
    let mut flags: Vec<Flag> = sources(&workload.source, None, None).into_iter().collect();
    let mut set = |name, key, value| flags.push(Flag { name, key, value });
    if let Some(model) = &workload.model {
        set("--model", "model.name", FlagValue::Text(model.clone()));
    }
    if let Some(threads) = workload.threads {
        set("--threads", "inference.threads", FlagValue::Integer(threads));
    }
    let order = Order { file: workload.file.config.clone(), flags, ..Order::default() };
    let config = order.load()?.config;
    capture::init()?;
    let cores = affinity::allowed().map_err(Error::Affinity)?;
    let mut measured = Measured::new(vec![order]);
    let point = measured.describe(0, "run")?;
    let mut instruments = Instruments::new(&config.power, Arc::clone(measured.registry()), cores);
    let rails = instruments.rails();
    let host = Host::here();
    let environment = Environment {
        schema: SCHEMA.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: jiff::Timestamp::now().to_string(),
        started_ns: monotonic_ns(),
        device: device_name(&config.device.name),
        board: host.board(),
        cpu: host.processor(),
        kernel: kernel(),
        quick: workload.quick,
        limits: if workload.quick { Limits::quick() } else { Limits::full() },
        points: vec![point],
        rails,
        absent: instruments.absent().map(|(what, why)| (what.to_owned(), why.to_owned())).collect(),
    };
    let path = workload.output.clone().unwrap_or_else(|| {
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        PathBuf::from(format!("hardnetd-measure-{time}.jsonl"))
    });
    let mut writer = Writer::create(&path).map_err(measure::Error::from)?;
    writer.write(&Line::Environment(Box::new(environment))).map_err(measure::Error::from)?;
    let plan = if workload.quick { Plan::quick() } else { Plan::full() };
    let mut progress = Bar::new();
    let outcome = Session {
        plan,
        load: &mut measured,
        instruments: &mut instruments,
        writer: &mut writer,
        progress: &mut progress,
        stopped: &stopped,
    }
    .run(schedule);
    progress.bar.finish_and_clear();
    tracing::info!("everything is in {}", line(&path.to_string_lossy()));
    let file = read(&path)?;
    printed(io::Write::write_all(&mut io::stdout(), markdown(&[file]).as_bytes()))?;
    Ok(outcome?)
}

fn read(path: &Path) -> Result<File, Error> {
    let recording = journal::read(path).map_err(measure::Error::from)?;
    let analysis = analyse(&recording);
    Ok(File { file: path.display().to_string(), recording, analysis })
}

fn report(arguments: &Report) -> Result<(), Error> {
    // Before anything is written.
    let outputs = [("--html", &arguments.html), ("--csv", &arguments.csv)];
    for (flag, path) in outputs.iter().filter_map(|(flag, path)| Some((flag, path.as_ref()?))) {
        let is_same = |other: &&PathBuf| same(other, path);
        if let Some(file) = arguments.files.iter().find(is_same) {
            return Err(Error::Argument(format!("{flag} {}: it would replace the measurement", file.display())));
        }
        replace::check(path).map_err(|source| unwritten(path, source))?;
    }
    if let (Some(html), Some(csv)) = (&arguments.html, &arguments.csv)
        && same(html, csv)
    {
        return Err(Error::Argument(format!("--html and --csv both name {}", html.display())));
    }
    let files = arguments.files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = &arguments.html {
        let page = html(&files).map_err(|error| unwritten(path, io::Error::other(error)))?;
        replace(path, |file| io::Write::write_all(file, page.as_bytes())).map_err(|source| unwritten(path, source))?;
    }
    if let Some(path) = &arguments.csv {
        let written = replace(path, |file| csv(&files, io::BufWriter::new(file)).map_err(io::Error::from));
        written.map_err(|source| unwritten(path, source))?;
    }
    let text = if arguments.json {
        let figures: Vec<_> =
            files.iter().map(|file| (&file.file, &file.recording.environment, &file.analysis)).collect();
        let objects = figures.into_iter().map(|(file, environment, figures)| {
            serde_json::json!({ "file": file, "environment": environment, "figures": figures })
        });
        format!("{}\n", serde_json::Value::Array(objects.collect()))
    } else {
        markdown(&files)
    };
    printed(io::Write::write_all(&mut io::stdout(), text.as_bytes()))
}

/// Whether two names are those of the same file; a file that does not exist has one name.
fn same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

fn unwritten(path: &Path, source: io::Error) -> Error {
    measure::Error::Write { path: path.to_owned(), source }.into()
}

/// The progress on a terminal, or a line of the log for each phase.
struct Bar {
    bar: ProgressBar,
}

impl Bar {
    fn new() -> Self {
        Self { bar: ProgressBar::no_length().with_style(progress_style("{prefix:12} {bar:30} {eta} left  {msg}")) }
    }
}

impl Progress for Bar {
    fn phase(&mut self, phase: Phase, number: usize, time: Duration) {
        let name = match phase {
            Phase::Idle => "idle".to_owned(),
            Phase::Capture => "capturing".into(),
            Phase::WarmUp => "warm-up".into(),
            Phase::Window => format!("window {}", number + 1),
            Phase::Pause => "pause".into(),
        };
        if !io::stderr().is_terminal() {
            tracing::info!("{name}: {}", counted(time.as_secs(), "second", "seconds"));
        }
        self.bar.set_prefix(name);
        self.bar.set_length(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self.bar.set_position(0);
    }

    fn tick(&mut self, elapsed: Duration, sample: &Sample) {
        self.bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        let watts = sample.rails.first().copied().flatten().map(|watts| format!("{watts:.2} W")).unwrap_or_default();
        self.bar.set_message(watts);
    }
}
