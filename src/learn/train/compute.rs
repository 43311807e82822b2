//! What computes the backbone: the processor, by this project's own code, or a graphics card, by the framework.

use std::panic;

use burn::tensor::{Device, Tensor};

use crate::choice::DeviceChoice;

use super::backbone::{Backbone, Mode, Statistics};
use super::framework::Framework;
use super::plan::Plan;

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The program has no code for it.
    #[error("this hardnetd was built without {device}: build it with the feature train-{device}, or use --device cpu")]
    NotBuilt {
        /// The device.
        device: DeviceChoice,
    },
    /// It does not work.
    #[error("{device} has no device that works here; is there one, with its driver? --device cpu needs none")]
    Unusable {
        /// The device.
        device: DeviceChoice,
    },
}

/// A backbone and what computes it.
#[derive(Debug)]
pub enum Compute {
    /// The processor.
    Processor(Backbone),
    /// A device of the framework.
    Framework(Box<Framework>),
}

impl Compute {
    /// The backbone of `plan` on `device`.
    ///
    /// # Errors
    /// If the program was built without it, or it does not work.
    pub fn new(plan: Plan, device: DeviceChoice) -> Result<Self, DeviceError> {
        Ok(match device {
            DeviceChoice::Cpu => Self::Processor(Backbone::new(plan)),
            _ => Self::Framework(Framework::new(plan, found(device)?.autodiff()).into()),
        })
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        match self {
            Self::Processor(backbone) => backbone.plan(),
            Self::Framework(framework) => framework.plan(),
        }
    }

    /// The features of pictures: see [`Backbone::forward`].
    pub fn forward(
        &mut self,
        parameters: &[f32],
        statistics: &mut Statistics,
        pictures: &[f32],
        mode: Mode,
    ) -> Vec<f32> {
        match self {
            Self::Processor(backbone) => backbone.forward(parameters, statistics, pictures, mode),
            Self::Framework(framework) => framework.forward(parameters, statistics, pictures, mode),
        }
    }

    /// The gradient with respect to the parameters: see [`Backbone::backward`].
    #[must_use]
    pub fn backward(&mut self, parameters: &[f32], features: &[f32]) -> Vec<f32> {
        match self {
            Self::Processor(backbone) => backbone.backward(parameters, features),
            Self::Framework(framework) => framework.backward(features),
        }
    }
}

/// The framework's device.
fn found(device: DeviceChoice) -> Result<Device, DeviceError> {
    match device {
        DeviceChoice::Cpu => working(device, Device::flex),
        #[cfg(feature = "train-cuda")]
        DeviceChoice::Cuda => working(device, || Device::cuda(0)),
        #[cfg(feature = "train-wgpu")]
        DeviceChoice::Wgpu => working(device, || Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        #[allow(unreachable_patterns, reason = "a program may be built with all devices")]
        _ => Err(DeviceError::NotBuilt { device }),
    }
}

/// What `open` opens, if it computes.
fn working(device: DeviceChoice, open: fn() -> Device) -> Result<Device, DeviceError> {
    // The framework panics if there is no such device.
    let attempt = panic::catch_unwind(|| {
        let device = open();
        let sum = Tensor::<1>::ones([8], &device).sum().into_data().try_into_vec::<f32>();
        sum.is_ok_and(|sum| sum == [8.0]).then_some(device)
    });
    attempt.ok().flatten().ok_or(DeviceError::Unusable { device })
}
