//! Writes operators of tract (0.23) that its optimiser computes wrongly in a form that it computes correctly.

use tract_onnx::prelude::{TVec, TractError, TractResult, TypedModel, TypedModelPatch, TypedNode, TypedOp, tensor1};
use tract_onnx::tract_core::model::SpecialOps as _;
use tract_onnx::tract_core::ops::Downsample;
use tract_onnx::tract_core::ops::array::{Gather, Pad, StridedSlice};
use tract_onnx::tract_core::ops::cnn::{Conv, MaxPool, PaddingSpec, PoolSpec, SumPool};

/// Rewrites, in a model whose maps have known sizes:
///
/// - the automatic padding of a window as numbers: otherwise, a stride that is moved into the window changes it;
/// - strides without a window, of slices and of convolutions of one pixel, as gathers: tract moves strides over slices,
///   functions and convolutions, and forgets where a slice begins or what a function reads.
///
/// # Errors
/// If a map is padded by a negative number, which tract reads as a large one; tract's own errors.
pub(super) fn prepare(model: &mut TypedModel) -> TractResult<()> {
    let mut index = 0;
    // The changes add nodes at the end.
    while index < model.nodes().len() {
        let node = model.node(index);
        if node.op_as::<Pad>().is_some_and(|op| op.pads.iter().any(|pad| isize::try_from(pad.0.max(pad.1)).is_err())) {
            return Err(TractError::msg(format!("`{}` pads by a negative number", node.name)));
        }
        if let Some(op) = with_numbers(model, node)? {
            model.node_mut(index).op = op;
        }
        let node = model.node(index);
        if let Some(patch) = without_steps(model, node)?.or(with_gathers(model, node)?) {
            patch.apply(model)?;
        }
        index += 1;
    }
    Ok(())
}

/// The operator of `node` with its automatic padding as numbers, if it has one.
fn with_numbers(model: &TypedModel, node: &TypedNode) -> TractResult<Option<Box<dyn TypedOp>>> {
    let numbers = |spec: &PoolSpec| -> TractResult<Option<PoolSpec>> {
        let shape = node.inputs.first().map(|input| model.outlet_fact(*input)).transpose()?;
        let shape = shape.and_then(|fact| fact.shape.as_concrete());
        if !matches!(spec.padding, PaddingSpec::SameUpper | PaddingSpec::SameLower) {
            return Ok(None);
        }
        let Some(shape) = shape.map(|shape| spec.data_format.shape(shape)).transpose()? else { return Ok(None) };
        let (before, after) =
            spec.computed_padding(shape.hw_dims()).iter().map(|side| (side.pad_before, side.pad_after)).unzip();
        Ok(Some(PoolSpec { padding: PaddingSpec::Explicit(before, after), ..spec.clone() }))
    };
    Ok(if let Some(op) = node.op_as::<Conv>() {
        numbers(&op.pool_spec)?.map(|pool_spec| Box::new(Conv { pool_spec, ..op.clone() }) as _)
    } else if let Some(op) = node.op_as::<MaxPool>() {
        numbers(&op.pool_spec)?.map(|pool_spec| Box::new(MaxPool { pool_spec, ..op.clone() }) as _)
    } else if let Some(op) = node.op_as::<SumPool>() {
        numbers(&op.pool_spec)?.map(|pool_spec| Box::new(SumPool { pool_spec, ..op.clone() }) as _)
    } else {
        None
    })
}

/// The change that makes slices and strides of `node`, if it is a slice with steps.
fn without_steps(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    node.op_as::<StridedSlice>().map_or(Ok(None), |slice| slice.declutter(model, node))
}

/// The change that makes gathers of the strides of `node`, if no window needs them.
fn with_gathers(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(&input) = node.inputs.first() else { return Ok(None) };
    let fact = model.outlet_fact(input)?;
    let Some(shape) = fact.shape.as_concrete() else { return Ok(None) };
    let (mut conv, mut places) = (None, Vec::new());
    if let Some(op) = node.op_as::<Downsample>() {
        let (length, step) = (shape[op.axis] as i64, op.stride.unsigned_abs());
        let all = if op.stride > 0 {
            (op.modulo as i64..length).step_by(step).collect()
        } else {
            (0..length).rev().step_by(step).collect::<Vec<i64>>()
        };
        places.push((op.axis, all));
    } else if let Some(op) = node.op_as::<Conv>() {
        let spec = &op.pool_spec;
        let (mut strides, mut dilations) = (TVec::from(&*spec.strides()), TVec::from(&*spec.dilations()));
        let first = spec.data_format.shape(shape)?.h_axis();
        for axis in 0..spec.rank() {
            let step = strides[axis];
            let is_free = spec.kernel_shape[axis] == 1 || dilations[axis].is_multiple_of(step);
            if step > 1 && is_free && spec.padding.valid_dim(axis, false) {
                places.push((first + axis, (0..shape[first + axis] as i64).step_by(step).collect()));
                (strides[axis], dilations[axis]) = (1, dilations[axis].div_ceil(step));
            }
        }
        let pool_spec = PoolSpec { strides: Some(strides), dilations: Some(dilations), ..spec.clone() };
        conv = Some(Conv { pool_spec, ..op.clone() });
    }
    if places.is_empty() {
        return Ok(None);
    }
    let mut patch = TypedModelPatch::default();
    let mut inputs = patch.taps(model, &node.inputs)?;
    for (axis, places) in places {
        let name = format!("{}.places-{axis}", node.name);
        let places = patch.add_const(name, tensor1(&places))?;
        inputs[0] =
            patch.wire_node(format!("{}.gather-{axis}", node.name), Gather::new(axis), &[inputs[0], places])?[0];
    }
    let output = match conv {
        Some(conv) => patch.wire_node(&node.name, conv, &inputs)?[0],
        None => inputs[0],
    };
    patch.shunt_outside(model, node.id.into(), output)?;
    Ok(Some(patch))
}
