//! Networks from bytes: layers of every kind, of odd sizes, around the limits at which algorithms change.

use hardnetd::engine::graph::{Activation, Affine, Builder, Conv, Graph, Linear, NodeId, Op, Padding, Values, Window};

/// Maximum layers.
const LAYERS: usize = 12;
/// Maximum values of a map.
const MAP: usize = 1 << 20;
/// Maximum multiply-accumulates of a layer.
const MACS: usize = 8 << 20;

/// The input bytes in order, then pseudo-random ones derived from them, so that a short input can give a deep network.
pub struct Bytes<'a> {
    left: &'a [u8],
    state: u64,
}

impl<'a> Bytes<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let mix = |state: u64, byte: &u8| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self { left: bytes, state: bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix) }
    }

    fn next(&mut self) -> usize {
        let Some((&first, rest)) = self.left.split_first() else {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            return (self.state >> 56) as usize;
        };
        self.left = rest;
        first.into()
    }

    /// A number from 0 to `count - 1`.
    fn below(&mut self, count: usize) -> usize {
        let byte = self.next();
        if count > 256 { (byte << 8 | self.next()) % count } else { byte % count.max(1) }
    }

    fn one_of(&mut self, values: &[usize]) -> usize {
        values[self.below(values.len())]
    }
}

/// Pseudo-random numbers from -1 to 1.
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Values of a layer with that many inputs: sums of products with them stay as large as the inputs.
    fn weights(&mut self, length: usize, inputs: usize) -> Values {
        let scale = (3.0 / inputs.max(1) as f32).sqrt();
        (0..length).map(|_| self.next() * scale).collect()
    }
}

/// A network, and how to run it.
pub struct Network {
    pub graph: Graph,
    pub height: usize,
    pub width: usize,
    pub seed: u64,
    pub threads: usize,
}

/// A value of the network.
#[derive(Debug, Clone, Copy)]
struct Value {
    id: NodeId,
    size: [usize; 2],
    channels: usize,
    is_flat: bool,
}

struct Maker<'a, 'b> {
    bytes: &'a mut Bytes<'b>,
    builder: Builder,
    noise: Noise,
    values: Vec<Value>,
    names: usize,
}

impl Network {
    pub fn of(bytes: &mut Bytes<'_>) -> Option<Self> {
        let seed = bytes.next() as u64 + 1;
        let threads = bytes.one_of(&[1, 1, 1, 2, 2, 3, 3, 4]);
        let side = |bytes: &mut Bytes<'_>| match bytes.below(4) {
            0 => 1 + bytes.below(9),
            1 => bytes.one_of(&[4, 7, 8, 9, 13, 14, 15, 16, 20, 27, 28, 29, 30, 33, 56, 57, 64]),
            2 => 1 + bytes.below(32),
            _ => 1 + bytes.below(64),
        };
        let [height, width] = [side(bytes), side(bytes)];
        let [height, width] = if bytes.below(3) == 0 { [height, height] } else { [height, width] };
        let channels = if bytes.below(2) == 0 { 3 } else { bytes.one_of(&[1, 2, 4, 7, 8, 16, 17, 24, 32, 40, 64]) };
        let mut builder = Builder::new();
        let id = builder.input("input", channels).ok()?;
        let input = Value { id, size: [height, width], channels, is_flat: false };
        let mut maker = Maker { bytes, builder, noise: Noise(seed), values: vec![input], names: 0 };
        for _ in 0..1 + maker.bytes.below(LAYERS) {
            let _ = maker.layer();
        }
        let Maker { builder, values, .. } = maker;
        // The last value, or an earlier one.
        let output = values.last().filter(|value| value.id != id)?.id;
        let graph = builder.finish(output).ok()?;
        Some(Self { graph, height, width, seed, threads })
    }

    /// Prints the layers, to help find the fault that an input reveals: `SHOW=1`.
    pub fn show(&self) {
        let Self { graph, height, width, threads, .. } = self;
        eprintln!("{height} × {width} pixels, {threads} threads, output {}", graph.output().index());
        for (index, node) in graph.nodes().iter().enumerate() {
            let inputs: Vec<usize> = node.inputs.iter().map(|input| input.index()).collect();
            let op = match &node.op {
                Op::Conv(conv) => {
                    let Conv { groups, window, activation, .. } = conv;
                    format!("convolution in {groups} groups, {activation:?}, {window:?}")
                }
                Op::Affine(affine) => format!("affine {:?}", affine.activation),
                Op::Linear(_) => "linear".to_owned(),
                op => format!("{op:?}"),
            };
            eprintln!("  {index} `{}` of {inputs:?}: {} channels, {op}", node.name, node.channels);
        }
    }
}

impl Maker<'_, '_> {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("n{}", self.names)
    }

    fn last(&self) -> Value {
        self.values[self.values.len() - 1]
    }

    /// The input of a layer: usually the last value.
    fn read(&mut self) -> Value {
        if self.bytes.below(4) > 0 { self.last() } else { self.values[self.bytes.below(self.values.len())] }
    }

    fn activation(&mut self) -> Activation {
        match self.bytes.below(10) {
            0..=2 => Activation::None,
            3..=4 => Activation::Relu,
            5 => Activation::Relu6,
            6 => Activation::HardSigmoid,
            7 => Activation::HardSwish,
            8 => Activation::Sigmoid,
            _ => Activation::Silu,
        }
    }

    /// Output channels: few, or as many as switch to other algorithms.
    fn channels(&mut self) -> usize {
        match self.bytes.below(5) {
            0 | 1 => 1 + self.bytes.below(40),
            2 => self.bytes.one_of(&[8, 16, 24, 32, 48, 64, 96, 112]),
            3 => 120 + self.bytes.below(40),
            _ => 240 + self.bytes.below(300),
        }
    }

    fn layer(&mut self) -> Option<()> {
        let kind = self.bytes.below(16);
        if self.last().is_flat {
            return match kind % 3 {
                0 => self.affine(),
                1 => self.linear(),
                _ => self.add(),
            };
        }
        match kind {
            0 => {
                let kernel = [1 + self.bytes.below(7), 1 + self.bytes.below(7)];
                let stride = [1 + self.bytes.below(3), 1 + self.bytes.below(3)];
                self.convolution(kernel, stride, 1)
            }
            1 | 2 => self.convolution([1, 1], [1, 1], 1),
            3 | 4 => self.regular(1, 1),
            5 => {
                let kernel = if self.bytes.below(2) == 0 { [1, 1] } else { [1 + self.bytes.below(4), 3] };
                let stride = [1 + self.bytes.below(2), 1];
                let groups = 2 + self.bytes.below(8);
                self.convolution(kernel, stride, groups)
            }
            6 => {
                let stride = 1 + self.bytes.below(2);
                let groups = self.read().channels;
                self.regular(stride, groups)
            }
            7 => {
                self.convolution([1, 1], [1, 1], 1)?;
                let (stride, groups) = (1 + self.bytes.below(2), self.last().channels);
                self.regular(stride, groups)
            }
            8 | 9 => self.pool(),
            10 | 11 => self.concat(),
            12 => self.add(),
            13 => self.affine(),
            14 => {
                let groups = 2 << self.bytes.below(3);
                self.convolution([1, 1], [1, 1], groups)
            }
            _ if self.bytes.below(4) == 0 => {
                let value = self.last();
                let name = self.name();
                let id = self.builder.global_average(&name, value.id).ok()?;
                self.values.push(Value { id, size: [1, 1], ..value });
                self.linear()
            }
            _ => self.regular(2, 1),
        }
    }

    /// A 3 × 3 convolution with padding 1.
    fn regular(&mut self, stride: usize, groups: usize) -> Option<()> {
        self.conv([3, 3], [stride; 2], Padding::all(1), groups)
    }

    fn convolution(&mut self, kernel: [usize; 2], stride: [usize; 2], groups: usize) -> Option<()> {
        let padding = if self.bytes.below(2) == 0 {
            Padding::all(0)
        } else {
            let mut side = |length: usize| self.bytes.below(length);
            Padding { top: side(kernel[0]), left: side(kernel[1]), bottom: side(kernel[0]), right: side(kernel[1]) }
        };
        self.conv(kernel, stride, padding, groups)
    }

    fn conv(&mut self, kernel: [usize; 2], stride: [usize; 2], padding: Padding, groups: usize) -> Option<()> {
        let from = if groups == self.last().channels { self.last() } else { self.read() };
        if from.is_flat {
            return None;
        }
        let is_depthwise = groups > 1 && groups == from.channels;
        let groups = if from.channels.is_multiple_of(groups) { groups } else { 1 };
        let channels = if is_depthwise { groups } else { self.channels().next_multiple_of(groups) };
        let window = Window { kernel, stride, padding };
        let size = count(&window, from.size)?;
        let each = from.channels / groups * kernel[0] * kernel[1];
        let weights = channels * each;
        if size[0] * size[1] * channels > MAP || size[0] * size[1] * weights > MACS {
            return None;
        }
        let conv = Conv {
            in_channels: from.channels,
            out_channels: channels,
            window,
            groups,
            weight: self.noise.weights(weights, each),
            bias: self.noise.weights(channels, 3),
            activation: self.activation(),
        };
        let name = self.name();
        let id = self.builder.conv(&name, from.id, conv).ok()?;
        self.values.push(Value { id, size, channels, is_flat: false });
        Some(())
    }

    fn pool(&mut self) -> Option<()> {
        let from = self.read();
        let kernel = [1 + self.bytes.below(4), 1 + self.bytes.below(4)];
        let stride = [1 + self.bytes.below(3), 1 + self.bytes.below(3)];
        let mut side = |length: usize| self.bytes.below(length);
        let padding =
            Padding { top: side(kernel[0]), left: side(kernel[1]), bottom: side(kernel[0]), right: side(kernel[1]) };
        let window = Window { kernel, stride, padding };
        let size = count(&window, from.size)?;
        if size[0] * size[1] * from.channels > MAP {
            return None;
        }
        let name = self.name();
        let id = match self.bytes.below(3) {
            0 => self.builder.max_pool(&name, from.id, window),
            kind => self.builder.avg_pool(&name, from.id, window, kind == 1),
        };
        self.values.push(Value { id: id.ok()?, size, ..from });
        Some(())
    }

    /// Values of the same size as the last one.
    fn alike(&self) -> Vec<Value> {
        let last = self.last();
        let alike = |value: &&Value| value.size == last.size && value.is_flat == last.is_flat;
        self.values.iter().filter(alike).copied().collect()
    }

    fn concat(&mut self) -> Option<()> {
        let (alike, count) = (self.alike(), 1 + self.bytes.below(5));
        let parts: Vec<Value> = (0..count).map(|_| alike[self.bytes.below(alike.len())]).collect();
        let channels = parts.iter().map(|part| part.channels).sum();
        let Value { size, is_flat, .. } = self.last();
        if size[0] * size[1] * channels > MAP {
            return None;
        }
        let name = self.name();
        let ids: Vec<NodeId> = parts.iter().map(|part| part.id).collect();
        let id = self.builder.concat(&name, &ids).ok()?;
        self.values.push(Value { id, size, channels, is_flat });
        Some(())
    }

    fn add(&mut self) -> Option<()> {
        let last = self.last();
        let alike: Vec<Value> = self.alike().into_iter().filter(|value| value.channels == last.channels).collect();
        let other = alike[self.bytes.below(alike.len())];
        let name = self.name();
        let id = self.builder.add(&name, last.id, other.id).ok()?;
        self.values.push(Value { id, ..last });
        Some(())
    }

    fn affine(&mut self) -> Option<()> {
        let from = self.last();
        let name = self.name();
        let activation = self.activation();
        let id = if activation != Activation::None && self.bytes.below(2) == 0 {
            self.builder.activation(&name, from.id, activation)
        } else {
            let (scale, shift) = (self.noise.weights(from.channels, 3), self.noise.weights(from.channels, 3));
            self.builder.affine(&name, from.id, Affine { scale, shift, activation })
        };
        self.values.push(Value { id: id.ok()?, ..from });
        Some(())
    }

    fn linear(&mut self) -> Option<()> {
        let from = self.last();
        let channels = self.channels();
        let linear = Linear {
            in_channels: from.channels,
            out_channels: channels,
            weight: self.noise.weights(channels * from.channels, from.channels),
            bias: self.noise.weights(channels, 3),
        };
        let name = self.name();
        let id = self.builder.linear(&name, from.id, linear).ok()?;
        self.values.push(Value { id, size: [1, 1], channels, is_flat: true });
        Some(())
    }
}

/// Number of windows in both directions; `None` if there is none.
fn count(window: &Window, [height, width]: [usize; 2]) -> Option<[usize; 2]> {
    let Window { kernel, stride, padding } = window;
    let along = |length: usize, axis: usize| Some(length.checked_sub(kernel[axis])? / stride[axis] + 1);
    Some([along(height + padding.top + padding.bottom, 0)?, along(width + padding.left + padding.right, 1)?])
}
