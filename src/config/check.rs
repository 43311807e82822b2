//! Checks value trees against the schema and collects all problems.
//!
//! Values in files are strict: a number in quotes is a string. Values in the environment are untyped and are parsed
//! according to the key.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use config::{Value, ValueKind};
use serde_json::{Map, Value as Json};

use super::address::{TOPIC, check_host, check_topic};
use super::controls::parse_controls;
use super::normalisation::{parse_mean, parse_std};
use super::problem::Problem;
use super::redact::{is_secret, redact};
use super::schema::{Allowed, Keys, Section};
use super::scheme::moved;
use super::size::{SIDES, parse_size};
use crate::frame::Region;
use crate::printable::line;

/// Checks whether a source URI is supported; the error says what is allowed.
pub type SourceCheck<'a> = &'a dyn Fn(&str) -> Result<(), String>;

/// Origin of a configuration layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A file.
    File(String),
    /// A flag.
    Flag(&'static str),
    /// The environment.
    Environment,
}

impl Origin {
    /// How a user can locate the value of `key`.
    pub(super) fn of(&self, key: &str) -> String {
        match self {
            Self::File(path) => path.clone(),
            Self::Flag(flag) => (*flag).to_owned(),
            Self::Environment => format!("environment variable {}", variable(key)),
        }
    }
}

/// The environment variable for `key`.
fn variable(key: &str) -> String {
    format!("HARDNETD__{}", key.to_uppercase().replace('.', "__"))
}

/// Maximum length of a text in bytes.
const LONGEST_TEXT: usize = 4096;

/// Checks one tree after another and collects their problems.
pub(super) struct Checker<'a> {
    pub(super) source: SourceCheck<'a>,
    pub(super) origin: Origin,
    pub(super) problems: Vec<Problem>,
    /// Keys with a problem.
    pub(super) wrong: BTreeSet<String>,
    /// The names of sections that may be repeated, by origin and key, such as `stream[1]`.
    pub(super) names: BTreeMap<(String, String), String>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(source: SourceCheck<'a>) -> Self {
        Self {
            source,
            origin: Origin::Environment,
            problems: Vec::new(),
            wrong: BTreeSet::new(),
            names: BTreeMap::new(),
        }
    }

    /// Checks `value`, found at `path`, against `section`; returns its valid part, for serde.
    pub(super) fn section(&mut self, path: &str, value: &Value, section: Section) -> Json {
        match section {
            Section::Group(sections) => {
                let names: Vec<&str> = sections.iter().map(|(name, _)| *name).collect();
                self.table(path, value, &names, &[], |checker, path, index, value| {
                    checker.section(path, value, sections[index].1)
                })
            }
            Section::Keys(keys) => self.keys(path, value, keys, &[]),
            Section::Repeated(keys, inner) => {
                let ValueKind::Array(items) = &value.kind else {
                    let expected = match self.origin {
                        Origin::Environment => {
                            format!("expected [[{path}]] sections in a file, or a source on the command line")
                        }
                        _ => format!("expected one or more [[{path}]] sections"),
                    };
                    self.problem(path, &format!("{}: {expected}", show(value)));
                    return Json::Array(Vec::new());
                };
                let items = items.iter().enumerate();
                let each = |(index, item)| {
                    let path = format!("{path}[{index}]");
                    let section = self.keys(&path, item, keys, inner);
                    if let Some(name) = section.get("name").and_then(Json::as_str) {
                        self.names.insert((self.origin.of(&path), path), name.to_owned());
                    }
                    section
                };
                Json::Array(items.map(each).collect())
            }
        }
    }

    /// Checks a table of `keys` with the tables `inner` inside.
    fn keys(&mut self, path: &str, value: &Value, keys: Keys, inner: &[(&str, Keys)]) -> Json {
        let names: Vec<&str> = keys.iter().map(|(name, _)| *name).chain(inner.iter().map(|(name, _)| *name)).collect();
        self.table(path, value, &names, inner, |checker, path, index, value| match keys.get(index) {
            Some((_, allowed)) => checker.value(path, value, *allowed).unwrap_or(Json::Null),
            None => checker.keys(path, value, inner[index - keys.len()].1, &[]),
        })
    }

    /// Passes the known entries of a table to `each`, by index into `names`; reports the others. `inner` are the tables
    /// among them whose keys an unknown one may be meant for.
    fn table(
        &mut self,
        path: &str,
        value: &Value,
        names: &[&str],
        inner: &[(&str, Keys)],
        mut each: impl FnMut(&mut Self, &str, usize, &Value) -> Json,
    ) -> Json {
        let mut object = Map::new();
        let ValueKind::Table(table) = &value.kind else {
            let expected = match self.origin {
                Origin::Environment => format!("expected a key after it, as in {}", variable(&format!("{path}.KEY"))),
                // Inside a section that may be repeated, the header has no number.
                _ => format!("expected a section, written [{}]", header(path)),
            };
            self.problem(path, &format!("{}: {expected}", show(value)));
            return Json::Object(object);
        };
        for (key, value) in table {
            let shown = if names.contains(&key.as_str()) { key.clone() } else { redact(key) };
            let here = if path.is_empty() { shown } else { format!("{path}.{shown}") };
            match names.iter().position(|name| name == key) {
                Some(index) => match each(self, &here, index, value) {
                    Json::Null => {}
                    json => drop(object.insert(key.clone(), json)),
                },
                None => {
                    let what = if matches!(value.kind, ValueKind::Table(_)) { "section" } else { "key" };
                    self.problem(&here, &unknown(what, key, names, inner, header(path)));
                }
            }
        }
        Json::Object(object)
    }

    fn value(&mut self, path: &str, value: &Value, kind: Allowed) -> Option<Json> {
        let typed = if self.origin == Origin::Environment { coerce(value, kind) } else { value.clone() };
        match convert(&typed, kind, self.source) {
            Ok(json) => Some(json),
            Err(expected) => {
                let shown = match self.origin {
                    // Somebody may have written the secret instead of the name of its file.
                    _ if is_secret(path.trim_end_matches("_file")) => "***".to_owned(),
                    Origin::Flag(_) => as_typed(value),
                    Origin::File(_) | Origin::Environment => show(value),
                };
                let expected = match self.origin {
                    Origin::File(_) => expected,
                    Origin::Flag(_) | Origin::Environment => without_quotes(expected),
                };
                self.problem(path, &format!("{shown}: {expected}"));
                None
            }
        }
    }

    fn problem(&mut self, key: &str, message: &str) {
        let origin = self.origin.of(key);
        self.wrong.insert(key.to_owned());
        // Who types a flag need not know the key that it sets.
        let key = if matches!(self.origin, Origin::Flag(_)) { None } else { Some(key.to_owned()) };
        self.problems.push(Problem { origin, key, message: message.to_owned() });
    }
}

/// Converts a string from the environment to the type that `kind` expects, if possible.
fn coerce(value: &Value, kind: Allowed) -> Value {
    let ValueKind::String(text) = &value.kind else { return value.clone() };
    let integer = |text: &str| text.trim().parse::<i64>().ok().map(ValueKind::I64);
    let parsed = match kind {
        Allowed::Switch => text.trim().parse().ok().map(ValueKind::Boolean),
        Allowed::Integer(..) => integer(text),
        Allowed::Number(..) | Allowed::NumberOrZero(..) => text.trim().parse().ok().map(ValueKind::Float),
        Allowed::Integers(..) => {
            // With or without the brackets used in files.
            let list = text.trim();
            let list = list.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap_or(list);
            let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
            items
                .map(|item| integer(item).map(|kind| Value::new(None, kind)))
                .collect::<Option<_>>()
                .map(ValueKind::Array)
        }
        _ => None,
    };
    parsed.map_or_else(|| value.clone(), |kind| Value::new(None, kind))
}

fn convert(value: &Value, kind: Allowed, source: SourceCheck) -> Result<Json, String> {
    match (kind, &value.kind) {
        (Allowed::Text, ValueKind::String(text)) if text.len() > LONGEST_TEXT => {
            Err(format!("expected at most {LONGEST_TEXT} bytes"))
        }
        (Allowed::Text, ValueKind::String(text)) if text.chars().any(char::is_control) => {
            Err("expected a text without line breaks and other control characters".into())
        }
        (Allowed::Text, ValueKind::String(text)) => Ok(text.as_str().into()),
        (Allowed::Text, _) => Err("expected a string in quotes".into()),
        (Allowed::Host, ValueKind::String(text)) if text.is_empty() => Ok("".into()),
        (Allowed::Host, ValueKind::String(text)) => check_host(text).map(|()| text.as_str().into()),
        (Allowed::Host, _) => Err("expected a host name or address in quotes".into()),
        (Allowed::Switch, ValueKind::Boolean(on)) => Ok((*on).into()),
        (Allowed::Switch, _) => Err("expected true or false".into()),
        (Allowed::Integer(min, max), ValueKind::I64(number)) if (min..=max).contains(number) => Ok((*number).into()),
        (Allowed::Integer(min, max), _) => Err(format!("expected a whole number from {min} to {max}")),
        (Allowed::Number(min, max), ValueKind::Float(number)) if (min..=max).contains(number) => Ok((*number).into()),
        #[allow(clippy::cast_precision_loss, reason = "bounds of numbers are far below 2^53")]
        (Allowed::Number(min, max), ValueKind::I64(number)) if (min..=max).contains(&(*number as f64)) => {
            Ok((*number as f64).into())
        }
        (Allowed::NumberOrZero(..), ValueKind::I64(0)) => Ok(0.0.into()),
        (Allowed::NumberOrZero(..), ValueKind::Float(number)) if *number == 0.0 => Ok(0.0.into()),
        (Allowed::NumberOrZero(min, max), _) => convert(value, Allowed::Number(min, max), source)
            .map_err(|_| format!("expected 0, or a number from {min} to {max}")),
        (Allowed::Number(min, max), _) => Err(format!("expected a number from {min} to {max}")),
        (Allowed::Integers(min, max), ValueKind::Array(items)) => integers(items, min, max),
        (Allowed::Integers(min, max), _) => Err(integers_expected(min, max)),
        (Allowed::Choice(words), ValueKind::String(text)) if words.contains(&text.as_str()) => Ok(text.as_str().into()),
        (Allowed::Choice(words), _) => Err(format!("expected one of {}", quoted(words))),
        (Allowed::OptionalName, ValueKind::String(text)) if text.is_empty() => Ok("".into()),
        (Allowed::Name | Allowed::OptionalName, ValueKind::String(text)) if is_name(text) => Ok(text.as_str().into()),
        (Allowed::Name | Allowed::OptionalName, _) => {
            Err("expected 1 to 64 letters, digits, '-', '_' or '.' in quotes".into())
        }
        (Allowed::Topic, ValueKind::String(text)) => check_topic(text).map(|()| text.as_str().into()),
        (Allowed::Topic, _) => Err(TOPIC.into()),
        (Allowed::OptionalSize, ValueKind::String(text)) if text.is_empty() || parse_size(text).is_some() => {
            Ok(text.as_str().into())
        }
        (Allowed::OptionalSize, _) => {
            let (least, most) = (SIDES.start(), SIDES.end());
            Err(format!("expected rows and columns from {least} to {most} in quotes, such as \"224x224\""))
        }
        (Allowed::OptionalMean, ValueKind::String(text)) if text.is_empty() || parse_mean(text).is_some() => {
            Ok(text.as_str().into())
        }
        (Allowed::OptionalMean, _) => {
            Err("expected one number from 0 to 1, or three for R, G and B, in quotes, such as \"0.485,0.456,0.406\""
                .into())
        }
        (Allowed::OptionalStd, ValueKind::String(text)) if text.is_empty() || parse_std(text).is_some() => {
            Ok(text.as_str().into())
        }
        (Allowed::OptionalStd, _) => Err(
            "expected one number above 0, at most 1, or three for R, G and B, in quotes, such as \"0.229,0.224,0.225\""
                .into(),
        ),
        (Allowed::Controls, ValueKind::String(text)) if parse_controls(text).is_some() => Ok(text.as_str().into()),
        (Allowed::Controls, _) => Err(
            "expected names and whole numbers in quotes, such as \"auto_exposure=1,exposure_time_absolute=156\", each \
             name once, of a to z, 0 to 9 and _"
                .into(),
        ),
        (Allowed::OptionalRegion, ValueKind::String(text)) if text.is_empty() => Ok("".into()),
        (Allowed::OptionalRegion, ValueKind::String(text)) => match text.parse::<Region>() {
            Ok(_) => Ok(text.as_str().into()),
            Err(error) => Err(error.to_string()),
        },
        (Allowed::OptionalRegion, _) => Err("expected x,y,width,height in quotes, such as \"0.25,0.5,0.5,0.5\"".into()),
        (Allowed::Element, ValueKind::String(text)) if is_element(text) => Ok(text.as_str().into()),
        (Allowed::Element, _) => {
            Err("expected \"auto\", \"software\" or the name of a GStreamer element, such as \"v4l2h264dec\"".into())
        }
        (Allowed::Listen, ValueKind::String(text)) if text.parse::<SocketAddr>().is_ok() => Ok(text.as_str().into()),
        (Allowed::Listen, _) => {
            Err("expected an IP address and a port in quotes, such as \"127.0.0.1:9464\" or \"[::1]:9464\"".into())
        }
        (Allowed::Source, ValueKind::String(text)) => source(text).map(|()| text.as_str().into()),
        (Allowed::Source, _) => Err("expected a source in quotes, such as \"test:ball\"".into()),
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

/// A word, or the name of a GStreamer element.
fn is_element(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    (1..=64).contains(&text.len()) && text.chars().all(allowed)
}

/// Names that other programs use for keys of this one.
const HABITS: [(&str, &str); 19] = [
    ("url", "source"),
    ("uri", "source"),
    ("input", "source"),
    ("device", "source"),
    ("path", "source"),
    ("camera", "source"),
    ("directory", "folder"),
    ("path", "folder"),
    ("id", "name"),
    ("user", "username"),
    ("broker", "host"),
    ("server", "host"),
    ("address", "host"),
    ("framerate", "max_fps"),
    ("weights", "name"),
    ("file", "name"),
    ("mqtt", "publish"),
    ("stdout", "publish"),
    ("cameras", "stream"),
];

/// The header of the section at `path` in a file, without the brackets.
fn header(path: &str) -> String {
    path.split('.').map(|part| part.split('[').next().unwrap_or(part)).collect::<Vec<_>>().join(".")
}

/// What to say of `key`, which is not among `names`, in the section with the header `section`; the tables `inner` are in
/// it.
fn unknown(what: &str, key: &str, names: &[&str], inner: &[(&str, Keys)], section: String) -> String {
    let known = names.join(", ");
    let key = key.to_lowercase().replace('-', "_");
    if let Some((table, new)) = moved(&key).filter(|(table, _)| names.contains(table)) {
        return format!("unknown {what}; moved to [{section}.{table}], {new}");
    }
    let near = names.iter().map(|name| (strsim::damerau_levenshtein(&key, name), name)).min();
    // In a short word, two different letters make another word.
    let slips = if key.len() < 6 { 1 } else { 2 };
    if let Some((distance, name)) = near
        && distance <= slips
    {
        return format!("unknown {what}; did you mean '{name}'?");
    }
    let words: Vec<&str> = key.split('_').collect();
    let holds = |name: &&&str| words.iter().all(|word| name.split('_').any(|part| part == *word));
    let deeper = || {
        let keys = inner.iter().flat_map(|(table, keys)| keys.iter().map(move |(name, _)| (table, name)));
        let (table, name) = keys.into_iter().find(|(_, name)| holds(name))?;
        Some(format!("unknown {what}; did you mean '{name}' in [{section}.{table}]? Known here: {known}"))
    };
    let meant = HABITS.iter().filter(|(habit, name)| *habit == key && names.contains(name)).map(|(_, name)| name);
    let meant: Vec<String> = meant.chain(names.iter().filter(holds)).map(|name| format!("'{name}'")).collect();
    match meant.as_slice() {
        [] => deeper().unwrap_or_else(|| format!("unknown {what}; known here: {known}")),
        meant => format!("unknown {what}; did you mean {}? Known here: {known}", meant.join(" or ")),
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// A value as it would be written in a file, shortened and without secrets.
fn show(value: &Value) -> String {
    shortened(match &value.kind {
        ValueKind::String(text) => format!("{:?}", redact(text)),
        // Shown as a number that is not an integer.
        ValueKind::Float(number) if number.fract() == 0.0 => format!("{number:.1}"),
        ValueKind::Array(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        ValueKind::Table(_) => "a section".to_owned(),
        kind => kind.to_string(),
    })
}

/// A value of a flag as it was typed, shortened, without secrets.
fn as_typed(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) if !text.is_empty() => shortened(line(&redact(text)).into_owned()),
        _ => show(value),
    }
}

fn shortened(text: String) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What is expected, for those who write no quotes around a value.
fn without_quotes(expected: String) -> String {
    match expected.contains(" in quotes") {
        true => expected.replace(" in quotes", "").replace('"', ""),
        false => expected,
    }
}
