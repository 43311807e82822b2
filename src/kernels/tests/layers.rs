//! Convolutions: pointwise and direct, over one map and several.

use super::{Memory, Noise, Plain, Sum, kernels, windows};
use crate::kernels::UNIT;
use crate::kernels::memory::Weights;
use crate::kernels::pass::{Clamp, ConvPass, Convolution, GroupedPass, Map, Pass};

/// The layer to compute.
#[derive(Debug, Clone, Copy)]
struct Case<'a> {
    size: [usize; 2],
    inputs: &'a [usize],
    channels: usize,
    groups: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    before: [usize; 2],
    after: [usize; 2],
    /// Values by which pixels are wider than their channels padded to units.
    extra: usize,
    /// Whether pixels of the input are not padded.
    is_dense: bool,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            size: [7, 7],
            inputs: &[8],
            channels: 8,
            groups: 1,
            kernel: [1, 1],
            stride: [1, 1],
            before: [0, 0],
            after: [0, 0],
            extra: 0,
            is_dense: false,
        }
    }
}

impl Case<'_> {
    fn check(&self, algorithm: &str) {
        let Self { size: [height, width], inputs, channels, groups, kernel, stride, before, .. } = *self;
        let mut noise = Noise((height * 1000 + width * 10 + channels) as u32);
        let maps: Vec<Plain> = inputs.iter().map(|count| Plain::noise(height, width, *count, &mut noise)).collect();
        // Channels of a group.
        let (depth, out) = (inputs.iter().sum::<usize>() / groups, channels / groups);
        let taps = kernel[0] * kernel[1];
        let (weight, bias) = (noise.values(channels * depth * taps), noise.values(channels));
        let clamp = if channels.is_multiple_of(2) { Clamp::NONE } else { Clamp::RELU };
        let [top, left] = before;
        let layer = Convolution { kernel, stride, top, left, weight: &weight, bias: &bias, clamp };
        let [out_height, out_width] = windows(self.size, kernel, stride, before, self.after);
        let mut expected = Vec::new();
        for pixel in 0..out_height * out_width {
            let (y, x) = (pixel / out_width * stride[0], pixel % out_width * stride[1]);
            for channel in 0..channels {
                let mut sum = Sum::of(bias[channel]);
                let mut first = 0;
                for map in &maps {
                    for (tap, k) in (0..taps).flat_map(|tap| (0..map.channels).map(move |k| (tap, k))) {
                        let own = (first + k).checked_sub(channel / out * depth).filter(|own| *own < depth);
                        let value = map.at(y + tap / kernel[1], x + tap % kernel[1], before, k);
                        if let (Some(own), Some(value)) = (own, value) {
                            sum.add(value, weight[(channel * depth + own) * taps + tap]);
                        }
                    }
                    first += map.channels;
                }
                expected.push(sum);
            }
        }
        for kernels in kernels() {
            let mut memory = Memory::new();
            let put = |map: &Plain| {
                if self.is_dense {
                    let offset = memory.length();
                    memory.values.extend(&map.values);
                    // The value right after the last channel is NaN.
                    memory.values.push(f32::NAN);
                    return Map { offset, height, width, channels: map.channels, stride: map.channels };
                }
                memory.put(map, self.extra)
            };
            let from: Vec<Map> = maps.iter().map(put).collect();
            let output = memory.room(out_height, out_width, channels, self.extra);
            let mut weights = Weights::new();
            let length = memory.length();
            let result = if algorithm == "grouped" {
                let pass = GroupedPass::new(kernels, &mut weights, length, from[0], (&layer, groups), output).unwrap();
                memory.run(kernels, &weights, &pass, &output)
            } else {
                let pass = ConvPass::new(kernels, &mut weights, length, &from, &layer, output).unwrap();
                assert_eq!(pass.algorithm(), algorithm, "{self:?}");
                memory.run(kernels, &weights, &pass, &output)
            };
            for (index, (value, sum)) in result.values.iter().zip(&expected).enumerate() {
                sum.check(*value, clamp, (kernels.isa(), self, index / channels, index % channels));
            }
        }
    }
}

#[test]
fn pointwise() {
    for channels in [1, 3, 4, 8, 9, 16, 20, 26, 40, 52, 82, 132] {
        Case { channels, inputs: &[26, 16, 3], ..Case::default() }.check("pointwise");
    }
    for size in [[1, 1], [1, 17], [28, 28], [30, 29], [13, 3]] {
        Case { size, channels: 20, inputs: &[5, 10], extra: UNIT, ..Case::default() }.check("pointwise");
    }
    Case { inputs: &[1, 2, 3, 4, 5, 6, 7, 8, 9], channels: 24, is_dense: true, ..Case::default() }.check("pointwise");
    Case { size: [1, 1], inputs: &[1000], channels: 37, ..Case::default() }.check("pointwise");
    Case { size: [7, 7], inputs: &[600], channels: 300, ..Case::default() }.check("pointwise");
}

#[test]
fn direct_with_any_kernel() {
    for kernel in 1..=7 {
        for stride in 1..=3 {
            for padding in 0..kernel {
                let direct = kernel > 1 || stride > 1;
                let case = Case {
                    size: [9, 11],
                    inputs: &[3],
                    channels: 5,
                    kernel: [kernel; 2],
                    stride: [stride; 2],
                    before: [padding; 2],
                    after: [padding; 2],
                    ..Case::default()
                };
                case.check(if direct { "direct" } else { "pointwise" });
                Case { is_dense: true, inputs: &[4], ..case }.check(if direct { "direct" } else { "pointwise" });
            }
        }
    }
}

#[test]
fn direct_with_uneven_geometry() {
    let case = Case {
        size: [8, 13],
        inputs: &[6, 1, 10],
        channels: 20,
        kernel: [3, 3],
        before: [1; 2],
        after: [1; 2],
        extra: UNIT,
        ..Case::default()
    };
    case.check("direct");
    Case { kernel: [2, 5], stride: [3, 2], before: [1, 0], after: [0, 4], ..case }.check("direct");
    Case { kernel: [7, 1], stride: [1, 3], before: [6, 0], after: [6, 0], ..case }.check("direct");
    Case { size: [1, 1], kernel: [3, 3], ..case }.check("direct");
    Case { size: [2, 1], kernel: [5, 5], before: [4, 4], after: [4, 4], ..case }.check("direct");
    Case { stride: [2, 2], after: [0, 0], ..case }.check("direct");
    // Parts share the rows of a map of this size.
    Case { size: [30, 31], inputs: &[3], is_dense: true, ..case }.check("direct");
}

#[test]
fn in_groups() {
    let pairs = [(1, 1), (2, 1), (1, 2), (3, 5), (4, 4), (2, 6), (5, 8), (8, 16), (3, 12), (1, 40)];
    for ((read, out), groups) in pairs.into_iter().flat_map(|pair| [1, 2, 3, 8, 9].map(|groups| (pair, groups))) {
        let case = Case { inputs: &[read * groups], channels: out * groups, groups, extra: UNIT, ..Case::default() };
        case.check("grouped");
        Case { kernel: [3, 3], before: [1; 2], after: [1; 2], stride: [2, 1], extra: 0, ..case }.check("grouped");
        // Parts share the pixels of a map of this size.
        Case { size: [30, 31], kernel: [3, 2], before: [1; 2], is_dense: true, ..case }.check("grouped");
    }
}

#[test]
fn in_wide_groups() {
    // Each group is large enough for Strassen's products, which need scratch.
    let case = Case { inputs: &[512], channels: 256, groups: 2, ..Case::default() };
    case.check("grouped");
    // An odd number of pixels in several strips, which parts share; groups that are not whole units.
    Case { size: [29, 28], inputs: &[504], channels: 272, ..case }.check("grouped");
    Case { size: [9, 8], inputs: &[756], channels: 393, groups: 3, ..case }.check("grouped");
}

#[test]
fn more_parts_than_pixels() {
    // Parts share the pixels of a map of this size.
    let (input, mut noise) = (Plain::noise(28, 28, 3, &mut Noise(1)), Noise(2));
    let (weight, bias) = (noise.values(8 * 3), noise.values(8));
    let clamp = Clamp::NONE;
    let layer = Convolution { kernel: [1, 1], stride: [1, 1], top: 0, left: 0, weight: &weight, bias: &bias, clamp };
    for kernels in kernels() {
        let mut memory = Memory::new();
        let (from, output) = (memory.put(&input, 0), memory.room(28, 28, 8, 0));
        let mut weights = Weights::new();
        let pass = ConvPass::new(kernels, &mut weights, memory.length(), &[from], &layer, output).unwrap();
        memory.run_in(&[784, 785, 1000], 0.0, kernels, &weights, &pass, &output);
    }
}
