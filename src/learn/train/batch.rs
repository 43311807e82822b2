//! Batches of varied pictures, prepared on a thread of their own while the network learns from the one before.

use std::thread;

use crossbeam_channel::{Receiver, bounded};
use rayon::prelude::*;

use crate::exit::chain;
use crate::preprocess::Transform;

use super::data::Set;
use super::objective::Targets;
use super::options::TrainOptions;
use super::random::Random;

/// Places of random numbers: what they determine.
const ORDER: u64 = 1;
const PICTURE: u64 = 2;
const MIX: u64 = 3;

/// What a step learns from.
#[derive(Debug)]
pub struct Batch {
    /// `[pictures, height, width, 3]`, normalised.
    pub pictures: Vec<f32>,
    /// Shares of classes.
    pub targets: Targets,
    /// Class of each picture; of a mixed one, that of the larger part.
    pub classes: Vec<usize>,
}

/// Steps in an epoch: whole batches, or one of all pictures if they are fewer.
#[must_use]
pub fn steps(pictures: usize, batch: usize) -> u64 {
    (pictures / batch.max(1)).max(1) as u64
}

/// Makes the batches of the steps `from..to` of a training, one ahead, and calls `each` with every one of them until it
/// returns an error.
///
/// # Errors
/// That of `each`, or [`std::io::Error`] if the thread cannot be started.
pub fn each<E: From<std::io::Error>>(
    set: &Set,
    options: &TrainOptions,
    transform: &Transform,
    (from, to): (u64, u64),
    mut each: impl FnMut(u64, Batch) -> Result<(), E>,
) -> Result<(), E> {
    thread::scope(|scope| {
        let (sender, batches) = bounded(1);
        let make = move || {
            let mut order = (u64::MAX, Vec::new());
            for step in from..to {
                let epoch = step / steps(set.samples.len(), options.batch);
                if order.0 != epoch {
                    let mut samples: Vec<usize> = (0..set.samples.len()).collect();
                    Random::new(options.seed, &[ORDER, epoch]).shuffle(&mut samples);
                    order = (epoch, samples);
                }
                let start = (step % steps(set.samples.len(), options.batch)) as usize * options.batch;
                let samples = &order.1[start..set.samples.len().min(start + options.batch)];
                if sender.send((step, batch(set, options, transform, step, samples))).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new().name("train-batches".to_owned()).spawn_scoped(scope, make)?;
        // An early return drops it, which ends the thread.
        let batches: Receiver<(u64, Batch)> = batches;
        for (step, batch) in &batches {
            each(step, batch)?;
        }
        Ok(())
    })
}

/// The batch of step `step`: `samples` of `set`.
fn batch(set: &Set, options: &TrainOptions, transform: &Transform, step: u64, samples: &[usize]) -> Batch {
    let size = [transform.height, transform.width];
    let values = size[0] * size[1] * 3;
    let prepare = |&index: &usize| {
        let sample = &set.samples[index];
        let mut random = Random::new(options.seed, &[PICTURE, step, index as u64]);
        let raster = sample.read().map_err(|error| tracing::warn!("{}", chain(&error))).ok()?;
        let mut picture = options.variation.apply(&raster, size, &mut random);
        for pixel in picture.as_chunks_mut::<3>().0 {
            for (value, (mean, std)) in pixel.iter_mut().zip(transform.mean.iter().zip(transform.std)) {
                *value = (*value - mean) / std;
            }
        }
        Some((picture, sample.class))
    };
    let prepared: Vec<(Vec<f32>, usize)> = samples.par_iter().filter_map(prepare).collect();
    let (count, classes) = (prepared.len(), set.labels.len());
    let mut pictures = Vec::with_capacity(count * values);
    let mut shares = vec![options.smoothing as f32 / classes as f32; count * classes];
    let mut own = Vec::with_capacity(count);
    for ((picture, class), shares) in prepared.into_iter().zip(shares.chunks_exact_mut(classes)) {
        pictures.extend(picture);
        shares[class] += 1.0 - options.smoothing as f32;
        own.push(class);
    }
    if options.mixup > 0.0 && count > 1 {
        let mut random = Random::new(options.seed, &[MIX, step]);
        let share = random.beta(options.mixup);
        let share = share.max(1.0 - share) as f32;
        // The mixed pictures are those of the neighbour in the batch, which is in random order.
        let mix = |all: &[f32], length: usize| -> Vec<f32> {
            let other = all[length..].iter().chain(&all[..length]);
            all.iter().zip(other).map(|(own, other)| share * own + (1.0 - share) * other).collect()
        };
        pictures = mix(&pictures, values);
        shares = mix(&shares, classes);
    }
    Batch { pictures, targets: Targets { shares, weight: 1.0 }, classes: own }
}
