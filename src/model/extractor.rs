//! A model without its last linear layer: pictures in, features out.

use super::{Definition, Error, ModelOptions};
use crate::engine::features::{Grid, features};
use crate::inference::{self, Engine, InferencePlan, Network};
use crate::kernels::runtime::Threads;
use crate::preprocess::Transform;

/// The part of a model that computes features, ready to run.
#[derive(Debug)]
pub struct Extractor {
    transform: Transform,
    plan: InferencePlan,
}

impl Extractor {
    /// The features of the model called `name`, and the means of `grids`; see [`features`].
    ///
    /// # Errors
    /// The errors of [`Definition::open`] and [`compile`](Self::compile).
    pub fn load(name: &str, options: &ModelOptions, grids: &[Grid]) -> Result<Self, Error> {
        Self::compile(Definition::open(name, options)?, grids, options.engine)
    }

    /// The features of a model, and the means of `grids`.
    ///
    /// # Errors
    /// [`Error::Features`] if the network has none, or no such maps; if the weights do not fit, or the backend rejects the
    /// network.
    pub fn compile(definition: Definition, grids: &[Grid], engine: Engine) -> Result<Self, Error> {
        let (transform, name) = (definition.transform, definition.name().to_owned());
        let size = [transform.height, transform.width];
        let graph = definition.into_graph()?;
        let features =
            features(&graph, size, grids).map_err(|source| Error::Features { name: name.clone(), source })?;
        drop(graph);
        Ok(Self { transform, plan: InferencePlan::new(features, size, engine, &name)? })
    }

    /// How pictures are converted to inputs.
    #[must_use]
    pub fn transform(&self) -> &Transform {
        &self.transform
    }

    /// The network for one user at a time; each run uses `threads`, but tract uses one. Its output are the features.
    ///
    /// # Errors
    /// The errors of [`InferencePlan::network`].
    pub fn network(&self, threads: &Threads) -> Result<Box<dyn Network>, inference::Error> {
        self.plan.network(threads)
    }
}
