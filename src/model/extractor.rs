//! A model without its last linear layer: pictures in, features out.

use super::{Definition, Error};
use crate::engine::features::{self, Grid, early_grid, late_grid};
use crate::engine::graph::Graph;
use crate::inference::{self, Engine, InferencePlan, Network};
use crate::kernels::runtime::Threads;
use crate::preprocess::Transform;

/// The part of a model that computes features, ready to run.
#[derive(Debug)]
pub struct Extractor {
    transform: Transform,
    /// Number of values that the network's own linear layer reads, and those of the means of each grid.
    lengths: Vec<usize>,
    grids: Vec<Grid>,
    plan: InferencePlan,
}

impl Extractor {
    /// The features of a model, and the means of `grids`; see [`features::features`].
    ///
    /// # Errors
    /// [`Error::Features`] if the network has none, or no such maps; if the weights do not fit, or the backend rejects the
    /// network.
    pub fn compile(definition: Definition, grids: &[Grid], engine: Engine) -> Result<Self, Error> {
        Self::with(definition, engine, |_| Ok(grids.to_vec()))
    }

    /// The features of a model, the means of its late map if it has one, and those of its early map; see [`late_grid`] and
    /// [`early_grid`]. `cells` are the numbers along each side of the late and the early one.
    ///
    /// # Errors
    /// As for [`compile`](Self::compile).
    pub fn with_maps(definition: Definition, cells: [usize; 2], engine: Engine) -> Result<Self, Error> {
        let size = [definition.transform.height, definition.transform.width];
        Self::with(definition, engine, |graph| {
            let grids = [late_grid(graph, size, cells[0])?, early_grid(graph, size, cells[1])?];
            Ok(grids.into_iter().flatten().collect())
        })
    }

    fn with(
        definition: Definition,
        engine: Engine,
        grids: impl FnOnce(&Graph) -> Result<Vec<Grid>, features::Error>,
    ) -> Result<Self, Error> {
        let (transform, name) = (definition.transform, definition.name().to_owned());
        let size = [transform.height, transform.width];
        let graph = definition.into_graph()?;
        let take = |graph: &Graph| {
            let grids = grids(graph)?;
            Ok((features::lengths(graph, &grids)?, features::features(graph, size, &grids)?, grids))
        };
        let (lengths, features, grids) =
            take(&graph).map_err(|source| Error::Features { name: name.clone(), source })?;
        drop(graph);
        Ok(Self { transform, lengths, grids, plan: InferencePlan::new(features, size, engine, &name)? })
    }

    /// Numbers of features: those that the network's own linear layer reads, then those of each grid.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The maps whose means are features, too.
    #[must_use]
    pub fn grids(&self) -> &[Grid] {
        &self.grids
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
