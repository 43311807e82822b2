//! Where the weights of a network are in a training checkpoint.

use std::collections::{HashSet, VecDeque};

use super::{Error, Id, Pickle, Value};

/// Names under which trainers keep weights. Of several networks of the same size the first in this list is taken: averaged
/// weights (EMA) are those that are meant for inference, as timm takes them.
const NAMES: [&str; 12] = [
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "teacher",
    "student",
];

/// Maximum number of dicts around the weights.
const MAX_LEVELS: usize = 3;
/// Other places that are told.
const SHOWN: usize = 5;
/// Entries that not every network has: counters of training and of averaging.
const COUNTERS: [&str; 2] = ["num_batches_tracked", "n_averaged"];

/// The dict that holds the weights.
#[derive(Debug)]
pub struct Weights<'a> {
    /// Its entries.
    pub entries: &'a [(Id, Id)],
    /// Its place, such as `model.state_dict`; empty for the pickled value itself.
    pub place: String,
    /// Places of other networks of the same size, at most five.
    pub others: Vec<String>,
}

impl Weights<'_> {
    /// Says where the weights are, unless that is where everybody puts them.
    pub fn tell(&self) {
        let Self { place, others, .. } = self;
        let shown = |place: &String| if place.is_empty() { "the outermost dict".into() } else { format!("`{place}`") };
        if !others.is_empty() {
            let others: Vec<String> = others.iter().map(shown).collect();
            tracing::warn!(
                "the file holds several networks: taking {}, not {}; `model import --state-dict` chooses",
                shown(place),
                others.join(", ")
            );
        } else if !["", "state_dict"].contains(&place.as_str()) {
            tracing::info!("the weights are in {} of the file", shown(place));
        }
    }
}

/// A dict in a checkpoint.
struct Candidate<'a> {
    entries: &'a [(Id, Id)],
    /// The dict around it, by its position in the list of candidates, and the name there.
    parent: Option<(usize, &'a str)>,
    level: usize,
    /// Number of arrays, without counters.
    arrays: usize,
}

/// The names from the outermost dict to the candidate at `index`, the last first.
fn names<'a>(candidates: &[Candidate<'a>], index: usize) -> impl Iterator<Item = &'a str> {
    let mut next = candidates[index].parent;
    std::iter::from_fn(move || {
        let (index, name) = next?;
        next = candidates[index].parent;
        Some(name)
    })
}

fn place(candidates: &[Candidate<'_>], index: usize) -> String {
    let mut names: Vec<&str> = names(candidates, index).collect();
    names.reverse();
    names.join(".")
}

impl Pickle {
    /// The weights: the dict at `wanted`; without that, the dict with the most arrays and, of several, the one with the
    /// best name. `None` if the pickled value is not a dict.
    ///
    /// # Errors
    /// [`Error::Place`] if there is no dict with arrays at `wanted`.
    pub fn weights(&self, wanted: Option<&str>, is_array: impl Fn(Id) -> bool) -> Result<Option<Weights<'_>>, Error> {
        let Value::Dict(root) = self.root() else { return Ok(None) };
        let is_counter =
            |key: Id| self.value(key).name().is_some_and(|name| COUNTERS.iter().any(|counter| name.ends_with(counter)));
        let mut found: Vec<Candidate<'_>> = Vec::new();
        // A dict may be in several places.
        let mut seen = HashSet::new();
        let mut open = VecDeque::from([(root.as_slice(), None, 0)]);
        while let Some((entries, parent, level)) = open.pop_front() {
            let arrays = entries.iter().filter(|(key, value)| is_array(*value) && !is_counter(*key)).count();
            for &(key, value) in entries {
                let (Some(name), Value::Dict(inner)) = (self.value(key).name(), self.value(value)) else { continue };
                if level < MAX_LEVELS && seen.insert(value.index()) {
                    open.push_back((inner.as_slice(), Some((found.len(), name)), level + 1));
                }
            }
            found.push(Candidate { entries, parent, level, arrays });
        }
        if let Some(wanted) = wanted {
            let with_arrays = (0..found.len()).filter(|index| found[*index].arrays > 0);
            let mut places: Vec<String> = Vec::new();
            for index in with_arrays {
                let place = place(&found, index);
                if place == wanted {
                    return Ok(Some(Weights { entries: found[index].entries, place, others: Vec::new() }));
                }
                places.push(place);
            }
            let known = places.iter().filter(|place| !place.is_empty()).take(SHOWN).cloned().collect();
            return Err(Error::Place { wanted: wanted.into(), known });
        }
        let most = found.iter().map(|candidate| candidate.arrays).max().unwrap_or(0);
        let rank = |index: usize| {
            let known = names(&found, index).filter_map(|name| NAMES.iter().position(|known| *known == name));
            known.min().unwrap_or(NAMES.len())
        };
        let mut largest: Vec<usize> = (0..found.len()).filter(|index| found[*index].arrays == most).collect();
        // Stable: of the same rank, the outermost and the one that is written first.
        largest.sort_by_cached_key(|index| (rank(*index), found[*index].level));
        let Some((chosen, others)) = largest.split_first() else { return Ok(None) };
        let others = if most == 0 { &[] } else { others };
        Ok(Some(Weights {
            entries: found[*chosen].entries,
            place: place(&found, *chosen),
            others: others.iter().take(SHOWN).map(|index| place(&found, *index)).collect(),
        }))
    }
}
