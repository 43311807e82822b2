//! Convolution as one product per row: the taps of the kernel are segments of the contraction.

use std::ops::Range;

use super::blocks::{Block, Blocks};
use super::clamp::Clamp;
use super::map::{Map, channels, check_channels, check_windows};
use super::place::Place;
use super::segments::{MAX_SEGMENTS, Segments};
use super::step::{Needs, Pass};
use super::strassen::Pairing;
use crate::kernels::error::{PassError, check};
use crate::kernels::memory::Weights;
use crate::kernels::parts::{Chunks, share};
use crate::kernels::size::{addressable, product};
use crate::kernels::table::Kernels;
use crate::kernels::tile::Segment;

/// Bytes of weights that are used for all pixels before the next ones: they stay in the second-level cache meanwhile.
const GROUP_BYTES: usize = 256 << 10;

/// Pixels that are computed at a time if all are treated alike.
const STRIP: usize = 14 * 14;

/// Minimum number of pixels at which parts share the pixels; with fewer, they share the output channels, so that
/// weights are read once.
pub(super) const PIXELS_TO_SHARE: usize = 28 * 28;

/// A convolution with dilation 1 and one group.
#[derive(Debug, Clone, Copy)]
pub struct Convolution<'a> {
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Rows of zeros above the map.
    pub top: usize,
    /// Columns of zeros to the left of it.
    pub left: usize,
    /// `[out, in, kernel rows, kernel columns]`, row-major.
    pub weight: &'a [f32],
    /// `[out]`.
    pub bias: &'a [f32],
    /// The clamping of results.
    pub clamp: Clamp,
}

impl Convolution<'_> {
    /// Whether it is a product per pixel.
    pub(in crate::kernels) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && (self.top, self.left) == (0, 0)
    }

    /// Checks that it leads from the inputs to the output, regardless of their positions.
    pub(super) fn check(&self, inputs: &[Map], output: &Map) -> Result<(), PassError> {
        let Some(first) = inputs.first() else { return Err(PassError("a convolution reads something")) };
        let same = inputs.iter().all(|map| (map.height, map.width) == (first.height, first.width));
        check(same, "the inputs of a convolution have one size")?;
        check_windows(first, output, self.kernel, self.stride, [self.top, self.left])?;
        let [rows, columns] = self.kernel;
        check(product(&[inputs.len(), rows, columns])? <= MAX_SEGMENTS, "the contraction has too many segments")?;
        let weights = product(&[output.channels, channels(inputs)?, rows, columns])?;
        check(self.weight.len() == weights, "the weight has another length")?;
        check(self.bias.len() == output.channels, "the bias has another length")
    }

    /// Packs the weights: the contraction runs over kernel rows, kernel columns, channels. Pointwise ones may have a
    /// pairing.
    ///
    /// # Errors
    /// If the weights do not fit into memory.
    pub(super) fn pack(
        &self,
        kernels: Kernels,
        weights: &mut Weights,
        out: usize,
        pairing: Option<&Pairing>,
    ) -> Result<Blocks, PassError> {
        let taps = product(&self.kernel)?;
        Blocks::pack(kernels, weights, out, taps, self.weight, self.bias, pairing)
    }
}

/// See the module.
#[derive(Debug)]
pub(in crate::kernels) struct ConvPass {
    inputs: Vec<Map>,
    output: Map,
    kernel: [usize; 2],
    stride: [usize; 2],
    top: usize,
    left: usize,
    is_pointwise: bool,
    clamp: Clamp,
    blocks: Blocks,
    /// Values of scratch per part.
    scratch: usize,
}

impl ConvPass {
    pub(in crate::kernels) fn new(
        kernels: Kernels,
        weights: &mut Weights,
        length: usize,
        inputs: &[Map],
        convolution: &Convolution<'_>,
        output: Map,
    ) -> Result<Self, PassError> {
        check_channels(inputs, &output, length)?;
        convolution.check(inputs, &output)?;
        let is_pointwise = convolution.is_pointwise() && inputs[0].pixels() == output.pixels();
        let pairing = Pairing::of(inputs, output.channels, output.pixels()).filter(|_| is_pointwise);
        let blocks = convolution.pack(kernels, weights, output.channels, pairing.as_ref())?;
        let Convolution { kernel, stride, top, left, clamp, .. } = *convolution;
        // Values from one window to the next.
        inputs.iter().try_for_each(|map| addressable(product(&[stride[1], map.stride])?).map(drop))?;
        let scratch = blocks.scratch(Chunks::of(output.pixels(), STRIP).longest())?;
        Ok(Self { inputs: inputs.to_vec(), output, kernel, stride, top, left, is_pointwise, clamp, blocks, scratch })
    }

    /// Computes `count` pixels of the output, from number `first` on, for the output channels of `group`.
    ///
    /// # Safety
    /// - The duties of [`Pass::run`]; the pixels and the channels belong to this part.
    /// - The segments are readable for as many rows, and are those of these pixels.
    /// - No block of the group is a pair.
    unsafe fn product(&self, place: &Place<'_>, segments: &Segments, first: usize, count: usize, group: &[Block]) {
        let channel = group.first().map_or(0, |block| block.channel);
        let out = place.pixel(&self.output, first).wrapping_add(channel);
        let stride = self.output.stride;
        // SAFETY: the segments are readable for the rows, and have the contraction of the pixels, which was packed. The
        // pixels of the output have room for whole units, and so for the widths of the group; it overlaps no input.
        unsafe { self.blocks.product(place, group, segments, None, 0, count, out, stride, self.clamp) }
    }

    /// The pixels of `strip` and the output channels of `blocks`, for windows that are single pixels.
    ///
    /// # Safety
    /// - The duties of [`Pass::run`]; the pixels or the channels belong to this part.
    unsafe fn strip(&self, place: &Place<'_>, segments: &mut Segments, strip: Range<usize>, blocks: Range<usize>) {
        // There are more parts than pixels.
        if strip.is_empty() {
            return;
        }
        segments.clear();
        let mut first = 0;
        for map in &self.inputs {
            let input = place.pixel(map, strip.start).cast_const();
            segments.push(Segment { input, stride: map.stride, channels: map.channels, first });
            first += map.channels;
        }
        // SAFETY: input and output have the same pixels, for which the inputs are readable and the output is writable
        // in whole units. The segments are all channels of the inputs, in packed order, and the scratch belongs to this
        // part.
        unsafe {
            let Some(quarters) = self.blocks.quarters(place, segments, 0, strip.len(), place.scratch) else {
                for group in self.blocks.groups(blocks, GROUP_BYTES) {
                    self.product(place, segments, strip.start, strip.len(), group);
                }
                return;
            };
            let group = &self.blocks.blocks[blocks];
            let channel = group.first().map_or(0, |block| block.channel);
            let out = place.pixel(&self.output, strip.start).wrapping_add(channel);
            let stride = self.output.stride;
            self.blocks.product(place, group, segments, Some(&quarters), 0, strip.len(), out, stride, self.clamp);
        }
    }

    /// The segments of the windows that begin at column `x` of row `y`, with the kernel columns `columns` in the map.
    fn segments(&self, place: &Place<'_>, segments: &mut Segments, y: usize, x: usize, columns: Range<usize>) {
        segments.clear();
        let depth = self.blocks.depth / (self.kernel[0] * self.kernel[1]);
        for row in 0..self.kernel[0] {
            let Some(source) = (y * self.stride[0] + row).checked_sub(self.top) else { continue };
            if source >= self.inputs[0].height {
                continue;
            }
            let mut first = (row * self.kernel[1] + columns.start) * depth;
            let at = |map: &Map, column: usize| {
                place.pixel(map, source * map.width + x * self.stride[1] + column - self.left).cast_const()
            };
            let one = &self.inputs[0];
            if self.inputs.len() == 1 && one.stride == one.channels {
                // Neighbouring pixels are one run of values.
                let stride = self.stride[1] * one.stride;
                let channels = columns.len() * one.channels;
                segments.push(Segment { input: at(one, columns.start), stride, channels, first });
                continue;
            }
            for column in columns.clone() {
                for map in &self.inputs {
                    let stride = self.stride[1] * map.stride;
                    segments.push(Segment { input: at(map, column), stride, channels: map.channels, first });
                    first += map.channels;
                }
            }
        }
    }

    /// One row of the output.
    ///
    /// # Safety
    /// - The duties of [`Pass::run`]; the row or the channels belong to this part.
    /// - No block is a pair.
    unsafe fn row(&self, place: &Place<'_>, segments: &mut Segments, y: usize, blocks: &[Block]) {
        let (width, out) = (self.inputs[0].width, self.output.width);
        let (columns, stride) = (self.kernel[1], self.stride[1]);
        // Outputs whose windows lie entirely in the map.
        let start = self.left.div_ceil(stride).min(out);
        let end = (width + self.left).checked_sub(columns).map_or(0, |last| last / stride + 1).clamp(start, out);
        let mut x = 0;
        while x < out {
            let count = if x == start && end > start { end - start } else { 1 };
            let begin = x * stride;
            let inside = self.left.saturating_sub(begin)..(width + self.left - begin).min(columns);
            self.segments(place, segments, y, x, inside);
            // SAFETY: the row or the channels belong to this part. The windows of these outputs lie in the map in these
            // columns, and no block is a pair.
            unsafe { self.product(place, segments, y * out + x, count, blocks) }
            x += count;
        }
    }
}

impl Pass for ConvPass {
    fn algorithm(&self) -> &'static str {
        if self.is_pointwise { "pointwise" } else { "direct" }
    }

    fn needs(&self) -> Needs {
        Needs::of_channels(&self.inputs, &self.output, self.scratch)
    }

    fn macs(&self) -> u64 {
        self.blocks.macs(self.output.pixels())
    }

    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize) {
        let mut segments = Segments::new();
        let by_pixels = self.output.pixels() >= PIXELS_TO_SHARE;
        let blocks = if by_pixels { 0..self.blocks.blocks.len() } else { share(self.blocks.blocks.len(), part, parts) };
        let (part, parts) = if by_pixels { (part, parts) } else { (0, 1) };
        if self.is_pointwise {
            let count = self.output.pixels();
            if !self.blocks.have_pairs() {
                // SAFETY: the pixels are this part's share, or all of them with the channels of this part.
                return unsafe { self.strip(place, &mut segments, share(count, part, parts), blocks) };
            }
            // Whole strips, so that the number of parts does not change the results.
            let strips = Chunks::of(count, STRIP);
            for strip in share(strips.number(), part, parts) {
                // SAFETY: the strips are this part's share, or all of them with the channels of this part.
                unsafe { self.strip(place, &mut segments, strips.rows(strip), blocks.clone()) }
            }
            return;
        }
        for group in self.blocks.groups(blocks, GROUP_BYTES) {
            for y in share(self.output.height, part, parts) {
                // SAFETY: the rows are this part's share, or all of them with the channels of this part. Only pointwise
                // convolutions have pairs.
                unsafe { self.row(place, &mut segments, y, group) }
            }
        }
    }
}
