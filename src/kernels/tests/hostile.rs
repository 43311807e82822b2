//! Wrong arguments: passes that cannot be made, and none that can do harm.

use std::io::ErrorKind;
use std::sync::Arc;

use super::{kernels, rule};
use crate::kernels::memory::Weights;
use crate::kernels::pass::{
    AddPass, Affine, AveragePass, Clamp, ConvPass, Convolution, CopyPass, Depthwise, DepthwisePass, Function,
    FusedPass, GroupedPass, Kept, Map, Pool, PoolPass, Reduce, Scheme, Transform, TransformPass, WinogradPass,
};
use crate::kernels::runtime::{Builder, Team, Threads};
use crate::kernels::{Isa, Kernels};

/// Values of memory in these tests.
const LENGTH: usize = 4096;

/// More than half of the range of `usize`, and even.
const HUGE: usize = usize::MAX / 2 + 1;

fn scalar() -> Kernels {
    Kernels::of(Isa::Scalar).unwrap()
}

fn convolution(input: Map, kernel: [usize; 2], stride: [usize; 2], output: Map, weights: usize) -> &'static str {
    let (weight, bias) = (vec![0.0; weights], vec![0.0; output.channels.min(LENGTH)]);
    let (top, left, clamp) = (kernel[0].min(1) / 2, 0, Clamp::NONE);
    let layer = Convolution { kernel, stride, top, left, weight: &weight, bias: &bias, clamp };
    rule(ConvPass::new(scalar(), &mut Weights::new(), LENGTH, &[input], &layer, output))
}

#[test]
fn maps_lie_in_memory() {
    let input = Map::padded(0, 4, 4, 8);
    let inside = Map::padded(1024, 4, 4, 8);
    let outside = [
        Map { offset: LENGTH - 127, ..inside },
        Map { offset: usize::MAX - 4, ..inside },
        Map { height: HUGE, ..inside },
        Map { height: HUGE, width: 2, ..inside },
        Map { stride: HUGE, ..inside },
        Map { height: 0, ..inside },
        Map { width: 0, ..inside },
    ];
    for map in outside {
        assert_eq!(convolution(map, [1, 1], [1, 1], inside, 64), "a map does not lie in memory");
        assert_eq!(convolution(input, [1, 1], [1, 1], map, 64), "a map does not lie in memory");
    }
    for (channels, stride) in [(8, 7), (0, 8), (9, 8), (HUGE, 8), (usize::MAX, 8)] {
        let map = Map { channels, stride, ..input };
        assert_eq!(convolution(map, [1, 1], [1, 1], inside, 64), "pixels are too close");
    }
    for (channels, stride) in [(8, 12), (9, 8), (1, 4), (usize::MAX, 8), (usize::MAX - 7, 8)] {
        let map = Map { channels, stride, ..inside };
        assert_eq!(convolution(input, [1, 1], [1, 1], map, 64), "the output is not padded to whole units");
    }
    for offset in [0, 1, 127] {
        let map = Map { offset, ..inside };
        assert_eq!(convolution(input, [1, 1], [1, 1], map, 64), "the output overlaps an input");
    }
}

#[test]
fn the_stride_of_a_single_pixel_is_bounded() {
    let beyond = "a length overflows";
    let output = Map::padded(1024, 1, 1, 8);
    for stride in [usize::MAX, usize::MAX - 7, HUGE] {
        let input = Map { stride, ..Map::padded(0, 1, 1, 8) };
        assert_eq!(convolution(input, [1, 1], [1, 1], output, 64), beyond);
        let (weight, bias) = ([0.0; 8 * 8 * 9], [0.0; 8]);
        let clamp = Clamp::NONE;
        let layer =
            Convolution { kernel: [3, 3], stride: [1, 1], top: 1, left: 1, weight: &weight, bias: &bias, clamp };
        let mut weights = Weights::new();
        let tiled = (input, Scheme::Two);
        assert_eq!(rule(WinogradPass::in_strips(scalar(), &mut weights, LENGTH, tiled, &layer, output)), beyond);
        // Where the output may lie next to the input in the pixels of a third map.
        let (input, output) = (Map { offset: 12, ..input }, Map { offset: 8, stride, ..output });
        assert!(ConvPass::new(scalar(), &mut weights, LENGTH, &[input], &layer, output).is_err());
    }
    // Windows so far apart that the distance between two of them is not addressable.
    let input = Map::padded(0, 1, 1, 8);
    assert_eq!(convolution(input, [1, 1], [1, HUGE / 8], output, 64), beyond);
    assert_eq!(Map::padded(0, HUGE, 2, usize::MAX).pixels(), usize::MAX);
}

#[test]
fn windows_lie_in_maps() {
    let (input, output) = (Map::padded(0, 4, 4, 8), Map::padded(1024, 4, 4, 8));
    let many = "the output has more windows than the input";
    for stride in [[2, 1], [1, 2], [HUGE, 1], [1, HUGE], [usize::MAX, 1], [usize::MAX / 3 + 1, 1]] {
        assert_eq!(convolution(input, [1, 1], stride, output, 64), many);
    }
    assert_eq!(convolution(input, [1, 1], [1, 1], Map { height: 5, ..output }, 64), many);
    assert_eq!(convolution(input, [0, 1], [1, 1], output, 0), "kernels and strides are at least 1");
    assert_eq!(convolution(input, [1, 1], [0, 1], output, 64), "kernels and strides are at least 1");
    let segments = "the contraction has too many segments";
    assert_eq!(convolution(input, [23, 23], [1, 1], output, 64 * 23 * 23), segments);
    assert_eq!(convolution(input, [513, 1], [1, 1], output, 64 * 513), segments);
    let beyond = "a length overflows";
    assert_eq!(convolution(input, [HUGE, 2], [1, 1], output, 0), beyond);
    assert_eq!(convolution(input, [HUGE, HUGE], [1, 1], output, 0), beyond);
    for (kernel, stride) in [([usize::MAX, 1], [1, 1]), ([1, 1], [HUGE, HUGE]), ([usize::MAX; 2], [usize::MAX; 2])] {
        let pool = Pool { kernel, stride, top: 0, left: 0, reduce: Reduce::Mean };
        assert_eq!(rule(PoolPass::new(LENGTH, input, pool, output)), many);
    }
    let pool = Pool { kernel: [2, 2], stride: [1, 1], top: 2, left: 0, reduce: Reduce::Max };
    assert_eq!(rule(PoolPass::new(LENGTH, input, pool, output)), "no window lies in padding alone");
}

#[test]
fn weights_have_their_length() {
    let (input, output) = (Map::padded(0, 4, 4, 8), Map::padded(1024, 4, 4, 8));
    for weights in [0, 63, 65] {
        assert_eq!(convolution(input, [1, 1], [1, 1], output, weights), "the weight has another length");
    }
    for (kernel, weights, bias, reason) in [
        ([3, 3], 71, 8, "the weight has another length"),
        ([3, 3], 72, 7, "the bias has another length"),
        ([HUGE, 2], 0, 8, "a length overflows"),
        ([HUGE / 4, 1], 0, 8, "a length overflows"),
    ] {
        let (weight, bias) = (vec![0.0; weights], vec![0.0; bias]);
        let layer =
            Depthwise { kernel, stride: [1, 1], top: 0, left: 0, weight: &weight, bias: &bias, clamp: Clamp::NONE };
        assert_eq!(rule(DepthwisePass::new(&mut Weights::new(), LENGTH, input, &layer, output)), reason);
    }
    let affine = Affine { scale: Some(&[1.0; 7]), shift: None, function: Function::HardSigmoid };
    let mut builder = Builder::new(scalar(), LENGTH);
    assert_eq!(rule(builder.affine(input, &affine, output)), "a scale or shift has another length");
}

#[test]
fn units_are_read_from_padded_maps_only() {
    let (input, output) = (Map { stride: 9, ..Map::padded(0, 4, 4, 8) }, Map::padded(1024, 4, 4, 8));
    let padded = "the input is not padded to whole units";
    let pool = Pool { kernel: [1, 1], stride: [1, 1], top: 0, left: 0, reduce: Reduce::Max };
    assert_eq!(rule(PoolPass::new(LENGTH, input, pool, output)), padded);
    assert_eq!(rule(AveragePass::new(LENGTH, input, Map::padded(1024, 1, 1, 8))), padded);
    let good = Map::padded(0, 4, 4, 8);
    assert_eq!(rule(AddPass::new(LENGTH, [good, input], Clamp::NONE, output)), padded);
    let (weight, bias) = ([0.0; 72], [0.0; 8]);
    let layer =
        Depthwise { kernel: [3, 3], stride: [1, 1], top: 1, left: 1, weight: &weight, bias: &bias, clamp: Clamp::NONE };
    assert_eq!(rule(DepthwisePass::new(&mut Weights::new(), LENGTH, input, &layer, output)), padded);
    let all = "the output has another number of channels";
    assert_eq!(rule(CopyPass::new(LENGTH, &[good; 2], output)), all);
}

#[test]
fn a_fused_pass_is_checked_as_its_parts() {
    let (weight, bias, taps) = ([0.0; 64], [0.0; 8], [0.0; 72]);
    let clamp = Clamp::NONE;
    let first = Convolution { kernel: [1, 1], stride: [1, 1], top: 0, left: 0, weight: &weight, bias: &bias, clamp };
    let second = Depthwise { kernel: [3, 3], stride: [2, 2], top: 1, left: 1, weight: &taps, bias: &bias, clamp };
    // A small output directly before the input does not overlap it, although the intermediate map is larger.
    let (output, input) = (Map::padded(0, 2, 2, 8), Map::padded(32, 4, 4, 8));
    let fuse = |input: Map, first: &Convolution<'_>, second: &Depthwise<'_>, output: Map| {
        FusedPass::new(scalar(), &mut Weights::new(), LENGTH, &[input], first, second, output)
    };
    assert!(fuse(input, &first, &second, output).is_ok());
    assert_eq!(rule(fuse(Map { offset: 24, ..input }, &first, &second, output)), "the output overlaps an input");
    let regular = "only a pointwise and a regular depthwise convolution are fused";
    assert_eq!(rule(fuse(input, &first, &Depthwise { stride: [1, 1], ..second }, output)), regular);
    assert_eq!(
        rule(fuse(input, &Convolution { stride: [2, 2], ..first }, &second, output)),
        "the output has more windows than the input"
    );
    let length = "the weight has another length";
    assert_eq!(rule(fuse(input, &first, &Depthwise { weight: &taps[1..], ..second }, output)), length);
    assert_eq!(rule(fuse(input, &Convolution { weight: &weight[1..], ..first }, &second, output)), length);
    assert!(!Builder::fuses(&first, &Depthwise { stride: [0, 0], ..second }, [0, 0], [0, 0]));
}

#[test]
fn a_grouped_pass_is_checked_as_a_whole() {
    let (weight, bias) = ([0.0; 96], [0.0; 12]);
    let clamp = Clamp::NONE;
    let layer = Convolution { kernel: [1, 1], stride: [1, 1], top: 0, left: 0, weight: &weight, bias: &bias, clamp };
    let (input, output) = (Map::padded(0, 4, 4, 16), Map::padded(1024, 4, 4, 12));
    let group = |input: Map, layer: &Convolution<'_>, groups: usize, output: Map| {
        GroupedPass::new(scalar(), &mut Weights::new(), LENGTH, input, (layer, groups), output)
    };
    assert!(group(input, &layer, 2, output).is_ok());
    assert_eq!(rule(group(input, &layer, 4, output)), "the weight has another length");
    for groups in [0, 3, 8, usize::MAX] {
        assert_eq!(rule(group(input, &layer, groups, output)), "the groups are not equal");
    }
    let outside = Map { offset: LENGTH - 255, ..output };
    assert_eq!(rule(group(input, &layer, 2, outside)), "a map does not lie in memory");
    let none = Map { channels: 0, ..output };
    assert_eq!(
        rule(group(input, &Convolution { weight: &[], bias: &[], ..layer }, 2, none)),
        "the groups are not equal"
    );
    assert_eq!(
        rule(group(input, &Convolution { bias: &bias[1..], ..layer }, 2, output)),
        "the bias has another length"
    );
    let kernel = [HUGE, 2];
    assert_eq!(rule(group(input, &Convolution { kernel, ..layer }, 2, output)), "a length overflows");
    let many = "the output has more windows than the input";
    assert_eq!(rule(group(input, &Convolution { stride: [2, 1], ..layer }, 2, output)), many);
    assert_eq!(
        rule(group(input, &Convolution { kernel: [0, 1], weight: &[], ..layer }, 2, output)),
        "kernels and strides are at least 1"
    );
    assert_eq!(Builder::grouped_weights(&layer, 0), None);
    assert_eq!(Builder::grouped_weights(&layer, 2), Some(192));
}

#[test]
fn a_program_for_more_memory_than_there_is_does_not_run() {
    let (weight, bias, taps) = ([0.0; 8], [0.0; 8], [0.0; 72]);
    let clamp = Clamp::NONE;
    let first = Convolution { kernel: [1, 1], stride: [1, 1], top: 0, left: 0, weight: &weight, bias: &bias, clamp };
    let second = Depthwise { kernel: [3, 3], stride: [1, 1], top: 1, left: 1, weight: &taps, bias: &bias, clamp };
    let mut builder = Builder::new(scalar(), usize::MAX);
    // With the scratch, it overflows.
    builder.fused(&[Map::padded(0, 1, 1, 1)], &first, &second, Map::padded(HUGE, 1, 1, 8)).unwrap();
    let program = Arc::new(builder.finish());
    for threads in [1, 2, usize::MAX] {
        let error = Team::new(Arc::clone(&program), &Threads::new(threads, |_| ())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    }
}

#[test]
fn an_output_without_channels_is_nothing() {
    for kernels in kernels() {
        let mut builder = Builder::new(kernels, LENGTH);
        let output = Map { stride: 8, ..Map::padded(1024, 4, 4, 0) };
        let clamp = Clamp::NONE;
        let layer = Convolution { kernel: [1, 1], stride: [1, 1], top: 0, left: 0, weight: &[], bias: &[], clamp };
        builder.convolution(&[Map::padded(0, 4, 4, 8)], &layer, output).unwrap();
        let mut team = Team::new(Arc::new(builder.finish()), &Threads::one()).unwrap();
        team.run().unwrap();
        assert!(team.values().iter().all(|value| *value == 0.0));
    }
}

/// The map of 14 × 14 pixels and 8 channels, its transform after it, and the end.
fn transformed() -> (Map, Transform, usize) {
    let input = Map::padded(0, 14, 14, 8);
    let to = Transform::of(&input, Scheme::Four, input.length().unwrap());
    (input, to, to.offset + to.length().unwrap())
}

#[test]
fn a_transform_lies_in_memory_up_to_its_last_tile() {
    let (input, to, end) = transformed();
    assert!(TransformPass::new(end, input, to).is_ok());
    // After the first tile of the last plane, and right before the end.
    for length in [6616, 6680, end - 1] {
        assert_eq!(rule(TransformPass::new(length, input, to)), "a map does not lie in memory");
        let (weight, bias, output) = ([0.0; 8 * 8 * 9], [0.0; 8], Map { offset: 0, ..input });
        let clamp = Clamp::NONE;
        let layer =
            Convolution { kernel: [3, 3], stride: [1, 1], top: 1, left: 1, weight: &weight, bias: &bias, clamp };
        for kept in [Kept::Points, Kept::Taps] {
            let pass = WinogradPass::new(scalar(), &mut Weights::new(), length, &[to], &layer, kept, output);
            assert_eq!(rule(pass), "a map does not lie in memory");
        }
    }
}

#[test]
fn a_transform_overlaps_nothing_up_to_its_last_tile() {
    let (input, to, end) = transformed();
    let room = 2 * end;
    let (weight, bias) = ([0.0; 8 * 8 * 9], [0.0; 8]);
    let clamp = Clamp::NONE;
    let layer = Convolution { kernel: [3, 3], stride: [1, 1], top: 1, left: 1, weight: &weight, bias: &bias, clamp };
    let make = |offset: usize| {
        let output = Map { offset, ..input };
        WinogradPass::new(scalar(), &mut Weights::new(), room, &[to], &layer, Kept::Points, output)
    };
    assert!(make(end).is_ok());
    // In the last plane, after its first tile.
    for offset in [6616, end - 1] {
        assert_eq!(rule(make(offset)), "the output overlaps an input");
        assert_eq!(rule(TransformPass::new(room, Map { offset, ..input }, to)), "the output overlaps an input");
    }
}

#[test]
fn lengths_of_winograd_convolutions_do_not_overflow() {
    let clamp = Clamp::NONE;
    let layer = Convolution { kernel: [3, 3], stride: [1, 1], top: 1, left: 1, weight: &[], bias: &[], clamp };
    let make = |inputs: &[Transform], output: Map| {
        let pass = WinogradPass::new(scalar(), &mut Weights::new(), usize::MAX, inputs, &layer, Kept::Points, output);
        rule(pass)
    };
    // So many channels that the weight's length wraps around to zero.
    let wide = 1 << (usize::BITS - 7);
    let input = Transform::of(&Map::padded(0, 1, 1, wide), Scheme::Two, usize::MAX / 4);
    assert_eq!(make(&[input; 128], Map::padded(0, 1, 1, 8)), "a length overflows");
    let none = Map { channels: 0, ..Map::padded(0, 2, 2, 8) };
    let input = Transform { height: 2, width: 2, channels: 8, ..input };
    assert_eq!(make(&[input], none), "a convolution writes something");
    let input = (Map::padded(64, 2, 2, 8), Scheme::Two);
    assert_eq!(
        rule(WinogradPass::in_strips(scalar(), &mut Weights::new(), LENGTH, input, &layer, none)),
        "a convolution writes something"
    );
}
