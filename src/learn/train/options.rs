//! How to train, as a checkpoint remembers it.

use serde::{Deserialize, Serialize};

use crate::choice::OptimizerChoice;

use super::optimizer::OptimizerOptions;
use super::raster::Variation;

/// Everything that, with the pictures and the first weights, determines the result of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainOptions {
    /// Passes over the pictures.
    pub epochs: u64,
    /// Pictures per step.
    pub batch: usize,
    /// The rule.
    pub optimizer: OptimizerChoice,
    /// The largest learning rate.
    pub rate: f64,
    /// Epochs in which the rate rises to its largest value, in a line.
    pub warm_up: f64,
    /// Of [`OptimizerChoice::Sgd`].
    pub momentum: f64,
    /// Share of each parameter that a step subtracts, times the rate.
    pub weight_decay: f64,
    /// Share of the target that is spread over all classes, 0 to 1 (C. Szegedy et al.,
    /// <https://arxiv.org/abs/1512.00567>).
    pub smoothing: f64,
    /// Parameter of the distribution of mixed pictures (H. Zhang et al.: mixup, <https://arxiv.org/abs/1710.09412>); 0:
    /// pictures are not mixed; otherwise 0.01 to 8.
    pub mixup: f64,
    /// Whether the loss of a picture has a weight, so that all classes have the same share in it however many pictures
    /// they have.
    pub balance: bool,
    /// Further tasks that the backbone learns at the same time.
    pub also: Vec<Also>,
    /// How pictures vary.
    pub variation: Variation,
    /// Whether only the linear layer learns.
    pub freeze: bool,
    /// Determines the first weights, the order of the pictures and their variations.
    pub seed: u64,
}

/// A further task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Also {
    /// Field of the list with the classes.
    pub field: String,
    /// Weight of the task in the loss, where that of the first task is 1.
    pub weight: f64,
}

impl TrainOptions {
    pub(super) fn rule(&self) -> OptimizerOptions {
        let Self { optimizer: rule, momentum, weight_decay, .. } = *self;
        OptimizerOptions { rule, momentum, weight_decay }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Options for tests.
    pub(in crate::learn::train) fn options() -> TrainOptions {
        TrainOptions {
            epochs: 3,
            batch: 4,
            optimizer: OptimizerChoice::Sgd,
            rate: 0.05,
            warm_up: 0.5,
            momentum: 0.9,
            weight_decay: 6e-5,
            smoothing: 0.0,
            mixup: 0.0,
            balance: false,
            also: Vec::new(),
            variation: Variation { scale: [1.0, 1.0], ratio: [1.0, 1.0], near: None, flip: false, colour: 0.0 },
            freeze: false,
            seed: 1,
        }
    }
}
