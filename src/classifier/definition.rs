//! From the name of a model, or from a file, to what the model is: its network, its classes, what it reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tract_onnx::pb::StringStringEntryProto;

use super::metadata::{self, KEY, Metadata, Source, Training};
use super::{Error, labels};
use crate::config::SIDES;
use crate::engine::graph::Graph;
use crate::engine::onnx;
use crate::hardnet::{self, Architecture};
use crate::preprocess::Transform;
use crate::weights::{self, Kind, Loaded, StateDict};

/// Number of classes of a network that does not say: those of ImageNet.
pub(super) const CLASSES: usize = 1000;

/// What the user asks of a model, beside its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// A text file with a label per line, instead of the model's own.
    pub labels: Option<PathBuf>,
    /// Rows and columns of the input, instead of the model's own; the crop keeps its share of the picture.
    pub size: Option<[usize; 2]>,
}

/// A model before it is compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The network.
    pub architecture: Architecture,
    /// Its weights, with the names of PyTorch.
    pub state: StateDict,
    /// Number of classes.
    pub classes: usize,
    /// Names of the classes that the model or the user brings; nothing: those that go with their number.
    pub labels: Option<Vec<Arc<str>>>,
    /// How pictures become inputs.
    pub transform: Transform,
    /// Whether the weights have been trained.
    pub training: Training,
    /// The file that the weights were imported from.
    pub source: Option<Source>,
}

/// Where the name of a model leads.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// To an architecture without weights.
    Architecture(Architecture),
    /// To a file with weights.
    File(PathBuf),
}

/// Finds the model called `name`: a published one, a table in a TOML file, a file with weights.
pub(super) fn find(name: &str) -> Result<Place, Error> {
    if let Some(architecture) = hardnet::find(name) {
        return Ok(Place::Architecture(architecture.clone()));
    }
    let path = Path::new(name);
    if !path.exists() {
        return Err(Error::Unknown { name: name.to_owned() });
    }
    let is_table = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
    Ok(if is_table {
        Place::Architecture(hardnet::read_table(path).map_err(Error::Table)?)
    } else {
        Place::File(path.to_owned())
    })
}

/// The architecture called `name`, published or in a TOML file.
///
/// # Errors
/// [`Error::Unknown`] when `name` is neither, [`Error::Table`] when the file is no table.
pub fn architecture(name: &str) -> Result<Architecture, Error> {
    match find(name)? {
        Place::Architecture(architecture) => Ok(architecture),
        Place::File(path) => Err(Error::NoTable { path }),
    }
}

impl Definition {
    /// The model called `name`: a published name or a table in a TOML file, both with seeded weights, or a
    /// file with weights. What a file does not say is told by its weights: the architecture, the number of
    /// classes; and they count as trained.
    ///
    /// # Errors
    /// The name is unknown, the file cannot be used, the labels do not fit, or the size cannot be had.
    pub fn open(name: &str, options: &Options) -> Result<Self, Error> {
        let definition = match find(name)? {
            Place::Architecture(architecture) => Self::seeded(architecture, CLASSES)?,
            Place::File(path) => Self::read(&path)?,
        };
        definition.with(options)
    }

    /// An untrained network with `classes` classes.
    ///
    /// # Errors
    /// [`Error::Network`] when memory cannot be reserved for that many classes.
    pub fn seeded(architecture: Architecture, classes: usize) -> Result<Self, Error> {
        let state = hardnet::seeded(&architecture, classes).map_err(Error::Network)?;
        let (transform, training) = (Transform::IMAGENET, Training::Seeded);
        Ok(Self { architecture, state, classes, labels: None, transform, training, source: None })
    }

    /// The model in the file at `path`.
    ///
    /// # Errors
    /// The file holds no weights, or those of another network, or its metadata is wrong.
    fn read(path: &Path) -> Result<Self, Error> {
        let Loaded { state, texts, .. } = weights::read(path).map_err(|error| Error::Weights(error.into()))?;
        if let Some(text) = texts.get(KEY) {
            let wrong = |source: metadata::Error| Error::Metadata { path: path.to_owned(), source: source.into() };
            let Metadata { architecture, classes, labels, transform, training, source } =
                Metadata::parse(text).map_err(wrong)?;
            let labels = labels.map(|labels| labels.into_iter().map(Arc::from).collect());
            return Ok(Self { architecture, state, classes, labels, transform, training, source });
        }
        let (architecture, classes) =
            hardnet::recognise(&state).ok_or_else(|| Error::OtherNetwork { path: path.to_owned() })?;
        let (architecture, transform, training) = (architecture.clone(), Transform::IMAGENET, Training::Trained);
        Ok(Self { architecture, state, classes, labels: None, transform, training, source: None })
    }

    /// The same model as the user wants it.
    ///
    /// # Errors
    /// [`Error::Labels`] when the labels do not fit, [`Error::InputSize`] when no picture has that size.
    pub fn with(mut self, options: &Options) -> Result<Self, Error> {
        if let Some(path) = &options.labels {
            self.labels = Some(labels::read(path, self.classes).map_err(Error::Labels)?);
        }
        if let Some(size) = options.size {
            self.transform = resized(&self.transform, size)?;
        }
        Ok(self)
    }

    /// Name of every class.
    #[must_use]
    pub fn labels(&self) -> Vec<Arc<str>> {
        match (&self.labels, self.training) {
            (Some(labels), _) => labels.clone(),
            (None, Training::Trained) => labels::of_trained(self.classes),
            (None, Training::Seeded | Training::HeadUntrained) => labels::numbers(self.classes),
        }
    }

    /// The network with its weights.
    ///
    /// # Errors
    /// [`Error::Network`] when the weights do not fit.
    pub fn graph(&self) -> Result<Graph, Error> {
        hardnet::build(&self.architecture, self.classes, &self.state).map_err(Error::Network)
    }

    /// The network as an ONNX file, for inputs of the model's size, with the metadata in it.
    ///
    /// # Errors
    /// The weights do not fit, or the network cannot have that size.
    pub fn onnx(&self) -> Result<Vec<u8>, Error> {
        let Transform { height, width, .. } = self.transform;
        let text = self.metadata().text().map_err(|source| Error::Own(source.into()))?;
        let mut proto = onnx::model(&self.graph()?, height, width).map_err(Error::Onnx)?;
        proto.metadata_props.push(StringStringEntryProto { key: KEY.to_owned(), value: text });
        Ok(onnx::bytes(&proto))
    }

    /// What identifies the weights: `sha256:` and 64 hexadecimal digits over what inference reads, in the
    /// network's order. It is the same whatever file the weights came in.
    #[must_use]
    pub fn digest(&self) -> String {
        let entries = hardnet::entries(&self.architecture, self.classes);
        let read = entries.iter().filter(|entry| entry.kind != Kind::BatchCount);
        self.state.digest_of(read.map(|entry| entry.key.as_str()))
    }

    /// What a model file says of the model.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        let labels = self.labels.as_ref();
        Metadata {
            architecture: self.architecture.clone(),
            classes: self.classes,
            labels: labels.map(|labels| labels.iter().map(ToString::to_string).collect()),
            transform: self.transform,
            training: self.training,
            source: self.source.clone(),
        }
    }
}

/// `transform` for inputs of `[height, width]`: the longer side of the crop keeps its share of the resized
/// shorter side.
pub(super) fn resized(transform: &Transform, [height, width]: [usize; 2]) -> Result<Transform, Error> {
    if ![height, width].iter().all(|side| SIDES.contains(side)) {
        return Err(Error::InputSize { height, width });
    }
    let (long, crop) = (height.max(width), transform.height.max(transform.width));
    let resize = (long * transform.resize + crop / 2) / crop;
    Ok(Transform { resize: resize.max(long), height, width, ..*transform })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn another_size_keeps_the_share_of_the_crop() {
        let size = |size| {
            let Transform { resize, height, width, .. } = resized(&Transform::IMAGENET, size).unwrap();
            (resize, [height, width])
        };
        assert_eq!(size([224, 224]), (256, [224, 224]));
        assert_eq!(size([320, 256]), (366, [320, 256]));
        assert_eq!(size([33, 47]), (54, [33, 47]));
        for side in [0, 31, 8193, usize::MAX] {
            assert!(matches!(resized(&Transform::IMAGENET, [224, side]), Err(Error::InputSize { .. })), "{side}");
        }
    }

    #[test]
    fn a_seeded_model_has_numbers_for_labels_whatever_its_classes() {
        let model = Definition::seeded(hardnet::ARCHITECTURES[0].clone(), 3).unwrap();
        assert_eq!(model.labels().iter().map(|label| &**label).collect::<Vec<_>>(), ["class 0", "class 1", "class 2"]);
        assert_eq!(model.metadata().labels, None);
    }
}
