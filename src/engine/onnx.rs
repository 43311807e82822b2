//! A graph as an ONNX model, after the ONNX operator specification.

use std::collections::HashSet;

use prost::Message as _;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, tensor_shape_proto, type_proto,
};

use super::graph::{self, Activation, Conv, Graph, Linear, Node, Op, Padding, Window};
use crate::exit::Exit;

/// Name of the model's input.
pub const INPUT: &str = "input";
/// Name of the model's output.
pub const OUTPUT: &str = "logits";

/// The operator set of the model: the first in which all operators used have their present form.
const OPERATOR_SET: i64 = 13;
/// The version of the file format that came with the operator set.
const FORMAT_VERSION: i64 = 7;

/// Why a graph cannot become an ONNX model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The graph cannot have the size asked for.
    #[error("the network cannot have this input size")]
    Graph(#[source] graph::Error),
    /// A name that the model needs is taken by a node of the graph.
    #[error("the graph uses the name `{name}`, which the ONNX model needs for itself")]
    Name {
        /// The name.
        name: String,
    },
    /// A number does not fit the signed 64 bits of ONNX.
    #[error("{value} is too large for ONNX")]
    TooLarge {
        /// The number.
        value: usize,
    },
}

impl Error {
    /// The exit code of the program when this error ends it.
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
/// The input is called [`INPUT`] and has the shape `[1, channels, height, width]`, the output is called
/// [`OUTPUT`]. The value of every other node carries the node's name, and so does the ONNX node that
/// computes it; a convolution with an activation is two ONNX nodes, `NAME.conv` and `NAME`. Weights are
/// initialisers `NAME.weight` and `NAME.bias` with raw little-endian data.
///
/// # Errors
/// Any of [`Error`].
pub fn model(graph: &Graph, height: usize, width: usize) -> Result<ModelProto, Error> {
    let shapes = graph.shapes(height, width).map_err(Error::Graph)?;
    let mut writer = Writer { graph, proto: GraphProto { name: "hardnetd".to_owned(), ..Default::default() } };
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

/// The content of the file of `proto`.
#[must_use]
pub fn bytes(proto: &ModelProto) -> Vec<u8> {
    proto.encode_to_vec()
}

struct Writer<'a> {
    graph: &'a Graph,
    proto: GraphProto,
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
        }
        Ok(())
    }

    /// The graph that returns its input needs a node, for an ONNX input cannot be an output as well.
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
        let activation = match conv.activation {
            Activation::None => {
                self.push(node, "Conv", inputs, attributes);
                return Ok(());
            }
            Activation::Relu => "Relu",
            Activation::Relu6 => "Clip",
        };
        let sum = format!("{}.conv", node.name);
        self.proto.node.push(NodeProto {
            input: inputs,
            output: vec![sum.clone()],
            name: sum.clone(),
            op_type: "Conv".to_owned(),
            attribute: attributes,
            ..Default::default()
        });
        let mut inputs = vec![sum];
        if conv.activation == Activation::Relu6 {
            inputs.push(self.bound("relu6.min", 0.0)?);
            inputs.push(self.bound("relu6.max", 6.0)?);
        }
        self.push(node, activation, inputs, vec![]);
        Ok(())
    }

    fn linear(&mut self, node: &Node, linear: &Linear, inputs: Vec<String>) -> Result<(), Error> {
        let flat = format!("{}.flatten", node.name);
        self.proto.node.push(NodeProto {
            input: inputs,
            output: vec![flat.clone()],
            name: flat.clone(),
            op_type: "Flatten".to_owned(),
            attribute: vec![int("axis", 1)],
            ..Default::default()
        });
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

    /// The name of a scalar initialiser, which all nodes share.
    fn bound(&mut self, name: &str, value: f32) -> Result<String, Error> {
        if self.proto.initializer.iter().any(|tensor| tensor.name == name) {
            return Ok(name.to_owned());
        }
        self.initializer(name.to_owned(), &[], &[value])
    }

    /// ONNX wants every value to be made once; tract keeps nodes and values in one name space.
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

fn ints(name: &str, values: &[usize]) -> Result<AttributeProto, Error> {
    let ints = values.iter().map(|&value| signed(value)).collect::<Result<_, _>>()?;
    Ok(AttributeProto { name: name.to_owned(), r#type: AttributeType::Ints as i32, ints, ..Default::default() })
}

fn signed(value: usize) -> Result<i64, Error> {
    i64::try_from(value).map_err(|_| Error::TooLarge { value })
}

fn value_info(name: &str, shape: &[usize]) -> Result<ValueInfoProto, Error> {
    let dimension = |&extent: &usize| {
        let value = Some(tensor_shape_proto::dimension::Value::DimValue(signed(extent)?));
        Ok(tensor_shape_proto::Dimension { value, ..Default::default() })
    };
    let dim = shape.iter().map(dimension).collect::<Result<_, Error>>()?;
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim }) };
    let value = Some(type_proto::Value::TensorType(tensor));
    let kind = TypeProto { value, ..Default::default() };
    Ok(ValueInfoProto { name: name.to_owned(), r#type: Some(kind), ..Default::default() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::engine::graph::Builder;

    fn conv(activation: Activation) -> Conv {
        Conv {
            in_channels: 2,
            out_channels: 2,
            window: Window {
                kernel: [1, 3],
                stride: [1, 2],
                padding: Padding { top: 0, left: 1, bottom: 0, right: 2 },
            },
            groups: 2,
            weight: vec![1.0; 6].into(),
            bias: vec![-1.0, 0.5].into(),
            activation,
        }
    }

    fn operators(graph: &GraphProto) -> Vec<(&str, &str, Vec<&str>, &str)> {
        graph
            .node
            .iter()
            .map(|node| {
                let inputs = node.input.iter().map(String::as_str).collect();
                (node.name.as_str(), node.op_type.as_str(), inputs, node.output[0].as_str())
            })
            .collect()
    }

    #[test]
    fn nodes_values_and_weights_carry_the_names_of_the_graph() {
        let mut graph = Builder::new();
        let image = graph.input("image", 2).unwrap();
        let clipped = graph.conv("a", image, conv(Activation::Relu6)).unwrap();
        let plain = graph.conv("b", clipped, conv(Activation::None)).unwrap();
        let mean = graph.global_average("mean", plain).unwrap();
        let linear = Linear { in_channels: 2, out_channels: 3, weight: vec![0.0; 6].into(), bias: vec![0.0; 3].into() };
        let scores = graph.linear("classes", mean, linear).unwrap();
        let proto = model(&graph.finish(scores).unwrap(), 5, 7).unwrap();
        assert_eq!((proto.ir_version, proto.opset_import[0].version), (7, 13));
        let graph = proto.graph.unwrap();
        assert_eq!(
            operators(&graph),
            [
                ("a.conv", "Conv", vec!["input", "a.weight", "a.bias"], "a.conv"),
                ("a", "Clip", vec!["a.conv", "relu6.min", "relu6.max"], "a"),
                ("b", "Conv", vec!["a", "b.weight", "b.bias"], "b"),
                ("mean", "GlobalAveragePool", vec!["b"], "mean"),
                ("classes.flatten", "Flatten", vec!["mean"], "classes.flatten"),
                ("classes", "Gemm", vec!["classes.flatten", "classes.weight", "classes.bias"], "logits"),
            ]
        );
        let weight = &graph.initializer[0];
        assert_eq!((weight.name.as_str(), &weight.dims[..]), ("a.weight", &[2, 1, 1, 3][..]));
        assert_eq!(weight.raw_data, 1.0_f32.to_le_bytes().repeat(6));
        let bounds: Vec<_> = graph.initializer.iter().filter(|tensor| tensor.dims.is_empty()).collect();
        assert_eq!(bounds.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(), ["relu6.min", "relu6.max"]);
        let attribute = |name| &graph.node[0].attribute.iter().find(|attribute| attribute.name == name).unwrap().ints;
        assert_eq!(attribute("kernel_shape"), &[1, 3]);
        assert_eq!(attribute("strides"), &[1, 2]);
        assert_eq!(attribute("pads"), &[0, 1, 0, 2]);
        assert_eq!(graph.input[0], value_info("input", &[1, 2, 5, 7]).unwrap());
        assert_eq!(graph.output[0], value_info("logits", &[1, 3]).unwrap());
    }

    #[test]
    fn names_that_the_model_needs_cannot_be_taken() {
        for taken in ["logits", "input", "last.weight", "relu6.max"] {
            let mut graph = Builder::new();
            let image = graph.input("image", 2).unwrap();
            let node = graph.softmax(taken, image).unwrap();
            let last = graph.conv("last", node, conv(Activation::Relu6)).unwrap();
            let error = model(&graph.finish(last).unwrap(), 4, 4).unwrap_err();
            assert!(matches!(error, Error::Name { name } if name == taken));
        }
    }

    #[test]
    fn the_output_node_cannot_be_called_like_the_input() {
        let mut graph = Builder::new();
        let image = graph.input("image", 2).unwrap();
        let last = graph.softmax("input", image).unwrap();
        let error = model(&graph.finish(last).unwrap(), 4, 4).unwrap_err();
        assert!(matches!(error, Error::Name { name } if name == "input"));
    }

    #[test]
    fn sizes_that_do_not_fit_and_empty_networks_are_handled() {
        let mut graph = Builder::new();
        let image = graph.input("image", 2).unwrap();
        let graph = graph.finish(image).unwrap();
        assert!(matches!(model(&graph, 0, 4), Err(Error::Graph(_))));
        assert!(matches!(model(&graph, usize::MAX, 4), Err(Error::TooLarge { .. })));
        let proto = model(&graph, 4, 4).unwrap().graph.unwrap();
        assert_eq!(operators(&proto), [("logits", "Identity", vec!["input"], "logits")]);
    }
}
