//! Prints the speed of the kernels next to the processor's peak: `cargo test --release -- --ignored speed`.

#![allow(clippy::print_stdout, reason = "it is what it is for")]

use std::hint::black_box;
use std::time::Instant;

use super::kernels;
use crate::kernels::Kernels;
use crate::kernels::tile::{Depthwise, Segment, Tile};

/// Repetitions of every measurement: the best counts, because other programs may be running.
const TRIES: usize = 30;

/// Operations per second of `work`, in 10^9, for `macs` multiply-accumulates.
fn speed(macs: usize, mut work: impl FnMut()) -> f64 {
    let runs = (2_000_000 / macs).max(1);
    let time = |_| {
        let start = Instant::now();
        (0..runs).for_each(|_| work());
        start.elapsed().as_secs_f64()
    };
    (macs * runs * 2) as f64 / (0..TRIES).map(time).fold(f64::INFINITY, f64::min) / 1e9
}

/// The peak of an instruction set, in 10^9 operations per second.
fn peak(kernels: Kernels) -> f64 {
    let macs = usize::try_from(kernels.burst() / 2).unwrap();
    speed(macs, || {
        black_box(kernels.burst());
    })
}

fn product(kernels: Kernels, steps: usize, rows: usize, depth: usize) -> f64 {
    let width = steps * kernels.step();
    let (input, weights) = (vec![0.5; rows * depth], vec![0.25; depth * width + 16]);
    let (bias, mut out) = (vec![0.0; width], vec![0.0; rows * width]);
    let segment = Segment { input: input.as_ptr(), stride: depth, channels: depth, first: 0 };
    let tile = Tile {
        segments: &raw const segment,
        count: 1,
        row: 0,
        // Weights of a program begin with a cache line.
        weights: weights.as_ptr().wrapping_add(weights.as_ptr().align_offset(64)),
        bias: bias.as_ptr(),
        bias_stride: 0,
        out: out.as_mut_ptr(),
        out_stride: width,
        low: 0.0,
        high: 6.0,
        prefetch: weights.as_ptr(),
        prefetch_step: 1,
    };
    let products = kernels.products(width);
    // SAFETY: segments, weights, biases and output are as long as the kernel requires.
    speed(rows * width * depth, || unsafe { products.run(rows, black_box(&tile)) })
}

fn depthwise(kernels: Kernels, steps: usize, stride: usize, width: usize) -> f64 {
    let lanes = steps * kernels.step();
    let (out_width, rows) = (width.div_ceil(stride), [(); 3].map(|()| vec![0.5; width * lanes]));
    let (weights, mut out) = (vec![0.25; 10 * lanes], vec![0.0; out_width * lanes]);
    let row = Depthwise {
        rows: [0, 1, 2].map(|index: usize| rows[index].as_ptr()),
        in_stride: lanes,
        in_width: width,
        out: out.as_mut_ptr(),
        out_stride: lanes,
        out_width,
        weights: weights.as_ptr(),
        weight_stride: lanes,
        low: f32::NEG_INFINITY,
        high: f32::INFINITY,
    };
    // SAFETY: rows, weights and output are as long as the kernel requires.
    speed(out_width * lanes * 9, || unsafe { kernels.depthwise(steps, stride, black_box(&row)) })
}

#[test]
fn a_burst_counts_what_it_computes() {
    for kernels in kernels() {
        let operations = kernels.burst();
        assert!(
            operations > 0 && operations.is_multiple_of(2 * kernels.step() as u64),
            "{}: {operations}",
            kernels.isa()
        );
        assert!(peak(kernels) > 0.0);
    }
}

#[test]
#[ignore = "measures"]
fn speed_of_all_kernels() {
    for kernels in kernels() {
        let peak = peak(kernels);
        let part = |speed: f64| format!(" ({:.0} %)", speed / peak * 100.0);
        println!("{}: peak {peak:.1} GFLOP/s", kernels.isa());
        for steps in 1..=kernels.most_steps() {
            let width = steps * kernels.step();
            for rows in 1..=kernels.products(width).most_rows() {
                let speeds = [64, 128, 256, 512].map(|depth| product(kernels, steps, rows, depth));
                let all: Vec<String> = speeds.iter().map(|speed| format!("{speed:6.1}{}", part(*speed))).collect();
                println!("  {rows:2} × {width:2}, depth 64 to 512: {}", all.join(" "));
            }
        }
        for (steps, stride) in (1..=kernels.most_depthwise_steps()).flat_map(|steps| [(steps, 1), (steps, 2)]) {
            let speeds = [7, 14, 28, 56].map(|width| depthwise(kernels, steps, stride, width));
            let all: Vec<String> = speeds.iter().map(|speed| format!("{speed:6.1}{}", part(*speed))).collect();
            println!("  depthwise {}, stride {stride}, width 7 to 56: {}", steps * kernels.step(), all.join(" "));
        }
    }
}
