//! Which ONNX nodes tract is given: those of image classifiers. Some of tract's other operators write beyond their maps,
//! count without end, or allocate what a file asks for.

use super::Error;
use crate::protobuf::{Extent, GraphProto, ModelProto, NodeProto, ValueType};

/// The operators that tract is given, of the standard domain, in alphabetical order.
const OPERATORS: [&str; 115] = [
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
    "GlobalLpPool",
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
    "LpPool",
    "MatMul",
    "MatMulInteger",
    "Max",
    "MaxPool",
    "Mean",
    "MeanVarianceNormalization",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "NonZero",
    "Not",
    "Or",
    "PRelu",
    "Pad",
    "Pow",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
    "Range",
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
    "Upsample",
    "Where",
    "Xor",
];

/// Checks that tract may be given every node of `model`.
///
/// # Errors
/// [`Error::Operator`] names the first one that it may not.
pub(super) fn check(model: &ModelProto) -> Result<(), Error> {
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    nodes.into_iter().try_for_each(|node| {
        let is_standard = matches!(node.domain.as_str(), "" | "ai.onnx") && OPERATORS.contains(&node.op_type.as_str());
        let fail = || Error::Operator { node: node.name.clone(), operator: node.op_type.clone() };
        if is_standard && has_safe_axis(node) { Ok(()) } else { Err(fail()) }
    })
}

/// Whether a norm over the last axes names its first axis so that tract's arithmetic holds at any rank.
fn has_safe_axis(node: &NodeProto) -> bool {
    let axis = node.attribute.iter().find(|attribute| attribute.name == "axis").map_or(-1, |attribute| attribute.i);
    node.op_type != "LayerNormalization" || (-1..=8).contains(&axis)
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
