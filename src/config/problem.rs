//! Problems of the configuration, and warnings, with their places.

use std::collections::BTreeMap;
use std::fmt;

/// The place of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The file, environment variable or flag.
    pub(super) origin: String,
    /// The key there, such as `stream[0].source`.
    pub(super) key: String,
}

/// The places of all values that a layer sets, by key in the merged configuration, such as `stream[2].source`.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(pub(super) BTreeMap<String, Place>);

impl Places {
    /// Whether a layer sets `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// A problem with `key`.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        let place = self.0.get(key);
        Problem {
            origin: place.map_or_else(|| BUILT_IN.to_owned(), |place| place.origin.clone()),
            key: Some(place.map_or_else(|| key.to_owned(), |place| place.key.clone())),
            message: message.into(),
        }
    }

    /// The same if `others` are involved as well: names all places that set any of them.
    pub(super) fn shared_problem(&self, key: &str, others: &[&str], message: impl Into<String>) -> Problem {
        let mut origins: Vec<&str> = Vec::new();
        for place in [key].iter().chain(others).filter_map(|key| self.0.get(*key)) {
            if !origins.contains(&place.origin.as_str()) {
                origins.push(&place.origin);
            }
        }
        let origin = if origins.is_empty() { BUILT_IN.to_owned() } else { origins.join(", ") };
        // A key that is not set belongs next to one that is: in the same section of the file.
        let beside = || {
            let (section, name) = key.rsplit_once('.')?;
            let other = others.iter().find(|other| other.rsplit_once('.').is_some_and(|(of, _)| of == section))?;
            Some(format!("{}.{name}", self.0.get(*other)?.key.rsplit_once('.')?.0))
        };
        let problem = self.problem(key, message);
        let key = if self.0.contains_key(key) { problem.key } else { beside().or(problem.key) };
        Problem { origin, key, message: problem.message }
    }
}

/// Origin of values that no layer sets.
const BUILT_IN: &str = "built-in default";

/// A single problem of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, environment variable or flag; several if values conflict.
    pub origin: String,
    /// The key, if it is about one that stands in a file or a variable.
    pub key: Option<String>,
    /// The value found and what is allowed.
    pub message: String,
}

impl Problem {
    /// Adds the name of the stream that the key belongs to, unless the message has it. `find` knows it by the origin and
    /// the section, such as `stream[1]`.
    pub(super) fn add_stream(&mut self, find: impl FnOnce(&str, &str) -> Option<String>) {
        let section = self.key.as_deref().and_then(|key| key.split_once('.')).map(|(section, _)| section);
        let Some(name) = section.and_then(|section| find(&self.origin, section)) else { return };
        if !self.message.contains(&format!("{name:?}")) {
            self.message += &format!(" (stream {name:?})");
        }
    }

    /// Whether a flag, alone or with others, is to blame: it can be left out.
    pub(super) fn is_of_flag(&self) -> bool {
        self.origin.split(", ").any(|origin| origin.starts_with("--"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, key, message } = self;
        match key {
            Some(key) if message.starts_with("unknown") => write!(f, "{origin}: {key}: {message}"),
            Some(key) => write!(f, "{origin}: {key} = {message}"),
            // The message begins with the value: the flag as it was typed.
            None if origin.starts_with("--") => write!(f, "{origin} {message}"),
            None => write!(f, "{origin}: {message}"),
        }
    }
}

/// A setting that works but may be unwanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The key in the merged configuration.
    pub key: String,
    /// The value, without secrets, and its consequence.
    pub found: String,
    /// What to do about it.
    pub remedy: String,
}
