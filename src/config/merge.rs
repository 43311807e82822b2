//! Merges the checked layers, and records the origin of each value.
//!
//! Later layers win. `[[stream]]` sections of files are merged by stream name, in the order in which the names first
//! appear: people write one file per camera. Two files that set different values for a stream contradict each other.
//! Streams of a flag replace those of files.

use serde_json::{Map, Value as Json};

use super::check::{Checker, Origin};
use super::problem::{Place, Places, Problem};
use super::redact::redact;
use super::schema::Stream;

/// Key of the streams.
const STREAM: &str = "stream";

/// The layers merged so far.
#[derive(Debug, Default)]
pub(super) struct Merged {
    values: Map<String, Json>,
    places: Places,
    streams: Vec<Section>,
}

/// A `[[stream]]` section.
#[derive(Debug)]
struct Section {
    name: String,
    /// Each of its keys, such as `source` and `rtsp.transport`, with the value and its origin.
    keys: Vec<(String, Json, Place)>,
}

impl Merged {
    /// Adds a layer on top, as checked by `checker`.
    pub(super) fn add(&mut self, layer: Json, checker: &mut Checker) {
        let Json::Object(mut layer) = layer else { return };
        if let Some(Json::Array(sections)) = layer.remove(STREAM) {
            self.add_streams(sections, checker);
        }
        lay(&mut self.values, layer, "", &checker.origin, &mut self.places);
    }

    fn add_streams(&mut self, sections: Vec<Json>, checker: &mut Checker) {
        let origin = checker.origin.of(STREAM);
        self.places.0.insert(STREAM.into(), Place { origin: origin.clone(), key: STREAM.into() });
        if !matches!(checker.origin, Origin::File(_)) {
            self.streams.clear();
        }
        let mut here: Vec<String> = Vec::new();
        for (index, section) in sections.into_iter().enumerate() {
            let Json::Object(section) = section else { continue };
            let name = section.get("name").and_then(Json::as_str).map_or_else(|| Stream::default().name, str::to_owned);
            let place = |key: &str| Place { origin: origin.clone(), key: format!("{STREAM}[{index}].{key}") };
            if here.contains(&name) {
                let key = format!("{STREAM}[{index}].name");
                // An invalid name has been reported, and identifies no stream.
                if !checker.wrong.contains(&key) {
                    let message = format!("{name:?}: used twice; every stream needs a name of its own");
                    checker.problems.push(Problem { origin: origin.clone(), key: Some(key), message });
                }
                continue;
            }
            here.push(name.clone());
            let keys = flat(section).into_iter().map(|(key, value)| (place(&key), key, value));
            match self.streams.iter_mut().find(|known| known.name == name) {
                None => {
                    let keys = keys.map(|(place, key, value)| (key, value, place)).collect();
                    self.streams.push(Section { name, keys });
                }
                Some(known) => {
                    for (place, key, value) in keys {
                        match known.keys.iter().find(|(other, ..)| *other == key) {
                            None => known.keys.push((key, value, place)),
                            Some((_, other, first)) if *other != value => {
                                checker.problems.push(contradiction(&name, &value, place, other, first));
                            }
                            Some(_) => {}
                        }
                    }
                }
            }
        }
    }

    /// All values, and their origins.
    pub(super) fn finish(mut self) -> (Json, Places) {
        if self.places.0.contains_key(STREAM) {
            let mut sections = Vec::new();
            for (index, Section { keys, .. }) in self.streams.into_iter().enumerate() {
                let mut section = Map::new();
                for (key, value, place) in keys {
                    self.places.0.insert(format!("{STREAM}[{index}].{key}"), place);
                    match key.split_once('.') {
                        None => drop(section.insert(key, value)),
                        Some((table, key)) => {
                            let table = section.entry(table).or_insert_with(|| Json::Object(Map::new()));
                            table.as_object_mut().and_then(|table| table.insert(key.to_owned(), value));
                        }
                    }
                }
                sections.push(Json::Object(section));
            }
            self.values.insert(STREAM.into(), Json::Array(sections));
        }
        (Json::Object(self.values), self.places)
    }
}

/// The values of a section and of the tables in it, by key.
fn flat(section: Map<String, Json>) -> Vec<(String, Json)> {
    let mut values = Vec::new();
    for (key, value) in section {
        match value {
            Json::Object(table) => {
                values.extend(table.into_iter().map(|(inner, value)| (format!("{key}.{inner}"), value)));
            }
            value => values.push((key, value)),
        }
    }
    values
}

fn contradiction(name: &str, value: &Json, place: Place, other: &Json, first: &Place) -> Problem {
    let (shown, known) = (show(value), show(other));
    // Values that differ only in hidden parts look the same.
    let known = if shown == known { "another one".to_owned() } else { known };
    let message = format!(
        "{shown}: the stream {name:?} has {known} in {} ({}); expected the same value, or another name",
        first.origin, first.key
    );
    Problem { origin: place.origin, key: Some(place.key), message }
}

fn show(value: &Json) -> String {
    match value {
        Json::String(text) => format!("{:?}", redact(text)),
        other => other.to_string(),
    }
}

fn lay(onto: &mut Map<String, Json>, layer: Map<String, Json>, path: &str, origin: &Origin, places: &mut Places) {
    for (key, value) in layer {
        let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (onto.get_mut(&key), value) {
            (Some(Json::Object(section)), Json::Object(value)) => lay(section, value, &here, origin, places),
            (_, Json::Object(value)) => {
                let mut section = Map::new();
                lay(&mut section, value, &here, origin, places);
                onto.insert(key, Json::Object(section));
            }
            (_, value) => {
                places.0.insert(here.clone(), Place { origin: origin.of(&here), key: here });
                onto.insert(key, value);
            }
        }
    }
}
