//! Models: the network, the classes, the input, and the model files.
//!
//! A [`Model`] is loaded once. Every worker takes its own [`InferenceSession`] from it; all of them share the weights.

pub mod built_in;
mod definition;
mod description;
mod error;
mod extractor;
mod fetch;
mod import;
pub mod labels;
pub mod metadata;
mod open;
mod parts;
mod preprocessing;
mod save;
pub mod taught;
mod verify;

use std::sync::Arc;

pub use definition::{Definition, ModelOptions, NetworkDefinition, Onnx};
pub use description::{Description, Figures, Stage, describe};
pub use error::{Error, names};
pub use extractor::Extractor;
pub use fetch::{Fetch, FetchError, Fetched, Origin, Sources};
pub use import::Import;
pub use metadata::{Metadata, Training};
pub use open::{architecture, is_known};
pub use preprocessing::{Preprocessing, PreprocessingError};
pub use save::{ModelFormat, SaveError, save, save_as};
pub use taught::{Taught, TaughtError};
pub use verify::{Case, Reference, ReferenceError, StageDifference, Summary, Verification, verify};

use crate::choice::BackendChoice;
use crate::engine::import::Scores;
use crate::engine::plan;
use crate::exit::chain;
use crate::inference::{
    self, Backend, ClassHead, Engine, InferencePlan, InferenceSession, Network, TaughtHead, UNKNOWN,
};
use crate::kernels::runtime::Threads;
use crate::preprocess::Transform;

/// A model that is ready to run.
#[derive(Debug)]
pub struct Model {
    name: String,
    digest: String,
    training: Training,
    parameters: u64,
    macs: Option<u64>,
    labels: Arc<[Arc<str>]>,
    scores: Scores,
    transform: Transform,
    /// The head of a taught model, whose network computes features.
    head: Option<Arc<TaughtHead>>,
    plan: InferencePlan,
}

impl Model {
    /// Loads the model called `name`; see [`Definition::open`]. If the native engine fails to compile a network that it
    /// supports, `auto` takes tract.
    ///
    /// # Errors
    /// The errors of [`Definition::open`] and [`Model::compile`].
    pub fn load(name: &str, options: &ModelOptions) -> Result<Self, Error> {
        let engine = options.engine;
        // What a file was taught does not fit: the name of its network would not say which file.
        let called = |error| match error {
            Error::Lesson { source, .. } => Error::Lesson { name: name.to_owned(), source },
            Error::Unfit { source, .. } => Error::Unfit { name: name.to_owned(), source },
            error => error,
        };
        match Self::compile(Definition::open(name, options)?, engine).map_err(called) {
            Err(Error::Inference(inference::Error::Native(error @ plan::Error::Pass { .. })))
                if engine.backend == BackendChoice::Auto && cfg!(feature = "tract") =>
            {
                let native = chain(&error);
                tracing::warn!(model = name, "runs on tract: the native engine fails ({native}); please report it");
                // The native engine has taken the weights.
                let tract = Engine { backend: BackendChoice::Tract, ..engine };
                Self::compile(Definition::open(name, options)?, tract).map_err(|error| match error {
                    Error::Inference(tract) => Error::Inference(inference::Error::neither(native, tract)),
                    other => other,
                })
            }
            outcome => outcome,
        }
    }

    /// Makes a model ready to run.
    ///
    /// # Errors
    /// If the weights do not fit, or the backend rejects the network.
    pub fn compile(definition: Definition, engine: Engine) -> Result<Self, Error> {
        let Definition { transform, training, scores, ref assumed, .. } = definition;
        let assumed = assumed.clone();
        let (name, digest) = (definition.name().to_owned(), definition.digest());
        let (labels, parameters) = (definition.labels().into(), definition.parameters());
        let head = definition.taught.as_ref().map(|taught| Arc::new(taught.head.clone()));
        let (plan, macs) = definition.compile(engine)?;
        if let Some(assumed) = assumed {
            tracing::info!("{assumed}");
        }
        Ok(Self { name, digest, training, parameters, macs, labels, scores, transform, head, plan })
    }

    /// Name of the model.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Identifies the weights: `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether the weights have been trained.
    #[must_use]
    pub fn training(&self) -> Training {
        self.training
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.labels.len()
    }

    /// Names of all classes.
    #[must_use]
    pub fn labels(&self) -> &[Arc<str>] {
        &self.labels
    }

    /// Names of all answers: the classes, and [`UNKNOWN`] if the model has been taught to tell what is none of them.
    #[must_use]
    pub fn answers(&self) -> Vec<Arc<str>> {
        self.labels.iter().cloned().chain(self.head.iter().map(|_| UNKNOWN.into())).collect()
    }

    /// Whether `hardnetd teach` has made it.
    #[must_use]
    pub fn is_taught(&self) -> bool {
        self.head.is_some()
    }

    /// Height and width of the input in pixels.
    #[must_use]
    pub fn input(&self) -> (usize, usize) {
        (self.transform.height, self.transform.width)
    }

    /// How pictures are converted to inputs.
    #[must_use]
    pub fn transform(&self) -> &Transform {
        &self.transform
    }

    /// Number of learnable parameters.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    /// Multiply-accumulates of one inference, counting convolutions and linear layers; `None` if parts of the network
    /// are unknown.
    #[must_use]
    pub fn macs(&self) -> Option<u64> {
        self.macs
    }

    /// The network for one user at a time; each run uses `threads`, but tract uses one. Its output has one value per
    /// class, but that of a taught model are features.
    ///
    /// # Errors
    /// The errors of [`InferencePlan::network`].
    pub fn network(&self, threads: &Threads) -> Result<Box<dyn Network>, inference::Error> {
        self.plan.network(threads)
    }

    /// The network with the names of its classes; it has run once.
    ///
    /// # Errors
    /// The errors of [`InferencePlan::network`], or if the backend fails.
    pub fn session(&self, threads: &Threads) -> Result<InferenceSession, inference::Error> {
        let labels = Arc::clone(&self.labels);
        let head = match &self.head {
            Some(head) => ClassHead::taught(labels, Arc::clone(head)),
            None => ClassHead::new(labels, self.scores),
        };
        InferenceSession::new(self.network(threads)?, head)
    }

    /// Whether runs have reached their final speed, which takes seconds.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.plan.is_settled()
    }

    /// The backend that runs the network.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.plan.backend()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn an_unknown_name_lists_those_there_are() {
        let error = Model::load("hardnet40", &ModelOptions::default()).unwrap_err();
        assert_eq!(error.exit(), Exit::NoInput);
        assert_eq!(
            error.to_string(),
            "`hardnet40` is not the name of a model, and there is no such file; \
             the models are signal, hardnet39ds, hardnet68ds, hardnet68, hardnet85"
        );
        assert!(matches!(Model::load("", &ModelOptions::default()), Err(Error::Unknown { .. })));
        assert!(matches!(Model::load("a\0b", &ModelOptions::default()), Err(Error::Unknown { .. })));
    }

    #[test]
    fn a_file_that_holds_no_weights_of_the_family_is_refused() {
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/formats/tiny_zip.pth");
        let error = Model::load(data, &ModelOptions::default()).unwrap_err();
        assert!(matches!(error, Error::OtherNetwork { .. }), "{error}");
        assert_eq!(error.exit(), Exit::Data);
        let text =
            Model::load(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"), &ModelOptions::default()).unwrap_err();
        assert_eq!(text.exit(), Exit::Data);
    }
}
