//! `hardnetd bench`: how fast models run on this machine.

use std::io;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::model::{json, print, table};
use super::{Error, choice, size};
use crate::bench::{
    BenchOptions, Host, PreprocessRow, Report, Row, StageRow, StageTime, measure, preprocess, serve, stages,
};
use crate::choice::{BackendChoice, IsaChoice, MemoryMode};
use crate::exit::chain;
use crate::kernels::runtime::Threads;
use crate::plural::counted;
use crate::printable::line;
use crate::system::affinity;

/// Maximum time per row, in seconds.
const MAX_SECONDS: f64 = 86_400.0;

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
hardnetd times inference alone, on a reproducible input; preparing pictures is not included. Rows run in turns of a \
quarter of a second each, so that other load on the machine slows all of them alike. --model, --backend, --isa and \
--memory can be repeated: every combination is measured. An instruction set that the processor does not have is left \
out, with a warning.

Load time includes computing the weights of models without a file. Timing starts when the weights have settled in \
memory. `% of peak` compares with a tight loop of multiply-adds that runs between the rounds, with the row's \
instruction set, or the best one of the machine if the backend chooses its own. It counts the multiplications of \
direct convolution; the algorithms of Winograd and Strassen need fewer, so it can be above 100. Peak memory is that of the whole \
process: measure a row alone to get its own. Measuring memory bandwidth takes several times the size of the last \
cache: it is measured only with --stages, or if the models take as much memory themselves.

--stages compiles the network up to the end of each module, keeps all of them in memory, and runs them in turns, \
each for --seconds. The time of a module is the DIFFERENCE of two medians: it contains the noise of both and can be \
negative. Work that the backend fuses across the end of a module counts where it first appears.

--preprocess measures, instead of models, how NV12 pictures of 640x480 to 3840x2160 become an input of 224x224: in one \
pass; with GStreamer's videoconvertscale; and with full-size RGB and the crate fast_image_resize. `Floor` is the time for \
reading the bytes on which the input depends, once. All pictures are read from memory outside the caches.

Examples:
  hardnetd bench
  hardnetd bench --model hardnet68 --size 320x256 --seconds 20
  hardnetd bench --model hardnet39ds --stages
  hardnetd bench --preprocess --seconds 2
  hardnetd bench --json > bench.json")]
pub(super) struct Arguments {
    /// Model: signal, hardnet39ds, hardnet68ds, hardnet68, hardnet85, or a model file; several times for several [default:
    /// the four published ones].
    #[arg(short, long, value_name = "M")]
    model: Vec<String>,
    /// What runs the network; tract only if built in [default: auto].
    #[arg(long, value_name = "B", value_parser = choice::<BackendChoice>())]
    backend: Vec<BackendChoice>,
    /// Instruction set of the native engine [default: auto].
    #[arg(long, value_name = "I", value_parser = choice::<IsaChoice>())]
    isa: Vec<IsaChoice>,
    /// Trade memory for speed: fast, or lean (less memory, slower) [default: fast].
    #[arg(long, value_name = "MEM", value_parser = choice::<MemoryMode>())]
    memory: Vec<MemoryMode>,
    /// Threads that one inference runs on.
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Rows and columns of the input, such as 320x256 [default: the model's own].
    #[arg(long, value_name = "HxW", value_parser = size)]
    size: Option<[usize; 2]>,
    /// Seconds per row, excluding warm-up.
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    seconds: Duration,
    /// Show where the time goes, module by module.
    #[arg(long)]
    stages: bool,
    /// Measure the way from a camera's picture to the input, instead of models.
    #[arg(long, conflicts_with_all = ["model", "backend", "memory", "threads", "size", "stages", "slices"])]
    preprocess: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Run slices on request of another program, such as benches/peers, whose README describes the exchange.
    #[arg(long, hide = true, conflicts_with_all = ["stages", "json", "seconds"])]
    slices: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok().filter(|number| *number > 0.0 && *number <= MAX_SECONDS);
    number.map(Duration::from_secs_f64).ok_or_else(|| format!("expected seconds above 0, at most {MAX_SECONDS}"))
}

/// Threads pinned to separate cores, including the calling one; a single one is not pinned.
fn threads(count: usize) -> Result<Threads, Error> {
    if count == 1 {
        return Ok(Threads::one());
    }
    let cores = affinity::allowed().map_err(Error::Affinity)?;
    if count > cores.len() {
        return Err(Error::FewCores { threads: count, cores });
    }
    affinity::confine(&cores[..1]).map_err(Error::Affinity)?;
    Ok(Threads::new(count, move |number| {
        if let Err(error) = affinity::confine(&cores[number..=number]) {
            tracing::warn!(thread = number, "{}", chain(&error));
        }
    }))
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    // Before this thread is pinned.
    let cores = affinity::allowed().map_err(Error::Affinity)?.len();
    let options = BenchOptions {
        cores,
        models: arguments.model.clone(),
        backends: arguments.backend.clone(),
        isas: arguments.isa.clone(),
        threads: threads(arguments.threads.into())?,
        memories: arguments.memory.clone(),
        size: arguments.size,
        time: arguments.seconds,
    };
    if arguments.slices {
        return Ok(serve(&options, &mut io::stdin().lock(), &mut io::stdout().lock())?);
    }
    let bar = ProgressBar::no_length();
    let style = ProgressStyle::with_template("{bar:30} {percent} %, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut progress = |done: Duration, all: Duration| {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        bar.set_length(milliseconds(all));
        bar.set_position(milliseconds(done));
    };
    if arguments.preprocess {
        let isa = arguments.isa.first().copied().unwrap_or_default();
        let report = preprocess(isa, cores, arguments.seconds, &mut progress);
        bar.finish_and_clear();
        let report = report?;
        return if arguments.json { json(&report) } else { print(&show_preprocess(&report)) };
    }
    if arguments.stages {
        let report = stages(&options, &mut progress);
        bar.finish_and_clear();
        let report = report?;
        return if arguments.json { json(&report) } else { print(&show_stages(&report)) };
    }
    let report = measure(&options, &mut progress);
    bar.finish_and_clear();
    let report = report?;
    if arguments.json { json(&report) } else { print(&show(&report)) }
}

fn show(report: &Report<Row>) -> String {
    let mut table = table([
        "Model",
        "Backend",
        "ISA",
        "Memory",
        "Threads",
        "Input",
        "Median ms",
        "Least ms",
        "90 % ms",
        "Runs",
        "GMAC",
        "GMAC/s",
        "% of peak",
        "Load ms",
    ]);
    let known = |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    for row in &report.rows {
        let [height, width] = row.size;
        table.add_row([
            line(&row.model).into_owned(),
            row.backend.to_string(),
            row.isa.to_string(),
            row.memory.map_or("-", MemoryMode::name).to_owned(),
            row.threads.to_string(),
            format!("{height}x{width}"),
            format!("{:.3}", row.median_ms),
            format!("{:.3}", row.min_ms),
            format!("{:.3}", row.p90_ms),
            row.runs.to_string(),
            known(row.gmac, 3),
            known(row.gmacs_per_s, 1),
            known(row.percent_of_peak, 1),
            format!("{:.0}", row.load_ms),
        ]);
    }
    let mut peaks: Vec<String> = Vec::new();
    for Row { fma_peak_gflops, peak_isa, .. } in &report.rows {
        let peak = format!("{fma_peak_gflops:.1} GFLOP/s with {peak_isa}");
        if !peaks.contains(&peak) {
            peaks.push(peak);
        }
    }
    // All rows share the same machine and the same process.
    let memory = known(report.rows.first().and_then(|row| row.peak_memory_mb), 1);
    let (host, peaks) = (show_host(&report.host), peaks.join(", "));
    format!("{host}\npeak: {peaks}\n\n{table}\n\npeak memory of the process: {memory} MB")
}

fn show_stages(report: &Report<StageRow>) -> String {
    let mut text = show_host(&report.host);
    for row in &report.rows {
        let StageRow { model, backend, isa, memory, size: [height, width], stages, .. } = row;
        let memory = memory.map(|memory| format!(", {memory}")).unwrap_or_default();
        let mut table = table(["Module", "Output", "GMAC", "Until ms", "Difference ms", "% of all", "Runs"]);
        let all = stages.last().map_or(f64::NAN, |stage| stage.until_ms);
        for StageTime { name, output: [channels, rows, columns], gmac, until_ms, difference_ms, runs } in stages {
            table.add_row([
                line(name).into_owned(),
                format!("{channels}x{rows}x{columns}"),
                format!("{gmac:.3}"),
                format!("{until_ms:.3}"),
                format!("{difference_ms:.3}"),
                format!("{:.1}", difference_ms / all * 100.0),
                runs.to_string(),
            ]);
        }
        let model = line(model);
        text +=
            &format!("\n\n{model} on {backend} ({isa}{memory}) at {height}x{width}, differences of medians\n{table}");
    }
    text
}

fn show_preprocess(report: &Report<PreprocessRow>) -> String {
    let mut table = table([
        "Picture",
        "ISA",
        "One pass ms",
        "videoconvertscale ms",
        "RGB + resize ms",
        "Floor ms",
        "Of the faster",
        "Of the floor",
        "Runs",
    ]);
    for row in &report.rows {
        let [width, height] = row.size;
        table.add_row([
            format!("{width}x{height} {}", row.format),
            row.isa.to_string(),
            format!("{:.3}", row.fused_ms),
            format!("{:.3}", row.videoconvertscale_ms),
            row.rgb_fast_image_resize_ms.map_or("-".to_owned(), |time| format!("{time:.3}")),
            format!("{:.3}", row.floor_ms),
            format!("{:.2}", row.of_faster_peer),
            format!("{:.1}", row.of_floor),
            row.runs.to_string(),
        ]);
    }
    format!("{}\n\n{table}", show_host(&report.host))
}

/// Processor and memory in one line.
fn show_host(host: &Host) -> String {
    let Host { cpu, cores, isa, memory_read_gb_s, memory_copy_gb_s, .. } = host;
    let isa: Vec<&str> = isa.iter().map(|isa| isa.name()).collect();
    let memory = match (memory_read_gb_s, memory_copy_gb_s) {
        (Some(read), Some(copy)) => format!("; memory of one core: read {read:.1} GB/s, copy {copy:.1} GB/s"),
        _ => String::new(),
    };
    let cores = counted(*cores, "core", "cores");
    format!("{}, {cores}, {}{memory}", line(cpu.as_deref().unwrap_or("unknown processor")), isa.join(" "))
}
