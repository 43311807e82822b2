//! `hardnetd model verify`: checks that a model computes what it should.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::super::{Error, size};
use super::{json, print, table};
use crate::model::{self, Definition, ModelOptions, Reference, Summary, Verification, verify};
use crate::printable::line;

/// Arguments of `model verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
The model runs on a reproducible input, and the output of every module is compared with the same network in 64-bit \
floating point. A reference file holds values computed elsewhere, as JSON: `cases`, each with `height`, `width`, \
`logits` and, optionally, `stages` of `module`, `mean`, `std` and `first` (values in the order channels, rows, \
columns). Differences are relative to the largest value of a module if that is above 1, since rounding errors grow \
with values. Needs a program that was built with tract.

Exit code 65 means that something differs.

Examples:
  hardnetd model verify hardnet39ds
  hardnetd model verify birds.safetensors --reference birds.json --tolerance 1e-3")]
pub(super) struct Arguments {
    /// Name of a model, or a model file.
    #[arg(value_name = "M")]
    model: String,
    /// Reference values, computed elsewhere.
    #[arg(short, long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Rows and columns of the input, such as 320x256 [default: the model's own].
    #[arg(long, value_name = "HxW", value_parser = size)]
    size: Option<[usize; 2]>,
    /// The largest difference that counts as none.
    #[arg(long, value_name = "D", default_value_t = 1e-4, value_parser = tolerance)]
    tolerance: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn tolerance(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "expected a number, 0 or more, such as 1e-4".into())
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let reference = arguments.reference.as_deref().map(Reference::read).transpose();
    let reference = reference.map_err(|error| model::Error::Reference(error.into()))?;
    let options = ModelOptions { size: arguments.size, ..ModelOptions::default() };
    let definition = Definition::open(&arguments.model, &options)?;
    let bar = ProgressBar::no_length();
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} modules, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let found = verify(&definition, reference.as_ref(), arguments.tolerance, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let found = found?;
    if arguments.json {
        json(&found)?
    } else {
        print(&show(&found))?
    }
    match found.first() {
        Some(first) => {
            let (model, first) = (found.model.clone(), first.to_owned());
            Err(Error::Differs { model, tolerance: found.tolerance, first })
        }
        None => Ok(()),
    }
}

fn show(found: &Verification) -> String {
    let mut table = table(["Module", "Output", "tract - 64-bit", "native - 64-bit", "tract - file"]);
    for stage in &found.stages {
        let [channels, height, width] = stage.output;
        let show = |difference: Option<f64>| difference.map_or_else(|| "-".to_owned(), |found| format!("{found:.1e}"));
        let output = format!("{channels}x{height}x{width}");
        table.add_row([
            line(&stage.name).into_owned(),
            output,
            show(Some(stage.float64)),
            show(stage.native),
            show(stage.file),
        ]);
    }
    let summary = |what: &str, summary: &Summary| {
        let Summary { largest, at, first } = summary;
        let verdict = match first {
            None => "agrees".to_owned(),
            Some(first) => format!("DIFFERS from {} on", line(first)),
        };
        format!("\n{what}: {verdict}, largest difference {largest:.1e} at {}", line(at))
    };
    let [height, width] = found.input;
    let file = found.file.as_ref().map(|file| summary("tract and the reference file", file)).unwrap_or_default();
    let float64 = summary("tract and 64-bit floating point", &found.float64);
    let native = found.native.as_ref();
    let native = native.map(|native| summary("native and 64-bit floating point", native)).unwrap_or_default();
    format!("{} at {height}x{width}, largest differences\n{table}\n{float64}{native}{file}", line(&found.model))
}
