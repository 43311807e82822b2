#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Instant;

use burn::tensor::Device;

use super::*;
use crate::hardnet::{self, ARCHITECTURES, Architecture, Block};
use crate::inference::{Network as _, native::NativePlan};
use crate::kernels::runtime::Threads;
use crate::learn::train::framework::Framework;
use crate::learn::train::parameters::Parameters;
use crate::learn::train::random::Random;

/// A small table of each kind.
fn small(depthwise: bool) -> Architecture {
    let block = |growth, layers, transition, downsample| Block { growth, layers, transition, downsample };
    Architecture {
        name: "small".into(),
        stem: [6, 10],
        second_kernel: if depthwise { 1 } else { 3 },
        multiplier: 1.6,
        depthwise,
        dropout_after: None,
        blocks: vec![block(5, 4, 12, true), block(6, 8, 17, false)].into(),
    }
}

fn pictures(count: usize, [height, width]: [usize; 2], seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed, &[]);
    (0..count * height * width * 3).map(|_| random.normal() as f32).collect()
}

/// Parameters whose batch norms change something.
fn parameters(architecture: &Architecture, seed: u64) -> Parameters {
    let mut random = Random::new(seed, &[]);
    let mut parameters = Parameters::initial(architecture, &[3], &mut random);
    for value in &mut parameters.values {
        *value += 0.1 * random.normal() as f32;
    }
    parameters
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs())).max(1e-6);
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= tolerance * scale,
            "{what} {index}: {found}, expected {expected} of {scale}"
        );
    }
}

#[test]
fn features_and_gradients_are_those_of_automatic_differentiation() {
    for (depthwise, size, count) in [(true, [33, 47], 3), (false, [40, 32], 19), (true, [64, 64], 1)] {
        let architecture = small(depthwise);
        let plan = Plan::new(&architecture, size);
        let mut parameters = parameters(&architecture, 1);
        let pictures = pictures(count, size, 2);
        let values = parameters.values[..plan.parameters].to_vec();

        let mut framework = Framework::new(plan.clone(), Device::flex().autodiff());
        let mut statistics = parameters.statistics.clone();
        let expected = framework.forward(&values, &mut statistics, &pictures, Mode::Train);
        let towards: Vec<f32> = (0..expected.len()).map(|index| (index as f32).sin()).collect();
        let expected_gradients = framework.backward(&towards);

        let mut backbone = Backbone::new(plan);
        let features = backbone.forward(&values, &mut parameters.statistics, &pictures, Mode::Train);
        assert_close(&features, &expected, 1e-4, "feature");
        assert_close(&parameters.statistics.mean, &statistics.mean, 1e-4, "running mean");
        assert_close(&parameters.statistics.variance, &statistics.variance, 1e-3, "running variance");
        // The framework's leaves follow each other as parameters do.
        let found = backbone.backward(&values, &towards);
        assert_close(&found, &expected_gradients, 2e-3, "gradient");
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for depthwise in [true, false] {
        let (architecture, size) = (small(depthwise), [32, 32]);
        let plan = Plan::new(&architecture, size);
        let parameters = parameters(&architecture, 3);
        let values = parameters.values[..plan.parameters].to_vec();
        let pictures = pictures(4, size, 4);
        let mut backbone = Backbone::new(plan);
        let mut loss = |values: &[f32]| {
            let features = backbone.forward(values, &mut parameters.statistics.clone(), &pictures, Mode::Train);
            features.iter().enumerate().map(|(index, value)| f64::from(*value) * (index as f64).cos()).sum::<f64>()
        };
        let mut random = Random::new(5, &[]);
        let direction: Vec<f32> = values.iter().map(|_| random.normal() as f32).collect();
        let moved = |by: f32| values.iter().zip(&direction).map(|(value, to)| value + by * to).collect::<Vec<_>>();
        let step = 3e-5;
        let slope = (loss(&moved(step)) - loss(&moved(-step))) / (2.0 * f64::from(step));
        loss(&values);
        let towards: Vec<f32> = (0..4 * 17).map(|index| (index as f64).cos() as f32).collect();
        let gradient = backbone.backward(&values, &towards);
        let expected: f64 = gradient.iter().zip(&direction).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        assert!((slope - expected).abs() < 0.02 * expected.abs().max(0.1), "{slope}, by the gradient {expected}");
    }
}

#[test]
fn threads_do_not_change_results() {
    let (architecture, size) = (small(true), [32, 32]);
    let plan = Plan::new(&architecture, size);
    let parameters = parameters(&architecture, 6);
    let values = parameters.values[..plan.parameters].to_vec();
    let pictures = pictures(21, size, 7);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (mut backbone, mut statistics) = (Backbone::new(plan.clone()), parameters.statistics.clone());
            let features = backbone.forward(&values, &mut statistics, &pictures, Mode::Train);
            (backbone.backward(&values, &features), features, statistics)
        })
    };
    assert!(run(1) == run(3));
}

#[test]
fn evaluation_gives_the_logits_of_the_engine() {
    for architecture in [small(true), small(false), ARCHITECTURES[0].clone()] {
        let size = [64, 64];
        let state = hardnet::seeded(&architecture, 10).unwrap();
        let mut parameters = Parameters::from_state(&architecture, &state, &[10], &mut Random::new(0, &[])).unwrap();
        let graph = hardnet::build(&architecture, 10, &state).unwrap();
        let plan = NativePlan::compile(graph, 64, 64, crate::engine::plan::PlanOptions::default()).unwrap();
        let mut network = plan.network(&Threads::one()).unwrap();
        let pictures = pictures(1, size, 8);
        network.input().data_mut().copy_from_slice(&pictures);
        network.run().unwrap();

        let plan = Plan::new(&architecture, size);
        let values = parameters.values[..plan.parameters].to_vec();
        let features = Backbone::new(plan).forward(&values, &mut parameters.statistics, &pictures, Mode::Evaluate);
        let head = &parameters.heads[0];
        let weights = parameters.values[head.weight.clone()].chunks(features.len());
        let logits: Vec<f32> = weights
            .zip(&parameters.values[head.bias.clone()])
            .map(|(row, bias)| row.iter().zip(&features).map(|(a, b)| a * b).sum::<f32>() + bias)
            .collect();
        assert_close(&logits, &network.outputs()[0].values, 1e-3, &architecture.name);
        let again = parameters.state(&architecture, 0).unwrap();
        for (key, array) in state.iter() {
            assert_eq!(again.get(key).unwrap(), array, "{key}");
        }
    }
}

#[test]
#[ignore = "a measurement: pictures per second in training"]
fn speed() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (size, count) = (number("SIZE", 224), number("BATCH", 16));
    let plan = Plan::new(&ARCHITECTURES[number("MODEL", 0)], [size, size]);
    let mut parameters = Parameters::initial(&ARCHITECTURES[number("MODEL", 0)], &[10], &mut Random::new(1, &[]));
    let values = parameters.values[..plan.parameters].to_vec();
    let pictures = pictures(count, [size, size], 2);
    let mut backbone = Backbone::new(plan);
    for _ in 0..5 {
        let start = Instant::now();
        let features = backbone.forward(&values, &mut parameters.statistics, &pictures, Mode::Train);
        let forward = start.elapsed().as_secs_f64();
        let gradient = backbone.backward(&values, &features);
        let time = start.elapsed().as_secs_f64();
        #[allow(clippy::print_stdout, reason = "a measurement")]
        {
            println!("forward {forward:.3} s, all {time:.3} s, {:.1}/s ({})", count as f64 / time, gradient[5]);
        }
    }
}
