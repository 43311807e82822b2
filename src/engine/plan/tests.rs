//! Plans whose maps never share memory compute the same results as those whose maps do, and leave the gaps between maps
//! alone. Long sums are accurate.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use super::super::graph::{Activation, Builder, Conv, Error, Graph, NodeId, Padding, Values, Window};
use super::super::reference;
use super::super::run::Runner;
use super::{Plan, PlanOptions};
use crate::choice::MemoryMode;
use crate::kernels::Isa;
use crate::kernels::runtime::Threads;
use crate::tensor::Tensor;

/// Value of the gaps between maps.
const GAP: f32 = 12345.0;

fn values(length: usize, inputs: usize) -> Values {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..length).map(|_| next() / (inputs as f32).sqrt()).collect()
}

fn conv(builder: &mut Builder, from: NodeId, channels: usize, window: Window, groups: usize) -> NodeId {
    let read = builder.channels(from).unwrap();
    let each = read / groups * window.kernel[0] * window.kernel[1];
    let (weight, bias) = (values(channels * each, each), values(channels, 1));
    let activation = Activation::Relu;
    let conv = Conv { in_channels: read, out_channels: channels, window, groups, weight, bias, activation };
    builder.conv(&format!("{}:{channels}:{groups}", from.index()), from, conv).unwrap()
}

/// Checks what a graph computes on every instruction set, apart and not, with one thread and with several.
fn check(graph: &Graph, height: usize, width: usize) {
    for (isa, memory) in
        Isa::ALL.into_iter().filter(|isa| isa.is_available()).zip(MemoryMode::ALL.iter().copied().cycle())
    {
        for threads in [1, 2, 3, 5] {
            let options = PlanOptions { isa, memory };
            let run = |plan: Plan| {
                let mut runner = Runner::new(Arc::new(plan), &Threads::new(threads, |_| ())).unwrap();
                let gaps = runner.gaps();
                let memory = runner.memory();
                memory.fill(f32::NAN);
                gaps.iter().for_each(|gap| memory[gap.clone()].fill(GAP));
                let [h, w, c] = runner.plan().input();
                let mut output = vec![0.0; runner.plan().outputs()];
                runner.run(&values(h * w * c, 1), &mut output).unwrap();
                let memory = runner.memory();
                assert!(gaps.iter().all(|gap| memory[gap.clone()].iter().all(|value| *value == GAP)), "{options:?}");
                output.iter().map(|value| value.to_bits()).collect::<Vec<_>>()
            };
            let apart = run(Plan::apart(graph.clone(), height, width, options).unwrap());
            assert!(apart.iter().all(|value| !f32::from_bits(*value).is_nan()));
            assert_eq!(run(Plan::new(graph.clone(), height, width, options).unwrap()), apart, "{options:?} {threads}");
        }
    }
}

#[test]
fn a_grouped_convolution_has_scratch_of_its_own() {
    // 8 × 8 to 512 channels, then 1 × 1 in two groups on 7 × 7 pixels.
    let mut builder = Builder::new();
    let input = builder.input("input", 3).unwrap();
    let wide = conv(&mut builder, input, 512, Window::square(8, 1, 0), 1);
    let last = conv(&mut builder, wide, 512, Window::square(1, 1, 0), 2);
    check(&builder.finish(last).unwrap(), 14, 14);
}

#[test]
fn a_grouped_convolution_reads_a_map_at_the_end_of_memory() {
    // The output lies where the input was, before what is read; the last group is not a whole unit.
    let mut builder = Builder::new();
    let input = builder.input("input", 3).unwrap();
    let map = conv(&mut builder, input, 16, Window::square(3, 3, 1), 1);
    let last = conv(&mut builder, map, 32, Window::square(3, 2, 1), 4);
    check(&builder.finish(last).unwrap(), 64, 64);
}

#[test]
fn groups_of_any_number_of_channels_run_natively() {
    // The last group of the input ends within a unit, or beyond the last one of the map.
    for groups in 2..=5 {
        for read in 1..=9 {
            for written in [1, 3, 8] {
                let mut builder = Builder::new();
                let input = builder.input("input", groups * read).unwrap();
                let first = conv(&mut builder, input, groups * written, Window::square(3, 1, 1), groups);
                let second = conv(&mut builder, first, groups * read, Window::square(1, 1, 0), groups);
                let last = conv(&mut builder, second, groups, Window::square(3, 2, 1), groups);
                let graph = builder.finish(last).unwrap();
                let plan = Plan::new(graph.clone(), 5, 6, PlanOptions { isa: Isa::Scalar, memory: MemoryMode::Fast });
                assert!(plan.is_ok(), "{groups} groups of {read} and {written}: {:?}", plan.err());
                if read % 4 == 3 {
                    check(&graph, 5, 6);
                }
            }
        }
    }
}

#[test]
fn every_kind_of_layer_keeps_to_its_maps() {
    for (height, width) in [(30, 29), (9, 13)] {
        let mut builder = Builder::new();
        let input = builder.input("input", 3).unwrap();
        let a = conv(&mut builder, input, 21, Window::square(3, 1, 1), 1);
        let b = conv(&mut builder, a, 19, Window::square(3, 1, 1), 1);
        let joined = builder.concat("joined", &[a, b]).unwrap();
        let c = conv(&mut builder, joined, 24, Window::square(3, 1, 1), 1);
        let d = conv(&mut builder, c, 30, Window::square(1, 1, 0), 1);
        let e = conv(&mut builder, d, 30, Window::square(3, 2, 1), 30);
        let pooled = builder.max_pool("pool", e, Window::square(2, 2, 1)).unwrap();
        let wide = conv(&mut builder, pooled, 300, Window::square(1, 1, 0), 3);
        let last = conv(&mut builder, wide, 130, Window::square(1, 1, 0), 1);
        check(&builder.finish(last).unwrap(), height, width);
    }
}

#[test]
fn a_map_may_be_padded_differently_at_its_ends() {
    for [bottom, right] in [[0, 0], [2, 2], [1, 0], [0, 2]] {
        let mut builder = Builder::new();
        let input = builder.input("input", 3).unwrap();
        let map = conv(&mut builder, input, 16, Window::square(3, 1, 1), 1);
        let window = Window { padding: Padding { top: 1, left: 1, bottom, right }, ..Window::square(3, 1, 1) };
        let last = conv(&mut builder, map, 12, window, 1);
        check(&builder.finish(last).unwrap(), 32, 30);
    }
}

#[test]
fn a_layer_that_nobody_needs_takes_none_along() {
    // A depthwise convolution that the output does not depend on reads the same map as one that it does depend on.
    let mut builder = Builder::new();
    let input = builder.input("input", 3).unwrap();
    let map = conv(&mut builder, input, 6, Window::square(1, 1, 0), 1);
    conv(&mut builder, map, 6, Window::square(3, 2, 1), 6);
    let last = conv(&mut builder, map, 21, Window::square(3, 1, 1), 1);
    check(&builder.finish(last).unwrap(), 12, 11);
}

#[test]
fn long_sums_are_as_accurate_as_short_ones() {
    // The second convolution reads the same map and has shorter sums: both have the same tiles.
    let mut builder = Builder::new();
    let input = builder.input("input", 3).unwrap();
    let map = conv(&mut builder, input, 1600, Window::square(1, 1, 0), 1);
    let long = conv(&mut builder, map, 16, Window::square(3, 1, 1), 1);
    let part = conv(&mut builder, long, 16, Window::square(3, 1, 1), 1);
    let joined = builder.concat("joined", &[map, part]).unwrap();
    let last = conv(&mut builder, joined, 8, Window::square(3, 1, 1), 1);
    let graph = builder.finish(last).unwrap();
    let mut picture = Tensor::zeros(24, 24, 3);
    picture.data_mut().copy_from_slice(&values(24 * 24 * 3, 1));
    let mut expected = vec![];
    reference::run(&graph, &picture, |id, map| {
        if id == graph.output() {
            expected.clone_from(&map.values);
        }
        Ok::<(), Error>(())
    })
    .unwrap();
    let largest = expected.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let plan = Plan::new(graph.clone(), 24, 24, PlanOptions { isa, memory: MemoryMode::Fast }).unwrap();
        let mut output = vec![0.0; plan.outputs()];
        let mut runner = Runner::new(Arc::new(plan), &Threads::one()).unwrap();
        runner.run(picture.data(), &mut output).unwrap();
        let pairs = output.iter().zip(&expected);
        let errors = pairs.map(|(value, expected)| (f64::from(*value) - expected).abs() / largest);
        let error = errors.fold(0.0, f64::max);
        assert!(error < 4e-6, "{isa:?}: {error}");
    }
}

#[test]
fn what_depthwise_convolutions_read_has_small_tiles() {
    for (strides, expected) in [(vec![], "winograd 6"), (vec![1], "winograd 6"), (vec![2, 1], "winograd 2")] {
        let mut builder = Builder::new();
        let input = builder.input("input", 3).unwrap();
        let map = conv(&mut builder, input, 24, Window::square(1, 1, 0), 1);
        let mut map = conv(&mut builder, map, 48, Window::square(3, 1, 1), 1);
        for stride in strides {
            map = conv(&mut builder, map, 48, Window::square(3, stride, 1), 48);
        }
        let options = PlanOptions { isa: Isa::Scalar, memory: MemoryMode::Fast };
        let plan = Plan::new(builder.finish(map).unwrap(), 24, 24, options).unwrap();
        assert!(plan.steps().iter().any(|step| step.algorithm.starts_with(expected)), "{expected}");
    }
}
