//! The backbone of a network as steps over maps: what training computes, and where its values are.
//!
//! The backbone is everything before the linear layer. Its parameters lie in one vector, in the order of the state dict:
//! the weights of each convolution as in PyTorch, `[out, in, rows, columns]`, then scale and shift of its batch norm.
//! Means and variances of batch norms lie in two more vectors.

use std::ops::Range;

use crate::hardnet::{Architecture, Layer, modules};
use crate::kernels::training::window::{Size, Window};

/// The largest value of ReLU6.
const SIX: f32 = 6.0;

/// A step: one layer with its batch norm and activation.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What it computes.
    pub operation: Operation,
    /// Maps that it reads, in the order in which their channels are concatenated.
    pub inputs: Vec<usize>,
    /// For each input: whether no later step reads it, so that its gradient begins here.
    pub begins: Vec<bool>,
    /// The map that it writes.
    pub output: usize,
}

/// What a step computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// A convolution without bias.
    Convolution {
        /// How it moves.
        window: Window,
        /// Its weights, `[out, in, rows, columns]`, among the parameters.
        weights: Range<usize>,
        /// What follows.
        norm: Norm,
    },
    /// A depthwise 3 × 3 convolution without bias.
    Depthwise {
        /// Rows and columns from one output to the next.
        stride: usize,
        /// Its weights, `[channels, 1, 3, 3]`, among the parameters.
        weights: Range<usize>,
        /// What follows.
        norm: Norm,
    },
    /// The maximum over a window.
    MaxPool(Window),
}

/// A batch norm with an activation that limits values to `low..=high`.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    /// Scales among the parameters.
    pub scale: Range<usize>,
    /// Shifts among the parameters.
    pub shift: Range<usize>,
    /// Means and variances, each in its vector.
    pub statistics: Range<usize>,
    /// The smallest result.
    pub low: f32,
    /// The largest result.
    pub high: f32,
}

/// The backbone of a network for one input size.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The maps; the first is the picture.
    pub maps: Vec<Size>,
    /// The steps in order. The last one writes the map whose mean is the features.
    pub steps: Vec<Step>,
    /// Number of parameters.
    pub parameters: usize,
    /// Number of normalised channels.
    pub statistics: usize,
}

impl Plan {
    /// The backbone of `architecture` for pictures of `height` × `width`.
    #[must_use]
    pub fn new(architecture: &Architecture, [height, width]: [usize; 2]) -> Self {
        let mut plan =
            Self { maps: vec![Size { height, width, channels: 3 }], steps: Vec::new(), parameters: 0, statistics: 0 };
        // For each module, the maps whose channels are its output.
        let mut outputs: Vec<Vec<usize>> = Vec::new();
        for module in modules(architecture, 1) {
            let inputs: Vec<usize> = module.inputs.iter().flat_map(|&input| outputs[input].clone()).collect();
            let channels = module.channels;
            outputs.push(match module.layer {
                Layer::Input => vec![0],
                Layer::Concat | Layer::GlobalAverage | Layer::Linear { .. } => inputs,
                Layer::Conv { in_channels, kernel, stride } => {
                    let window = Window { kernel, stride, padding: kernel / 2 };
                    let weights = plan.take(channels * in_channels * kernel * kernel);
                    let norm = plan.norm(channels, 0.0, SIX);
                    vec![plan.push(Operation::Convolution { window, weights, norm }, inputs, window, channels)]
                }
                Layer::Depthwise { stride } => {
                    let window = Window { kernel: 3, stride, padding: 1 };
                    let weights = plan.take(channels * 9);
                    let norm = plan.norm(channels, f32::NEG_INFINITY, f32::INFINITY);
                    vec![plan.push(Operation::Depthwise { stride, weights, norm }, inputs, window, channels)]
                }
                Layer::MaxPool { kernel, padding } => {
                    let window = Window { kernel, stride: 2, padding };
                    vec![plan.push(Operation::MaxPool(window), inputs, window, channels)]
                }
            });
        }
        let mut seen = vec![false; plan.maps.len()];
        for step in plan.steps.iter_mut().rev() {
            step.begins = step.inputs.iter().map(|&input| !std::mem::replace(&mut seen[input], true)).collect();
        }
        plan
    }

    /// Number of features: the channels of the last map.
    #[must_use]
    pub fn features(&self) -> usize {
        self.maps.last().map_or(0, |size| size.channels)
    }

    /// Bytes that the maps of a picture and their gradients take at most: each map before and after its batch norm, and
    /// its gradient.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let maps: usize = self.maps.iter().map(|size| size.values()).sum();
        3 * (maps * size_of::<f32>()) as u64
    }

    fn take(&mut self, count: usize) -> Range<usize> {
        self.parameters += count;
        self.parameters - count..self.parameters
    }

    fn norm(&mut self, channels: usize, low: f32, high: f32) -> Norm {
        let (scale, shift) = (self.take(channels), self.take(channels));
        self.statistics += channels;
        Norm { scale, shift, statistics: self.statistics - channels..self.statistics, low, high }
    }

    /// Adds a step and returns its map.
    fn push(&mut self, operation: Operation, inputs: Vec<usize>, window: Window, channels: usize) -> usize {
        let from = self.maps[inputs[0]];
        let [height, width] = window.over(from.height, from.width);
        self.maps.push(Size { height, width, channels });
        let output = self.maps.len() - 1;
        self.steps.push(Step { operation, inputs, begins: Vec::new(), output });
        output
    }
}
