//! The operators of a graph.

use std::ops::Deref;
use std::sync::Arc;

use super::graph::Error;

/// Values of an operator, shared by clones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values(Arc<Vec<f32>>);

impl Deref for Values {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl From<Vec<f32>> for Values {
    fn from(values: Vec<f32>) -> Self {
        Self(Arc::new(values))
    }
}

impl From<&[f32]> for Values {
    fn from(values: &[f32]) -> Self {
        values.to_vec().into()
    }
}

impl FromIterator<f32> for Values {
    fn from_iter<I: IntoIterator<Item = f32>>(values: I) -> Self {
        values.into_iter().collect::<Vec<_>>().into()
    }
}

/// What a node computes.
#[derive(Debug, Clone)]
pub enum Op {
    /// The network's input.
    Input {
        /// Channels of the input.
        channels: usize,
    },
    /// Convolution, bias, activation.
    Conv(Conv),
    /// Maximum over a window.
    MaxPool(Window),
    /// Mean over a window.
    AvgPool {
        /// The window.
        pool: Window,
        /// Whether padding counts as zeros in the mean.
        count_include_pad: bool,
    },
    /// Concatenated channels of all inputs.
    Concat,
    /// Sum of two values.
    Add,
    /// Mean over the whole map.
    GlobalAverage,
    /// Linear layer.
    Linear(Linear),
    /// Softmax over the channels.
    Softmax,
    /// Scale and shift per channel, with an activation: a batch norm without a convolution before it.
    Affine(Affine),
    /// A function applied to every value.
    Activation(Activation),
}

/// A function applied to every value, for example to the results of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The value itself.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `min(max(x / 6 + 1 / 2, 0), 1)`.
    HardSigmoid,
    /// `x * min(max(x / 6 + 1 / 2, 0), 1)`.
    HardSwish,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x / (1 + exp(-x))`.
    Silu,
}

/// Rows and columns of padding around a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// The same padding on all sides.
    #[must_use]
    pub const fn all(size: usize) -> Self {
        Self { top: size, left: size, bottom: size, right: size }
    }
}

/// How a window moves over a map. Sizes round down: a last window that does not fit is omitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of the window.
    pub kernel: [usize; 2],
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Padding around the map.
    pub padding: Padding,
}

impl Window {
    /// A square window with the same stride in both directions and the same padding on all sides.
    #[must_use]
    pub const fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: Padding::all(padding) }
    }

    /// Number of windows along each axis of a map of `[height, width]`; `None` if there is none or a number overflows.
    fn count(&self, [height, width]: [usize; 2]) -> Option<[usize; 2]> {
        let along = |size: usize, before: usize, after: usize, axis: usize| {
            let padded = size.checked_add(before)?.checked_add(after)?;
            padded.checked_sub(self.kernel[axis])?.checked_div(self.stride[axis])?.checked_add(1)
        };
        let Padding { top, left, bottom, right } = self.padding;
        Some([along(height, top, bottom, 0)?, along(width, left, right, 1)?])
    }

    fn check(&self, name: &str) -> Result<(), Error> {
        rule(name, !self.kernel.contains(&0), "kernel sizes are at least 1")?;
        rule(name, !self.stride.contains(&0), "strides are at least 1")
    }

    /// Checks a pooling window: padding must be smaller than the kernel, so that no window consists of padding only.
    pub(super) fn check_pool(&self, name: &str) -> Result<(), Error> {
        self.check(name)?;
        let Padding { top, left, bottom, right } = self.padding;
        let [rows, columns] = self.kernel;
        let holds = top.max(bottom) < rows && left.max(right) < columns;
        rule(name, holds, "the padding of a pool is smaller than its kernel")
    }
}

/// A convolution with dilation 1. Channels form `groups` of equal size; the outputs of a group read the inputs of the
/// same group.
#[derive(Debug, Clone)]
pub struct Conv {
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Kernel, stride, and zero padding.
    pub window: Window,
    /// Number of groups; divides both numbers of channels.
    pub groups: usize,
    /// `[out_channels, in_channels / groups, kernel height, kernel width]`, row-major.
    pub weight: Values,
    /// `[out_channels]`.
    pub bias: Values,
    /// Applied to the sum of products and bias.
    pub activation: Activation,
}

impl Conv {
    /// Whether every channel is filtered separately.
    #[must_use]
    pub fn is_depthwise(&self) -> bool {
        self.groups == self.in_channels && self.groups == self.out_channels
    }

    pub(super) fn check(&self, name: &str) -> Result<(), Error> {
        self.window.check(name)?;
        let divides = |channels: usize| channels > 0 && channels.checked_rem(self.groups) == Some(0);
        let holds = divides(self.in_channels) && divides(self.out_channels);
        rule(name, holds, "both numbers of channels are multiples of the number of groups")?;
        let [rows, columns] = self.window.kernel;
        let weights = self.out_channels.checked_mul(self.in_channels / self.groups);
        let weights = weights.and_then(|count| count.checked_mul(rows)).and_then(|count| count.checked_mul(columns));
        length(name, "weight", weights, &self.weight)?;
        length(name, "bias", Some(self.out_channels), &self.bias)
    }
}

/// A linear layer: `weight · x + bias`.
#[derive(Debug, Clone)]
pub struct Linear {
    /// Input values.
    pub in_channels: usize,
    /// Output values.
    pub out_channels: usize,
    /// `[out_channels, in_channels]`, row-major.
    pub weight: Values,
    /// `[out_channels]`.
    pub bias: Values,
}

impl Linear {
    pub(super) fn check(&self, name: &str) -> Result<(), Error> {
        rule(name, self.out_channels > 0, "a linear layer has at least one output")?;
        length(name, "weight", self.out_channels.checked_mul(self.in_channels), &self.weight)?;
        length(name, "bias", Some(self.out_channels), &self.bias)
    }
}

/// A scale and a shift per channel: `scale · x + shift`.
#[derive(Debug, Clone)]
pub struct Affine {
    /// `[channels]`.
    pub scale: Values,
    /// `[channels]`.
    pub shift: Values,
    /// Applied to the sum.
    pub activation: Activation,
}

impl Affine {
    pub(super) fn check(&self, name: &str, channels: usize) -> Result<(), Error> {
        length(name, "scale", Some(channels), &self.scale)?;
        length(name, "shift", Some(channels), &self.shift)
    }
}

impl Op {
    /// `[height, width]` of the output for inputs of these sizes; `None` if they do not fit.
    pub(super) fn output_size(&self, mut inputs: impl Iterator<Item = [usize; 2]>) -> Option<[usize; 2]> {
        let first = inputs.next()?;
        match self {
            Self::Input { .. } | Self::Softmax | Self::Affine(_) | Self::Activation(_) => Some(first),
            Self::Conv(conv) => conv.window.count(first),
            Self::MaxPool(pool) | Self::AvgPool { pool, .. } => pool.count(first),
            Self::Concat | Self::Add => inputs.all(|size| size == first).then_some(first),
            Self::GlobalAverage => Some([1, 1]),
            Self::Linear(_) => Some(first).filter(|&size| size == [1, 1]),
        }
    }

    /// Releases all values of the operator, which is unusable afterwards.
    pub(super) fn forget_values(&mut self) {
        let (first, second) = match self {
            Self::Conv(conv) => (&mut conv.weight, &mut conv.bias),
            Self::Linear(linear) => (&mut linear.weight, &mut linear.bias),
            Self::Affine(affine) => (&mut affine.scale, &mut affine.shift),
            _ => return,
        };
        (*first, *second) = (Values::default(), Values::default());
    }

    /// Number of values of the operator: weights, biases, scales and shifts.
    #[must_use]
    pub fn values(&self) -> u64 {
        let (first, second) = match self {
            Self::Conv(conv) => (&conv.weight, &conv.bias),
            Self::Linear(linear) => (&linear.weight, &linear.bias),
            Self::Affine(affine) => (&affine.scale, &affine.shift),
            _ => return 0,
        };
        (first.len() as u64).saturating_add(second.len() as u64)
    }

    /// Number of weights, which is also the number of multiply-accumulates per pixel of output.
    pub(super) fn weights(&self) -> usize {
        match self {
            Self::Conv(conv) => conv.weight.len(),
            Self::Linear(linear) => linear.weight.len(),
            _ => 0,
        }
    }
}

/// An error with `text` unless `holds`.
pub(super) fn rule(name: &str, holds: bool, text: &'static str) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Parameter { name: name.to_owned(), rule: text }) }
}

/// An error unless the number of values is `expected`, which is `None` if it overflows.
fn length(name: &str, part: &'static str, expected: Option<usize>, values: &[f32]) -> Result<(), Error> {
    let expected = expected.unwrap_or(usize::MAX);
    let found = values.len();
    if expected == found { Ok(()) } else { Err(Error::Length { name: name.to_owned(), part, expected, found }) }
}
