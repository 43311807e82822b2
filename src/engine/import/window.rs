//! Windows of convolutions and pools.

use super::Error;
use super::operator::Operator;
use crate::engine::graph::{Padding, Window};

/// The operators that have windows.
const WINDOWED: [&str; 8] =
    ["Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "MaxPool", "AveragePool", "LpPool", "MaxUnpool"];

/// Maximum kernel side, stride, dilation and padding: no classified image has longer sides.
const MAX_EXTENT: i64 = 1 << 13;

/// Maximum positions of a kernel, which backends list.
const MAX_PLACES: u64 = 1 << 20;

/// Checks that the window of `operator`, of whatever kind, is possible for an image.
///
/// # Errors
/// [`Error::Node`].
pub(super) fn check(operator: Operator<'_>) -> Result<(), Error> {
    if !WINDOWED.contains(&operator.kind()) {
        return Ok(());
    }
    for (name, least) in [("kernel_shape", 1), ("strides", 1), ("dilations", 1), ("pads", 0), ("output_padding", 0)] {
        let values = operator.ints(name)?.unwrap_or_default();
        if let Some(value) = values.iter().find(|&value| !(least..=MAX_EXTENT).contains(value)) {
            return Err(operator.fail(format!("`{name}` is {value}: expected {least} to {MAX_EXTENT}")));
        }
    }
    let kernel = operator.ints("kernel_shape")?.unwrap_or_default();
    let places = kernel.iter().fold(1, |places: u64, side| places.saturating_mul(side.unsigned_abs()));
    if places > MAX_PLACES {
        return Err(operator.fail(format!("its kernel has {places} places, but at most {MAX_PLACES} are supported")));
    }
    Ok(())
}

/// The window of a convolution or pool, with the given kernel or that of its attributes, on a map of `size` if known.
/// `before` is padding that the map already has.
///
/// # Errors
/// [`Error::Node`] if the window is not two-dimensional, is dilated, or has a padding that depends on an unknown size.
pub(super) fn read(
    operator: Operator<'_>,
    kernel: Option<[usize; 2]>,
    size: Option<[usize; 2]>,
    before: Padding,
) -> Result<Window, Error> {
    let told = pair(operator, "kernel_shape")?;
    if kernel.is_some() && told.is_some() && kernel != told {
        return Err(operator.fail("its kernel has another size than its weights"));
    }
    let kernel = kernel.or(told).ok_or_else(|| operator.fail("it has no attribute `kernel_shape`"))?;
    let stride = pair(operator, "strides")?.unwrap_or([1, 1]);
    if kernel.contains(&0) || stride.contains(&0) {
        return Err(operator.fail("kernels and strides are at least 1"));
    }
    match pair(operator, "dilations")? {
        None | Some([1, 1]) => {}
        Some([rows, columns]) => {
            return Err(operator.fail(format!("a dilation of {rows} × {columns} is not supported")));
        }
    }
    if operator.int("ceil_mode", 0)? != 0 {
        return Err(operator.fail("sizes that round up (`ceil_mode` 1) are not supported"));
    }
    let same = |lower: bool| {
        let padded = |axis: usize, more: usize| size.and_then(|size| size[axis].checked_add(more));
        let rows = same(kernel[0], stride[0], padded(0, before.top.saturating_add(before.bottom)));
        let columns = same(kernel[1], stride[1], padded(1, before.left.saturating_add(before.right)));
        let (Some(rows), Some(columns)) = (rows, columns) else {
            return Err(operator.fail("its padding depends on the size of the input, which the file leaves open"));
        };
        let split = |total: usize| if lower { (total.div_ceil(2), total / 2) } else { (total / 2, total.div_ceil(2)) };
        let ((top, bottom), (left, right)) = (split(rows), split(columns));
        Ok(Padding { top, left, bottom, right })
    };
    let own = match operator.text("auto_pad", "NOTSET")? {
        "NOTSET" | "" => pads(operator)?,
        "VALID" => Padding::default(),
        "SAME_UPPER" => same(false)?,
        "SAME_LOWER" => same(true)?,
        other => return Err(operator.fail(format!("the padding `{other}` is not supported"))),
    };
    let padding = sum(own, before).ok_or_else(|| operator.fail("its padding is too large"))?;
    Ok(Window { kernel, stride, padding })
}

/// The sum of both paddings; `None` if it overflows.
pub(super) fn sum(a: Padding, b: Padding) -> Option<Padding> {
    Some(Padding {
        top: a.top.checked_add(b.top)?,
        left: a.left.checked_add(b.left)?,
        bottom: a.bottom.checked_add(b.bottom)?,
        right: a.right.checked_add(b.right)?,
    })
}

/// Padding along an axis so that there is a window for every `stride` begun of its `extent`.
fn same(kernel: usize, stride: usize, extent: Option<usize>) -> Option<usize> {
    if stride == 1 {
        // Independent of the extent.
        return kernel.checked_sub(1);
    }
    let extent = extent?;
    let reach = extent.div_ceil(stride).saturating_sub(1).checked_mul(stride)?.checked_add(kernel)?;
    Some(reach.saturating_sub(extent))
}

fn pads(operator: Operator<'_>) -> Result<Padding, Error> {
    let Some(pads) = operator.ints("pads")? else { return Ok(Padding::default()) };
    let sizes: Option<Vec<usize>> = pads.iter().map(|&size| usize::try_from(size).ok()).collect();
    match sizes.as_deref() {
        Some(&[top, left, bottom, right]) => Ok(Padding { top, left, bottom, right }),
        _ => Err(operator.fail(format!("the padding {pads:?} is not supported"))),
    }
}

fn pair(operator: Operator<'_>, name: &str) -> Result<Option<[usize; 2]>, Error> {
    let Some(values) = operator.ints(name)? else { return Ok(None) };
    let sizes: Option<Vec<usize>> = values.iter().map(|&size| usize::try_from(size).ok()).collect();
    match sizes.as_deref() {
        Some(&[rows, columns]) => Ok(Some([rows, columns])),
        _ => {
            Err(operator
                .fail(format!("its attribute `{name}` is {values:?}; only windows over two axes are supported")))
        }
    }
}
