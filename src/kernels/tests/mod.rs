//! Tests of the kernels of every instruction set that the processor has, and of the passes over them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed step is a failed test")]

mod depthwise;
mod elementwise;
mod guarded;
mod hostile;
mod layers;
mod network;
mod pictures;
mod pools;
mod products;
mod random;
mod speed;
mod strassen;
mod winograd;

use std::array::from_fn;

use crate::kernels::memory::Weights;
use crate::kernels::pass::{Clamp, Map, Pass, PassError, Place, Scratch};
use crate::kernels::{Kernels, UNIT};
pub(crate) use guarded::Guarded;

/// Maximum error of a sum, relative to the sum of the magnitudes of its terms: every term is rounded at most twice, to
/// 2^-24 of a partial sum, and the longest sums of the tests have a thousand terms. Roundings rarely all go one way, so
/// a tenth of their number is enough.
const SUM: f64 = 100.0 / (1 << 24) as f64;

/// Maximum error of a function: a few roundings of a value of its size.
const FUNCTION: f64 = 8.0 / (1 << 24) as f64;

/// The kernels of every available instruction set, including those that suit other processors better.
fn kernels() -> impl Iterator<Item = Kernels> {
    Kernels::all()
}

/// Pseudo-random numbers from -1 to 1.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    fn values(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| self.next()).collect()
    }
}

/// A sum in double precision, with the sum of the magnitudes of its terms.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    value: f64,
    size: f64,
}

impl Sum {
    fn of(start: f32) -> Self {
        Self { value: f64::from(start), size: f64::from(start).abs() }
    }

    fn add(&mut self, a: f32, b: f32) {
        let term = f64::from(a) * f64::from(b);
        self.value += term;
        self.size += term.abs();
    }

    /// Asserts that `value` is this sum, clamped.
    #[track_caller]
    fn check(&self, value: f32, clamp: Clamp, place: impl std::fmt::Debug) {
        let expected = self.value.clamp(f64::from(clamp.low), f64::from(clamp.high));
        let error = (f64::from(value) - expected).abs();
        assert!(error <= self.size * SUM, "{value} instead of {expected} at {place:?}");
    }
}

/// A map of plain values, without padding.
#[derive(Debug, Clone)]
struct Plain {
    height: usize,
    width: usize,
    channels: usize,
    values: Vec<f32>,
}

impl Plain {
    fn noise(height: usize, width: usize, channels: usize, noise: &mut Noise) -> Self {
        Self { height, width, channels, values: noise.values(height * width * channels) }
    }

    /// The value there; `None` outside the map. Rows and columns are counted from the beginning of the first window.
    fn at(&self, y: usize, x: usize, [top, left]: [usize; 2], channel: usize) -> Option<f32> {
        let (y, x) = (y.checked_sub(top)?, x.checked_sub(left)?);
        let inside = y < self.height && x < self.width;
        inside.then(|| self.values[(y * self.width + x) * self.channels + channel])
    }
}

/// Memory for maps one after another, and for what a pass writes: everything that belongs to no channel is NaN.
struct Memory {
    values: Vec<f32>,
}

impl Memory {
    fn new() -> Self {
        Self { values: Vec::new() }
    }

    /// Room for a map, `extra` values wider than its channels padded to units.
    fn room(&mut self, height: usize, width: usize, channels: usize, extra: usize) -> Map {
        let stride = channels.next_multiple_of(UNIT) + extra;
        let map = Map { offset: self.values.len(), height, width, channels, stride };
        self.values.resize(self.values.len() + height * width * stride, f32::NAN);
        map
    }

    /// A map with the values of `plain`.
    fn put(&mut self, plain: &Plain, extra: usize) -> Map {
        let map = self.room(plain.height, plain.width, plain.channels, extra);
        for (pixel, values) in plain.values.chunks(plain.channels).enumerate() {
            let at = map.offset + pixel * map.stride;
            self.values[at..at + plain.channels].copy_from_slice(values);
        }
        map
    }

    fn length(&self) -> usize {
        self.values.len()
    }

    /// The values of a map, without padding.
    fn get(&self, map: &Map) -> Plain {
        let Map { offset, height, width, channels, stride } = *map;
        let pixels = self.values[offset..].chunks(stride).take(height * width);
        Plain { height, width, channels, values: pixels.flat_map(|pixel| &pixel[..channels]).copied().collect() }
    }

    /// This memory after a pass in `parts` parts. It ends where inaccessible pages begin, or begins where they end.
    fn after(&self, kernels: Kernels, weights: &Weights, pass: &impl Pass, parts: usize, at_end: bool) -> Self {
        let guard = |values: &[f32]| if at_end { Guarded::behind(values) } else { Guarded::before(values) };
        let values = guard(&self.values);
        // No part may need what another one writes: also runs the last one first.
        for part in (0..parts).map(|part| if at_end { part } else { parts - 1 - part }) {
            let room = guard(&vec![f32::NAN; pass.needs().scratch]);
            let scratch = Scratch::new(room.as_ptr(), room.values().len());
            let place = Place { kernels, weights, base: values.as_ptr(), scratch };
            // SAFETY: the pass was made for maps in this memory, and has the scratch that it needs.
            unsafe { pass.run(&place, part, parts) }
        }
        Self { values: values.values().to_vec() }
    }

    /// Runs a pass in one part and in several, one after the other, checks that all give the same result, and returns
    /// `output`. Everything outside the output must be unchanged.
    ///
    /// The maps, and the scratch of every part, take exactly the memory that they need, between inaccessible pages:
    /// they end where such a page begins, and then begin where one ends.
    #[track_caller]
    fn run(&self, kernels: Kernels, weights: &Weights, pass: &impl Pass, output: &Map) -> Plain {
        self.run_in(&[2, 3, 5], 0.0, kernels, weights, pass, output)
    }

    /// [`Self::run`], in one part and in these numbers of parts. Results differ by at most `error`, relative to the
    /// largest: a part with few rows may add in another order than one with many.
    #[track_caller]
    fn run_in(
        &self,
        several: &[usize],
        error: f32,
        kernels: Kernels,
        weights: &Weights,
        pass: &impl Pass,
        output: &Map,
    ) -> Plain {
        let run = |parts: usize, at_end: bool| {
            let after = self.after(kernels, weights, pass, parts, at_end);
            let ours = output.offset..output.offset + output.length().unwrap();
            let changed = |(index, (before, after)): (usize, (&f32, &f32))| {
                !ours.contains(&index) && before.to_bits() != after.to_bits()
            };
            let changed = self.values.iter().zip(&after.values).enumerate().any(changed);
            assert!(!changed, "{pass:?} writes outside its output");
            after.get(output)
        };
        let whole = run(1, true);
        let largest = whole.values.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
        let mut others = several.iter().map(|parts| (*parts, true)).collect::<Vec<_>>();
        others.extend([(1, false), (several.last().copied().unwrap_or(1), false)]);
        for (parts, at_end) in others {
            let near = |(a, b): (&f32, f32)| a.to_bits() == b.to_bits() || (a - b).abs() <= error * largest;
            let same = whole.values.iter().zip(run(parts, at_end).values).all(near);
            assert!(same, "{pass:?} in {parts} parts differs on {}", kernels.isa());
        }
        whole
    }
}

/// The rule violated by a pass that cannot be made.
#[track_caller]
fn rule<T>(result: Result<T, PassError>) -> &'static str {
    result.err().expect("the pass could be made").0
}

/// Sizes of the output for windows over `size`, with `after` more rows or columns of padding after the map.
fn windows(
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    before: [usize; 2],
    after: [usize; 2],
) -> [usize; 2] {
    from_fn(|axis| {
        let length = size[axis] + before[axis] + after[axis];
        if length < kernel[axis] { 0 } else { (length - kernel[axis]) / stride[axis] + 1 }
    })
}
