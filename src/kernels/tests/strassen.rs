//! Strassen's sums, at the edges of what they may touch, and the passes that use them.

use super::guarded::Guarded;
use super::{Memory, Noise, Plain, Sum, kernels};
use crate::kernels::Kernels;
use crate::kernels::memory::Weights;
use crate::kernels::pass::{Clamp, ConvPass, Convolution, Map, Pass};
use crate::kernels::tile::{StrassenInput, StrassenOutput};

/// Content between the rows of an output, which must stay.
const GAP: f32 = 12345.0;

/// The sums for halves of `channels` channels and `rows` rows, in memory that ends, or begins, where they do.
fn input(kernels: Kernels, channels: usize, rows: usize, at_end: bool) {
    let guard = |values: &[f32]| if at_end { Guarded::behind(values) } else { Guarded::before(values) };
    let mut noise = Noise((rows * 100 + channels) as u32);
    let (stride, out_stride) = (2 * channels + 3, channels + 2);
    let half = (rows - 1) * stride + 2 * channels;
    let (upper, lower) = (guard(&noise.values(half)), guard(&noise.values(half)));
    let plane = rows * out_stride + 5;
    let out = guard(&vec![GAP; 3 * plane + (rows - 1) * out_stride + channels]);
    let call = StrassenInput {
        upper: upper.as_ptr(),
        lower: lower.as_ptr(),
        stride,
        rows,
        channels,
        out: out.as_ptr(),
        out_stride,
        plane,
    };
    // SAFETY: both halves and the sums are as long as the kernel requires.
    unsafe { kernels.strassen_input(&call) }
    let mut expected = vec![GAP; out.values().len()];
    for (row, channel) in (0..rows).flat_map(|row| (0..channels).map(move |channel| (row, channel))) {
        let at = |half: &Guarded, channel: usize| half.values()[row * stride + channel];
        let (a11, a12) = (at(&upper, channel), at(&upper, channels + channel));
        let (a21, a22) = (at(&lower, channel), at(&lower, channels + channel));
        let sums = [a21 + a22, a21 + a22 - a11, a11 - a21, a12 - (a21 + a22 - a11)];
        for (index, sum) in sums.into_iter().enumerate() {
            expected[index * plane + row * out_stride + channel] = sum;
        }
    }
    assert_eq!(out.values(), expected, "{} {channels} {rows}", kernels.isa());
}

#[test]
fn sums_of_any_number_of_channels() {
    for kernels in kernels() {
        for channels in (1..=40).chain([64, 101]) {
            for rows in [1, 2, 5] {
                for at_end in [false, true] {
                    input(kernels, channels, rows, at_end);
                }
            }
        }
    }
}

/// Combines products of `width` channels and `rows` rows, in memory that ends, or begins, where they do.
fn output(kernels: Kernels, width: usize, rows: usize, clamp: Clamp, at_end: bool) {
    let guard = |values: &[f32]| if at_end { Guarded::behind(values) } else { Guarded::before(values) };
    let mut noise = Noise((rows * 100 + width) as u32);
    let [product, sum, other] = [(); 3].map(|()| noise.values(rows * width));
    let [at_product, at_sum, at_other] = [&product, &sum, &other].map(|values| guard(values));
    let out_stride = width + 3;
    let out = guard(&vec![GAP; (rows - 1) * out_stride + width]);
    let call = StrassenOutput {
        product: at_product.as_ptr(),
        sum: at_sum.as_ptr(),
        other: at_other.as_ptr(),
        rows,
        width,
        out: out.as_ptr(),
        out_stride,
        low: clamp.low,
        high: clamp.high,
    };
    // SAFETY: all are as long as the kernel requires.
    unsafe { kernels.strassen_output(&call) }
    for (index, value) in out.values().iter().enumerate() {
        let (row, channel) = (index / out_stride, index % out_stride);
        let at = row * width + channel;
        let expected = if channel < width { (sum[at] + product[at]).clamp(clamp.low, clamp.high) } else { GAP };
        assert_eq!(*value, expected, "{} {width} {rows} {index}", kernels.isa());
    }
    let expected: Vec<f32> = other.iter().zip(&product).map(|(other, product)| other + product).collect();
    assert_eq!(at_other.values(), expected);
    assert_eq!((at_product.values(), at_sum.values()), (&product[..], &sum[..]));
}

#[test]
fn products_of_any_width_are_put_together() {
    for kernels in kernels() {
        for steps in 1..=kernels.most_steps() {
            for rows in [1, 2, 7] {
                for clamp in [Clamp::NONE, Clamp::RELU6, Clamp { low: -0.25, high: 0.5 }] {
                    output(kernels, steps * kernels.step(), rows, clamp, false);
                    output(kernels, steps * kernels.step(), rows, clamp, true);
                }
            }
        }
    }
}

/// A pointwise convolution that is large enough for pairs.
fn pointwise(size: [usize; 2], inputs: &[usize], channels: usize, clamp: Clamp) {
    let [height, width] = size;
    let mut noise = Noise((height * 1000 + width * 10 + channels) as u32);
    let maps: Vec<Plain> = inputs.iter().map(|count| Plain::noise(height, width, *count, &mut noise)).collect();
    let depth: usize = inputs.iter().sum();
    let (weight, bias) = (noise.values(channels * depth), noise.values(channels));
    let layer = Convolution { kernel: [1, 1], stride: [1, 1], top: 0, left: 0, weight: &weight, bias: &bias, clamp };
    for kernels in kernels() {
        let mut memory = Memory::new();
        let from: Vec<Map> = maps.iter().map(|map| memory.put(map, 0)).collect();
        let output = memory.room(height, width, channels, 8);
        let mut weights = Weights::new();
        let pass = ConvPass::new(kernels, &mut weights, memory.length(), &from, &layer, output).unwrap();
        let all = (height * width * depth * channels) as u64;
        assert!(pass.macs() < all * 15 / 16, "{} {size:?} {inputs:?} {channels} has no pairs", kernels.isa());
        let result = memory.run(kernels, &weights, &pass, &output);
        // Every seventh value, and the last: double precision is slow.
        let last = result.values.len() - 1;
        for index in (0..last).step_by(7).chain([last]) {
            let (pixel, channel) = (index / channels, index % channels);
            let mut sum = Sum::of(bias[channel]);
            let values = maps.iter().flat_map(|map| &map.values[pixel * map.channels..][..map.channels]);
            values.enumerate().for_each(|(k, value)| sum.add(*value, weight[channel * depth + k]));
            sum.check(result.values[index], clamp, (kernels.isa(), size, inputs, channels, pixel, channel));
        }
    }
}

#[test]
fn pairs_of_blocks() {
    pointwise([14, 14], &[256], 160, Clamp::NONE);
    // An odd number of pixels, several segments, channels that do not fill a block.
    pointwise([15, 15], &[128, 30, 2, 100], 131, Clamp::RELU);
    // Halves of segments that match the width of no vector.
    pointwise([14, 15], &[18; 14], 136, Clamp::RELU6);
    // Several strips, which parts share.
    pointwise([29, 28], &[252], 140, Clamp::RELU6);
}
