//! Counts correct and wrong classes, and computes the report.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::exit::Exit;

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
    /// Pictures among these with the correct class among the five best.
    pub top5_correct: u64,
    /// Share of pictures whose best class is correct, 0 to 1; `None` if there are no pictures.
    pub top1: Option<f64>,
    /// Share of pictures with the correct class among the five best, 0 to 1; `None` if there are no pictures.
    pub top5: Option<f64>,
    /// Pictures that could not be classified, in the order of the set; not counted anywhere else.
    pub broken: Vec<Broken>,
    /// The classes with the smallest share of correct pictures, worst first.
    pub worst: Vec<Class>,
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

/// Counts during an evaluation.
#[derive(Debug, Default)]
pub(super) struct Tally {
    images: u64,
    top1: u64,
    top5: u64,
    /// By class: number of pictures, and of correct ones.
    classes: HashMap<usize, (u64, u64)>,
    /// By class and the wrong class found instead.
    confusions: HashMap<(usize, usize), u64>,
}

impl Tally {
    /// Counts a picture of `class` whose best classes are `best`, best first.
    pub(super) fn count(&mut self, class: usize, best: &[usize]) {
        let Some(&first) = best.first() else { return };
        let is_right = first == class;
        self.images += 1;
        self.top1 += u64::from(is_right);
        self.top5 += u64::from(best.iter().take(5).any(|&index| index == class));
        let (images, correct) = self.classes.entry(class).or_default();
        *images += 1;
        *correct += u64::from(is_right);
        if !is_right {
            *self.confusions.entry((class, first)).or_default() += 1;
        }
    }

    /// The report on the counts so far, with the `worst` worst classes.
    pub(super) fn report(
        self,
        model: String,
        digest: String,
        labels: &[Arc<str>],
        worst: usize,
        broken: Vec<Broken>,
    ) -> Report {
        let label = |index: usize| labels.get(index).map_or_else(|| format!("class {index}").into(), Arc::clone);
        let mut classes: Vec<_> = self.classes.iter().filter(|(_, (images, correct))| correct < images).collect();
        // Larger share of wrong pictures first, then more pictures first, then by class number.
        classes.sort_by(|(a, (a_images, a_correct)), (b, (b_images, b_correct))| {
            let (a_wrong, b_wrong) = (a_images - a_correct, b_images - b_correct);
            (b_wrong * a_images).cmp(&(a_wrong * b_images)).then(b_images.cmp(a_images)).then(a.cmp(b))
        });
        let worst = classes.into_iter().take(worst).map(|(&index, &(images, correct))| {
            let mut confused: Vec<(u64, usize)> = self
                .confusions
                .iter()
                .filter_map(|(&(class, taken_for), &count)| (class == index).then_some((count, taken_for)))
                .collect();
            confused.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
            let confusion = |(images, index)| Confusion { index, label: label(index), images };
            let confused_with = confused.into_iter().take(CONFUSED_WITH).map(confusion).collect();
            Class { index, label: label(index), images, correct, confused_with }
        });
        let share = |count: u64| (self.images > 0).then(|| count as f64 / self.images as f64);
        Report {
            model,
            digest,
            images: self.images,
            top1_correct: self.top1,
            top5_correct: self.top5,
            top1: share(self.top1),
            top5: share(self.top5),
            broken,
            worst: worst.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(pictures: &[(usize, &[usize])], worst: usize) -> Report {
        let mut tally = Tally::default();
        for (class, best) in pictures {
            tally.count(*class, best);
        }
        tally.report("m".into(), "d".into(), &["a".into(), "b".into(), "c".into()], worst, vec![])
    }

    #[test]
    fn shares_are_those_of_the_pictures() {
        let report = report(&[(0, &[0, 1]), (0, &[1, 0]), (1, &[0, 2, 3, 4, 5, 1]), (2, &[2])], 9);
        assert_eq!((report.images, report.top1_correct, report.top5_correct), (4, 2, 3));
        assert_eq!((report.top1, report.top5), (Some(0.5), Some(0.75)));
        assert_eq!(super::tests::report(&[], 9).top1, None);
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
