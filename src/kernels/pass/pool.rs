//! Pooling: windows of a map, or the whole map.

use super::map::{Map, check_maps, check_windows};
use super::place::Place;
use super::step::{Needs, Pass};
use super::unit::{read, write};
use crate::kernels::error::{PassError, check};
use crate::kernels::parts::share;
use crate::kernels::size::UNIT;
use crate::kernels::tile::Largest;

/// How the values of a window are reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduce {
    /// The maximum.
    Max,
    /// The mean of those in the map.
    Mean,
    /// The mean, with padding counted as zeros.
    MeanWithPadding,
}

/// A pool.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// Rows and columns of the window.
    pub kernel: [usize; 2],
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Rows of padding above the map.
    pub top: usize,
    /// Columns of padding to the left of it.
    pub left: usize,
    /// How the values are reduced.
    pub reduce: Reduce,
}

/// See the module.
#[derive(Debug)]
pub(in crate::kernels) struct PoolPass {
    input: Map,
    output: Map,
    pool: Pool,
}

impl PoolPass {
    pub(in crate::kernels) fn new(length: usize, input: Map, pool: Pool, output: Map) -> Result<Self, PassError> {
        check_maps(&[input], &output, length)?;
        check(input.channels == output.channels, "a pool keeps the channels")?;
        check(input.stride.is_multiple_of(UNIT), "the input is not padded to whole units")?;
        check_windows(&input, &output, pool.kernel, pool.stride, [pool.top, pool.left])?;
        Ok(Self { input, output, pool })
    }
}

impl Pass for PoolPass {
    fn algorithm(&self) -> &'static str {
        "pool"
    }

    fn needs(&self) -> Needs {
        Needs::of(&[self.input, self.output], 0)
    }

    fn macs(&self) -> u64 {
        0
    }

    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize) {
        let Self { input, output, pool } = self;
        let Pool { kernel, stride, top, left, reduce } = *pool;
        let window = |at: usize, axis: usize, before: usize, size: usize| {
            let start = at * stride[axis];
            start.saturating_sub(before)..(start + kernel[axis]).saturating_sub(before).min(size)
        };
        for y in share(output.height, part, parts) {
            let rows = window(y, 0, top, input.height);
            for x in 0..output.width {
                let columns = window(x, 1, left, input.width);
                let first = place.pixel(input, rows.start * input.width + columns.start).cast_const();
                let out = place.pixel(output, y * output.width + x);
                let count = match reduce {
                    Reduce::Max => {
                        let call = Largest {
                            input: first,
                            row_stride: input.width * input.stride,
                            stride: input.stride,
                            height: rows.len(),
                            width: columns.len(),
                            lanes: output.channels.next_multiple_of(place.kernels.step()),
                            out,
                        };
                        // SAFETY: the window has a pixel and lies in the map, whose pixels have whole units, and so
                        // whole steps. The pixel of the output belongs to this part, and overlaps no input.
                        unsafe { place.kernels.largest(&call) }
                        continue;
                    }
                    Reduce::Mean => rows.len() * columns.len(),
                    Reduce::MeanWithPadding => kernel[0].saturating_mul(kernel[1]),
                };
                for lane in (0..output.channels).step_by(UNIT) {
                    let mut sum = [0.0; UNIT];
                    for pixel in rows.clone().flat_map(|row| columns.clone().map(move |x| row * input.width + x)) {
                        // SAFETY: the pixel lies in the map, and the unit in the pixel.
                        let value = unsafe { read(place.pixel(input, pixel).wrapping_add(lane)) };
                        sum.iter_mut().zip(value).for_each(|(sum, value)| *sum += value);
                    }
                    // SAFETY: the unit lies in the pixel of the output, which belongs to this part.
                    unsafe { write(out.wrapping_add(lane), sum.map(|sum| sum / count as f32)) }
                }
            }
        }
    }
}

/// The mean of all pixels.
#[derive(Debug)]
pub(in crate::kernels) struct AveragePass {
    input: Map,
    output: Map,
}

impl AveragePass {
    pub(in crate::kernels) fn new(length: usize, input: Map, output: Map) -> Result<Self, PassError> {
        check_maps(&[input], &output, length)?;
        check(input.channels == output.channels && output.pixels() == 1, "the mean is one pixel")?;
        check(input.stride.is_multiple_of(UNIT), "the input is not padded to whole units")?;
        Ok(Self { input, output })
    }
}

impl Pass for AveragePass {
    fn algorithm(&self) -> &'static str {
        "mean"
    }

    fn needs(&self) -> Needs {
        Needs::of(&[self.input, self.output], 0)
    }

    fn macs(&self) -> u64 {
        0
    }

    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize) {
        let count = self.input.pixels();
        for unit in share(self.output.channels.div_ceil(UNIT), part, parts) {
            let lane = unit * UNIT;
            let mut sum = [0.0; UNIT];
            for pixel in 0..count {
                // SAFETY: the pixel lies in the map, and the unit in the pixel.
                let value = unsafe { read(place.pixel(&self.input, pixel).wrapping_add(lane)) };
                for (sum, value) in sum.iter_mut().zip(value) {
                    *sum += value;
                }
            }
            let out = place.pixel(&self.output, 0).wrapping_add(lane);
            // SAFETY: the unit lies in the pixel of the output, and belongs to this part.
            unsafe { write(out, sum.map(|sum| sum / count as f32)) }
        }
    }
}
