//! Runs a graph in 64-bit floating point, with one plain loop per operator: the reference for all backends.
//!
//! It shares no code with them and is written for readability, not speed: about a second per 10^9 multiply-accumulates.

use super::graph::{Activation, Affine, Conv, Error, Graph, Linear, Node, NodeId, Op, Shape, Window};
use crate::tensor::Tensor;

/// The value of a node: `[channels, height, width]`, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    /// Its size.
    pub shape: Shape,
    /// Its values.
    pub values: Vec<f64>,
}

impl Map {
    fn pixels(&self) -> usize {
        self.shape.height * self.shape.width
    }

    fn plane(&self, channel: usize) -> &[f64] {
        &self.values[channel * self.pixels()..][..self.pixels()]
    }
}

/// Computes every node of `graph` for `input` and passes each value to `visit`, in graph order. A value is kept until
/// its last read.
///
/// # Errors
/// [`Error::Size`] if the network does not support the size of the input, [`Error::Channels`] if it expects another
/// number of channels, and any error of `visit`.
pub fn run<E: From<Error>>(
    graph: &Graph,
    input: &Tensor,
    mut visit: impl FnMut(NodeId, &Map) -> Result<(), E>,
) -> Result<(), E> {
    let shapes = graph.shapes(input.height(), input.width())?;
    let nodes = graph.nodes();
    let mut last_reader: Vec<usize> = (0..nodes.len()).collect();
    for (index, node) in nodes.iter().enumerate() {
        for input in &node.inputs {
            last_reader[input.index()] = index;
        }
    }
    let mut values: Vec<Option<Map>> = Vec::with_capacity(nodes.len());
    for ((id, node), &shape) in graph.ids().zip(nodes).zip(&shapes) {
        let value = {
            let inputs: Vec<&Map> = node.inputs.iter().filter_map(|id| values.get(id.index())?.as_ref()).collect();
            if inputs.len() != node.inputs.len() {
                return Err(Error::UnknownNode { name: node.name.clone() }.into());
            }
            Map { shape, values: compute(node, &inputs, shape, input)? }
        };
        visit(id, &value)?;
        values.push(Some(value));
        for read in node.inputs.iter().map(|input| input.index()).chain([id.index()]) {
            if last_reader[read] == id.index() {
                values[read] = None;
            }
        }
    }
    Ok(())
}

fn compute(node: &Node, inputs: &[&Map], shape: Shape, input: &Tensor) -> Result<Vec<f64>, Error> {
    // The builder has checked the number of inputs of every operator.
    let Some(&first) = inputs.first() else { return planes(node, input) };
    Ok(match &node.op {
        Op::Input { .. } => planes(node, input)?,
        Op::Conv(op) => conv(op, first, shape),
        Op::MaxPool(window) => pool(window, first, shape, |values, _| values.fold(f64::NEG_INFINITY, f64::max)),
        Op::AvgPool { pool: window, count_include_pad } => pool(window, first, shape, |values, covered| {
            let count = if *count_include_pad { window.kernel[0] * window.kernel[1] } else { covered };
            values.sum::<f64>() / count as f64
        }),
        Op::Concat => inputs.iter().flat_map(|map| &map.values).copied().collect(),
        Op::Add => inputs.iter().skip(1).fold(first.values.clone(), |mut sum, map| {
            sum.iter_mut().zip(&map.values).for_each(|(sum, value)| *sum += value);
            sum
        }),
        Op::GlobalAverage => {
            let mean = |channel| first.plane(channel).iter().sum::<f64>() / first.pixels() as f64;
            (0..shape.channels).map(mean).collect()
        }
        Op::Linear(op) => linear(op, first),
        Op::Softmax => softmax(first),
        Op::Affine(Affine { scale, shift, activation }) => {
            let scaled = |(index, value): (usize, &f64)| {
                let channel = index / first.pixels();
                activate(*activation, f64::from(scale[channel]) * value + f64::from(shift[channel]))
            };
            first.values.iter().enumerate().map(scaled).collect()
        }
        Op::Activation(activation) => first.values.iter().map(|&value| activate(*activation, value)).collect(),
    })
}

/// The network's input as planes.
fn planes(node: &Node, input: &Tensor) -> Result<Vec<f64>, Error> {
    let channels = input.channels();
    if channels != node.channels {
        return Err(Error::Channels { name: node.name.clone(), expected: node.channels, found: channels });
    }
    let plane = |channel| input.data().iter().skip(channel).step_by(channels).map(|&value| f64::from(value));
    Ok((0..channels).flat_map(plane).collect())
}

fn activate(activation: Activation, value: f64) -> f64 {
    let hard_sigmoid = |value: f64| (value / 6.0 + 0.5).clamp(0.0, 1.0);
    let sigmoid = |value: f64| 1.0 / (1.0 + (-value).exp());
    match activation {
        Activation::None => value,
        Activation::Relu => value.max(0.0),
        Activation::Relu6 => value.clamp(0.0, 6.0),
        Activation::HardSigmoid => hard_sigmoid(value),
        Activation::HardSwish => value * hard_sigmoid(value),
        Activation::Sigmoid => sigmoid(value),
        Activation::Silu => value * sigmoid(value),
    }
}

fn conv(op: &Conv, input: &Map, shape: Shape) -> Vec<f64> {
    let Window { kernel: [rows, columns], .. } = op.window;
    let (group_in, group_out) = (op.in_channels / op.groups, op.out_channels / op.groups);
    let mut output = Vec::with_capacity(op.out_channels * shape.height * shape.width);
    for channel in 0..op.out_channels {
        let mut plane = vec![f64::from(op.bias[channel]); shape.height * shape.width];
        for (index, &weight) in op.weight[channel * group_in * rows * columns..][..group_in * rows * columns]
            .iter()
            .enumerate()
            .filter(|(_, weight)| **weight != 0.0)
        {
            let (from, tap) = (index / (rows * columns), index % (rows * columns));
            let source = input.plane(channel / group_out * group_in + from);
            add_tap(&mut plane, shape, source, input.shape, &op.window, [tap / columns, tap % columns], weight.into());
        }
        plane.iter_mut().for_each(|value| *value = activate(op.activation, *value));
        output.append(&mut plane);
    }
    output
}

/// Adds one weight of a kernel, at `tap` (row, column), to an output plane.
fn add_tap(
    output: &mut [f64],
    to: Shape,
    input: &[f64],
    from: Shape,
    window: &Window,
    [row, column]: [usize; 2],
    weight: f64,
) {
    let Window { stride, padding, .. } = *window;
    for (y, output) in output.chunks_exact_mut(to.width).enumerate() {
        let Some(source) = (y * stride[0] + row).checked_sub(padding.top).filter(|y| *y < from.height) else {
            continue;
        };
        let source = &input[source * from.width..][..from.width];
        // The first output whose source column lies in the map.
        let first = padding.left.saturating_sub(column).div_ceil(stride[1]);
        let start = first * stride[1] + column - padding.left;
        if let (Some(output), Some(source)) = (output.get_mut(first..), source.get(start..)) {
            for (output, value) in output.iter_mut().zip(source.iter().step_by(stride[1])) {
                *output += weight * value;
            }
        }
    }
}

/// Reduces the part of every window that lies in the map; `reduce` also gets the number of its values.
fn pool(
    window: &Window,
    input: &Map,
    shape: Shape,
    reduce: impl Fn(&mut dyn Iterator<Item = f64>, usize) -> f64,
) -> Vec<f64> {
    let Window { kernel, stride, padding } = *window;
    let range = |at: usize, axis: usize, before: usize, size: usize| {
        let start = at * stride[axis];
        start.saturating_sub(before)..(start + kernel[axis]).saturating_sub(before).min(size)
    };
    let mut output = Vec::with_capacity(shape.channels * shape.height * shape.width);
    for channel in 0..shape.channels {
        let plane = input.plane(channel);
        for y in 0..shape.height {
            let rows = range(y, 0, padding.top, input.shape.height);
            for x in 0..shape.width {
                let columns = range(x, 1, padding.left, input.shape.width);
                let covered = rows.len() * columns.len();
                let row = |row: usize| plane[row * input.shape.width..][columns.clone()].iter().copied();
                output.push(reduce(&mut rows.clone().flat_map(row), covered));
            }
        }
    }
    output
}

fn linear(op: &Linear, input: &Map) -> Vec<f64> {
    let rows = op.weight.chunks_exact(op.in_channels.max(1)).zip(op.bias.iter());
    rows.map(|(row, &bias)| {
        row.iter().zip(&input.values).map(|(&weight, value)| f64::from(weight) * value).sum::<f64>() + f64::from(bias)
    })
    .collect()
}

/// Softmax over the channels of each pixel.
fn softmax(input: &Map) -> Vec<f64> {
    let (pixels, channels) = (input.pixels(), input.shape.channels);
    let mut output = input.values.clone();
    for pixel in 0..pixels {
        let at = |channel: usize| channel * pixels + pixel;
        let most = (0..channels).map(|channel| input.values[at(channel)]).fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = (0..channels).map(|channel| (input.values[at(channel)] - most).exp()).sum();
        for channel in 0..channels {
            output[at(channel)] = (input.values[at(channel)] - most).exp() / total;
        }
    }
    output
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::graph::{Builder, Padding};
    use super::*;

    /// The last value for the map `[2, 2, 1]` with the values -1, 2, 3, 4.
    fn last(nodes: impl FnOnce(&mut Builder, NodeId) -> NodeId) -> Vec<f64> {
        let mut builder = Builder::new();
        let input = builder.input("input", 1).unwrap();
        let output = nodes(&mut builder, input);
        let mut tensor = Tensor::zeros(2, 2, 1);
        tensor.data_mut().copy_from_slice(&[-1.0, 2.0, 3.0, 4.0]);
        let mut values = Vec::new();
        let graph = builder.finish(output).unwrap();
        run::<Error>(&graph, &tensor, |_, map| {
            values.clone_from(&map.values);
            Ok(())
        })
        .unwrap();
        values
    }

    const CORNER: Window =
        Window { kernel: [2, 2], stride: [1, 2], padding: Padding { top: 1, left: 1, bottom: 0, right: 0 } };

    #[test]
    fn operators_are_computed_as_worked_out_by_hand() {
        assert_eq!(last(|graph, input| graph.add("sum", input, input).unwrap()), [-2.0, 4.0, 6.0, 8.0]);
        assert_eq!(last(|graph, input| graph.max_pool("max", input, CORNER).unwrap()), [-1.0, 3.0]);
        assert_eq!(last(|graph, input| graph.avg_pool("mean", input, CORNER, false).unwrap()), [-1.0, 1.0]);
        assert_eq!(last(|graph, input| graph.avg_pool("mean", input, CORNER, true).unwrap()), [-0.25, 0.5]);
        let halves = last(|graph, input| {
            let mean = graph.global_average("mean", input).unwrap();
            let pair = graph.concat("pair", &[mean, mean]).unwrap();
            graph.softmax("softmax", pair).unwrap()
        });
        assert_eq!(halves, [0.5, 0.5]);
        let conv = Conv {
            in_channels: 1,
            out_channels: 2,
            window: CORNER,
            groups: 1,
            weight: vec![0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 2.0].into(),
            bias: vec![0.5, -0.5].into(),
            activation: Activation::Relu,
        };
        assert_eq!(last(|graph, input| graph.conv("conv", input, conv).unwrap()), [0.0, 3.5, 0.0, 4.5]);
        let affine = Affine { scale: vec![2.0].into(), shift: vec![1.0].into(), activation: Activation::Relu6 };
        assert_eq!(last(|graph, input| graph.affine("norm", input, affine).unwrap()), [0.0, 5.0, 6.0, 6.0]);
        let linear =
            Linear { in_channels: 1, out_channels: 2, weight: vec![1.0, -2.0].into(), bias: vec![0.0, 1.0].into() };
        let scores = last(|graph, input| {
            let mean = graph.global_average("mean", input).unwrap();
            graph.linear("linear", mean, linear).unwrap()
        });
        assert_eq!(scores, [2.0, -3.0]);
    }

    #[test]
    fn a_wrong_number_of_channels_and_a_size_that_does_not_fit_are_errors() {
        let mut builder = Builder::new();
        let input = builder.input("input", 2).unwrap();
        let output = builder.max_pool("max", input, Window::square(3, 1, 0)).unwrap();
        let graph = builder.finish(output).unwrap();
        let failure = |tensor| run::<Error>(&graph, &tensor, |_, _| Ok(())).unwrap_err();
        assert!(matches!(failure(Tensor::zeros(3, 3, 1)), Error::Channels { expected: 2, found: 1, .. }));
        assert!(matches!(failure(Tensor::zeros(2, 3, 2)), Error::Size { .. }));
    }
}
