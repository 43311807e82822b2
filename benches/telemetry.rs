//! What telemetry costs per frame: `cargo bench --bench telemetry`.
//!
//! A frame is counted twice (captured, classified), for its source and in total, and its five stages go into two histograms
//! and a sum each. The floor is these 19 atomic additions.
#![allow(clippy::print_stdout, missing_docs, reason = "a program for developers")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use hardnetd::record::Latency;
use hardnetd::telemetry::{Registry, StreamCounters};

/// Frames per round, and rounds.
const FRAMES: u64 = 200_000;
const ROUNDS: usize = 15;

/// The inference that the cost is compared with, in nanoseconds.
const INFERENCE_NS: f64 = 10e6;

fn main() {
    // `cargo test --benches` only checks that it runs.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    for threads in [1, 2] {
        let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round(threads)).collect();
        rounds.sort_by(f64::total_cmp);
        let median = rounds[ROUNDS / 2];
        println!(
            "{threads} thread(s) on one stream: {median:.0} ns per frame ({:.0} to {:.0}), {:.4} % of an inference of 10 ms",
            rounds[0],
            rounds[ROUNDS - 1],
            median / INFERENCE_NS * 100.0
        );
    }
    let registry = Registry::new();
    let counters = StreamCounters::new(registry.totals(&"door".into()));
    let start = Instant::now();
    for us in 0..1000 {
        counters.record(of(us));
        black_box(counters.totals().latencies().snapshot().percentiles());
    }
    println!("a record of statistics: {:.0} µs per stream", start.elapsed().as_secs_f64() * 1e6 / 1000.0);
}

/// Nanoseconds per frame and thread.
fn round(threads: usize) -> f64 {
    let registry = Registry::new();
    let counters = Arc::new(StreamCounters::new(registry.totals(&"door".into())));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let counters = Arc::clone(&counters);
            scope.spawn(move || {
                for us in 0..FRAMES {
                    counters.count_captured();
                    counters.count_classified();
                    counters.record(black_box(of(us % 20_000)));
                }
            });
        }
    });
    start.elapsed().as_secs_f64() * 1e9 / FRAMES as f64
}

fn of(us: u64) -> Latency {
    Latency { capture: us, queue: us / 2, preprocess: 600, infer: 10_000 + us, total: 11_000 + us }
}
