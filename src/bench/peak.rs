//! What the machine can do at most: arithmetic and memory traffic of one core.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Time that a measurement takes, unless a single burst takes longer.
const TIME: Duration = Duration::from_millis(20);

/// Bursts that a measurement takes at least.
const BURSTS: usize = 5;

/// Sums that [`portable`] adds to at one time: 12 registers of 128 bits, which leaves room for the two
/// operands in 16 registers, and is enough to hide the latency of the operations.
const SUMS: usize = 48;

/// Times that [`portable`] adds to each sum.
const STEPS: usize = 1 << 14;

/// Whether the program's own target has fused multiply-adds; elsewhere asking for one calls a function.
const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

/// What [`portable`] measures.
pub const PORTABLE: &str = if FUSED {
    "fused multiply-adds, in the vectors of the program's target"
} else {
    "multiplications and additions apart, in vectors of 128 bits"
};

/// The most that `burst` reaches on the calling thread, in 10⁹ floating-point operations per second. `burst`
/// computes for about a millisecond or less and returns the number of its operations, a multiply-add being two.
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

/// A burst in code that runs everywhere.
///
/// It shows the peak of the instructions that the program is compiled for, see [`PORTABLE`]: on 64-bit ARM the
/// fused multiply-adds of NEON, which is the peak of the core; on x86-64 what SSE2 can do, of which AVX2 and
/// AVX-512 are a multiple.
#[must_use]
pub fn portable() -> u64 {
    let (factor, term) = (black_box(0.999_f32), black_box(0.001_f32));
    let mut sums = [black_box(1.0_f32); SUMS];
    for _ in 0..STEPS {
        for sum in &mut sums {
            *sum = if FUSED { sum.mul_add(factor, term) } else { *sum * factor + term };
        }
    }
    black_box(sums);
    (2 * SUMS * STEPS) as u64
}

/// How fast one core reads and copies memory that no cache holds, in 10⁹ bytes per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bandwidth {
    /// Bytes read.
    pub read: f64,
    /// Bytes read and bytes written, added up.
    pub copy: f64,
}

/// Measures with a buffer of `bytes`, reading all of it and copying one half to the other: so each half should be
/// larger than the last cache. Nothing where there is no memory for the buffer.
#[must_use]
pub fn bandwidth(bytes: usize) -> Option<Bandwidth> {
    let words = (bytes / size_of::<u64>()).max(2) & !1;
    let mut buffer: Vec<u64> = Vec::new();
    buffer.try_reserve_exact(words).ok()?;
    // Pages that have only ever been read can be all the same one: a value other than zero makes them memory.
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

/// The shortest time that `pass` takes.
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
    fn the_portable_burst_counts_what_it_computes() {
        assert_eq!(portable(), 2 * 48 * 16384);
        assert!(measure(&portable) > 0.0);
    }

    #[test]
    fn bandwidth_is_a_number_for_every_buffer_that_memory_holds() {
        for bytes in [0, 1, 24, 1 << 20] {
            assert!(bandwidth(bytes).is_some_and(|found| found.read > 0.0 && found.copy > 0.0), "{bytes}");
        }
        assert_eq!(bandwidth(usize::MAX), None);
    }
}
