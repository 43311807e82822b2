//! How to train, as a checkpoint remembers it.

use serde::{Deserialize, Serialize};

use crate::choice::OptimizerChoice;

use super::optimizer::OptimizerOptions;
use super::variation::Augmentation;

/// Most epochs.
pub const EPOCHS: u64 = 100_000;

/// Most pictures of a step.
pub const BATCH: u16 = 8192;

/// Largest learning rate, weight decay and weight of a task: larger ones leave the range of 32-bit floats at once.
pub const RATE: f64 = 1e30;

/// Everything that, with the pictures and the first weights, determines the result of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainOptions {
    /// Passes over the pictures.
    pub epochs: u64,
    /// Pictures per step.
    pub batch: usize,
    /// The optimizer.
    pub optimizer: OptimizerChoice,
    /// The largest learning rate.
    pub rate: f64,
    /// Epochs in which the rate rises to its largest value, in a line.
    pub warm_up: f64,
    /// Momentum of [`OptimizerChoice::Sgd`], 0 to 1.
    pub momentum: f64,
    /// AdamW subtracts this share of each parameter, times the learning rate; SGD and Adam add it to the gradient.
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
    pub variation: Augmentation,
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
    /// The first option that is out of its range, if there is one: those of a file may be.
    pub(super) fn out_of_range(&self) -> Option<&'static str> {
        let Self { epochs, batch, rate, warm_up, momentum, weight_decay, smoothing, mixup, also, variation, .. } = self;
        let Augmentation { scale, ratio, near, colour, .. } = variation;
        let share = 0.0..=1.0;
        let rates = 0.0..=RATE;
        let near = near.is_none_or(|near| near.side > 0.0 && near.side <= 1.0 && share.contains(&near.change));
        let checks = [
            ("epochs", (1..=EPOCHS).contains(epochs)),
            ("batch", (1..=BATCH.into()).contains(batch)),
            ("rate", rates.contains(rate)),
            ("warm_up", (0.0..=*epochs as f64).contains(warm_up)),
            ("momentum", share.contains(momentum)),
            ("weight_decay", rates.contains(weight_decay)),
            ("smoothing", share.contains(smoothing)),
            ("mixup", *mixup == 0.0 || (0.01..=8.0).contains(mixup)),
            ("also", also.iter().all(|also| rates.contains(&also.weight))),
            ("scale", scale.iter().all(|scale| share.contains(scale)) && scale[0] <= scale[1]),
            ("ratio", ratio.iter().all(|ratio| (0.01..=100.0).contains(ratio)) && ratio[0] <= ratio[1]),
            ("near", near),
            ("colour", share.contains(colour)),
        ];
        checks.into_iter().find(|(_, is_right)| !is_right).map(|(name, _)| name)
    }

    pub(super) fn rule(&self) -> OptimizerOptions {
        let Self { optimizer: rule, momentum, weight_decay, .. } = *self;
        OptimizerOptions { rule, momentum, weight_decay }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn options_out_of_their_range_are_named() {
        assert_eq!(options().out_of_range(), None);
        for (wrong, name) in [
            (TrainOptions { epochs: 0, ..options() }, "epochs"),
            (TrainOptions { batch: 1 << 62, ..options() }, "batch"),
            (TrainOptions { rate: -0.1, ..options() }, "rate"),
            (TrainOptions { warm_up: 3.5, ..options() }, "warm_up"),
            (TrainOptions { weight_decay: f64::NAN, ..options() }, "weight_decay"),
            (TrainOptions { mixup: 1e300, ..options() }, "mixup"),
            (
                TrainOptions { variation: Augmentation { scale: [0.5, 0.1], ..options().variation }, ..options() },
                "scale",
            ),
        ] {
            assert_eq!(wrong.out_of_range(), Some(name));
        }
    }

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
            variation: Augmentation { scale: [1.0, 1.0], ratio: [1.0, 1.0], near: None, flip: false, colour: 0.0 },
            freeze: false,
            seed: 1,
        }
    }
}
