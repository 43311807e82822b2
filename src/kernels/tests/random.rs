//! Passes of random but reproducible shapes: in exactly the memory that they need, on every instruction set, in one
//! part and in several, and in more parts than there is work to share.

use super::{Memory, Noise, Plain, kernels, windows};
use crate::kernels::memory::Weights;
use crate::kernels::pass::{
    Affine, AffinePass, AveragePass, Clamp, ConvPass, Convolution, CopyPass, Depthwise, DepthwisePass, Function,
    FusedPass, GroupedPass, Kept, Map, Pass, Pool, PoolPass, Reduce, Scheme, Transform, TransformPass, WinogradPass,
};
use crate::kernels::{Kernels, UNIT};

/// Maximum difference between instruction sets, relative to the largest result: Winograd's transforms subtract values
/// that are some hundred times the result.
const ERROR: f32 = 1e-4;

/// Shapes of every kind of pass.
const SHAPES: u32 = 24;

struct Random(Noise);

impl Random {
    /// A number from `low` to `high`.
    fn from(&mut self, low: usize, high: usize) -> usize {
        let share = (self.0.next() + 1.0) / 2.0;
        (low + (share * (high - low + 1) as f32) as usize).min(high)
    }

    fn one_of(&mut self, values: &[usize]) -> usize {
        values[self.from(0, values.len() - 1)]
    }

    /// Rows and columns: few, or about as many as parts share.
    fn size(&mut self) -> [usize; 2] {
        if self.from(0, 5) == 0 {
            return [self.from(27, 31), self.from(26, 30)];
        }
        [self.from(1, 17), self.from(1, 17)]
    }

    fn clamp(&mut self) -> Clamp {
        [Clamp::NONE, Clamp::RELU, Clamp { low: -0.5, high: 0.75 }][self.from(0, 2)]
    }

    /// The numbers of parts in which a pass is run.
    fn parts(&mut self) -> [usize; 3] {
        [self.from(2, 5), self.from(6, 40), self.one_of(&[63, 300, 1000])]
    }

    /// Values next to the channels of a pixel.
    fn extra(&mut self) -> usize {
        UNIT * self.from(0, 2)
    }
}

/// Checks that all instruction sets give the same results for a kind of pass, with the same random numbers.
fn agree(kind: &str, test: impl Fn(Kernels, &mut Random) -> Plain) {
    for seed in 0..SHAPES {
        let results = kernels().map(|kernels| (kernels.isa(), test(kernels, &mut Random(Noise(seed * 7919 + 1)))));
        let results: Vec<_> = results.collect();
        let (_, expected) = &results[0];
        let largest = expected.values.iter().fold(1.0, |most: f32, value| most.max(value.abs()));
        for (isa, result) in &results {
            assert!(result.values.iter().all(|value| !value.is_nan()), "{kind} {seed} on {isa}: no number");
            let far = |(a, b): (&f32, &f32)| (a - b).abs() > ERROR * largest;
            assert!(!result.values.iter().zip(&expected.values).any(far), "{kind} {seed} on {isa} differs");
        }
    }
}

fn put(memory: &mut Memory, random: &mut Random, [height, width]: [usize; 2], channels: usize) -> Map {
    let plain = Plain::noise(height, width, channels, &mut random.0);
    let extra = random.extra();
    memory.put(&plain, extra)
}

/// Rows and columns of a kernel, of its stride, of the padding before the map, and of the output.
type Window = ([usize; 2], [usize; 2], [usize; 2], [usize; 2]);

/// A window for a map of this size; `None` if it has no output.
fn window(random: &mut Random, size: [usize; 2]) -> Option<Window> {
    let kernel = [random.from(1, 5), random.from(1, 5)];
    let stride = [random.from(1, 3), random.from(1, 3)];
    let [before, after] = [(); 2].map(|()| kernel.map(|length| random.from(0, length - 1)));
    let output = windows(size, kernel, stride, before, after);
    (!output.contains(&0)).then_some((kernel, stride, before, output))
}

/// Retries until there is a result.
fn until<T>(random: &mut Random, mut make: impl FnMut(&mut Random) -> Option<T>) -> T {
    loop {
        if let Some(made) = make(random) {
            return made;
        }
    }
}

#[test]
fn convolutions() {
    agree("convolution", |kernels, random| {
        let (size, mut memory) = (random.size(), Memory::new());
        let (kernel, stride, [top, left], [height, width]) = match random.from(0, 2) {
            0 => until(random, |random| window(random, size)),
            _ => ([1, 1], [1, 1], [0, 0], size),
        };
        let wide = random.from(0, 4) == 0 && size[0] * size[1] < 400 && kernel == [1, 1];
        let counts: Vec<usize> =
            (0..random.from(1, 3)).map(|_| random.from(1, 20)).chain(wide.then_some(250)).collect();
        let channels = if wide { random.from(120, 150) } else { random.from(1, 60) };
        // Strassen's halves are even.
        let even = |count: usize| if wide { count.next_multiple_of(2) } else { count };
        let inputs: Vec<Map> = counts.into_iter().map(|count| put(&mut memory, random, size, even(count))).collect();
        let output = memory.room(height, width, channels, random.extra());
        let depth: usize = inputs.iter().map(|map| map.channels).sum();
        let (weight, bias) = (random.0.values(channels * depth * kernel[0] * kernel[1]), random.0.values(channels));
        let layer = Convolution { kernel, stride, top, left, weight: &weight, bias: &bias, clamp: random.clamp() };
        let mut weights = Weights::new();
        let pass = ConvPass::new(kernels, &mut weights, memory.length(), &inputs, &layer, output).unwrap();
        memory.run_in(&random.parts(), ERROR, kernels, &weights, &pass, &output)
    });
}

#[test]
fn groups() {
    agree("groups", |kernels, random| {
        let (size, mut memory) = (random.size(), Memory::new());
        let (kernel, stride, [top, left], [height, width]) = match random.from(0, 1) {
            0 => until(random, |random| window(random, size)),
            _ => ([1, 1], [1, 1], [0, 0], size),
        };
        let groups = random.from(2, 6);
        let wide = kernel == [1, 1] && (49..200).contains(&(size[0] * size[1]));
        let [read, out] = if wide { [252, random.from(126, 136)] } else { [random.from(1, 9), random.from(1, 17)] };
        let groups = if wide { 2 } else { groups };
        let input = put(&mut memory, random, size, read * groups);
        let output = memory.room(height, width, out * groups, random.extra());
        let weight = random.0.values(out * groups * read * kernel[0] * kernel[1]);
        let bias = random.0.values(out * groups);
        let layer = Convolution { kernel, stride, top, left, weight: &weight, bias: &bias, clamp: random.clamp() };
        let mut weights = Weights::new();
        let length = memory.length();
        let pass = GroupedPass::new(kernels, &mut weights, length, input, (&layer, groups), output).unwrap();
        memory.run_in(&random.parts(), ERROR, kernels, &weights, &pass, &output)
    });
}

#[test]
fn depthwise_convolutions_alone_and_behind_others() {
    agree("depthwise", |kernels, random| {
        let (size, mut memory, mut weights) = (random.size(), Memory::new(), Weights::new());
        let regular = random.from(0, 2) > 0;
        let stride = random.from(1, 2);
        let (kernel, stride, [top, left], [height, width]) = if regular {
            ([3, 3], [stride; 2], [1, 1], size.map(|length| length.div_ceil(stride)))
        } else {
            until(random, |random| window(random, size))
        };
        let fused = regular && random.from(0, 1) == 0;
        let wide = fused && random.from(0, 2) == 0 && size[0] * size[1] < 400;
        let channels = if wide { random.from(128, 140) } else { random.from(1, 45) };
        let depth = if !fused {
            channels
        } else if wide {
            252
        } else {
            random.from(1, 30)
        };
        let input = put(&mut memory, random, size, depth);
        let output = memory.room(height, width, channels, random.extra());
        let (taps, shift) = (random.0.values(channels * kernel[0] * kernel[1]), random.0.values(channels));
        let clamp = random.clamp();
        let second = Depthwise { kernel, stride, top, left, weight: &taps, bias: &shift, clamp };
        let length = memory.length();
        if !fused {
            let pass = DepthwisePass::new(&mut weights, length, input, &second, output).unwrap();
            return memory.run_in(&random.parts(), ERROR, kernels, &weights, &pass, &output);
        }
        let (weight, bias) = (random.0.values(channels * depth), random.0.values(channels));
        let clamp = random.clamp();
        let first =
            Convolution { kernel: [1, 1], stride: [1, 1], top: 0, left: 0, weight: &weight, bias: &bias, clamp };
        let pass = FusedPass::new(kernels, &mut weights, length, &[input], &first, &second, output).unwrap();
        memory.run_in(&random.parts(), ERROR, kernels, &weights, &pass, &output)
    });
}

#[test]
fn winograd_convolutions() {
    agree("winograd", |kernels, random| {
        let (size, mut memory, mut weights) = (random.size(), Memory::new(), Weights::new());
        let scheme = [Scheme::Two, Scheme::Four, Scheme::Six][random.from(0, 2)];
        let kept = [Kept::Points, Kept::Taps][random.from(0, 1)];
        let strips = random.from(0, 3) == 0;
        let count = if strips { 1 } else { random.from(1, 3) };
        let inputs: Vec<Map> = (0..count)
            .map(|_| {
                let channels = random.from(1, 30);
                put(&mut memory, random, size, channels)
            })
            .collect();
        let channels = random.from(1, 50);
        let depth: usize = inputs.iter().map(|map| map.channels).sum();
        let (weight, bias) = (random.0.values(channels * depth * 9), random.0.values(channels));
        let clamp = random.clamp();
        let layer =
            Convolution { kernel: [3, 3], stride: [1, 1], top: 1, left: 1, weight: &weight, bias: &bias, clamp };
        let extra = random.extra();
        if strips {
            let output = memory.room(size[0], size[1], channels, extra);
            let length = memory.length();
            let input = (inputs[0], scheme);
            let pass = WinogradPass::in_strips(kernels, &mut weights, length, input, &layer, output).unwrap();
            return memory.run_in(&random.parts(), ERROR, kernels, &weights, &pass, &output);
        }
        let mut transforms = Vec::new();
        for input in inputs {
            let to = Transform::of(&input, scheme, memory.length());
            // Each transform ends where memory does while it is made.
            let whole = memory.room(1, 1, to.length().unwrap(), 0);
            let pass = TransformPass::new(memory.length(), input, to).unwrap();
            let parts = random.parts();
            memory.run_in(&parts, 0.0, kernels, &weights, &pass, &whole);
            memory = memory.after(kernels, &weights, &pass, 1, true);
            transforms.push(to);
        }
        let output = memory.room(size[0], size[1], channels, extra);
        let length = memory.length();
        let pass = WinogradPass::new(kernels, &mut weights, length, &transforms, &layer, kept, output).unwrap();
        memory.run_in(&random.parts(), ERROR, kernels, &weights, &pass, &output)
    });
}

#[test]
fn everything_else() {
    agree("others", |kernels, random| {
        let (size, mut memory, mut weights) = (random.size(), Memory::new(), Weights::new());
        let channels = random.from(1, 45);
        let input = put(&mut memory, random, size, channels);
        match random.from(0, 3) {
            0 => {
                let (kernel, stride, [top, left], [height, width]) = until(random, |random| window(random, size));
                let reduce = [Reduce::Max, Reduce::Mean, Reduce::MeanWithPadding][random.from(0, 2)];
                let output = memory.room(height, width, channels, random.extra());
                let pool = Pool { kernel, stride, top, left, reduce };
                let pass = PoolPass::new(memory.length(), input, pool, output).unwrap();
                memory.run_in(&random.parts(), ERROR, kernels, &weights, &pass, &output)
            }
            1 => {
                let output = memory.room(1, 1, channels, random.extra());
                let pass = AveragePass::new(memory.length(), input, output).unwrap();
                memory.run_in(&random.parts(), ERROR, kernels, &weights, &pass, &output)
            }
            2 => {
                let (scale, shift) = (random.0.values(channels), random.0.values(channels));
                let output = memory.room(size[0], size[1], channels, random.extra());
                let affine = Affine { scale: Some(&scale), shift: Some(&shift), function: Function::HardSwish };
                let pass = AffinePass::new(&mut weights, memory.length(), input, &affine, output).unwrap();
                memory.run_in(&random.parts(), ERROR, kernels, &weights, &pass, &output)
            }
            _ => {
                let more = random.from(1, 20);
                let inputs = [input, put(&mut memory, random, size, more)];
                let output = memory.room(size[0], size[1], channels + more, random.extra());
                let pass = CopyPass::new(memory.length(), &inputs, output).unwrap();
                memory.run_in(&random.parts(), ERROR, kernels, &weights, &pass, &output)
            }
        }
    });
}

#[test]
#[should_panic(expected = "values of scratch")]
fn less_scratch_than_a_pass_uses_is_a_panic() {
    use crate::kernels::pass::{Place, Scratch};
    let (kernels, mut memory, mut weights) = (kernels().next().unwrap(), Memory::new(), Weights::new());
    let (input, output) = (memory.room(7, 7, 256, 0), memory.room(7, 7, 128, 0));
    let (weight, bias, clamp) = (vec![0.0; 256 * 128], [0.0; 128], Clamp::NONE);
    let layer = Convolution { kernel: [1, 1], stride: [1, 1], top: 0, left: 0, weight: &weight, bias: &bias, clamp };
    let pass = ConvPass::new(kernels, &mut weights, memory.length(), &[input], &layer, output).unwrap();
    let scratch = Scratch::new(memory.values.as_mut_ptr(), pass.needs().scratch - 16);
    let place = Place { kernels, weights: &weights, base: memory.values.as_mut_ptr(), scratch };
    // SAFETY: the pass was made for maps in this memory; it panics before it touches scratch that is too short.
    unsafe { pass.run(&place, 0, 1) }
}
