//! From the name of a model to something that classifies.
//!
//! A [`Model`] is loaded once. Every worker takes a [`Classifier`] of its own from it; all of them share
//! the weights.

mod description;
mod error;
mod labels;
mod session;
mod top;
pub mod tract;

use std::path::Path;
use std::sync::Arc;

pub use description::{Description, Figures, Stage, describe};
pub use error::Error;
pub use session::Session;
pub use top::{Ranked, top_k};

use crate::hardnet::{self, Architecture};
use crate::tensor::Tensor;
use crate::weights::{self, Kind, StateDict};
use tract::Plan;

/// Height and width in pixels of the input of every model of the family.
const INPUT_SIZE: (usize, usize) = (224, 224);

/// Number of classes of the models of the family: those of ImageNet.
const CLASSES: usize = 1000;

/// Classifies one image at a time.
pub trait Classifier: Send {
    /// Writes the logit of every class of `input` into `logits`.
    ///
    /// `input` is a preprocessed image of the model's height and width with three channels, and `logits`
    /// is as long as there are classes. It runs on the calling thread alone. After an error the next call
    /// starts afresh.
    ///
    /// # Errors
    /// [`Error::Input`] and [`Error::Logits`] when a shape is wrong, [`Error::Tract`] when the back end
    /// fails; what `logits` then holds is not specified.
    fn infer(&mut self, input: &Tensor, logits: &mut [f32]) -> Result<(), Error>;
}

/// A model that is ready to run.
#[derive(Debug)]
pub struct Model {
    name: &'static str,
    digest: String,
    trained: bool,
    parameters: u64,
    labels: Vec<Arc<str>>,
    plan: Plan,
}

impl Model {
    /// Loads the model called `name`: a name of the family in any of its spellings, which has seeded
    /// weights, or a file with the weights of one (PyTorch, PaddlePaddle, safetensors). Weights from a
    /// file count as trained; they tell the architecture and the number of classes.
    ///
    /// # Errors
    /// [`Error::Unknown`] when `name` is neither a model nor a file, [`Error::Weights`] and
    /// [`Error::OtherNetwork`] when the file cannot be used, and the errors of building and compiling.
    pub fn load(name: &str) -> Result<Self, Error> {
        match hardnet::find(name) {
            Some(architecture) => Self::seeded(architecture),
            None if Path::new(name).exists() => Self::from_file(Path::new(name)),
            None => Err(Error::Unknown { name: name.to_owned() }),
        }
    }

    fn from_file(path: &Path) -> Result<Self, Error> {
        let (architecture, classes, state) = read(path)?;
        Self::new(architecture, classes, state, labels::of_trained(classes), true)
    }

    fn seeded(architecture: &Architecture) -> Result<Self, Error> {
        let state = hardnet::seeded(architecture, CLASSES).map_err(Error::Network)?;
        Self::new(architecture, CLASSES, state, labels::numbers(CLASSES), false)
    }

    fn new(
        architecture: &Architecture,
        classes: usize,
        state: StateDict,
        labels: Vec<Arc<str>>,
        trained: bool,
    ) -> Result<Self, Error> {
        // Of what inference reads, in the network's order: the same whatever file the weights came in.
        let entries = hardnet::entries(architecture, classes);
        let read = entries.iter().filter(|entry| entry.kind != Kind::BatchCount);
        let digest = state.digest_of(read.map(|entry| entry.key.as_str()));
        let graph = hardnet::build(architecture, classes, &state).map_err(Error::Network)?;
        // The largest model takes hundreds of megabytes in every form: no form lives longer than needed.
        drop(state);
        let (height, width) = INPUT_SIZE;
        let plan = Plan::compile(graph, height, width)?;
        Ok(Self {
            name: architecture.name,
            digest,
            trained,
            parameters: hardnet::parameters(architecture, classes),
            labels,
            plan,
        })
    }

    /// Name of the model.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
    }

    /// What identifies the weights: `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether the weights come from training; the results of a model with seeded weights mean nothing.
    #[must_use]
    pub fn trained(&self) -> bool {
        self.trained
    }

    /// Number of classes, which is the number of logits.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.labels.len()
    }

    /// Name of every class.
    #[must_use]
    pub fn labels(&self) -> &[Arc<str>] {
        &self.labels
    }

    /// Height and width of the input in pixels.
    #[must_use]
    pub fn input(&self) -> (usize, usize) {
        INPUT_SIZE
    }

    /// Number of learnable parameters.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    /// A classifier for one thread.
    ///
    /// # Errors
    /// [`Error::Tract`] when the back end fails.
    pub fn classifier(&self) -> Result<Box<dyn Classifier>, Error> {
        Ok(Box::new(self.plan.classifier()?))
    }
}

/// The weights in a file, with the architecture and the number of classes that they tell.
fn read(path: &Path) -> Result<(&'static Architecture, usize, StateDict), Error> {
    let state = weights::read(path).map_err(|error| Error::Weights(error.into()))?.state;
    let (architecture, classes) =
        hardnet::recognise(&state).ok_or_else(|| Error::OtherNetwork { path: path.to_owned() })?;
    Ok((architecture, classes, state))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn an_unknown_name_lists_those_there_are() {
        let error = Model::load("hardnet40").unwrap_err();
        assert_eq!(error.exit(), Exit::NoInput);
        assert_eq!(
            error.to_string(),
            "`hardnet40` is no model and no such file exists; \
             the models are hardnet39ds, hardnet68ds, hardnet68, hardnet85"
        );
        assert!(matches!(Model::load(""), Err(Error::Unknown { .. })));
        assert!(matches!(Model::load("a\0b"), Err(Error::Unknown { .. })));
    }

    #[test]
    fn a_file_that_holds_no_weights_of_the_family_is_refused() {
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/formats/tiny_zip.pth");
        let error = Model::load(data).unwrap_err();
        assert!(matches!(error, Error::OtherNetwork { .. }), "{error}");
        assert_eq!(error.exit(), Exit::Data);
        let text = Model::load(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap_err();
        assert_eq!(text.exit(), Exit::Data);
    }
}
