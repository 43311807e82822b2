//! Batches of varied pictures, prepared on a thread of their own while the network learns from the one before.

use std::thread;

use crossbeam_channel::{Receiver, bounded};
use rayon::prelude::*;

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
    /// What each task should give.
    pub targets: Vec<Targets>,
    /// For each task, the class of each picture; of a mixed one, that of the larger part.
    pub classes: Vec<Vec<Option<usize>>>,
}

/// Steps in an epoch: whole batches, or one of all pictures if they are fewer. The pictures beyond the last whole batch are
/// left out of that epoch; another one, in another order, leaves out others.
#[must_use]
pub fn steps(pictures: usize, batch: usize) -> u64 {
    (pictures / batch.max(1)).max(1) as u64
}

/// What batches are made of.
#[derive(Debug)]
pub struct Source<'a> {
    /// The pictures.
    pub set: &'a Set,
    /// How they vary and what they should give.
    pub options: &'a TrainOptions,
    /// How they become inputs.
    pub transform: &'a Transform,
}

/// Makes the batches of the steps `from..to` of a training, at most two ahead, and calls `each` with every one of them until it
/// returns an error.
///
/// # Errors
/// That of `each`, or [`std::io::Error`] if the thread cannot be started.
pub fn each<E: From<std::io::Error>>(
    source: &Source<'_>,
    (from, to): (u64, u64),
    mut each: impl FnMut(u64, Batch) -> Result<(), E>,
) -> Result<(), E> {
    let Source { set, options, .. } = source;
    let weights = options.balance.then(|| balance(set));
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
                if sender.send((step, batch(source, weights.as_deref(), step, samples))).is_err() {
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

/// A weight for the pictures of each class, by which all classes have the same share; 1 on average.
fn balance(set: &Set) -> Vec<f32> {
    let mut counts = vec![0_usize; set.labels.len()];
    set.samples.iter().for_each(|sample| counts[sample.class] += 1);
    let mean = set.samples.len() as f32 / counts.len() as f32;
    counts.into_iter().map(|count| mean / count.max(1) as f32).collect()
}

/// The batch of step `step`: `samples` of the set. `weights` are those of the classes.
fn batch(source: &Source<'_>, weights: Option<&[f32]>, step: u64, samples: &[usize]) -> Batch {
    let Source { set, options, transform } = source;
    let size = [transform.height, transform.width];
    let prepare = |&index: &usize| {
        let sample = &set.samples[index];
        let mut random = Random::new(options.seed, &[PICTURE, step, index as u64]);
        let mut picture = options.variation.apply(&sample.usable()?, size, &mut random);
        for pixel in picture.as_chunks_mut::<3>().0 {
            for (value, (mean, std)) in pixel.iter_mut().zip(transform.mean.iter().zip(transform.std)) {
                *value = (*value - mean) / std;
            }
        }
        Some((picture, index))
    };
    let (pictures, used): (Vec<Vec<f32>>, Vec<usize>) = samples.par_iter().filter_map(prepare).unzip();
    let mut pictures = pictures.concat();
    let task_weights = options.also.iter().map(|also| also.weight as f32);
    let task_weights: Vec<f32> = [1.0].into_iter().chain(task_weights).collect();
    let (mut targets, mut classes) = (Vec::new(), Vec::new());
    for (task, (count, weight)) in set.classes().into_iter().zip(task_weights).enumerate() {
        let class = |&index: &usize| match task {
            0 => Some(set.samples[index].class),
            _ => set.samples[index].others[task - 1],
        };
        let own: Vec<Option<usize>> = used.iter().map(class).collect();
        let mut shares = vec![0.0; used.len() * count];
        for (class, shares) in own.iter().zip(shares.chunks_exact_mut(count)) {
            let Some(class) = *class else { continue };
            let of_class = weights.filter(|_| task == 0).map_or(1.0, |weights| weights[class]);
            shares.fill(of_class * options.smoothing as f32 / count as f32);
            shares[class] += of_class * (1.0 - options.smoothing as f32);
        }
        targets.push(Targets { shares, weight });
        classes.push(own);
    }
    if options.mixup > 0.0 && used.len() > 1 {
        let mut random = Random::new(options.seed, &[MIX, step]);
        let share = random.beta(options.mixup);
        let share = share.max(1.0 - share) as f32;
        // The mixed pictures are those of the neighbour in the batch, which is in random order.
        let mix = |all: &mut Vec<f32>, length: usize| {
            let other = all[length..].iter().chain(&all[..length]);
            *all = all.iter().zip(other).map(|(own, other)| share * own + (1.0 - share) * other).collect();
        };
        mix(&mut pictures, size[0] * size[1] * 3);
        for (targets, count) in targets.iter_mut().zip(set.classes()) {
            mix(&mut targets.shares, count);
        }
    }
    Batch { pictures, targets, classes }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::io;
    use std::path::PathBuf;

    use super::super::options::tests::options;
    use super::super::raster::Raster;
    use super::super::sample::Sample;
    use super::*;

    const TRANSFORM: Transform =
        Transform { resize: 4, height: 4, width: 4, mean: [0.0; 3], std: [1.0; 3], region: None };

    /// Grey pictures of which each has a level of its own: one of three has the class 1, the others the class 0.
    fn set(pictures: u8) -> Set {
        let sample = |level: u8| {
            let raster = Raster { width: 4, height: 4, data: vec![level; 48] };
            Sample::in_memory(PathBuf::from(format!("{level}.png")), usize::from(level.is_multiple_of(3)), raster)
        };
        let labels = vec!["a".to_owned(), "b".to_owned()];
        Set { labels, others: Vec::new(), samples: (0..pictures).map(sample).collect(), root: PathBuf::new() }
    }

    /// The batches of some steps.
    fn batches(set: &Set, options: &TrainOptions, steps: (u64, u64)) -> Vec<Batch> {
        let mut all = Vec::new();
        let source = Source { set, options, transform: &TRANSFORM };
        each(&source, steps, |_, batch| -> io::Result<()> {
            all.push(batch);
            Ok(())
        })
        .unwrap();
        all
    }

    /// The levels of the pictures of a batch.
    fn levels(batch: &Batch) -> Vec<u8> {
        batch.pictures.chunks_exact(48).map(|picture| (picture[0] * 255.0).round() as u8).collect()
    }

    #[test]
    fn an_epoch_has_every_picture_once_in_an_order_of_its_own() {
        let (set, options) = (set(12), options());
        let epochs = batches(&set, &options, (0, 6));
        let order: Vec<Vec<u8>> = epochs.chunks(3).map(|epoch| epoch.iter().flat_map(levels).collect()).collect();
        for order in &order {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..12).collect::<Vec<u8>>());
        }
        assert_ne!(order[0], order[1]);
        let classes = epochs.iter().flat_map(|batch| batch.classes[0].clone());
        let expected = order.concat().into_iter().map(|level| Some(usize::from(level.is_multiple_of(3))));
        assert!(classes.eq(expected));
    }

    #[test]
    fn a_batch_depends_on_its_step_and_not_on_where_the_work_began() {
        let set = set(10);
        let mut options = TrainOptions { mixup: 0.4, smoothing: 0.1, ..options() };
        options.variation.colour = 0.5;
        let (all, later) = (batches(&set, &options, (0, 5)), batches(&set, &options, (3, 5)));
        for (a, b) in all[3..].iter().zip(&later) {
            assert_eq!((&a.pictures, &a.targets, &a.classes), (&b.pictures, &b.targets, &b.classes));
        }
        assert_ne!(all[0].pictures, all[2].pictures, "the second epoch has other variations");
    }

    #[test]
    fn shares_add_up_to_one_whether_smoothed_mixed_or_neither() {
        let set = set(8);
        for (smoothing, mixup) in [(0.0, 0.0), (0.2, 0.0), (0.0, 1.0), (0.2, 1.0)] {
            for batch in batches(&set, &TrainOptions { smoothing, mixup, ..options() }, (0, 2)) {
                for (shares, class) in batch.targets[0].shares.chunks_exact(2).zip(&batch.classes[0]) {
                    assert!((shares[0] + shares[1] - 1.0).abs() < 1e-6, "{shares:?}");
                    let own = shares[class.unwrap()];
                    assert!(own >= 0.5 - 1e-6, "the class is that of the larger part: {shares:?}");
                    assert!(mixup > 0.0 || (own - (1.0 - smoothing as f32 / 2.0)).abs() < 1e-6, "{shares:?}");
                }
            }
        }
    }

    #[test]
    fn balanced_classes_have_the_same_share_in_the_loss() {
        let set = set(12);
        let all = batches(&set, &TrainOptions { balance: true, ..options() }, (0, 3));
        let mut sums = [0.0; 2];
        for batch in &all {
            batch.targets[0].shares.chunks_exact(2).for_each(|row| sums.iter_mut().zip(row).for_each(|(s, v)| *s += v));
        }
        assert!((sums[0] - 6.0).abs() < 1e-5 && (sums[1] - 6.0).abs() < 1e-5, "{sums:?}");
    }

    #[test]
    fn a_picture_that_cannot_be_read_is_left_out_of_its_batch() {
        let mut set = set(4);
        set.samples[2] = Sample::in_file(PathBuf::from("/nowhere/2.png"), 0);
        let all = batches(&set, &options(), (0, 1));
        let mut found = levels(&all[0]);
        found.sort_unstable();
        assert_eq!(found, [0, 1, 3]);
        assert_eq!((all[0].classes[0].len(), all[0].targets[0].shares.len()), (3, 6));
        assert!(set.samples[2].is_left_out());
    }
}
