//! Where the weights of a network are in a training checkpoint.

use std::collections::{HashSet, VecDeque};

use super::{Id, Pickle, Value};

/// Names under which trainers keep weights. Of several networks of about the same size the first in this list is taken:
/// averaged weights (EMA) are those that are meant for inference, as timm takes them.
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

/// The dict that holds the weights.
#[derive(Debug)]
pub struct Weights<'a> {
    /// Its entries.
    pub entries: &'a [(Id, Id)],
    /// Its place, such as `model.state_dict`; empty for the pickled value itself.
    pub place: String,
    /// Places of other networks of about the same size.
    pub others: Vec<String>,
}

impl Weights<'_> {
    /// Says where the weights are, unless that is where everybody puts them.
    pub fn tell(&self) {
        let Self { place, others, .. } = self;
        let of_checkpoint = if place.is_empty() { "the outermost dict" } else { place };
        if !others.is_empty() {
            tracing::warn!(
                "the file holds several networks: taking `{of_checkpoint}`, not {}",
                others.iter().map(|other| format!("`{other}`")).collect::<Vec<_>>().join(", ")
            );
        } else if !["", "state_dict"].contains(&place.as_str()) {
            tracing::info!("the weights are in `{of_checkpoint}` of the file");
        }
    }
}

impl Pickle {
    /// The weights: the dict with the most arrays, or one that has more than half as many and a preferred name. `None`
    /// if the pickled value is not a dict.
    #[must_use]
    pub fn weights(&self, is_array: impl Fn(Id) -> bool) -> Option<Weights<'_>> {
        let Value::Dict(root) = self.root() else { return None };
        let mut found: Vec<(usize, Weights<'_>)> = Vec::new();
        // A dict may be in several places.
        let mut seen = HashSet::new();
        let mut open = VecDeque::from([(root, String::new(), 0)]);
        while let Some((entries, place, level)) = open.pop_front() {
            let arrays = entries.iter().filter(|(_, value)| is_array(*value)).count();
            for &(key, value) in entries {
                let (Some(name), Value::Dict(inner)) = (self.value(key).name(), self.value(value)) else { continue };
                if level < MAX_LEVELS && seen.insert(value.index()) {
                    let place = if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
                    open.push_back((inner, place, level + 1));
                }
            }
            found.push((arrays, Weights { entries, place, others: Vec::new() }));
        }
        let most = found.iter().map(|(arrays, _)| *arrays).max().unwrap_or(0);
        found.retain(|(arrays, _)| *arrays == most || arrays * 2 > most);
        let rank = |place: &str| {
            let name = place.rsplit('.').next().unwrap_or(place);
            NAMES.iter().position(|known| *known == name).unwrap_or(NAMES.len())
        };
        // Stable: of unknown names, the one that is written first.
        found.sort_by_key(|(_, weights)| rank(&weights.place));
        let mut found = found.into_iter();
        let (_, chosen) = found.next()?;
        let others = if most == 0 { Vec::new() } else { found.map(|(_, weights)| weights.place).collect() };
        Some(Weights { others, ..chosen })
    }
}
