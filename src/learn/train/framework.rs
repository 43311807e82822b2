//! The whole network in operations of the framework: for devices other than the processor, and to check the backbone
//! against automatic differentiation.

use std::cell::RefCell;

use burn::tensor::module::{batch_norm, batch_norm_train, conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};

use super::backbone::{Mode, Statistics};
use super::plan::{Norm, Operation, Plan};

/// Added to the variance by a batch norm, as in PyTorch.
const EPSILON: f64 = 1e-5;

/// A backbone in operations of the framework.
#[derive(Debug)]
pub struct Framework {
    plan: Plan,
    device: Device,
}

impl Framework {
    /// The backbone of `plan` on `device`, which differentiates.
    #[must_use]
    pub fn new(plan: Plan, device: Device) -> Self {
        Self { plan, device }
    }

    /// The features `[pictures, features]` of pictures `[pictures, height, width, 3]`, and the tensors of all
    /// parameters in order, whose gradients are those of the features.
    #[must_use]
    pub fn forward(
        &self,
        parameters: &[f32],
        statistics: &Statistics,
        pictures: &[f32],
        mode: Mode,
    ) -> (Tensor<2>, Vec<Tensor<1>>) {
        let vector =
            |values: &[f32]| Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), &self.device);
        let leaves = RefCell::new(Vec::new());
        let leaf = |range: &std::ops::Range<usize>| {
            let tensor = vector(&parameters[range.clone()]).require_grad();
            leaves.borrow_mut().push(tensor.clone());
            tensor
        };
        let size = self.plan.maps[0];
        let count = pictures.len() / size.values();
        let data = TensorData::new(pictures.to_vec(), [count, size.height, size.width, size.channels]);
        let mut maps = vec![Tensor::<4>::from_data(data, &self.device).permute([0, 3, 1, 2])];
        for step in &self.plan.steps {
            let input = match step.inputs[..] {
                [only] => maps[only].clone(),
                _ => Tensor::cat(step.inputs.iter().map(|&input| maps[input].clone()).collect(), 1),
            };
            let channels = self.plan.maps[step.output].channels;
            let normalised = |map: Tensor<4>, norm: &Norm| {
                let (scale, shift) = (leaf(&norm.scale), leaf(&norm.shift));
                let map = match mode {
                    Mode::Train => batch_norm_train(map, scale, shift, EPSILON).output,
                    Mode::Evaluate => {
                        let range = norm.statistics.clone();
                        let (mean, variance) = (&statistics.mean[range.clone()], &statistics.variance[range]);
                        batch_norm(map, scale, shift, vector(mean), vector(variance), EPSILON)
                    }
                };
                if norm.high.is_finite() { map.clamp(norm.low, norm.high) } else { map }
            };
            let map = match &step.operation {
                Operation::MaxPool(window) => {
                    let (kernel, stride, padding) = ([window.kernel; 2], [window.stride; 2], [window.padding; 2]);
                    max_pool2d(input, MaxPoolOptions::new(kernel).with_stride(stride).with_padding(padding))
                }
                Operation::Convolution { window, weights, norm } => {
                    let depth = weights.len() / channels / (window.kernel * window.kernel);
                    let weights = leaf(weights).reshape([channels, depth, window.kernel, window.kernel]);
                    let options = ConvOptions::new([window.stride; 2], [window.padding; 2], [1, 1], 1);
                    normalised(conv2d(input, weights, None, options), norm)
                }
                Operation::Depthwise { stride, weights, norm } => {
                    let weights = leaf(weights).reshape([channels, 1, 3, 3]);
                    let options = ConvOptions::new([*stride; 2], [1, 1], [1, 1], channels);
                    normalised(conv2d(input, weights, None, options), norm)
                }
            };
            maps.push(map);
        }
        let features = self.plan.features();
        let last = maps.swap_remove(maps.len() - 1);
        (last.mean_dim(3).mean_dim(2).reshape([count, features]), leaves.into_inner())
    }
}
