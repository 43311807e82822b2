//! `hardnetd model`: lists models, shows their costs, and handles model files.

mod export;
mod fetch;
mod import;
mod verify;

use std::io::{self, IsTerminal, Write};

use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::{Error, choice, printed, size};
use crate::choice::MemoryMode;
use crate::engine::plan::{self, Plan, Step};
use crate::exit::chain;
use crate::hardnet::{ARCHITECTURES, Published};
use crate::model::{self, Definition, Description, Figures, ModelOptions, Training, built_in, describe};
use crate::plural::{counted, first_of};
use crate::printable::line;

/// Arguments of `model`.
#[derive(Debug, Args)]
#[command(after_help = "\
CIO is the convolutional input/output of the HarDNet paper: the number of values that all convolutions read and \
write. Activations are the peak memory of layer outputs, with concatenations as views.

Examples:
  hardnetd model list
  hardnetd model list resnet50.onnx mobilenetv2.onnx
  hardnetd model info hardnet68ds --size 320x256
  hardnetd model info hardnet39ds --json | jq .macs
  hardnetd model info hardnet68 --plan
  hardnetd model fetch hardnet68
  hardnetd model import birds.pth --labels birds.txt
  hardnetd model export hardnet68.safetensors --output hardnet68.onnx")]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the models with their parameters, arithmetic and memory traffic.
    ///
    /// Files that cannot be used are named on standard error; the others are listed all the same.
    List {
        /// More models to list: your own model files or ONNX networks.
        #[arg(value_name = "FILE")]
        files: Vec<String>,
        #[command(flatten)]
        form: ShowArguments,
    },
    /// Show one model, module by module.
    Info {
        /// Name of the model, or a model file.
        #[arg(value_name = "M")]
        model: String,
        #[command(flatten)]
        form: ShowArguments,
        /// Show what the native engine does, pass by pass, instead.
        #[arg(long)]
        plan: bool,
        /// The plan's trade-off between memory and speed: fast, or lean (less memory, slower).
        #[arg(long, value_name = "MEM", default_value = "fast", value_parser = choice::<MemoryMode>(), requires = "plan")]
        memory: MemoryMode,
    },
    /// Download the published weights of a model and make a model file of them.
    Fetch(fetch::Arguments),
    /// Make a model file of weights from PyTorch, PaddlePaddle, safetensors or ONNX.
    Import(import::Arguments),
    /// Write a model as ONNX or safetensors.
    Export(export::Arguments),
    /// Check that a model computes what it should.
    Verify(verify::Arguments),
}

#[derive(Debug, Args)]
struct ShowArguments {
    /// Rows and columns of the input, such as 320x256 [default: the model's own].
    #[arg(long, value_name = "HxW", value_parser = size)]
    size: Option<[usize; 2]>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    match &arguments.action {
        Action::List { files, form } => {
            let family = ARCHITECTURES.iter().map(|architecture| &*architecture.name);
            let own = [built_in::NAME].into_iter().chain(family);
            let (mut models, mut failures) = (Vec::new(), Vec::new());
            for name in own.chain(files.iter().map(String::as_str)) {
                match describe(name, form.size) {
                    Ok(model) => models.push(model),
                    Err(error) => failures.push(error),
                }
            }
            match (models.is_empty(), form.json) {
                (true, _) => {}
                (false, true) => json(&models)?,
                (false, false) => {
                    print(&list(&models).to_string())?;
                    let published = fetchable(&models);
                    if !published.is_empty() {
                        print(&format!("\n{published}"))?;
                    }
                }
            }
            report(failures, models.len())
        }
        Action::Info { model, form, plan: true, memory } => {
            let options = ModelOptions { size: form.size, ..ModelOptions::default() };
            let plan = Definition::open(model, &options)?
                .plan(plan::PlanOptions { memory: *memory, ..plan::PlanOptions::default() })?;
            if form.json { json(&plan.steps()) } else { print(&passes(&plan)) }
        }
        Action::Info { model, form, plan: false, .. } => {
            let model = describe(model, form.size)?;
            if form.json { json(&model) } else { print(&info(&model)) }
        }
        Action::Fetch(arguments) => fetch::run(arguments),
        Action::Import(arguments) => import::run(arguments),
        Action::Export(arguments) => export::run(arguments),
        Action::Verify(arguments) => verify::run(arguments),
    }
}

/// The failure of one model; several are logged, and counted beside the models that are `listed`.
fn report(mut failures: Vec<model::Error>, listed: usize) -> Result<(), Error> {
    let Some(exit) = failures.first().map(model::Error::exit) else { return Ok(()) };
    if failures.len() == 1
        && let Some(error) = failures.pop()
    {
        return Err(error.into());
    }
    for error in &failures {
        tracing::error!("{}", chain(error));
    }
    Err(Error::Models { failed: failures.len(), total: failures.len() + listed, exit })
}

pub(super) fn json(value: &impl Serialize) -> Result<(), Error> {
    let mut output = io::stdout().lock();
    let written = serde_json::to_writer_pretty(&mut output, value).map_err(io::Error::from);
    printed(written.and_then(|()| writeln!(output)))
}

pub(super) fn print(text: &str) -> Result<(), Error> {
    printed(writeln!(io::stdout(), "{text}"))
}

fn list(models: &[Description]) -> Table {
    let header = ["Model", "Training", "Input", "Parameters", "GMAC", "CIO (M)", "Weights (MB)", "Activations (MB)"];
    let mut table = table(header);
    for model in models {
        let [height, width] = model.input;
        let [parameters, gmac, cio] = figures(&model.total);
        let training = match model.training {
            Training::Seeded => "untrained".to_owned(),
            training => training.text(model.source.as_ref()),
        };
        table.add_row([
            line(&model.name).into_owned(),
            training,
            format!("{height}x{width}"),
            parameters,
            gmac,
            cio,
            megabytes(model.weights_bytes),
            megabytes(model.peak_activation_bytes),
        ]);
    }
    table
}

/// The weights that can be fetched for the models, with a row for each training.
fn fetchable(models: &[Description]) -> Table {
    let mut table = table(["To fetch", "Training, source", "Top-1 (%)", "Top-5 (%)"]);
    for model in models {
        for same in model.published.chunk_by(|a, b| a.trained_by == b.trained_by) {
            let Some(Published { name, trained_by, top1, top5, .. }) = same.first() else { continue };
            let sources: Vec<&str> = same.iter().map(|published| published.source.name()).collect();
            let training = format!("by {trained_by}, source {}", sources.join(" or "));
            table.add_row([(*name).to_owned(), training, format!("{top1:.2}"), format!("{top5:.2}")]);
        }
    }
    table
}

fn info(model: &Description) -> String {
    let mut table = table(["Module", "Output", "Parameters", "GMAC", "CIO (M)"]);
    for stage in &model.stages {
        let [channels, height, width] = stage.output;
        let [parameters, gmac, cio] = figures(&stage.figures);
        table.add_row([line(&stage.name).into_owned(), format!("{channels}x{height}x{width}"), parameters, gmac, cio]);
    }
    let [parameters, gmac, cio] = figures(&model.total);
    table.add_row(["total".to_owned(), String::new(), parameters, gmac, cio]);
    let ([height, width], training) = (model.input, model.training.text(model.source.as_ref()));
    let labels = model.labels.as_ref().map_or_else(String::new, |labels| {
        let names = first_of(labels.iter().map(|label| line(label)));
        format!(" ({names})")
    });
    let classes = counted(model.classes, "class", "classes") + &labels;
    let (weights, activations) = (megabytes(model.weights_bytes), megabytes(model.peak_activation_bytes));
    let taught = model.taught.as_ref().map_or_else(String::new, |taught| {
        let pictures = taught.pictures.iter().sum::<u64>();
        format!(
            " (taught with {}, of which cross-validation got {} right)",
            counted(pictures, "picture", "pictures"),
            taught.right
        )
    });
    let region =
        model.region.map_or_else(String::new, |region| format!(", region {}", region.map(|x| x.to_string()).join(",")));
    format!(
        "{}: input {height}x{width}{region}, {classes}, weights {weights} MB, activations {activations} MB; \
         {training}{taught}\n{table}",
        line(&model.name)
    )
}

fn passes(plan: &Plan) -> String {
    let mut table = table(["Node", "Output", "Algorithm", "MMAC", "Read (KB)", "Written (KB)", "At (KB)"]);
    let kilobytes = |bytes: usize| format!("{:.1}", bytes as f64 / 1e3);
    for Step { node, algorithm, output, macs, read, written, offset } in plan.steps() {
        let [height, width, channels] = output;
        table.add_row([
            line(node).into_owned(),
            format!("{channels}x{height}x{width}"),
            (*algorithm).to_owned(),
            format!("{:.2}", *macs as f64 / 1e6),
            kilobytes(*read),
            kilobytes(*written),
            kilobytes(*offset),
        ]);
    }
    let (weights, activations) = (megabytes(plan.weight_bytes() as u64), megabytes(plan.activation_bytes() as u64));
    format!("{}: packed weights {weights} MB, maps and scratch {activations} MB\n{table}", plan.isa())
}

fn megabytes(bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    if bytes < 1_000_000 { format!("{megabytes:.3}") } else { format!("{megabytes:.1}") }
}

/// Parameters, 10^9 multiply-accumulates, 10^6 values of CIO.
fn figures(figures: &Figures) -> [String; 3] {
    let parameters = figures.parameters.to_string();
    [parameters, format!("{:.3}", figures.macs as f64 / 1e9), format!("{:.2}", figures.cio as f64 / 1e6)]
}

/// A table with right-aligned figures from the second column on; without borders if no terminal shows it.
pub(super) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    let style = if io::stdout().is_terminal() { presets::UTF8_HORIZONTAL_ONLY } else { presets::NOTHING };
    table.load_style(style).set_header(header);
    for column in 2..N {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
