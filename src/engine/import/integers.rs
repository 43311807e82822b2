//! Small integer arrays, with which exporters compute shapes, axes and paddings.

use std::borrow::Borrow;
use std::rc::Rc;

use super::Error;
use super::constant::MAX_AXES;
use super::operator::Operator;
use crate::protobuf::DataType;

/// Maximum integers of an array.
const MAX_COUNT: usize = 1024;

/// An array of integers, row-major; values that depend on an open size are `None`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Integers {
    /// Extent of every axis.
    pub dims: Vec<usize>,
    /// The values.
    pub values: Vec<Option<i64>>,
    /// Whether the file computes with them as floats, which do not round quotients.
    is_float: bool,
}

impl Integers {
    /// The array with extents `dims`; `None` if the number of values does not match, or if there are too many values or
    /// axes.
    pub(super) fn new(dims: Vec<usize>, values: Vec<Option<i64>>) -> Option<Self> {
        let count = dims.iter().try_fold(1_usize, |count, &extent| count.checked_mul(extent));
        // The extents of an array without values are limited as well, because operators iterate over them.
        let small = dims.len() <= MAX_AXES && dims.iter().all(|&extent| extent <= MAX_COUNT);
        (small && count == Some(values.len()) && values.len() <= MAX_COUNT).then_some(Self {
            dims,
            values,
            is_float: false,
        })
    }

    /// Its share of the memory for values, in floats.
    pub(super) fn weight(&self) -> u64 {
        const EACH: usize = size_of::<Option<i64>>() / size_of::<f32>();
        // Rough: what an array without values takes does not change the order of magnitude.
        ((self.values.len() + self.dims.len() + 1) * EACH) as u64
    }

    /// An array of known values.
    pub(super) fn known(dims: Vec<usize>, values: Vec<i64>) -> Option<Self> {
        if values.len() > MAX_COUNT { None } else { Self::new(dims, values.into_iter().map(Some).collect()) }
    }

    /// A list.
    pub(super) fn list(values: Vec<Option<i64>>) -> Option<Self> {
        Self::new(vec![values.len()], values)
    }

    /// The values, if all are known.
    pub(super) fn all(&self) -> Option<Vec<i64>> {
        self.values.iter().copied().collect()
    }

    /// The values as extents of axes, if they are valid ones.
    pub(super) fn extents(&self) -> Option<Vec<usize>> {
        self.all()?.into_iter().map(|extent| usize::try_from(extent).ok()).collect()
    }

    /// The result of an operator with only integers as inputs; `None` if it is not supported for integers.
    ///
    /// # Errors
    /// [`Error::Node`] for a wrong attribute.
    pub(super) fn evaluate(operator: Operator<'_>, inputs: &[Rc<Self>]) -> Result<Option<Self>, Error> {
        let axis = operator.int("axis", 0)?;
        let is_float = match operator.kind() {
            "Cast" => super::operator::is_float(operator.int("to", 0)?),
            "Equal" | "ConstantOfShape" => false,
            _ => inputs.iter().any(|input| input.is_float),
        };
        let value = match (operator.kind(), inputs) {
            ("Identity", [first]) => Some(Self::clone(first)),
            ("Cast", [first]) => first.cast(operator.int("to", 0)?),
            ("Concat", lists) if axis == 0 || axis == -1 => Self::joined(lists),
            ("Gather", [list, index]) if axis == 0 => list.gathered(index),
            ("Unsqueeze" | "Squeeze", [first, ..]) if first.values.len() == 1 => {
                let grows = operator.kind() == "Unsqueeze";
                // The position of axes of extent 1 does not matter for a single value.
                let axes = match (operator.ints("axes")?, inputs.get(1)) {
                    (Some(axes), _) => axes.len(),
                    (None, Some(axes)) => axes.values.len(),
                    (None, None) => first.dims.len(),
                };
                let count = if grows { first.dims.len() + axes } else { first.dims.len().saturating_sub(axes) };
                Self::new(vec![1; count], first.values.clone())
            }
            ("ConstantOfShape", [shape]) => match operator.tensor("value")? {
                // The default value is a float 0.
                Some(value) => match super::constant::read(value)? {
                    super::constant::Constant::Integers(value) => shape.filled(&value),
                    super::constant::Constant::Floats(_) => None,
                },
                None => None,
            },
            ("Expand", [first, shape]) if first.dims.len() <= shape.values.len() => shape.filled(first),
            ("Reshape", [first, shape]) => first.reshaped(shape),
            ("Transpose", [first]) => first.transposed(operator.ints("perm")?),
            // Before operator set 10 the numbers are attributes.
            ("Slice", [list]) => {
                let number = |name| operator.ints(name).map(|list| list.map(<[i64]>::to_vec));
                let (start, end, axis) = (number("starts")?, number("ends")?, number("axes")?);
                let rest = [start, end, axis].into_iter().flatten().map(|list| Self::known(vec![list.len()], list));
                rest.collect::<Option<Vec<_>>>().filter(|rest| rest.len() > 1).and_then(|rest| list.sliced(&rest))
            }
            ("Slice", [list, rest @ ..]) => list.sliced(rest),
            ("Add", [a, b]) => a.combined(b, i64::checked_add),
            ("Sub", [a, b]) => a.combined(b, i64::checked_sub),
            ("Mul", [a, b]) => a.combined(b, i64::checked_mul),
            ("Div", [a, b]) => a.combined(b, |a, b| {
                let is_exact = !is_float || a.checked_rem(b) == Some(0);
                a.checked_div(b).filter(|_| is_exact)
            }),
            ("Equal", [a, b]) => a.combined(b, |a, b| Some(i64::from(a == b))),
            ("Where", [condition, yes, no]) => condition.chosen(yes, no),
            _ => None,
        };
        Ok(value.map(|value| Self { is_float, ..value }))
    }

    /// The values as another type, by its number in ONNX; `None` if that changes one of them, except to a Boolean.
    fn cast(&self, to: i64) -> Option<Self> {
        let to = DataType::try_from(i32::try_from(to).ok()?).ok()?;
        let range = match to {
            DataType::Int64 | DataType::Bool => i64::MIN..=i64::MAX,
            DataType::Int32 => i32::MIN.into()..=i32::MAX.into(),
            // The integers that these floats have.
            DataType::Float | DataType::Double => -(1 << 24)..=1 << 24,
            DataType::Float16 => -(1 << 11)..=1 << 11,
            DataType::Bfloat16 => -(1 << 8)..=1 << 8,
            DataType::Uint8 => 0..=u8::MAX.into(),
            DataType::Int8 => i8::MIN.into()..=i8::MAX.into(),
            _ => return None,
        };
        let fits = self.values.iter().flatten().all(|value| range.contains(value));
        let cast = |value: i64| if to == DataType::Bool { i64::from(value != 0) } else { value };
        let values = self.values.iter().map(|value| value.map(cast)).collect();
        if fits { Self::new(self.dims.clone(), values) } else { None }
    }

    fn joined(lists: &[Rc<Self>]) -> Option<Self> {
        let flat = lists.iter().all(|list| list.dims.len() == 1);
        let count = lists.iter().map(|list| list.values.len()).try_fold(0_usize, usize::checked_add)?;
        if flat && count <= MAX_COUNT {
            Self::list(lists.iter().flat_map(|list| list.values.iter().copied()).collect())
        } else {
            None
        }
    }

    fn gathered(&self, index: &Self) -> Option<Self> {
        let [count] = self.dims[..] else { return None };
        let at = |index: &Option<i64>| {
            let index = (*index)?;
            let index = if index < 0 { index.checked_add(i64::try_from(count).ok()?)? } else { index };
            self.values.get(usize::try_from(index).ok()?).copied()
        };
        Self::new(index.dims.clone(), index.values.iter().map(at).collect::<Option<_>>()?)
    }

    fn filled(&self, value: &Self) -> Option<Self> {
        let dims = self.extents()?;
        let count = dims.iter().try_fold(1_usize, |count, &extent| count.checked_mul(extent))?;
        let [value] = value.values[..] else { return None };
        if count <= MAX_COUNT { Self::new(dims, vec![value; count]) } else { None }
    }

    fn reshaped(&self, shape: &Self) -> Option<Self> {
        let mut dims = shape.all()?;
        let known: i64 = dims.iter().filter(|&&extent| extent != -1).try_fold(1_i64, |n, &e| n.checked_mul(e))?;
        let open = dims.iter().position(|&extent| extent == -1);
        if let Some(open) = open {
            dims[open] = i64::try_from(self.values.len()).ok()?.checked_div(known)?;
        }
        let dims: Option<Vec<usize>> = dims.into_iter().map(|extent| usize::try_from(extent).ok()).collect();
        Self::new(dims?, self.values.clone())
    }

    fn transposed(&self, order: Option<&[i64]>) -> Option<Self> {
        let [rows, columns] = self.dims[..] else { return None };
        match order {
            None | Some([1, 0]) => {}
            Some([0, 1]) => return Some(self.clone()),
            Some(_) => return None,
        }
        let values = (0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column));
        Self::new(vec![columns, rows], values.map(|index| self.values[index]).collect())
    }

    /// A slice of the first axis: start, end, and optionally axis and step.
    fn sliced(&self, rest: &[impl Borrow<Self>]) -> Option<Self> {
        let mut numbers = rest.iter().map(|list| match list.borrow().values[..] {
            [Some(value)] => Some(value),
            _ => None,
        });
        let (start, end) = (numbers.next()??, numbers.next()??);
        let (axis, step) = (numbers.next().unwrap_or(Some(0))?, numbers.next().unwrap_or(Some(1))?);
        let (&rows, inner) = self.dims.split_first()?;
        if axis != 0 || step == 0 {
            return None;
        }
        let count = i64::try_from(rows).ok()?;
        let (low, high) = if step > 0 { (0, count) } else { (-1, count - 1) };
        let place = |at: i64| if at < 0 { at.saturating_add(count) } else { at }.clamp(low, high);
        let (mut at, end) = (place(start), place(end));
        let width = inner.iter().try_fold(1_usize, |count, &extent| count.checked_mul(extent))?;
        let (mut values, mut taken) = (Vec::new(), 0);
        while if step > 0 { at < end } else { at > end } {
            let row = usize::try_from(at).ok()?;
            values.extend_from_slice(self.values.get(row.checked_mul(width)?..)?.get(..width)?);
            taken += 1;
            at = at.saturating_add(step);
        }
        Self::new([&[taken], inner].concat(), values)
    }

    /// The values of `yes` where these are not zero, and of `no` elsewhere.
    fn chosen(&self, yes: &Self, no: &Self) -> Option<Self> {
        let count = self.values.len();
        if yes.dims != self.dims || no.dims != self.dims {
            return None;
        }
        let values =
            (0..count).map(|index| if self.values[index]? != 0 { yes.values[index] } else { no.values[index] });
        Self::new(self.dims.clone(), values.collect())
    }

    fn combined(&self, other: &Self, function: impl Fn(i64, i64) -> Option<i64>) -> Option<Self> {
        let (a, b) = (self.values.len(), other.values.len());
        // Broadcasting of a single value, or none.
        let dims = match (a, b) {
            _ if self.dims == other.dims => &self.dims,
            (_, 1) if self.dims.len() >= other.dims.len() => &self.dims,
            (1, _) if other.dims.len() >= self.dims.len() => &other.dims,
            _ => return None,
        };
        let values = (0..a.max(b)).map(|index| {
            // A result that 32 bits do not hold is as useless for a shape as an open one: the file may mean either integer.
            let value = function(self.values[index % a]?, other.values[index % b]?)?;
            i32::try_from(value).is_ok().then_some(value)
        });
        Self::new(dims.clone(), values.collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::protobuf::{AttributeProto, NodeProto};

    fn array(dims: &[usize], values: &[i64]) -> Integers {
        Integers::known(dims.to_vec(), values.to_vec()).unwrap()
    }

    fn evaluate(kind: &str, attribute: Vec<AttributeProto>, inputs: &[&Integers]) -> Option<Integers> {
        let node = NodeProto { op_type: kind.into(), attribute, ..NodeProto::default() };
        let inputs: Vec<Rc<Integers>> = inputs.iter().map(|input| Rc::new(Integers::clone(input))).collect();
        Integers::evaluate(Operator::new(&node), &inputs).unwrap()
    }

    fn cast(integers: &Integers, to: DataType) -> Option<Integers> {
        let to = AttributeProto { name: "to".into(), i: to as i64, ..AttributeProto::default() };
        evaluate("Cast", vec![to], &[integers])
    }

    #[test]
    fn a_quotient_of_floats_is_not_rounded() {
        let [one, two, eight] = [1, 2, 8].map(|value| array(&[1], &[value]));
        assert_eq!(evaluate("Div", vec![], &[&one, &two]).unwrap().values, [Some(0)]);
        let [one, two, eight] = [one, two, eight].map(|value| cast(&value, DataType::Float).unwrap());
        assert_eq!(evaluate("Div", vec![], &[&one, &two]).unwrap().values, [None]);
        let four = evaluate("Div", vec![], &[&eight, &two]).unwrap();
        let four = evaluate("Concat", vec![], &[&four, &one]).unwrap();
        assert_eq!(evaluate("Div", vec![], &[&four, &eight]).unwrap().values, [None, None], "they are floats still");
        let back = cast(&four, DataType::Int64).unwrap();
        assert_eq!(evaluate("Div", vec![], &[&back, &array(&[1], &[3])]).unwrap().values, [Some(1), Some(0)]);
    }

    #[test]
    fn a_cast_changes_no_value_or_is_none() {
        assert_eq!(cast(&array(&[2], &[5, 0]), DataType::Bool).unwrap().values, [Some(1), Some(0)]);
        for (value, to) in [
            (1 << 25, DataType::Float),
            (4096, DataType::Float16),
            (1 << 40, DataType::Int32),
            (300, DataType::Uint8),
            (-1, DataType::Uint8),
            (1, DataType::String),
        ] {
            assert_eq!(cast(&array(&[1], &[value]), to), None, "{value} as {to:?}");
        }
    }

    #[test]
    fn only_single_values_are_repeated() {
        let add = |a: &Integers, b: &Integers| evaluate("Add", vec![], &[a, b]);
        let column = array(&[2, 1], &[1, 2]);
        assert_eq!(add(&column, &array(&[1, 2], &[3, 4])), None);
        assert_eq!(add(&column, &array(&[], &[3])), Some(array(&[2, 1], &[4, 5])));
        assert_eq!(add(&array(&[], &[3]), &array(&[1, 1], &[4])), Some(array(&[1, 1], &[7])));
        let large = array(&[1], &[1 << 30]);
        assert_eq!(add(&large, &large).unwrap().values, [None], "which 32 bits do not hold");
    }

    #[test]
    fn a_matrix_is_transposed_as_its_axes_say() {
        let matrix = array(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        let order =
            |ints: &[i64]| vec![AttributeProto { name: "perm".into(), ints: ints.into(), ..Default::default() }];
        let turned = Some(array(&[3, 2], &[1, 4, 2, 5, 3, 6]));
        assert_eq!(evaluate("Transpose", vec![], &[&matrix]), turned);
        assert_eq!(evaluate("Transpose", order(&[1, 0]), &[&matrix]), turned);
        assert_eq!(evaluate("Transpose", order(&[0, 1]), &[&matrix]), Some(matrix.clone()));
    }
}
