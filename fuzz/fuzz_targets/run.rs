//! Plans and runs networks: every input is a network, in an ONNX file or as a list of layers, that every instruction
//! set of the processor computes without touching memory outside its own.
//!
//! Each network runs on every instruction set and in both memory modes, with some number of threads. Its maps lie in
//! memory in two ways: as usual, and apart, with gaps between maps and after the scratch of each thread. The content of
//! the gaps must not change; with AddressSanitizer, reading them is a fault, too. Both computations must give the same
//! bits, twice in a row, in memory filled with NaN; instruction sets, memory modes and the plain loops in double
//! precision must agree.
#![no_main]

#[path = "run/network.rs"]
mod network;
#[path = "run/report.rs"]
mod report;

use std::env;
use std::fs;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hardnetd::choice::MemoryMode;
use hardnetd::engine::plan::{Error, Plan, PlanOptions};
use hardnetd::engine::run::Runner;
use hardnetd::engine::{cost, import, onnx, reference};
use hardnetd::kernels::Isa;
use hardnetd::kernels::runtime::Threads;
use hardnetd::tensor::Tensor;
use libfuzzer_sys::fuzz_target;
use network::{Bytes, Network, Noise};

/// The first byte of an ONNX file: the field with the version of the format.
const ONNX: u8 = 0x08;

/// Maximum multiply-accumulates of a network, and of one that is computed in double precision.
const MACS: u64 = 16 << 20;
const REFERENCE_MACS: u64 = 2 << 20;
/// Maximum bytes of maps, and maximum values of weights.
const MAP_BYTES: u64 = 64 << 20;
const WEIGHTS: u64 = 4 << 20;

/// Maximum difference of results, relative to the largest. Winograd's transforms subtract values that are some hundred
/// times the result, layer after layer; a read or write in the wrong place changes all of it.
const ERROR: f64 = 1e-2;

/// Content of the gaps.
const CANARY: u32 = 0x7fa5_c0de;

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, rest)) = bytes.split_first() else { return };
    if first == ONNX {
        if let Ok(imported) = import::read(bytes) {
            let [height, width] = imported.size.unwrap_or([1 + bytes.len() % 40, 1 + bytes.len() % 37]);
            report::imported();
            check(&Network { graph: imported.graph, height, width, seed: 1, threads: 1 + bytes.len() % 4 });
        }
        return;
    }
    let Some(mut network) = Network::of(&mut Bytes::new(rest)) else { return };
    // Every fourth one goes through a file.
    if first % 4 == 3
        && let Ok(model) = onnx::model(&network.graph, network.height, network.width)
    {
        let file = onnx::bytes(&model);
        seed(&file);
        match import::read(&file) {
            Ok(imported) => network.graph = imported.graph,
            Err(error) => panic!("what was written cannot be read: {error}"),
        }
        report::imported();
    }
    check(&network);
});

/// Saves a small file as a seed, if `SEEDS` names a folder.
fn seed(file: &[u8]) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    if let Ok(folder) = env::var("SEEDS")
        && file.len() < 16 << 10
    {
        let _ = fs::write(format!("{folder}/{}.onnx", COUNT.fetch_add(1, Ordering::Relaxed)), file);
    }
}

/// Whether a network is small enough.
fn is_small(network: &Network) -> bool {
    let Network { graph, height, width, .. } = network;
    let Ok(cost) = cost::cost(graph, *height, *width) else { return false };
    let maps: u64 = cost.nodes.iter().fold(0, |sum: u64, node| {
        let [h, w, c] = [node.shape.height, node.shape.width, node.shape.channels].map(|length| length as u64);
        sum.saturating_add(h.saturating_mul(w).saturating_mul(c.saturating_add(8)).saturating_mul(4))
    });
    let weights = cost.nodes.iter().fold(0, |sum: u64, node| sum.saturating_add(node.weights));
    maps <= MAP_BYTES && weights <= WEIGHTS && graph.macs(*height, *width).is_ok_and(|macs| macs <= MACS)
}

fn check(network: &Network) {
    let Network { graph, height, width, .. } = network;
    if env::var_os("SHOW").is_some() {
        network.show();
    }
    if !is_small(network) {
        return report::passed_over();
    }
    let mut noise = Noise(network.seed);
    let channels = graph.nodes()[graph.input().index()].channels;
    let input: Vec<f32> = (0..height * width * channels).map(|_| noise.next()).collect();
    let mut expected = exact(network, &input);
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        for memory in MemoryMode::ALL.iter().copied() {
            let options = PlanOptions { isa, memory };
            let plan = match Plan::new(graph.clone(), *height, *width, options) {
                Ok(plan) => plan,
                Err(Error::Pass { node, source }) => panic!("`{node}` cannot be planned: {source}"),
                Err(_) => return report::unsupported(),
            };
            report::steps(isa, memory, network.threads, plan.steps());
            let result = run(plan, network, &input);
            let apart = Plan::apart(graph.clone(), *height, *width, options).unwrap();
            assert!(same(&result, &run(apart, network, &input)), "{options:?}: maps apart give something else");
            match &expected {
                Some(expected) => compare(expected, &result, options),
                None => expected = Some(result.iter().map(|value| f64::from(*value)).collect()),
            }
        }
    }
    report::network();
}

/// The result in double precision, channel by channel; `None` for a large network.
fn exact(network: &Network, input: &[f32]) -> Option<Vec<f64>> {
    let Network { graph, height, width, .. } = network;
    if graph.macs(*height, *width).is_ok_and(|macs| macs > REFERENCE_MACS) {
        return None;
    }
    let channels = graph.nodes()[graph.input().index()].channels;
    let mut tensor = Tensor::zeros(*height, *width, channels);
    tensor.data_mut().copy_from_slice(input);
    let mut result = None;
    let outcome = reference::run::<hardnetd::engine::graph::Error>(graph, &tensor, |id, map| {
        if id == graph.output() {
            result = Some(map.values.clone());
        }
        Ok(())
    });
    outcome.unwrap();
    report::exact();
    result
}

/// Runs a plan twice, in memory filled with NaN, and returns its result.
fn run(plan: Plan, network: &Network, input: &[f32]) -> Vec<f32> {
    let threads = Threads::new(network.threads, |_| ());
    let mut runner = Runner::new(Arc::new(plan), &threads).unwrap();
    let gaps = runner.gaps();
    let mut results = [(); 2].map(|()| {
        let memory = runner.memory();
        memory.fill(f32::NAN);
        for gap in &gaps {
            memory[gap.clone()].fill(f32::from_bits(CANARY));
        }
        poison(memory, &gaps, true);
        let mut output = vec![0.0; runner.plan().outputs()];
        runner.run(input, &mut output).unwrap();
        let memory = runner.memory();
        poison(memory, &gaps, false);
        for gap in &gaps {
            let stays = memory[gap.clone()].iter().all(|value| value.to_bits() == CANARY);
            assert!(stays, "something writes to the gap at {gap:?}");
        }
        output
    });
    assert!(same(&results[0], &results[1]), "the second run differs");
    report::run();
    std::mem::take(&mut results[0])
}

/// Forbids access to the gaps, or allows it again.
#[cfg(asan)]
fn poison(memory: &[f32], gaps: &[Range<usize>], forbid: bool) {
    unsafe extern "C" {
        fn __asan_poison_memory_region(start: *const f32, bytes: usize);
        fn __asan_unpoison_memory_region(start: *const f32, bytes: usize);
    }
    for gap in gaps {
        let gap = &memory[gap.clone()];
        // SAFETY: both functions accept any memory of the program.
        unsafe {
            match forbid {
                true => __asan_poison_memory_region(gap.as_ptr(), size_of_val(gap)),
                false => __asan_unpoison_memory_region(gap.as_ptr(), size_of_val(gap)),
            }
        }
    }
}

#[cfg(not(asan))]
fn poison(_memory: &[f32], _gaps: &[Range<usize>], _forbid: bool) {}

fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// Fails if results differ too much; files may contain weights that lead to NaN.
fn compare(expected: &[f64], result: &[f32], options: PlanOptions) {
    assert_eq!(expected.len(), result.len());
    let largest = expected.iter().fold(1.0, |most: f64, value| most.max(value.abs()));
    if !expected.iter().all(|value| value.is_finite()) || largest > 1e6 {
        return;
    }
    for (index, (expected, value)) in expected.iter().zip(result).enumerate() {
        let error = (f64::from(*value) - expected).abs();
        assert!(error <= ERROR * largest, "{options:?}: {value} instead of {expected} at {index}, largest {largest}");
    }
}
