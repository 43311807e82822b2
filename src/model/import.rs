//! Turns weights from any framework into a model file that describes itself.

use std::path::{Path, PathBuf};

use prost::Message as _;

use super::definition::CLASSES;
use super::metadata::{KEY, Metadata, Source, Training};
use super::open::open_onnx;
use super::{Definition, Error, Preprocessing, labels, taught};
use crate::engine::import::Imported;
use crate::hardnet::{self, Architecture, Published};
use crate::preprocess::Transform;
use crate::weights::file::Problem;
use crate::weights::{self, Format, Loaded, onnx};

/// What to import, and what the file does not state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Import {
    /// The file with the weights.
    pub file: PathBuf,
    /// Place of the weights in a checkpoint, such as `model.ema`; `None`: the averaged or the largest ones.
    pub state_dict: Option<String>,
    /// The network; `None`: the one in the metadata, or the published one that fits the weights.
    pub architecture: Option<Architecture>,
    /// Number of classes; `None`: with a new head, the number of labels; otherwise that of the head in the file.
    pub classes: Option<usize>,
    /// Whether to discard the head in the file, if any; the new one is untrained.
    pub new_head: bool,
    /// A text file with one label per line.
    pub labels: Option<PathBuf>,
    /// Size, crop and normalisation of the input.
    pub preprocessing: Preprocessing,
    /// The published weights that the file holds; `None`: what its digest says.
    pub published: Option<&'static Published>,
}

impl Import {
    /// Reads the file and checks that everything in it fits together.
    ///
    /// # Errors
    /// If the file holds no weights or those of another network, entries are missing, unknown or misshapen (all of them
    /// are listed), labels do not fit, or the preprocessing settings are not supported.
    pub fn run(&self) -> Result<Definition, Error> {
        let path = &self.file;
        let read = |error: weights::file::Error| Error::Weights(error.into());
        let Loaded { mut state, mut texts, format } = match weights::read_place(path, self.state_dict.as_deref()) {
            Err(weights::file::Error::Content { source: Problem::Onnx(onnx::Error::External { .. }), .. }) => {
                let whole = open_onnx(path, None)?.0.into_proto().encode_to_vec();
                let unusable = |source| read(weights::file::Error::Content { path: path.clone(), source });
                weights::read_bytes(&whole).map_err(unusable)?
            }
            outcome => outcome.map_err(read)?,
        };
        let mut unfolded = None;
        if format == Format::Onnx {
            let (file, _) = open_onnx(path, None)?;
            texts = file.metadata();
            // With folded batch norms, the names are lost and the order identifies the network.
            if hardnet::recognise(&state).is_none()
                && let Ok(Imported { graph, .. }) = file.network()
                && let Some((architecture, _, weights)) =
                    hardnet::weights_of(&graph, self.architecture.as_ref()).map_err(Error::State)?
            {
                (state, unfolded) = (weights, Some(architecture));
            }
        }
        if texts.contains_key(taught::KEY) {
            return Err(Error::AlreadyTaught { path: path.clone() });
        }
        let said = texts.get(KEY).map(|text| Metadata::parse(text)).transpose();
        let said = said.map_err(|source| Error::Metadata { path: path.clone(), source: source.into() })?;
        let known = said.as_ref().map(|metadata| metadata.architecture.clone());
        let architecture = self.architecture.clone().or(unfolded).or(known);
        let architecture = architecture.or_else(|| hardnet::recognise(&state).map(|(found, _)| found.clone()));
        let architecture = architecture.ok_or_else(|| Error::OtherNetwork { path: path.clone() })?;

        let in_file = hardnet::head_classes(&architecture, &state);
        let training = said.as_ref().map_or(Training::Trained, |metadata| metadata.training);
        // By default, a new head has as many classes as there are labels.
        let labelled = match (&self.labels, self.new_head, self.classes) {
            (Some(file), true, None) => Some(labels::read_all(file).map_err(Error::Labels)?.len()),
            _ => None,
        };
        let (classes, training) = match (self.new_head, self.classes.or(labelled).or(in_file), in_file) {
            (true, None, _) => return Err(Error::NoHead { path: path.clone() }),
            // The head is missing, and perhaps other entries too: all missing entries are reported together.
            (false, None, _) => (CLASSES, training),
            (true, Some(classes), _) => {
                hardnet::with_new_head(&architecture, classes, &mut state).map_err(Error::Network)?;
                (classes, if training == Training::Seeded { training } else { Training::HeadUntrained })
            }
            (false, Some(classes), Some(found)) if classes != found => {
                return Err(Error::Head { path: path.clone(), found, classes });
            }
            (false, Some(classes), _) => (classes, training),
        };
        let labels = match (&self.labels, &said) {
            (Some(file), _) => Some(labels::read(file, classes).map_err(Error::Labels)?),
            (None, Some(Metadata { labels: Some(labels), .. })) if labels.len() == classes => {
                Some(labels.iter().map(|label| label.as_str().into()).collect())
            }
            (None, _) => None,
        };
        let transform =
            self.preprocessing.apply(said.as_ref().map_or(Transform::IMAGENET, |metadata| metadata.transform))?;
        let source = match said {
            Some(Metadata { source: Some(source), .. }) => source,
            _ => {
                let published = match self.published {
                    Some(published) => Some(published),
                    None => published_as(path, &architecture.name).map_err(read)?,
                };
                Source {
                    file: file_name(path),
                    sha256: weights::file::sha256(path).map_err(read)?,
                    published: published.map(|published| published.source),
                    trained_by: published.map(|published| published.trained_by),
                }
            }
        };
        let family = Definition::of_family(architecture, state, classes, training);
        let definition = Definition { labels, transform, source: Some(source), ..family };
        definition.graph()?;
        Ok(definition)
    }
}

/// The published weights of the network called `name` whose digest the file at `path` has.
fn published_as(path: &Path, name: &str) -> Result<Option<&'static Published>, weights::file::Error> {
    for published in hardnet::published(name) {
        if let Some(check) = published.check
            && check.accepts(&weights::file::digest(path, check)?)
        {
            return Ok(Some(published));
        }
    }
    Ok(None)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
