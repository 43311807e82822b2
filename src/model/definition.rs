//! What a model is before it is compiled: the network, the classes, the input.

use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::metadata::{KEY, Metadata, Source, Training};
use super::open::{neither, open_onnx};
use super::preprocessing::Preprocessing;
use super::taught::Taught;
use super::{Error, labels};
use crate::choice::BackendChoice;
use crate::config::{self, Config, SIDES};
use crate::engine::cost::{MAX_ACTIVATION_BYTES, cost};
use crate::engine::graph::Graph;
use crate::engine::import::Scores;
use crate::engine::{features, onnx, plan};
use crate::frame::Region;
use crate::hardnet::{self, Architecture};
use crate::inference::tract::TractPlan;
use crate::inference::{self, Engine, InferencePlan};
use crate::preprocess::Transform;
use crate::protobuf::StringStringEntryProto;
use crate::weights::{EntryRole, StateDict};

/// Number of classes of a network that does not state it: that of ImageNet.
pub(super) const CLASSES: usize = 1000;

/// The user's options for a model, besides its name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelOptions {
    /// A text file with one label per line, instead of the model's own.
    pub labels: Option<PathBuf>,
    /// Rows and columns of the input, instead of the model's own; the crop keeps its share of the picture.
    pub size: Option<[usize; 2]>,
    /// Name of the output with the scores, for an ONNX file with several.
    pub output: Option<String>,
    /// Normalisation and crop, instead of the model's own; its size is not used.
    pub preprocessing: Preprocessing,
    /// The part of the picture to look at, instead of the model's own; all of it is seen.
    pub region: Option<Region>,
    /// How to run it.
    pub engine: Engine,
}

impl ModelOptions {
    /// The options for the model called `name` in `config`: those of `[model]` if it is named there; otherwise, what its file
    /// brings.
    #[must_use]
    pub fn of(config: &Config, name: &str) -> Self {
        let Config { model, inference, .. } = config;
        let &config::Inference { backend, isa, memory, .. } = inference;
        let engine = Engine { backend, isa, memory };
        if name != model.name {
            return Self { engine, ..Self::default() };
        }
        Self {
            labels: Some(&model.labels).filter(|labels| !labels.is_empty()).map(PathBuf::from),
            size: config::parse_size(&model.size),
            output: Some(&model.output).filter(|output| !output.is_empty()).cloned(),
            preprocessing: Preprocessing {
                mean: config::parse_mean(&model.mean),
                std: config::parse_std(&model.std),
                crop_ratio: Some(model.crop_ratio).filter(|ratio| *ratio > 0.0),
                size: None,
            },
            region: None,
            engine,
        }
    }
}

/// A model before it is compiled.
#[derive(Debug)]
pub struct Definition {
    /// The network.
    pub network: NetworkDefinition,
    /// Number of classes.
    pub classes: usize,
    /// Class names from the model or the user; `None`: the default names for that number of classes.
    pub labels: Option<Vec<Arc<str>>>,
    /// What the network's output values are.
    pub scores: Scores,
    /// How pictures are converted to inputs.
    pub transform: Transform,
    /// What is assumed of the preprocessing, as text for the log; `None` if nothing is.
    pub assumed: Option<String>,
    /// Whether the weights have been trained.
    pub training: Training,
    /// The file that the weights were imported from.
    pub source: Option<Source>,
    /// What it has been taught; the head in the network's own weights is then a part of it.
    pub taught: Option<Box<Taught>>,
}

/// A model's network.
#[derive(Debug)]
pub enum NetworkDefinition {
    /// A network of the family, or one with the same structure.
    Family {
        /// Its architecture table.
        architecture: Architecture,
        /// Its weights, under PyTorch's names.
        state: StateDict,
    },
    /// A network from an ONNX file.
    Onnx(Box<Onnx>),
}

/// A network from an ONNX file.
#[derive(Debug)]
pub struct Onnx {
    /// The network, or the part that a graph cannot represent; it then runs on tract as is.
    pub graph: Result<Graph, String>,
    /// The file.
    pub path: PathBuf,
    /// Name of the output that was asked for.
    pub output: Option<String>,
    /// Name of the model.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Number of weights.
    pub parameters: u64,
}

impl Definition {
    /// An untrained network with `classes` classes.
    ///
    /// # Errors
    /// [`Error::Network`] if memory for that many classes cannot be reserved.
    pub fn seeded(architecture: Architecture, classes: usize) -> Result<Self, Error> {
        let state = hardnet::seeded(&architecture, classes).map_err(Error::Network)?;
        Ok(Self::of_family(architecture, state, classes, Training::Seeded))
    }

    /// A network of the family with ImageNet's preprocessing and the default names of its classes.
    pub(super) fn of_family(architecture: Architecture, state: StateDict, classes: usize, training: Training) -> Self {
        Self {
            network: NetworkDefinition::Family { architecture, state },
            classes,
            labels: None,
            scores: Scores::Logits,
            assumed: None,
            transform: Transform::IMAGENET,
            training,
            source: None,
            taught: None,
        }
    }

    /// A trained network of the family with these names of its classes.
    #[cfg(feature = "train")]
    #[must_use]
    pub fn trained(architecture: Architecture, state: StateDict, labels: Vec<Arc<str>>, transform: Transform) -> Self {
        let family = Self::of_family(architecture, state, labels.len(), Training::Trained);
        Self { labels: Some(labels), transform, ..family }
    }

    /// The same model with the user's options applied.
    ///
    /// # Errors
    /// [`Error::Labels`] if the labels do not fit, [`Error::InputSize`] if the size is not supported.
    pub fn with(mut self, options: &ModelOptions) -> Result<Self, Error> {
        if let Some(path) = &options.labels {
            self.labels = Some(labels::read(path, self.classes).map_err(Error::Labels)?);
        }
        if let (Some(labels), Some(_)) = (&self.labels, &self.taught) {
            labels::check_taught(labels).map_err(Error::Labels)?;
        }
        if let Some(size) = options.size {
            let Transform { height, width, .. } = self.transform;
            if self.taught.is_some() && size != [height, width] {
                tracing::warn!(
                    "{} was taught at {height}x{width}: at another size, it may be wrong and call everything unknown",
                    self.name()
                );
            }
            self.transform = resized(&self.transform, size)?;
        }
        self.transform = Preprocessing { size: None, ..options.preprocessing }.apply(self.transform)?;
        if let Some(region) = options.region {
            self.transform = self.transform.of_region(region);
        }
        Ok(self)
    }

    /// Name of the model.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.network {
            NetworkDefinition::Family { architecture, .. } => &architecture.name,
            NetworkDefinition::Onnx(network) => &network.name,
        }
    }

    /// Names of all classes.
    #[must_use]
    pub fn labels(&self) -> Vec<Arc<str>> {
        match (&self.labels, self.training) {
            (Some(labels), _) => labels.clone(),
            (None, Training::Trained) => labels::of_trained(self.classes),
            (None, Training::Seeded | Training::HeadUntrained) => labels::numbers(self.classes),
        }
    }

    /// Number of learnable parameters.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        match &self.network {
            NetworkDefinition::Family { architecture, .. } => {
                let taught = self.taught.as_ref().map_or(0, |taught| taught.extra_weights(architecture));
                hardnet::parameters(architecture, self.classes) + taught as u64
            }
            NetworkDefinition::Onnx(network) => network.parameters,
        }
    }

    /// The network with its weights.
    ///
    /// # Errors
    /// [`Error::Network`] if the weights do not fit, [`Error::NoGraph`] if a graph cannot represent the network,
    /// [`inference::Error::Memory`] if its maps would need too much memory.
    pub fn graph(&self) -> Result<Graph, Error> {
        let graph = match &self.network {
            NetworkDefinition::Family { architecture, state } => {
                hardnet::build(architecture, self.classes, state).map_err(Error::Network)?
            }
            NetworkDefinition::Onnx(network) => {
                let Onnx { graph, path, .. } = &**network;
                graph.clone().map_err(|reason| Error::NoGraph { path: path.clone(), reason })?
            }
        };
        check_memory(&graph, &self.transform, self.name())?;
        match &self.taught {
            Some(taught) => {
                let Transform { height, width, .. } = self.transform;
                let graph = features::with_head(&graph, [height, width], &taught.grids(), taught.linear());
                graph.map_err(|source| Error::Lesson { name: self.name().to_owned(), source })
            }
            None => Ok(graph),
        }
    }

    /// Multiply-accumulates of one inference of a network of the family.
    ///
    /// # Errors
    /// [`Error::Network`] if the network cannot be built, [`Error::Inference`] if it does not support its size.
    pub fn macs(&self) -> Result<u64, Error> {
        let Transform { height, width, .. } = self.transform;
        let graph = match &self.network {
            NetworkDefinition::Family { architecture, .. } => {
                hardnet::skeleton(architecture, 1).map_err(Error::Network)?
            }
            NetworkDefinition::Onnx(_) => self.graph()?,
        };
        Ok(graph.macs(height, width)?)
    }

    /// The network with its weights, whose memory it takes over, and with its own linear layer.
    ///
    /// # Errors
    /// As for [`graph`](Self::graph).
    pub(super) fn into_graph(self) -> Result<Graph, Error> {
        let (transform, name) = (self.transform, self.name().to_owned());
        let graph = match self.network {
            NetworkDefinition::Family { architecture, state } => {
                hardnet::build_out_of(&architecture, self.classes, state).map_err(Error::Network)?
            }
            NetworkDefinition::Onnx(network) => {
                let Onnx { graph, path, .. } = *network;
                graph.map_err(|reason| Error::NoGraph { path, reason })?
            }
        };
        check_memory(&graph, &transform, &name)?;
        Ok(graph)
    }

    /// The native engine's plan for inputs of the model's size.
    ///
    /// # Errors
    /// The errors of [`graph`](Self::graph), and [`inference::Error::Native`] if the engine does not support the whole
    /// network.
    pub fn plan(&self, options: plan::PlanOptions) -> Result<plan::Plan, Error> {
        let Transform { height, width, .. } = self.transform;
        Ok(plan::Plan::new(self.graph()?, height, width, options).map_err(inference::Error::Native)?)
    }

    /// The network made ready to run, and the multiply-accumulates per run if they are known.
    ///
    /// # Errors
    /// The errors of [`graph`](Self::graph) and of the backend.
    pub(super) fn compile(mut self, engine: Engine) -> Result<(InferencePlan, Option<u64>), Error> {
        let Transform { height, width, .. } = self.transform;
        let name = self.name().to_owned();
        if let Some(taught) = self.taught.take() {
            let grids = taught.grids();
            let graph = self.into_graph()?;
            let macs = graph.macs(height, width)?;
            let lesson = |source| Error::Lesson { name: name.clone(), source };
            let lengths = features::lengths(&graph, &grids).map_err(lesson)?;
            taught.fit(&lengths).map_err(|source| Error::Unfit { name: name.clone(), source: source.into() })?;
            let features = features::features(&graph, [height, width], &grids).map_err(lesson)?;
            drop(graph);
            return Ok((InferencePlan::new(features, [height, width], engine, &name)?, Some(macs)));
        }
        // The largest model takes hundreds of megabytes in each form, so every form is dropped as early as possible.
        let graph = match self.network {
            NetworkDefinition::Family { architecture, state } => {
                hardnet::build_out_of(&architecture, self.classes, state).map_err(Error::Network)?
            }
            NetworkDefinition::Onnx(network) => {
                let Onnx { graph, path, output, .. } = *network;
                match graph {
                    Ok(graph) => graph,
                    Err(reason) if engine.backend == BackendChoice::Native => {
                        return Err(Error::NoGraph { path, reason });
                    }
                    Err(reason) => {
                        tracing::warn!("{} runs on tract, which is slower: {reason}", path.display());
                        let plan = TractPlan::from_onnx(open_onnx(&path, output.as_deref())?.0, height, width);
                        let plan = plan.map_err(|tract| neither(&path, reason, tract))?;
                        return Ok((InferencePlan::Tract(plan), None));
                    }
                }
            }
        };
        check_memory(&graph, &self.transform, &name)?;
        let macs = graph.macs(height, width)?;
        Ok((InferencePlan::new(graph, [height, width], engine, &name)?, Some(macs)))
    }

    /// The network as an ONNX file, for inputs of the model's size, including the metadata.
    ///
    /// # Errors
    /// If the weights do not fit, or the network does not support that size.
    pub fn onnx(&self) -> Result<Vec<u8>, Error> {
        let Transform { height, width, .. } = self.transform;
        let mut proto = onnx::model(&self.graph()?, height, width).map_err(inference::Error::Onnx)?;
        if let Some(metadata) = self.metadata() {
            let value = metadata.text().map_err(|source| Error::Own(source.into()))?;
            proto.metadata_props.push(StringStringEntryProto { key: KEY.to_owned(), value });
        }
        Ok(onnx::bytes(&proto))
    }

    /// Identifies the model: `sha256:` and 64 hexadecimal digits. For the family it is the digest of the values that
    /// inference reads, in the network's order, so it does not depend on the file format; otherwise it is the digest of
    /// the file.
    #[must_use]
    pub fn digest(&self) -> String {
        match &self.network {
            NetworkDefinition::Family { architecture, state } => {
                let entries = hardnet::entries(architecture, self.classes);
                let read = entries.iter().filter(|entry| entry.kind != EntryRole::BatchCount);
                let own = state.digest_of(read.map(|entry| entry.key.as_str()));
                match &self.taught {
                    Some(taught) => {
                        let both = Sha256::digest(format!("{own} {}", taught.digest(architecture)));
                        both.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
                    }
                    None => own,
                }
            }
            NetworkDefinition::Onnx(network) => format!("sha256:{}", network.sha256),
        }
    }

    /// The metadata for a model file; `None` for networks that are not of the family.
    #[must_use]
    pub fn metadata(&self) -> Option<Metadata> {
        let NetworkDefinition::Family { architecture, .. } = &self.network else { return None };
        let labels = self.labels.as_ref();
        Some(Metadata {
            architecture: architecture.clone(),
            classes: self.classes,
            labels: labels.map(|labels| labels.iter().map(ToString::to_string).collect()),
            transform: self.transform,
            training: self.training,
            source: self.source.clone(),
        })
    }
}

/// Checks that the maps of a network fit into the allowed memory.
fn check_memory(graph: &Graph, transform: &Transform, name: &str) -> Result<(), Error> {
    let needed = cost(graph, transform.height, transform.width)?.peak_activation_bytes;
    if needed > MAX_ACTIVATION_BYTES {
        return Err(inference::Error::Memory { name: name.to_owned(), needed, limit: MAX_ACTIVATION_BYTES }.into());
    }
    Ok(())
}

/// `transform` for inputs of `[height, width]`: the longer side of the crop keeps its share of the resized shorter
/// side.
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
        assert_eq!(model.metadata().unwrap().labels, None);
    }
}
