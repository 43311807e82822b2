//! How fast models run on this machine. Several are measured side by side, in turns.
//!
//! In every round each row gets a slice of time, so that other activity on the machine slows all rows alike. Only
//! inference is timed, on the seeded input, without preparing pictures or ranking classes.

mod engine;
mod host;
pub mod peak;
mod preprocess;
mod sample;
mod slices;
mod stages;

use std::io;
use std::time::{Duration, Instant};

pub use host::Host;
pub use preprocess::{PreprocessRow, SCHEMA as PREPROCESS_SCHEMA, preprocess};
pub use slices::{Ready, Slice, serve};
pub use stages::{StageRow, StageTime, stages};

use crate::choice::{BackendChoice, IsaChoice, MemoryMode};
use crate::exit::Exit;
use crate::hardnet::ARCHITECTURES;
use crate::kernels;
use crate::kernels::runtime::Threads;
use crate::{inference, model};
use engine::Runner;
use sample::{Figures, Sample};
use serde::Serialize;

/// Schema of the JSON form of [`Report`].
pub const SCHEMA: &str = "hardnetd.bench.v1";

/// Schema of the JSON form of a report on stages.
pub const STAGES_SCHEMA: &str = "hardnetd.bench.stages.v1";

/// Time that a row runs before another has its turn.
const SLICE: Duration = Duration::from_millis(250);

/// Untimed runs for warming up: this many, or as many as fit into [`WARM_UP`].
const WARM_UP_RUNS: usize = 3;

/// Time after which a row is warm.
const WARM_UP: Duration = Duration::from_millis(300);

/// Why nothing can be measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The backend does not let the user choose the instruction set.
    #[error("tract chooses its instructions itself: {isa} is for the native engine")]
    FixedIsa {
        /// The requested instruction set.
        isa: IsaChoice,
    },
    /// The backend is single-threaded.
    #[error("tract runs on one thread: {threads} threads are for the native engine")]
    OneThread {
        /// The requested number of threads.
        threads: usize,
    },
    /// The backend has no memory modes.
    #[error("tract uses memory in its own way: {memory} is for the native engine")]
    FixedMemory {
        /// The requested memory mode.
        memory: MemoryMode,
    },
    /// Slices support a single row only.
    #[error("slices measure one row, and there are {rows}: name one model, backend, instruction set and memory mode")]
    Rows {
        /// Number of rows that the options produce.
        rows: usize,
    },
    /// A line on standard input is not a request for a slice.
    #[error("`{line}` on standard input is not a request: expected `run N`, N from 1 to {}", slices::MAX_RUNS)]
    Line {
        /// The line.
        line: String,
    },
    /// Standard input or output fails.
    #[error("cannot exchange slices over standard input and output")]
    Exchange(#[source] io::Error),
    /// The processor does not have the instruction set.
    #[error("this processor does not support {isa}")]
    NoSuchIsa {
        /// The requested instruction set.
        isa: IsaChoice,
    },
    /// A picture for measuring cannot be made.
    #[error(transparent)]
    Picture(#[from] crate::frame::Error),
    /// A picture cannot become an input.
    #[error(transparent)]
    Preprocess(#[from] crate::preprocess::Error),
    /// GStreamer cannot be used.
    #[error(transparent)]
    Capture(#[from] crate::capture::Error),
    /// A model cannot be loaded.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// A model cannot be run.
    #[error(transparent)]
    Inference(#[from] inference::Error),
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoSuchIsa { .. }
            | Self::FixedIsa { .. }
            | Self::FixedMemory { .. }
            | Self::OneThread { .. }
            | Self::Rows { .. } => Exit::Usage,
            Self::Line { .. } => Exit::Data,
            Self::Exchange(_) => Exit::Io,
            Self::Picture(_) | Self::Preprocess(_) => Exit::Internal,
            Self::Capture(error) => error.exit(),
            Self::Model(error) => error.exit(),
            Self::Inference(error) => error.exit(),
        }
    }
}

/// What to measure: every model on every backend with every instruction set and memory mode.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// Names of models, or model files; empty for the whole family.
    pub models: Vec<String>,
    /// Backends; empty for the default one.
    pub backends: Vec<BackendChoice>,
    /// Instruction sets; empty for the best one.
    pub isas: Vec<IsaChoice>,
    /// Trade-off between memory and speed; `None` for the default.
    pub memories: Vec<MemoryMode>,
    /// Threads per inference.
    pub threads: Threads,
    /// Cores that the process may use, of which the threads may have taken some for themselves.
    pub cores: usize,
    /// Rows and columns of the input, instead of the model's own.
    pub size: Option<[usize; 2]>,
    /// Time for each row, without warm-up.
    pub time: Duration,
}

/// A row before it is loaded.
#[derive(Debug, Clone)]
struct Combination {
    model: String,
    backend: BackendChoice,
    isa: IsaChoice,
    memory: MemoryMode,
    threads: Threads,
    size: Option<[usize; 2]>,
}

impl BenchOptions {
    fn rows(&self) -> Vec<Combination> {
        let family = || ARCHITECTURES.iter().map(|architecture| architecture.name.to_string()).collect();
        let models = if self.models.is_empty() { family() } else { self.models.clone() };
        let backends = if self.backends.is_empty() { &[BackendChoice::Auto][..] } else { &self.backends };
        let isas = if self.isas.is_empty() { &[IsaChoice::Auto][..] } else { &self.isas };
        let memories = if self.memories.is_empty() { &[MemoryMode::Fast][..] } else { &self.memories };
        let (threads, size) = (&self.threads, self.size);
        let mut rows = Vec::with_capacity(models.len() * backends.len() * isas.len() * memories.len());
        for model in models {
            for &backend in backends {
                for &isa in isas {
                    let of = |&memory| Combination {
                        model: model.clone(),
                        backend,
                        isa,
                        memory,
                        threads: threads.clone(),
                        size,
                    };
                    rows.extend(memories.iter().map(of));
                }
            }
        }
        rows
    }
}

impl BenchOptions {
    /// The rows that this processor can run, with a warning for each instruction set that it does not have; all of them if
    /// it can run none.
    ///
    /// # Errors
    /// A backend cannot do what is asked. It is refused before anything is loaded.
    fn possible(&self) -> Result<Vec<Combination>, Error> {
        let rows = self.rows();
        rows.iter().try_for_each(Combination::check)?;
        let (possible, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(Combination::is_possible);
        if possible.is_empty() {
            return Ok(others);
        }
        for isa in IsaChoice::ALL.iter().filter(|isa| others.iter().any(|row| row.isa == **isa)) {
            tracing::warn!("{isa} is left out: this processor does not support it");
        }
        Ok(possible)
    }
}

/// The results and the machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report<R> {
    /// [`SCHEMA`] or [`STAGES_SCHEMA`].
    pub schema: &'static str,
    /// The machine.
    pub host: Host,
    /// One per model, backend, instruction set and memory mode.
    pub rows: Vec<R>,
}

/// The speed of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Name of the model.
    pub model: String,
    /// The backend that ran it.
    pub backend: BackendChoice,
    /// The instruction set that it ran with; `auto` if the backend chooses and does not report it.
    pub isa: IsaChoice,
    /// Trade-off between memory and speed; `None` on other backends.
    pub memory: Option<MemoryMode>,
    /// Threads per inference.
    pub threads: usize,
    /// Rows and columns of the input.
    pub size: [usize; 2],
    /// Median run time in milliseconds.
    pub median_ms: f64,
    /// Minimum run time in milliseconds.
    pub min_ms: f64,
    /// 90th percentile of the run times in milliseconds.
    pub p90_ms: f64,
    /// Number of timed runs.
    pub runs: usize,
    /// 10⁹ multiply-accumulates per run; `None` for a network with unknown parts.
    pub gmac: Option<f64>,
    /// 10⁹ multiply-accumulates per second, based on the median.
    pub gmacs_per_s: Option<f64>,
    /// The instruction set of `fma_peak_gflops`: the row's own, or the machine's best one if the backend chooses.
    pub peak_isa: IsaChoice,
    /// Peak of multiply-adds in registers, times the number of threads, in 10⁹ floating-point operations per second.
    pub fma_peak_gflops: f64,
    /// Percentage of `fma_peak_gflops` reached at the median, counting a multiply-accumulate as two operations.
    pub percent_of_peak: Option<f64>,
    /// Milliseconds from the model's name until it is ready to run; includes computing seeded weights.
    pub load_ms: f64,
    /// Peak memory of the process with all rows loaded, in 10⁶ bytes; `None` if the system does not report it.
    pub peak_memory_mb: Option<f64>,
}

/// Progress of a measurement: time spent measuring, and the total time.
pub type Progress<'a> = &'a mut dyn FnMut(Duration, Duration);

/// Measures what `options` ask for, without the instruction sets that the processor does not have.
///
/// # Errors
/// If a model cannot be loaded or run, or a backend does not support the options.
pub fn measure(options: &BenchOptions, progress: Progress<'_>) -> Result<Report<Row>, Error> {
    let choices = options.possible()?;
    let mut runners = choices.iter().map(Runner::load).collect::<Result<Vec<_>, _>>()?;
    let isas: Vec<kernels::Isa> = runners.iter().map(|runner| runner.peak_isa).collect();
    let mut runs: Vec<&mut dyn FnMut() -> Result<(), Error>> = Vec::with_capacity(runners.len());
    let mut steps: Vec<_> = runners.iter_mut().map(|runner| || runner.run()).collect();
    runs.extend(steps.iter_mut().map(|step| step as &mut dyn FnMut() -> Result<(), Error>));
    let mut peaks = peak::Peaks::new(isas.iter().copied());
    let samples = in_turns(&mut runs, options.time, || peaks.measure(), progress)?;
    let peak_memory_mb = host::peak_memory_mb();
    let row = |((runner, sample), isa): ((&Runner, &Sample), kernels::Isa)| {
        let Figures { median: median_ms, least: min_ms, p90: p90_ms } = sample.figures();
        let gmac = runner.macs.map(|macs| macs as f64 / 1e9);
        let gmacs_per_s = gmac.map(|gmac| gmac / median_ms * 1e3);
        let fma_peak_gflops = peaks.of(isa) * runner.threads as f64;
        Row {
            model: runner.model.clone(),
            backend: runner.backend,
            isa: runner.isa,
            memory: runner.memory,
            threads: runner.threads,
            size: runner.size,
            median_ms,
            min_ms,
            p90_ms,
            runs: sample.runs(),
            gmac,
            gmacs_per_s,
            peak_isa: isa.into(),
            fma_peak_gflops,
            percent_of_peak: gmacs_per_s.map(|rate| 2.0 * rate / fma_peak_gflops * 100.0),
            load_ms: runner.load_ms,
            peak_memory_mb,
        }
    };
    let rows = runners.iter().zip(&samples).zip(isas).map(row).collect();
    drop(runners);
    Ok(Report { schema: SCHEMA, host: Host::measure(options.cores, host::room()), rows })
}

/// Warms up, then runs each in turn for a slice, round by round, until each has had its `time`; returns the run times
/// of each. `between` is called before every round.
fn in_turns(
    runs: &mut [&mut dyn FnMut() -> Result<(), Error>],
    time: Duration,
    mut between: impl FnMut(),
    progress: Progress<'_>,
) -> Result<Vec<Sample>, Error> {
    for run in runs.iter_mut() {
        let start = Instant::now();
        for _ in 0..WARM_UP_RUNS {
            run()?;
            if start.elapsed() >= WARM_UP {
                break;
            }
        }
    }
    let mut samples = vec![Sample::default(); runs.len()];
    let all = time * u32::try_from(runs.len()).unwrap_or(u32::MAX);
    while samples.iter().any(|sample| sample.spent() < time) {
        between();
        for index in 0..runs.len() {
            let slice = SLICE.min(time.saturating_sub(samples[index].spent()));
            let end = samples[index].spent() + slice;
            while samples[index].spent() < end {
                let start = Instant::now();
                runs[index]()?;
                samples[index].add(start.elapsed());
            }
            progress(samples.iter().map(|sample| sample.spent().min(time)).sum(), all);
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::cell::RefCell;
    use std::thread::sleep;

    use super::*;

    #[test]
    fn rows_run_in_turns_until_each_has_had_its_time() {
        let order = RefCell::new(Vec::new());
        let step = |name: char| {
            let order = &order;
            move || {
                order.borrow_mut().push(name);
                sleep(SLICE);
                Ok(())
            }
        };
        let (mut first, mut second) = (step('a'), step('b'));
        let mut told = Vec::new();
        let (mut rounds, time) = (0, SLICE * 2);
        let mut progress = |done, all| told.push((done, all));
        let samples = in_turns(&mut [&mut first, &mut second], time, || rounds += 1, &mut progress).unwrap();
        let order: String = order.into_inner().into_iter().collect();
        let timed = order.trim_start_matches('a').trim_start_matches('b');
        // A busy machine may finish after one round.
        assert!(timed.starts_with("ab") && (1..=2).contains(&rounds), "{order} in {rounds} rounds");
        assert!(samples.iter().all(|sample| sample.spent() >= time && (1..=2).contains(&sample.runs())), "{order}");
        assert_eq!(told.last(), Some(&(time * 2, time * 2)));
    }

    #[test]
    fn rows_are_all_combinations_and_the_family_where_no_model_is_named() {
        let mut options = BenchOptions {
            models: Vec::new(),
            backends: vec![BackendChoice::Native, BackendChoice::Tract],
            isas: vec![IsaChoice::Auto],
            memories: vec![],
            threads: Threads::one(),
            cores: 1,
            size: None,
            time: Duration::ZERO,
        };
        assert_eq!(options.rows().len(), 8);
        options.models = vec!["a".into(), "b".into()];
        options.isas = vec![IsaChoice::Scalar, IsaChoice::Avx2];
        let rows = options.rows();
        let third = &rows[2];
        assert_eq!(
            (rows.len(), third.model.as_str(), third.backend, third.isa),
            (8, "a", BackendChoice::Tract, IsaChoice::Scalar)
        );
        options.memories = vec![MemoryMode::Fast, MemoryMode::Lean];
        let rows = options.rows();
        assert_eq!(
            (rows.len(), rows[0].memory, rows[1].memory, rows[2].isa),
            (16, MemoryMode::Fast, MemoryMode::Lean, IsaChoice::Avx2)
        );
    }
}
