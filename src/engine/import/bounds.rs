//! Limits what a file computes from constants alone, before there is any input: these values must stay few, because
//! preparing the network computes them.

use std::collections::{HashMap, HashSet};

use super::constant::{self, Constant};
use super::operator::Operator;
use super::{Error, File};
use crate::protobuf::{AttributeProto, TensorProto};

/// Maximum values of a computed constant: 64 MB of them.
const MAX_VALUES: u64 = 1 << 24;

/// Maximum values of all computed constants together.
const MAX_ALL: u64 = MAX_VALUES << 2;

/// Maximum axes of a shape.
const MAX_AXES: u64 = 8;

impl File {
    /// Checks that constants computed from constants stay small: allows only operators that make at most as many values
    /// as they read, or a bounded number of them. A constant of which a single value is read must not be empty: tract
    /// reads one all the same.
    ///
    /// # Errors
    /// [`Error::Node`] names the first node that violates this.
    pub fn check_constants(&self) -> Result<(), Error> {
        let graph = self.graph();
        let count =
            |dims: &[i64]| dims.iter().fold(1, |count: u64, &extent| count.saturating_mul(extent.unsigned_abs()));
        let mut constants: HashMap<&str, u64> =
            graph.initializer.iter().map(|tensor| (tensor.name.as_str(), count(&tensor.dims))).collect();
        // For tensors that hold a shape: the number of values of that shape.
        let mut filled: HashMap<&str, u64> =
            graph.initializer.iter().filter_map(|tensor| Some((tensor.name.as_str(), extents(tensor)?))).collect();
        // Constants that may have no value.
        let mut empty: HashSet<&str> =
            constants.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
        let mut all = 0_u64;
        for node in &graph.node {
            let operator = Operator::new(node);
            let known = |name: &String| constants.get(name.as_str()).copied();
            let read: Option<Vec<u64>> = node.input.iter().filter(|name| !name.is_empty()).map(known).collect();
            let mut inputs = node.input.iter().filter(|name| !name.is_empty());
            let shape = inputs.next().and_then(|name| filled.get(name.as_str()).copied());
            let may_be_empty = |(_, name): &(usize, &String)| empty.contains(name.as_str());
            let mut read_empty = node.input.iter().enumerate().filter(may_be_empty).peekable();
            let some_empty = read_empty.peek().is_some();
            let all_empty = node.input.iter().all(|name| name.is_empty() || empty.contains(name.as_str()));
            if let Some((index, _)) = read_empty.find(|(index, _)| reads_one_value(operator.kind(), *index)) {
                return Err(operator.fail(format!("its input {index} has no value, or may have none")));
            }
            let values = match (operator.kind(), read) {
                ("Shape" | "Size", _) => MAX_AXES,
                ("Constant", _) => {
                    let value = node.attribute.iter().find_map(|attribute| attribute.t.as_ref());
                    let shape = value.and_then(extents);
                    filled.extend(node.output.iter().filter_map(|name| Some((name.as_str(), shape?))));
                    let length = |list: &AttributeProto| list.ints.len().max(list.floats.len()).max(list.strings.len());
                    let lists = node.attribute.iter().map(length).max();
                    value.map_or(lists.unwrap_or(0).max(1) as u64, |tensor| count(&tensor.dims))
                }
                // It depends on the input, whose size is known.
                (_, None) => continue,
                ("ConstantOfShape", _) if shape.is_some() => shape.unwrap_or(u64::MAX),
                (kind, Some(read)) => made(kind, &read).ok_or_else(|| {
                    operator.fail("this operator is not supported for constants: it can make any number of them")
                })?,
            };
            if values > MAX_VALUES {
                let problem = format!("it may make {values} constants, but {MAX_VALUES} are allowed");
                return Err(operator.fail(problem));
            }
            // Constants in the file itself take no more than the file.
            if operator.kind() != "Constant" {
                all = all.saturating_add(values);
            }
            if all > MAX_ALL {
                let problem = format!("with it, the computed constants have {all} values, but {MAX_ALL} are allowed");
                return Err(operator.fail(problem));
            }
            constants.extend(node.output.iter().map(|name| (name.as_str(), values)));
            let is_empty = match operator.kind() {
                "Slice" | "Split" => true,
                "Concat" => all_empty,
                "Constant" | "ConstantOfShape" => values == 0,
                _ => some_empty,
            };
            if is_empty {
                empty.extend(node.output.iter().map(String::as_str));
            }
        }
        Ok(())
    }
}

/// Whether tract reads a single value of that input.
fn reads_one_value(kind: &str, index: usize) -> bool {
    match kind {
        "Dropout" | "Clip" | "TopK" | "OneHot" | "CumSum" | "Trilu" | "DFT" | "STFT" | "QuantizeLinear"
        | "DequantizeLinear" | "QLinearConv" | "QLinearMatMul" | "ConvInteger" | "MatMulInteger" => index > 0,
        "Pad" | "NonMaxSuppression" => index > 1,
        "RNN" | "LSTM" | "GRU" => index == 4,
        "Range" | "If" | "HannWindow" | "HammingWindow" | "BlackmanWindow" | "MelWeightMatrix" => true,
        _ => false,
    }
}

/// The product of the integers of a small tensor.
fn extents(tensor: &TensorProto) -> Option<u64> {
    let few = tensor.dims.iter().try_fold(1, |count: u64, extent| count.checked_mul(extent.unsigned_abs()));
    let Ok(Constant::Integers(shape)) = few.filter(|count| *count <= MAX_AXES).map(|_| constant::read(tensor))? else {
        return None;
    };
    Some(shape.all()?.into_iter().fold(1, |count: u64, extent| count.saturating_mul(extent.unsigned_abs())))
}

/// The maximum number of values that an operator makes from constants with these numbers of values; `None` if
/// unbounded.
fn made(kind: &str, read: &[u64]) -> Option<u64> {
    let largest = read.iter().copied().max().unwrap_or(0);
    match kind {
        "Identity" | "Cast" | "CastLike" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Slice"
        | "Split" | "Neg" | "Abs" | "Sqrt" | "Reciprocal" | "Exp" | "Log" | "Floor" | "Ceil" | "Relu" | "Sigmoid"
        | "Not" | "Dropout" | "ReduceSum" | "ReduceMean" | "ReduceProd" | "ReduceMax" | "ReduceMin"
        | "DequantizeLinear" => Some(largest),
        "Concat" => Some(read.iter().fold(0, |sum, count| sum.saturating_add(*count))),
        // Broadcasting, or an index for every position: at most all combinations.
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "Equal" | "Less" | "Greater" | "And" | "Or" | "Where"
        | "Min" | "Max" | "Clip" | "Gather" => {
            Some(read.iter().fold(1, |product, count| product.saturating_mul((*count).max(1))))
        }
        _ => None,
    }
}
