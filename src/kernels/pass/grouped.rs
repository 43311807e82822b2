//! Grouped convolution: one convolution after the other, on the channels of its groups.

use std::fmt::Debug;
use std::ops::Range;

use super::convolution::{ConvPass, Convolution, PIXELS_TO_SHARE};
use super::map::{Map, check_channels};
use super::place::Place;
use super::step::{Needs, Pass};
use crate::kernels::error::{PassError, check};
use crate::kernels::memory::Weights;
use crate::kernels::parts::share;
use crate::kernels::size::{UNIT, product};
use crate::kernels::table::Kernels;

/// Number of groups that a convolution processes together, each with `out` output channels, so that it writes whole
/// units. Weights between different groups are zero.
fn together(out: usize) -> usize {
    let out = out.max(1);
    // Units are a power of 2.
    UNIT >> out.trailing_zeros().min(UNIT.trailing_zeros())
}

/// See the module.
#[derive(Debug)]
pub(in crate::kernels) struct GroupedPass {
    /// The convolutions, which write disjoint units and read nothing that another one writes.
    convolutions: Vec<ConvPass>,
    output: Map,
}

impl GroupedPass {
    /// Values of weights of `convolution` in `groups`, and of what they are packed from: more if groups are processed
    /// together. `None` if it overflows.
    pub(in crate::kernels) fn weights(convolution: &Convolution<'_>, groups: usize) -> Option<usize> {
        let out = convolution.bias.len().checked_div(groups)?;
        convolution.weight.len().checked_mul(together(out).min(groups))
    }

    pub(in crate::kernels) fn new(
        kernels: Kernels,
        weights: &mut Weights,
        length: usize,
        input: Map,
        (convolution, groups): (&Convolution<'_>, usize),
        output: Map,
    ) -> Result<Self, PassError> {
        check_channels(&[input], &output, length)?;
        let whole = |channels: usize| channels > 0 && channels.checked_rem(groups) == Some(0);
        check(whole(input.channels) && whole(output.channels), "the groups are not equal")?;
        let [read, out] = [input, output].map(|map| map.channels / groups);
        let [rows, columns] = convolution.kernel;
        let each = product(&[read, rows, columns])?;
        check(convolution.weight.len() == product(&[output.channels, each])?, "the weight has another length")?;
        check(convolution.bias.len() == output.channels, "the bias has another length")?;
        let (mut convolutions, mut dense) = (Vec::new(), Vec::new());
        for first in (0..groups).step_by(together(out)) {
            let taken = first..(first + together(out)).min(groups);
            let outputs = taken.start * out..taken.end * out;
            spread(&mut dense, &convolution.weight[outputs.start * each..outputs.end * each], out * each, each)?;
            let layer = Convolution { weight: &dense, bias: &convolution.bias[outputs.clone()], ..*convolution };
            let from = channels(&input, taken.start * read..taken.end * read);
            // Its first output begins a unit, so the units that it writes are its own: no others begin in its last one,
            // and a pixel has room for whole units.
            let to = channels(&output, outputs);
            convolutions.push(ConvPass::new(kernels, weights, length, &[from], &layer, to)?);
        }
        Ok(Self { convolutions, output })
    }
}

/// Some channels of a map.
fn channels(map: &Map, range: Range<usize>) -> Map {
    Map { offset: map.offset + range.start, channels: range.len(), ..*map }
}

/// The weights of several groups, `group` values each, as those of a single convolution of all their channels: each
/// output reads `each` values of its own group, and the others times 0.
fn spread(dense: &mut Vec<f32>, weights: &[f32], group: usize, each: usize) -> Result<(), PassError> {
    dense.clear();
    let groups = weights.len().checked_div(group).unwrap_or(0);
    dense.reserve(product(&[weights.len(), groups])?);
    for (index, weights) in weights.chunks_exact(group.max(1)).enumerate() {
        for weights in weights.chunks_exact(each.max(1)) {
            dense.extend((0..index * each).map(|_| 0.0));
            dense.extend_from_slice(weights);
            dense.extend((0..(groups - 1 - index) * each).map(|_| 0.0));
        }
    }
    Ok(())
}

impl Pass for GroupedPass {
    fn algorithm(&self) -> &'static str {
        "grouped"
    }

    fn needs(&self) -> Needs {
        // The convolutions run one after the other, in the same scratch.
        let none = Needs { values: 0, scratch: 0 };
        self.convolutions.iter().map(Pass::needs).fold(none, Needs::max)
    }

    fn macs(&self) -> u64 {
        self.convolutions.iter().fold(0, |sum, convolution| sum.saturating_add(convolution.macs()))
    }

    unsafe fn run(&self, place: &Place<'_>, part: usize, parts: usize) {
        // With few pixels, parts share the convolutions, so that weights are read once.
        let by_pixels = self.output.pixels() >= PIXELS_TO_SHARE;
        let count = self.convolutions.len();
        let convolutions = if by_pixels { 0..count } else { share(count, part, parts) };
        let (part, parts) = if by_pixels { (part, parts) } else { (0, 1) };
        for convolution in &self.convolutions[convolutions] {
            // SAFETY: the place is that of this pass, to whose program the convolution belongs: its maps are channels
            // of maps that lie in memory. It writes only its own units, which no part shares with another: a
            // convolution is run by one part, or by all of them with the same `parts`.
            unsafe { convolution.run(place, part, parts) }
        }
    }
}
