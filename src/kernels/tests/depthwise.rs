//! Depthwise kernels and passes: rows of every length, unusual geometry, and fused with the product before them.

use super::guarded::Guarded;
use super::{Memory, Noise, Plain, Sum, kernels, windows};
use crate::kernels::memory::Weights;
use crate::kernels::pass::{Clamp, Convolution, Depthwise, DepthwisePass, FusedPass, Map};
use crate::kernels::tile;
use crate::kernels::{Kernels, UNIT};

/// A row computed by a kernel, in memory that ends, or begins, where the row does.
fn row(kernels: Kernels, steps: usize, stride: usize, width: usize, clamp: Clamp, at_end: bool) {
    let guard = |values: &[f32]| if at_end { Guarded::behind(values) } else { Guarded::before(values) };
    let lanes = steps * kernels.step();
    let mut noise = Noise((width * 10 + lanes) as u32);
    let (in_stride, out_stride, weight_stride) = (lanes + 8, lanes + 16, lanes + 4);
    let out_width = (width - 1) / stride + 1;
    let rows: [Guarded; 3] = std::array::from_fn(|_| guard(&noise.values((width - 1) * in_stride + lanes)));
    let weights = guard(&noise.values(9 * weight_stride + lanes));
    let out = guard(&vec![0.0; (out_width - 1) * out_stride + lanes]);
    let call = tile::Depthwise {
        rows: [0, 1, 2].map(|index: usize| rows[index].as_ptr().cast_const()),
        in_stride,
        in_width: width,
        out: out.as_ptr(),
        out_stride,
        out_width,
        weights: weights.as_ptr(),
        weight_stride,
        low: clamp.low,
        high: clamp.high,
    };
    // SAFETY: rows, weights and output are as long as the kernel requires.
    unsafe { kernels.depthwise(steps, stride, &call) }
    for x in 0..out_width {
        for lane in 0..lanes {
            let mut sum = Sum::of(weights.values()[9 * weight_stride + lane]);
            for tap in 0..9 {
                let Some(column) = (x * stride + tap % 3).checked_sub(1).filter(|x| *x < width) else { continue };
                sum.add(
                    rows[tap / 3].values()[column * in_stride + lane],
                    weights.values()[tap * weight_stride + lane],
                );
            }
            sum.check(out.values()[x * out_stride + lane], clamp, (kernels.isa(), lanes, stride, width, x, lane));
        }
    }
}

#[test]
fn rows_of_any_length() {
    for kernels in kernels() {
        for steps in 1..=kernels.most_depthwise_steps() {
            for (stride, width) in (1..=17).flat_map(|width| [(1, width), (2, width)]) {
                for (clamp, at_end) in [(Clamp::NONE, false), (Clamp::NONE, true), (Clamp::RELU6, true)] {
                    row(kernels, steps, stride, width, clamp, at_end);
                }
            }
        }
    }
}

/// Geometry of a depthwise convolution: kernel, stride, padding before and after.
#[derive(Debug, Clone, Copy)]
struct Geometry {
    kernel: [usize; 2],
    stride: [usize; 2],
    before: [usize; 2],
    after: [usize; 2],
}

impl Geometry {
    fn regular(stride: usize) -> Self {
        Self { kernel: [3, 3], stride: [stride; 2], before: [1; 2], after: [1; 2] }
    }

    fn layer<'a>(&self, weight: &'a [f32], bias: &'a [f32], clamp: Clamp) -> Depthwise<'a> {
        let Self { kernel, stride, before: [top, left], .. } = *self;
        Depthwise { kernel, stride, top, left, weight, bias, clamp }
    }

    /// The value of an output before clamping.
    fn sum(&self, input: &Plain, weight: &[f32], bias: &[f32], [y, x, channel]: [usize; 3]) -> Sum {
        let mut sum = Sum::of(bias[channel]);
        let taps = self.kernel[0] * self.kernel[1];
        for tap in 0..taps {
            let at = [y * self.stride[0] + tap / self.kernel[1], x * self.stride[1] + tap % self.kernel[1]];
            if let Some(value) = input.at(at[0], at[1], self.before, channel) {
                sum.add(value, weight[channel * taps + tap]);
            }
        }
        sum
    }
}

/// All values of a map: row, column, channel.
fn places(map: &Plain) -> impl Iterator<Item = ([usize; 3], f32)> {
    let Plain { width, channels, .. } = *map;
    let place = move |index: usize| [index / channels / width, index / channels % width, index % channels];
    map.values.iter().enumerate().map(move |(index, value)| (place(index), *value))
}

fn check(size: [usize; 2], channels: usize, geometry: Geometry, clamp: Clamp, algorithm: bool) {
    let mut noise = Noise((size[0] * 1000 + size[1] * 10 + channels) as u32);
    let input = Plain::noise(size[0], size[1], channels, &mut noise);
    let weight = noise.values(channels * geometry.kernel[0] * geometry.kernel[1]);
    let bias = noise.values(channels);
    let layer = geometry.layer(&weight, &bias, clamp);
    let [height, width] = windows(size, geometry.kernel, geometry.stride, geometry.before, geometry.after);
    assert_eq!(layer.is_regular(size, [height, width]), algorithm);
    for kernels in kernels() {
        let mut memory = Memory::new();
        let from = memory.put(&input, UNIT);
        let output = memory.room(height, width, channels, UNIT);
        let mut weights = Weights::new();
        let pass = DepthwisePass::new(&mut weights, memory.length(), from, &layer, output).unwrap();
        let result = memory.run(kernels, &weights, &pass, &output);
        for (at, value) in places(&result) {
            let sum = geometry.sum(&input, &weight, &bias, at);
            sum.check(value, clamp, (kernels.isa(), size, channels, geometry, at));
        }
    }
}

#[test]
fn regular_passes() {
    for channels in [1, 4, 5, 8, 12, 16, 20, 26, 34, 40] {
        for stride in [1, 2] {
            check([5, 6], channels, Geometry::regular(stride), Clamp::NONE, true);
        }
    }
    for size in 1..=17 {
        for stride in [1, 2] {
            check([size, 18 - size], 12, Geometry::regular(stride), Clamp::RELU6, true);
        }
    }
}

#[test]
fn plain_passes() {
    let all = [
        Geometry { kernel: [1, 1], stride: [1, 1], before: [0; 2], after: [0; 2] },
        Geometry { kernel: [3, 3], stride: [1, 1], before: [0; 2], after: [0; 2] },
        Geometry { kernel: [3, 3], stride: [2, 1], before: [1; 2], after: [1; 2] },
        Geometry { kernel: [3, 3], stride: [3, 3], before: [1; 2], after: [1; 2] },
        Geometry { kernel: [5, 5], stride: [1, 1], before: [2; 2], after: [2; 2] },
        Geometry { kernel: [2, 7], stride: [1, 2], before: [0, 3], after: [1, 3] },
    ];
    for geometry in all {
        for channels in [1, 8, 13] {
            check([9, 8], channels, geometry, Clamp { low: -1.0, high: 1.0 }, false);
        }
    }
}

/// A product followed by a regular depthwise convolution, as one pass.
fn fused(size: [usize; 2], inputs: &[usize], channels: usize, stride: usize) {
    let mut noise = Noise((size[0] * 1000 + size[1] * 10 + channels) as u32);
    let [height, width] = size;
    let maps: Vec<Plain> = inputs.iter().map(|count| Plain::noise(height, width, *count, &mut noise)).collect();
    let depth: usize = inputs.iter().sum();
    let (weight, bias) = (noise.values(channels * depth), noise.values(channels));
    let clamp = Clamp::RELU6;
    let first = Convolution { kernel: [1, 1], stride: [1, 1], top: 0, left: 0, weight: &weight, bias: &bias, clamp };
    // The intermediate map, from double precision rounded once.
    let mut between = Plain { height, width, channels, values: Vec::new() };
    for pixel in 0..height * width {
        for channel in 0..channels {
            let mut sum = Sum::of(bias[channel]);
            let values = maps.iter().flat_map(|map| &map.values[pixel * map.channels..][..map.channels]);
            values.enumerate().for_each(|(k, value)| sum.add(*value, weight[channel * depth + k]));
            between.values.push(sum.value.clamp(0.0, 6.0) as f32);
        }
    }
    let geometry = Geometry::regular(stride);
    let (taps, shift) = (noise.values(channels * 9), noise.values(channels));
    let second = geometry.layer(&taps, &shift, Clamp::NONE);
    let [out_height, out_width] = size.map(|length| length.div_ceil(stride));
    for kernels in kernels() {
        let mut memory = Memory::new();
        let from: Vec<Map> = maps.iter().map(|map| memory.put(map, 0)).collect();
        let output = memory.room(out_height, out_width, channels, 0);
        let mut weights = Weights::new();
        let length = memory.length();
        let pass = FusedPass::new(kernels, &mut weights, length, &from, &first, &second, output).unwrap();
        let result = memory.run(kernels, &weights, &pass, &output);
        for (at, value) in places(&result) {
            let mut sum = geometry.sum(&between, &taps, &shift, at);
            // The errors of the intermediate values pass through nine taps.
            sum.size += 9.0 * (depth as f64).sqrt();
            sum.check(value, Clamp::NONE, (kernels.isa(), size, inputs, channels, stride, at));
        }
    }
}

#[test]
fn fused_passes_of_any_size() {
    for size in (1..=20).chain([28]) {
        for stride in [1, 2] {
            fused([size, size], &[5, 8], 20, stride);
            fused([size, 21 - size.min(20)], &[6], 26, stride);
        }
    }
    for stride in [1, 2] {
        fused([56, 56], &[3, 4], 13, stride);
    }
}

#[test]
fn fused_passes_of_any_width() {
    for channels in [1, 4, 7, 8, 9, 16, 20, 24, 28, 40, 52, 56, 72, 82] {
        fused([6, 7], &[4, 3], channels, 1);
        fused([7, 29], &[9], channels, 2);
    }
}

#[test]
fn fused_passes_in_several_groups() {
    // More weights than fit into a cache: the channels are computed in groups of different widths.
    fused([7, 7], &[400, 330], 410, 1);
    fused([4, 30], &[1100], 132, 2);
    // Parts share the rows of a map of this size.
    fused([30, 31], &[700], 164, 1);
}

#[test]
fn fused_passes_with_pairs() {
    // The whole map at once; several rows at once, which parts share or not; more than one group.
    fused([14, 14], &[300], 168, 1);
    fused([15, 15], &[100, 152], 134, 2);
    fused([28, 28], &[480], 200, 1);
    fused([30, 31], &[252], 130, 2);
    fused([9, 57], &[260], 130, 1);
}
