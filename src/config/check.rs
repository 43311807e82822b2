//! Checks trees of values against the schema and collects all problems.
//!
//! Values of files are strict: a number in quotes is a string. Values of the environment have no
//! type of their own, so they are read as the key wants them.

use config::{Value, ValueKind};
use serde_json::{Map, Value as Json};

use super::Problem;
use super::redact::redact;
use super::schema::{Kind, Section};
use super::size::{SIDES, parse_size};

/// Says whether a source URI is known; the error tells what is allowed.
pub type SourceCheck<'a> = &'a dyn Fn(&str) -> Result<(), String>;

/// Origin of the values that the environment sets, as the `config` crate names it.
const ENVIRONMENT: &str = "the environment";

/// Where a layer of the configuration comes from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// A file or a flag.
    Named(String),
    /// The environment.
    Environment,
}

/// Goes through one tree after the other and keeps their problems.
pub(super) struct Checker<'a> {
    pub(super) source: SourceCheck<'a>,
    pub(super) origin: Origin,
    pub(super) problems: Vec<Problem>,
}

impl Checker<'_> {
    /// Checks `value`, found at `path`, against `section`; returns what is right of it, for serde.
    pub(super) fn section(&mut self, path: &str, value: &Value, section: Section) -> Json {
        match section {
            Section::Group(sections) => {
                let names: Vec<&str> = sections.iter().map(|(name, _)| *name).collect();
                self.table(path, value, &names, |checker, path, index, value| {
                    checker.section(path, value, sections[index].1)
                })
            }
            Section::Keys(keys) => self.keys(path, value, keys),
            Section::Repeated(keys) => {
                let ValueKind::Array(items) = &value.kind else {
                    let expected = format!("expected one or more [[{path}]] sections");
                    self.problem(path, &format!("{}: {expected}", show(value)));
                    return Json::Array(Vec::new());
                };
                let items = items.iter().enumerate();
                Json::Array(items.map(|(index, item)| self.keys(&format!("{path}[{index}]"), item, keys)).collect())
            }
        }
    }

    fn keys(&mut self, path: &str, value: &Value, keys: &[(&str, Kind)]) -> Json {
        let names: Vec<&str> = keys.iter().map(|(name, _)| *name).collect();
        self.table(path, value, &names, |checker, path, index, value| {
            checker.value(path, value, keys[index].1).unwrap_or(Json::Null)
        })
    }

    /// Hands the known entries of a table to `each`, by index into `names`; reports the others.
    fn table(
        &mut self,
        path: &str,
        value: &Value,
        names: &[&str],
        mut each: impl FnMut(&mut Self, &str, usize, &Value) -> Json,
    ) -> Json {
        let mut object = Map::new();
        let ValueKind::Table(table) = &value.kind else {
            self.problem(path, &format!("{}: expected a section, written [{path}]", show(value)));
            return Json::Object(object);
        };
        for (key, value) in table {
            let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match names.iter().position(|name| name == key) {
                Some(index) => match each(self, &here, index, value) {
                    Json::Null => {}
                    json => drop(object.insert(key.clone(), json)),
                },
                None => self.problem(&here, &unknown(key, names)),
            }
        }
        Json::Object(object)
    }

    fn value(&mut self, path: &str, value: &Value, kind: Kind) -> Option<Json> {
        let typed = coerce(value, kind);
        match convert(&typed, kind, self.source) {
            Ok(json) => Some(json),
            Err(expected) => {
                self.problem(path, &format!("{}: {expected}", show(value)));
                None
            }
        }
    }

    fn problem(&mut self, key: &str, message: &str) {
        let origin = match &self.origin {
            Origin::Named(name) => name.clone(),
            Origin::Environment => {
                format!("environment variable HARDNETD__{}", key.to_uppercase().replace('.', "__"))
            }
        };
        self.problems.push(Problem { origin, key: Some(key.to_owned()), message: message.to_owned() });
    }
}

/// Gives a string of the environment the type that `kind` wants, where it can be read so.
fn coerce(value: &Value, kind: Kind) -> Value {
    let ValueKind::String(text) = &value.kind else { return value.clone() };
    if value.origin() != Some(ENVIRONMENT) {
        return value.clone();
    }
    let integer = |text: &str| text.trim().parse::<i64>().ok().map(ValueKind::I64);
    let parsed = match kind {
        Kind::Switch => text.trim().parse().ok().map(ValueKind::Boolean),
        Kind::Integer(..) => integer(text),
        Kind::Number(..) => text.trim().parse().ok().map(ValueKind::Float),
        Kind::Integers(..) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            items
                .map(|item| integer(item).map(|kind| Value::new(None, kind)))
                .collect::<Option<_>>()
                .map(ValueKind::Array)
        }
        _ => None,
    };
    parsed.map_or_else(|| value.clone(), |kind| Value::new(None, kind))
}

fn convert(value: &Value, kind: Kind, source: SourceCheck) -> Result<Json, String> {
    match (kind, &value.kind) {
        (Kind::Text, ValueKind::String(text)) => Ok(text.as_str().into()),
        (Kind::Text, _) => Err("expected a string in quotes".into()),
        (Kind::Switch, ValueKind::Boolean(on)) => Ok((*on).into()),
        (Kind::Switch, _) => Err("expected true or false".into()),
        (Kind::Integer(min, max), ValueKind::I64(number)) if (min..=max).contains(number) => Ok((*number).into()),
        (Kind::Integer(min, max), _) => Err(format!("expected a whole number from {min} to {max}")),
        (Kind::Number(min, max), ValueKind::Float(number)) if (min..=max).contains(number) => Ok((*number).into()),
        #[allow(clippy::cast_precision_loss, reason = "bounds of numbers are far below 2^53")]
        (Kind::Number(min, max), ValueKind::I64(number)) if (min..=max).contains(&(*number as f64)) => {
            Ok((*number as f64).into())
        }
        (Kind::Number(min, max), _) => Err(format!("expected a number from {min} to {max}")),
        (Kind::Integers(min, max), ValueKind::Array(items)) => integers(items, min, max),
        (Kind::Integers(min, max), _) => Err(integers_expected(min, max)),
        (Kind::Choice(words), ValueKind::String(text)) if words.contains(&text.as_str()) => Ok(text.as_str().into()),
        (Kind::Choice(words), _) => Err(format!("expected one of {}", quoted(words))),
        (Kind::OptionalName, ValueKind::String(text)) if text.is_empty() => Ok("".into()),
        (Kind::Name | Kind::OptionalName, ValueKind::String(text)) if is_name(text) => Ok(text.as_str().into()),
        (Kind::Name | Kind::OptionalName, _) => {
            Err("expected 1 to 64 letters, digits, '-', '_' or '.' in quotes".into())
        }
        (Kind::Topic, ValueKind::String(text)) if is_topic(text) => Ok(text.as_str().into()),
        (Kind::Topic, _) => {
            Err("expected topic levels such as \"site/hardnetd\", without '+', '#' or empty levels".into())
        }
        (Kind::OptionalSize, ValueKind::String(text)) if text.is_empty() || parse_size(text).is_some() => {
            Ok(text.as_str().into())
        }
        (Kind::OptionalSize, _) => {
            let (least, most) = (SIDES.start(), SIDES.end());
            Err(format!("expected rows and columns from {least} to {most} in quotes, such as \"224x224\""))
        }
        (Kind::Source, ValueKind::String(text)) => source(text).map(|()| text.as_str().into()),
        (Kind::Source, _) => Err("expected a source in quotes, such as \"test:ball\"".into()),
    }
}

fn integers(items: &[Value], min: i64, max: i64) -> Result<Json, String> {
    let mut numbers = Vec::with_capacity(items.len());
    for item in items {
        match item.kind {
            ValueKind::I64(number) if (min..=max).contains(&number) && !numbers.contains(&number) => {
                numbers.push(number)
            }
            _ => return Err(integers_expected(min, max)),
        }
    }
    Ok(numbers.into())
}

fn integers_expected(min: i64, max: i64) -> String {
    format!("expected a list of different whole numbers from {min} to {max}, such as [2, 3]")
}

fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=64).contains(&text.len()) && text.chars().all(allowed)
}

fn is_topic(text: &str) -> bool {
    text.len() <= 256 && text.split('/').all(|level| !level.is_empty() && !level.contains(['+', '#', '\0']))
}

fn unknown(key: &str, names: &[&str]) -> String {
    let near = names.iter().map(|name| (strsim::damerau_levenshtein(key, name), name)).min();
    match near {
        Some((distance, name)) if distance <= 2 => format!("unknown key; did you mean '{name}'?"),
        _ => format!("unknown key; known here: {}", names.join(", ")),
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// A value as it would be written in a file, shortened, without secrets.
fn show(value: &Value) -> String {
    const LONGEST: usize = 80;
    let text = match &value.kind {
        ValueKind::String(text) => format!("{:?}", redact(text)),
        ValueKind::Array(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        ValueKind::Table(_) => "a section".to_owned(),
        kind => kind.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
