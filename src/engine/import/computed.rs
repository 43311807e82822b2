//! Constants, and what is computed from them alone.

use std::rc::Rc;

use super::Error;
use super::constant::{self, Floats};
use super::integers::Integers;
use super::linear::matrix;
use super::network::{Network, Value};
use super::operator::Operator;

impl<'a> Network<'a> {
    /// The value of an operator that reads only constants and shapes; nothing if it reads more.
    pub(super) fn computed(&self, operator: Operator<'a>) -> Result<Option<Value>, Error> {
        let inputs = operator.inputs().iter().filter(|name| !name.is_empty());
        let values = inputs.map(|name| self.find(operator, name)).collect::<Result<Vec<_>, _>>()?;
        if values.iter().any(|value| matches!(value, Value::Item(..))) {
            return Ok(None);
        }
        let unsupported = || operator.fail("this operator is not supported for these constants");
        if operator.kind() == "Constant" {
            return constant_node(operator).map(Some);
        }
        if let [Value::Floats(floats), rest @ ..] = &values[..] {
            return computed_floats(operator, floats, rest).map(Some);
        }
        let integers = values.into_iter().map(|value| match value {
            Value::Integers(integers) => Some(integers),
            _ => None,
        });
        let integers: Vec<Integers> = integers.collect::<Option<_>>().ok_or_else(unsupported)?;
        let value = Integers::evaluate(operator, &integers)?.ok_or_else(unsupported)?;
        Ok(Some(Value::Integers(value)))
    }
}

/// The value of a node `Constant`.
fn constant_node(operator: Operator<'_>) -> Result<Value, Error> {
    if let Some(tensor) = operator.tensor("value")? {
        return Ok(constant::read(tensor)?.into());
    }
    let floats = |dims: Vec<usize>, values: &[f32]| Value::Floats(Rc::new(Floats { dims, values: values.to_vec() }));
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
    integers.map(Value::Integers).ok_or_else(|| operator.fail("constants of this type are not supported"))
}

/// What an operator computes from a constant of floats: the same values in another arrangement.
fn computed_floats(operator: Operator<'_>, floats: &Rc<Floats>, rest: &[Value]) -> Result<Value, Error> {
    let count = floats.values.len();
    let dims = match (operator.kind(), rest) {
        ("Identity", []) => return Ok(Value::Floats(Rc::clone(floats))),
        ("Cast", []) if operator.int("to", 0)? == 1 => return Ok(Value::Floats(Rc::clone(floats))),
        ("Transpose", []) if floats.dims.len() == 2 && operator.ints("perm")?.is_none_or(|perm| perm == [1, 0]) => {
            return Ok(Value::Floats(Rc::new(matrix(operator, floats, true)?)));
        }
        ("Reshape", [Value::Integers(shape)]) => {
            let known = shape.all().unwrap_or_default();
            let product =
                known.iter().filter(|&&extent| extent > 0).try_fold(1_i64, |n, &extent| n.checked_mul(extent));
            let open = product.and_then(|product| i64::try_from(count).ok()?.checked_div(product));
            let dims = known.iter().map(|&extent| usize::try_from(if extent == -1 { open? } else { extent }).ok());
            dims.collect::<Option<Vec<usize>>>()
        }
        _ => None,
    };
    let fits = |dims: &Vec<usize>| dims.iter().try_fold(1_usize, |n, &extent| n.checked_mul(extent)) == Some(count);
    match dims.filter(fits) {
        Some(dims) => Ok(Value::Floats(Rc::new(Floats { dims, values: floats.values.clone() }))),
        None => Err(operator.fail("this operator is not supported for constants")),
    }
}
