//! Passes in sequence, in a program: every instruction set computes the same network.

use std::sync::Arc;

use super::{Noise, kernels};
use crate::kernels::Kernels;
use crate::kernels::pass::{Affine, Clamp, Convolution, Depthwise, Function, Map, Pool, Reduce};
use crate::kernels::runtime::{Builder, Team, Threads};

/// Maximum difference between instruction sets in a network of a few layers with values of about 1: the roundings of
/// each, in sums of less than a hundred terms.
const NETWORK: f32 = 1e-5;

/// Runs a small network, twice in the same memory; returns its results and the algorithms of its passes.
fn run(kernels: Kernels) -> (Vec<f32>, Vec<&'static str>) {
    let mut end = 0;
    let mut map = |height: usize, width: usize, channels: usize| {
        let map = Map::padded(end, height, width, channels);
        end += map.length().unwrap();
        map
    };
    let (image, stem) = (Map { stride: 3, ..Map::padded(0, 13, 11, 3) }, map(13, 11, 3));
    let maps =
        [map(7, 6, 20), map(7, 6, 10), map(7, 6, 30), map(4, 3, 30), map(2, 2, 30), map(2, 2, 30), map(1, 1, 30)];
    let last = map(1, 1, 7);
    assert_eq!(stem.offset, image.offset);
    let mut noise = Noise(11);
    let clamp = Clamp::RELU6;
    let mut builder = Builder::new(kernels, end);
    let (weight, bias) = (noise.values(20 * 27), noise.values(30));
    let layer =
        Convolution { kernel: [3, 3], stride: [2, 2], top: 1, left: 1, weight: &weight, bias: &bias[..20], clamp };
    builder.convolution(&[image], &layer, maps[0]).unwrap();
    let (weight, taps) = (noise.values(200), noise.values(300));
    let first =
        Convolution { kernel: [1, 1], stride: [1, 1], top: 0, left: 0, weight: &weight, bias: &bias[..10], clamp };
    let second = |channels: usize, stride: usize| Depthwise {
        kernel: [3, 3],
        stride: [stride; 2],
        top: 1,
        left: 1,
        weight: &taps[..channels * 9],
        bias: &bias[..channels],
        clamp: Clamp::NONE,
    };
    builder.fused(&[maps[0]], &first, &second(10, 1), maps[1]).unwrap();
    builder.copy(&[maps[0], maps[1]], maps[2]).unwrap();
    builder.depthwise(maps[2], &second(30, 2), maps[3]).unwrap();
    let pool = Pool { kernel: [2, 2], stride: [2, 2], top: 0, left: 0, reduce: Reduce::Max };
    builder.pool(maps[3], pool, maps[4].with_width(1)).unwrap_err();
    builder.pool(maps[3], Pool { left: 1, ..pool }, maps[4]).unwrap();
    let affine = Affine { scale: Some(&bias), shift: None, function: Function::HardSwish };
    builder.affine(maps[4], &affine, maps[5]).unwrap();
    builder.add([maps[4], maps[5]], Clamp::NONE, maps[2].with_size(2, 2)).unwrap();
    builder.average(maps[2].with_size(2, 2), maps[6]).unwrap();
    let weight = noise.values(210);
    let layer = Convolution { weight: &weight, bias: &bias[..7], clamp: Clamp::NONE, ..first };
    builder.convolution(&[maps[6]], &layer, last).unwrap();
    let program = Arc::new(builder.finish());
    let input = noise.values(13 * 11 * 3);
    let mut results = [1, 1, 2, 3].map(|threads| {
        let mut team = Team::new(Arc::clone(&program), &Threads::new(threads, |_| ())).unwrap();
        let mut runs = [(); 3].map(|()| {
            team.values()[..input.len()].copy_from_slice(&input);
            team.run().unwrap();
            team.values()[last.offset..][..7].to_vec()
        });
        assert!(runs[0] == runs[1] && runs[1] == runs[2]);
        std::mem::take(&mut runs[0])
    });
    assert_eq!(results[0], results[1]);
    // Parts may compute a value with other tiles than a single thread does.
    for result in &results[2..] {
        let near = |(value, expected): (&f32, &f32)| (value - expected).abs() <= NETWORK;
        assert!(result.iter().zip(&results[0]).all(near), "{result:?} instead of {:?}", results[0]);
    }
    assert!(program.weight_bytes() > 0 && program.kernels().isa() == kernels.isa());
    (std::mem::take(&mut results[0]), program.summaries().map(|pass| pass.algorithm).collect())
}

impl Map {
    fn with_size(self, height: usize, width: usize) -> Self {
        Self { height, width, ..self }
    }

    /// So wide that no window of the tests is there.
    fn with_width(self, more: usize) -> Self {
        Self { width: self.width + more, ..self }
    }
}

#[test]
fn instruction_sets_agree() {
    let mut all = kernels().map(|kernels| (kernels.isa(), run(kernels)));
    let (_, (expected, passes)) = all.next().unwrap();
    let names = ["direct", "pointwise+depthwise", "copy", "depthwise", "pool", "affine", "add", "mean", "pointwise"];
    assert_eq!(passes, names);
    assert!(expected.iter().any(|value| value.abs() > 0.1));
    for (isa, (result, _)) in all {
        for (value, expected) in result.iter().zip(&expected) {
            assert!((value - expected).abs() <= NETWORK, "{value} instead of {expected} with {isa}");
        }
    }
}
