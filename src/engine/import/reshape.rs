//! Operators that rearrange values: paddings, shapes, rows.

use super::network::{Handle, Network, Value};
use super::operator::Operator;
use super::{Error, computed, window};
use crate::engine::op::Padding;

impl<'a> Network<'a> {
    /// Zeros around a map, for the window after it.
    pub(super) fn pad(&mut self, operator: Operator<'a>) -> Result<Value, Error> {
        let (map, before) = self.padded(operator, 0)?;
        let mode = operator.text("mode", "constant")?;
        let value = match self.scalar(operator, 2)? {
            Some(value) => value,
            None => operator.float("value", 0.0)?,
        };
        // The attribute was called `paddings` before operator set 2.
        let name = if operator.has("paddings") { "paddings" } else { "pads" };
        let pads = self.integers(operator, name, 1)?.unwrap_or_default();
        let sizes: Option<Vec<usize>> = pads.iter().map(|&size| usize::try_from(size?).ok()).collect();
        let sizes = sizes.filter(|_| mode == "constant" && value == 0.0 && operator.input(3).is_none());
        let padding = match sizes.as_deref() {
            Some(&[0, 0, top, left, 0, 0, bottom, right]) => window::sum(before, Padding { top, left, bottom, right }),
            _ => None,
        };
        let padding = padding.ok_or_else(|| operator.fail("only a padding of maps with zeros is supported"))?;
        Ok(Value::Item(self.pass(operator, map)?, padding))
    }

    /// The shape of a value; an open batch is 1.
    pub(super) fn shape(&mut self, operator: Operator<'a>) -> Result<Value, Error> {
        let handle = self.handle(operator, 0)?;
        let extents = self.extents(handle).into_iter().map(|extent| extent.and_then(|size| i64::try_from(size).ok()));
        computed::shape(operator, extents.collect())
    }

    /// The extents of a value, as far as they are known.
    fn extents(&self, handle: Handle) -> Vec<Option<usize>> {
        let channels = self.items[handle.item].channels;
        let [height, width] = handle.size.map_or([None; 2], |size| size.map(Some));
        match handle.rank {
            4 => vec![Some(1), Some(channels), height, width],
            3 => vec![Some(1), Some(channels), Some(1)],
            _ => vec![Some(1), self.length(handle)],
        }
    }

    /// Number of values, if known.
    fn length(&self, handle: Handle) -> Option<usize> {
        let item = &self.items[handle.item];
        if item.flat {
            return Some(item.channels);
        }
        let [height, width] = handle.size?;
        item.channels.checked_mul(height)?.checked_mul(width)
    }

    pub(super) fn flatten(&mut self, operator: Operator<'a>) -> Result<Handle, Error> {
        let handle = self.handle(operator, 0)?;
        let axis = operator.int("axis", 1)?;
        if axis != 1 && axis.checked_add(handle.rank as i64) != Some(1) {
            return Err(operator.fail("only flattening all but the batch is supported, axis 1"));
        }
        let handle = self.pass(operator, handle)?;
        Ok(Handle { rank: 2, ..handle })
    }

    pub(super) fn reshape(&mut self, operator: Operator<'a>) -> Result<Handle, Error> {
        let handle = self.handle(operator, 0)?;
        let target = self.integers(operator, "shape", 1)?.unwrap_or_default();
        let own = self.extents(handle);
        let copies = operator.int("allowzero", 0)? == 0;
        // Extents that are open, -1 or computed from an open size are `None`.
        let target: Vec<Option<usize>> = target
            .iter()
            .enumerate()
            .map(|(axis, &extent)| match extent {
                Some(0) if copies => own.get(axis).copied().flatten(),
                extent => usize::try_from(extent?).ok(),
            })
            .collect();
        let may_be = |extent: Option<usize>, expected: Option<usize>| {
            extent.zip(expected).is_none_or(|(extent, expected)| extent == expected)
        };
        let channels = self.items[handle.item].channels;
        let length = self.length(handle);
        // The batch for which the file was written stands for one picture.
        let mut target = target;
        if let Some(first) = target.first_mut().filter(|first| **first == Some(self.batch)) {
            *first = Some(1);
        }
        let rank = match target[..] {
            [batch, row] if may_be(batch, Some(1)) && may_be(row, length) => {
                // With an open batch, the row must be as long as the value.
                let whole = row.is_none_or(|row| row.checked_rem(channels) == Some(0));
                whole.then_some(2)
            }
            [batch, depth, height, width] if may_be(batch, Some(1)) && may_be(depth, Some(channels)) => {
                let one = handle.rank == 4 || handle.size == Some([1, 1]);
                let [rows, columns] = handle.size.map_or([None; 2], |size| size.map(Some));
                // Of a map of open size, both sides are computed from it.
                let is_known = handle.size.is_some() || (height.is_none() && width.is_none());
                (one && is_known && may_be(height, rows) && may_be(width, columns)).then_some(4)
            }
            _ => None,
        };
        let rank = rank.filter(|&rank| rank == 2 || !self.items[handle.item].flat);
        let rank = rank.ok_or_else(|| operator.fail("only reshaping all but the batch to a row is supported"))?;
        let handle = self.pass(operator, handle)?;
        Ok(Handle { rank, ..handle })
    }

    pub(super) fn squeeze(&mut self, operator: Operator<'a>) -> Result<Handle, Error> {
        let handle = self.handle(operator, 0)?;
        let axes = self.axes(operator, handle.rank)?;
        let rank = match (handle.rank, &axes[..]) {
            (4, [2, 3]) | (3, [2]) => 2,
            (4, [2] | [3]) => 3,
            _ => return Err(operator.fail("only height and width can be squeezed")),
        };
        if handle.size.is_some_and(|size| size != [1, 1]) {
            return Err(operator.fail("height and width are not 1"));
        }
        let handle = self.pass(operator, handle)?;
        Ok(Handle { rank, size: Some([1, 1]), ..handle })
    }

    pub(super) fn unsqueeze(&mut self, operator: Operator<'a>) -> Result<Handle, Error> {
        let handle = self.handle(operator, 0)?;
        let is_pixel = handle.size == Some([1, 1]) && !self.items[handle.item].flat;
        let rank = match (handle.rank, &self.axes(operator, 4)?[..]) {
            (2, [2, 3]) | (3, [2] | [3]) if is_pixel => 4,
            (2, [2]) if is_pixel => 3,
            _ => return Err(operator.fail("only height and width of one pixel can be restored")),
        };
        let handle = self.pass(operator, handle)?;
        Ok(Handle { rank, ..handle })
    }

    /// The axes of the operator, sorted and counted from the first of `rank`.
    fn axes(&self, operator: Operator<'a>, rank: usize) -> Result<Vec<i64>, Error> {
        let axes = self.integers(operator, "axes", 1)?.unwrap_or_default();
        let place = |axis: i64| if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        let mut axes: Vec<i64> = axes.into_iter().flatten().map(place).collect();
        axes.sort_unstable();
        Ok(axes)
    }
}
