//! How far pictures of today are from the taught ones.

use std::path::Path;

use serde::Serialize;

use super::report::Accuracy;
use crate::exit::{Exit, chain};
use crate::frame::Picture;
use crate::inference::{Engine, Scratch};
use crate::kernels::runtime::Threads;
use crate::learn::features::{self, FeatureSession, PictureError};
use crate::model::taught::Distances;
use crate::model::{self, Definition, Extractor, ModelOptions, Taught};

/// Share of unknown pictures above which it is time to teach again.
const TOO_MANY: f64 = 0.1;
/// Fewest pictures that say something.
const FEWEST: u64 = 10;
/// Deviations of the taught distance by which the mean may grow.
const DEVIATIONS: f64 = 1.5;

/// Why pictures cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DriftError {
    /// The model cannot be loaded.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// The network cannot be run.
    #[error(transparent)]
    Features(#[from] features::Error),
    /// The model has not been taught.
    #[error("`{name}` has not been taught: expected a file that `hardnetd teach --output` has written")]
    NotTaught {
        /// Name of the model.
        name: String,
    },
    /// There is nothing to compare.
    #[error("there is no picture to compare")]
    Nothing,
}

impl DriftError {
    /// The exit code of the error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Model(error) => error.exit(),
            Self::Features(error) => error.exit(),
            Self::NotTaught { .. } | Self::Nothing => Exit::Data,
        }
    }
}

/// The result of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// Pictures compared.
    pub pictures: u64,
    /// Pictures that could not be compared.
    pub left_out: u64,
    /// Pictures among those compared that the model does not know.
    pub unknown: u64,
    /// Their share.
    pub share: f64,
    /// Mean distance to the nearest taught class.
    pub distance: f64,
    /// The same when the model was taught.
    pub taught_distance: f64,
    /// The distance beyond which a picture is unknown.
    pub threshold: f64,
    /// Whether it is time to teach again.
    pub teach_again: bool,
    /// The same as a sentence.
    pub advice: String,
}

/// Compares pictures with those that a model was taught with.
pub struct Comparison {
    session: FeatureSession,
    taught: Box<Taught>,
    scratch: Scratch,
    pictures: u64,
    left_out: u64,
    unknown: u64,
    /// The distances that are numbers.
    distances: Vec<f64>,
}

impl Comparison {
    /// With the model called `name`.
    ///
    /// # Errors
    /// Any [`DriftError`] except [`DriftError::Nothing`].
    pub fn new(name: &str, engine: Engine, threads: usize) -> Result<Self, DriftError> {
        let mut definition = Definition::open(name, &ModelOptions::default())?;
        let taught = definition.taught.take().ok_or_else(|| DriftError::NotTaught { name: name.to_owned() })?;
        let extractor = Extractor::compile(definition, &taught.grids(), engine)?;
        taught
            .fit(extractor.lengths())
            .map_err(|source| model::Error::Unfit { name: name.to_owned(), source: source.into() })?;
        let session = FeatureSession::new(&extractor, &Threads::new(threads, |_| ()))?;
        let (scratch, distances) = (Scratch::default(), Vec::new());
        Ok(Self { session, taught, scratch, pictures: 0, left_out: 0, unknown: 0, distances })
    }

    /// Compares a picture, which messages call `name`.
    ///
    /// # Errors
    /// If the picture has no features.
    pub fn take(&mut self, picture: &Picture<'_>, name: impl FnOnce() -> String) -> Result<(), PictureError> {
        let features = self.session.features(picture, name)?;
        let novelty = &self.taught.head.novelty;
        let distance = novelty.distance(features, &mut self.scratch);
        self.pictures += 1;
        self.unknown += u64::from(distance > novelty.threshold);
        self.distances.extend(distance.is_finite().then_some(f64::from(distance)));
        Ok(())
    }

    /// Compares the picture in a file. One that is unusable is named and left out.
    ///
    /// # Errors
    /// [`PictureError::Inference`].
    pub fn take_file(&mut self, path: &Path) -> Result<(), PictureError> {
        let taken = crate::capture::Still::open(path).map_err(PictureError::from).and_then(|still| {
            let picture = still.picture()?;
            self.take(&picture, || path.display().to_string())
        });
        match taken {
            // The network would fail for the others, too.
            Err(error @ PictureError::Inference(_)) => Err(error),
            Err(error) => {
                tracing::warn!("left out: {}", chain(&error));
                self.left_out += 1;
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// The result.
    ///
    /// # Errors
    /// [`DriftError::Nothing`].
    pub fn finish(self) -> Result<Drift, DriftError> {
        let pictures = self.pictures;
        if pictures == 0 {
            return Err(DriftError::Nothing);
        }
        let distance = self.distances.iter().sum::<f64>() / self.distances.len().max(1) as f64;
        let Distances { mean, deviation } = self.taught.lesson.distance;
        let (teach_again, advice) = advise(Accuracy::of(self.unknown, pictures), distance, mean, deviation);
        Ok(Drift {
            pictures,
            left_out: self.left_out,
            unknown: self.unknown,
            share: self.unknown as f64 / pictures as f64,
            distance,
            taught_distance: mean,
            threshold: self.taught.head.novelty.threshold.into(),
            teach_again,
            advice,
        })
    }
}

fn advise(unknown: Accuracy, distance: f64, mean: f64, deviation: f64) -> (bool, String) {
    if unknown.pictures < FEWEST {
        let text =
            format!("{} pictures are too few to say whether to teach again: take {FEWEST} or more.", unknown.pictures);
        return (false, text);
    }
    let share = format!("{:.0} %", unknown.share * 100.0);
    if unknown.share > TOO_MANY {
        let text = format!(
            "Teach again: the model does not know {share} of these pictures. Look at them first: if the camera has moved \
             or the lens is covered, correct that first. If they show the classes, add some of them to the folders."
        );
        return (true, text);
    }
    if distance > mean + DEVIATIONS * deviation {
        let text = format!(
            "Teach again soon: the model still knows most of these pictures, but they are further from the taught ones \
             ({distance:.2}) than those were from each other ({mean:.2}). Look at some of them, and add those that show the \
             classes to the folders."
        );
        return (true, text);
    }
    (false, "The pictures are like the taught ones: there is no need to teach again.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_unknown_pictures_and_distant_ones_ask_for_another_lesson() {
        let advice = |unknown, pictures, distance| advise(Accuracy::of(unknown, pictures), distance, 1.0, 0.2);
        assert!(!advice(1, 50, 1.1).0);
        assert!(advice(10, 50, 1.1).0);
        assert!(advice(0, 50, 1.4).0);
        assert!(!advice(5, 5, 9.0).0, "too few");
    }
}
