//! Why a model cannot be loaded.

use std::io;
use std::path::PathBuf;

use super::metadata::CLASS_COUNTS;
use super::{built_in, labels, metadata, verify};
use crate::config::{SIDES, redact};
use crate::engine::{features, graph, import};
use crate::exit::Exit;
use crate::hardnet;
use crate::inference;
use crate::preprocess;
use crate::weights;

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is neither a model nor a file of that name.
    #[error("`{}` is not the name of a model, and there is no such file; the models are {}", redact(name), names())]
    Unknown {
        /// The requested name.
        name: String,
    },
    /// The file has no readable weights.
    #[error(transparent)]
    Weights(Box<weights::file::Error>),
    /// The file has weights, but not of a network of the family.
    #[error("{} holds the weights of another network; the models are {}{}", path.display(), names(), as_it_is(path))]
    OtherNetwork {
        /// The file.
        path: PathBuf,
    },
    /// The file is the state of a training.
    #[error(
        "{} is the state of a training, not a model: use best.safetensors or last.safetensors of the same folder",
        path.display()
    )]
    TrainingState {
        /// The file.
        path: PathBuf,
    },
    /// What is to be imported has been taught.
    #[error(
        "{} is a taught model, which is used as it is; `model import` takes the weights of a network", path.display()
    )]
    AlreadyTaught {
        /// The file.
        path: PathBuf,
    },
    /// The file is not an architecture table.
    #[error("{} is not an architecture table (their names end in .toml); the models are {}", path.display(), names())]
    NoTable {
        /// The file.
        path: PathBuf,
    },
    /// The architecture table is unusable.
    #[error(transparent)]
    Table(hardnet::TableError),
    /// The metadata in a model file is unusable.
    #[error("cannot use the model in {}", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<metadata::Error>,
    },
    /// The metadata for a model file cannot be written.
    #[error("cannot describe the model")]
    Own(Box<metadata::Error>),
    /// The preprocessing settings in a file are unusable.
    #[error("cannot use the preprocessing settings in {}", path.display())]
    Preprocessing {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<super::PreprocessingError>,
    },
    /// The preprocessing settings are not supported.
    #[error("unsupported preprocessing settings")]
    Transform(#[source] preprocess::Error),
    /// The head has another number of classes.
    #[error(
        "the head in {} is for {found} classes, but {classes} are asked for", path.display()
    )]
    Head {
        /// The file.
        path: PathBuf,
        /// Number of classes of the head in the file.
        found: usize,
        /// Number of classes requested.
        classes: usize,
    },
    /// The number of classes is unknown.
    #[error("{} has no head, so the number of classes is unknown", path.display())]
    NoHead {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The ONNX file is unusable.
    #[error("cannot use the network in {}", path.display())]
    OnnxFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<import::Error>,
    },
    /// The network runs, but contains unknown parts.
    #[error("the network in {} contains unknown parts: {reason}", path.display())]
    NoGraph {
        /// The file.
        path: PathBuf,
        /// What is not known.
        reason: String,
    },
    /// There is one output only.
    #[error("`{name}` has one output: --output {output} (model.output) is for ONNX files with several")]
    OneOutput {
        /// The model.
        name: String,
        /// The output that was asked for.
        output: String,
    },
    /// The network of an ONNX file does not support the size that it is taken to be for.
    #[error(
        "the network in {} takes no pictures of {height}x{width}; if it is for another size, give that (--size)",
        path.display()
    )]
    Misfit {
        /// The file.
        path: PathBuf,
        /// Height of the input.
        height: usize,
        /// Width of the input.
        width: usize,
        /// Where it does not fit.
        source: graph::Error,
    },
    /// The native engine does not support the whole network, and tract cannot run it.
    #[error("cannot run the network in {}", path.display())]
    Neither {
        /// The file.
        path: PathBuf,
        /// [`inference::Error::Neither`].
        source: Box<inference::Error>,
    },
    /// Preprocessing does not support the input size of the ONNX file.
    #[error(
        "the network in {} is for inputs of {height}x{width}: expected sides from {} to {}",
        path.display(), SIDES.start(), SIDES.end()
    )]
    OnnxSize {
        /// The file.
        path: PathBuf,
        /// Rows of its input.
        height: usize,
        /// Columns of its input.
        width: usize,
    },
    /// The ONNX file supports only another input size.
    #[error("the network in {} is only for inputs of {height}x{width}", path.display())]
    FixedSize {
        /// The file.
        path: PathBuf,
        /// Rows of its input.
        height: usize,
        /// Columns of its input.
        width: usize,
    },
    /// The network has too few or too many outputs.
    #[error("the network in {} writes {classes} values: expected one for each of 1 to {} classes", path.display(), CLASS_COUNTS.end())]
    Classes {
        /// The file.
        path: PathBuf,
        /// Number of output values.
        classes: usize,
    },
    /// The output is not a score for each class.
    #[error(
        "the network in {} writes values of the shape {shape:?}, not a score for each class: it is no classifier, or its \
         last layers are missing", path.display()
    )]
    NoClassifier {
        /// The file.
        path: PathBuf,
        /// Extents of its output.
        shape: Vec<usize>,
    },
    /// The network does not read colour pictures.
    #[error("the network in {} reads {channels} channels, but a picture has 3", path.display())]
    OnnxChannels {
        /// The file.
        path: PathBuf,
        /// Channels of its input.
        channels: usize,
    },
    /// A network that is not of the family cannot be written in this format.
    #[error("`{name}` is not a network of the family, so its weights cannot be named: export it as .onnx")]
    NotFamily {
        /// Name of the model.
        name: String,
    },
    /// The reference values cannot be used.
    #[error(transparent)]
    Reference(Box<verify::ReferenceError>),
    /// The labels cannot be used.
    #[error(transparent)]
    Labels(labels::Error),
    /// Preprocessing does not support that size.
    #[error("the input cannot be {height}x{width}: expected sides from {} to {}", SIDES.start(), SIDES.end())]
    InputSize {
        /// Rows requested.
        height: usize,
        /// Columns requested.
        width: usize,
    },
    /// The weights do not form a state dict.
    #[error("cannot take the weights out of the network")]
    State(#[source] weights::Error),
    /// The network cannot be built.
    #[error("cannot build the model")]
    Network(#[source] hardnet::Error),
    /// What the file says of a taught model is unusable.
    #[error("cannot use the taught model in {}", path.display())]
    Taught {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<super::TaughtError>,
    },
    /// The network has no such features.
    #[error("cannot take features from `{name}`")]
    Features {
        /// The model.
        name: String,
        /// Why.
        source: features::Error,
    },
    /// The network does not have the maps that a lesson reads.
    #[error("cannot use what `{name}` has been taught")]
    Lesson {
        /// The model.
        name: String,
        /// Why.
        source: features::Error,
    },
    /// What a model has been taught does not fit its network.
    #[error("cannot use what `{name}` has been taught")]
    Unfit {
        /// The model.
        name: String,
        /// Why.
        source: Box<super::TaughtError>,
    },
    /// The network cannot be compiled or run.
    #[error(transparent)]
    Inference(#[from] inference::Error),
}

/// What to do with an ONNX file that cannot be imported.
fn as_it_is(path: &std::path::Path) -> &'static str {
    match path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx")) {
        true => ". An ONNX classifier is used as it is: give it to --model of `run`, `classify` and `eval`",
        false => "",
    }
}

impl From<graph::Error> for Error {
    fn from(error: graph::Error) -> Self {
        Self::Inference(error.into())
    }
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unknown { .. } => Exit::NoInput,
            Self::Weights(error) => error.exit(),
            Self::OtherNetwork { .. }
            | Self::TrainingState { .. }
            | Self::AlreadyTaught { .. }
            | Self::NoTable { .. }
            | Self::NoHead { .. } => Exit::Data,
            Self::Own(error) => error.exit(),
            Self::Unreadable { .. } => Exit::NoInput,
            Self::OnnxFile { source, .. } => source.exit(),
            Self::Preprocessing { .. }
            | Self::Taught { .. }
            | Self::Lesson { .. }
            | Self::Unfit { .. }
            | Self::Classes { .. }
            | Self::NoClassifier { .. }
            | Self::NoGraph { .. }
            | Self::Neither { .. }
            | Self::Misfit { .. }
            | Self::OnnxSize { .. }
            | Self::OnnxChannels { .. }
            | Self::NotFamily { .. } => Exit::Data,
            Self::FixedSize { .. } | Self::OneOutput { .. } => Exit::Usage,
            Self::Reference(error) => error.exit(),
            Self::Table(error) => error.exit(),
            Self::Metadata { source, .. } => source.exit(),
            Self::Labels(error) => error.exit(),
            Self::State(error) => error.exit(),
            Self::Network(error) => error.exit(),
            Self::Features { source, .. } => source.exit(),
            Self::InputSize { .. } | Self::Transform(_) | Self::Head { .. } => Exit::Usage,
            Self::Inference(error) => error.exit(),
        }
    }
}

/// Names of the models.
#[must_use]
pub fn names() -> String {
    let family = hardnet::ARCHITECTURES.iter().map(|architecture| &*architecture.name);
    [built_in::NAME].into_iter().chain(family).collect::<Vec<_>>().join(", ")
}
