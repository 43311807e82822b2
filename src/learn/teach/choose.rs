//! Chooses the features that the linear layer reads and its penalty.

use std::{io, thread};

use super::folds::Folds;
use super::lesson::{FeatureSet, Lesson};
use super::logistic::{Targets, Weights, fit, softmax};

/// Parts by which settings are chosen.
const CHOOSING: usize = 3;
/// Variants of a picture by which settings are chosen.
const CHOOSING_VARIANTS: usize = 2;
/// Most rows by which settings are chosen.
const CHOOSING_ROWS: usize = 600;
/// Penalties to choose from, the largest first.
const PENALTIES: [f64; 4] = [1e-2, 1e-3, 1e-4, 1e-5];
/// What a linear layer may read.
const FEATURE_SETS: [FeatureSet; 3] = [FeatureSet::Cells, FeatureSet::Both, FeatureSet::Whole];

/// The features to read and the penalty with the smallest mean cross-entropy.
pub(super) fn choose(lesson: &Lesson, folds: &Folds) -> (FeatureSet, f64) {
    // Of many pictures, some suffice: of each class in each part, at least one.
    let step = (lesson.pictures() * (CHOOSING_VARIANTS + 1)).div_ceil(CHOOSING_ROWS).max(1);
    let mut seen = vec![0_usize; lesson.count * folds.count];
    let is_chosen: Vec<bool> = (0..lesson.pictures())
        .map(|picture| {
            let before = &mut seen[lesson.class(picture) * folds.count + folds.of(picture)];
            *before += 1;
            (*before - 1).is_multiple_of(step)
        })
        .collect();
    let is_chosen = |picture: &usize| is_chosen[*picture];
    // Either each kind of features has a thread, or all threads work on one after another.
    let each = lesson.threads / FEATURE_SETS.len();
    let targets = Targets { threads: if each > 0 { each } else { lesson.threads }, ..lesson.targets() };
    let try_out = |read: FeatureSet| -> Vec<(f64, FeatureSet, f64)> {
        let table = lesson.table(read);
        let mut losses = [0.0; PENALTIES.len()];
        for fold in 0..folds.count.min(CHOOSING) {
            let learned: Vec<usize> = lesson.rows(folds.others(fold).filter(is_chosen), CHOOSING_VARIANTS).collect();
            let judged: Vec<usize> = lesson.rows(folds.members(fold).filter(is_chosen), CHOOSING_VARIANTS).collect();
            let mut weights: Option<Weights> = None;
            for (loss, penalty) in losses.iter_mut().zip(PENALTIES) {
                if lesson.stopped.is_set() {
                    break;
                }
                let fitted = fit(&table, &learned, targets, penalty, weights.as_ref());
                let sum: f64 =
                    judged.iter().map(|row| softmax(&mut fitted.logits(table.row(*row)), lesson.classes[*row])).sum();
                *loss += sum / judged.len().max(1) as f64;
                weights = Some(fitted);
            }
        }
        losses.iter().zip(PENALTIES).map(|(loss, penalty)| (*loss, read, penalty)).collect()
    };
    let tried: Vec<(f64, FeatureSet, f64)> = match each {
        0 => FEATURE_SETS.into_iter().flat_map(try_out).collect(),
        _ => thread::scope(|scope| {
            let start = |read| {
                let builder = thread::Builder::new().name("teach-choose".into());
                (read, builder.spawn_scoped(scope, move || try_out(read)))
            };
            let join = |(read, thread): (FeatureSet, io::Result<thread::ScopedJoinHandle<'_, _>>)| {
                // What the system refuses a thread for is done here.
                thread.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(|| try_out(read))
            };
            FEATURE_SETS.map(start).into_iter().flat_map(join).collect()
        }),
    };
    let best = tried.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or((FeatureSet::Both, PENALTIES[1]), |(_, read, penalty)| (read, penalty))
}
