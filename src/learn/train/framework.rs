//! The backbone in operations of the framework: for devices other than the processor, and to check the backbone
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
    /// It differentiates.
    device: Device,
    /// Features of the last batch, and the tensors of all parameters in order.
    last: Option<(Tensor<2>, Vec<Tensor<1>>)>,
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap_or_default()
}

impl Framework {
    /// The backbone of `plan` on `device`, which differentiates.
    #[must_use]
    pub fn new(plan: Plan, device: Device) -> Self {
        Self { plan, device, last: None }
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The features of pictures, as of [`Backbone::forward`](super::backbone::Backbone::forward).
    pub fn forward(
        &mut self,
        parameters: &[f32],
        statistics: &mut Statistics,
        pictures: &[f32],
        mode: Mode,
    ) -> Vec<f32> {
        let (features, leaves) = self.tensors(parameters, statistics, pictures, mode);
        let values = values(features.clone());
        self.last = Some((features, leaves));
        values
    }

    /// The gradient with respect to the parameters, as of [`Backbone::backward`](super::backbone::Backbone::backward).
    #[must_use]
    pub fn backward(&mut self, features: &[f32]) -> Vec<f32> {
        let Some((last, leaves)) = self.last.take() else { return Vec::new() };
        let towards = Tensor::<2>::from_data(TensorData::new(features.to_vec(), last.dims()), &self.device);
        let gradients = (last * towards).sum().backward();
        leaves.iter().flat_map(|leaf| leaf.grad(&gradients).map_or_else(Vec::new, values)).collect()
    }

    /// The features `[pictures, features]` of pictures `[pictures, height, width, 3]`, and the tensors of all
    /// parameters in order.
    fn tensors(
        &self,
        parameters: &[f32],
        statistics: &mut Statistics,
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
            let mut normalised = |map: Tensor<4>, norm: &Norm| {
                let (scale, shift) = (leaf(&norm.scale), leaf(&norm.shift));
                let range = norm.statistics.clone();
                let map = match mode {
                    Mode::Train => {
                        let [pictures, _, height, width] = map.dims();
                        let found = batch_norm_train(map, scale, shift, EPSILON);
                        let batch = values(found.mean).into_iter().zip(values(found.variance));
                        for (at, (mean, variance)) in range.zip(batch) {
                            statistics.follow(at, mean.into(), variance.into(), pictures * height * width);
                        }
                        found.output
                    }
                    Mode::Evaluate => {
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
