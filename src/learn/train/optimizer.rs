//! Optimizers, and the learning rate of each step.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    Adam, AdamConfig, AdamState, AdamW, AdamWConfig, AdamWState, RecordState, Sgd, SgdConfig, SgdState, StateSink,
    StateSource,
};
use burn::tensor::{Device, Tensor, TensorData};

use crate::choice::OptimizerChoice;

/// Added to the root of Adam's second moment, as in PyTorch.
const EPSILON: f32 = 1e-8;

/// How parameters change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptimizerOptions {
    /// The rule.
    pub rule: OptimizerChoice,
    /// Share of the last change in the next one, 0 to 1, of [`OptimizerChoice::Sgd`].
    pub momentum: f64,
    /// AdamW subtracts this share of each parameter, times the learning rate; SGD and Adam add it to the gradient.
    pub weight_decay: f64,
}

/// What a rule remembers from step to step, as named arrays and numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OptimizerMemory {
    /// Arrays of one value per parameter.
    pub arrays: BTreeMap<String, Vec<f32>>,
    /// Counts of steps.
    pub counts: BTreeMap<String, u64>,
}

/// A rule with its memory, for one vector of parameters.
pub enum Optimizer {
    /// With Nesterov momentum: see [`OptimizerChoice::Sgd`].
    Sgd(Sgd, Option<SgdState<1>>),
    /// See [`OptimizerChoice::Adam`].
    Adam(Adam, Option<AdamState<1>>),
    /// See [`OptimizerChoice::AdamW`].
    AdamW(AdamW, Option<AdamWState<1>>),
}

impl Optimizer {
    /// The rule without memory.
    #[must_use]
    pub fn new(options: OptimizerOptions) -> Self {
        let decay = options.weight_decay as f32;
        let coupled = Some(decay).filter(|decay| *decay > 0.0).map(WeightDecayConfig::new);
        match options.rule {
            OptimizerChoice::Sgd => {
                let momentum = MomentumConfig::new();
                let momentum = momentum.with_momentum(options.momentum).with_dampening(0.0).with_nesterov(true);
                let config = SgdConfig::new().with_momentum(Some(momentum)).with_weight_decay(coupled);
                Self::Sgd(config.build(), None)
            }
            OptimizerChoice::Adam => {
                Self::Adam(AdamConfig::new().with_epsilon(EPSILON).with_weight_decay(coupled).build(), None)
            }
            OptimizerChoice::AdamW => {
                Self::AdamW(AdamWConfig::new().with_epsilon(EPSILON).with_weight_decay(decay).build(), None)
            }
        }
    }

    /// The parameters after a step with this gradient and learning rate. The tensors are on one device, without
    /// automatic differentiation.
    #[must_use]
    pub fn step(&mut self, rate: f64, parameters: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        fn run<O: burn::optim::Optimizer>(
            rule: &O,
            memory: &mut Option<O::State<1>>,
            rate: f64,
            parameters: Tensor<1>,
            gradient: Tensor<1>,
        ) -> Tensor<1> {
            let (parameters, next) = rule.step(rate, parameters, gradient, memory.take());
            *memory = next;
            parameters
        }
        match self {
            Self::Sgd(rule, memory) => run(rule, memory, rate, parameters, gradient),
            Self::Adam(rule, memory) => run(rule, memory, rate, parameters, gradient),
            Self::AdamW(rule, memory) => run(rule, memory, rate, parameters, gradient),
        }
    }

    /// What the rule remembers.
    #[must_use]
    pub fn memory(&self) -> OptimizerMemory {
        let mut sink = StateSink::default();
        match self {
            Self::Sgd(_, Some(memory)) => memory.state_flatten("", &mut sink),
            Self::Adam(_, Some(memory)) => memory.state_flatten("", &mut sink),
            Self::AdamW(_, Some(memory)) => memory.state_flatten("", &mut sink),
            _ => {}
        }
        let array = |(name, data): (String, TensorData)| Some((name, data.try_into_vec::<f32>().ok()?));
        let arrays = sink.tensors.into_iter().filter_map(array).collect();
        let counts = sink.scalars.into_iter().filter_map(|(name, count)| Some((name, u64::try_from(count).ok()?)));
        OptimizerMemory { arrays, counts: counts.collect() }
    }

    /// Gives the rule a memory. `None` if it is that of another rule.
    #[must_use]
    pub fn remember(mut self, memory: OptimizerMemory, device: &Device) -> Option<Self> {
        if memory == OptimizerMemory::default() {
            return Some(self);
        }
        let mut source =
            StateSource::new(memory.counts.into_iter().map(|(name, count)| (name, count.into())).collect());
        for (name, array) in memory.arrays {
            let length = array.len();
            source.insert_tensor(name, TensorData::new(array, [length]));
        }
        match &mut self {
            Self::Sgd(_, memory) => *memory = Some(SgdState::state_unflatten("", &mut source, device)?),
            Self::Adam(_, memory) => *memory = Some(AdamState::state_unflatten("", &mut source, device)?),
            Self::AdamW(_, memory) => *memory = Some(AdamWState::state_unflatten("", &mut source, device)?),
        }
        Some(self)
    }
}

/// The learning rate of each step: it rises in a line during the warm-up, then falls along half a cosine (I.
/// Loshchilov, F. Hutter: SGDR, <https://arxiv.org/abs/1608.03983>).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The largest rate.
    pub rate: f64,
    /// Steps of the warm-up.
    pub warm_up: u64,
    /// All steps.
    pub steps: u64,
}

impl Schedule {
    /// The rate of step `step`, from 0.
    #[must_use]
    pub fn at(&self, step: u64) -> f64 {
        let Self { rate, warm_up, steps } = *self;
        if step < warm_up {
            return rate * (step as f64 + 1.0) / (warm_up as f64 + 1.0);
        }
        let way = (step - warm_up) as f64 / steps.saturating_sub(warm_up).max(1) as f64;
        rate * 0.5 * (1.0 + (PI * way.min(1.0)).cos())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn device() -> Device {
        Device::flex()
    }

    /// Minimises the distance to 3, -2 and 0.5 in `steps` steps.
    fn run(optimizer: &mut Optimizer, mut at: Vec<f32>, steps: usize) -> Vec<f32> {
        for _ in 0..steps {
            let gradient: Vec<f32> = at.iter().zip([3.0, -2.0, 0.5]).map(|(at, target)| at - target).collect();
            let tensor = |values: Vec<f32>| Tensor::<1>::from_data(TensorData::new(values, [3]), &device());
            at = optimizer.step(0.1, tensor(at.clone()), tensor(gradient)).into_data().try_into_vec().unwrap();
        }
        at
    }

    #[test]
    fn every_rule_finds_the_minimum_and_continues_from_its_memory() {
        for rule in OptimizerChoice::ALL {
            let options = OptimizerOptions { rule: *rule, momentum: 0.5, weight_decay: 1e-4 };
            let mut whole = Optimizer::new(options);
            let end = run(&mut whole, vec![0.0; 3], 300);
            assert!(end.iter().zip([3.0, -2.0, 0.5]).all(|(at, target)| (at - target).abs() < 0.01), "{rule}: {end:?}");

            let mut first = Optimizer::new(options);
            let half = run(&mut first, vec![0.0; 3], 7);
            let memory = first.memory();
            let mut second = Optimizer::new(options).remember(memory, &device()).unwrap();
            let resumed = run(&mut second, half, 6);
            assert_eq!(resumed, run(&mut Optimizer::new(options), vec![0.0; 3], 13), "{rule}");
        }
        let adam = OptimizerOptions { rule: OptimizerChoice::Adam, momentum: 0.0, weight_decay: 0.0 };
        let wrong = OptimizerMemory { counts: [("x".to_owned(), 1)].into(), ..OptimizerMemory::default() };
        assert!(Optimizer::new(adam).remember(wrong, &device()).is_none());
    }

    #[test]
    fn the_rate_rises_then_falls_to_nothing() {
        let schedule = Schedule { rate: 1.0, warm_up: 3, steps: 13 };
        let rates: Vec<f64> = (0..=13).map(|step| schedule.at(step)).collect();
        assert_eq!(rates[..4], [0.25, 0.5, 0.75, 1.0]);
        assert!(rates[3..].is_sorted_by(|a, b| a > b));
        assert!((rates[8] - 0.5).abs() < 1e-12 && rates[13] < 1e-12);
        assert!(Schedule { rate: 1.0, warm_up: 0, steps: 0 }.at(0).is_finite());
        assert!(Schedule { rate: 1.0, warm_up: u64::MAX, steps: 1 }.at(0).is_finite());
    }
}
