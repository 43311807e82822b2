//! Run times module by module.

use std::time::Duration;

use serde::Serialize;

use super::{BenchOptions, Combination, Error, Host, Progress, Report, STAGES_SCHEMA, in_turns};
use crate::choice::{BackendChoice, IsaChoice, MemoryMode};
use crate::engine::graph::Shape;
use crate::engine::modules;
use crate::inference::native::NativePlan;
use crate::inference::tract::TractPlan;
use crate::inference::{self, Network};
use crate::model::Definition;
use crate::weights::seeded;

/// The run times of one model's modules.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageRow {
    /// Name of the model.
    pub model: String,
    /// The backend that ran it.
    pub backend: BackendChoice,
    /// The instruction set that it ran with.
    pub isa: IsaChoice,
    /// Trade-off between memory and speed; `None` on other backends.
    pub memory: Option<MemoryMode>,
    /// Threads per inference.
    pub threads: usize,
    /// Rows and columns of the input.
    pub size: [usize; 2],
    /// The modules in order.
    pub stages: Vec<StageTime>,
}

/// The time of one module.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageTime {
    /// Name of the module.
    pub name: String,
    /// Channels, rows and columns of its output.
    pub output: [usize; 3],
    /// 10⁹ multiply-accumulates of the module.
    pub gmac: f64,
    /// Median time of the network up to the end of the module, in milliseconds.
    pub until_ms: f64,
    /// Difference of `until_ms` to that of the previous module, in milliseconds; noise can make it negative.
    pub difference_ms: f64,
    /// Number of timed runs.
    pub runs: usize,
}

/// Measures every model of `options` up to the end of each of its modules. The modules of one model run in turns, each
/// for `options.time`.
///
/// # Errors
/// If a model cannot be loaded or run, its parts are unknown, or a backend does not support the options.
pub fn stages(options: &BenchOptions, progress: Progress<'_>) -> Result<Report<StageRow>, Error> {
    let choices = options.possible()?;
    let count = u32::try_from(choices.len()).unwrap_or(u32::MAX);
    let mut rows = Vec::with_capacity(choices.len());
    for (index, choice) in (0..count).zip(&choices) {
        let mut told = |done, all: Duration| progress(all * index + done, all * count);
        rows.push(row(choice, options.time, &mut told)?);
    }
    Ok(Report { schema: STAGES_SCHEMA, host: Host::measure(options.cores, usize::MAX), rows })
}

/// The stages of one model: the network is compiled up to the end of each module.
fn row(choice: &Combination, time: Duration, progress: Progress<'_>) -> Result<StageRow, Error> {
    let definition = Definition::open(&choice.model, &choice.options())?;
    let model = definition.name().to_owned();
    let (height, width) = (definition.transform.height, definition.transform.width);
    let graph = definition.graph()?;
    drop(definition);
    let shapes = graph.shapes(height, width).map_err(inference::Error::Size)?;
    let input = seeded::tensor(height, width);
    let mut stages: Vec<StageTime> = Vec::new();
    let (mut prefixes, mut branches) = (Vec::new(), Vec::new());
    let mut before = 0;
    for (name, end) in modules::ends(&graph) {
        let prefix = graph.up_to(end).map_err(inference::Error::Size)?;
        let macs = prefix.macs(height, width).map_err(inference::Error::Size)?;
        let engine = choice.engine();
        let native = match choice.backend() {
            BackendChoice::Native => {
                let plan = NativePlan::compile(prefix.clone(), height, width, engine.options());
                Some(plan.map_err(inference::Error::Native)?)
            }
            _ => None,
        };
        let network: Box<dyn Network> = match native {
            Some(plan) => Box::new(plan.network(&choice.threads)?),
            None => Box::new(TractPlan::compile(prefix, height, width)?.network()?),
        };
        prefixes.push(network);
        let output =
            shapes.get(end.index()).map_or([0; 3], |&Shape { height, width, channels }| [channels, height, width]);
        // What branches off earlier, such as the means of a map for a taught layer, has less before it.
        branches.push(macs < before);
        let gmac = macs.saturating_sub(before) as f64 / 1e9;
        before = before.max(macs);
        stages.push(StageTime { name, output, gmac, until_ms: 0.0, difference_ms: 0.0, runs: 0 });
    }
    drop(graph);
    let input = &input;
    let run = |network: &mut Box<dyn Network>| network.infer(input).map(drop).map_err(Error::from);
    let mut steps: Vec<_> = prefixes.iter_mut().map(|prefix| move || run(prefix)).collect();
    let mut runs: Vec<_> = steps.iter_mut().map(|step| step as &mut dyn FnMut() -> Result<(), Error>).collect();
    let samples = in_turns(&mut runs, time, || (), progress)?;
    let mut before = 0.0;
    for ((stage, sample), is_branch) in stages.iter_mut().zip(&samples).zip(branches) {
        stage.until_ms = sample.figures().median;
        stage.runs = sample.runs();
        if !is_branch {
            stage.difference_ms = stage.until_ms - before;
            before = stage.until_ms;
        }
    }
    let threads = choice.threads.count();
    let isa = match choice.backend() {
        BackendChoice::Native => choice.engine().options().isa.into(),
        _ => choice.isa,
    };
    let memory = Some(choice.memory).filter(|_| choice.backend() == BackendChoice::Native);
    Ok(StageRow { model, backend: choice.backend(), isa, memory, threads, size: [height, width], stages })
}
