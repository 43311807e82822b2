//! `hardnetd model import`: converts weights from any framework to a model file.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::{Error, deviation, mean, printed, ratio, size};
use crate::model::{self, Definition, Import, ModelFormat, Preprocessing, Training, save_as};
use crate::plural::counted;
use crate::printable::line;
use crate::weights::safetensors::Precision;

/// Arguments of `model import`.
#[derive(Debug, Args)]
#[command(after_help = "\
FILE may come from PyTorch (torch.save, also before 1.6) or PaddlePaddle, or be safetensors or ONNX. The model file \
holds the weights and describes them: network, classes, labels, input size, normalisation, origin, training.

Examples:
  hardnetd model import hardnet68-5d684880.pth
  hardnetd model import birds.pth --labels birds.txt --output birds.safetensors
  hardnetd model import checkpoint.pth --state-dict model_ema
  hardnetd model import lightning.ckpt --state-dict state_dict.model
  hardnetd model import runs/gate/best.safetensors --half --output gate.safetensors
  hardnetd model import hardnet39ds.pth --new-head --labels parts.txt
  hardnetd model import mini.pt --arch mini.toml --size 160x160 --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5")]
pub(super) struct Arguments {
    /// The file with the weights.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    pub(super) as_model: AsModel,
    /// The model file [default: the name of FILE, ending in .safetensors, in the current folder].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Store weights in half precision: half the size, with three significant decimal digits.
    #[arg(long)]
    half: bool,
    /// Replace the model file if it exists.
    #[arg(short, long)]
    force: bool,
}

/// What a file with weights does not say.
#[derive(Debug, Args)]
pub(super) struct AsModel {
    /// Place of the weights in a checkpoint that holds several networks, such as model_ema [default: averaged weights,
    /// or the largest network].
    #[arg(long, value_name = "PATH")]
    state_dict: Option<String>,
    /// The network: a name or the table of an architecture in a .toml file [default: determined from the weights].
    #[arg(short, long, value_name = "A")]
    arch: Option<String>,
    /// Number of classes [default: that of the head; with --new-head, that of the labels].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    classes: Option<u32>,
    /// Leave out the head in the file; the new one is untrained.
    #[arg(long)]
    new_head: bool,
    /// Text file with a label per line, in the order of the classes.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Rows and columns of the input, such as 320x256 [default: 224x224].
    #[arg(long, value_name = "HxW", value_parser = size)]
    size: Option<[usize; 2]>,
    /// Share of the resized picture's shorter side that the crop takes, above 0, at most 1 [default: 0.875].
    #[arg(long, value_name = "R", value_parser = ratio)]
    crop_ratio: Option<f64>,
    /// Mean of R, G and B, of 0 to 1 [default: 0.485,0.456,0.406].
    #[arg(long, value_name = "R,G,B", value_parser = mean)]
    mean: Option<[f32; 3]>,
    /// Standard deviation of R, G and B, above 0, at most 1 [default: 0.229,0.224,0.225].
    #[arg(long, value_name = "R,G,B", value_parser = deviation)]
    std: Option<[f32; 3]>,
}

impl AsModel {
    /// The model in `file`.
    pub(super) fn read(&self, file: &Path) -> Result<Definition, Error> {
        let import = Import {
            file: file.to_owned(),
            state_dict: self.state_dict.clone(),
            architecture: self.arch.as_deref().map(model::architecture).transpose()?,
            classes: self.classes.map(|classes| classes as usize),
            new_head: self.new_head,
            labels: self.labels.clone(),
            preprocessing: Preprocessing {
                mean: self.mean,
                std: self.std,
                crop_ratio: self.crop_ratio,
                size: self.size,
            },
            published: None,
        };
        Ok(import.run()?)
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let output = arguments.output.clone().unwrap_or_else(|| {
        let name = arguments.file.file_stem().unwrap_or(arguments.file.as_os_str());
        Path::new(name).with_added_extension("safetensors")
    });
    if ModelFormat::of(&output)? != ModelFormat::Safetensors {
        return Err(Error::Argument(format!(
            "{}: a model file is named .safetensors; `hardnetd model export` writes ONNX",
            output.display()
        )));
    }
    let definition = arguments.as_model.read(&arguments.file)?;
    let precision = if arguments.half { Precision::Half } else { Precision::Full };
    finish(&definition, &output, arguments.force, precision)
}

/// Writes the model file and reports its content.
pub(super) fn finish(definition: &Definition, output: &Path, force: bool, precision: Precision) -> Result<(), Error> {
    save_as(definition, output, force, precision)?;
    if definition.training == Training::HeadUntrained {
        tracing::warn!("{}", Training::HeadUntrained.warning().unwrap_or_default());
    }
    let (height, width) = (definition.transform.height, definition.transform.width);
    printed(writeln!(
        io::stdout(),
        "{}: {}, {}, input {height}x{width}, {}",
        line(&output.to_string_lossy()),
        line(definition.name()),
        counted(definition.classes, "class", "classes"),
        definition.training.text(definition.source.as_ref())
    ))
}
