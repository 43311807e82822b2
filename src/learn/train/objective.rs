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
