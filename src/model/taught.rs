//! What a taught model has beside its network: a linear layer on more features, and what tells pictures that are unlike
//! the taught ones.
//!
//! In a model file, the weights for the values that the family's own linear layer reads are that layer's. The others, and
//! what the distance needs, are arrays called `taught.…`; the JSON text under [`KEY`] says what they mean:
//!
//! ```json
//! {"version":1,"grids":[{"map":"base.2","cells":3}],"threshold":1.31,
//!  "pictures":[20,20],"variants":8,"right":39,"distance":{"mean":0.98,"deviation":0.11}}
//! ```

use serde::{Deserialize, Serialize};

use crate::engine::features::{Grid, MAX_CELLS};
use crate::engine::graph::Linear;
use crate::hardnet::{self, Architecture};
use crate::inference::{Novelty, TaughtHead};
use crate::weights::{self, Array, EntryRole, StateDict};

/// Key of the metadata in a file.
pub const KEY: &str = "hardnetd.taught";

/// Beginning of the names of the arrays.
const PREFIX: &str = "taught.";

/// The only supported version.
const VERSION: u32 = 1;

/// Maximum number of grids.
const MAX_GRIDS: usize = 8;

/// How a model was taught, and what its arrays mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lesson {
    version: u32,
    /// The maps whose means are features, too.
    pub grids: Vec<StoredGrid>,
    /// The distance beyond which a picture is unknown.
    pub threshold: f32,
    /// Number of pictures of each class.
    pub pictures: Vec<u64>,
    /// Number of variants of each picture.
    pub variants: u64,
    /// Pictures that cross-validation got right.
    pub right: u64,
    /// The distances of pictures that were not used for teaching, in cross-validation.
    pub distance: Distances,
}

/// Mean and standard deviation of distances.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distances {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
}

/// The stored form of a [`Grid`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredGrid {
    map: String,
    cells: usize,
}

impl From<&Grid> for StoredGrid {
    fn from(grid: &Grid) -> Self {
        Self { map: grid.map.clone(), cells: grid.cells }
    }
}

impl Lesson {
    /// A lesson of the present version.
    #[must_use]
    pub fn new(grids: &[Grid], pictures: Vec<u64>, variants: u64, right: u64, distance: Distances) -> Self {
        let grids = grids.iter().map(StoredGrid::from).collect();
        Self { version: VERSION, grids, threshold: 0.0, pictures, variants, right, distance }
    }
}

/// The head of a taught model, and how it was taught.
#[derive(Debug, Clone, PartialEq)]
pub struct Taught {
    /// How it was taught.
    pub lesson: Lesson,
    /// The linear layer and the distance.
    pub head: TaughtHead,
}

/// Why what a file says of a taught model is unusable.
#[derive(Debug, thiserror::Error)]
pub enum TaughtError {
    /// It is not JSON, or has the wrong fields or types.
    #[error("the metadata `{KEY}` is damaged")]
    Json(#[from] serde_json::Error),
    /// It has another version.
    #[error("the metadata `{KEY}` has version {found}, but this version of hardnetd supports {VERSION}: teach again")]
    Version {
        /// The version.
        found: u64,
    },
    /// Values are out of range.
    #[error("the metadata `{KEY}` is wrong: {problem}")]
    Value {
        /// What is wrong.
        problem: String,
    },
    /// An array is missing or has another shape.
    #[error(transparent)]
    Array(#[from] weights::Error),
    /// An array has values that cannot be used.
    #[error("`{key}` has values that are not {expected}")]
    Values {
        /// Its name.
        key: String,
        /// What they should be.
        expected: &'static str,
    },
}

/// Keys of the weight and bias of the family's linear layer, and the number of values that it reads.
fn own_layer(architecture: &Architecture, classes: usize) -> Option<(String, String, usize)> {
    let entries = hardnet::entries(architecture, classes);
    let of = |kind| entries.iter().find(|entry| entry.kind == kind);
    let (weight, bias) = (of(EntryRole::LinearWeight)?, of(EntryRole::LinearBias)?);
    Some((weight.key.clone(), bias.key.clone(), *weight.shape.get(1)?))
}

impl Taught {
    /// The maps whose means are features, too.
    #[must_use]
    pub fn grids(&self) -> Vec<Grid> {
        self.lesson.grids.iter().map(|StoredGrid { map, cells }| Grid { map: map.clone(), cells: *cells }).collect()
    }

    /// The linear layer on all features.
    #[must_use]
    pub fn linear(&self) -> Linear {
        let TaughtHead { weight, bias, .. } = &self.head;
        let (in_channels, out_channels) = (weight.len() / bias.len().max(1), bias.len());
        let (weight, bias) = (weight.as_slice().into(), bias.as_slice().into());
        Linear { in_channels, out_channels, weight, bias }
    }

    /// Takes what is taught out of the weights of a file; `text` is its metadata.
    ///
    /// # Errors
    /// Any [`TaughtError`].
    pub fn take(
        text: &str,
        architecture: &Architecture,
        classes: usize,
        state: &mut StateDict,
    ) -> Result<Self, TaughtError> {
        let wrong = |problem: String| TaughtError::Value { problem };
        // The version first: a later one may have other fields.
        let value: serde_json::Value = serde_json::from_str(text)?;
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(found) if found != u64::from(VERSION) => return Err(TaughtError::Version { found }),
            _ => {}
        }
        let lesson: Lesson = serde_json::from_value(value)?;
        let grids = &lesson.grids;
        if grids.is_empty()
            || grids.len() > MAX_GRIDS
            || !grids.iter().all(|grid| (1..=MAX_CELLS).contains(&grid.cells))
        {
            return Err(wrong(format!("expected 1 to {MAX_GRIDS} grids of 1 to {MAX_CELLS} cells along each side")));
        }
        if !(lesson.threshold > 0.0 && lesson.threshold.is_finite()) {
            return Err(wrong(format!("the threshold is {}, expected a number above 0", lesson.threshold)));
        }
        if lesson.pictures.len() != classes {
            return Err(wrong(format!(
                "it has pictures of {} classes, the model has {classes}",
                lesson.pictures.len()
            )));
        }
        let no_layer = || wrong("the architecture has no linear layer".to_owned());
        let (weight_key, bias_key, own) = own_layer(architecture, classes).ok_or_else(no_layer)?;
        let mut take = |name: &str| {
            let key = format!("{PREFIX}{name}");
            let missing = || weights::Error::Missing { key: key.clone() };
            let array = state.take(&key).ok_or_else(missing)?;
            match array.data().iter().all(|value| value.is_finite()) {
                true => Ok((key, array)),
                false => Err(TaughtError::Values { key, expected: "finite" }),
            }
        };
        let (mean_key, mean) = take("mean")?;
        let length = mean.data().len();
        let [weight, scale, centres, basis, variances] =
            ["weight", "scale", "centres", "basis", "variances"].map(&mut take);
        let directions = variances.as_ref().map_or(0, |(_, array)| array.data().len()).saturating_sub(1);
        let of_shape = |taken: Result<(String, Array), TaughtError>, expected: &[usize]| {
            let (key, array) = taken?;
            match array.shape() == expected {
                true => Ok((key, array.into_data())),
                false => {
                    let (expected, found) = (expected.to_vec(), array.shape().to_vec());
                    Err(TaughtError::Array(weights::Error::Shape { key, expected, found }))
                }
            }
        };
        let (_, mean) = of_shape(Ok((mean_key, mean)), &[length])?;
        let (_, extra) = of_shape(weight, &[classes, length])?;
        let (scale_key, scale) = of_shape(scale, &[length])?;
        let (_, centres) = of_shape(centres, &[classes, length])?;
        let (_, basis) = of_shape(basis, &[directions, length])?;
        let (variances_key, variances) = of_shape(variances, &[directions + 1])?;
        for (key, values) in [(scale_key, &scale), (variances_key, &variances)] {
            if !values.iter().all(|value| value.is_normal() && *value > 0.0) {
                return Err(TaughtError::Values { key, expected: "above 0" });
            }
        }
        let own_weight = state.values(&weight_key, &[classes, own])?;
        let rows = own_weight.chunks_exact(own.max(1)).zip(extra.chunks_exact(length.max(1)));
        let weight = rows.flat_map(|(own, extra)| own.iter().chain(extra).copied()).collect();
        let bias = state.values(&bias_key, &[classes])?.to_vec();
        let threshold = lesson.threshold;
        let novelty = Novelty { first: own, mean, scale, centres, basis, variances, threshold };
        Ok(Self { lesson, head: TaughtHead { weight, bias, novelty } })
    }

    /// Puts the part of the linear layer that is the family's own into `state`, and returns the other arrays.
    ///
    /// # Errors
    /// [`weights::Error`] if the numbers of values do not fit together.
    pub fn put(&self, architecture: &Architecture, state: &mut StateDict) -> Result<StateDict, weights::Error> {
        let TaughtHead { weight, bias, novelty } = &self.head;
        let Novelty { mean, scale, centres, basis, variances, .. } = novelty;
        let (classes, length) = (bias.len(), mean.len());
        if let Some((weight_key, bias_key, own)) = own_layer(architecture, classes) {
            let columns = |from: usize, to: usize| {
                let rows = weight.chunks_exact((own + length).max(1));
                rows.flat_map(|row| row[from..to].iter().copied()).collect::<Vec<f32>>()
            };
            state.replace(weight_key, Array::new(vec![classes, own], columns(0, own))?);
            state.replace(bias_key, Array::new(vec![classes], bias.clone())?);
            let mut arrays = StateDict::new();
            let mut put = |name: &str, shape: &[usize], values: Vec<f32>| {
                arrays.insert(format!("{PREFIX}{name}"), Array::new(shape.to_vec(), values)?)
            };
            put("weight", &[classes, length], columns(own, own + length))?;
            put("mean", &[length], mean.clone())?;
            put("scale", &[length], scale.clone())?;
            put("centres", &[classes, length], centres.clone())?;
            put("basis", &[variances.len().saturating_sub(1), length], basis.clone())?;
            put("variances", &[variances.len()], variances.clone())?;
            return Ok(arrays);
        }
        Ok(StateDict::new())
    }

    /// The metadata for a file.
    ///
    /// # Errors
    /// If a number cannot be represented in JSON.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&Lesson { threshold: self.head.novelty.threshold, ..self.lesson.clone() })
    }

    /// Identifies what is taught beside the family's own layer.
    #[must_use]
    pub fn digest(&self, architecture: &Architecture) -> String {
        let arrays = self.put(architecture, &mut StateDict::new()).unwrap_or_default();
        arrays.digest()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::exit::chain;
    use crate::hardnet::ARCHITECTURES;

    fn taught() -> (Taught, StateDict, String) {
        let architecture = &ARCHITECTURES[0];
        let mut state = hardnet::seeded(architecture, 2).unwrap();
        let (own, length) = (own_layer(architecture, 2).unwrap().2, 3);
        let values = |count: usize| (0..count).map(|index| 0.5 + index as f32).collect::<Vec<f32>>();
        let novelty = Novelty {
            first: own,
            mean: values(length),
            scale: values(length),
            centres: values(2 * length),
            basis: values(length),
            variances: values(2),
            threshold: 1.25,
        };
        let grids = [Grid { map: "base.2".into(), cells: 3 }];
        let distance = Distances { mean: 1.0, deviation: 0.25 };
        let mut lesson = Lesson::new(&grids, vec![20, 21], 8, 40, distance);
        lesson.threshold = 1.25;
        let taught =
            Taught { lesson, head: TaughtHead { weight: values(2 * (own + length)), bias: values(2), novelty } };
        let arrays = taught.put(architecture, &mut state).unwrap();
        for (key, array) in arrays.iter() {
            state.insert(key, array.clone()).unwrap();
        }
        let text = taught.text().unwrap();
        (taught, state, text)
    }

    #[test]
    fn what_is_put_into_a_file_is_taken_out_of_it() {
        let (expected, mut state, text) = taught();
        let found = Taught::take(&text, &ARCHITECTURES[0], 2, &mut state).unwrap();
        assert_eq!(found, expected);
        assert!(state.iter().all(|(key, _)| !key.starts_with(PREFIX)));
        hardnet::build(&ARCHITECTURES[0], 2, &state).unwrap();
    }

    #[test]
    fn the_digest_depends_on_what_is_taught() {
        let (mut taught, ..) = taught();
        let before = taught.digest(&ARCHITECTURES[0]);
        taught.head.novelty.mean[0] += 1.0;
        assert_ne!(taught.digest(&ARCHITECTURES[0]), before);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let take = |text: &str, change: &dyn Fn(&mut StateDict)| {
            let (_, mut state, _) = taught();
            change(&mut state);
            chain(&Taught::take(text, &ARCHITECTURES[0], 2, &mut state).unwrap_err())
        };
        let (.., text) = taught();
        let same: &dyn Fn(&mut StateDict) = &|_| {};
        for (from, to, part) in [
            ("\"version\":1", "\"version\":2", "has version 2"),
            ("\"threshold\":1.25", "\"threshold\":0.0", "the threshold is 0"),
            ("\"cells\":3", "\"cells\":9", "1 to 8 cells"),
            ("\"pictures\":[20,21]", "\"pictures\":[20]", "pictures of 1 classes, the model has 2"),
            ("\"grids\"", "\"grid\"", "is damaged"),
        ] {
            assert!(text.contains(from), "{text}");
            let message = take(&text.replace(from, to), same);
            assert!(message.contains(part), "{message}");
        }
        assert!(take(&text[..text.len() / 2], same).contains("is damaged"));
        let with = |key: &'static str, shape: Vec<usize>, values: Vec<f32>| {
            take(&text, &move |state: &mut StateDict| {
                state.replace(key, Array::new(shape.clone(), values.clone()).unwrap());
            })
        };
        assert!(
            with("taught.scale", vec![3], vec![1.0, 0.0, 1.0])
                .contains("`taught.scale` has values that are not above 0")
        );
        assert!(
            with("taught.mean", vec![3], vec![f32::NAN; 3]).contains("`taught.mean` has values that are not finite")
        );
        assert!(with("taught.centres", vec![6], vec![0.0; 6]).contains("has shape [6], expected [2, 3]"));
        assert!(with("taught.variances", vec![0], vec![]).contains("taught.basis"));
        let missing = take(&text, &|state: &mut StateDict| drop(state.take("taught.basis")));
        assert_eq!(missing, "`taught.basis` is missing");
    }
}
