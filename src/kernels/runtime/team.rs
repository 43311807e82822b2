//! Threads that run a program together: each computes its part of every pass, and all meet before the next pass.
//!
//! Between runs the threads are parked. During a run they wait for each other by spinning, because passes can take as
//! little as a few microseconds. Nothing is allocated or locked in a run.
//!
//! # Safety
//!
//! - A part begins a pass only after all parts have ended the previous one: each adds itself to the barrier with
//!   `AcqRel`, and the last one opens it with `Release`, which the others read with `Acquire`.
//! - What the caller writes before a run is published by the `Release` of the request; after the last barrier, no other
//!   thread touches the memory until the next request.
//! - A part that panics never reaches the barrier. The team is then broken: the other parts leave, no run begins again,
//!   and the threads are joined before the memory can be borrowed.
//! - Stack: part 0 runs on the caller's, the others on `STACK_BYTES`. A pass needs less than 64 KiB of it. 32-bit ARM
//!   has no stack probes, so a caller with a smaller stack than that would write below its guard page.

use std::fmt;
use std::hint::spin_loop;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use super::program::Program;
use crate::kernels::memory::Activations;
use crate::kernels::size::MAX_VALUES;

/// Number of times that a waiting thread checks before it yields its core: some tens of microseconds.
const SPINS_BEFORE_YIELD: usize = 2000;

/// Stack size of a thread in bytes: passes keep their lists of segments there, everything else is on the heap.
const STACK_BYTES: usize = 512 << 10;

/// Maximum threads of a team: more than any processor has, and few enough that counts of what they share stay small.
const MAX_THREADS: usize = 1 << 12;

/// The threads of a run, and how they start.
#[derive(Clone)]
pub struct Threads {
    count: usize,
    start: Arc<dyn Fn(usize) + Send + Sync>,
}

impl Threads {
    /// The calling thread only.
    #[must_use]
    pub fn one() -> Self {
        Self::new(1, |_| ())
    }

    /// `count` threads, at least the calling one. Each of the others first calls `start` with its number, from 1 on,
    /// for example to choose its core.
    #[must_use]
    pub fn new(count: usize, start: impl Fn(usize) + Send + Sync + 'static) -> Self {
        Self { count: count.max(1), start: Arc::new(start) }
    }

    /// Number of threads, including the calling one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Threads").field("count", &self.count).finish_non_exhaustive()
    }
}

/// A thread of the team has panicked: this run has no result, and there will be no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a thread that inference runs on has panicked")]
pub struct Broken;

/// A program with memory for one run at a time, and the threads that run it.
#[derive(Debug)]
pub struct Team {
    shared: Arc<Shared>,
    /// All threads except the calling one.
    others: Vec<JoinHandle<()>>,
}

/// State shared by all threads of a team.
#[derive(Debug)]
struct Shared {
    program: Arc<Program>,
    activations: Activations,
    barrier: Barrier,
    /// Number of runs requested.
    asked: AtomicUsize,
    /// Whether the threads should end.
    is_closing: AtomicBool,
}

impl Team {
    /// Starts the threads for `program`. They are named after the calling thread.
    ///
    /// # Errors
    /// If the system cannot start more threads, there are more than 4096, or memory for the program is insufficient.
    pub fn new(program: Arc<Program>, threads: &Threads) -> io::Result<Self> {
        let parts = threads.count;
        let room = program.room(parts);
        if room > MAX_VALUES {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if parts > MAX_THREADS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{parts} threads are more than {MAX_THREADS}"),
            ));
        }
        let activations = Activations::new(room).ok_or(io::ErrorKind::OutOfMemory)?;
        let (asked, is_closing) = (AtomicUsize::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { program, activations, barrier: Barrier::new(parts), asked, is_closing });
        let mut team = Self { shared, others: Vec::with_capacity(parts - 1) };
        let name = thread::current().name().unwrap_or("infer").to_owned();
        for part in 1..parts {
            let (shared, start) = (Arc::clone(&team.shared), Arc::clone(&threads.start));
            let builder = thread::Builder::new().name(format!("{name}.{part}")).stack_size(STACK_BYTES);
            team.others.push(builder.spawn(move || {
                // If the thread ends early for any reason, the run ends.
                let unwinding = BreakOnUnwind(&shared.barrier);
                start(part);
                std::mem::forget(unwinding);
                shared.serve(part);
            })?);
        }
        Ok(team)
    }

    /// Number of threads that run the program.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.shared.barrier.parts
    }

    /// Maps and scratch, between runs.
    pub fn values(&mut self) -> &mut [f32] {
        // A thread may still be in the failed run.
        if self.shared.barrier.is_broken() {
            self.end();
        }
        let activations = &self.shared.activations;
        // SAFETY: the activations have that many values, all threads have met at the end of the last run or have
        // ended, and the exclusive reference keeps the next run from beginning.
        unsafe { std::slice::from_raw_parts_mut(activations.base(), activations.len()) }
    }

    /// Runs the program once.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn run(&mut self) -> Result<(), Broken> {
        // A broken team starts no other run: threads may still be in the failed one.
        if self.shared.barrier.is_broken() {
            self.end();
            return Err(Broken);
        }
        self.shared.asked.fetch_add(1, Ordering::Release);
        for other in &self.others {
            other.thread().unpark();
        }
        let outcome = self.shared.run(0);
        if outcome.is_err() {
            self.end();
        }
        outcome
    }

    /// Ends all other threads.
    fn end(&mut self) {
        self.shared.is_closing.store(true, Ordering::Release);
        for other in self.others.drain(..) {
            other.thread().unpark();
            // A thread that panicked has reported it, and has broken the barrier.
            let _ = other.join();
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    /// The work of a part's thread until the team ends.
    fn serve(&self, part: usize) {
        let mut served = 0_usize;
        loop {
            let mut spins = 0;
            while self.asked.load(Ordering::Acquire) == served {
                if self.is_closing.load(Ordering::Acquire) {
                    return;
                }
                spins += 1;
                if spins < SPINS_BEFORE_YIELD { spin_loop() } else { thread::park() }
            }
            served = served.wrapping_add(1);
            if self.run(part).is_err() {
                return;
            }
        }
    }

    /// One run of a part.
    fn run(&self, part: usize) -> Result<(), Broken> {
        let unwinding = BreakOnUnwind(&self.barrier);
        // SAFETY: all parts of the team run on its activations, each with the number of its thread. The barrier lets
        // all parts go when all have arrived. A run begins when all parts have ended the last one, and `Team` gives the
        // activations to nothing else during a run.
        let outcome = unsafe { self.program.run(&self.activations, part, self.barrier.parts, || self.barrier.wait()) };
        std::mem::forget(unwinding);
        outcome
    }
}

/// Breaks the barrier if a part does not complete.
struct BreakOnUnwind<'a>(&'a Barrier);

impl Drop for BreakOnUnwind<'_> {
    fn drop(&mut self) {
        self.0.is_broken.store(true, Ordering::Release);
    }
}

/// A counter in a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct CacheLinePadded(AtomicUsize);

/// Where all parts meet.
#[derive(Debug)]
struct Barrier {
    parts: usize,
    /// Parts that have arrived since the last meeting.
    come: CacheLinePadded,
    /// Meetings so far.
    met: CacheLinePadded,
    is_broken: AtomicBool,
}

impl Barrier {
    fn new(parts: usize) -> Self {
        Self {
            parts,
            come: CacheLinePadded::default(),
            met: CacheLinePadded::default(),
            is_broken: AtomicBool::new(false),
        }
    }

    fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    /// Returns when all parts have called it: what they wrote before is visible to all afterwards.
    fn wait(&self) -> Result<(), Broken> {
        // The number cannot change before this part has arrived.
        let met = self.met.0.load(Ordering::Relaxed);
        if self.come.0.fetch_add(1, Ordering::AcqRel) + 1 == self.parts {
            self.come.0.store(0, Ordering::Relaxed);
            self.met.0.store(met.wrapping_add(1), Ordering::Release);
            return Ok(());
        }
        let mut spins = 0;
        while self.met.0.load(Ordering::Acquire) == met {
            if self.is_broken() {
                return Err(Broken);
            }
            spins += 1;
            if spins < SPINS_BEFORE_YIELD { spin_loop() } else { thread::yield_now() }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::cell::UnsafeCell;

    use super::*;
    use crate::kernels::pass::Map;
    use crate::kernels::runtime::Builder;
    use crate::kernels::table::{Isa, Kernels};

    /// A place that threads write in turn, with the barrier in between.
    struct Turns(UnsafeCell<usize>);

    // SAFETY: the test's threads write in turns.
    unsafe impl Sync for Turns {}

    #[test]
    fn what_is_written_before_a_meeting_is_read_behind_it() {
        const PARTS: usize = 3;
        const ROUNDS: usize = 20_000;
        let (barrier, turns) = (Barrier::new(PARTS), Turns(UnsafeCell::new(0)));
        thread::scope(|scope| {
            for part in 0..PARTS {
                let (barrier, turns) = (&barrier, &turns);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        if round % PARTS == part {
                            // SAFETY: all others are between the two meetings of this round, where they only wait.
                            unsafe { *turns.0.get() += 1 }
                        }
                        barrier.wait().unwrap();
                        // SAFETY: nothing writes before the next meeting.
                        assert_eq!(unsafe { *turns.0.get() }, round + 1);
                        barrier.wait().unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn who_waits_for_a_part_that_panicked_goes_on() {
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| barrier.wait());
            let fails = scope.spawn(|| {
                let _unwinding = BreakOnUnwind(&barrier);
                std::panic::resume_unwind(Box::new(()));
            });
            assert!(fails.join().is_err());
            assert_eq!(waiting.join().unwrap(), Err(Broken));
        });
        assert!(barrier.is_broken());
    }

    /// A program that does nothing, for a team.
    fn program() -> Arc<Program> {
        let kernels = Kernels::of(Isa::Scalar).unwrap();
        let map = Map::padded(0, 1, 1, 8);
        let mut builder = Builder::new(kernels, 16);
        let to = Map { offset: 8, ..map };
        for _ in 0..50 {
            builder.copy(&[map], to).unwrap();
        }
        Arc::new(builder.finish())
    }

    #[test]
    fn a_thread_that_panics_at_its_start_breaks_the_team() {
        for failing in [1, 2] {
            let threads = Threads::new(3, move |number| {
                if number == failing {
                    std::panic::resume_unwind(Box::new(()));
                }
            });
            let mut team = Team::new(program(), &threads).unwrap();
            assert_eq!(team.run(), Err(Broken));
            assert_eq!(team.run(), Err(Broken));
            assert_eq!(team.values().len(), 16);
        }
    }

    #[test]
    fn a_broken_team_has_no_threads_that_run() {
        let mut team = Team::new(program(), &Threads::new(3, |_| ())).unwrap();
        assert_eq!(team.run(), Ok(()));
        team.shared.barrier.is_broken.store(true, Ordering::Release);
        assert_eq!(team.run(), Err(Broken));
        assert!(team.others.is_empty(), "threads may still be in the run that has failed");
        let shared = &team.shared;
        let (asked, come) = (shared.asked.load(Ordering::Acquire), shared.barrier.come.0.load(Ordering::Acquire));
        assert_eq!(team.run(), Err(Broken));
        // The second run has not started.
        let shared = &team.shared;
        assert_eq!(
            (shared.asked.load(Ordering::Acquire), shared.barrier.come.0.load(Ordering::Acquire)),
            (asked, come)
        );
    }
}
