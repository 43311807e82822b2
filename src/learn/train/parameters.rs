//! The values of a network in training, and the state dict that they come from and go to.
//!
//! Parameters are one vector: those of the backbone in the order of its [`Plan`](super::plan::Plan), then weight
//! `[classes, features]` and bias of the linear layer of each task. The first task is that of the model; others are
//! learned beside it and left out of the model file.

use std::ops::Range;

use crate::hardnet::{Architecture, entries};
use crate::weights::{self, Array, EntryRole, StateDict};

use super::backbone::Statistics;
use super::random::Random;

/// The linear layer of a task among the parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Number of classes.
    pub classes: usize,
    /// Weight, `[classes, features]`.
    pub weight: Range<usize>,
    /// Bias, `[classes]`.
    pub bias: Range<usize>,
}

/// All values of a network in training.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// What is learned.
    pub values: Vec<f32>,
    /// Running means and variances.
    pub statistics: Statistics,
    /// Number of parameters of the backbone, which come first.
    pub backbone: usize,
    /// The linear layers.
    pub heads: Vec<Head>,
    /// Number of features.
    pub features: usize,
}

impl Parameters {
    /// Values for training from scratch: convolutions by He's rule for the inputs of a value (K. He et al.,
    /// <https://arxiv.org/abs/1502.01852>), batch norms that change nothing, and a small linear layer.
    #[must_use]
    pub fn initial(architecture: &Architecture, classes: &[usize], random: &mut Random) -> Self {
        let mut parameters = Self::zeros(architecture, classes);
        let mut at = 0;
        for entry in entries(architecture, 1) {
            let count: usize = entry.shape.iter().product();
            match entry.kind {
                EntryRole::Convolution => {
                    let inputs: usize = entry.shape.iter().skip(1).product();
                    let deviation = (2.0 / inputs as f64).sqrt();
                    let values = &mut parameters.values[at..at + count];
                    values.iter_mut().for_each(|value| *value = (random.normal() * deviation) as f32);
                }
                EntryRole::NormWeight => parameters.values[at..at + count].fill(1.0),
                _ => {}
            }
            if entry.kind.is_parameter() && !is_head(entry.kind) {
                at += count;
            }
        }
        for index in 0..parameters.heads.len() {
            parameters.new_head(index, random);
        }
        parameters
    }

    /// The part of the values that learns: the linear layers if `freeze` is set, otherwise all.
    #[must_use]
    pub fn learned(&self, freeze: bool) -> Range<usize> {
        (if freeze { self.backbone } else { 0 })..self.values.len()
    }

    /// Gives a task a linear layer that has learned nothing.
    pub fn new_head(&mut self, task: usize, random: &mut Random) {
        let Head { weight, bias, .. } = self.heads[task].clone();
        let bound = 1.0 / (self.features as f64).sqrt();
        self.values[weight].iter_mut().for_each(|value| *value = ((2.0 * random.unit() - 1.0) * bound) as f32);
        self.values[bias].fill(0.0);
    }

    /// The values in `state`, which is for `classes[0]` classes; other tasks start anew.
    ///
    /// # Errors
    /// If an entry is missing or misshapen.
    pub fn from_state(
        architecture: &Architecture,
        state: &StateDict,
        classes: &[usize],
        random: &mut Random,
    ) -> Result<Self, weights::Error> {
        let mut parameters = Self::zeros(architecture, classes);
        let (mut at, mut mean, mut variance) = (0, 0, 0);
        for entry in entries(architecture, classes[0]) {
            if entry.kind == EntryRole::BatchCount {
                continue;
            }
            let values = state.values(&entry.key, &entry.shape)?;
            let (to, next) = match entry.kind {
                EntryRole::RunningMean => (&mut parameters.statistics.mean, &mut mean),
                EntryRole::RunningVariance => (&mut parameters.statistics.variance, &mut variance),
                _ => (&mut parameters.values, &mut at),
            };
            to[*next..*next + values.len()].copy_from_slice(values);
            *next += values.len();
        }
        for task in 1..classes.len() {
            parameters.new_head(task, random);
        }
        Ok(parameters)
    }

    /// The state dict of the model: backbone and first task, after `batches` batches.
    ///
    /// # Errors
    /// If memory cannot be reserved.
    pub fn state(&self, architecture: &Architecture, batches: u64) -> Result<StateDict, weights::Error> {
        let mut state = StateDict::new();
        let (mut at, mut mean, mut variance) = (0, 0, 0);
        for entry in entries(architecture, self.heads[0].classes) {
            let count: usize = entry.shape.iter().product();
            let (from, next) = match entry.kind {
                EntryRole::BatchCount => {
                    state.insert(entry.key, Array::new(entry.shape, vec![batches as f32])?)?;
                    continue;
                }
                EntryRole::RunningMean => (&self.statistics.mean, &mut mean),
                EntryRole::RunningVariance => (&self.statistics.variance, &mut variance),
                _ => (&self.values, &mut at),
            };
            state.insert(entry.key, Array::new(entry.shape, from[*next..*next + count].to_vec())?)?;
            *next += count;
        }
        Ok(state)
    }

    /// Values that are all 0, and variances of 1.
    pub(super) fn zeros(architecture: &Architecture, classes: &[usize]) -> Self {
        let (mut backbone, mut channels, mut features) = (0, 0, 0);
        for entry in entries(architecture, 1) {
            let count: usize = entry.shape.iter().product();
            match entry.kind {
                EntryRole::LinearWeight => features = count,
                EntryRole::RunningMean => channels += count,
                kind if kind.is_parameter() && !is_head(kind) => backbone += count,
                _ => {}
            }
        }
        let mut end = backbone;
        let mut take = |count: usize| {
            end += count;
            end - count..end
        };
        let head = |&classes: &usize| Head { classes, weight: take(classes * features), bias: take(classes) };
        let heads: Vec<Head> = classes.iter().map(head).collect();
        let statistics = Statistics { mean: vec![0.0; channels], variance: vec![1.0; channels] };
        Self { values: vec![0.0; end], statistics, backbone, heads, features }
    }
}

fn is_head(kind: EntryRole) -> bool {
    matches!(kind, EntryRole::LinearWeight | EntryRole::LinearBias)
}
