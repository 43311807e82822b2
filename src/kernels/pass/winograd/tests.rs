//! Winograd convolutions against plain ones in double precision.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking, and one reports times")]

use std::sync::Arc;
use std::time::Instant;

use super::tiles::{Grid, TAPS};
use super::{Kept, Scheme, Transform, TransformPass, WinogradPass};
use crate::kernels::memory::{Activations, Weights};
use crate::kernels::pass::{Clamp, ConvPass, Convolution, Map, Pass, Place, Scratch};
use crate::kernels::runtime::{Builder, Team, Threads};
use crate::kernels::size::LINE;
use crate::kernels::{Isa, Kernels};

/// Maximum error, relative to the largest output. Single precision has 6e-8; transforms in the points ±2 and ±½ add and
/// subtract values that are some hundred times the result.
const ERROR: f64 = 1e-4;

/// Content of memory that nothing may read: it spreads into every result that uses it.
const GUARD: f32 = f32::NAN;

/// Values of guard around every map.
const GAP: usize = 3 * LINE;

/// Pseudo-random numbers from -1 to 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// The kernels of this processor.
fn all() -> impl Iterator<Item = Kernels> {
    Isa::ALL.into_iter().filter_map(Kernels::of)
}

/// One convolution, with its maps in memory; everything outside the maps is guard.
struct Case {
    inputs: Vec<Map>,
    transforms: Vec<Transform>,
    output: Map,
    weight: Vec<f32>,
    bias: Vec<f32>,
    clamp: Clamp,
    /// Values of memory.
    length: usize,
}

impl Case {
    fn new(scheme: Scheme, size: [usize; 2], channels: &[usize], out: usize, random: &mut Random) -> Self {
        let mut length = GAP;
        let mut place = |values: usize| {
            let offset = length;
            length = (length + values).next_multiple_of(LINE) + GAP;
            offset
        };
        let mut map = |channels| {
            let map = Map::padded(0, size[0], size[1], channels);
            Map { offset: place(map.length().unwrap()), ..map }
        };
        let inputs: Vec<Map> = channels.iter().map(|channels| map(*channels)).collect();
        let output = map(out);
        let transform = |map: &Map| {
            let transform = Transform::of(map, scheme, 0);
            Transform { offset: place(transform.length().unwrap()), ..transform }
        };
        let transforms = inputs.iter().map(transform).collect();
        let depth: usize = channels.iter().sum();
        let weight = (0..out * depth * TAPS).map(|_| random.next()).collect();
        let bias = (0..out).map(|_| random.next()).collect();
        Self { inputs, transforms, output, weight, bias, clamp: Clamp::NONE, length }
    }

    fn layer(&self) -> Convolution<'_> {
        Convolution {
            kernel: [3, 3],
            stride: [1, 1],
            top: 1,
            left: 1,
            weight: &self.weight,
            bias: &self.bias,
            clamp: self.clamp,
        }
    }

    /// Memory filled with guard, with numbers in the channels of the inputs.
    fn memory(&self, extra: usize, random: &mut Random) -> Activations {
        let mut memory = Activations::new(self.length + extra).unwrap();
        let values = memory.values();
        values.fill(GUARD);
        for map in &self.inputs {
            for pixel in 0..map.pixels() {
                values[map.offset + pixel * map.stride..][..map.channels].fill_with(|| random.next());
            }
        }
        memory
    }

    /// Output `channel` of pixel `y`, `x`.
    fn plain(&self, values: &[f32], channel: usize, y: usize, x: usize) -> f64 {
        let depth: usize = self.inputs.iter().map(|map| map.channels).sum();
        let mut sum = f64::from(self.bias[channel]);
        let mut k = 0;
        for map in &self.inputs {
            for input in 0..map.channels {
                for tap in 0..TAPS {
                    let (Some(y), Some(x)) = ((y + tap / 3).checked_sub(1), (x + tap % 3).checked_sub(1)) else {
                        continue;
                    };
                    if y < map.height && x < map.width {
                        let value = values[map.offset + (y * map.width + x) * map.stride + input];
                        sum += f64::from(value) * f64::from(self.weight[(channel * depth + k) * TAPS + tap]);
                    }
                }
                k += 1;
            }
        }
        sum.max(f64::from(self.clamp.low)).min(f64::from(self.clamp.high))
    }

    /// The memory after the convolution, in `parts` parts.
    fn run(&self, kernels: Kernels, kept: Kept, parts: usize) -> Activations {
        let mut weights = Weights::new();
        let layer = self.layer();
        let pass =
            WinogradPass::new(kernels, &mut weights, self.length, &self.transforms, &layer, kept, self.output).unwrap();
        let mut passes: Vec<Box<dyn Pass>> = Vec::new();
        for (input, transform) in self.inputs.iter().zip(&self.transforms) {
            passes.push(Box::new(TransformPass::new(self.length, *input, *transform).unwrap()));
        }
        let scratch = pass.needs().scratch;
        passes.push(Box::new(pass));
        let start = self.length.next_multiple_of(LINE);
        let mut memory = self.memory(start - self.length + scratch + GAP, &mut Random(7));
        let base = memory.base();
        for pass in &passes {
            // The last part first: none may depend on what another writes.
            for part in (0..parts).rev() {
                let scratch = Scratch::new(base.wrapping_add(start), scratch);
                let place = Place { kernels, weights: &weights, base, scratch };
                // SAFETY: the memory holds all maps and the scratch, and nothing else uses it.
                unsafe { pass.run(&place, part, parts) }
            }
        }
        self.check_guards(memory.values(), start + scratch);
        memory
    }

    /// Checks that nothing is written except the transforms, the output and the scratch, which ends at `end`.
    fn check_guards(&self, values: &[f32], end: usize) {
        let mut owned: Vec<_> = self.transforms.iter().map(|to| (to.offset, to.length().unwrap())).collect();
        owned.extend(self.inputs.iter().chain([&self.output]).map(|map| (map.offset, map.length().unwrap())));
        owned.push((self.length.next_multiple_of(LINE), end - self.length.next_multiple_of(LINE)));
        owned.sort_unstable();
        let mut at = 0;
        for (start, length) in owned {
            assert!(values[at..start].iter().all(|value| value.is_nan()), "written between {at} and {start}");
            at = start + length;
        }
        assert!(values[at..].iter().all(|value| value.is_nan()), "written after {at}");
    }

    /// Checks that the results of one part are correct, and that several parts give the same.
    fn check(&self, kernels: Kernels, name: &str) {
        for kept in [Kept::Points, Kept::Taps] {
            self.check_kept(kernels, kept, name);
        }
    }

    fn check_kept(&self, kernels: Kernels, kept: Kept, name: &str) {
        let mut one = self.run(kernels, kept, 1);
        let values = one.values();
        let (mut error, mut largest) = (0.0_f64, 0.0_f64);
        let pixels = (0..self.output.height).flat_map(|y| (0..self.output.width).map(move |x| (y, x)));
        for (pixel, (y, x)) in pixels.enumerate() {
            for channel in 0..self.output.channels {
                let want = self.plain(values, channel, y, x);
                let got = f64::from(values[self.output.offset + pixel * self.output.stride + channel]);
                assert!(!got.is_nan(), "{name} {kept:?}: not a number at {y}, {x}, {channel}");
                error = error.max((got - want).abs());
                largest = largest.max(want.abs());
            }
        }
        assert!(error <= ERROR * largest, "{name} {kept:?}: {error} of {largest}");
        let range = self.output.offset..self.output.offset + self.output.length().unwrap();
        let bits = |values: &[f32]| values[range.clone()].iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let want = bits(values);
        for parts in 2..=3 {
            assert!(bits(self.run(kernels, kept, parts).values()) == want, "{name} {kept:?}: {parts} parts");
        }
    }
}

fn check(size: [usize; 2], channels: &[usize], out: usize) {
    for scheme in [Scheme::Two, Scheme::Four, Scheme::Six] {
        let case = Case::new(scheme, size, channels, out, &mut Random(1));
        for kernels in all() {
            case.check(kernels, &format!("{} {scheme:?} {size:?} {channels:?} to {out}", kernels.isa()));
        }
    }
}

#[test]
fn every_small_size_is_right() {
    for height in 1..=16 {
        for width in 1..=16 {
            check([height, width], &[3], 5);
        }
    }
}

#[test]
fn every_number_of_channels_is_right() {
    for channels in (1..40).step_by(2) {
        check([6, 5], &[channels], 41 - channels);
        check([9, 7], &[40 - channels, channels], channels);
    }
}

#[test]
fn concatenated_inputs_are_right() {
    for inputs in 1..=5 {
        let channels: Vec<usize> = (0..inputs).map(|index| 1 + index * 5).collect();
        check([14, 14], &channels, 21);
        check([7, 7], &channels, 40);
    }
}

#[test]
fn large_maps_are_right() {
    check([28, 28], &[24, 16, 10], 40);
    check([33, 47], &[17, 8], 19);
    check([56, 56], &[8], 136);
}

#[test]
fn clamps_are_right() {
    let mut case = Case::new(Scheme::fastest(11, 13), [11, 13], &[9, 4], 11, &mut Random(3));
    for clamp in [Clamp::RELU, Clamp::RELU6, Clamp { low: -0.5, high: 0.25 }] {
        case.clamp = clamp;
        for kernels in all() {
            case.check(kernels, "clamped");
        }
    }
}

#[test]
fn schemes_suit_the_map() {
    for side in [112, 56, 28, 24] {
        assert_eq!(Scheme::fastest(side, side), Scheme::Six, "{side}");
    }
    for side in [20, 14, 9] {
        assert_eq!(Scheme::fastest(side, side), Scheme::Four, "{side}");
    }
    for side in [8, 7, 4, 1] {
        assert_eq!(Scheme::fastest(side, side), Scheme::Two, "{side}");
    }
    // Nested edges: 1444 products instead of 1600, 484 instead of 576, and 225 instead of 256.
    let products = |side| {
        let grid = Grid::new(Scheme::fastest(side, side), side, side);
        (0..grid.scheme.planes()).map(|plane| grid.slots(plane, &(0..side)).1).sum::<usize>()
    };
    assert_eq!([products(28), products(14), products(7)], [1444, 484, 225]);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let kernels = Kernels::of(Isa::Scalar).unwrap();
    let case = Case::new(Scheme::Four, [9, 9], &[8, 8], 8, &mut Random(1));
    let make = |length: usize, inputs: &[Transform], layer: &Convolution<'_>, output: Map| {
        WinogradPass::new(kernels, &mut Weights::new(), length, inputs, layer, Kept::Points, output).map(|_| ())
    };
    let (layer, [one, two]) = (case.layer(), [case.transforms[0], case.transforms[1]]);
    make(case.length, &[one, two], &layer, case.output).unwrap();
    assert!(make(two.offset, &[one, two], &layer, case.output).is_err(), "a transform outside memory");
    assert!(make(case.length, &[one], &layer, case.output).is_err(), "another length of the weight");
    assert!(make(case.length, &[], &layer, case.output).is_err(), "no input");
    let other = Transform { scheme: Scheme::Two, ..two };
    assert!(make(case.length, &[one, other], &layer, case.output).is_err(), "another scheme");
    let over = Map { offset: one.offset, ..case.output };
    assert!(make(case.length, &[one, two], &layer, over).is_err(), "an output over an input");
    let smaller = Map { height: 8, ..case.output };
    assert!(make(case.length, &[one, two], &layer, smaller).is_err(), "another size");
    let strided = Convolution { stride: [2, 2], ..layer };
    assert!(make(case.length, &[one, two], &strided, case.output).is_err(), "a stride");

    let input = case.inputs[0];
    let transform = |length, input, to| TransformPass::new(length, input, to).map(|_| ());
    transform(case.length, input, one).unwrap();
    assert!(transform(one.offset, input, one).is_err(), "a transform outside memory");
    assert!(transform(case.length, input, Transform { offset: input.offset, ..one }).is_err(), "over its input");
    assert!(transform(case.length, input, Transform { channels: 16, ..one }).is_err(), "of another map");
    let dense = Map { channels: 7, stride: 7, ..input };
    assert!(transform(case.length, dense, Transform::of(&dense, Scheme::Four, one.offset)).is_err(), "not padded");
    let huge = Transform { height: usize::MAX, width: usize::MAX, ..one };
    assert!(make(case.length, &[huge], &layer, case.output).is_err(), "lengths that overflow");
}

#[test]
fn programs_share_a_transform() {
    let mut case = Case::new(Scheme::Four, [9, 10], &[8, 3], 6, &mut Random(5));
    // Memory may end anywhere; scratch still begins with a cache line.
    case.length -= 5;
    for kernels in all() {
        let mut builder = Builder::new(kernels, case.length);
        for (input, transform) in case.inputs.iter().zip(&case.transforms) {
            assert_eq!(Builder::transform_length(input, transform.scheme), transform.length());
            builder.transform(*input, *transform).unwrap();
        }
        let layer = case.layer();
        assert!(Builder::is_winograd(&layer));
        // The first layer's output takes the place of its second input, which survives only as a transform.
        let between = Map { offset: case.inputs[1].offset, channels: 6, ..case.inputs[1] };
        builder.winograd(&case.transforms, &layer, Kept::Points, between).unwrap();
        builder.winograd(&case.transforms, &layer, Kept::Taps, case.output).unwrap();
        let program = builder.finish();
        assert!(
            program
                .summaries()
                .all(|summary| ["transform", "winograd 4", "winograd 4 lean"].contains(&summary.algorithm))
        );
        let mut memory = Team::new(Arc::new(program), &Threads::new(2, |_| ())).unwrap();
        let mut random = Random(9);
        for map in &case.inputs {
            memory.values()[map.offset..][..map.length().unwrap()].fill_with(|| random.next());
        }
        let want = case.plain(memory.values(), 4, 8, 9);
        memory.run().unwrap();
        for map in [between, case.output] {
            let got = memory.values()[map.offset + 89 * map.stride + 4];
            assert!((f64::from(got) - want).abs() < ERROR, "{}: {got} for {want}", kernels.isa());
        }
    }
}

/// Runs of a measurement; the fastest counts.
const RUNS: usize = 40;

/// Values written between runs, as other layers use their weights meanwhile.
const OTHERS: usize = 4 << 20;

/// Prints times of layers: direct; transforms of all inputs and of the last one; products; output.
#[test]
#[ignore = "a measurement"]
fn measure() {
    let layers: [(usize, &[usize], usize); 9] = [
        (112, &[32], 64),
        (56, &[64], 14),
        (56, &[40, 14, 64], 40),
        (28, &[128, 16], 28),
        (28, &[256, 60, 20, 40], 100),
        (14, &[320, 40], 68),
        (14, &[320, 116, 68, 40], 196),
        (7, &[640], 160),
        (7, &[640, 272, 160], 462),
    ];
    let mut others = vec![0.0_f32; OTHERS];
    for (side, channels, out) in layers {
        let scheme = Scheme::fastest(side, side);
        let case = Case::new(scheme, [side, side], channels, out, &mut Random(1));
        let depth: usize = channels.iter().sum();
        let flops = (2 * TAPS * depth * out * side * side) as f64;
        for kernels in all() {
            let (mut plain, mut packed, layer) = (Weights::new(), Weights::new(), case.layer());
            let direct = ConvPass::new(kernels, &mut plain, case.length, &case.inputs, &layer, case.output).unwrap();
            let begin = Instant::now();
            let winograd = WinogradPass::new(
                kernels,
                &mut packed,
                case.length,
                &case.transforms,
                &layer,
                Kept::Points,
                case.output,
            )
            .unwrap();
            let pack = begin.elapsed().as_secs_f64() * 1e3;
            let pairs = case.inputs.iter().zip(&case.transforms);
            let transforms: Vec<_> =
                pairs.map(|(input, to)| TransformPass::new(case.length, *input, *to).unwrap()).collect();
            let start = case.length.next_multiple_of(LINE);
            let memory = case.memory(start - case.length + winograd.needs().scratch, &mut Random(2));
            let base = memory.base();
            let scratch = Scratch::new(base.wrapping_add(start), winograd.needs().scratch);
            let mut best = [f64::INFINITY; 5];
            for _ in 0..RUNS {
                others.iter_mut().for_each(|value| *value += 1.0);
                let mut time = [0.0; 5];
                // SAFETY: the memory holds all maps and the scratch, and nothing else uses it.
                unsafe {
                    let place = Place { kernels, weights: &packed, base, scratch };
                    for pass in &transforms {
                        let begin = Instant::now();
                        pass.run(&place, 0, 1);
                        time[2] = begin.elapsed().as_secs_f64();
                        time[1] += time[2];
                    }
                    for (blocks, rows) in winograd.pieces(0, 1) {
                        let piece = winograd.piece(&place, &blocks, &rows);
                        let begin = Instant::now();
                        winograd.products(&place, &piece);
                        time[3] += begin.elapsed().as_secs_f64();
                        let begin = Instant::now();
                        winograd.outputs(&place, &piece);
                        time[4] += begin.elapsed().as_secs_f64();
                    }
                    let begin = Instant::now();
                    direct.run(&Place { weights: &plain, ..place }, 0, 1);
                    time[0] = begin.elapsed().as_secs_f64();
                }
                for (best, time) in best.iter_mut().zip(time) {
                    *best = best.min(time);
                }
            }
            let [direct, all, last, products, output] = best.map(|time| time * 1e6);
            println!(
                "{:6} {side:3} {depth:4} to {out:3}: {:5.1} GFLOP/s for {:5.1}; us: direct {direct:7.1}, transforms \
                 {all:6.1} (last {last:5.1}), products {products:7.1} ({:5.1} GFLOP/s), output {output:6.1}; KB: \
                 weights {} for {} (packed in {pack:.1} ms), transforms {}, scratch {}",
                kernels.isa().name(),
                flops / (last + products + output) * 1e-3,
                flops / direct * 1e-3,
                2.0 * winograd.macs() as f64 / products * 1e-3,
                packed.bytes() >> 10,
                plain.bytes() >> 10,
                case.transforms.iter().map(|to| to.length().unwrap()).sum::<usize>() >> 8,
                winograd.needs().scratch >> 8,
            );
        }
    }
}

#[test]
fn strips_give_what_whole_transforms_do() {
    // Sides that end in tiles of every size; more rows of tiles than one per strip.
    for (size, channels, out) in [([28, 29], 16, 20), ([31, 30], 24, 8), ([50, 17], 20, 33), ([8, 101], 9, 16)] {
        let scheme = Scheme::fastest(size[0], size[1]);
        let case = Case::new(scheme, size, &[channels], out, &mut Random(3));
        for kernels in all() {
            let range = case.output.offset..case.output.offset + case.output.length().unwrap();
            let bits = |mut memory: Activations| -> Vec<u32> {
                memory.values()[range.clone()].iter().map(|value| value.to_bits()).collect()
            };
            let whole = bits(case.run(kernels, Kept::Points, 1));
            for parts in 1..=3 {
                let mut weights = Weights::new();
                let (input, layer) = ((case.inputs[0], scheme), case.layer());
                let pass =
                    WinogradPass::in_strips(kernels, &mut weights, case.length, input, &layer, case.output).unwrap();
                assert!(pass.algorithm().ends_with("in strips"));
                let (scratch, start) = (pass.needs().scratch, case.length.next_multiple_of(LINE));
                let mut memory = case.memory(start - case.length + scratch + GAP, &mut Random(7));
                let base = memory.base();
                for part in (0..parts).rev() {
                    let scratch = Scratch::new(base.wrapping_add(start), scratch);
                    let place = Place { kernels, weights: &weights, base, scratch };
                    // SAFETY: the memory holds all maps and the scratch, and nothing else uses it.
                    unsafe { pass.run(&place, part, parts) }
                }
                case.check_guards(memory.values(), start + scratch);
                assert!(bits(memory) == whole, "{} {size:?} {channels} to {out} in {parts} parts", kernels.isa());
            }
        }
    }
}

#[test]
fn strips_are_for_large_maps_and_small_weights() {
    let suits = |height, width, channels, out| {
        WinogradPass::suits_strips(&Map::padded(0, height, width, channels), Scheme::Six, out)
    };
    assert!(suits(112, 112, 32, 64));
    assert!(!suits(28, 28, 32, 64));
    assert!(!suits(112, 112, 512, 512));
    let huge = usize::MAX / 64;
    assert!(!suits(huge, huge, huge, huge) && !suits(huge, huge, 1, 1) && !suits(1, huge, 8, 8));
}
