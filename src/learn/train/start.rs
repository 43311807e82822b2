//! What a training begins with.

use crate::hardnet::Architecture;
use crate::model::{self, Definition, ModelOptions, NetworkDefinition, Training};
use crate::preprocess::Transform;

use super::error::Error;
use super::parameters::Parameters;
use super::random::Random;

/// A network before training.
#[derive(Debug)]
pub struct Start {
    /// The network.
    pub architecture: Architecture,
    /// How pictures become inputs. All of a picture is used, since training takes crops from all of it.
    pub transform: Transform,
    /// The first weights.
    pub parameters: Parameters,
    /// Whether the weights come from a file.
    pub is_tuned: bool,
}

impl Start {
    /// The network `name` for tasks with `classes` classes, of which the first is the model's: the name of a network or a
    /// table, which learn from scratch, or a file with weights. A linear layer for another number of classes is replaced,
    /// which is logged, and so is a region of the model.
    ///
    /// # Errors
    /// If there is no such model, its weights do not fit, or it is not of the family.
    pub fn open(name: &str, options: &ModelOptions, classes: &[usize], seed: u64) -> Result<Self, Error> {
        let definition = Definition::open(name, options)?;
        // Weights of a file are taken as they are, also those that say that they are untrained.
        let is_tuned = model::architecture(name).is_err() || definition.training != Training::Seeded;
        let (transform, found, is_taught) = (definition.transform, definition.classes, definition.taught.is_some());
        let name = definition.name().to_owned();
        let transform = match transform.region {
            Some(region) => {
                tracing::info!("{name} looked at the region {region}; it is trained and tested with whole pictures");
                transform.of_whole()
            }
            None => transform,
        };
        let NetworkDefinition::Family { mut architecture, state } = definition.network else {
            return Err(Error::Network { name });
        };
        let mut random = Random::new(seed, &[]);
        let mut parameters = Parameters::initial(&architecture, classes, &mut random);
        if is_tuned {
            let old = Parameters::from_state(&architecture, &state, &[found], &mut random)?;
            let mut kept = parameters.backbone;
            // A part of a taught layer is no layer.
            if found == classes[0] && !is_taught {
                kept += found * (parameters.features + 1);
            } else {
                let taught = if is_taught { "taught" } else { "linear" };
                tracing::info!(
                    "the {taught} layer of {name} for {found} classes is replaced by a new one for {}; the other weights \
                     are kept",
                    classes[0]
                );
            }
            parameters.values[..kept].copy_from_slice(&old.values[..kept]);
            parameters.statistics = old.statistics;
            // Its classes are others than those by which the name is known.
            if is_taught || name == model::built_in::NAME {
                architecture.name = format!("trained-{name}").into();
                if !architecture.problems().is_empty() {
                    architecture.name = name.into();
                }
            }
        }
        Ok(Self { architecture, transform, parameters, is_tuned })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::frame::Region;
    use crate::hardnet;

    #[test]
    fn what_becomes_of_the_default_model_has_a_name_of_its_own() {
        let open = |name: &str| Start::open(name, &ModelOptions::default(), &[3], 1).unwrap();
        let start = open("signal");
        assert!(start.is_tuned);
        assert_eq!(start.architecture.name, "trained-signal");
        let start = open("hardnet39ds");
        assert!(!start.is_tuned);
        assert_eq!(start.architecture.name, "hardnet39ds");
    }

    #[test]
    fn a_model_that_looked_at_a_region_is_trained_with_whole_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("region.safetensors");
        let mut definition = Definition::seeded(hardnet::find("hardnet39ds").unwrap().clone(), 3).unwrap();
        definition.transform = Transform { mean: [0.4; 3], ..Transform::IMAGENET };
        definition.transform = definition.transform.of_region(Region::new([0.25, 0.5, 0.5, 0.25]).unwrap());
        model::save(&definition, &path, false).unwrap();
        let start = Start::open(path.to_str().unwrap(), &ModelOptions::default(), &[2], 1).unwrap();
        assert_eq!(start.transform, Transform { mean: [0.4; 3], ..Transform::IMAGENET });
        let options = ModelOptions { size: Some([112, 56]), ..ModelOptions::default() };
        let start = Start::open(path.to_str().unwrap(), &options, &[2], 1).unwrap();
        let Transform { resize, height, width, region, .. } = start.transform;
        assert_eq!((resize, height, width, region), (128, 112, 56, None));
    }
}
