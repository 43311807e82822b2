//! Merges scales, shifts and activations into the item before them, if nothing else reads that item.

use super::Error;
use super::network::{Handle, Item, Network};
use super::operator::Operator;
use crate::engine::op::{Activation, Affine, Conv, Op, Values, Window};

/// A scale and a shift per channel.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub scale: Vec<f64>,
    pub shift: Vec<f64>,
}

/// Rounding error of a scale such as 6 · (1 / 6).
const ROUNDING: f64 = 1e-6;

fn near(value: f64, expected: f64) -> bool {
    (value - expected).abs() <= ROUNDING
}

impl Line {
    /// The same scale and shift for all channels.
    fn uniform(channels: usize, scale: f64, shift: f64) -> Self {
        Self { scale: vec![scale; channels], shift: vec![shift; channels] }
    }

    fn is(&self, scale: f64, shift: f64) -> bool {
        self.scale.iter().all(|&value| near(value, scale)) && self.shift.iter().all(|&value| near(value, shift))
    }

    /// This line applied to the output of `affine`.
    fn after(&self, affine: &Affine) -> Affine {
        let channels = self.scale.iter().zip(&self.shift);
        let scale = self.scale.iter().zip(&*affine.scale).map(|(a, &b)| (a * f64::from(b)) as f32).collect();
        let shift = channels.zip(&*affine.shift).map(|((a, c), &b)| (a * f64::from(b) + c) as f32).collect();
        Affine { scale, shift, activation: affine.activation }
    }

    /// Weights (each channel contiguous) and bias with the line applied, computed in 64-bit floating point.
    fn applied(&self, weight: &[f32], bias: &[f32]) -> (Values, Values) {
        let length = (weight.len() / self.scale.len().max(1)).max(1);
        let rows = weight.chunks_exact(length).zip(&self.scale);
        let weight = rows.flat_map(|(row, scale)| row.iter().map(move |&value| (f64::from(value) * scale) as f32));
        let bias = bias.iter().zip(self.scale.iter().zip(&self.shift));
        (weight.collect(), bias.map(|(&value, (a, b))| (f64::from(value) * a + b) as f32).collect())
    }
}

/// The combination of two activations in sequence, if it is an activation.
fn both(first: Activation, then: Activation) -> Option<Activation> {
    match (first, then) {
        (Activation::None, then) => Some(then),
        (Activation::Relu, Activation::Relu) => Some(Activation::Relu),
        (Activation::Relu | Activation::Relu6, Activation::Relu6) | (Activation::Relu6, Activation::Relu) => {
            Some(Activation::Relu6)
        }
        _ => None,
    }
}

/// Gives an item the name of the `operator` merged into it, if the item's name derives from it: `NAME.conv` and `NAME`.
fn rename(item: &mut Item, operator: Operator<'_>) {
    if item.name.strip_prefix(operator.name()).is_some_and(|part| part.starts_with('.')) {
        operator.name().clone_into(&mut item.name);
    }
}

impl Network<'_> {
    /// Whether the value of `handle` has exactly one reader.
    fn is_sole(&self, handle: Handle) -> bool {
        self.items[handle.item].readers == 1
    }

    /// Merges a reader of `handle` into it: its value is now that of the reader.
    fn merged(&mut self, handle: Handle, operator: Operator<'_>) -> Handle {
        let item = &mut self.items[handle.item];
        item.readers = item.readers.saturating_sub(1);
        rename(item, operator);
        handle
    }

    /// Applies `line` to the value of `handle`.
    pub(super) fn line(&mut self, operator: Operator<'_>, handle: Handle, line: &Line) -> Result<Handle, Error> {
        if line.is(1.0, 0.0) {
            return Ok(self.merged(handle, operator));
        }
        if self.is_sole(handle) {
            self.work(operator, self.items[handle.item].op.values())?;
            let item = &mut self.items[handle.item];
            let input = item.inputs.first().copied().unwrap_or(0);
            match &mut item.op {
                Op::Conv(conv) if conv.activation == Activation::None => {
                    (conv.weight, conv.bias) = line.applied(&conv.weight, &conv.bias);
                    return Ok(self.merged(handle, operator));
                }
                Op::Linear(linear) => {
                    (linear.weight, linear.bias) = line.applied(&linear.weight, &linear.bias);
                    return Ok(self.merged(handle, operator));
                }
                Op::Affine(affine) if affine.activation == Activation::None => {
                    *affine = line.after(affine);
                    let whole = affine.scale.iter().all(|&scale| near(f64::from(scale), 1.0));
                    if whole && affine.shift.iter().all(|&shift| shift == 0.0) {
                        // The item has no effect any more: its readers read its input instead.
                        self.items[handle.item].readers = 0;
                        return Ok(self.merged(Handle { item: input, ..handle }, operator));
                    }
                    return Ok(self.merged(handle, operator));
                }
                Op::Affine(affine) if is_six_hard_sigmoids(affine) && line.is(1.0 / 6.0, 0.0) => {
                    item.op = Op::Activation(Activation::HardSigmoid);
                    return Ok(self.merged(handle, operator));
                }
                _ => {}
            }
        }
        let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
        let affine = Affine { scale: narrow(&line.scale), shift: narrow(&line.shift), activation: Activation::None };
        self.push(operator, Op::Affine(affine), &[handle])
    }

    /// Applies `activation` to the value of `handle`.
    pub(super) fn activate(
        &mut self,
        operator: Operator<'_>,
        handle: Handle,
        activation: Activation,
    ) -> Result<Handle, Error> {
        if self.is_sole(handle) {
            self.widen(handle);
            let own = match &mut self.items[handle.item].op {
                Op::Conv(Conv { activation, .. })
                | Op::Affine(Affine { activation, .. })
                | Op::Activation(activation) => Some(activation),
                _ => None,
            };
            if let Some(own) = own
                && let Some(both) = both(*own, activation)
            {
                *own = both;
                return Ok(self.merged(handle, operator));
            }
        }
        self.push(operator, Op::Activation(activation), &[handle])
    }

    /// Turns a linear layer that reads one pixel into the equivalent convolution, which can have an activation.
    fn widen(&mut self, handle: Handle) {
        let item = &self.items[handle.item];
        let Op::Linear(linear) = &item.op else { return };
        let input = item.inputs.first().map(|&input| &self.items[input]);
        if input.is_some_and(|input| input.size == Some([1, 1]) && !input.flat) {
            let conv = Conv {
                in_channels: linear.in_channels,
                out_channels: linear.out_channels,
                window: Window::square(1, 1, 0),
                groups: 1,
                weight: linear.weight.clone(),
                bias: linear.bias.clone(),
                activation: Activation::None,
            };
            let item = &mut self.items[handle.item];
            (item.op, item.flat) = (Op::Conv(conv), false);
        }
    }

    /// The product of two values: HardSwish and SiLU are a value times its own HardSigmoid or sigmoid.
    ///
    /// # Errors
    /// [`Error::Node`] for any other product.
    pub(super) fn product(&mut self, operator: Operator<'_>, first: Handle, second: Handle) -> Result<Handle, Error> {
        for (value, gate) in [(first, second), (second, first)] {
            let item = &self.items[gate.item];
            if gate.item == value.item || item.inputs[..] != [value.item] || item.readers != 1 {
                continue;
            }
            let (activation, factor) = match &item.op {
                Op::Activation(Activation::HardSigmoid) => (Activation::HardSwish, 1.0),
                Op::Activation(Activation::Sigmoid) => (Activation::Silu, 1.0),
                Op::Affine(affine) if is_six_hard_sigmoids(affine) => (Activation::HardSwish, 6.0),
                _ => continue,
            };
            // The gate no longer reads the value.
            self.items[gate.item].readers = 0;
            self.items[value.item].readers = self.items[value.item].readers.saturating_sub(1);
            let swish = self.activate(operator, value, activation)?;
            let channels = self.items[swish.item].channels;
            self.work(operator, channels as u64)?;
            // `line` removes the reader that it replaces.
            self.items[swish.item].readers += 1;
            return self.line(operator, swish, &Line::uniform(channels, factor, 0.0));
        }
        Err(operator.fail("a product of two values is supported only for HardSwish and SiLU"))
    }
}

/// Whether `affine` is `min(max(x + 3, 0), 6)`.
fn is_six_hard_sigmoids(affine: &Affine) -> bool {
    let are = |values: &[f32], expected: f64| values.iter().all(|&value| near(f64::from(value), expected));
    affine.activation == Activation::Relu6 && are(&affine.scale, 1.0) && are(&affine.shift, 3.0)
}
