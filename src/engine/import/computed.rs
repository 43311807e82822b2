//! Constants, and values computed from them alone.

use std::rc::Rc;

use super::Error;
use super::constant::{self, Floats, MAX_AXES};
use super::integers::Integers;
use super::linear::matrix;
use super::network::{Network, Value};
use super::operator::{Operator, is_float};

impl<'a> Network<'a> {
    /// The value of an operator that reads only constants and shapes; `None` if it reads anything else.
    pub(super) fn computed(&mut self, operator: Operator<'a>) -> Result<Option<Value>, Error> {
        let inputs = operator.read().iter().filter(|name| !name.is_empty());
        let values = inputs.map(|name| self.find(operator, name)).collect::<Result<Vec<_>, _>>()?;
        let unsupported = || operator.fail("this operator is not supported for these constants");
        if operator.kind() == "CastLike" && !matches!(self.value(operator, 1)?, Value::Floats(_) | Value::Item(..)) {
            return Err(unsupported());
        }
        if values.iter().any(|value| matches!(value, Value::Item(..))) {
            return Ok(None);
        }
        if operator.kind() == "Constant" {
            return constant_node(operator).map(Some);
        }
        if let [Value::Floats(floats), rest @ ..] = &values[..] {
            return self.computed_floats(operator, floats, rest).map(Some);
        }
        if let ("CastLike", [Value::Integers(integers)]) = (operator.kind(), &values[..]) {
            let known = integers.all().ok_or_else(unsupported)?;
            let (dims, values) = (integers.dims.clone(), known.into_iter().map(|value| value as f32).collect());
            self.hold(operator, integers.weight())?;
            return Ok(Some(Value::Floats(Rc::new(Floats { dims, values }))));
        }
        let integers = values.into_iter().map(|value| match value {
            Value::Integers(integers) => Some(integers),
            _ => None,
        });
        let integers: Vec<Rc<Integers>> = integers.collect::<Option<_>>().ok_or_else(unsupported)?;
        let value = Integers::evaluate(operator, &integers)?.ok_or_else(unsupported)?;
        self.hold(operator, value.weight())?;
        Ok(Some(value.into()))
    }

    /// An operator's result for a constant of floats: the same values in another arrangement, or their extents.
    fn computed_floats(&mut self, operator: Operator<'a>, floats: &Rc<Floats>, rest: &[Value]) -> Result<Value, Error> {
        let unsupported = || operator.fail("this operator is not supported for constants");
        let dims = match (operator.kind(), rest) {
            ("Identity" | "CastLike", []) => return Ok(Value::Floats(Rc::clone(floats))),
            ("Cast", []) if is_float(operator.int("to", 0)?) => return Ok(Value::Floats(Rc::clone(floats))),
            ("Shape", []) => {
                let extents = floats.dims.iter().map(|&extent| i64::try_from(extent).ok()).collect();
                let shape = shape(operator, extents)?;
                self.hold(operator, shape.weight())?;
                return Ok(shape);
            }
            ("Transpose", []) if floats.dims.len() == 2 && operator.ints("perm")?.is_none_or(|perm| perm == [1, 0]) => {
                self.hold(operator, floats.values.len() as u64)?;
                return Ok(Value::Floats(Rc::new(matrix(operator, floats, true)?)));
            }
            ("Reshape", [Value::Integers(shape)]) => reshaped(shape, floats.values.len()),
            ("Expand", [Value::Integers(shape)]) => {
                let [value] = floats.values[..] else { return Err(unsupported()) };
                let dims = shape.extents().filter(|dims| dims.len() >= floats.dims.len()).ok_or_else(unsupported)?;
                let count = count(&dims).ok_or_else(unsupported)?;
                self.hold(operator, count as u64)?;
                return Ok(Value::Floats(Rc::new(Floats { dims, values: vec![value; count].into() })));
            }
            _ => None,
        };
        let dims = dims
            .filter(|dims| dims.len() <= MAX_AXES && count(dims) == Some(floats.values.len()))
            .ok_or_else(unsupported)?;
        // The values are shared.
        self.hold(operator, dims.len() as u64)?;
        Ok(Value::Floats(Rc::new(Floats { dims, values: floats.values.clone() })))
    }
}

/// Number of values of an array.
fn count(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1_usize, |count, &extent| count.checked_mul(extent))
}

/// The extents after reshaping `count` values.
fn reshaped(shape: &Integers, count: usize) -> Option<Vec<usize>> {
    let known = shape.all().unwrap_or_default();
    let product = known.iter().filter(|&&extent| extent > 0).try_fold(1_i64, |n, &extent| n.checked_mul(extent));
    let open = product.and_then(|product| i64::try_from(count).ok()?.checked_div(product));
    known.iter().map(|&extent| usize::try_from(if extent == -1 { open? } else { extent }).ok()).collect()
}

/// The part of a shape that a `Shape` operator selects; unknown extents are `None`.
pub(super) fn shape(operator: Operator<'_>, extents: Vec<Option<i64>>) -> Result<Value, Error> {
    let rank = i64::try_from(extents.len()).unwrap_or(i64::MAX);
    let place = |axis: i64| {
        let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
        usize::try_from(axis.clamp(0, rank)).unwrap_or(0)
    };
    let (start, end) = (place(operator.int("start", 0)?), place(operator.int("end", i64::MAX)?));
    let part = extents.get(start..end).unwrap_or_default().to_vec();
    Integers::list(part).map(Value::from).ok_or_else(|| operator.fail("the shape is too long"))
}

/// The value of a `Constant` node.
fn constant_node(operator: Operator<'_>) -> Result<Value, Error> {
    if let Some(tensor) = operator.tensor("value")? {
        return Ok(constant::read(tensor)?.into());
    }
    let floats = |dims: Vec<usize>, values: &[f32]| Value::Floats(Rc::new(Floats { dims, values: values.into() }));
    if operator.has("value_float") {
        return Ok(floats(vec![], &[operator.float("value_float", 0.0)?]));
    }
    if let Some(values) = operator.floats("value_floats")? {
        return Ok(floats(vec![values.len()], values));
    }
    let integers = if operator.has("value_int") {
        Integers::known(vec![], vec![operator.int("value_int", 0)?])
    } else {
        operator.ints("value_ints")?.and_then(|values| Integers::known(vec![values.len()], values.to_vec()))
    };
    integers.map(Value::from).ok_or_else(|| operator.fail("constants of this type are not supported"))
}
