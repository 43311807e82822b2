//! A node of the file with its attributes.

use super::Error;
use crate::protobuf::{AttributeProto, AttributeType, NodeProto, TensorProto};

/// A node of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operator<'a> {
    proto: &'a NodeProto,
}

impl<'a> Operator<'a> {
    pub(super) fn new(proto: &'a NodeProto) -> Self {
        Self { proto }
    }

    /// Name of the node, or of its first output if it has none.
    pub(super) fn name(self) -> &'a str {
        let first = self.proto.output.first().map_or("", String::as_str);
        if self.proto.name.is_empty() { first } else { &self.proto.name }
    }

    /// Name of its operator, without the domain.
    pub(super) fn kind(self) -> &'a str {
        &self.proto.op_type
    }

    /// Whether the operator belongs to ONNX itself.
    pub(super) fn is_standard(self) -> bool {
        matches!(self.proto.domain.as_str(), "" | "ai.onnx")
    }

    /// The error of this node.
    pub(super) fn fail(self, problem: impl Into<String>) -> Error {
        let operator = if self.is_standard() {
            self.proto.op_type.clone()
        } else {
            format!("{}.{}", self.proto.domain, self.proto.op_type)
        };
        Error::Node { node: self.name().to_owned(), operator, problem: problem.into() }
    }

    /// Names of its inputs; an empty name means that the input is omitted.
    pub(super) fn inputs(self) -> &'a [String] {
        &self.proto.input
    }

    /// Names of the inputs whose values it reads: of its second input, CastLike reads only the type.
    pub(super) fn read(self) -> &'a [String] {
        let inputs = self.inputs();
        if self.kind() == "CastLike" { inputs.get(..1).unwrap_or(inputs) } else { inputs }
    }

    /// Name of input `index`, if present.
    pub(super) fn input(self, index: usize) -> Option<&'a str> {
        self.proto.input.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Names of its outputs.
    pub(super) fn outputs(self) -> &'a [String] {
        &self.proto.output
    }

    fn attribute(self, name: &str, kind: AttributeType) -> Result<Option<&'a AttributeProto>, Error> {
        match self.proto.attribute.iter().find(|attribute| attribute.name == name) {
            // The oldest files have no types.
            Some(found) if [kind as i32, AttributeType::Undefined as i32].contains(&found.r#type) => Ok(Some(found)),
            Some(_) => Err(self.fail(format!("its attribute `{name}` has another type than {}", kind.as_str_name()))),
            None => Ok(None),
        }
    }

    /// Whether the attribute `name` is present.
    pub(super) fn has(self, name: &str) -> bool {
        self.proto.attribute.iter().any(|attribute| attribute.name == name)
    }

    /// An integer attribute, or `default`.
    pub(super) fn int(self, name: &str, default: i64) -> Result<i64, Error> {
        Ok(self.attribute(name, AttributeType::Int)?.map_or(default, |attribute| attribute.i))
    }

    /// A float attribute, or `default`.
    pub(super) fn float(self, name: &str, default: f32) -> Result<f32, Error> {
        Ok(self.attribute(name, AttributeType::Float)?.map_or(default, |attribute| attribute.f))
    }

    /// A list of integers.
    pub(super) fn ints(self, name: &str) -> Result<Option<&'a [i64]>, Error> {
        Ok(self.attribute(name, AttributeType::Ints)?.map(|attribute| attribute.ints.as_slice()))
    }

    /// A list of floats.
    pub(super) fn floats(self, name: &str) -> Result<Option<&'a [f32]>, Error> {
        Ok(self.attribute(name, AttributeType::Floats)?.map(|attribute| attribute.floats.as_slice()))
    }

    /// A text attribute, or `default`.
    pub(super) fn text(self, name: &str, default: &'a str) -> Result<&'a str, Error> {
        let attribute = self.attribute(name, AttributeType::String)?;
        Ok(attribute.map_or(default, |attribute| std::str::from_utf8(&attribute.s).unwrap_or("?")))
    }

    /// A tensor.
    pub(super) fn tensor(self, name: &str) -> Result<Option<&'a TensorProto>, Error> {
        Ok(self.attribute(name, AttributeType::Tensor)?.and_then(|attribute| attribute.t.as_ref()))
    }
}

/// Whether a type, by its number in ONNX, is one of those that are computed in single precision.
pub(super) fn is_float(data_type: i64) -> bool {
    use crate::protobuf::DataType::{Bfloat16, Double, Float, Float16};
    [Float, Float16, Bfloat16, Double].iter().any(|float| data_type == i64::from(*float as i32))
}
