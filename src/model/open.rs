//! Opens models: from a name or a file to the definition.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::definition::{CLASSES, Definition, ModelOptions, NetworkDefinition, Onnx, resized};
use super::metadata::{self, CLASS_COUNTS, KEY, Metadata, TRAINING, Training};
use super::parts::Folder;
use super::preprocessing::Preprocessing;
use super::taught::{self, Taught};
use super::{Error, built_in};
use crate::choice::BackendChoice;
use crate::engine::graph::{Graph, Op};
use crate::engine::import::{self, Scores};
use crate::exit::chain;
use crate::hardnet::{self, Architecture};
use crate::inference::{self, tract};
use crate::preprocess::Transform;
use crate::regular;
use crate::weights::file::sha256;
use crate::weights::{self, Loaded, StateDict};

/// Channels of a picture.
const CHANNELS: usize = 3;

/// What the name of a model refers to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// The model that comes with the program.
    BuiltIn,
    /// An architecture without weights.
    Architecture(Architecture),
    /// A file with weights.
    File(PathBuf),
}

/// Whether `name` is that of a model that comes with the program, with or without trained weights, and not of a file.
#[must_use]
pub fn is_known(name: &str) -> bool {
    built_in::is_named(name) || hardnet::find(name).is_some()
}

/// Finds the model called `name`: the one that comes with the program, a published architecture, a table in a TOML file,
/// or a file with weights.
pub(super) fn find(name: &str) -> Result<Place, Error> {
    if built_in::is_named(name) {
        return Ok(Place::BuiltIn);
    }
    if let Some(architecture) = hardnet::find(name) {
        return Ok(Place::Architecture(architecture.clone()));
    }
    let path = Path::new(name);
    if !path.exists() {
        return Err(Error::Unknown { name: name.to_owned() });
    }
    Ok(if ends_in(path, "toml") {
        Place::Architecture(hardnet::read_table(path).map_err(Error::Table)?)
    } else {
        Place::File(path.to_owned())
    })
}

fn ends_in(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending))
}

/// The architecture called `name`, published or in a TOML file.
///
/// # Errors
/// [`Error::Unknown`] if `name` is neither, [`Error::Table`] if the file is not an architecture table.
pub fn architecture(name: &str) -> Result<Architecture, Error> {
    match find(name)? {
        Place::Architecture(architecture) => Ok(architecture),
        Place::File(path) => Err(Error::NoTable { path }),
        Place::BuiltIn => built_in::open().map(|(metadata, _)| metadata.architecture),
    }
}

impl Definition {
    /// The model called `name`: [`built_in::NAME`]; a published name or a table in a TOML file, both with seeded weights; a
    /// file with weights from any framework; or a network in an `.onnx` file. If a file does not state its architecture
    /// and number of classes, they are inferred from the weights, which then count as trained.
    ///
    /// # Errors
    /// If the name is unknown, the file is unusable, the labels do not fit, or the size is not supported.
    pub fn open(name: &str, options: &ModelOptions) -> Result<Self, Error> {
        let place = find(name)?;
        if let (Some(output), false) = (&options.output, matches!(&place, Place::File(path) if ends_in(path, "onnx"))) {
            return Err(Error::OneOutput { name: name.to_owned(), output: output.clone() });
        }
        let definition = match place {
            Place::BuiltIn => {
                let (metadata, state) = built_in::open()?;
                Self::described(metadata, state)
            }
            Place::Architecture(architecture) => Self::seeded(architecture, CLASSES)?,
            Place::File(path) if ends_in(&path, "onnx") => Self::read_onnx(&path, options)?,
            Place::File(path) => Self::read(&path)?,
        };
        definition.with(options)
    }

    /// The network that a model file describes, with its weights.
    fn described(metadata: Metadata, state: StateDict) -> Self {
        let Metadata { architecture, classes, labels, transform, training, source } = metadata;
        let family = Self::of_family(architecture, state, classes, training);
        Self { labels: labels.map(shared), transform, source, ..family }
    }

    /// The model whose weights are in the file at `path`.
    fn read(path: &Path) -> Result<Self, Error> {
        let Loaded { mut state, texts, .. } = weights::read(path).map_err(|error| Error::Weights(error.into()))?;
        if let Some(text) = texts.get(KEY) {
            let metadata = parse(text, path)?;
            let take =
                |text: &String| Taught::take(text, &metadata.architecture, metadata.classes, &mut state).map(Box::new);
            let taught = texts.get(taught::KEY).map(take).transpose();
            let taught = taught.map_err(|source| Error::Taught { path: path.to_owned(), source: source.into() })?;
            return Ok(Self { taught, ..Self::described(metadata, state) });
        }
        if texts.contains_key(TRAINING) {
            return Err(Error::TrainingState { path: path.to_owned() });
        }
        let (architecture, classes) =
            hardnet::recognise(&state).ok_or_else(|| Error::OtherNetwork { path: path.to_owned() })?;
        Ok(Self::of_family(architecture.clone(), state, classes, Training::Trained))
    }

    /// The network in the ONNX file at `path`, for inputs of the size in `options` if the file leaves the size open.
    fn read_onnx(path: &Path, options: &ModelOptions) -> Result<Self, Error> {
        let ((file, folder), size) = (open_onnx(path, options.output.as_deref())?, options.size);
        let unusable = |source: import::Error| Error::OnnxFile { path: path.to_owned(), source: source.into() };
        let mut scores = file.scores().map_err(unusable)?;
        tell_what_is_left(&file, path);
        let is_map = file.is_output_map();
        let (fixed, metadata, channels) = (file.size(), file.metadata(), file.channels());
        if let (Some([height, width]), Some(size)) = (fixed, size)
            && size != [height, width]
        {
            return Err(Error::FixedSize { path: path.to_owned(), height, width });
        }
        if channels != CHANNELS {
            return Err(Error::OnnxChannels { path: path.to_owned(), channels });
        }
        let said = metadata.get(KEY).map(|text| parse(text, path)).transpose()?;
        let beside = match &said {
            Some(_) => Preprocessing::default(),
            None => Preprocessing::of_onnx(path, &metadata)?,
        };
        let takes_bytes = file.takes_bytes();
        let asked = options.preprocessing.or(beside);
        if takes_bytes && (asked.mean.is_some() || asked.std.is_some()) {
            tracing::warn!(
                "{} takes a picture's own values, as bytes, and would get others with this mean and standard deviation: \
                 leave them out unless it was trained with them",
                path.display()
            );
        }
        if let (Some([height, width]), Some([rows, columns])) = (fixed, beside.size)
            && [height, width] != [rows, columns]
        {
            tracing::warn!(
                "the size {rows}x{columns} in the settings beside {} is not used: the network is for {height}x{width}",
                path.display()
            );
        }
        let beside = if takes_bytes { beside.or(Preprocessing::BYTES) } else { beside };
        let mut transform = said.as_ref().map_or(Transform::IMAGENET, |said| said.transform);
        if let Some(size) = beside.size.filter(|_| fixed.is_none() && size.is_none()) {
            transform = resized(&transform, size)?;
        }
        if let Some(size @ [height, width]) = fixed {
            let unusual = |_| Error::OnnxSize { path: path.to_owned(), height, width };
            transform = resized(&transform, size).map_err(unusual)?;
        }
        if let Some(size) = size {
            transform = resized(&transform, size)?;
        }
        let transform = Preprocessing { size: None, ..beside }.apply(transform)?;
        let assumed = if said.is_some() { None } else { options.preprocessing.or(beside).assumed(path) };
        let Transform { height, width, .. } = transform;
        let (graph, parameters, classes) = match file.network() {
            Ok(imported) => {
                let shapes = imported.shapes(height, width).map_err(|source| match size {
                    Some(_) => Error::from(inference::Error::Size(source)),
                    None => Error::Misfit { path: path.to_owned(), height, width, source },
                })?;
                let output = shapes.get(imported.graph.output().index());
                let [rows, columns, channels] =
                    output.map_or([0; 3], |shape| [shape.height, shape.width, shape.channels]);
                if is_map && rows * columns != 1 {
                    return Err(Error::NoClassifier { path: path.to_owned(), shape: vec![channels, rows, columns] });
                }
                let (graph, has_lost_softmax) = without_softmax(imported.graph)?;
                if has_lost_softmax {
                    scores = Scores::Logits;
                }
                (Ok(graph), imported.parameters, rows * columns * channels)
            }
            // A file that is not trusted never reaches tract this way.
            Err(reason) if options.engine.backend == BackendChoice::Native => {
                return Err(Error::NoGraph { path: path.to_owned(), reason: chain(&reason) });
            }
            Err(reason) => match tract::output_shape(file, height, width) {
                Ok(shape) if shape.iter().filter(|extent| **extent != 1).count() > 1 => {
                    return Err(Error::NoClassifier { path: path.to_owned(), shape });
                }
                Ok(shape) => (Err(chain(&reason)), 0, shape.iter().product()),
                Err(inference::Error::WithoutTract) => {
                    tracing::warn!("tract might be able to run this network, but this program was built without it");
                    return Err(Error::OnnxFile { path: path.to_owned(), source: reason.into() });
                }
                Err(tract) => return Err(neither(path, chain(&reason), tract)),
            },
        };
        if !CLASS_COUNTS.contains(&classes) {
            return Err(Error::Classes { path: path.to_owned(), classes });
        }
        let (name, labels, training, source) = match said {
            Some(Metadata { classes: said, .. }) if said != classes => {
                let problems = vec![format!("it is for {said} classes, but the network has {classes}")];
                let source = Box::new(metadata::Error::Values { problems });
                return Err(Error::Metadata { path: path.to_owned(), source });
            }
            Some(Metadata { architecture, labels, training, source, .. }) => {
                (architecture.name.into_owned(), labels.map(shared), training, source)
            }
            None => {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                (name, None, Training::Trained, None)
            }
        };
        let sha256 = sha256(path).map_err(|error| Error::Weights(error.into()))?;
        let sha256 = folder.digest(sha256).map_err(|error| Error::Weights(error.into()))?;
        let output = options.output.clone();
        let network = Onnx { graph, path: path.to_owned(), output, name, sha256, parameters };
        let network = NetworkDefinition::Onnx(Box::new(network));
        Ok(Self { network, classes, labels, scores, assumed, transform, training, source, taught: None })
    }
}

pub(super) fn parse(text: &str, path: &Path) -> Result<Metadata, Error> {
    Metadata::parse(text).map_err(|source| Error::Metadata { path: path.to_owned(), source: source.into() })
}

fn shared(labels: Vec<String>) -> Vec<Arc<str>> {
    labels.into_iter().map(Arc::from).collect()
}

/// Says once what of a network is not used.
fn tell_what_is_left(file: &import::File, path: &Path) {
    let (path, others) = (path.display(), file.other_outputs());
    if !others.is_empty() {
        tracing::info!("{path} has several outputs; unused (see --output): {}", others.join(", "));
    }
    if file.batch() > 1 {
        tracing::info!("{path} was written for batches of {}; pictures are classified one by one", file.batch());
    }
}

/// The ONNX file at `path`, if it is valid, for its output `output`, if given; and the folder with the files that belong
/// to it.
pub(super) fn open_onnx(path: &Path, output: Option<&str>) -> Result<(import::File, Folder), Error> {
    let unreadable = |source: io::Error| Error::Unreadable { path: path.to_owned(), source };
    let wrong = |source: import::Error| Error::OnnxFile { path: path.to_owned(), source: source.into() };
    let file = regular::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length > import::MAX_LENGTH {
        return Err(wrong(import::Error::TooLarge { length }));
    }
    let mut bytes = Vec::new();
    let room = usize::try_from(length).ok().and_then(|length| bytes.try_reserve_exact(length).ok());
    room.ok_or_else(|| unreadable(io::ErrorKind::OutOfMemory.into()))?;
    // The file may have grown since: `parse` refuses it if it is too large now.
    file.take(import::MAX_LENGTH + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let mut folder = Folder::of(path);
    Ok((import::File::parse_with(&bytes, &mut folder, output).map_err(wrong)?, folder))
}

/// The error of a network that neither the native engine nor tract can run.
pub(super) fn neither(path: &Path, native: String, tract: inference::Error) -> Error {
    let source = Box::new(inference::Error::neither(native, tract));
    Error::Neither { path: path.to_owned(), source }
}

/// The network without a final softmax, which is applied to the logits anyway; and whether it had one.
fn without_softmax(graph: Graph) -> Result<(Graph, bool), Error> {
    match graph.node(graph.output()) {
        Some(node) if matches!(node.op, Op::Softmax) => match node.inputs[..] {
            [input] => Ok((graph.up_to(input)?, true)),
            _ => Ok((graph, false)),
        },
        _ => Ok((graph, false)),
    }
}
