//! The cost of a network at one input size: arithmetic, weights, and memory traffic.

use super::graph::{Error, Graph, Node, Op, Shape};

/// Maximum bytes of outputs that a network may need at the same time.
pub const MAX_ACTIVATION_BYTES: u64 = 2 << 30;

/// Bytes per value.
const VALUE: u64 = size_of::<f32>() as u64;

/// The cost of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCost {
    /// Name of the node.
    pub name: String,
    /// Shape of its output.
    pub shape: Shape,
    /// Multiply-accumulates of a convolution or linear layer.
    pub macs: u64,
    /// Values of weights, biases, scales and shifts.
    pub weights: u64,
    /// Convolutional input and output: values that a convolution reads and writes (CIO, arXiv:1909.00948, 3).
    pub cio: u64,
}

/// The cost of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// The nodes, in graph order.
    pub nodes: Vec<NodeCost>,
    /// Peak bytes of outputs: every output counts from its computation until its last read. Concatenations are views of
    /// their inputs.
    pub peak_activation_bytes: u64,
}

/// The cost of `graph` for an input of `height × width` pixels.
///
/// # Errors
/// The errors of [`Graph::shapes`].
pub fn cost(graph: &Graph, height: usize, width: usize) -> Result<Cost, Error> {
    let shapes = graph.shapes(height, width)?;
    let values = |index: usize| {
        let Shape { height, width, channels } = shapes[index];
        (height as u64).saturating_mul(width as u64).saturating_mul(channels as u64)
    };
    let node_cost = |(index, node): (usize, &Node)| {
        let Shape { height, width, .. } = shapes[index];
        let pixels = (height as u64).saturating_mul(width as u64);
        let read = node.inputs.iter().map(|input| values(input.index())).fold(0, u64::saturating_add);
        NodeCost {
            name: node.name.clone(),
            shape: shapes[index],
            macs: pixels.saturating_mul(node.op.weights() as u64),
            weights: node.op.values(),
            cio: if matches!(node.op, Op::Conv(_)) { read.saturating_add(values(index)) } else { 0 },
        }
    };
    let nodes = graph.nodes().iter().enumerate().map(node_cost).collect();
    Ok(Cost { nodes, peak_activation_bytes: peak(graph, values).saturating_mul(VALUE) })
}

/// The maximum number of values that are needed at the same time.
fn peak(graph: &Graph, values: impl Fn(usize) -> u64) -> u64 {
    let nodes = graph.nodes();
    let is_view = |index: usize| matches!(nodes[index].op, Op::Concat);
    // The last step at which each value is read; reading a view counts as reading its inputs.
    let mut last_read: Vec<usize> = (0..nodes.len()).collect();
    last_read[graph.output().index()] = nodes.len();
    for index in (0..nodes.len()).rev() {
        let read = if is_view(index) { last_read[index] } else { index };
        for input in &nodes[index].inputs {
            let input = input.index();
            last_read[input] = last_read[input].max(read);
        }
    }
    // Values whose last read is at each step. Sums of saturated sizes need more bits.
    let mut done = vec![0_u128; nodes.len() + 1];
    for index in (0..nodes.len()).filter(|&index| !is_view(index)) {
        done[last_read[index]] += u128::from(values(index));
    }
    let (mut live, mut peak) = (0_u128, 0_u128);
    for (index, done) in done.iter().enumerate().take(nodes.len()) {
        if !is_view(index) {
            live += u128::from(values(index));
        }
        peak = peak.max(live);
        live -= done;
    }
    u64::try_from(peak).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::super::graph::{Activation, Affine, Builder, Conv, Window};
    use super::*;

    fn conv(in_channels: usize, out_channels: usize, kernel: usize) -> Conv {
        Conv {
            in_channels,
            out_channels,
            window: Window::square(kernel, 1, kernel / 2),
            groups: 1,
            weight: vec![0.0; in_channels * out_channels * kernel * kernel].into(),
            bias: vec![0.0; out_channels].into(),
            activation: Activation::None,
        }
    }

    /// input 3 → a 4 → b 2; concatenated a, b → c 5; 10 × 6 pixels.
    fn graph() -> Graph {
        let mut builder = Builder::new();
        let input = builder.input("input", 3).unwrap();
        let a = builder.conv("a", input, conv(3, 4, 3)).unwrap();
        let b = builder.conv("b", a, conv(4, 2, 1)).unwrap();
        let joined = builder.concat("joined", &[a, b]).unwrap();
        let c = builder.conv("c", joined, conv(6, 5, 1)).unwrap();
        builder.finish(c).unwrap()
    }

    #[test]
    fn convolutions_are_counted_with_what_they_read_and_write() {
        let cost = cost(&graph(), 10, 6).unwrap();
        let of = |name: &str| cost.nodes.iter().find(|node| node.name == name).unwrap().clone();
        assert_eq!((of("a").macs, of("a").weights, of("a").cio), (60 * 108, 112, 60 * 7));
        assert_eq!((of("b").macs, of("b").weights, of("b").cio), (60 * 8, 10, 60 * 6));
        assert_eq!((of("c").macs, of("c").weights, of("c").cio), (60 * 30, 35, 60 * 11));
        assert_eq!((of("joined").macs, of("joined").weights, of("joined").cio), (0, 0, 0));
    }

    #[test]
    fn scales_and_shifts_are_weights_without_multiply_accumulates() {
        let mut builder = Builder::new();
        let input = builder.input("input", 3).unwrap();
        let values: crate::engine::graph::Values = vec![1.0; 3].into();
        let affine = Affine { scale: values.clone(), shift: values, activation: Activation::Relu };
        let norm = builder.affine("norm", input, affine).unwrap();
        let last = builder.activation("last", norm, Activation::Silu).unwrap();
        let cost = cost(&builder.finish(last).unwrap(), 10, 6).unwrap();
        let figures = |node: &NodeCost| (node.macs, node.weights, node.cio);
        assert_eq!(cost.nodes.iter().map(figures).collect::<Vec<_>>(), [(0, 0, 0), (0, 6, 0), (0, 0, 0)]);
        assert_eq!(cost.peak_activation_bytes, 2 * 60 * 3 * 4);
    }

    #[test]
    fn a_value_is_needed_until_its_last_reader_through_views() {
        // At c: a and b, which are concatenated without a copy, and c itself.
        assert_eq!(cost(&graph(), 10, 6).unwrap().peak_activation_bytes, 60 * (4 + 2 + 5) * 4);
    }
}
