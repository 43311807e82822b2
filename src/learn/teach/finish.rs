//! Fits the parts of a taught model on all pictures of the lesson.

use super::lesson::{FeatureSet, Lesson};
use super::logistic::fit;
use super::novelty::Spread;
use super::validate::Validation;
use crate::inference::{Novelty, TaughtHead};

/// The linear layer, and the distances with the limits that the validation found. `None` if the work was stopped.
///
/// The features are the raw ones: the first `of_whole` describe the whole picture, the others `cells` cells for each
/// channel of the early map.
pub(super) fn finish(
    lesson: &Lesson,
    (read, penalty): (FeatureSet, f64),
    validation: &Validation,
    [of_whole, cells]: [usize; 2],
) -> Option<TaughtHead> {
    let all: Vec<usize> = (0..lesson.classes.len()).collect();
    let weights = fit(&lesson.table(read), &all, lesson.targets(), penalty, None);
    let spread = |table| Spread::of(table, &all, &lesson.classes, lesson.count);
    let [appearance, structure] = [&lesson.cells, &lesson.structure].map(spread);
    if lesson.stopped.is_set() {
        return None;
    }
    let (weight, bias) = lesson.unfold(read, &weights);
    let novelty = Novelty {
        first: of_whole,
        cells,
        appearance: appearance.finish(&lesson.cells_standard, validation.limits[0]),
        structure: structure.finish(&lesson.structure_standard, validation.limits[1]),
        threshold: validation.threshold() as f32,
    };
    Some(TaughtHead { weight, bias, novelty })
}
