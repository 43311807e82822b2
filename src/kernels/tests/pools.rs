//! Pools: windows and whole maps.

use super::guarded::Guarded;
use super::{Memory, Noise, Plain, Sum, kernels, windows};
use crate::kernels::UNIT;
use crate::kernels::memory::Weights;
use crate::kernels::pass::{AveragePass, Clamp, Pool, PoolPass, Reduce};
use crate::kernels::tile::Largest;

fn check(
    size: [usize; 2],
    channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    before: [usize; 2],
    after: [usize; 2],
) {
    let input = Plain::noise(size[0], size[1], channels, &mut Noise(channels as u32));
    let [height, width] = windows(size, kernel, stride, before, after);
    for reduce in [Reduce::Max, Reduce::Mean, Reduce::MeanWithPadding] {
        let pool = Pool { kernel, stride, top: before[0], left: before[1], reduce };
        for kernels in kernels() {
            let mut memory = Memory::new();
            let from = memory.put(&input, UNIT);
            let output = memory.room(height, width, channels, 0);
            let pass = PoolPass::new(memory.length(), from, pool, output).unwrap();
            let result = memory.run(kernels, &Weights::new(), &pass, &output);
            for (index, value) in result.values.iter().enumerate() {
                let (pixel, channel) = (index / channels, index % channels);
                let (y, x) = (pixel / width * stride[0], pixel % width * stride[1]);
                let taps = (0..kernel[0] * kernel[1]).map(|tap| (y + tap / kernel[1], x + tap % kernel[1]));
                let values: Vec<f32> = taps.filter_map(|(y, x)| input.at(y, x, before, channel)).collect();
                let count = match reduce {
                    Reduce::Max => {
                        assert_eq!(Some(*value), values.iter().copied().reduce(f32::max));
                        continue;
                    }
                    Reduce::Mean => values.len(),
                    Reduce::MeanWithPadding => kernel[0] * kernel[1],
                };
                let mut sum = Sum::default();
                values.iter().for_each(|value| sum.add(*value, 1.0 / count as f32));
                sum.check(*value, Clamp::NONE, (pool, size, index));
            }
        }
    }
}

#[test]
fn windows_of_any_kind() {
    for kernel in 1..=4 {
        for stride in 1..=3 {
            for padding in 0..kernel {
                check([7, 9], 5, [kernel; 2], [stride; 2], [padding; 2], [padding; 2]);
            }
        }
    }
    check([6, 5], 16, [2, 3], [2, 1], [0, 1], [1, 0]);
    check([1, 1], 9, [3, 3], [2, 2], [1, 1], [1, 1]);
}

#[test]
fn windows_end_where_they_end() {
    for kernels in kernels() {
        for lanes in (1..=8).map(|steps| steps * kernels.step()) {
            for (height, width, at_end) in [(1, 1, false), (1, 1, true), (3, 2, false), (2, 3, true)] {
                let guard = |values: &[f32]| if at_end { Guarded::behind(values) } else { Guarded::before(values) };
                let (stride, row_stride) = (lanes + 3, 4 * (lanes + 3) + 1);
                let length = (height - 1) * row_stride + (width - 1) * stride + lanes;
                let input = guard(&Noise(lanes as u32).values(length));
                let out = guard(&vec![0.0; lanes]);
                let (from, to) = (input.as_ptr().cast_const(), out.as_ptr());
                let call = Largest { input: from, row_stride, stride, height, width, lanes, out: to };
                // SAFETY: the window and the result are as long as the kernel requires.
                unsafe { kernels.largest(&call) }
                for (lane, value) in out.values().iter().enumerate() {
                    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| y * row_stride + x * stride));
                    let expected = pixels.map(|pixel| input.values()[pixel + lane]).reduce(f32::max);
                    assert_eq!(Some(*value), expected, "{} {lanes} {height} {width}", kernels.isa());
                }
            }
        }
    }
}

#[test]
fn means_of_all_pixels() {
    for (size, channels) in [([1, 1], 1), ([7, 7], 20), ([3, 5], 64), ([14, 2], 9)] {
        let input = Plain::noise(size[0], size[1], channels, &mut Noise(3));
        for kernels in kernels() {
            let mut memory = Memory::new();
            let from = memory.put(&input, 0);
            let output = memory.room(1, 1, channels, 0);
            let pass = AveragePass::new(memory.length(), from, output).unwrap();
            let result = memory.run(kernels, &Weights::new(), &pass, &output);
            for (channel, value) in result.values.iter().enumerate() {
                let mut sum = Sum::default();
                let values = input.values.iter().skip(channel).step_by(channels);
                values.for_each(|value| sum.add(*value, 1.0 / (size[0] * size[1]) as f32));
                sum.check(*value, Clamp::NONE, (size, channels, channel));
            }
        }
    }
}
