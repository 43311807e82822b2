//! Counts correct and wrong classes, and computes the report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::exit::Exit;
use crate::inference::{Ranked, UNKNOWN};

/// Number of classes listed per class with which its pictures are most often confused.
const CONFUSED_WITH: usize = 3;

/// The result of an evaluation. The same pictures give the same report, whatever the number of threads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Name of the model.
    pub model: String,
    /// Identifies its weights.
    pub digest: String,
    /// Number of classified pictures.
    pub images: u64,
    /// Pictures among these whose best class is correct.
    pub top1_correct: u64,
    /// Pictures among these with the correct class among the five best; `None` if the model has no more than five.
    pub top5_correct: Option<u64>,
    /// Share of pictures whose best class is correct, 0 to 1; `None` if there are no pictures.
    pub top1: Option<f64>,
    /// Share of pictures with the correct class among the five best, 0 to 1; `None` if there are no pictures, or if the
    /// model has no more than five classes.
    pub top5: Option<f64>,
    /// Pictures that could not be classified, in the order of the set; not counted anywhere else.
    pub broken: Vec<Broken>,
    /// The classes with the smallest share of correct pictures, worst first.
    pub worst: Vec<Class>,
    /// Every class that has pictures or was found, by number.
    pub classes: Vec<Measures>,
    /// The confusion matrix without its zeros, by class, then by the class found.
    pub confusion: Vec<Cell>,
    /// What remains if answers below a score are ignored, by score.
    pub thresholds: Vec<Threshold>,
}

/// How well a class is found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measures {
    /// Number of the class.
    pub index: usize,
    /// Its name.
    pub label: Arc<str>,
    /// Pictures of the class.
    pub images: u64,
    /// Pictures for which it was found.
    pub found: u64,
    /// Pictures of the class for which it was found.
    pub correct: u64,
    /// Share of its pictures for which it was found, 0 to 1; `None` without pictures.
    pub recall: Option<f64>,
    /// Share of the pictures for which it was found that are its own, 0 to 1; `None` if it was never found.
    pub precision: Option<f64>,
}

/// A cell of the confusion matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Number of the class.
    pub class: usize,
    /// Number of the class found.
    pub found: usize,
    /// Number of pictures.
    pub images: u64,
}

/// What remains if answers with a lower score are ignored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Threshold {
    /// The lowest score that counts, 0 to 1.
    pub score: f64,
    /// Number of pictures with an answer.
    pub answered: u64,
    /// Share of the pictures with an answer, 0 to 1; `None` if there are no pictures.
    pub coverage: Option<f64>,
    /// Share of the answers that are correct, 0 to 1; `None` without answers.
    pub accuracy: Option<f64>,
}

/// A picture that could not be classified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The file; in JSON, what of its name is not UTF-8 is replaced.
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// Why.
    pub error: String,
    /// The exit code of the failure.
    #[serde(skip)]
    pub exit: Exit,
}

fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// Results for one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Class {
    /// Number of the class.
    pub index: usize,
    /// Its name.
    pub label: Arc<str>,
    /// Pictures of the class.
    pub images: u64,
    /// Pictures among these whose best class is correct.
    pub correct: u64,
    /// The classes with which the others were most often confused.
    pub confused_with: Vec<Confusion>,
}

/// A class that was found instead of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// Number of the class.
    pub index: usize,
    /// Its name.
    pub label: Arc<str>,
    /// Number of pictures.
    pub images: u64,
}

/// Scores from which on answers are counted.
const SCORES: [f64; 13] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99];

/// Counts during an evaluation.
#[derive(Debug, Default)]
pub(super) struct Tally {
    images: u64,
    top5: u64,
    /// The confusion matrix: pictures by class and class found.
    cells: BTreeMap<(usize, usize), u64>,
    /// For each of [`SCORES`], answers and correct ones.
    answers: [(u64, u64); SCORES.len()],
}

impl Tally {
    /// Counts a picture of `class` whose best classes are `best`, best first.
    pub(super) fn count(&mut self, class: usize, best: &[Ranked]) {
        let Some(&first) = best.first() else { return };
        let is_right = first.index == class;
        self.images += 1;
        self.top5 += u64::from(best.iter().take(5).any(|ranked| ranked.index == class));
        *self.cells.entry((class, first.index)).or_default() += 1;
        for (score, (answers, right)) in SCORES.iter().zip(&mut self.answers) {
            if f64::from(first.score) >= *score {
                *answers += 1;
                *right += u64::from(is_right);
            }
        }
    }

    /// The report on the counts so far, with the `worst` worst classes. `labels` has all classes of the model.
    pub(super) fn report(
        self,
        model: String,
        digest: String,
        labels: &[Arc<str>],
        worst: usize,
        broken: Vec<Broken>,
    ) -> Report {
        let classes = self.classes(labels);
        let mut wrong: Vec<&Measures> = classes.iter().filter(|class| class.correct < class.images).collect();
        // Larger share of wrong pictures first, then more pictures first, then by class number.
        wrong.sort_by(|a, b| {
            let (a_wrong, b_wrong) = (a.images - a.correct, b.images - b.correct);
            (b_wrong * a.images).cmp(&(a_wrong * b.images)).then(b.images.cmp(&a.images)).then(a.index.cmp(&b.index))
        });
        let worst = wrong.into_iter().take(worst).map(|class| {
            let row = self.cells.range((class.index, 0)..=(class.index, usize::MAX));
            let mut confused: Vec<(u64, usize)> =
                row.map(|(&(_, found), &images)| (images, found)).filter(|(_, found)| *found != class.index).collect();
            confused.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
            let confusion = |(images, index)| Confusion { index, label: label(labels, index), images };
            let confused_with = confused.into_iter().take(CONFUSED_WITH).map(confusion).collect();
            let Measures { index, images, correct, .. } = *class;
            Class { index, label: Arc::clone(&class.label), images, correct, confused_with }
        });
        let worst = worst.collect();
        let top1_correct = classes.iter().map(|class| class.correct).sum();
        let known = labels.iter().filter(|label| &***label != UNKNOWN).count();
        let top5_correct = (known > 5).then_some(self.top5);
        let cells = self.cells.iter().map(|(&(class, found), &images)| Cell { class, found, images });
        let thresholds = SCORES.iter().zip(self.answers).map(|(&score, (answered, right))| Threshold {
            score,
            answered,
            coverage: share(answered, self.images),
            accuracy: share(right, answered),
        });
        Report {
            model,
            digest,
            images: self.images,
            top1_correct,
            top5_correct,
            top1: share(top1_correct, self.images),
            top5: top5_correct.and_then(|correct| share(correct, self.images)),
            broken,
            worst,
            confusion: cells.collect(),
            thresholds: thresholds.collect(),
            classes,
        }
    }

    /// Every class that has pictures or was found.
    fn classes(&self, labels: &[Arc<str>]) -> Vec<Measures> {
        // Pictures, pictures for which it was found, correct ones.
        let mut counts: BTreeMap<usize, [u64; 3]> = BTreeMap::new();
        for (&(class, found), &images) in &self.cells {
            counts.entry(class).or_default()[0] += images;
            counts.entry(found).or_default()[1] += images;
            if class == found {
                counts.entry(class).or_default()[2] += images;
            }
        }
        let measures = |(index, [images, found, correct]): (usize, [u64; 3])| Measures {
            index,
            label: label(labels, index),
            images,
            found,
            correct,
            recall: share(correct, images),
            precision: share(correct, found),
        };
        counts.into_iter().map(measures).collect()
    }
}

fn label(labels: &[Arc<str>], index: usize) -> Arc<str> {
    labels.get(index).map_or_else(|| format!("class {index}").into(), Arc::clone)
}

/// A share of `all`; `None` of nothing.
fn share(count: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| count as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The best classes have the scores 0.5, 0.25 and so on.
    fn report_of(pictures: &[(usize, &[usize])], worst: usize, labels: usize) -> Report {
        let mut tally = Tally::default();
        for (class, best) in pictures {
            let ranked = |(place, &index): (usize, &usize)| Ranked { index, score: 0.5_f32.powi(place as i32 + 1) };
            tally.count(*class, &best.iter().enumerate().map(ranked).collect::<Vec<_>>());
        }
        let labels: Vec<Arc<str>> =
            ["a", "b", "c", "d", "e", "f"][..labels].iter().map(|&label| label.into()).collect();
        tally.report("m".into(), "d".into(), &labels, worst, vec![])
    }

    fn report(pictures: &[(usize, &[usize])], worst: usize) -> Report {
        report_of(pictures, worst, 6)
    }

    #[test]
    fn shares_are_those_of_the_pictures() {
        let pictures: [(usize, &[usize]); 4] = [(0, &[0, 1]), (0, &[1, 0]), (1, &[0, 2, 3, 4, 5, 1]), (2, &[2])];
        let report = super::tests::report(&pictures, 9);
        assert_eq!((report.images, report.top1_correct, report.top5_correct), (4, 2, Some(3)));
        assert_eq!((report.top1, report.top5), (Some(0.5), Some(0.75)));
        assert_eq!(super::tests::report(&[], 9).top1, None);
        let few = report_of(&[(0, &[0, 1])], 9, 5);
        assert_eq!((few.top5_correct, few.top5), (None, None), "of five classes it is always all");
    }

    #[test]
    fn classes_have_recall_and_precision_and_the_matrix_has_its_cells() {
        let report = report(&[(0, &[0]), (0, &[1]), (1, &[1]), (2, &[1])], 9);
        let found: Vec<_> = report.classes.iter().map(|class| (class.index, class.recall, class.precision)).collect();
        let third = Some(1.0 / 3.0);
        assert_eq!(found, [(0, Some(0.5), Some(1.0)), (1, Some(1.0), third), (2, Some(0.0), None)]);
        let cells: Vec<_> = report.confusion.iter().map(|cell| (cell.class, cell.found, cell.images)).collect();
        assert_eq!(cells, [(0, 0, 1), (0, 1, 1), (1, 1, 1), (2, 1, 1)]);
    }

    #[test]
    fn answers_below_a_threshold_are_ignored() {
        let thresholds = report(&[(0, &[0]), (1, &[0])], 9).thresholds;
        let at = |score: f64| {
            thresholds.iter().find(|threshold| threshold.score == score).map(|t| (t.answered, t.coverage, t.accuracy))
        };
        assert_eq!(at(0.5), Some((2, Some(1.0), Some(0.5))));
        assert_eq!(at(0.6), Some((0, Some(0.0), None)));
    }

    #[test]
    fn the_worst_classes_come_first_with_what_they_are_taken_for() {
        let pictures: [(usize, &[usize]); 8] =
            [(0, &[0]), (0, &[2]), (1, &[2]), (1, &[0]), (1, &[2]), (2, &[2]), (7, &[1]), (0, &[0])];
        let worst = report(&pictures, 2).worst;
        let found: Vec<(usize, &str, u64, u64)> =
            worst.iter().map(|class| (class.index, &*class.label, class.images, class.correct)).collect();
        assert_eq!(found, [(1, "b", 3, 0), (7, "class 7", 1, 0)]);
        let confused: Vec<(usize, u64)> = worst[0].confused_with.iter().map(|c| (c.index, c.images)).collect();
        assert_eq!(confused, [(2, 2), (0, 1)]);
        assert_eq!(report(&pictures, 9).worst.len(), 3, "a class without errors is not among the worst");
    }
}
