//! Chooses the features and the penalty of a linear layer, and says how good it is, by cross-validation: a picture is
//! judged by layers that have seen neither it nor its variants nor near duplicates of it, unless its class has no others.

use std::{io, thread};

use super::folds::Folds;
use super::logistic::{Targets, Weights, fit, softmax};
use super::novelty::{Spread, structure};
use super::report::{Accuracy, Point};
use super::table::{Standard, Table};
use crate::learn::random::SplitMix64;
use crate::shutdown::Stopped;

/// Parts by which settings are chosen.
const CHOOSING: usize = 3;
/// Variants of a picture by which settings are chosen.
const CHOOSING_VARIANTS: usize = 2;
/// Most rows by which settings are chosen.
const CHOOSING_ROWS: usize = 600;
/// Rows that a layer of the cross-validation learns from, at most, unless there are more pictures: with many pictures,
/// fewer of their variants suffice.
const VALIDATION_ROWS: usize = 1500;
/// Penalties to choose from, the largest first.
const PENALTIES: [f64; 4] = [1e-2, 1e-3, 1e-4, 1e-5];
/// What a linear layer may read.
const FEATURE_SETS: [FeatureSet; 3] = [FeatureSet::Cells, FeatureSet::Both, FeatureSet::Whole];
/// Numbers of pictures of each class for the curve.
const CURVE: [usize; 6] = [2, 5, 10, 20, 50, 100];
/// Share of the pictures of the taught classes that may be called unknown.
const FALSE_ALARMS: f64 = 0.02;

/// Which features the linear layer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FeatureSet {
    /// Those of the whole picture, and those of its cells.
    Both,
    /// Those of its cells.
    Cells,
    /// Those of the whole picture.
    Whole,
}

/// The features of pictures and their variants, standardised: each picture's rows lie together, its own first.
pub(super) struct Lesson {
    pub(super) whole: Table,
    pub(super) cells: Table,
    pub(super) structure: Table,
    pub(super) whole_standard: Standard,
    pub(super) cells_standard: Standard,
    pub(super) structure_standard: Standard,
    /// Class of each row.
    pub(super) classes: Vec<usize>,
    /// Rows of each picture.
    pub(super) each: usize,
    /// Number of classes.
    pub(super) count: usize,
    /// Most threads for the work.
    pub(super) threads: usize,
    /// Ends the work early; its results then mean nothing.
    pub(super) stopped: Stopped,
}

impl Lesson {
    /// The lesson of `features`, rows whose first `of_whole` columns describe the whole picture; the others are the means of
    /// `each_channel` cells for each channel of the early map.
    pub(super) fn new(
        features: Table,
        [of_whole, each_channel]: [usize; 2],
        classes: Vec<usize>,
        each: usize,
        count: usize,
        (threads, stopped): (usize, Stopped),
    ) -> Self {
        let (whole, cells) = (features.part(0..of_whole), features.part(of_whole..features.columns()));
        drop(features);
        let structure = structure(&cells, each_channel);
        let [whole_standard, cells_standard, structure_standard] = [&whole, &cells, &structure].map(Standard::of);
        let (whole, cells) = (whole_standard.apply(&whole), cells_standard.apply(&cells));
        let structure = structure_standard.apply(&structure);
        Self {
            whole,
            cells,
            structure,
            whole_standard,
            cells_standard,
            structure_standard,
            classes,
            each,
            count,
            threads,
            stopped,
        }
    }

    fn targets(&self) -> Targets<'_> {
        Targets { classes: &self.classes, count: self.count, threads: self.threads, stopped: &self.stopped }
    }

    fn pictures(&self) -> usize {
        self.classes.len() / self.each.max(1)
    }

    fn class(&self, picture: usize) -> usize {
        self.classes[picture * self.each]
    }

    /// What a layer reads: rows whose squares add up to about 1 for each kind of features.
    fn table(&self, read: FeatureSet) -> Table {
        let scaled = |table: &Table| table.clone().scaled(factor(table.columns()));
        match read {
            FeatureSet::Both => scaled(&self.whole).beside(&scaled(&self.cells)),
            FeatureSet::Cells => scaled(&self.cells),
            FeatureSet::Whole => scaled(&self.whole),
        }
    }

    /// The rows of pictures, with up to `variants` of each.
    fn rows<'a>(
        &'a self,
        pictures: impl Iterator<Item = usize> + 'a,
        variants: usize,
    ) -> impl Iterator<Item = usize> + 'a {
        let each = self.each.min(variants + 1);
        pictures.flat_map(move |picture| (0..each).map(move |variant| picture * self.each + variant))
    }

    /// The layer for raw features, whole picture first, then cells: `[classes, features]`, and the biases.
    pub(super) fn unfold(&self, read: FeatureSet, weights: &Weights) -> (Vec<f32>, Vec<f32>) {
        let (whole, cells) = (self.whole.columns(), self.cells.columns());
        let (mut all, mut biases) = (Vec::with_capacity(self.count * (whole + cells)), Vec::new());
        for (row, bias) in weights.rows() {
            let (of_whole, of_cells) = match read {
                FeatureSet::Both => row.split_at(whole),
                FeatureSet::Cells => (&[][..], row),
                FeatureSet::Whole => (row, &[][..]),
            };
            let mut bias = bias;
            for (part, standard) in [(of_whole, &self.whole_standard), (of_cells, &self.cells_standard)] {
                let columns = standard.mean.len();
                for index in 0..columns {
                    let weight = part.get(index).map_or(0.0, |weight| weight * standard.scale[index] * factor(columns));
                    bias -= weight * standard.mean[index];
                    all.push(weight as f32);
                }
            }
            biases.push(bias as f32);
        }
        (all, biases)
    }
}

fn factor(columns: usize) -> f64 {
    1.0 / (columns.max(1) as f64).sqrt()
}

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

/// The layer, and the variation of appearance and structure, from all pictures.
pub(super) fn finish(lesson: &Lesson, (read, penalty): (FeatureSet, f64)) -> (Weights, [Spread; 2]) {
    let all: Vec<usize> = (0..lesson.classes.len()).collect();
    let weights = fit(&lesson.table(read), &all, lesson.targets(), penalty, None);
    let spread = |table| Spread::of(table, &all, &lesson.classes, lesson.count);
    (weights, [&lesson.cells, &lesson.structure].map(spread))
}
