//! Building ONNX files by hand.

use hardnetd::protobuf::{
    AttributeProto, AttributeType, DataType, Dimension, Extent, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorType, TypeProto, ValueInfoProto, ValueType,
};

pub fn info(name: &str, dims: &[i64], data_type: DataType) -> ValueInfoProto {
    let dim = dims.iter().map(|&extent| Dimension { value: Some(Extent::DimValue(extent)) });
    let shape = Some(TensorShapeProto { dim: dim.collect() });
    let value = Some(ValueType::TensorType(TensorType { elem_type: data_type as i32, shape }));
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { value }) }
}

pub fn tensor(name: &str, dims: &[i64]) -> TensorProto {
    let count = usize::try_from(dims.iter().product::<i64>()).unwrap();
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: DataType::Float as i32,
        float_data: vec![0.5; count],
        ..Default::default()
    }
}

pub fn node(operator: &str, name: &str, inputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: operator.to_owned(),
        name: name.to_owned(),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![name.to_owned()],
        ..Default::default()
    }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Int as i32, i: value, ..Default::default() }
}

pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let ints = values.to_vec();
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Ints as i32, ints, ..Default::default() }
}

/// A tensor of integers with one axis.
pub fn integers(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: vec![values.len() as i64],
        data_type: DataType::Int64 as i32,
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

/// A file of one graph.
pub fn model(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: 7,
        opset_import: vec![OperatorSetIdProto { version: 13, ..Default::default() }],
        graph: Some(graph),
        ..Default::default()
    }
}
