//! The messages of ONNX files (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>): the fields that hardnetd or tract
//! reads. Decoding skips all other fields: training information, functions, annotations, documentation.
//!
//! Names and numbers are those of the specification, and so are the meanings; a field that a file leaves out is zero or
//! empty. It is one file because it follows the specification, message by message.

/// A file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ModelProto {
    /// Version of the file format.
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    /// The program that wrote the file.
    #[prost(string, tag = "2")]
    pub producer_name: String,
    /// Its version.
    #[prost(string, tag = "3")]
    pub producer_version: String,
    /// The network.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    /// Versions of the operators.
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetIdProto>,
    /// Free-form metadata, by key.
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

/// A set of operators, by its domain.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct OperatorSetIdProto {
    /// Its domain: empty, or `ai.onnx`, for the operators of ONNX itself.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// Its version.
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// A text with its key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StringStringEntryProto {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The text.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A network.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GraphProto {
    /// The operators, each after those whose values it reads.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    /// Name of the network.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The weights.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    /// Inputs; in files of old versions the weights as well.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    /// Outputs.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
    /// Types of the values between the nodes.
    #[prost(message, repeated, tag = "13")]
    pub value_info: Vec<ValueInfoProto>,
    /// Weights most of which are zero.
    #[prost(message, repeated, tag = "15")]
    pub sparse_initializer: Vec<SparseTensorProto>,
}

/// An operator with the values that it reads and makes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeProto {
    /// Names of the values that it reads; an empty name stands for an input that is left out.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Names of the values that it makes.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// Name of the node.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Name of the operator.
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// Its settings.
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
    /// Domain of the operator.
    #[prost(string, tag = "7")]
    pub domain: String,
}

/// A setting of an operator. Its type says which of the fields holds the value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AttributeProto {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// A number.
    #[prost(float, tag = "2")]
    pub f: f32,
    /// An integer.
    #[prost(int64, tag = "3")]
    pub i: i64,
    /// A text.
    #[prost(bytes = "vec", tag = "4")]
    pub s: Vec<u8>,
    /// A tensor.
    #[prost(message, optional, tag = "5")]
    pub t: Option<TensorProto>,
    /// The body of a branch or a loop.
    #[prost(message, optional, tag = "6")]
    pub g: Option<GraphProto>,
    /// Numbers.
    #[prost(float, repeated, tag = "7")]
    pub floats: Vec<f32>,
    /// Integers.
    #[prost(int64, repeated, tag = "8")]
    pub ints: Vec<i64>,
    /// Texts.
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub strings: Vec<Vec<u8>>,
    /// Tensors.
    #[prost(message, repeated, tag = "10")]
    pub tensors: Vec<TensorProto>,
    /// Bodies of branches.
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<GraphProto>,
    /// Which field holds the value.
    #[prost(enumeration = "AttributeType", tag = "20")]
    pub r#type: i32,
}

/// The type of an [`AttributeProto`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum AttributeType {
    /// The oldest files have no types.
    Undefined = 0,
    /// In `f`.
    Float = 1,
    /// In `i`.
    Int = 2,
    /// In `s`.
    String = 3,
    /// In `t`.
    Tensor = 4,
    /// In `g`.
    Graph = 5,
    /// In `floats`.
    Floats = 6,
    /// In `ints`.
    Ints = 7,
    /// In `strings`.
    Strings = 8,
    /// In `tensors`.
    Tensors = 9,
    /// In `graphs`.
    Graphs = 10,
    /// A sparse tensor, in a field that is not read.
    SparseTensor = 11,
    /// Sparse tensors, in a field that is not read.
    SparseTensors = 12,
    /// A type, in a field that is not read.
    TypeProto = 13,
    /// Types, in a field that is not read.
    TypeProtos = 14,
}

impl AttributeType {
    /// Its name in the specification.
    #[must_use]
    pub fn as_str_name(self) -> &'static str {
        match self {
            Self::Undefined => "UNDEFINED",
            Self::Float => "FLOAT",
            Self::Int => "INT",
            Self::String => "STRING",
            Self::Tensor => "TENSOR",
            Self::Graph => "GRAPH",
            Self::Floats => "FLOATS",
            Self::Ints => "INTS",
            Self::Strings => "STRINGS",
            Self::Tensors => "TENSORS",
            Self::Graphs => "GRAPHS",
            Self::SparseTensor => "SPARSE_TENSOR",
            Self::SparseTensors => "SPARSE_TENSORS",
            Self::TypeProto => "TYPE_PROTO",
            Self::TypeProtos => "TYPE_PROTOS",
        }
    }
}

/// A tensor, row-major. Its values are in `raw_data`, little-endian, or in the field for its type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorProto {
    /// Extent of every axis.
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    /// Type of the values.
    #[prost(enumeration = "DataType", tag = "2")]
    pub data_type: i32,
    /// Which part of a larger tensor it is.
    #[prost(message, optional, tag = "3")]
    pub segment: Option<Segment>,
    /// Values of 32-bit floating point.
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    /// Integers of up to 32 bits, truth values, and bit patterns of half-precision numbers.
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    /// Texts.
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub string_data: Vec<Vec<u8>>,
    /// Integers of 64 bits.
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    /// Its name.
    #[prost(string, tag = "8")]
    pub name: String,
    /// Values of any type but text.
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
    /// Values of 64-bit floating point.
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    /// Unsigned integers of 32 and 64 bits.
    #[prost(uint64, repeated, tag = "11")]
    pub uint64_data: Vec<u64>,
    /// Where in another file the values are, by key.
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<StringStringEntryProto>,
    /// Whether the values are in another file.
    #[prost(enumeration = "DataLocation", optional, tag = "14")]
    pub data_location: Option<i32>,
}

/// A part of a tensor.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Segment {
    /// Where it begins.
    #[prost(int64, tag = "1")]
    pub begin: i64,
    /// Where it ends.
    #[prost(int64, tag = "2")]
    pub end: i64,
}

/// The type of the values of a [`TensorProto`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum DataType {
    /// No type is given.
    Undefined = 0,
    /// 32-bit floating point.
    Float = 1,
    /// Unsigned, 8 bits.
    Uint8 = 2,
    /// Signed, 8 bits.
    Int8 = 3,
    /// Unsigned, 16 bits.
    Uint16 = 4,
    /// Signed, 16 bits.
    Int16 = 5,
    /// Signed, 32 bits.
    Int32 = 6,
    /// Signed, 64 bits.
    Int64 = 7,
    /// Text.
    String = 8,
    /// Truth value, one byte.
    Bool = 9,
    /// Half precision, IEEE 754.
    Float16 = 10,
    /// 64-bit floating point.
    Double = 11,
    /// Unsigned, 32 bits.
    Uint32 = 12,
    /// Unsigned, 64 bits.
    Uint64 = 13,
    /// Two numbers of 32-bit floating point.
    Complex64 = 14,
    /// Two numbers of 64-bit floating point.
    Complex128 = 15,
    /// The upper half of 32-bit floating point.
    Bfloat16 = 16,
    /// 8-bit floating point, 4 bits of exponent, without infinity.
    Float8E4m3fn = 17,
    /// The same without negative zero.
    Float8E4m3fnuz = 18,
    /// 8-bit floating point, 5 bits of exponent.
    Float8E5m2 = 19,
    /// The same without infinity and negative zero.
    Float8E5m2fnuz = 20,
    /// Unsigned, 4 bits, two to a byte.
    Uint4 = 21,
    /// Signed, 4 bits, two to a byte.
    Int4 = 22,
    /// 4-bit floating point, two to a byte.
    Float4e2m1 = 23,
}

impl DataType {
    /// Its name in the specification.
    #[must_use]
    pub fn as_str_name(self) -> &'static str {
        match self {
            Self::Undefined => "UNDEFINED",
            Self::Float => "FLOAT",
            Self::Uint8 => "UINT8",
            Self::Int8 => "INT8",
            Self::Uint16 => "UINT16",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::String => "STRING",
            Self::Bool => "BOOL",
            Self::Float16 => "FLOAT16",
            Self::Double => "DOUBLE",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Complex64 => "COMPLEX64",
            Self::Complex128 => "COMPLEX128",
            Self::Bfloat16 => "BFLOAT16",
            Self::Float8E4m3fn => "FLOAT8E4M3FN",
            Self::Float8E4m3fnuz => "FLOAT8E4M3FNUZ",
            Self::Float8E5m2 => "FLOAT8E5M2",
            Self::Float8E5m2fnuz => "FLOAT8E5M2FNUZ",
            Self::Uint4 => "UINT4",
            Self::Int4 => "INT4",
            Self::Float4e2m1 => "FLOAT4E2M1",
        }
    }
}

/// Where the values of a [`TensorProto`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum DataLocation {
    /// In the tensor itself.
    Default = 0,
    /// In another file.
    External = 1,
}

/// A tensor most of whose values are zero.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SparseTensorProto {
    /// The other values.
    #[prost(message, optional, tag = "1")]
    pub values: Option<TensorProto>,
}

/// A value with its type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ValueInfoProto {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its type.
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
}

/// The type of a value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TypeProto {
    /// What it is; `None` for sequences, maps and everything else that is no tensor.
    #[prost(oneof = "ValueType", tags = "1")]
    pub value: Option<ValueType>,
}

/// What a [`TypeProto`] is of.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ValueType {
    /// A tensor.
    #[prost(message, tag = "1")]
    TensorType(TensorType),
}

/// The type of a tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorType {
    /// Type of its values.
    #[prost(enumeration = "DataType", tag = "1")]
    pub elem_type: i32,
    /// Its shape; `None` if it is open.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

/// The shape of a tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorShapeProto {
    /// Extent of every axis.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

/// The extent of an axis.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Dimension {
    /// Its value; `None` if it is open.
    #[prost(oneof = "Extent", tags = "1, 2")]
    pub value: Option<Extent>,
}

/// The value of a [`Dimension`].
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Extent {
    /// A number.
    #[prost(int64, tag = "1")]
    DimValue(i64),
    /// A name, for an extent that is open.
    #[prost(string, tag = "2")]
    DimParam(String),
}

#[cfg(all(test, feature = "tract"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use prost::Message as _;
    use tract_onnx::pb;

    use super::*;

    fn tensor(name: &str) -> TensorProto {
        TensorProto {
            dims: vec![101, -102],
            data_type: DataType::Double as i32,
            segment: Some(Segment { begin: 103, end: 104 }),
            float_data: vec![1.25],
            int32_data: vec![-105],
            string_data: vec![vec![106]],
            int64_data: vec![107],
            name: name.to_owned(),
            raw_data: vec![108],
            double_data: vec![2.5],
            uint64_data: vec![109],
            external_data: vec![StringStringEntryProto { key: "location".into(), value: "weights".into() }],
            data_location: Some(DataLocation::External as i32),
        }
    }

    fn info(name: &str) -> ValueInfoProto {
        let extents = [Extent::DimValue(110), Extent::DimParam("height".into())];
        let dim = extents.into_iter().map(|extent| Dimension { value: Some(extent) }).collect();
        let shape = Some(TensorShapeProto { dim });
        let value = Some(ValueType::TensorType(TensorType { elem_type: DataType::Float as i32, shape }));
        ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { value }) }
    }

    fn graph(name: &str, node: Vec<NodeProto>) -> GraphProto {
        GraphProto {
            node,
            name: name.to_owned(),
            initializer: vec![tensor("initializer")],
            input: vec![info("an-input")],
            output: vec![info("an-output")],
            value_info: vec![info("a-value")],
            sparse_initializer: vec![SparseTensorProto { values: Some(tensor("sparse")) }],
        }
    }

    /// A message with a value in every field.
    fn everything() -> ModelProto {
        let attribute = AttributeProto {
            name: "attribute".into(),
            f: 3.5,
            i: 111,
            s: vec![112],
            t: Some(tensor("value")),
            g: Some(graph("branch", vec![])),
            floats: vec![4.5],
            ints: vec![113],
            strings: vec![vec![114]],
            tensors: vec![tensor("listed")],
            graphs: vec![graph("branches", vec![])],
            r#type: AttributeType::Graphs as i32,
        };
        let node = NodeProto {
            input: vec!["read".into()],
            output: vec!["written".into()],
            name: "node".into(),
            op_type: "Conv".into(),
            attribute: vec![attribute],
            domain: "node.domain".into(),
        };
        ModelProto {
            ir_version: 115,
            producer_name: "producer".into(),
            producer_version: "version".into(),
            graph: Some(graph("main", vec![node])),
            opset_import: vec![OperatorSetIdProto { domain: "set.domain".into(), version: 116 }],
            metadata_props: vec![StringStringEntryProto { key: "key".into(), value: "text".into() }],
        }
    }

    #[test]
    fn tract_reads_every_field_under_its_name() {
        let model = everything();
        let theirs = pb::ModelProto::decode(&*model.encode_to_vec()).unwrap();
        assert_eq!(ModelProto::decode(&*theirs.encode_to_vec()).unwrap(), model);
        let shown = format!("{theirs:?}");
        for field in [
            "ir_version: 115",
            "producer_name: \"producer\"",
            "producer_version: \"version\"",
            "domain: \"set.domain\"",
            "version: 116",
            "key: \"key\"",
            "value: \"text\"",
            "input: [\"read\"]",
            "output: [\"written\"]",
            "name: \"node\"",
            "op_type: \"Conv\"",
            "domain: \"node.domain\"",
            "name: \"attribute\"",
            "f: 3.5",
            "i: 111",
            "s: [112]",
            "floats: [4.5]",
            "ints: [113]",
            "strings: [[114]]",
            "r#type: Graphs",
            "dims: [101, -102]",
            "data_type: Double",
            "begin: 103",
            "end: 104",
            "float_data: [1.25]",
            "int32_data: [-105]",
            "string_data: [[106]]",
            "int64_data: [107]",
            "raw_data: [108]",
            "double_data: [2.5]",
            "uint64_data: [109]",
            "DimValue(110)",
            "DimParam(\"height\")",
        ] {
            assert!(shown.contains(field), "{field} is not in {shown}");
        }
        let theirs = theirs.graph.unwrap();
        let names = |infos: &[pb::ValueInfoProto]| infos.iter().map(|info| info.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&theirs.input), ["an-input"]);
        assert_eq!(names(&theirs.output), ["an-output"]);
        assert_eq!(names(&theirs.value_info), ["a-value"]);
        assert_eq!(theirs.initializer[0].name, "initializer");
        let attribute = &theirs.node[0].attribute[0];
        assert_eq!(attribute.t.as_ref().unwrap().name, "value");
        assert_eq!(attribute.tensors[0].name, "listed");
        assert_eq!(attribute.g.as_ref().unwrap().name, "branch");
        assert_eq!(attribute.graphs[0].name, "branches");
    }
}
