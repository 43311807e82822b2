//! Says how good a taught model is, by cross-validation: a picture is judged by layers that have seen neither it nor its
//! variants nor near duplicates of it, unless its class has no others.

use super::folds::Folds;
use super::lesson::{FeatureSet, Lesson};
use super::logistic::fit;
use super::novelty::Spread;
use super::report::{Accuracy, Point};
use super::table::Table;
use crate::learn::random::SplitMix64;

/// Rows that a layer of the cross-validation learns from, at most, unless there are more pictures: with many pictures,
/// fewer of their variants suffice.
const VALIDATION_ROWS: usize = 1500;
/// Numbers of pictures of each class for the curve.
const CURVE: [usize; 6] = [2, 5, 10, 20, 50, 100];
/// Share of the pictures of the taught classes that may be called unknown.
const FALSE_ALARMS: f64 = 0.02;

/// Variants of each of `pictures` that a layer of the cross-validation learns from.
fn variants(pictures: usize) -> usize {
    (VALIDATION_ROWS / pictures.max(1)).saturating_sub(1)
}

/// What cross-validation finds.
pub(super) struct Validation {
    /// The class found for each picture.
    pub(super) found: Vec<usize>,
    /// The distances of pictures and variants that the distances had not seen, in units of their limits: each picture's
    /// lie together, its own first.
    pub(super) distances: Vec<f64>,
    /// The limits of the distances of appearance and structure.
    pub(super) limits: [f64; 2],
    pub(super) curve: Vec<Point>,
}

impl Validation {
    /// Cross-validates the layer.
    pub(super) fn of(lesson: &Lesson, folds: &Folds, (read, penalty): (FeatureSet, f64)) -> Self {
        let table = lesson.table(read);
        let mut found = vec![0; lesson.pictures()];
        let mut both = [Vec::with_capacity(lesson.classes.len()), Vec::with_capacity(lesson.classes.len())];
        for fold in 0..folds.count {
            let learned: Vec<usize> = lesson.rows(folds.others(fold), usize::MAX - 1).collect();
            let some: Vec<usize> = lesson.rows(folds.others(fold), variants(lesson.pictures())).collect();
            if lesson.stopped.is_set() {
                break;
            }
            let weights = fit(&table, &some, lesson.targets(), penalty, None);
            for picture in folds.members(fold) {
                found[picture] = best(&weights.logits(table.row(picture * lesson.each)));
            }
            for (distances, table) in both.iter_mut().zip([&lesson.cells, &lesson.structure]) {
                let spread = Spread::of(table, &learned, &lesson.classes, lesson.count);
                let judged = lesson.rows(folds.members(fold), usize::MAX - 1);
                distances.extend(judged.map(|row| spread.distance(table.row(row))));
            }
        }
        let limits = both.each_ref().map(|distances| quantile(distances, 1.0 - FALSE_ALARMS / 2.0));
        let [appearance, structure] = &both;
        let larger = appearance.iter().zip(structure).map(|(a, b)| (a / limits[0]).max(b / limits[1]));
        let distances = larger.collect();
        let curve = curve(lesson, folds, &table, penalty);
        Self { found, distances, limits, curve }
    }

    /// The distance beyond which pictures are unknown.
    pub(super) fn threshold(&self) -> f64 {
        quantile(&self.distances, 1.0 - FALSE_ALARMS)
    }

    /// The distances of the pictures themselves, without their variants.
    pub(super) fn of_pictures(&self, lesson: &Lesson) -> Vec<f64> {
        self.distances.iter().copied().step_by(lesson.each.max(1)).collect()
    }
}

/// The value that this share of all does not exceed.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (share * sorted.len() as f64).ceil() as usize;
    // What is next to nothing would make everything unknown.
    sorted.get(place.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(1.0).max(1e-3)
}

/// The accuracy with fewer pictures of each class, up to the number that every class has.
fn curve(lesson: &Lesson, folds: &Folds, table: &Table, penalty: f64) -> Vec<Point> {
    let of_class =
        |fold: usize, class: usize| folds.others(fold).filter(move |picture| lesson.class(*picture) == class);
    let sizes = (0..lesson.count).map(|class| (0..folds.count).map(|fold| of_class(fold, class).count()).min());
    let smallest = sizes.flatten().min().unwrap_or(0);
    let right =
        |found: &[usize]| (0..lesson.pictures()).filter(|picture| found[*picture] == lesson.class(*picture)).count();
    let share = |found: &[usize]| Accuracy::of(right(found) as u64, lesson.pictures() as u64).share;
    let mut points: Vec<Point> = Vec::new();
    for most in CURVE.into_iter().filter(|most| *most < smallest).chain([smallest]) {
        let mut found = vec![0; lesson.pictures()];
        for fold in 0..folds.count {
            let mut learned = Vec::new();
            for class in 0..lesson.count {
                let mut own: Vec<usize> = of_class(fold, class).collect();
                SplitMix64::of(&[fold as u64, class as u64]).shuffle(&mut own);
                own.truncate(most);
                learned.extend(lesson.rows(own.into_iter(), variants(most * lesson.count)));
            }
            if lesson.stopped.is_set() {
                break;
            }
            let weights = fit(table, &learned, lesson.targets(), penalty, None);
            folds
                .members(fold)
                .for_each(|picture| found[picture] = best(&weights.logits(table.row(picture * lesson.each))));
        }
        points.push(Point { pictures_per_class: most as u64, share: share(&found) });
    }
    points
}

fn best(logits: &[f64]) -> usize {
    (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap_or(0)
}
