//! Reports from time to time on standard error what has been run so far.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hardnetd::choice::MemoryMode;
use hardnetd::engine::plan::Step;
use hardnetd::kernels::Isa;

/// Networks between reports.
const EVERY: u64 = 250;

static NETWORKS: AtomicU64 = AtomicU64::new(0);
static IMPORTED: AtomicU64 = AtomicU64::new(0);
static EXACT: AtomicU64 = AtomicU64::new(0);
static RUNS: AtomicU64 = AtomicU64::new(0);
static LARGE: AtomicU64 = AtomicU64::new(0);
static UNSUPPORTED: AtomicU64 = AtomicU64::new(0);
static PASSES: Mutex<BTreeMap<(&str, &str, &str, usize), u64>> = Mutex::new(BTreeMap::new());

fn add(count: &AtomicU64) -> u64 {
    count.fetch_add(1, Ordering::Relaxed) + 1
}

/// Counts a network from an ONNX file.
pub fn imported() {
    add(&IMPORTED);
}

/// Counts a network computed in double precision.
pub fn exact() {
    add(&EXACT);
}

/// Counts a plan that ran twice.
pub fn run() {
    add(&RUNS);
}

/// Counts a network that is too large.
pub fn passed_over() {
    add(&LARGE);
}

/// Counts a network that the engine does not support.
pub fn unsupported() {
    add(&UNSUPPORTED);
}

/// Counts the passes of a plan.
pub fn steps(isa: Isa, memory: MemoryMode, threads: usize, steps: &[Step]) {
    let mut passes = PASSES.lock().unwrap_or_else(PoisonError::into_inner);
    for step in steps {
        *passes.entry((step.algorithm, isa.name(), memory.name(), threads)).or_default() += 1;
    }
}

/// Counts a network on which everything agreed.
pub fn network() {
    if !add(&NETWORKS).is_multiple_of(EVERY) {
        return;
    }
    let [networks, imported, exact, runs, large, unsupported] =
        [&NETWORKS, &IMPORTED, &EXACT, &RUNS, &LARGE, &UNSUPPORTED].map(|count| count.load(Ordering::Relaxed));
    eprintln!(
        "NETWORKS {networks}: {runs} plans run twice, {exact} networks compared with double precision, {imported} out \
         of files, {large} too large, {unsupported} not supported"
    );
    let passes = PASSES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut counts: BTreeMap<(&str, &str), [u64; 5]> = BTreeMap::new();
    for ((algorithm, isa, _, threads), count) in &*passes {
        counts.entry((algorithm, isa)).or_default()[(*threads).min(4)] += count;
    }
    for ((algorithm, isa), [_, counts @ ..]) in counts {
        eprintln!("  {algorithm:24} {isa:8} passes in 1 to 4 threads: {counts:?}");
    }
}
