//! Valid ONNX files, whatever operators they use.

use std::collections::{BTreeMap, HashMap, HashSet};

use prost::Message as _;

use super::operator::{Operator, is_float};
use super::{Error, Imported, MAX_LENGTH, NoParts, Parts, constant, emit, external, window};
use crate::protobuf::{
    self, AttributeProto, DataType, Extent, GraphProto, ModelProto, ValueInfoProto, ValueType as Type,
};

/// Maximum channels of an image.
const MAX_CHANNELS: usize = 1 << 16;

/// Maximum nodes of a graph. Exporters write several per layer, and the largest networks have thousands.
const MAX_NODES: usize = 1 << 16;

/// An ONNX file with a network for images.
///
/// It has one input of a floating-point type, or of bytes, and shape `[batch, channels, height, width]`, where batch, height and width
/// may be open. Of several outputs, the first that has a row of values is the network's, unless another one is asked for. Nodes come after their inputs,
/// the data of all tensors has been read, and no node has a graph of its own.
#[derive(Debug)]
pub struct File {
    model: ModelProto,
    graph: GraphProto,
    channels: usize,
    size: Option<[usize; 2]>,
    batch: usize,
    /// Whether the input takes bytes from 0 to 255.
    is_bytes: bool,
    /// Names of the outputs that are not the network's.
    others: Vec<String>,
    length: u64,
}

/// What the output values of a network are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scores {
    /// Numbers of any size, of which a softmax makes probabilities.
    #[default]
    Logits,
    /// Probabilities: made by a softmax, or for each class by a sigmoid.
    Probabilities,
}

impl File {
    /// Parses the file from `bytes`, which hold all of it.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Self::parse_with(bytes, &mut NoParts, None)
    }

    /// Parses the file from `bytes`, with values of tensors from `parts`, for the output of the name `output`, if given.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn parse_with(bytes: &[u8], parts: &mut dyn Parts, output: Option<&str>) -> Result<Self, Error> {
        if bytes.len() as u64 > MAX_LENGTH {
            return Err(Error::TooLarge { length: bytes.len() as u64 });
        }
        protobuf::check(bytes, protobuf::MessageType::Model)?;
        let mut model = ModelProto::decode(bytes).map_err(Error::Protobuf)?;
        let mut graph = model.graph.take().ok_or(Error::NoGraph)?;
        if graph.node.len() > MAX_NODES {
            return Err(Error::Nodes { count: graph.node.len(), limit: MAX_NODES });
        }
        let first = standard_sets(&model).next().unwrap_or(1);
        if let Some(second) = standard_sets(&model).find(|version| *version != first) {
            return Err(Error::OperatorSets { first, second });
        }
        let length = (bytes.len() as u64).saturating_add(external::embed(&mut graph, parts)?);
        let others = choose_output(&mut graph, output)?;
        let input = input(&graph)?;
        let is_bytes = is_bytes(input)?;
        let (channels, size, batch) = shape(input)?;
        for tensor in &graph.initializer {
            constant::check(tensor)?;
        }
        if let Some(sparse) = graph.sparse_initializer.first() {
            let name = sparse.values.as_ref().map(|values| values.name.clone()).unwrap_or_default();
            return Err(Error::Tensor { name, problem: "is sparse, which is not supported".to_owned() });
        }
        check_order(&graph, &input.name)?;
        if is_bytes {
            check_bytes(&graph, &input.name)?;
        }
        Ok(Self { model, graph, channels, size, batch, is_bytes, others, length })
    }

    /// The network of the file.
    ///
    /// # Errors
    /// Any [`Error`].
    pub fn network(&self) -> Result<Imported, Error> {
        emit::network(self)
    }

    /// The ONNX model itself.
    #[must_use]
    pub fn into_proto(self) -> ModelProto {
        ModelProto { graph: Some(self.graph), ..self.model }
    }

    /// Channels of the input.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Height and width of the input in pixels, if the file fixes both.
    #[must_use]
    pub fn size(&self) -> Option<[usize; 2]> {
        self.size
    }

    /// Pictures in a batch for which the file was written: 1 if that is open. One is computed.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Whether the input takes bytes from 0 to 255, of which the network makes numbers.
    #[must_use]
    pub fn takes_bytes(&self) -> bool {
        self.is_bytes
    }

    /// Names of the outputs that are not the network's.
    #[must_use]
    pub fn other_outputs(&self) -> &[String] {
        &self.others
    }

    /// Whether the output is, as far as the file says, more than a row of values: with rows and columns of its own.
    #[must_use]
    pub fn is_output_map(&self) -> bool {
        self.graph.output.first().and_then(rank).is_some_and(|rank| rank > 2)
    }

    /// What the output values are.
    ///
    /// # Errors
    /// [`Error::NoScores`] if the network chooses among the classes itself.
    pub fn scores(&self) -> Result<Scores, Error> {
        let makers: HashMap<&str, Operator<'_>> = self
            .graph
            .node
            .iter()
            .flat_map(|node| node.output.iter().map(move |output| (output.as_str(), Operator::new(node))))
            .collect();
        let mut name = self.graph.output.first().map_or("", |output| output.name.as_str());
        // Every node comes after those that it reads.
        while let Some(maker) = makers.get(name) {
            match maker.kind() {
                "Softmax" | "Sigmoid" | "HardSigmoid" => return Ok(Scores::Probabilities),
                "ArgMax" | "ArgMin" | "TopK" | "NonMaxSuppression" | "Hardmax" => {
                    let (node, operator) = (maker.name().to_owned(), maker.kind().to_owned());
                    return Err(Error::NoScores { node, operator });
                }
                // These rearrange values.
                "Identity" | "Cast" | "CastLike" | "Dropout" | "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => {
                    name = maker.input(0).unwrap_or("");
                }
                _ => break,
            }
        }
        Ok(Scores::Logits)
    }

    /// The file's metadata by key.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<String, String> {
        self.model.metadata_props.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
    }

    /// The program that wrote the file, with its version; empty if unknown.
    #[must_use]
    pub fn producer(&self) -> String {
        let ModelProto { producer_name, producer_version, .. } = &self.model;
        format!("{producer_name} {producer_version}").trim().to_owned()
    }

    /// Its length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Version of the operator set.
    #[must_use]
    pub fn operator_set(&self) -> i64 {
        standard_sets(&self.model).next().unwrap_or(1)
    }

    pub(super) fn graph(&self) -> &GraphProto {
        &self.graph
    }

    /// Name of the input. Files of old versions list the weights as inputs, too.
    pub(super) fn input(&self) -> &str {
        input(&self.graph).map_or("", |input| &input.name)
    }
}

/// The only input that is not a weight.
fn input(graph: &GraphProto) -> Result<&ValueInfoProto, Error> {
    let weights: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs: Vec<_> = graph.input.iter().filter(|input| !weights.contains(input.name.as_str())).collect();
    match &inputs[..] {
        [input] => Ok(input),
        _ => Err(Error::Inputs { names: inputs.iter().map(|info| info.name.clone()).collect() }),
    }
}

/// Number of axes of a value, if the file tells.
fn rank(info: &ValueInfoProto) -> Option<usize> {
    let Type::TensorType(tensor) = info.r#type.as_ref()?.value.as_ref()?;
    tensor.shape.as_ref().map(|shape| shape.dim.len())
}

/// Keeps the output that is `wanted`; without that, the first that is a row of values, or else the first. Returns the
/// names of the others.
fn choose_output(graph: &mut GraphProto, wanted: Option<&str>) -> Result<Vec<String>, Error> {
    let outputs = &mut graph.output;
    let index = match wanted {
        Some(name) => outputs.iter().position(|output| output.name == name).ok_or_else(|| Error::NoOutput {
            name: name.to_owned(),
            names: outputs.iter().map(|output| output.name.clone()).collect(),
        })?,
        None => outputs.iter().position(|output| rank(output) == Some(2)).unwrap_or(0),
    };
    if index < outputs.len() {
        outputs.swap(0, index);
    }
    Ok(outputs.drain(outputs.len().min(1)..).map(|output| output.name).collect())
}

/// Whether the input takes bytes; if not, numbers.
fn is_bytes(input: &ValueInfoProto) -> Result<bool, Error> {
    let fail = |problem: String| Error::Input { name: input.name.clone(), problem };
    let Some(Type::TensorType(tensor)) = input.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        return Err(fail("is not a tensor".to_owned()));
    };
    match DataType::try_from(tensor.elem_type) {
        // All are computed in single precision.
        Ok(DataType::Float | DataType::Float16 | DataType::Bfloat16 | DataType::Double) => Ok(false),
        Ok(DataType::Uint8) => Ok(true),
        found => {
            let found = found.map_or_else(|_| format!("number {}", tensor.elem_type), |it| it.as_str_name().into());
            Err(fail(format!("has the type {found}, but a floating-point type or UINT8 is required, such as FLOAT")))
        }
    }
}

/// Channels of the input, its height and width if they are fixed, and its batch, which is 1 if it is open.
fn shape(input: &ValueInfoProto) -> Result<(usize, Option<[usize; 2]>, usize), Error> {
    let fail = |problem: String| Error::Input { name: input.name.clone(), problem };
    let Some(Type::TensorType(tensor)) = input.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        return Err(fail("is not a tensor".to_owned()));
    };
    let dims = tensor.shape.as_ref().map(|shape| shape.dim.as_slice()).unwrap_or_default();
    // Open extents are names, missing, or not positive.
    let fixed = |index: usize| match dims.get(index)?.value {
        Some(Extent::DimValue(extent)) => usize::try_from(extent).ok().filter(|&extent| extent > 0),
        _ => None,
    };
    if dims.len() != 4 {
        let count = dims.len();
        return Err(fail(format!("has {count} axes, and 4 are needed: batch, channels, height, width")));
    }
    let is_colour = |index: usize| fixed(index) == Some(3);
    if is_colour(3) && !is_colour(1) {
        return Err(fail(
            "has its channels last (NHWC), which is not supported: export it with channels first (NCHW; tf2onnx: \
             --inputs-as-nchw NAME)"
                .to_owned(),
        ));
    }
    let channels = fixed(1).ok_or_else(|| fail("has an open number of channels".to_owned()))?;
    if channels > MAX_CHANNELS {
        return Err(fail(format!("has {channels} channels, more than any image")));
    }
    Ok((channels, fixed(2).zip(fixed(3)).map(|(height, width)| [height, width]), fixed(0).unwrap_or(1)))
}

/// Versions of the standard operators that the file names.
fn standard_sets(model: &ModelProto) -> impl Iterator<Item = i64> {
    let sets = model.opset_import.iter().filter(|set| matches!(set.domain.as_str(), "" | "ai.onnx"));
    sets.map(|set| set.version)
}

/// Checks that the bytes of the input become numbers before anything is computed with them.
fn check_bytes(graph: &GraphProto, input: &str) -> Result<(), Error> {
    let is_reader = |operator: &Operator<'_>| operator.read().iter().any(|name| name == input);
    let mut readers = graph.node.iter().map(Operator::new).filter(is_reader);
    let casts = |operator: &Operator<'_>| match operator.kind() {
        "Cast" => operator.int("to", 0).is_ok_and(is_float),
        kind => kind == "CastLike",
    };
    match readers.find(|operator| !casts(operator)) {
        Some(operator) => {
            Err(operator.fail(format!("it reads the bytes of `{input}`: expected a Cast to FLOAT before")))
        }
        None => Ok(()),
    }
}

/// Checks that each attribute is there once, that a constant has one alone, and that axes are reordered and not repeated.
/// Backends read an attribute by its name, the first of several or another one, and do not expect otherwise.
fn check_attributes(operator: Operator<'_>, attributes: &[AttributeProto]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    if let Some(again) = attributes.iter().find(|attribute| !seen.insert(attribute.name.as_str())) {
        return Err(operator.fail(format!("its attribute `{}` occurs twice", again.name)));
    }
    match operator.kind() {
        "Constant" if attributes.len() != 1 => {
            Err(operator.fail(format!("it has {} attributes, but a constant has one", attributes.len())))
        }
        "Transpose" => {
            let order = operator.ints("perm")?.unwrap_or_default();
            let mut axes = order.to_vec();
            axes.sort_unstable();
            let is_order = (0..).zip(&axes).all(|(axis, found)| axis == *found);
            if is_order {
                Ok(())
            } else {
                Err(operator.fail(format!("`perm` is {order:?}, which repeats or lacks an axis")))
            }
        }
        _ => Ok(()),
    }
}

/// Checks that every value is made once and before it is read, and that the tensors and windows of the nodes are valid.
fn check_order(graph: &GraphProto, input: &str) -> Result<(), Error> {
    let mut made: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    if made.contains("") {
        return Err(Error::Tensor { name: String::new(), problem: "has no name".to_owned() });
    }
    if made.len() != graph.initializer.len() {
        let mut seen = HashSet::new();
        let again = graph.initializer.iter().find(|tensor| !seen.insert(tensor.name.as_str()));
        let name = again.map(|tensor| tensor.name.clone()).unwrap_or_default();
        return Err(Error::Tensor { name, problem: "occurs twice".to_owned() });
    }
    made.insert(input);
    let makers: HashMap<&str, usize> = (0..)
        .zip(&graph.node)
        .flat_map(|(index, node)| node.output.iter().map(move |output| (output.as_str(), index)))
        .collect();
    for node in &graph.node {
        let operator = Operator::new(node);
        check_attributes(operator, &node.attribute)?;
        window::check(operator)?;
        for attribute in &node.attribute {
            if attribute.g.is_some() || !attribute.graphs.is_empty() {
                return Err(operator.fail("branches and loops are not supported"));
            }
            attribute.t.iter().chain(&attribute.tensors).try_for_each(|tensor| match constant::check(tensor) {
                Err(Error::Tensor { problem, .. }) => {
                    Err(operator.fail(format!("the tensor `{}` {problem}", attribute.name)))
                }
                _ => Ok(()),
            })?;
        }
        let mut missing = node.input.iter().filter(|value| !value.is_empty() && !made.contains(value.as_str()));
        if let Some(value) = missing.next() {
            return Err(operator.fail(match makers.get(value.as_str()) {
                Some(&maker) => {
                    let maker = Operator::new(&graph.node[maker]);
                    format!("it reads `{value}`, which `{}` produces only later, or in a cycle", maker.name())
                }
                None => format!(
                    "it reads `{value}`, which is neither an input nor a tensor of the file, and no node produces it"
                ),
            }));
        }
        for value in node.output.iter().filter(|value| !value.is_empty()) {
            if !made.insert(value) {
                return Err(operator.fail(format!("its output `{value}` already exists")));
            }
        }
    }
    if graph.output.is_empty() {
        return Err(Error::Output { name: String::new() });
    }
    match graph.output.iter().find(|output| !made.contains(output.name.as_str())) {
        Some(output) => Err(Error::Output { name: output.name.clone() }),
        None => Ok(()),
    }
}
