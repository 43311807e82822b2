//! `hardnetd model export`: writes a model to a file for other programs.

use std::path::PathBuf;

use clap::Args;

use super::super::{Error, size};
use super::import::finish;
use crate::inference::UNKNOWN;
use crate::model::{Definition, ModelFormat, ModelOptions};
use crate::weights::safetensors::Precision;

/// Arguments of `model export`.
#[derive(Debug, Args)]
#[command(after_help = "\
The file name extension of the output selects the format. An .onnx file has the input `input` (1 x 3 x H x W, \
normalised RGB) and the output `logits` (1 x classes), with batch norms folded, in operator set 14. A .safetensors \
file has the weights under PyTorch's names. Both carry the model's metadata under `hardnetd.model`.

Examples:
  hardnetd model export hardnet68.safetensors --output hardnet68.onnx
  hardnetd model export hardnet39ds --size 320x256 --output test.onnx")]
pub(super) struct Arguments {
    /// Name of a model, or a model file.
    #[arg(value_name = "M")]
    model: String,
    /// The file to write: .onnx or .safetensors.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Rows and columns of the input, such as 320x256 [default: the model's own].
    #[arg(long, value_name = "HxW", value_parser = size)]
    size: Option<[usize; 2]>,
    /// Replace the file if it exists.
    #[arg(short, long)]
    force: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let format = ModelFormat::of(&arguments.output)?;
    let options = ModelOptions { size: arguments.size, ..ModelOptions::default() };
    let definition = Definition::open(&arguments.model, &options)?;
    if definition.taught.is_some() && format == ModelFormat::Onnx {
        tracing::warn!("an ONNX file has no `{UNKNOWN}`: it takes what is like no class for one of the classes");
    }
    // The network may not support the size; the file would be unusable.
    if format == ModelFormat::Safetensors {
        drop(definition.graph()?);
    }
    finish(&definition, &arguments.output, arguments.force, Precision::Full)
}
