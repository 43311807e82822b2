//! From the name of a model to something that classifies.
//!
//! A [`Model`] is loaded once. Every worker takes a [`Classifier`] of its own from it; all of them share
//! the weights.

mod description;
mod error;
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
    parameters: u64,
    labels: Vec<Arc<str>>,
    plan: Plan,
}

impl Model {
    /// Loads the model called `name`: a name of the family in any of its spellings, which has seeded
    /// weights.
    ///
    /// # Errors
    /// [`Error::Unknown`] when `name` is neither a model nor a file, [`Error::File`] when it is a file, and
    /// the errors of building and compiling.
    pub fn load(name: &str) -> Result<Self, Error> {
        match hardnet::find(name) {
            Some(architecture) => Self::seeded(architecture),
            None if Path::new(name).exists() => Err(Error::File { path: name.to_owned() }),
            None => Err(Error::Unknown { name: name.to_owned() }),
        }
    }

    fn seeded(architecture: &Architecture) -> Result<Self, Error> {
        let state = hardnet::seeded(architecture, CLASSES).map_err(Error::Network)?;
        let digest = state.digest();
        let graph = hardnet::build(architecture, CLASSES, &state).map_err(Error::Network)?;
        // The largest model takes hundreds of megabytes in every form: no form lives longer than needed.
        drop(state);
        let (height, width) = INPUT_SIZE;
        let plan = Plan::compile(graph, height, width)?;
        Ok(Self {
            name: architecture.name,
            digest,
            parameters: hardnet::parameters(architecture, CLASSES),
            labels: (0..CLASSES).map(|index| format!("class {index}").into()).collect(),
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
        false
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
    fn a_file_is_refused_by_its_name() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let error = Model::load(path).unwrap_err();
        assert_eq!(error.exit(), Exit::Data);
        assert!(error.to_string().starts_with(&format!("`{path}` is a file")), "{error}");
    }
}
