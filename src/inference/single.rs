//! Half precision as single precision: tract computes convolutions and sums in the type of their operands, and the input
//! is single precision.

use crate::engine::import::halves;
use crate::protobuf::{DataType, GraphProto, NodeProto, TensorProto, ValueInfoProto, ValueType};

/// Makes every half or bfloat16 number of a graph a single: constants, casts, and the types of inputs and outputs.
pub(super) fn widen(graph: &mut GraphProto) {
    graph.initializer.iter_mut().for_each(widen_tensor);
    graph.node.iter_mut().for_each(widen_node);
    for info in graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info) {
        widen_info(info);
    }
}

fn is_half(data_type: i64) -> bool {
    [DataType::Float16, DataType::Bfloat16].iter().any(|half| data_type == *half as i64)
}

fn widen_node(node: &mut NodeProto) {
    for attribute in &mut node.attribute {
        attribute.t.iter_mut().chain(&mut attribute.tensors).for_each(widen_tensor);
        if (node.op_type == "Cast" && attribute.name == "to" || attribute.name == "dtype") && is_half(attribute.i) {
            attribute.i = DataType::Float as i64;
        }
    }
}

fn widen_info(info: &mut ValueInfoProto) {
    let Some(ValueType::TensorType(tensor)) = info.r#type.as_mut().and_then(|it| it.value.as_mut()) else { return };
    if is_half(tensor.elem_type.into()) {
        tensor.elem_type = DataType::Float as i32;
    }
}

fn widen_tensor(tensor: &mut TensorProto) {
    let Some(singles) = halves(tensor) else { return };
    (tensor.raw_data, tensor.int32_data) = (Vec::new(), Vec::new());
    (tensor.float_data, tensor.data_type) = (singles, DataType::Float as i32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::AttributeProto;

    #[test]
    fn halves_become_singles_wherever_they_are() {
        let raw = TensorProto {
            data_type: DataType::Float16 as i32,
            raw_data: vec![0, 0x3c, 0, 0xb8],
            ..TensorProto::default()
        };
        let fields = TensorProto {
            data_type: DataType::Bfloat16 as i32,
            int32_data: vec![0x3f80, 0xbf00],
            ..TensorProto::default()
        };
        let whole = TensorProto { data_type: DataType::Int64 as i32, int64_data: vec![3], ..TensorProto::default() };
        let constant = AttributeProto { name: "value".into(), t: Some(fields), ..AttributeProto::default() };
        let to = AttributeProto { name: "to".into(), i: DataType::Float16 as i64, ..AttributeProto::default() };
        let node = |kind: &str, attribute| NodeProto {
            op_type: kind.into(),
            attribute: vec![attribute],
            ..NodeProto::default()
        };
        let mut graph = GraphProto {
            node: vec![node("Constant", constant), node("Cast", to)],
            initializer: vec![raw, whole.clone()],
            ..GraphProto::default()
        };
        widen(&mut graph);
        let single =
            TensorProto { data_type: DataType::Float as i32, float_data: vec![1.0, -0.5], ..TensorProto::default() };
        assert_eq!(graph.initializer, [single.clone(), whole]);
        assert_eq!(graph.node[0].attribute[0].t, Some(single));
        assert_eq!(graph.node[1].attribute[0].i, DataType::Float as i64);
    }
}
