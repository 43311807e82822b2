//! Linear layers.

use super::Error;
use super::constant::Floats;
use super::merge::Line;
use super::network::{Handle, Network};
use super::operator::Operator;
use crate::engine::op::{Activation, Conv, Linear, Op, Padding, Window};

impl<'a> Network<'a> {
    pub(super) fn gemm(&mut self, operator: Operator<'a>) -> Result<Handle, Error> {
        if operator.int("transA", 0)? != 0 {
            return Err(operator.fail("`transA` is not supported"));
        }
        let (alpha, beta) = (f64::from(operator.float("alpha", 1.0)?), f64::from(operator.float("beta", 1.0)?));
        let row = self.handle(operator, 0)?;
        let weight = self.weights(operator, 1)?;
        let weight = matrix(operator, &weight, operator.int("transB", 0)? == 0)?;
        let rows = weight.dims[0];
        let bias = match operator.input(2) {
            None => vec![0.0; rows],
            Some(_) => {
                let bias = self.weights(operator, 2)?;
                match (&bias.dims[..], &bias.values[..]) {
                    (_, &[value]) => vec![f64::from(value); rows],
                    ([length] | [1, length], values) if *length == rows => {
                        values.iter().map(|&value| f64::from(value)).collect()
                    }
                    _ => return Err(operator.fail(format!("its bias has the shape {:?}", bias.dims))),
                }
            }
        };
        let linear = self.linear(operator, row, weight)?;
        let line = Line { scale: vec![alpha; rows], shift: bias.iter().map(|value| value * beta).collect() };
        // Nothing else can read a layer without its bias.
        self.items[linear.item].readers += 1;
        self.line(operator, linear, &line)
    }

    pub(super) fn mat_mul(&mut self, operator: Operator<'a>) -> Result<Handle, Error> {
        let row = self.handle(operator, 0)?;
        let weight = self.weights(operator, 1)?;
        let weight = matrix(operator, &weight, true)?;
        self.linear(operator, row, weight)
    }

    /// A linear layer of a row of values. For a row that is a map of several pixels, this is a convolution with a
    /// kernel as large as the map.
    fn linear(&mut self, operator: Operator<'a>, row: Handle, weight: Floats) -> Result<Handle, Error> {
        let (out_channels, length) = (weight.dims[0], weight.dims[1]);
        let in_channels = self.items[row.item].channels;
        let pixels = length.checked_div(in_channels).filter(|pixels| pixels.checked_mul(in_channels) == Some(length));
        // The size of a map can be inferred from its number of pixels if it is a square.
        let square = |pixels: usize| Some([pixels.isqrt(); 2]).filter(|side| side[0] * side[0] == pixels);
        let size = pixels.and_then(|pixels| row.size.or_else(|| square(pixels)));
        let fits = |&[rows, columns]: &[usize; 2]| rows.checked_mul(columns) == pixels;
        if row.rank != 2 || out_channels == 0 || pixels == Some(0) || !size.as_ref().is_some_and(fits) {
            let problem = format!("weights for {length} values do not fit what it reads, with {in_channels} channels");
            return Err(operator.fail(problem));
        }
        let (weight, bias) = (weight.values, vec![0.0; out_channels].into());
        let op = match size {
            Some(kernel) if kernel != [1, 1] => Op::Conv(Conv {
                in_channels,
                out_channels,
                window: Window { kernel, stride: [1, 1], padding: Padding::default() },
                groups: 1,
                weight,
                bias,
                activation: Activation::None,
            }),
            _ => Op::Linear(Linear { in_channels, out_channels, weight, bias }),
        };
        let linear = self.push(operator, op, &[row])?;
        self.items[linear.item].size = Some([1, 1]);
        Ok(Handle { size: Some([1, 1]), ..linear })
    }
}

/// The weights of a linear layer as `[out, in]`; `transposed` if given as `[in, out]`.
pub(super) fn matrix(operator: Operator<'_>, weight: &Floats, transposed: bool) -> Result<Floats, Error> {
    let unsupported = || operator.fail(format!("weights of the shape {:?} are not supported", weight.dims));
    let [rows, columns] = weight.dims[..] else { return Err(unsupported()) };
    if weight.values.is_empty() {
        return Err(unsupported());
    }
    if !transposed {
        return Ok(weight.clone());
    }
    let values = (0..columns).flat_map(|column| weight.values.iter().skip(column).step_by(columns.max(1)).copied());
    Ok(Floats { dims: vec![columns, rows], values: values.collect() })
}
