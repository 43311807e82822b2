//! Where the weights of a network are in a training checkpoint.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};

use super::{Error, Id, Pickle, Value};
use crate::weights::names::{is_average, is_averaged};

/// Names under which trainers keep weights. Of several networks of about the same size, averaged ones are taken, which are
/// those that are meant for inference, and then the first in this list.
const NAMES: [&str; 8] =
    ["state_dict", "model_state_dict", "model_state", "model", "net", "network", "teacher", "student"];

/// Networks with this share of the most arrays, in percent, count as equally large: a trainer may keep a loss or a second
/// head with one of them.
const SIMILAR: usize = 90;

/// Networks with this share of the most arrays, in percent, are told to be left out.
const OTHER: usize = 40;

/// Maximum number of dicts around the weights.
const MAX_LEVELS: usize = 3;
/// Other places that are told.
const SHOWN: usize = 5;
/// Entries that not every network has: counters of training and of averaging.
const COUNTERS: [&str; 2] = ["num_batches_tracked", "n_averaged"];

/// The dict that holds the weights.
#[derive(Debug)]
pub struct Weights<'a> {
    /// Its entries, or those whose names have the prefix that is asked for.
    pub entries: Cow<'a, [(Id, Id)]>,
    /// Its place, such as `model.state_dict`; empty for the pickled value itself.
    pub place: String,
    /// Places of other networks, at most five.
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
    /// Whether it has the counter of averaging.
    is_averaged: bool,
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

/// What follows `front` and a dot in `name`, if it begins with both.
fn after<'a>(name: &'a str, front: &str) -> Option<&'a str> {
    name.strip_prefix(front)?.strip_prefix('.')
}

impl Pickle {
    /// The weights: the dict at `wanted`; without that, of the dicts with about the most arrays, averaged weights or the one
    /// with the best name. `None` if the pickled value is not a dict. At the end, `wanted` may have a prefix of the names in
    /// the dict, as in `state_dict.model`, or lack the name of the only dict within.
    ///
    /// # Errors
    /// [`Error::Place`] if there is no dict with arrays at `wanted`, and no array with this prefix.
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
            let is_averaged = entries.iter().any(|(key, _)| self.value(*key).name().is_some_and(is_averaged));
            found.push(Candidate { entries, parent, level, arrays, is_averaged });
        }
        if let Some(wanted) = wanted {
            let with_arrays = (0..found.len()).filter(|index| found[*index].arrays > 0);
            let places: Vec<(usize, String)> = with_arrays.map(|index| (index, place(&found, index))).collect();
            let taken = |entries| Weights { entries, place: wanted.to_owned(), others: Vec::new() };
            if let Some((index, _)) = places.iter().find(|(_, place)| place == wanted) {
                return Ok(Some(taken(found[*index].entries.into())));
            }
            let mut within = places.iter().filter(|(_, place)| after(place, wanted).is_some());
            if let (Some((index, place)), None) = (within.next(), within.next()) {
                return Ok(Some(Weights { place: place.clone(), ..taken(found[*index].entries.into()) }));
            }
            for (index, place) in &places {
                let prefix = if place.is_empty() { Some(wanted) } else { after(wanted, place) };
                let Some(prefix) = prefix.map(|prefix| prefix.trim_end_matches('.')) else { continue };
                let has = |key: Id| self.value(key).name().is_some_and(|name| after(name, prefix).is_some());
                let entries: Vec<(Id, Id)> = found[*index]
                    .entries
                    .iter()
                    .copied()
                    .filter(|(key, value)| has(*key) && is_array(*value))
                    .collect();
                if !prefix.is_empty() && !entries.is_empty() {
                    return Ok(Some(taken(entries.into())));
                }
            }
            let known =
                places.into_iter().map(|(_, place)| place).filter(|place| !place.is_empty()).take(SHOWN).collect();
            return Err(Error::Place { wanted: wanted.into(), known });
        }
        let most = found.iter().map(|candidate| candidate.arrays).max().unwrap_or(0);
        let rank = |index: usize| {
            let is_averaged = found[index].is_averaged || names(&found, index).any(is_average);
            let known = names(&found, index).filter_map(|name| NAMES.iter().position(|known| *known == name));
            if is_averaged { 0 } else { 1 + known.min().unwrap_or(NAMES.len()) }
        };
        let has = |index: usize, share: usize| found[index].arrays * 100 >= most * share;
        let mut networks: Vec<usize> = (0..found.len()).filter(|index| has(*index, OTHER)).collect();
        // Stable: of the same rank, the outermost and the one that is written first.
        networks.sort_by_cached_key(|index| (!has(*index, SIMILAR), rank(*index), found[*index].level));
        let Some((chosen, others)) = networks.split_first() else { return Ok(None) };
        let others = if most == 0 { &[] } else { others };
        Ok(Some(Weights {
            entries: found[*chosen].entries.into(),
            place: place(&found, *chosen),
            others: others.iter().take(SHOWN).map(|index| place(&found, *index)).collect(),
        }))
    }
}
