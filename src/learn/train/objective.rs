//! The loss: linear layers on the features, softmax, cross entropy. Its gradient comes from automatic differentiation.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};

use super::parameters::{Head, Parameters};

/// The target distribution of each picture for one task.
#[derive(Debug, Clone, PartialEq)]
pub struct Targets {
    /// `[pictures, classes]`: the share of each class in a picture. All zeros for a picture that has no class in this
    /// task.
    pub shares: Vec<f32>,
    /// Weight of the task in the loss.
    pub weight: f32,
}

/// The loss of a batch and what follows from it.
#[derive(Debug)]
pub struct Outcome {
    /// The loss.
    pub loss: f32,
    /// Logits of each task, `[pictures, classes]`.
    pub logits: Vec<Vec<f32>>,
    /// Gradient with respect to the features, `[pictures, features]`.
    pub features: Vec<f32>,
    /// Gradient with respect to the parameters of the linear layers, as they follow the backbone's.
    pub heads: Vec<f32>,
}

/// A matrix on `device`.
fn matrix(values: Vec<f32>, rows: usize, columns: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap_or_default()
}

/// The loss of features `[pictures, features]`: for each task, the mean cross entropy of the pictures whose target is
/// not empty. `device` differentiates.
#[must_use]
pub fn loss(parameters: &Parameters, features: Vec<f32>, targets: &[Targets], device: &Device) -> Outcome {
    let pictures = features.len() / parameters.features;
    let features = matrix(features, pictures, parameters.features, device).require_grad();
    let (mut total, mut all, mut leaves) = (None::<Tensor<1>>, Vec::new(), Vec::new());
    for (Head { classes, weight, bias }, targets) in parameters.heads.iter().zip(targets) {
        let part = |range: &std::ops::Range<usize>| parameters.values[range.clone()].to_vec();
        let weight = matrix(part(weight), *classes, parameters.features, device).require_grad();
        let bias = matrix(part(bias), 1, *classes, device).require_grad();
        let logits = features.clone().matmul(weight.clone().transpose()) + bias.clone();
        leaves.push((weight, bias));
        all.push(values(logits.clone().detach()));
        let labelled = targets.shares.chunks(*classes).filter(|row| row.iter().any(|share| *share > 0.0)).count();
        let shares = matrix(targets.shares.clone(), pictures, *classes, device);
        let factor = -f64::from(targets.weight) / labelled.max(1) as f64;
        let loss = (log_softmax(logits, 1) * shares).sum().mul_scalar(factor);
        total = Some(total.map_or_else(|| loss.clone(), |total| total + loss.clone()));
    }
    let Some(total) = total else {
        return Outcome { loss: 0.0, logits: all, features: Vec::new(), heads: Vec::new() };
    };
    let loss = values(total.clone().detach()).first().copied().unwrap_or(f32::NAN);
    let gradients = total.backward();
    let of = |tensor: &Tensor<2>| tensor.grad(&gradients).map_or_else(Vec::new, values);
    let heads = leaves.iter().flat_map(|(weight, bias)| [of(weight), of(bias)].concat()).collect();
    Outcome { loss, logits: all, features: of(&features), heads }
}

#[cfg(test)]
mod tests {
    use super::super::backbone::Statistics;
    use super::*;

    fn near(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found}, expected {expected}");
        }
    }

    #[test]
    fn the_loss_is_the_weighted_cross_entropy_of_the_pictures_that_have_a_class() {
        // Two features; a task of three classes with a layer of zeros, and one of two classes with another weight.
        let heads =
            vec![Head { classes: 3, weight: 0..6, bias: 6..9 }, Head { classes: 2, weight: 9..13, bias: 13..15 }];
        let mut values = vec![0.0; 15];
        values[9] = 2.0;
        let statistics = Statistics { mean: Vec::new(), variance: Vec::new() };
        let parameters = Parameters { values, statistics, backbone: 0, heads, features: 2 };
        let targets = [
            Targets { shares: vec![1.0, 0.0, 0.0, 0.5, 0.5, 0.0], weight: 1.0 },
            // The second picture has no class in this task.
            Targets { shares: vec![1.0, 0.0, 0.0, 0.0], weight: 0.5 },
        ];
        let outcome = loss(&parameters, vec![0.5, 1.0, 2.0, 3.0], &targets, &Device::flex().autodiff());

        let e = 1.0_f32.exp();
        let wrong = 1.0 / (1.0 + e);
        near(&[outcome.loss], &[3.0_f32.ln() - 0.5 * (1.0 - wrong).ln()]);
        near(&outcome.logits[0], &[0.0; 6]);
        near(&outcome.logits[1], &[1.0, 0.0, 4.0, 0.0]);
        // The first layer is zero, so that only the second one passes a gradient to the features.
        near(&outcome.features, &[-0.5 * wrong * 2.0, 0.0, 0.0, 0.0]);
        // A bias changes by the mean of what is found less what is expected.
        let third = 1.0 / 3.0;
        let bias = [third - 0.75, third - 0.25, third];
        near(&outcome.heads[6..9], &bias);
        near(&outcome.heads[13..15], &[-0.5 * wrong, 0.5 * wrong]);
        near(&outcome.heads[9..13], &[-0.25 * wrong, -0.5 * wrong, 0.25 * wrong, 0.5 * wrong]);
    }
}
