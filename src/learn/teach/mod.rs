//! Teaches a model new classes from tens of pictures, on the device.
//!
//! The network computes the features of every picture, and of variants of it (`gather`, `augment`). Cross-validation
//! chooses the settings (`choose`) and says how good the model is (`validate`). Then a linear layer is fitted on all
//! features (`logistic`), and a distance that tells what is unlike all of them (`novelty`, `finish`).

mod augment;
mod choose;
pub mod collect;
pub mod data;
pub mod drift;
mod finish;
mod folds;
mod gather;
mod lesson;
mod logistic;
mod novelty;
pub mod report;
mod signature;
mod table;
mod validate;

pub use data::{DataError, Set, read};
pub use report::Report;
pub use signature::Signature;

use crate::exit::Exit;
use crate::frame::Region;
use crate::inference::Engine;
use crate::learn::features;
use crate::model::taught::{Distances, Lesson as Told};
use crate::model::{self, Definition, Extractor, ModelOptions, NetworkDefinition, Taught, Training};
use crate::shutdown::Stopped;
use folds::Folds;
use gather::{Gathered, gather};
use lesson::Lesson;
use report::{Accuracy, Class, Unknown, Wrong};
use table::Table;
use validate::Validation;

/// Cells along each side of the late and of the early map.
const CELLS: [usize; 2] = [2, 3];

/// Least pictures of a class.
const LEAST: usize = 2;

/// Multiply-accumulates for all pictures and variants together: a few seconds on one core of a small computer's
/// processor, which bound the number of variants.
const ARITHMETIC: f64 = 160e9;

/// Numbers of all pictures and variants together, which bound the number of variants as well: each takes about 30 bytes.
const NUMBERS: f64 = 16e6;

/// Numbers of all pictures at most, with one variant of each.
const MOST_NUMBERS: f64 = 24e6;

/// Weights of the linear layer at most: fitting takes about 500 bytes for each.
const WEIGHTS: usize = 500_000;

/// Bounds of the number of variants of a picture.
const VARIANTS: [f64; 2] = [1.0, 8.0];

/// Why a model cannot be taught.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pictures do not suffice.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model cannot be loaded.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// The network cannot be run.
    #[error(transparent)]
    Features(#[from] features::Error),
    /// The network is not of the family.
    #[error(
        "`{name}` is not a network of the family, so it cannot be taught: take one of the models by name, or import its \
         weights with `hardnetd model import`"
    )]
    NotFamily {
        /// Name of the model.
        name: String,
    },
    /// The network has no map of the right size.
    #[error("`{name}` has no map of a quarter of its input's size, so it cannot be taught")]
    NoMap {
        /// Name of the model.
        name: String,
    },
    /// The network fails.
    #[error(transparent)]
    Inference(#[from] crate::inference::Error),
    /// The system refuses a thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// A signal has stopped the work.
    #[error("stopped by a signal")]
    Stopped,
}

impl Error {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Data(error) => error.exit(),
            Self::Model(error) => error.exit(),
            Self::Features(error) => error.exit(),
            Self::NotFamily { .. } | Self::NoMap { .. } => Exit::Data,
            Self::Inference(error) => error.exit(),
            Self::Thread(_) => Exit::Unavailable,
            Self::Stopped => Exit::Stopped,
        }
    }
}

/// How to teach.
#[derive(Debug, Clone)]
pub struct TeachOptions {
    /// The model whose network computes the features.
    pub model: String,
    /// Name of the taught model; if a network cannot have it, that of the network is kept.
    pub name: String,
    /// The part of the pictures to look at.
    pub region: Region,
    /// How to run the network.
    pub engine: Engine,
    /// Most threads at the same time, at least 1.
    pub threads: usize,
}

/// What teaching has made.
#[derive(Debug)]
pub struct Outcome {
    /// The taught model.
    pub definition: Definition,
    /// How good it is.
    pub report: Report,
}

impl Outcome {
    /// Whether the model is no better than naming the largest class for every picture, as far as its pictures tell.
    #[must_use]
    pub fn is_no_better_than_chance(&self) -> bool {
        self.report.accuracy.low <= self.report.chance
    }
}

/// Opens the model of `options`, which looks at all of its region.
fn open(options: &TeachOptions) -> Result<Definition, Error> {
    let model = ModelOptions { region: Some(options.region), ..ModelOptions::default() };
    let mut definition = Definition::open(&options.model, &model)?;
    if !matches!(definition.network, NetworkDefinition::Family { .. }) {
        return Err(Error::NotFamily { name: definition.name().to_owned() });
    }
    // A taught model lends its network.
    definition.taught = None;
    Ok(definition)
}

/// Teaches the classes of `set`. `progress` receives the number of pictures done.
///
/// # Errors
/// Any [`Error`]. Pictures that cannot be read are reported, not an error.
pub fn teach(
    set: &Set,
    options: &TeachOptions,
    stopped: &Stopped,
    progress: impl FnMut(u64),
) -> Result<Outcome, Error> {
    check_counts(set, &vec![true; set.samples.len()])?;
    let definition = open(options)?;
    if definition.training == Training::Seeded {
        tracing::warn!("{}: its features are those of random weights", definition.name());
    }
    let macs = definition.macs()?;
    let extractor = Extractor::with_maps(definition, CELLS, options.engine)?;
    let grids = extractor.grids().to_vec();
    // The means of the early map come last; what is before them describes the whole picture.
    let ([others @ .., _], Some(early)) = (extractor.lengths(), grids.last()) else {
        return Err(Error::NoMap { name: options.model.clone() });
    };
    let (whole, cells) = (others.iter().sum(), early.cells * early.cells);
    let columns: usize = extractor.lengths().iter().sum();
    let (pictures, classes) = (set.samples.len(), set.labels.len());
    if (2 * pictures * columns) as f64 > MOST_NUMBERS || classes * columns > WEIGHTS {
        return Err(DataError::Large { pictures, classes, features: columns }.into());
    }
    let rows = (ARITHMETIC / macs as f64).min(NUMBERS / columns as f64);
    let variants = (rows / pictures as f64 - 1.0).clamp(VARIANTS[0], VARIANTS[1]) as usize;
    let Gathered { features, columns, used, signatures, left_out } =
        gather(&extractor, set, options, variants, stopped, progress)?;
    drop(extractor);
    check_counts(set, &used)?;
    let samples: Vec<_> = set.samples.iter().zip(&used).filter(|(_, used)| **used).map(|(sample, _)| sample).collect();
    let classes: Vec<usize> = samples.iter().map(|sample| sample.class).collect();
    let (count, each) = (set.labels.len(), variants + 1);
    let folds = Folds::new(&classes, &signatures, count);
    let rows = classes.iter().flat_map(|class| std::iter::repeat_n(*class, each)).collect();
    let table = Table::new(columns, features.into_iter().map(f64::from).collect());
    let lesson = Lesson::new(table, [whole, cells], rows, each, count, (options.threads, stopped.clone()));
    let settings = choose::choose(&lesson, &folds);
    tracing::debug!(features = ?settings.0, penalty = settings.1, folds = folds.count, "chosen by cross-validation");
    if stopped.is_set() {
        return Err(Error::Stopped);
    }
    let validation = Validation::of(&lesson, &folds, settings);
    if stopped.is_set() {
        return Err(Error::Stopped);
    }
    let head = finish::finish(&lesson, settings, &validation, [whole, cells]).ok_or(Error::Stopped)?;
    let threshold = validation.threshold();
    let of_pictures = validation.of_pictures(&lesson);
    let unknown = of_pictures.iter().filter(|distance| **distance > threshold).count();
    drop(lesson);

    let pictures: Vec<u64> =
        (0..count).map(|class| classes.iter().filter(|found| **found == class).count() as u64).collect();
    let right = classes.iter().zip(&validation.found).filter(|(class, found)| class == found).count() as u64;
    let distance = distances(&of_pictures);
    let told = Told::new(&grids, head.novelty.threshold, pictures.clone(), variants as u64, right, distance);
    let mut definition = open(options)?;
    definition.classes = count;
    definition.labels = Some(set.labels.iter().map(|label| label.as_str().into()).collect());
    definition.training = Training::Trained;
    let taught = Taught { lesson: told, head };
    let model = definition.name().to_owned();
    if let NetworkDefinition::Family { architecture, state } = &mut definition.network {
        taught.put_layer(architecture, state).map_err(model::Error::State)?;
        architecture.name = options.name.clone().into();
        if !architecture.problems().is_empty() {
            architecture.name = model.clone().into();
        }
    }
    let accuracy = Accuracy::of(right, classes.len() as u64);
    let smallest = set.labels.iter().zip(&pictures).min_by_key(|(_, pictures)| **pictures);
    let smallest = smallest.map_or(("", 0), |(label, pictures)| (label.as_str(), *pictures));
    let (more_would_help, advice) = report::advise(&accuracy, &validation.curve, smallest);
    let report = Report {
        model,
        region: options.region.shares(),
        classes: set
            .labels
            .iter()
            .zip(&pictures)
            .zip(&folds.near_duplicates)
            .map(|((label, pictures), near)| Class {
                label: label.clone(),
                pictures: *pictures,
                near_duplicates: *near,
            })
            .collect(),
        pictures: classes.len() as u64,
        variants: variants as u64,
        left_out,
        accuracy,
        chance: pictures.iter().max().copied().unwrap_or(0) as f64 / classes.len().max(1) as f64,
        confusion: confusion(&classes, &validation.found, count),
        wrong: samples
            .iter()
            .zip(&validation.found)
            .filter(|(sample, found)| sample.class != **found)
            .map(|(sample, found)| Wrong {
                file: sample.path.clone(),
                label: set.labels[sample.class].clone(),
                taken_for: set.labels[*found].clone(),
            })
            .collect(),
        curve: validation.curve.clone(),
        more_would_help,
        advice,
        unknown: Unknown { threshold, false_alarms: unknown as f64 / of_pictures.len().max(1) as f64 },
    };
    definition.taught = Some(Box::new(taught));
    Ok(Outcome { definition, report })
}

/// Checks that every class has enough of the `used` pictures.
fn check_counts(set: &Set, used: &[bool]) -> Result<(), DataError> {
    let mut counts = vec![0; set.labels.len()];
    set.samples.iter().zip(used).filter(|(_, used)| **used).for_each(|(sample, _)| counts[sample.class] += 1);
    match set.labels.iter().zip(counts).find(|(_, found)| *found < LEAST) {
        Some((label, found)) => Err(DataError::Few { label: label.clone(), found, least: LEAST }),
        None => Ok(()),
    }
}

fn distances(all: &[f64]) -> Distances {
    let count = all.len().max(1) as f64;
    let mean = all.iter().sum::<f64>() / count;
    let deviation = (all.iter().map(|distance| (distance - mean).powi(2)).sum::<f64>() / count).sqrt();
    Distances { mean, deviation }
}

fn confusion(classes: &[usize], found: &[usize], count: usize) -> Vec<Vec<u64>> {
    let mut table = vec![vec![0; count]; count];
    classes.iter().zip(found).for_each(|(class, found)| table[*class][*found] += 1);
    table
}
