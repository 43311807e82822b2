//! What a taught model has beside its network: a linear layer on more features, and what tells pictures that are unlike
//! the taught ones.
//!
//! In a model file, the weights for the values that the family's own linear layer reads are that layer's. The others, and
//! what the distance needs, are arrays called `taught.…`; the JSON text under [`KEY`] says what they mean:
//!
//! ```json
//! {"version":2,"grids":[{"map":"base.10","cells":2,"inner":false},{"map":"base.2","cells":3,"inner":true}],
//!  "threshold":1.02,"pictures":[20,20],"variants":8,"right":39,"distance":{"mean":0.48,"deviation":0.11}}
//! ```
//!
//! The means of the last grid are those that the distance compares.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::features::Grid;
use crate::engine::graph::Linear;
use crate::frame::Region;
use crate::hardnet::{self, Architecture};
use crate::inference::{Gaussian, Novelty, TaughtHead};
use crate::weights::{self, Array, EntryRole, StateDict};

use super::metadata::{self, Metadata};

/// Key of the metadata in a file.
pub const KEY: &str = "hardnetd.taught";

/// Beginning of the names of the arrays.
const PREFIX: &str = "taught.";

/// Most cells along each side of a grid: with more, a small file could ask for much memory.
const MOST_CELLS: usize = 4;

/// Most of a distance.
const MOST_DISTANCE: f64 = 1e9;

/// The only supported version.
const VERSION: u32 = 2;

/// How a model was taught, and what its arrays mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lesson {
    version: u32,
    /// The maps whose means are features, too; the distance compares those of the last one.
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
    inner: bool,
}

impl From<&Grid> for StoredGrid {
    fn from(grid: &Grid) -> Self {
        Self { map: grid.map.clone(), cells: grid.cells, inner: grid.inner }
    }
}

impl Lesson {
    /// A lesson of the present version.
    #[must_use]
    pub fn new(
        grids: &[Grid],
        threshold: f32,
        pictures: Vec<u64>,
        variants: u64,
        right: u64,
        distance: Distances,
    ) -> Self {
        let grids = grids.iter().map(StoredGrid::from).collect();
        Self { version: VERSION, grids, threshold, pictures, variants, right, distance }
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

/// Whether the file at `path` is a taught model, of any version.
#[must_use]
pub fn is_taught(path: &Path) -> bool {
    weights::read(path).is_ok_and(|loaded| loaded.texts.contains_key(KEY))
}

/// The region of the taught model at `path`, of any version. None if there is no such model, or it takes centre crops.
#[must_use]
pub fn region(path: &Path) -> Option<Region> {
    let loaded = weights::read(path).ok().filter(|loaded| loaded.texts.contains_key(KEY))?;
    Metadata::parse(loaded.texts.get(metadata::KEY)?).ok()?.transform.region
}

/// Keys of the weight and bias of the family's linear layer, and the number of values that it reads.
fn own_layer(architecture: &Architecture, classes: usize) -> Option<(String, String, usize)> {
    let entries = hardnet::entries(architecture, classes);
    let of = |kind| entries.iter().find(|entry| entry.kind == kind);
    let (weight, bias) = (of(EntryRole::LinearWeight)?, of(EntryRole::LinearBias)?);
    Some((weight.key.clone(), bias.key.clone(), *weight.shape.get(1)?))
}

/// The arrays of a taught model among the weights of a file.
struct Arrays<'a>(&'a mut StateDict);

impl Arrays<'_> {
    /// Takes an array of finite values out.
    fn take(&mut self, name: &str) -> Result<Array, TaughtError> {
        let key = format!("{PREFIX}{name}");
        let array = self.0.take(&key).ok_or_else(|| weights::Error::Missing { key: key.clone() })?;
        match array.data().iter().all(|value| value.is_finite()) {
            true => Ok(array),
            false => Err(TaughtError::Values { key, expected: "finite" }),
        }
    }

    /// Takes the arrays of a part out.
    fn gaussian(&mut self, part: &str, classes: usize, length: usize, limit: f32) -> Result<Gaussian, TaughtError> {
        let mut take =
            |name: &str| Ok::<_, TaughtError>((format!("{part}.{name}"), self.take(&format!("{part}.{name}"))?));
        let [mean, scale, centres, basis, variances] =
            ["mean", "scale", "centres", "basis", "variances"].map(&mut take);
        let (mean, scale, centres, basis, variances) = (mean?, scale?, centres?, basis?, variances?);
        let directions = variances.1.data().len().saturating_sub(1);
        let shaped = |(name, array): (String, Array), shape: &[usize]| of_shape(&name, array, shape);
        let (mean, centres) = (shaped(mean, &[length])?, shaped(centres, &[classes, length])?);
        let scale = shaped(scale, &[length])?;
        let (basis, variances) = (shaped(basis, &[directions, length])?, shaped(variances, &[directions + 1])?);
        above_zero(&format!("{part}.scale"), &scale)?;
        above_zero(&format!("{part}.variances"), &variances)?;
        Ok(Gaussian { mean, scale, centres, basis, variances, limit })
    }
}

/// The values of an array of a taught model, which has this shape.
fn of_shape(name: &str, array: Array, expected: &[usize]) -> Result<Vec<f32>, TaughtError> {
    if array.shape() == expected {
        return Ok(array.into_data());
    }
    let (key, expected, found) = (format!("{PREFIX}{name}"), expected.to_vec(), array.shape().to_vec());
    Err(TaughtError::Array(weights::Error::Shape { key, expected, found }))
}

fn above_zero(name: &str, values: &[f32]) -> Result<(), TaughtError> {
    match values.iter().all(|value| value.is_normal() && *value > 0.0) {
        true => Ok(()),
        false => Err(TaughtError::Values { key: format!("{PREFIX}{name}"), expected: "above 0" }),
    }
}

impl Taught {
    /// The maps whose means are features, too.
    #[must_use]
    pub fn grids(&self) -> Vec<Grid> {
        let grid = |grid: &StoredGrid| Grid { map: grid.map.clone(), cells: grid.cells, inner: grid.inner };
        self.lesson.grids.iter().map(grid).collect()
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
        let is_right = |grid: &StoredGrid| (1..=MOST_CELLS).contains(&grid.cells);
        let cells = match &lesson.grids[..] {
            grids @ [.., StoredGrid { cells, .. }] if grids.len() <= 2 && grids.iter().all(is_right) => cells * cells,
            _ => return Err(wrong(format!("expected one or two grids of 1 to {MOST_CELLS} cells along each side"))),
        };
        if !(lesson.threshold > 0.0 && lesson.threshold.is_finite()) {
            return Err(wrong(format!("the threshold is {}, expected a number above 0", lesson.threshold)));
        }
        let Distances { mean, deviation } = lesson.distance;
        if ![mean, deviation].iter().all(|distance| (0.0..=MOST_DISTANCE).contains(distance)) {
            return Err(wrong(format!(
                "the distance is {mean} ± {deviation}, expected numbers from 0 to {MOST_DISTANCE}"
            )));
        }
        if lesson.pictures.len() != classes {
            return Err(wrong(format!(
                "it has pictures of {} classes, the model has {classes}",
                lesson.pictures.len()
            )));
        }
        let pictures = lesson.pictures.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
        if pictures.is_none_or(|pictures| lesson.right > pictures) {
            return Err(wrong("it has fewer pictures than are right, or too many to count".to_owned()));
        }
        let no_layer = || wrong("the architecture has no linear layer".to_owned());
        let (weight_key, bias_key, own) = own_layer(architecture, classes).ok_or_else(no_layer)?;
        let mut arrays = Arrays(state);
        let extra = arrays.take("weight")?;
        let length = extra.data().len() / classes.max(1);
        let extra = of_shape("weight", extra, &[classes, length])?;
        // The means that the distances read are the last ones.
        let key = format!("{PREFIX}appearance.mean");
        let mean = arrays.0.get(&key).ok_or(weights::Error::Missing { key })?;
        let compared = mean.data().len();
        if compared == 0 || compared > length || !compared.is_multiple_of(cells) {
            return Err(wrong(format!("of {length} means, {compared} are those of the early map, in {cells} cells")));
        }
        let limits = arrays.take("limits")?;
        let limits = of_shape("limits", limits, &[2])?;
        above_zero("limits", &limits)?;
        let appearance = arrays.gaussian("appearance", classes, compared, limits[0])?;
        let structure = arrays.gaussian("structure", classes, compared, limits[1])?;
        let own_weight = state.values(&weight_key, &[classes, own])?;
        let rows = own_weight.chunks_exact(own.max(1)).zip(extra.chunks_exact(length.max(1)));
        let weight = rows.flat_map(|(own, extra)| own.iter().chain(extra).copied()).collect();
        let bias = state.values(&bias_key, &[classes])?.to_vec();
        let threshold = lesson.threshold;
        let first = own + length - compared;
        let novelty = Novelty { first, cells, appearance, structure, threshold };
        Ok(Self { lesson, head: TaughtHead { weight, bias, novelty } })
    }

    /// Checks that a network has the features that the linear layer and the distance read; `lengths` are the numbers of its
    /// own and of those of each grid.
    ///
    /// # Errors
    /// [`TaughtError::Value`].
    pub fn fit(&self, lengths: &[usize]) -> Result<(), TaughtError> {
        let TaughtHead { weight, bias, novelty } = &self.head;
        let (read, compared) = (weight.len() / bias.len().max(1), novelty.appearance.mean.len());
        let (features, last) = (lengths.iter().sum::<usize>(), lengths.last().copied().unwrap_or(0));
        if (read, compared) == (features, last) {
            return Ok(());
        }
        let problem = format!(
            "the linear layer reads {read} values and the distance {compared}, but the network has {features} features, of \
             which the last map has {last}"
        );
        Err(TaughtError::Value { problem })
    }

    /// Number of weights beside those of the family's own layer.
    #[must_use]
    pub fn extra_weights(&self, architecture: &Architecture) -> usize {
        let TaughtHead { weight, bias, .. } = &self.head;
        let own = own_layer(architecture, bias.len()).map_or(0, |(_, _, own)| own);
        weight.len().saturating_sub(own * bias.len())
    }

    /// Puts the part of the linear layer that is the family's own into `state`.
    ///
    /// # Errors
    /// [`weights::Error`] if the numbers of values do not fit together, or the network has no such layer.
    pub fn put_layer(&self, architecture: &Architecture, state: &mut StateDict) -> Result<(), weights::Error> {
        let (weight_key, bias_key, own) = self.own_layer(architecture)?;
        let bias = &self.head.bias;
        state.replace(weight_key, Array::new(vec![bias.len(), own], self.columns(0, own))?);
        state.replace(bias_key, Array::new(vec![bias.len()], bias.clone())?);
        Ok(())
    }

    /// The other arrays.
    ///
    /// # Errors
    /// As for [`put_layer`](Self::put_layer).
    pub fn arrays(&self, architecture: &Architecture) -> Result<StateDict, weights::Error> {
        let TaughtHead { weight, bias, novelty } = &self.head;
        let (classes, compared) = (bias.len(), novelty.appearance.mean.len());
        let (.., own) = self.own_layer(architecture)?;
        let all = weight.len() / classes.max(1);
        let mut arrays = StateDict::new();
        let mut put = |name: &str, shape: &[usize], values: Vec<f32>| {
            arrays.insert(format!("{PREFIX}{name}"), Array::new(shape.to_vec(), values)?)
        };
        put("weight", &[classes, all.saturating_sub(own)], self.columns(own, all))?;
        put("limits", &[2], vec![novelty.appearance.limit, novelty.structure.limit])?;
        for (part, gaussian) in [("appearance", &novelty.appearance), ("structure", &novelty.structure)] {
            let Gaussian { mean, scale, centres, basis, variances, .. } = gaussian;
            let directions = variances.len().saturating_sub(1);
            put(&format!("{part}.mean"), &[compared], mean.clone())?;
            put(&format!("{part}.scale"), &[compared], scale.clone())?;
            put(&format!("{part}.centres"), &[classes, compared], centres.clone())?;
            put(&format!("{part}.basis"), &[directions, compared], basis.clone())?;
            put(&format!("{part}.variances"), &[directions + 1], variances.clone())?;
        }
        Ok(arrays)
    }

    fn own_layer(&self, architecture: &Architecture) -> Result<(String, String, usize), weights::Error> {
        let missing = || weights::Error::Missing { key: "the linear layer".to_owned() };
        own_layer(architecture, self.head.bias.len()).ok_or_else(missing)
    }

    /// Columns of the weight of the linear layer, row by row.
    fn columns(&self, from: usize, to: usize) -> Vec<f32> {
        let TaughtHead { weight, bias, .. } = &self.head;
        let rows = weight.chunks_exact((weight.len() / bias.len().max(1)).max(1));
        rows.flat_map(|row| row[from.min(row.len())..to.min(row.len())].iter().copied()).collect()
    }

    /// The metadata for a file.
    ///
    /// # Errors
    /// If a number cannot be represented in JSON.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&self.lesson)
    }

    /// Identifies what is taught beside the family's own layer.
    #[must_use]
    pub fn digest(&self, architecture: &Architecture) -> String {
        let arrays = self.arrays(architecture).unwrap_or_default();
        let grids = serde_json::to_string(&self.lesson.grids).unwrap_or_default();
        format!("{} {grids} {:08x}", arrays.digest(), self.lesson.threshold.to_bits())
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
        let (own, length) = (own_layer(architecture, 2).unwrap().2, 9);
        let values = |count: usize| (0..count).map(|index| 0.5 + index as f32).collect::<Vec<f32>>();
        let gaussian = |limit| Gaussian {
            mean: values(length),
            scale: values(length),
            centres: values(2 * length),
            basis: values(length),
            variances: values(2),
            limit,
        };
        let (appearance, structure) = (gaussian(1.5), gaussian(2.5));
        let late = Grid { map: "base.10".into(), cells: 2, inner: false };
        let grids = [late, Grid { map: "base.2".into(), cells: 3, inner: true }];
        let first = own + 8;
        let novelty = Novelty { first, cells: 9, appearance, structure, threshold: 1.25 };
        let distance = Distances { mean: 1.0, deviation: 0.25 };
        let lesson = Lesson::new(&grids, 1.25, vec![20, 21], 8, 40, distance);
        let taught =
            Taught { lesson, head: TaughtHead { weight: values(2 * (first + length)), bias: values(2), novelty } };
        taught.put_layer(architecture, &mut state).unwrap();
        let arrays = taught.arrays(architecture).unwrap();
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
        taught.head.novelty.structure.mean[0] += 1.0;
        let after = taught.digest(&ARCHITECTURES[0]);
        assert_ne!(after, before);
        taught.lesson.grids.swap(0, 1);
        let swapped = taught.digest(&ARCHITECTURES[0]);
        assert_ne!(swapped, after);
        taught.lesson.threshold *= 2.0;
        assert_ne!(taught.digest(&ARCHITECTURES[0]), swapped);
    }

    #[test]
    fn a_network_with_other_features_is_refused() {
        let (taught, ..) = taught();
        let own = own_layer(&ARCHITECTURES[0], 2).unwrap().2;
        taught.fit(&[own, 8, 9]).unwrap();
        for lengths in [&[own, 9, 8][..], &[own, 9], &[own, 17], &[]] {
            assert!(chain(&taught.fit(lengths).unwrap_err()).contains("the network has"), "{lengths:?}");
        }
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
            ("\"version\":2", "\"version\":1", "has version 1"),
            ("\"threshold\":1.25", "\"threshold\":0.0", "the threshold is 0"),
            ("\"cells\":3", "\"cells\":9", "1 to 4 cells"),
            ("\"mean\":1.0", "\"mean\":-1.0", "the distance is -1"),
            ("\"mean\":1.0", "\"mean\":1e300", "the distance is 1"),
            ("\"right\":40", "\"right\":42", "fewer pictures than are right"),
            ("[20,21]", "[18446744073709551615,21]", "too many to count"),
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
        for (key, shape, values, part) in [
            (
                "taught.appearance.scale",
                vec![9],
                vec![0.0; 9],
                "`taught.appearance.scale` has values that are not above 0",
            ),
            (
                "taught.structure.mean",
                vec![9],
                vec![f32::NAN; 9],
                "`taught.structure.mean` has values that are not finite",
            ),
            ("taught.structure.centres", vec![18], vec![0.0; 18], "has shape [18], expected [2, 9]"),
            ("taught.appearance.variances", vec![0], vec![], "taught.appearance.basis"),
            ("taught.limits", vec![2], vec![1.0, -1.0], "`taught.limits` has values that are not above 0"),
            ("taught.weight", vec![2, 8], vec![0.0; 16], "of 8 means, 9 are those of the early map"),
            ("taught.weight", vec![0], vec![], "has shape [0], expected [2, 0]"),
        ] {
            let message = with(key, shape, values);
            assert!(message.contains(part), "{message}");
        }
        let missing = take(&text, &|state: &mut StateDict| drop(state.take("taught.structure.basis")));
        assert_eq!(missing, "`taught.structure.basis` is missing");
    }
}
