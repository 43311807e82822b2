//! The layers of the configuration: the files, the environment, and the flags.

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ::config::{ConfigError, Environment, Map, Source, Value};

use super::problem::Problem;
use super::{Error, SYSTEM_FILE};
use crate::frame::Region;

/// Prefix of environment variables that set keys.
const PREFIX: &str = "HARDNETD__";
/// The variable for the filter of log lines.
const LOG_FILTER: &str = "HARDNETD_LOG";

/// The named file or the system's, and the `conf.d` next to it, in reading order.
///
/// # Errors
/// If the folder cannot be read, or the existence of the system's file cannot be determined.
pub(super) fn files(named: Option<&Path>) -> Result<Vec<PathBuf>, Error> {
    let main = named.unwrap_or(Path::new(SYSTEM_FILE));
    let unreadable = |path: &Path, source| Error::Unreadable { path: path.to_owned(), source };
    let mut files = Vec::new();
    if named.is_some() || main.try_exists().map_err(|source| unreadable(main, source))? {
        files.push(main.to_owned());
    }
    let folder = main.parent().unwrap_or(Path::new("")).join("conf.d");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(files);
        }
        Err(source) => return Err(unreadable(&folder, source)),
    };
    let mut drop_ins = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| unreadable(&folder, source))?;
        if is_drop_in(&entry.file_name()) {
            drop_ins.push(entry.path());
        }
    }
    drop_ins.sort();
    files.append(&mut drop_ins);
    Ok(files)
}

/// Whether a name in `conf.d` is that of a configuration file. Hidden files are locks and copies of editors
/// (`.#a.toml`, `.a.toml.swp`); other copies of editors and package managers have other extensions (`a.toml~`,
/// `a.toml.dpkg-old`, `a.toml.rpmsave`).
fn is_drop_in(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.ends_with(b".toml") && !name.starts_with(b".")
}

/// The environment variables that set keys; one that is not valid Unicode is a problem.
pub(super) fn environment(problems: &mut Vec<Problem>) -> Environment {
    let mut variables = BTreeMap::new();
    let mut refuse = |name: &str, message: String| {
        problems.push(Problem { origin: format!("environment variable {name}"), key: None, message });
    };
    for (name, value) in env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.to_uppercase().starts_with(PREFIX)) else { continue };
        let Ok(value) = value.into_string() else {
            refuse(name, "expected text in UTF-8".into());
            continue;
        };
        // One of two spellings of a key would win by chance.
        if let Some((other, _)) = variables.insert(name.to_uppercase(), (name.to_owned(), value)) {
            refuse(name, format!("it sets the same key as {other}: expected one of them"));
        }
    }
    // The names of keys in a section come after that of the section, `__` apart.
    for (name, (section, _)) in &variables {
        let inside = format!("{name}__");
        if let Some((_, (other, _))) =
            variables.range(inside.clone()..).next().filter(|(next, _)| next.starts_with(&inside))
        {
            refuse(section, format!("it sets a whole section, and {other} a key of it: expected one of them"));
        }
    }
    let variables: HashMap<String, String> = variables.into_values().collect();
    Environment::with_prefix("HARDNETD").prefix_separator("__").separator("__").source(Some(variables))
}

/// The environment variables that look as if they set a key, and do not.
pub(super) fn ignored_variables() -> impl Iterator<Item = Problem> {
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let is_near = |name: &String| {
        let name = name.to_uppercase();
        name.starts_with("HARDNETD_") && !name.starts_with(PREFIX) && name != LOG_FILTER
    };
    names.filter(is_near).map(|name| Problem {
        origin: format!("environment variable {name}"),
        key: None,
        message: format!("ignored; sections have two underscores on both sides, as in {PREFIX}MODEL__NAME"),
    })
}

/// A value set by a command-line flag.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The flag as written, such as `--source`.
    pub name: &'static str,
    /// The key, such as `model.name`.
    pub key: &'static str,
    /// The value.
    pub value: FlagValue,
}

/// The value of a flag.
#[derive(Debug, Clone)]
pub enum FlagValue {
    /// A string.
    Text(String),
    /// True or false.
    Switch(bool),
    /// A whole number.
    Integer(i64),
    /// The `[[stream]]` sections.
    Streams(Vec<StreamFlag>),
}

/// A stream given on the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamFlag {
    /// Its name.
    pub name: String,
    /// Its source.
    pub source: String,
    /// Its `max_fps`; `None`: the default.
    pub max_fps: Option<f64>,
    /// Its `region`; `None`: the default.
    pub region: Option<Region>,
}

impl Source for Flag {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let text = |text: &String| Value::new(None, text.as_str());
        // Somebody who starts a camera by hand wants to see failures at once.
        let stream = |StreamFlag { name, source, max_fps, region }: &StreamFlag| {
            let keys = [("name", text(name)), ("source", text(source)), ("retry_max_s", Value::new(None, 0.0))];
            let max_fps = max_fps.map(|limit| ("max_fps", Value::new(None, limit)));
            let region = region.map(|region| ("region", Value::new(None, region.to_string())));
            let keys = keys.into_iter().chain(max_fps).chain(region);
            Value::new(None, keys.map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
        };
        let value = match &self.value {
            FlagValue::Text(value) => text(value),
            FlagValue::Switch(value) => Value::new(None, *value),
            FlagValue::Integer(value) => Value::new(None, *value),
            FlagValue::Streams(streams) => Value::new(None, streams.iter().map(stream).collect::<Vec<_>>()),
        };
        Ok(Map::from_iter([(self.key.to_owned(), value)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_and_package_managers_leave_is_not_read() {
        for name in ["a.toml", "10-cameras.toml", "a b.toml"] {
            assert!(is_drop_in(OsStr::new(name)), "{name}");
        }
        for name in [
            ".#a.toml",
            ".a.toml",
            ".a.toml.swp",
            "#a.toml#",
            "a.toml~",
            "a.toml.dpkg-old",
            "a.toml.dpkg-dist",
            "a.toml.rpmsave",
            "a.toml.bak",
            "note.txt",
            ".toml",
            "toml",
        ] {
            assert!(!is_drop_in(OsStr::new(name)), "{name}");
        }
    }
}
