//! Sums, scales, functions and copies.

use super::{FUNCTION, Memory, Noise, Plain, kernels};
use crate::kernels::UNIT;
use crate::kernels::memory::Weights;
use crate::kernels::pass::{AddPass, Affine, AffinePass, Clamp, CopyPass, Function, Map};

/// The function in double precision.
fn apply(function: Function, x: f64) -> f64 {
    let hard = (x / 6.0 + 0.5).clamp(0.0, 1.0);
    let sigmoid = 1.0 / (1.0 + (-x).exp());
    match function {
        Function::Clamp(Clamp { low, high }) => x.clamp(f64::from(low), f64::from(high)),
        Function::HardSigmoid => hard,
        Function::HardSwish => x * hard,
        Function::Sigmoid => sigmoid,
        Function::Silu => x * sigmoid,
    }
}

#[test]
fn scales_shifts_and_functions() {
    let functions = [
        Function::Clamp(Clamp::NONE),
        Function::Clamp(Clamp::RELU6),
        Function::HardSigmoid,
        Function::HardSwish,
        Function::Sigmoid,
        Function::Silu,
    ];
    for (channels, function) in [1, 8, 20].into_iter().flat_map(|count| functions.map(|function| (count, function))) {
        let mut noise = Noise(9);
        let mut input = Plain::noise(3, 5, channels, &mut noise);
        input.values.iter_mut().for_each(|value| *value *= 5.0);
        let (scale, shift) = (noise.values(channels), noise.values(channels));
        for (scale, shift) in
            [(None, None), (Some(&*scale), None), (None, Some(&*shift)), (Some(&*scale), Some(&*shift))]
        {
            let affine = Affine { scale, shift, function };
            for kernels in kernels() {
                let mut memory = Memory::new();
                let from = memory.put(&input, UNIT);
                let output = memory.room(3, 5, channels, 0);
                let mut weights = Weights::new();
                let pass = AffinePass::new(&mut weights, memory.length(), from, &affine, output).unwrap();
                let result = memory.run(kernels, &weights, &pass, &output);
                for (index, (value, x)) in result.values.iter().zip(&input.values).enumerate() {
                    let of = |values: Option<&[f32]>, none| {
                        values.map_or(none, |values| f64::from(values[index % channels]))
                    };
                    let x = f64::from(*x) * of(scale, 1.0) + of(shift, 0.0);
                    let expected = apply(function, x);
                    let error = (f64::from(*value) - expected).abs();
                    assert!(error <= FUNCTION * (6.0 + x.abs()), "{value} instead of {expected}: {affine:?}");
                }
            }
        }
    }
}

#[test]
fn sums_of_two_maps() {
    for channels in [1, 8, 20] {
        let mut noise = Noise(5);
        let inputs = [(); 2].map(|()| Plain::noise(4, 3, channels, &mut noise));
        for kernels in kernels() {
            let mut memory = Memory::new();
            let from = [memory.put(&inputs[0], 0), memory.put(&inputs[1], UNIT)];
            let output = memory.room(4, 3, channels, 0);
            let pass = AddPass::new(memory.length(), from, Clamp::RELU, output).unwrap();
            let result = memory.run(kernels, &Weights::new(), &pass, &output);
            let expected = inputs[0].values.iter().zip(&inputs[1].values).map(|(a, b)| (a + b).max(0.0));
            assert!(result.values.iter().copied().eq(expected));
        }
    }
}

#[test]
fn maps_beside_each_other() {
    for counts in [&[1][..], &[8, 16], &[3, 20, 1, 7]] {
        let mut noise = Noise(7);
        let inputs: Vec<Plain> = counts.iter().map(|count| Plain::noise(5, 4, *count, &mut noise)).collect();
        for kernels in kernels() {
            let mut memory = Memory::new();
            let from: Vec<Map> = inputs.iter().map(|input| memory.put(input, 0)).collect();
            let output = memory.room(5, 4, counts.iter().sum(), UNIT);
            let pass = CopyPass::new(memory.length(), &from, output).unwrap();
            let result = memory.run(kernels, &Weights::new(), &pass, &output);
            let pixel = |pixel: usize| {
                inputs.iter().flat_map(move |input| &input.values[pixel * input.channels..][..input.channels])
            };
            assert!(result.values.iter().eq((0..20).flat_map(pixel)));
        }
    }
}
