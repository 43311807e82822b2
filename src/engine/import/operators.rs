//! Converts each operator of the file.

use super::constant::Floats;
use super::merge::Line;
use super::network::{Handle, Network, Value};
use super::operator::{Operator, is_float};
use super::{Error, window};
use crate::engine::op::{Activation, Conv, Op, Padding, Window};

/// Default value that a BatchNormalization adds to the variance.
const EPSILON: f32 = 1e-5;

impl<'a> Network<'a> {
    /// Reads the node `operator`.
    ///
    /// # Errors
    /// [`Error::Node`] if the node is not supported; [`Error::Tensor`].
    pub(super) fn node(&mut self, operator: Operator<'a>) -> Result<(), Error> {
        if !operator.is_standard() {
            return Err(operator.fail("this operator is not supported"));
        }
        let value = match self.computed(operator)? {
            Some(value) => value,
            None => self.operator(operator)?,
        };
        match operator.outputs().first() {
            Some(name) => self.bind(name, value),
            None => return Err(operator.fail("it has no output")),
        }
        Ok(())
    }

    fn operator(&mut self, operator: Operator<'a>) -> Result<Value, Error> {
        let handle = match operator.kind() {
            "Conv" => self.conv(operator)?,
            "BatchNormalization" => self.batch_norm(operator)?,
            "Relu" => self.activation(operator, Activation::Relu)?,
            "Sigmoid" => self.activation(operator, Activation::Sigmoid)?,
            "HardSwish" => self.activation(operator, Activation::HardSwish)?,
            "HardSigmoid" => {
                let (alpha, beta) = (operator.float("alpha", 0.2)?, operator.float("beta", 0.5)?);
                if (alpha - 1.0 / 6.0).abs() > 1e-6 || beta != 0.5 {
                    return Err(operator.fail(format!("a HardSigmoid of {alpha} · x + {beta} is not supported")));
                }
                self.activation(operator, Activation::HardSigmoid)?
            }
            "Clip" => self.clip(operator)?,
            "MaxPool" | "AveragePool" => self.pool(operator)?,
            "GlobalAveragePool" => {
                let map = self.map(operator, 0)?;
                self.push(operator, Op::GlobalAverage, &[map])?
            }
            "ReduceMean" => self.mean(operator)?,
            "Concat" => self.concat(operator)?,
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(operator)?,
            "Gemm" => self.gemm(operator)?,
            "MatMul" => self.mat_mul(operator)?,
            "Softmax" => self.softmax(operator)?,
            "Identity" | "CastLike" => self.nothing(operator)?,
            "Dropout" => match operator.input(2).map(|_| self.value(operator, 2)).transpose()? {
                None => self.nothing(operator)?,
                Some(Value::Integers(training)) if training.values == [Some(0)] => self.nothing(operator)?,
                Some(_) => return Err(operator.fail("dropout as in training is not supported")),
            },
            "Cast" if is_float(operator.int("to", 0)?) => self.nothing(operator)?,
            "Cast" => return Err(operator.fail("values of another type than float are not supported")),
            "Pad" => return self.pad(operator),
            "Shape" => return self.shape(operator),
            "Flatten" => self.flatten(operator)?,
            "Reshape" => self.reshape(operator)?,
            "Squeeze" => self.squeeze(operator)?,
            "Unsqueeze" => self.unsqueeze(operator)?,
            "QuantizeLinear"
            | "DequantizeLinear"
            | "DynamicQuantizeLinear"
            | "QLinearConv"
            | "QLinearMatMul"
            | "ConvInteger"
            | "MatMulInteger" => return Err(operator.fail("quantised networks are not supported")),
            _ => return Err(operator.fail("this operator is not supported")),
        };
        Ok(handle.into())
    }

    /// The value of an operator without effect.
    pub(super) fn nothing(&mut self, operator: Operator<'a>) -> Result<Handle, Error> {
        let handle = self.handle(operator, 0)?;
        self.pass(operator, handle)
    }

    /// `handle` under another name.
    pub(super) fn pass(&mut self, operator: Operator<'a>, handle: Handle) -> Result<Handle, Error> {
        self.line(operator, handle, &Line { scale: vec![], shift: vec![] })
    }

    fn conv(&mut self, operator: Operator<'a>) -> Result<Handle, Error> {
        let (map, before) = self.padded(operator, 0)?;
        let weight = self.weights(operator, 1)?;
        let [out_channels, per_group, rows, columns] = weight.dims[..] else {
            return Err(operator.fail("only convolutions over two dimensions are supported"));
        };
        let window = window::read(operator, Some([rows, columns]), map.size, before)?;
        let groups = operator.int("group", 1)?;
        let in_channels = self.items[map.item].channels;
        let groups = usize::try_from(groups).ok().filter(|&groups| per_group.checked_mul(groups) == Some(in_channels));
        let groups = groups.ok_or_else(|| {
            operator.fail(format!("weights of the shape {:?} do not fit a map of {in_channels} channels", weight.dims))
        })?;
        let bias = match operator.input(2) {
            Some(_) => {
                let bias = self.weights(operator, 2)?;
                if bias.dims != [out_channels] {
                    return Err(operator.fail(format!("its bias has the shape {:?}", bias.dims)));
                }
                bias.values.clone()
            }
            None => vec![0.0; out_channels].into(),
        };
        let conv = Conv {
            in_channels,
            out_channels,
            window,
            groups,
            weight: weight.values.clone(),
            bias,
            activation: Activation::None,
        };
        self.push(operator, Op::Conv(conv), &[map])
    }

    fn batch_norm(&mut self, operator: Operator<'a>) -> Result<Handle, Error> {
        let handle = self.handle(operator, 0)?;
        if operator.int("training_mode", 0)? != 0 || operator.int("spatial", 1)? != 1 {
            return Err(operator.fail("a batch norm is supported only in inference mode, over channels"));
        }
        let channels = self.items[handle.item].channels;
        let epsilon = f64::from(operator.float("epsilon", EPSILON)?);
        let mut vectors = Vec::new();
        for index in 1..5 {
            let vector = self.weights(operator, index)?;
            if vector.dims != [channels] || !self.is_by_channel(handle) {
                return Err(operator.fail(format!("its input {index} does not fit {channels} channels")));
            }
            vectors.push(vector);
        }
        self.work(operator, channels as u64)?;
        let at = |vector: usize, channel: usize| f64::from(vectors[vector].values[channel]);
        let scale = (0..channels).map(|channel| at(0, channel) / (at(3, channel) + epsilon).sqrt());
        let scale: Vec<f64> = scale.collect();
        let shift = (0..channels).map(|channel| at(1, channel) - at(2, channel) * scale[channel]).collect();
        self.line(operator, handle, &Line { scale, shift })
    }

    fn activation(&mut self, operator: Operator<'a>, activation: Activation) -> Result<Handle, Error> {
        let handle = self.handle(operator, 0)?;
        self.activate(operator, handle, activation)
    }

    /// The bounds are attributes before operator set 11, and inputs from then on.
    fn clip(&mut self, operator: Operator<'a>) -> Result<Handle, Error> {
        let bound = |name: &str, index: usize, open: f32| match self.scalar(operator, index)? {
            Some(bound) => Ok(bound),
            None => operator.float(name, open),
        };
        let (low, high) = (bound("min", 1, f32::MIN)?, bound("max", 2, f32::MAX)?);
        // A lower bound that never applies can be treated as 0.
        let low = if low <= 0.0 && self.is_positive(self.handle(operator, 0)?.item) { 0.0 } else { low };
        match (low, high) {
            (..=f32::MIN, f32::MAX..) => self.nothing(operator),
            (0.0, 6.0) => self.activation(operator, Activation::Relu6),
            (0.0, f32::MAX..) => self.activation(operator, Activation::Relu),
            _ => Err(operator.fail(format!("bounds of {low} and {high} are not supported, only 0 and 6"))),
        }
    }

    fn pool(&mut self, operator: Operator<'a>) -> Result<Handle, Error> {
        let (map, before) = self.padded(operator, 0)?;
        if operator.outputs().get(1).is_some_and(|name| self.is_read(name)) {
            return Err(operator.fail("its second output is not supported"));
        }
        let pool = window::read(operator, None, map.size, before)?;
        if pool == Window::square(1, 1, 0) {
            return self.pass(operator, map);
        }
        let is_padded = before != Padding::default();
        let op = if operator.kind() == "MaxPool" {
            if is_padded && !self.is_positive(map.item) {
                return Err(operator.fail("a maximum over zeros around a map that can be negative is not supported"));
            }
            Op::MaxPool(pool)
        } else {
            let counts = operator.int("count_include_pad", 0)? != 0;
            // The zeros of a preceding padding count in any case.
            if is_padded && !counts && pool.padding != before {
                return Err(operator.fail("a mean over a padding of which only a part counts is not supported"));
            }
            Op::AvgPool { pool, count_include_pad: counts || is_padded }
        };
        self.push(operator, op, &[map])
    }

    /// Whether the value of an item is known to be non-negative: after some activations, or after a maximum of them.
    fn is_positive(&self, item: usize) -> bool {
        let item = &self.items[item];
        let read = item.inputs.first().filter(|_| matches!(item.op, Op::MaxPool(_)));
        match read.map_or(&item.op, |&read| &self.items[read].op) {
            Op::Conv(Conv { activation, .. }) | Op::Activation(activation) => {
                matches!(activation, Activation::Relu | Activation::Relu6 | Activation::Sigmoid)
            }
            Op::Affine(affine) => matches!(affine.activation, Activation::Relu | Activation::Relu6),
            _ => false,
        }
    }

    fn mean(&mut self, operator: Operator<'a>) -> Result<Handle, Error> {
        let map = self.map(operator, 0)?;
        let axes = self.integers(operator, "axes", 1)?.unwrap_or_default();
        let mut axes: Vec<i64> = axes.iter().flatten().map(|&axis| if axis < 0 { axis + 4 } else { axis }).collect();
        axes.sort_unstable();
        if axes != [2, 3] {
            return Err(operator.fail("a mean over other axes than height and width is not supported"));
        }
        let mean = self.push(operator, Op::GlobalAverage, &[map])?;
        let keeps = operator.int("keepdims", 1)? != 0;
        Ok(Handle { rank: if keeps { 4 } else { 2 }, ..mean })
    }

    fn concat(&mut self, operator: Operator<'a>) -> Result<Handle, Error> {
        let inputs: Vec<Handle> =
            (0..operator.inputs().len()).map(|index| self.handle(operator, index)).collect::<Result<_, _>>()?;
        let [first, rest @ ..] = &inputs[..] else { return Err(operator.fail("it has no input")) };
        let axis = operator.int("axis", 1)?;
        let rank = first.rank as i64;
        if (axis != 1 && axis.checked_add(rank) != Some(1)) || rest.iter().any(|input| input.rank != first.rank) {
            return Err(operator.fail("only channels can be joined, axis 1"));
        }
        if rest.is_empty() { self.pass(operator, *first) } else { self.push(operator, Op::Concat, &inputs) }
    }

    fn arithmetic(&mut self, operator: Operator<'a>) -> Result<Handle, Error> {
        let kind = operator.kind();
        let (first, second) = (self.value(operator, 0)?, self.value(operator, 1)?);
        let (handle, index, floats) = match (&first, &second) {
            (Value::Item(..), Value::Item(..)) => {
                let (first, second) = (self.handle(operator, 0)?, self.handle(operator, 1)?);
                return self.two(operator, first, second);
            }
            (Value::Item(..), Value::Floats(floats)) => (self.handle(operator, 0)?, 1, floats),
            (Value::Floats(floats), Value::Item(..)) => (self.handle(operator, 1)?, 0, floats),
            _ => return Err(operator.fail("its constant is not of type float, which is not supported")),
        };
        self.work(operator, self.items[handle.item].channels as u64)?;
        let values = self.by_channel(operator, handle, floats)?;
        // Weights have channels; a single number is part of a function, like the 3 and 6 of HardSwish.
        if floats.values.len() > 1 {
            self.count(operator, index, floats);
        }
        let (zeros, ones) = (vec![0.0; values.len()], vec![1.0; values.len()]);
        let minus = |values: Vec<f64>| values.into_iter().map(|value| -value).collect::<Vec<_>>();
        let line = match (kind, index) {
            ("Add", _) => Line { scale: ones, shift: values },
            ("Sub", 1) => Line { scale: ones, shift: minus(values) },
            ("Sub", _) => Line { scale: minus(ones), shift: values },
            ("Mul", _) => Line { scale: values, shift: zeros },
            ("Div", 1) => Line { scale: values.into_iter().map(f64::recip).collect(), shift: zeros },
            _ => return Err(operator.fail("the quotient of a constant and a value is not supported")),
        };
        self.line(operator, handle, &line)
    }

    /// Sum, difference or product of two network values.
    fn two(&mut self, operator: Operator<'a>, first: Handle, second: Handle) -> Result<Handle, Error> {
        let channels = |handle: Handle| self.items[handle.item].channels;
        // One of open size, with one of one pixel, would be repeated over the map.
        let sizes_differ = first.size != second.size;
        if first.rank != second.rank || channels(first) != channels(second) || sizes_differ {
            return Err(operator.fail("two values of different shapes are not supported"));
        }
        match operator.kind() {
            "Add" => self.push(operator, Op::Add, &[first, second]),
            "Sub" => {
                let count = channels(second);
                self.work(operator, count as u64)?;
                let negative =
                    self.line(operator, second, &Line { scale: vec![-1.0; count], shift: vec![0.0; count] })?;
                self.push(operator, Op::Add, &[first, negative])
            }
            "Mul" => self.product(operator, first, second),
            _ => Err(operator.fail("the quotient of two values is not supported")),
        }
    }

    /// A constant as one number per channel of `handle`.
    fn by_channel(&self, operator: Operator<'a>, handle: Handle, floats: &Floats) -> Result<Vec<f64>, Error> {
        let channels = self.items[handle.item].channels;
        let Floats { dims, values } = floats;
        if let [value] = values[..] {
            return Ok(vec![f64::from(value); channels]);
        }
        // Axes are counted from the last one.
        let channel_axis = dims.len().checked_sub(handle.rank - 1);
        let fits = channel_axis.is_some_and(|axis| dims.get(axis) == Some(&channels));
        if dims.len() <= handle.rank && fits && values.len() == channels && self.is_by_channel(handle) {
            Ok(values.iter().map(|&value| f64::from(value)).collect())
        } else {
            Err(operator.fail(format!("a constant of the shape {dims:?} is not supported, only one per channel")))
        }
    }

    /// Whether axis 1 of the value is its channels: in a flattened map it includes the pixels, too.
    fn is_by_channel(&self, handle: Handle) -> bool {
        handle.rank == 4 || handle.size == Some([1, 1]) || self.items[handle.item].flat
    }

    fn softmax(&mut self, operator: Operator<'a>) -> Result<Handle, Error> {
        let handle = self.handle(operator, 0)?;
        let each = self.operator_set >= 13;
        let axis = operator.int("axis", if each { -1 } else { 1 })?;
        let on_channels = axis == 1 || axis.checked_add(handle.rank as i64) == Some(1);
        // Before operator set 13, the softmax covers all axes from this one on.
        let over_channels = self.is_by_channel(handle) && (each || handle.rank == 2 || handle.size == Some([1, 1]));
        if on_channels && over_channels {
            self.push(operator, Op::Softmax, &[handle])
        } else {
            Err(operator.fail("a softmax over anything but the channels is not supported"))
        }
    }
}
