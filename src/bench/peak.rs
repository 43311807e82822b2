//! The peak performance of the machine: arithmetic and memory traffic of one core.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::kernels::{Isa, Kernels};

/// Duration of a measurement, unless a single burst takes longer.
const TIME: Duration = Duration::from_millis(20);

/// Minimum number of bursts per measurement.
const BURSTS: usize = 5;

/// The highest speed that `burst` reaches on the calling thread, in 10⁹ floating-point operations per second. `burst`
/// computes for about a millisecond or less and returns its number of operations, counting a multiply-add as two.
#[must_use]
pub fn measure(burst: &dyn Fn() -> u64) -> f64 {
    let begin = Instant::now();
    let (mut best, mut bursts) = (0.0_f64, 0);
    while bursts < BURSTS || begin.elapsed() < TIME {
        let start = Instant::now();
        let operations = burst();
        let nanoseconds = start.elapsed().as_nanos().max(1);
        best = best.max(operations as f64 / nanoseconds as f64);
        bursts += 1;
    }
    best
}

/// The peak reached by each of several instruction sets.
#[derive(Debug, Default)]
pub struct Peaks {
    found: BTreeMap<Isa, f64>,
}

impl Peaks {
    /// For the instruction sets `isas`, not yet measured. Those that the machine lacks are omitted.
    pub fn new(isas: impl IntoIterator<Item = Isa>) -> Self {
        Self { found: isas.into_iter().filter(|isa| isa.is_available()).map(|isa| (isa, 0.0)).collect() }
    }

    /// Measures all once more.
    pub fn measure(&mut self) {
        for (isa, best) in &mut self.found {
            if let Some(kernels) = Kernels::of(*isa) {
                *best = best.max(measure(&|| kernels.burst()));
            }
        }
    }

    /// The best speed so far, in 10⁹ floating-point operations per second.
    #[must_use]
    pub fn of(&self, isa: Isa) -> f64 {
        self.found.get(&isa).copied().unwrap_or_default()
    }
}

/// Speed at which one core reads and copies memory outside all caches, in 10⁹ bytes per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bandwidth {
    /// Bytes read.
    pub read: f64,
    /// Bytes read plus bytes written.
    pub copy: f64,
}

/// Measures with a buffer of `bytes`, reading all of it and copying one half to the other, so each half should be
/// larger than the last-level cache. `None` if memory for the buffer is insufficient.
#[must_use]
pub fn bandwidth(bytes: usize) -> Option<Bandwidth> {
    let words = (bytes / size_of::<u64>()).max(2) & !1;
    let mut buffer: Vec<u64> = Vec::new();
    buffer.try_reserve_exact(words).ok()?;
    // Pages that have only been read may all share one physical page; writing a non-zero value gives each its own.
    buffer.resize(words, 1);
    let read = best(|| {
        black_box(black_box(&buffer).iter().fold(0_u64, |sum, word| sum.wrapping_add(*word)));
    });
    let copy = best(|| {
        let (from, to) = buffer.split_at_mut(words / 2);
        to.copy_from_slice(black_box(from));
        black_box(to);
    });
    let gb_per_s = |time: Duration| (words * size_of::<u64>()) as f64 / time.as_nanos().max(1) as f64;
    Some(Bandwidth { read: gb_per_s(read), copy: gb_per_s(copy) })
}

/// The shortest duration of `pass`.
fn best(mut pass: impl FnMut()) -> Duration {
    let once = |_| {
        let start = Instant::now();
        pass();
        start.elapsed()
    };
    (0..BURSTS).map(once).min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::thread::sleep;

    use super::*;

    #[test]
    fn the_best_of_several_bursts_counts() {
        let calls = Cell::new(0_u32);
        let burst = || {
            calls.set(calls.get() + 1);
            sleep(Duration::from_millis(1));
            if calls.get() == 2 { 1_000_000 } else { 0 }
        };
        let peak = measure(&burst);
        // A million operations in a millisecond or more.
        assert!(calls.get() >= 5 && peak > 0.0 && peak <= 1.0, "{peak} after {}", calls.get());
    }

    #[test]
    fn peaks_are_those_of_the_instruction_sets_asked_for() {
        let mut peaks = Peaks::new([Isa::Scalar, Isa::best()]);
        assert_eq!(peaks.of(Isa::Scalar), 0.0);
        peaks.measure();
        assert!(peaks.of(Isa::Scalar) > 0.0 && peaks.of(Isa::best()) > 0.0);
        let others = Isa::ALL.into_iter().filter(|isa| ![Isa::Scalar, Isa::best()].contains(isa));
        assert!(others.map(|isa| peaks.of(isa)).all(|peak| peak == 0.0));
    }

    #[test]
    fn bandwidth_is_a_number_for_every_buffer_that_memory_holds() {
        for bytes in [0, 1, 24, 1 << 20] {
            assert!(bandwidth(bytes).is_some_and(|found| found.read > 0.0 && found.copy > 0.0), "{bytes}");
        }
        assert_eq!(bandwidth(usize::MAX), None);
    }
}
