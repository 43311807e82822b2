//! What a training begins with.

use crate::hardnet::Architecture;
use crate::model::{self, Definition, ModelOptions, NetworkDefinition};
use crate::preprocess::Transform;

use super::error::Error;
use super::parameters::Parameters;
use super::random::Random;

/// A network before training.
#[derive(Debug)]
pub struct Start {
    /// The network.
    pub architecture: Architecture,
    /// How pictures become inputs.
    pub transform: Transform,
    /// The first weights.
    pub parameters: Parameters,
    /// Whether the weights come from a file.
    pub is_tuned: bool,
}

impl Start {
    /// The network `name` for tasks with `classes` classes, of which the first is the model's: the name of a network or a table, which learn from scratch, or a file with
    /// weights. A linear layer for another number of classes is replaced, which is logged.
    ///
    /// # Errors
    /// If there is no such model, its weights do not fit, or it is not of the family.
    pub fn open(name: &str, options: &ModelOptions, classes: &[usize], seed: u64) -> Result<Self, Error> {
        let is_tuned = model::architecture(name).is_err();
        let definition = Definition::open(name, options)?;
        let (transform, found) = (definition.transform, definition.classes);
        let name = definition.name().to_owned();
        let NetworkDefinition::Family { architecture, state } = definition.network else {
            return Err(Error::Network { name });
        };
        let mut random = Random::new(seed, &[]);
        let mut parameters = Parameters::initial(&architecture, classes, &mut random);
        if is_tuned {
            let old = Parameters::from_state(&architecture, &state, &[found], &mut random)?;
            let mut kept = parameters.backbone;
            if found == classes[0] {
                kept += found * (parameters.features + 1);
            } else {
                tracing::info!(
                    "the linear layer of {name} for {found} classes is replaced by a new one for {}; the other weights \
                     are kept",
                    classes[0]
                );
            }
            parameters.values[..kept].copy_from_slice(&old.values[..kept]);
            parameters.statistics = old.statistics;
        }
        Ok(Self { architecture, transform, parameters, is_tuned })
    }
}
