//! A pointwise convolution and the depthwise one after it, as one pass: the map between them is never entirely in
//! memory. Its rows go through a ring or, if they are short, through a small map in scratch.

use super::blocks::{Block, Blocks};
use super::clamp::Clamp;
use super::convolution::Convolution;
use super::depthwise::{Depthwise, Taps};
use super::map::{Map, check_channels};
use super::place::{Place, Scratch};
use super::segments::Segments;
use super::step::{Needs, Pass};
use super::strassen::{Pairing, Quarters};
use crate::kernels::error::{PassError, check};
use crate::kernels::memory::{Packed, Weights};
use crate::kernels::parts::share;
use crate::kernels::size::{LINE, count, product, round_up, sum};
use crate::kernels::table::Kernels;
use crate::kernels::tile::{self, Segment};

/// Rows of the ring: a depthwise row reads three.
const RING: usize = 4;

/// Maximum pixels of a row that are too few for several tiles of narrow instruction sets.
const SHORT: usize = 14;

/// Pixels that are computed at once if two halves of them are used for pairs.
const PAIRED: usize = 112;

/// Bytes of weights that are used for the whole map before the next ones.
const GROUP_BYTES: usize = 256 << 10;
/// The same if sums are recomputed for every group.
const PAIRED_BYTES: usize = 576 << 10;

/// Minimum number of pixels at which parts share the rows, computing some twice; with fewer, they share the channels.
const PIXELS_TO_SHARE: usize = 28 * 28;

/// Rows of the intermediate map that are computed at once: all if they are shorter than `short` pixels, otherwise as
/// many as have `least` pixels.
fn rows_at_once(input: &Map, short: usize, least: usize) -> usize {
    if input.width < short { input.height } else { least.div_ceil(input.width).min(input.height) }
}

/// See the module.
#[derive(Debug)]
pub(in crate::kernels) struct FusedPass {
    inputs: Vec<Map>,
    output: Map,
    stride: usize,
    clamp: Clamp,
    blocks: Blocks,
    taps: Taps,
    /// A row of zeros.
    zeros: Packed,
    /// Rows of the intermediate map that are computed at once.
    at_once: usize,
    /// Rows of it that are kept.
    kept: usize,
    /// Values of scratch for these rows.
    ring: usize,
    /// Values of scratch for sums, after the ring.
    sums: usize,
}

impl FusedPass {
    /// The pointwise `first` on `inputs`, and the regular depthwise `second` on its output.
    pub(in crate::kernels) fn new(
        kernels: Kernels,
        weights: &mut Weights,
        length: usize,
        inputs: &[Map],
        first: &Convolution<'_>,
        second: &Depthwise<'_>,
        output: Map,
    ) -> Result<Self, PassError> {
        let Some(&input) = inputs.first() else { return Err(PassError("a convolution reads something")) };
        // The intermediate map has the form in which the first convolution would write it; it lies in scratch.
        check_channels(inputs, &output, length)?;
        first.check(inputs, &Map { height: input.height, width: input.width, ..output })?;
        let size = [input.height, input.width];
        let regular = first.is_pointwise() && second.is_regular(size, [output.height, output.width]);
        check(regular, "only a pointwise and a regular depthwise convolution are fused")?;
        check(second.weight.len() == product(&[output.channels, 9])?, "the weight has another length")?;
        check(second.bias.len() == output.channels, "the bias has another length")?;
        let pairing = Pairing::of(inputs, output.channels, rows_at_once(&input, 2 * SHORT, PAIRED) * input.width);
        let blocks = first.pack(kernels, weights, output.channels, pairing.as_ref())?;
        let taps = Taps::pack(weights, output.channels, second)?;
        let zeros = weights.push(product(&[input.width, output.padded_channels()])?, |_| 0.0)?;
        let (short, least) = if blocks.have_pairs() { (2 * SHORT, PAIRED) } else { (blocks.rows().max(SHORT), 1) };
        let at_once = rows_at_once(&input, short, least);
        // Runs of rows lie in the ring without a gap.
        let kept = if at_once == 1 { RING } else { 2 * at_once };
        let kept = kept.min(input.height);
        let (stride, clamp) = (second.stride[0], first.clamp);
        let sums = blocks.scratch(product(&[at_once, input.width])?)?;
        let mut pass =
            Self { inputs: inputs.to_vec(), output, stride, clamp, blocks, taps, zeros, at_once, kept, ring: 0, sums };
        pass.ring = round_up(product(&[kept, input.width, pass.widest()])?, LINE)?;
        sum([pass.ring, sums])?;
        Ok(pass)
    }

    /// Channels of the widest group.
    fn widest(&self) -> usize {
        // The share of a part may begin with any block.
        let count = self.blocks.blocks.len();
        let groups = (0..count).filter_map(|first| self.blocks.groups(first..count, self.group_bytes()).next());
        let width = |group: &[Block]| Some(group.last()?.end() - group.first()?.channel);
        groups.filter_map(width).max().unwrap_or(0)
    }

    /// The segments of a contraction, from pixel 0 on.
    fn segments(&self, place: &Place<'_>) -> Segments {
        let mut segments = Segments::new();
        let mut first = 0;
        for map in &self.inputs {
            let Map { stride, channels, .. } = *map;
            segments.push(Segment { input: place.pixel(map, 0), stride, channels, first });
            first += channels;
        }
        segments
    }

    /// The channels of `group` for the output rows `from..to`.
    ///
    /// # Safety
    /// - The duties of [`Pass::run`]; the rows or the channels belong to this part.
    /// - The segments are those of [`Self::segments`].
    /// - `whole` are the quarters of the whole map, if it is computed at once and a block is a pair.
    unsafe fn group(
        &self,
        place: &Place<'_>,
        segments: &Segments,
        whole: Option<&Quarters>,
        group: &[Block],
        from: usize,
        to: usize,
    ) {
        debug_assert!(to <= self.output.height && (whole.is_none() || self.is_whole()), "rows {from} to {to}");
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return };
        let input = &self.inputs[0];
        let stride = last.end() - first.channel;
        let (ring, sums) = self.scratch(place);
        let ring = ring.room(self.kept * input.width * stride);
        let ring = |y: usize| ring.wrapping_add(y % self.kept * input.width * stride);
        // Rows of the intermediate map that have been computed, in runs that are computed at once.
        let mut done = (from * self.stride).saturating_sub(1) / self.at_once * self.at_once;
        for y in from..to {
            let centre = y * self.stride;
            while done < (centre + 2).min(input.height) {
                let rows = self.at_once.min(input.height - done);
                let (pixel, pixels) = (done * input.width, rows * input.width);
                // SAFETY: the inputs have these pixels. The ring, which is scratch of this part, has room for as many
                // rows of the group, and the scratch after it for the quarters of these rows. All channels are
                // segments, in packed order.
                unsafe {
                    let own = match whole {
                        Some(_) => None,
                        None => self.blocks.quarters(place, segments, pixel, pixels, sums),
                    };
                    let (quarters, out) = (whole.or(own.as_ref()), ring(done));
                    self.blocks.product(place, group, segments, quarters, pixel, pixels, out, stride, self.clamp);
                }
                done += rows;
            }
            let row = |y: Option<usize>| match y.filter(|y| *y < input.height) {
                Some(y) => ring(y).cast_const(),
                None => place.weights.at(self.zeros, 0, input.width * stride),
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
            // SAFETY: the rows of the ring and the row of zeros are as long as the map is wide, for all channels of the
            // group. The row of the output belongs to this part in these channels, and overlaps no scratch.
            unsafe { self.taps.run(place, first.channel, stride, call) }
        }
    }

    /// Bytes of weights per group.
    fn group_bytes(&self) -> usize {
        if self.blocks.have_pairs() && !self.is_whole() { PAIRED_BYTES } else { GROUP_BYTES }
    }

    /// Whether the whole intermediate map is computed at once.
    fn is_whole(&self) -> bool {
        self.at_once == self.inputs[0].height
    }

    /// The ring, and the scratch after it for sums.
    fn scratch(&self, place: &Place<'_>) -> (Scratch, Scratch) {
        place.scratch.split(self.ring)
    }
}

impl Pass for FusedPass {
    fn algorithm(&self) -> &'static str {
        "pointwise+depthwise"
    }

    fn needs(&self) -> Needs {
        Needs::of_channels(&self.inputs, &self.output, self.ring + self.sums)
    }

    fn macs(&self) -> u64 {
        let between = self.blocks.macs(self.inputs[0].pixels());
        between.saturating_add(count(&[self.output.pixels(), 9, self.output.padded_channels()]))
    }

    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize) {
        let count = self.blocks.blocks.len();
        // If the whole map is computed at once, its rows are not shared.
        let by_rows = self.output.pixels() >= PIXELS_TO_SHARE && !self.is_whole();
        let (rows, blocks) = if by_rows {
            (share(self.output.height, part, parts), 0..count)
        } else {
            (0..self.output.height, share(count, part, parts))
        };
        let segments = self.segments(place);
        let pixels = self.inputs[0].pixels();
        let (_, sums) = self.scratch(place);
        // SAFETY: the inputs have all pixels, all of their channels are segments, in packed order, and the scratch
        // belongs to this part.
        let whole = self.is_whole().then(|| unsafe { self.blocks.quarters(place, &segments, 0, pixels, sums) });
        let whole = whole.flatten();
        for group in self.blocks.groups(blocks, self.group_bytes()) {
            // SAFETY: the rows or the blocks are this part's share, and the quarters are those of all pixels.
            unsafe { self.group(place, &segments, whole.as_ref(), group, rows.start, rows.end) }
        }
    }
}
