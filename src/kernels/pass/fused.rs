//! A pointwise convolution and the depthwise one behind it, as one: the map between them is never whole in
//! memory. Rows of it go through a ring, or, where they are short, through a small map in scratch.

use super::super::Kernels;
use super::super::memory::Weights;
use super::super::tile;
use super::super::tile::Segment;
use super::blocks::Block;
use super::conv::Segments;
use super::depthwise::Rows;
use super::{
    Blocks, Clamp, Convolution, Depthwise, Map, Pass, PassError, Place, check, check_channels, count, product, share,
};

/// Rows of the ring: a depthwise row reads three.
const RING: usize = 4;

/// Pixels of a row that are too few for several tiles of narrow instruction sets.
const SHORT: usize = 14;

/// Bytes of weights that are used for the whole map before the next ones are.
const GROUP_BYTES: usize = 256 << 10;

/// Pixels from which on parts share the rows, computing some twice; with fewer, they share the channels.
const PIXELS_TO_SHARE: usize = 28 * 28;

/// See the module.
#[derive(Debug)]
pub(in super::super) struct FusedPass {
    inputs: Vec<Map>,
    output: Map,
    stride: usize,
    clamp: Clamp,
    blocks: Blocks,
    rows: Rows,
    /// Where a row of zeros is.
    zeros: usize,
    /// Rows of the map between that are kept.
    kept: usize,
}

impl FusedPass {
    /// The pointwise `first` on `inputs`, and the regular depthwise `second` on what it makes.
    pub(in super::super) fn new(
        kernels: &'static Kernels,
        weights: &mut Weights,
        length: usize,
        inputs: &[Map],
        first: &Convolution<'_>,
        second: &Depthwise<'_>,
        output: Map,
    ) -> Result<Self, PassError> {
        let Some(&input) = inputs.first() else { return Err(PassError("a convolution reads something")) };
        // The map between is as the first convolution would write it; it lies in scratch.
        check_channels(inputs, &output, length)?;
        first.check(inputs, &Map { height: input.height, width: input.width, ..output })?;
        let size = [input.height, input.width];
        let regular = first.is_pointwise() && second.is_regular(size, [output.height, output.width]);
        check(regular, "only a pointwise and a regular depthwise convolution are fused")?;
        check(second.weight.len() == product(&[output.channels, 9])?, "the weight has another length")?;
        check(second.bias.len() == output.channels, "the bias has another length")?;
        let blocks = first.pack(kernels, weights, output.channels);
        let rows = Rows::pack(weights, output.channels, second);
        let zeros = weights.push(product(&[input.width, output.padded_channels()])?, |_| 0.0);
        let kept = if input.width < blocks.rows().max(SHORT) { input.height } else { RING.min(input.height) };
        let (stride, clamp) = (second.stride[0], first.clamp);
        Ok(Self { inputs: inputs.to_vec(), output, stride, clamp, blocks, rows, zeros, kept })
    }

    /// The channels of `group` for the output rows `from..to`.
    ///
    /// # Safety
    /// Those of [`Pass::run`]; the rows belong to this part.
    unsafe fn group(&self, place: &Place<'_>, group: &[Block], from: usize, to: usize) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return };
        let input = &self.inputs[0];
        let stride = last.channel + last.width - first.channel;
        let mut segments = Segments::new();
        let mut depth = 0;
        for map in &self.inputs {
            let Map { stride, channels, .. } = *map;
            segments.push(Segment { input: place.pixel(map, 0), stride, channels, first: depth });
            depth += channels;
        }
        let ring = |y: usize| place.scratch.wrapping_add(y % self.kept * input.width * stride);
        // Rows of the map between that have been computed.
        let mut done = (from * self.stride).saturating_sub(1);
        for y in from..to {
            let centre = y * self.stride;
            // Where rows are shorter than a tile, all of the map is computed at once.
            let is_whole = self.kept == input.height;
            let needed = if is_whole { input.height } else { (centre + 2).min(input.height) };
            while done < needed {
                let rows = if is_whole { needed - done } else { 1 };
                let (pixel, pixels) = (done * input.width, rows * input.width);
                // SAFETY: the inputs have these pixels, and the scratch holds as many rows.
                unsafe {
                    self.blocks.product(place, group, &segments, pixel, pixels, ring(done), stride, self.clamp);
                }
                done += rows;
            }
            let row = |y: Option<usize>| match y.filter(|y| *y < input.height) {
                Some(y) => ring(y).cast_const(),
                None => place.weights.at(self.zeros),
            };
            let call = tile::Depthwise {
                rows: [row(centre.checked_sub(1)), row(Some(centre)), row(Some(centre + 1))],
                in_stride: stride,
                in_width: input.width,
                out: place.pixel(&self.output, y * self.output.width).wrapping_add(first.channel),
                out_stride: self.output.stride,
                out_width: self.output.width,
                weights: std::ptr::null(),
                weight_stride: 0,
                low: 0.0,
                high: 0.0,
            };
            // SAFETY: the rows hold all channels of the group, and the row of the output is this part's.
            unsafe { self.rows.run(place, first.channel, stride, call) }
        }
    }
}

impl Pass for FusedPass {
    fn algorithm(&self) -> &'static str {
        "pointwise+depthwise"
    }

    fn scratch(&self) -> usize {
        // The share of a part may begin with any block.
        let count = self.blocks.blocks.len();
        let groups = (0..count).filter_map(|first| self.blocks.groups(first..count, GROUP_BYTES).next());
        let widest = groups.map(|group| group.iter().map(|block| block.width).sum::<usize>()).max();
        (self.kept * self.inputs[0].width).saturating_mul(widest.unwrap_or(0))
    }

    fn macs(&self) -> u64 {
        let between = count(&[self.inputs[0].pixels(), self.blocks.depth, self.output.padded_channels()]);
        between.saturating_add(count(&[self.output.pixels(), 9, self.output.padded_channels()]))
    }

    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize) {
        let count = self.blocks.blocks.len();
        let by_rows = self.output.pixels() >= PIXELS_TO_SHARE;
        let (rows, blocks) = if by_rows {
            (share(self.output.height, part, parts), 0..count)
        } else {
            (0..self.output.height, share(count, part, parts))
        };
        for group in self.blocks.groups(blocks, GROUP_BYTES) {
            // SAFETY: the caller's; the rows or the channels are this part's own.
            unsafe { self.group(place, group, rows.start, rows.end) }
        }
    }
}
