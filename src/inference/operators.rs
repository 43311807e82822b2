//! Which ONNX nodes tract is given: those of image classifiers. Some of tract's other operators write beyond their maps,
//! count without end, or allocate what a file asks for.

use std::collections::HashSet;

use super::Error;
use crate::protobuf::{AttributeProto, DataType, Extent, GraphProto, ModelProto, NodeProto, ValueType};

/// The operators that tract is given, of the standard domain, in alphabetical order.
const OPERATORS: [&str; 109] = [
    "Abs",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "Cos",
    "DepthToSpace",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "DynamicQuantizeLinear",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "InstanceNormalization",
    "LRN",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MatMul",
    "MatMulInteger",
    "Max",
    "MaxPool",
    "Mean",
    "MeanVarianceNormalization",
    "Min",
    "Mish",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "PRelu",
    "Pad",
    "Pow",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Resize",
    "Round",
    "Selu",
    "Shape",
    "Sigmoid",
    "Sign",
    "Sin",
    "Size",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Swish",
    "Tanh",
    "ThresholdedRelu",
    "Tile",
    "Transpose",
    "Unsqueeze",
    "Where",
    "Xor",
];

/// Checks that tract may be given every node of `model`.
///
/// # Errors
/// [`Error::Operator`] names the first one that it may not.
pub(super) fn check(model: &ModelProto) -> Result<(), Error> {
    let Some(graph) = &model.graph else { return Ok(()) };
    let texts = graph.initializer.iter().filter(|tensor| tensor.data_type == DataType::String as i32);
    let texts: HashSet<&str> = texts.map(|tensor| tensor.name.as_str()).collect();
    graph.node.iter().try_for_each(|node| {
        let is_standard = matches!(node.domain.as_str(), "" | "ai.onnx") && OPERATORS.contains(&node.op_type.as_str());
        let problem = match is_standard {
            true if node.input.iter().any(|name| texts.contains(name.as_str())) => Some(TEXTS),
            true => wrong(graph, node),
            false => Some(UNKNOWN),
        };
        let Some(problem) = problem else { return Ok(()) };
        let name = if node.name.is_empty() { node.output.first().unwrap_or(&node.name) } else { &node.name };
        Err(Error::Operator { node: name.clone(), operator: node.op_type.clone(), problem })
    })
}

/// What is wrong with any other operator.
const UNKNOWN: &str = "is not supported: tract is only given operators of image classifiers";

/// What is wrong with texts.
const TEXTS: &str = "with texts is not supported: tract is only given numbers";

/// Whether the value of a constant is texts.
fn has_texts(value: &AttributeProto) -> bool {
    let is_tensor = value.t.as_ref().is_some_and(|tensor| tensor.data_type == DataType::String as i32);
    is_tensor || ["value_string", "value_strings"].contains(&value.name.as_str())
}

/// What tract would compute wrongly at `node`, if anything.
fn wrong(graph: &GraphProto, node: &NodeProto) -> Option<&'static str> {
    let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
    match node.op_type.as_str() {
        // tract's arithmetic holds at any rank only for these axes.
        "LayerNormalization" if attribute("axis").is_some_and(|axis| !(-1..=8).contains(&axis.i)) => {
            Some("with an axis before the last one, counted from it, is not supported on tract")
        }
        // tract ignores it.
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "And" | "Or" | "Xor" | "Equal" | "Greater" | "Less"
            if attribute("axis").is_some() =>
        {
            Some("with `axis` is not supported: export the network with operator set 7 or later")
        }
        // Texts take many times the memory of numbers, and no classifier has them.
        "Cast" if attribute("to").is_some_and(|to| to.i == DataType::String as i64) => Some(TEXTS),
        "Constant" if node.attribute.iter().any(has_texts) => Some(TEXTS),
        // tract takes the stored mean and variance all the same.
        "BatchNormalization" if attribute("training_mode").is_some_and(|mode| mode.i != 0) => {
            Some("with `training_mode` is not supported: export the network in evaluation mode (`model.eval()`)")
        }
        "ConvTranspose" if attribute("output_shape").is_some() => {
            Some("with `output_shape` is not supported on tract: give its `pads` instead")
        }
        // tract takes the corners of a map whose sides are not rounded down to whole pixels.
        "Resize" if attribute("coordinate_transformation_mode").is_some_and(|mode| mode.s == b"align_corners") => {
            let scales = node.input.get(2).filter(|name| !name.is_empty())?;
            (!is_whole(graph, scales)).then_some("with `align_corners` is supported on tract by whole factors only")
        }
        _ => None,
    }
}

/// Whether the constant `name` has whole numbers only, or none.
fn is_whole(graph: &GraphProto, name: &str) -> bool {
    let made = graph.node.iter().find(|node| node.op_type == "Constant" && node.output.iter().any(|it| it == name));
    let made = made.and_then(|node| node.attribute.iter().find_map(|attribute| attribute.t.as_ref()));
    let Some(tensor) = graph.initializer.iter().find(|tensor| tensor.name == name).or(made) else { return false };
    let raw = tensor.raw_data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    tensor.data_type == DataType::Float as i32
        && raw.chain(tensor.float_data.iter().copied()).all(|it| it.fract() == 0.0)
}

/// Removes the names of open extents, which tract parses as expressions, by recursion: the size of the input is set.
pub(super) fn forget_names_of_extents(graph: &mut GraphProto) {
    for info in graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info) {
        let Some(ValueType::TensorType(tensor)) = info.r#type.as_mut().and_then(|kind| kind.value.as_mut()) else {
            continue;
        };
        for extent in tensor.shape.iter_mut().flat_map(|shape| &mut shape.dim) {
            if matches!(extent.value, Some(Extent::DimParam(_))) {
                extent.value = None;
            }
        }
    }
}
