//! A graph as an ONNX model, after the ONNX operator specification.

use std::collections::HashSet;

use prost::Message as _;

use super::graph::{self, Activation, Affine, Conv, Graph, Linear, Node, Op, Padding, Window};
use crate::exit::Exit;
use crate::protobuf::{
    AttributeProto, AttributeType, DataType, Dimension, Extent, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorType, TypeProto, ValueInfoProto, ValueType,
};

/// Name of the model's input.
pub const INPUT: &str = "input";
/// Name of the model's output.
pub const OUTPUT: &str = "logits";

/// The suffixes that the writer appends, after a dot, to the name of a node.
pub(super) const PARTS: [&str; 9] = ["weight", "bias", "scale", "shift", "conv", "gate", "flatten", "product", "sum"];
/// Names of the bounds, which all nodes share.
const BOUNDS: [&str; 2] = ["relu6.min", "relu6.max"];

/// Whether the model needs `name` for something other than a node of that name.
pub(super) fn is_reserved(name: &str) -> bool {
    [INPUT, OUTPUT].contains(&name) || BOUNDS.contains(&name)
}

/// The model's operator set: the first in which all operators used have their current form.
const OPERATOR_SET: i64 = 14;
/// The version of the file format that came with the operator set.
const FORMAT_VERSION: i64 = 7;

/// Why a graph cannot be converted to an ONNX model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The graph does not support the requested size.
    #[error("the network does not support this input size")]
    Graph(#[source] graph::Error),
    /// A node of the graph has a name that the model needs.
    #[error("the graph uses the name `{name}`, which the ONNX model needs for itself")]
    Name {
        /// The name.
        name: String,
    },
    /// A number exceeds ONNX's signed 64-bit integers.
    #[error("{value} is too large for ONNX")]
    TooLarge {
        /// The number.
        value: usize,
    },
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Graph(error) => error.exit(),
            Self::Name { .. } | Self::TooLarge { .. } => Exit::Data,
        }
    }
}

/// The ONNX model of `graph` for inputs of `height × width` pixels.
///
/// The input is called [`INPUT`] and has the shape `[1, channels, height, width]`; the output is called [`OUTPUT`].
/// Every other node's value has the name of the node, and so does the ONNX node that computes it. If several ONNX nodes
/// are needed, the others derive their names from it: `NAME.conv` comes before the activation, `NAME.gate` is the
/// sigmoid of a SiLU, `NAME.flatten` comes before a linear layer, `NAME.product` and `NAME.sum` are the parts of a
/// scale and shift. Weights are initialisers `NAME.weight`, `NAME.bias`, `NAME.scale` and `NAME.shift` with raw
/// little-endian data.
///
/// # Errors
/// Any [`Error`].
pub fn model(graph: &Graph, height: usize, width: usize) -> Result<ModelProto, Error> {
    let shapes = graph.shapes(height, width).map_err(Error::Graph)?;
    let proto = GraphProto { name: "hardnetd".to_owned(), ..Default::default() };
    let mut writer = Writer { graph, proto, bounds: HashSet::new() };
    for node in graph.nodes() {
        writer.node(node)?;
    }
    for (id, values) in [(graph.input(), INPUT), (graph.output(), OUTPUT)] {
        let (node, shape) = (&graph.nodes()[id.index()], shapes[id.index()]);
        let full = [1, shape.channels, shape.height, shape.width];
        let info = value_info(values, if node.flat { &full[..2] } else { &full })?;
        if values == INPUT { writer.proto.input.push(info) } else { writer.proto.output.push(info) }
    }
    writer.check_names()?;
    Ok(ModelProto {
        ir_version: FORMAT_VERSION,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPERATOR_SET }],
        producer_name: "hardnetd".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(writer.proto),
        ..Default::default()
    })
}

/// The file content of `model`: its protobuf encoding.
#[must_use]
pub fn bytes(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

struct Writer<'a> {
    graph: &'a Graph,
    proto: GraphProto,
    /// The bounds added so far.
    bounds: HashSet<&'static str>,
}

impl Writer<'_> {
    /// Name of the node's value.
    fn value(&self, node: &Node) -> String {
        let nodes = self.graph.nodes();
        if node.name == nodes[self.graph.output().index()].name {
            OUTPUT.to_owned()
        } else if node.name == nodes[self.graph.input().index()].name {
            INPUT.to_owned()
        } else {
            node.name.clone()
        }
    }

    fn node(&mut self, node: &Node) -> Result<(), Error> {
        let inputs: Vec<String> = node.inputs.iter().map(|id| self.value(&self.graph.nodes()[id.index()])).collect();
        match &node.op {
            Op::Input { .. } => self.input_is_output(node),
            Op::Conv(conv) => self.conv(node, conv, inputs)?,
            Op::MaxPool(pool) => self.push(node, "MaxPool", inputs, window(pool)?),
            Op::AvgPool { pool, count_include_pad } => {
                let mut attributes = window(pool)?;
                attributes.push(int("count_include_pad", i64::from(*count_include_pad)));
                self.push(node, "AveragePool", inputs, attributes);
            }
            Op::Concat => self.push(node, "Concat", inputs, vec![int("axis", 1)]),
            Op::Add => self.push(node, "Add", inputs, vec![]),
            Op::GlobalAverage => self.push(node, "GlobalAveragePool", inputs, vec![]),
            Op::Linear(linear) => self.linear(node, linear, inputs)?,
            Op::Softmax => self.push(node, "Softmax", inputs, vec![int("axis", 1)]),
            Op::Affine(affine) => self.affine(node, affine, inputs)?,
            Op::Activation(activation) => {
                for value in inputs {
                    self.activation(node, value, *activation)?;
                }
            }
        }
        Ok(())
    }

    /// A graph that returns its input needs an extra node, because an ONNX input cannot also be an output.
    fn input_is_output(&mut self, node: &Node) {
        if self.graph.input() == self.graph.output() {
            self.proto.node.push(NodeProto {
                input: vec![INPUT.to_owned()],
                output: vec![self.value(node)],
                name: OUTPUT.to_owned(),
                op_type: "Identity".to_owned(),
                ..Default::default()
            });
        }
    }

    fn conv(&mut self, node: &Node, conv: &Conv, mut inputs: Vec<String>) -> Result<(), Error> {
        let [rows, columns] = conv.window.kernel;
        let shape = [conv.out_channels, conv.in_channels / conv.groups, rows, columns];
        inputs.push(self.initializer(format!("{}.weight", node.name), &shape, &conv.weight)?);
        inputs.push(self.initializer(format!("{}.bias", node.name), &[conv.out_channels], &conv.bias)?);
        let mut attributes = window(&conv.window)?;
        attributes.push(int("group", signed(conv.groups)?));
        if conv.activation == Activation::None {
            self.push(node, "Conv", inputs, attributes);
            return Ok(());
        }
        let sum = self.part(node, "conv", "Conv", inputs, attributes);
        self.activation(node, sum, conv.activation)
    }

    fn affine(&mut self, node: &Node, affine: &Affine, mut inputs: Vec<String>) -> Result<(), Error> {
        // The map's extents after its channels.
        let shape = [node.channels, 1, 1];
        let shape = if node.flat { &shape[..1] } else { &shape };
        inputs.push(self.initializer(format!("{}.scale", node.name), shape, &affine.scale)?);
        let product = self.part(node, "product", "Mul", inputs, vec![]);
        let inputs = vec![product, self.initializer(format!("{}.shift", node.name), shape, &affine.shift)?];
        if affine.activation == Activation::None {
            self.push(node, "Add", inputs, vec![]);
            return Ok(());
        }
        let sum = self.part(node, "sum", "Add", inputs, vec![]);
        self.activation(node, sum, affine.activation)
    }

    /// Computes the value of `node` from `value`.
    fn activation(&mut self, node: &Node, value: String, activation: Activation) -> Result<(), Error> {
        match activation {
            Activation::None => self.push(node, "Identity", vec![value], vec![]),
            Activation::Relu => self.push(node, "Relu", vec![value], vec![]),
            Activation::Relu6 => {
                let [low, high] = BOUNDS;
                let inputs = vec![value, self.bound(low, 0.0)?, self.bound(high, 6.0)?];
                self.push(node, "Clip", inputs, vec![]);
            }
            Activation::HardSigmoid => {
                let attributes = vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)];
                self.push(node, "HardSigmoid", vec![value], attributes);
            }
            Activation::HardSwish => self.push(node, "HardSwish", vec![value], vec![]),
            Activation::Sigmoid => self.push(node, "Sigmoid", vec![value], vec![]),
            Activation::Silu => {
                let gate = self.part(node, "gate", "Sigmoid", vec![value.clone()], vec![]);
                self.push(node, "Mul", vec![value, gate], vec![]);
            }
        }
        Ok(())
    }

    fn linear(&mut self, node: &Node, linear: &Linear, inputs: Vec<String>) -> Result<(), Error> {
        let flat = self.part(node, "flatten", "Flatten", inputs, vec![int("axis", 1)]);
        let shape = [linear.out_channels, linear.in_channels];
        let weight = self.initializer(format!("{}.weight", node.name), &shape, &linear.weight)?;
        let bias = self.initializer(format!("{}.bias", node.name), &shape[..1], &linear.bias)?;
        self.push(node, "Gemm", vec![flat, weight, bias], vec![int("transB", 1)]);
        Ok(())
    }

    /// Adds the ONNX node that computes the value of `node`.
    fn push(&mut self, node: &Node, operator: &str, input: Vec<String>, attribute: Vec<AttributeProto>) {
        self.proto.node.push(NodeProto {
            input,
            output: vec![self.value(node)],
            name: node.name.clone(),
            op_type: operator.to_owned(),
            attribute,
            ..Default::default()
        });
    }

    /// Adds an ONNX node that computes a part of the value of `node`; returns the name of both.
    fn part(
        &mut self,
        node: &Node,
        part: &str,
        operator: &str,
        input: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) -> String {
        let name = format!("{}.{part}", node.name);
        self.proto.node.push(NodeProto {
            input,
            output: vec![name.clone()],
            name: name.clone(),
            op_type: operator.to_owned(),
            attribute,
            ..Default::default()
        });
        name
    }

    /// Adds an initialiser and returns its name.
    fn initializer(&mut self, name: String, shape: &[usize], values: &[f32]) -> Result<String, Error> {
        self.proto.initializer.push(TensorProto {
            dims: shape.iter().map(|&extent| signed(extent)).collect::<Result<_, _>>()?,
            data_type: DataType::Float as i32,
            name: name.clone(),
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            ..Default::default()
        });
        Ok(name)
    }

    /// The name of a scalar initialiser shared by all nodes.
    fn bound(&mut self, name: &'static str, value: f32) -> Result<String, Error> {
        if !self.bounds.insert(name) {
            return Ok(name.to_owned());
        }
        self.initializer(name.to_owned(), &[], &[value])
    }

    /// ONNX requires every value to be made once; tract keeps nodes and values in one namespace.
    fn check_names(&self) -> Result<(), Error> {
        let inputs = self.proto.input.iter().map(|info| &info.name);
        let weights = self.proto.initializer.iter().map(|tensor| &tensor.name);
        let results = self.proto.node.iter().flat_map(|node| {
            let named_apart = (!node.output.contains(&node.name)).then_some(&node.name);
            node.output.iter().chain(named_apart)
        });
        let mut seen = HashSet::new();
        match inputs.chain(weights).chain(results).find(|name| !seen.insert(name.as_str())) {
            Some(name) => Err(Error::Name { name: name.clone() }),
            None => Ok(()),
        }
    }
}

fn window(window: &Window) -> Result<Vec<AttributeProto>, Error> {
    let Padding { top, left, bottom, right } = window.padding;
    Ok(vec![
        ints("kernel_shape", &window.kernel)?,
        ints("strides", &window.stride)?,
        ints("pads", &[top, left, bottom, right])?,
    ])
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Int as i32, i: value, ..Default::default() }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Float as i32, f: value, ..Default::default() }
}

fn ints(name: &str, values: &[usize]) -> Result<AttributeProto, Error> {
    let ints = values.iter().map(|&value| signed(value)).collect::<Result<_, _>>()?;
    Ok(AttributeProto { name: name.to_owned(), r#type: AttributeType::Ints as i32, ints, ..Default::default() })
}

fn signed(value: usize) -> Result<i64, Error> {
    i64::try_from(value).map_err(|_| Error::TooLarge { value })
}

fn value_info(name: &str, shape: &[usize]) -> Result<ValueInfoProto, Error> {
    let dimension = |&extent: &usize| Ok(Dimension { value: Some(Extent::DimValue(signed(extent)?)) });
    let dim = shape.iter().map(dimension).collect::<Result<_, Error>>()?;
    let tensor = TensorType { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim }) };
    let kind = TypeProto { value: Some(ValueType::TensorType(tensor)) };
    Ok(ValueInfoProto { name: name.to_owned(), r#type: Some(kind) })
}

#[cfg(test)]
#[path = "onnx_tests.rs"]
mod tests;
