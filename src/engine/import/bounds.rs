//! Limits what a file computes from constants alone, before there is any input: these values must stay few, because
//! preparing the network computes them.

use std::collections::HashMap;
use std::rc::Rc;

use super::computed::shape;
use super::constant::{self, Constant, MAX_AXES};
use super::integers::Integers;
use super::network::Value;
use super::operator::Operator;
use super::{Error, File};
use crate::protobuf::{AttributeProto, TensorProto};

/// Maximum values of all computed constants together, each of up to eight bytes: they stay until the network is prepared.
/// A file of more than twice as many bytes may have one for every second byte.
const MAX_VALUES: u64 = 1 << 22;

/// Maximum values that are read to compute constants, each as often as it is read, and multiplications of their matrices,
/// for every value that may be computed.
const MAX_READS: u64 = 4;

/// Maximum extents of a shape that tract is given.
const MAX_EXTENTS: u64 = 8;

/// Maximum integers whose values are remembered: enough for any shape.
const MAX_INTEGERS: u64 = 64;

/// What is known of a constant before it is computed.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Maximum number of values.
    count: u64,
    /// Extents, if known.
    dims: Option<Vec<u64>>,
    /// Values, if they are known and a few integers.
    integers: Option<Rc<Integers>>,
    /// Whether it may have no value.
    may_be_empty: bool,
    /// Whether it has one axis, even if its extent is unknown.
    is_list: bool,
}

impl Known {
    /// A shape of which nothing is known.
    const SHAPE: Self = Self { count: MAX_EXTENTS, dims: None, integers: None, may_be_empty: false, is_list: true };

    fn of_dims(dims: Vec<u64>) -> Self {
        let count = count(&dims);
        let is_list = dims.len() == 1;
        Self { count, dims: Some(dims), integers: None, may_be_empty: count == 0, is_list }
    }

    fn of_integers(integers: Integers) -> Self {
        let known = Self::of_dims(integers.dims.iter().map(|extent| *extent as u64).collect());
        let integers = (known.count <= MAX_INTEGERS).then(|| Rc::new(integers));
        Self { integers, ..known }
    }

    fn of_tensor(tensor: &TensorProto) -> Self {
        let dims: Vec<u64> = tensor.dims.iter().map(|extent| extent.unsigned_abs()).collect();
        if count(&dims) <= MAX_INTEGERS
            && let Ok(Constant::Integers(integers)) = constant::read(tensor)
        {
            return Self::of_integers(integers);
        }
        Self::of_dims(dims)
    }
}

impl File {
    /// Checks that constants computed from constants stay small: allows only operators that make a known or a bounded
    /// number of values. A constant of which a single value is read must not be empty: tract reads one all the same.
    ///
    /// # Errors
    /// [`Error::Node`] names the first node that violates this.
    pub fn check_constants(&self) -> Result<(), Error> {
        let graph = self.graph();
        let tensors = graph.initializer.iter();
        let mut constants: HashMap<&str, Known> =
            tensors.map(|tensor| (tensor.name.as_str(), Known::of_tensor(tensor))).collect();
        let (mut all, mut work) = (0_u64, 0_u64);
        let limit = MAX_VALUES.max(self.length() / 2);
        let reads = MAX_READS * limit;
        let set = self.operator_set();
        for node in &graph.node {
            let operator = Operator::new(node);
            let names = operator.read();
            let inputs: Vec<Option<&Known>> = names.iter().map(|name| constants.get(name.as_str())).collect();
            let reads_nothing = |(index, input): &(usize, &Option<&Known>)| {
                input.is_some_and(|input| input.may_be_empty) && reads_one_value(operator.kind(), *index)
            };
            if let Some((index, _)) = inputs.iter().enumerate().find(reads_nothing) {
                return Err(operator.fail(format!("its input {index} has no value, or may have none")));
            }
            // Omitted inputs have no name.
            let read = names.iter().zip(&inputs).filter(|(name, _)| !name.is_empty());
            let read: Option<Vec<&Known>> = read.map(|(_, input)| *input).collect();
            let known = match (operator.kind(), read) {
                ("Constant", _) => stated(operator, &node.attribute),
                ("Shape", Some(read)) => shape_of(operator, &read)?,
                ("Shape", _) => Known::SHAPE,
                ("Size", _) => Known { count: 1, ..Known::default() },
                // It depends on the input, whose size is known.
                (_, None) => continue,
                (_, Some(read)) => {
                    work = read.iter().fold(work, |work, known| work.saturating_add(known.count));
                    let known = computed(operator, set, &inputs, &read)?;
                    known.ok_or_else(|| {
                        operator.fail("this operator is not supported for values computed from constants alone")
                    })?
                }
            };
            if operator.kind() == "MatMul" {
                let depth = inputs.first().and_then(|input| (*input)?.dims.as_ref()?.last().copied());
                work = work.saturating_add(known.count.saturating_mul(depth.unwrap_or(1)));
            }
            if work > reads {
                let problem = format!("computing the constants up to it reads {work} values, but {reads} are allowed");
                return Err(operator.fail(problem));
            }
            let values = known.count;
            if values > limit {
                let problem = format!("it may make {values} constants, but {limit} are allowed");
                return Err(operator.fail(problem));
            }
            // Constants in the file itself take no more than the file.
            if operator.kind() != "Constant" {
                all = all.saturating_add(values);
            }
            if all > limit {
                let problem = format!("with it, the computed constants have {all} values, but {limit} are allowed");
                return Err(operator.fail(problem));
            }
            // Of several outputs, as Split has, each is a part.
            let known = if node.output.len() > 1 { Known { dims: None, integers: None, ..known } } else { known };
            constants.extend(node.output.iter().map(|name| (name.as_str(), known.clone())));
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

/// Number of values of a tensor.
fn count(dims: &[u64]) -> u64 {
    dims.iter().fold(1, |count, extent| count.saturating_mul(*extent))
}

/// The value of a `Constant` node.
fn stated(operator: Operator<'_>, attributes: &[AttributeProto]) -> Known {
    if let Some(tensor) = attributes.iter().find_map(|attribute| attribute.t.as_ref()) {
        return Known::of_tensor(tensor);
    }
    let integers = match (operator.ints("value_ints"), operator.int("value_int", 0)) {
        (Ok(Some(values)), _) => Integers::known(vec![values.len()], values.to_vec()),
        (_, Ok(value)) if operator.has("value_int") => Integers::known(vec![], vec![value]),
        _ => None,
    };
    let length = |list: &AttributeProto| list.ints.len().max(list.floats.len()).max(list.strings.len());
    let values = attributes.iter().map(length).max().unwrap_or(0).max(1) as u64;
    integers.map_or(Known { count: values, ..Known::default() }, Known::of_integers)
}

/// The shape of a constant.
fn shape_of(operator: Operator<'_>, read: &[&Known]) -> Result<Known, Error> {
    let dims = read.first().and_then(|first| first.dims.as_ref());
    let dims = dims.map(|dims| dims.iter().map(|extent| i64::try_from(*extent).ok()).collect());
    match dims.map(|dims| shape(operator, dims)).transpose()? {
        Some(Value::Integers(extents)) => Ok(Known::of_integers(Rc::unwrap_or_clone(extents))),
        _ => Ok(Known::SHAPE),
    }
}

/// What an operator makes of constants; `None` if it can be any number of values. `read` has the inputs that are not
/// omitted.
fn computed(
    operator: Operator<'_>,
    set: i64,
    inputs: &[Option<&Known>],
    read: &[&Known],
) -> Result<Option<Known>, Error> {
    let kind = operator.kind();
    let integers: Option<Vec<Rc<Integers>>> = read.iter().map(|known| known.integers.clone()).collect();
    let integers = integers.map(|integers| Integers::evaluate(operator, &integers)).transpose()?;
    if let Some(integers) = integers.flatten() {
        return Ok(Some(Known::of_integers(integers)));
    }
    let some_empty = read.iter().any(|known| known.may_be_empty);
    if let Some(dims) = extents(operator, set, inputs, read)?.filter(|dims| dims.len() <= MAX_AXES) {
        let known = Known::of_dims(dims);
        return Ok(Some(Known { may_be_empty: known.may_be_empty || some_empty, ..known }));
    }
    let counts: Vec<u64> = read.iter().map(|known| known.count).collect();
    let may_be_empty = match kind {
        "Slice" | "Split" => true,
        "Concat" => read.iter().all(|known| known.may_be_empty),
        _ => some_empty,
    };
    Ok(made(kind, &counts).map(|count| Known { count, may_be_empty, ..Known::default() }))
}

/// The extents of what an operator makes of constants, if they are known.
fn extents(
    operator: Operator<'_>,
    set: i64,
    inputs: &[Option<&Known>],
    read: &[&Known],
) -> Result<Option<Vec<u64>>, Error> {
    let kind = operator.kind();
    let input = |index: usize| inputs.get(index).copied().flatten();
    let list = |index: usize| input(index).and_then(|known| known.integers.as_ref()?.all());
    if kind == "Gather" && input(0).is_some_and(|list| list.is_list) {
        return Ok(input(1).and_then(|indices| indices.dims.clone()));
    }
    let Some(first) = input(0).and_then(|first| first.dims.clone()) else { return Ok(None) };
    let place = |axis: i64, axes: usize| {
        let axis = if axis < 0 { axis.checked_add_unsigned(axes as u64)? } else { axis };
        usize::try_from(axis).ok().filter(|axis| *axis < axes)
    };
    // Once the axes are an input, tract reads no attribute.
    let axes = || {
        let since = if matches!(kind, "Unsqueeze" | "ReduceSum") { 13 } else { 18 };
        let attribute = operator.ints("axes")?;
        Ok::<_, Error>(match attribute {
            Some(axes) if set < since => Some(axes.to_vec()),
            None if set >= since => list(1),
            _ => None,
        })
    };
    Ok(match kind {
        _ if keeps_its_shape(kind) => Some(first),
        _ if broadcasts(kind) => {
            let dims = read.iter().map(|known| known.dims.as_deref());
            dims.collect::<Option<Vec<_>>>().and_then(|dims| dims.into_iter().try_fold(vec![], broadcast))
        }
        "ConstantOfShape" => list(0).and_then(|shape| positive(&shape)),
        "Expand" => list(1).and_then(|shape| broadcast(positive(&shape)?, &first)),
        "Gather" => {
            let axis = place(operator.int("axis", 0)?, first.len());
            let indices = input(1).and_then(|indices| indices.dims.as_deref());
            axis.zip(indices).map(|(axis, indices)| [&first[..axis], indices, &first[axis + 1..]].concat())
        }
        "Unsqueeze" => axes()?.and_then(|axes| {
            let count = first.len() + axes.len();
            let axes: Vec<usize> = axes.into_iter().map(|axis| place(axis, count)).collect::<Option<_>>()?;
            let mut rest = first.iter().copied();
            Some((0..count).map(|axis| if axes.contains(&axis) { 1 } else { rest.next().unwrap_or(1) }).collect())
        }),
        "Reshape" => {
            let keeps = operator.int("allowzero", 0)? == 0;
            list(1).and_then(|shape| reshaped(&first, &shape, keeps))
        }
        "Concat" => {
            let dims = read.iter().map(|known| known.dims.as_deref()).collect::<Option<Vec<_>>>();
            let axis = place(operator.int("axis", 0)?, first.len());
            axis.zip(dims).and_then(|(axis, dims)| joined(first, &dims, axis))
        }
        "MatMul" => input(1).and_then(|second| multiplied(&first, second.dims.as_deref()?)),
        "Transpose" => match operator.ints("perm")? {
            None => Some(first.into_iter().rev().collect()),
            Some(order) if order.len() == first.len() => {
                order.iter().map(|&axis| first.get(usize::try_from(axis).ok()?).copied()).collect()
            }
            Some(_) => None,
        },
        "ReduceSum" | "ReduceMean" | "ReduceProd" | "ReduceMax" | "ReduceMin" => {
            let axes = axes()?.filter(|axes| !axes.is_empty());
            let axes: Option<Vec<usize>> =
                axes.and_then(|axes| axes.into_iter().map(|axis| place(axis, first.len())).collect());
            let keeps = operator.int("keepdims", 1)? != 0;
            axes.map(|axes| {
                let left = first.iter().enumerate().filter(|(axis, _)| keeps || !axes.contains(axis));
                left.map(|(axis, extent)| if axes.contains(&axis) { 1 } else { *extent }).collect()
            })
        }
        _ => None,
    })
}

/// The extents that are not negative.
fn positive(shape: &[i64]) -> Option<Vec<u64>> {
    shape.iter().map(|extent| u64::try_from(*extent).ok()).collect()
}

/// The shape to which two tensors are broadcast; `None` if they cannot be.
fn broadcast(mut a: Vec<u64>, b: &[u64]) -> Option<Vec<u64>> {
    if a.len() < b.len() {
        a.splice(0..0, std::iter::repeat_n(1, b.len() - a.len()));
    }
    for (a, b) in a.iter_mut().rev().zip(b.iter().rev()) {
        match (*a, *b) {
            (a, b) if a == b || b == 1 => {}
            (1, b) => *a = b,
            _ => return None,
        }
    }
    Some(a)
}

/// The extents of tensors joined along an axis; `None` if they do not fit together.
fn joined(mut first: Vec<u64>, all: &[&[u64]], axis: usize) -> Option<Vec<u64>> {
    first[axis] = 0;
    for dims in all {
        first[axis] = first[axis].saturating_add(*dims.get(axis)?);
        let fits =
            dims.len() == first.len() && (0..dims.len()).all(|other| other == axis || dims[other] == first[other]);
        fits.then_some(())?;
    }
    Some(first)
}

/// The extents of a product of matrices, if it takes few multiplications; `None` if not, or if they do not fit.
fn multiplied(a: &[u64], b: &[u64]) -> Option<Vec<u64>> {
    let ([rest_a @ .., rows, depth], [rest_b @ .., height, columns]) = (a, b) else { return None };
    let mut dims = broadcast(rest_a.to_vec(), rest_b)?;
    dims.extend([*rows, *columns]);
    let multiplications = count(&dims).saturating_mul(*depth);
    (depth == height && multiplications <= MAX_VALUES).then_some(dims)
}

/// The extents of a tensor of `dims` after a Reshape, in which 0 `keeps` an extent or not; `None` if it does not fit.
fn reshaped(dims: &[u64], shape: &[i64], keeps: bool) -> Option<Vec<u64>> {
    let kept = |(axis, extent): (usize, &i64)| match *extent {
        0 if keeps => dims.get(axis).copied().map(Some),
        -1 => Some(None),
        extent => u64::try_from(extent).ok().map(Some),
    };
    let extents: Vec<Option<u64>> = shape.iter().enumerate().map(kept).collect::<Option<_>>()?;
    let rest = extents.iter().flatten().fold(1, |count: u64, extent| count.saturating_mul(*extent));
    let open = count(dims).checked_div(rest);
    let extents: Vec<u64> = extents.into_iter().map(|extent| extent.or(open)).collect::<Option<_>>()?;
    (count(&extents) == count(dims)).then_some(extents)
}

/// Whether an operator makes one value of every value of its first input.
fn keeps_its_shape(kind: &str) -> bool {
    matches!(
        kind,
        "Identity"
            | "Cast"
            | "CastLike"
            | "Neg"
            | "Abs"
            | "Sqrt"
            | "Reciprocal"
            | "Exp"
            | "Log"
            | "Floor"
            | "Ceil"
            | "Relu"
            | "Sigmoid"
            | "Tanh"
            | "Sin"
            | "Cos"
            | "Not"
            | "Dropout"
            | "DequantizeLinear"
    )
}

/// Whether an operator broadcasts its inputs (<https://onnx.ai/onnx/repo-docs/Broadcasting.html>).
fn broadcasts(kind: &str) -> bool {
    matches!(
        kind,
        "Add"
            | "Sub"
            | "Mul"
            | "Div"
            | "Pow"
            | "Mod"
            | "Equal"
            | "Less"
            | "Greater"
            | "LessOrEqual"
            | "GreaterOrEqual"
            | "And"
            | "Or"
            | "Where"
            | "Min"
            | "Max"
            | "Clip"
    )
}

/// The maximum number of values that an operator makes from constants with these numbers of values; `None` if
/// unbounded.
fn made(kind: &str, read: &[u64]) -> Option<u64> {
    let largest = read.iter().copied().max().unwrap_or(0);
    match kind {
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Slice" | "Split" | "ReduceSum"
        | "ReduceMean" | "ReduceProd" | "ReduceMax" | "ReduceMin" => Some(largest),
        "Concat" => Some(read.iter().fold(0, |sum, count| sum.saturating_add(*count))),
        // An index for every position: at most all combinations.
        _ if broadcasts(kind) || kind == "Gather" => {
            Some(read.iter().fold(1, |product, count| product.saturating_mul((*count).max(1))))
        }
        _ if keeps_its_shape(kind) => Some(largest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::protobuf::NodeProto;

    fn node(kind: &str, attribute: Vec<AttributeProto>) -> NodeProto {
        NodeProto { op_type: kind.into(), attribute, ..NodeProto::default() }
    }

    fn ints(name: &str, ints: &[i64]) -> AttributeProto {
        AttributeProto { name: name.into(), ints: ints.to_vec(), ..AttributeProto::default() }
    }

    fn int(name: &str, i: i64) -> AttributeProto {
        AttributeProto { name: name.into(), i, ..AttributeProto::default() }
    }

    fn list(values: &[i64]) -> Known {
        Known::of_integers(Integers::known(vec![values.len()], values.to_vec()).unwrap())
    }

    fn floats(dims: &[u64]) -> Known {
        Known::of_dims(dims.to_vec())
    }

    fn unknown(count: u64) -> Known {
        Known { count, ..Known::default() }
    }

    /// What the operator makes: the extents if they are known, and the maximum number of values.
    fn of(node: &NodeProto, inputs: &[Known]) -> Option<(Option<Vec<u64>>, u64)> {
        let inputs: Vec<&Known> = inputs.iter().collect();
        let all: Vec<Option<&Known>> = inputs.iter().copied().map(Some).collect();
        let known = computed(Operator::new(node), 18, &all, &inputs).unwrap()?;
        Some((known.dims, known.count))
    }

    #[test]
    fn constants_of_known_extents_are_counted_exactly() {
        let of = |kind: &str, attributes: Vec<AttributeProto>, inputs: &[Known]| {
            let (dims, count) = of(&node(kind, attributes), inputs).unwrap();
            let dims = dims.unwrap();
            assert_eq!(count, dims.iter().product::<u64>());
            dims
        };
        let weight = floats(&[1080, 32, 3, 3]);
        assert_eq!(of("ReduceMean", vec![], &[weight.clone(), list(&[1, 2, -1])]), [1080, 1, 1, 1]);
        let reduced = of("ReduceMean", vec![int("keepdims", 0)], &[weight.clone(), list(&[1, 2, 3])]);
        assert_eq!(reduced, [1080]);
        assert_eq!(of("Sub", vec![], &[weight.clone(), floats(&[1080, 1, 1, 1])]), [1080, 32, 3, 3]);
        assert_eq!(of("Where", vec![], &[floats(&[2, 1]), floats(&[]), floats(&[1, 3])]), [2, 3]);
        assert_eq!(of("Gather", vec![int("axis", 1)], &[floats(&[4, 196]), floats(&[196, 196])]), [4, 196, 196]);
        assert_eq!(of("Gather", vec![int("axis", -1)], &[floats(&[4, 196]), floats(&[])]), [4]);
        assert!(of("Gather", vec![], &[Known::SHAPE, floats(&[])]).is_empty());
        assert_eq!(of("Transpose", vec![ints("perm", &[2, 0, 1])], &[floats(&[2, 3, 4])]), [4, 2, 3]);
        assert_eq!(of("Reshape", vec![], &[floats(&[2, 3, 4]), list(&[0, -1])]), [2, 12]);
        let zero = vec![int("allowzero", 1)];
        assert_eq!(of("Reshape", zero, &[floats(&[2, 3]), list(&[1, -1, 2])]), [1, 3, 2]);
        assert_eq!(of("Concat", vec![int("axis", -1)], &[floats(&[2, 3]), floats(&[2, 5])]), [2, 8]);
        assert_eq!(of("MatMul", vec![], &[floats(&[1, 15, 15, 512]), floats(&[512, 3])]), [1, 15, 15, 3]);
        assert_eq!(of("Unsqueeze", vec![], &[floats(&[2, 3]), list(&[0, -1])]), [1, 2, 3, 1]);
        assert_eq!(of("Expand", vec![], &[floats(&[1, 1, 192]), list(&[2, 1, 1])]), [2, 1, 192]);
        assert_eq!(of("ConstantOfShape", vec![], &[list(&[3, 4])]), [3, 4]);
    }

    #[test]
    fn constants_of_unknown_extents_are_counted_at_most() {
        let count = |kind: &str, inputs: &[Known]| of(&node(kind, vec![]), inputs).map(|(_, count)| count);
        assert_eq!(count("Add", &[unknown(20), floats(&[5, 4])]), Some(400));
        assert_eq!(count("Add", &[floats(&[20, 1]), floats(&[3, 7])]), Some(420), "these do not fit together");
        assert_eq!(count("Gather", &[unknown(20), floats(&[5])]), Some(100));
        assert_eq!(count("Reshape", &[floats(&[20]), list(&[3, -1])]), Some(20));
        assert_eq!(count("Add", &[floats(&[u64::MAX, 1]), floats(&[1, 7])]), Some(u64::MAX));
        assert_eq!(count("Concat", &[floats(&[2, 3]), floats(&[3, 3, 3])]), Some(33));
        assert_eq!(count("MatMul", &[floats(&[4096, 4096]), floats(&[4096, 4096])]), None);
        assert_eq!(count("MatMul", &[floats(&[4, 3]), floats(&[4, 3])]), None);
        let attribute = node("ReduceSum", vec![ints("axes", &[1]), int("noop_with_empty_axes", 1)]);
        assert_eq!(of(&attribute, &[floats(&[2, 300])]), Some((None, 600)), "tract reads no such attribute");
        assert_eq!(count("Expand", &[floats(&[1]), unknown(2)]), None);
        assert_eq!(count("ConstantOfShape", &[unknown(2)]), None);
        assert_eq!(count("Expand", &[floats(&[1]), list(&[-1, 2])]), None);
    }
}
