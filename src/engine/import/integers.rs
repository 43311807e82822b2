//! Small integer arrays, with which exporters compute shapes, axes and paddings.

use std::borrow::Borrow;
use std::rc::Rc;

use super::Error;
use super::constant::MAX_AXES;
use super::operator::Operator;

/// Maximum integers of an array.
const MAX_COUNT: usize = 1024;

/// An array of integers, row-major; values that depend on an open size are `None`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Integers {
    /// Extent of every axis.
    pub dims: Vec<usize>,
    /// The values.
    pub values: Vec<Option<i64>>,
}

impl Integers {
    /// The array with extents `dims`; `None` if the number of values does not match, or if there are too many values or
    /// axes.
    pub(super) fn new(dims: Vec<usize>, values: Vec<Option<i64>>) -> Option<Self> {
        let count = dims.iter().try_fold(1_usize, |count, &extent| count.checked_mul(extent));
        // The extents of an array without values are limited as well, because operators iterate over them.
        let small = dims.len() <= MAX_AXES && dims.iter().all(|&extent| extent <= MAX_COUNT);
        (small && count == Some(values.len()) && values.len() <= MAX_COUNT).then_some(Self { dims, values })
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
        Ok(match (operator.kind(), inputs) {
            ("Cast" | "Identity", [first]) => Some(Self::clone(first)),
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
            ("Transpose", [first]) => first.transposed(),
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
            ("Div", [a, b]) => a.combined(b, i64::checked_div),
            ("Equal", [a, b]) => a.combined(b, |a, b| Some(i64::from(a == b))),
            ("Where", [condition, yes, no]) => condition.chosen(yes, no),
            _ => None,
        })
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

    fn transposed(&self) -> Option<Self> {
        let [rows, columns] = self.dims[..] else { return None };
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
        let (long, short) = (self.values.len(), other.values.len());
        let count = long.max(short);
        if (long != count && long != 1) || (short != count && short != 1) {
            return None;
        }
        let values = (0..count).map(|index| {
            // A result that overflows is as useless for a shape as an open one.
            function(self.values[index % long]?, other.values[index % short]?)
        });
        let dims = if long >= short { &self.dims } else { &other.dims };
        Self::new(dims.clone(), values.collect())
    }
}
