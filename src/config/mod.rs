//! The configuration: TOML files, the environment and the command line, merged and checked.
//!
//! Later ones win: built-in default < `/etc/hardnetd/hardnetd.toml` (or the file that was named) <
//! `conf.d/*.toml` beside it < `HARDNETD__SECTION__KEY` < flags. Lists, and with them the
//! `[[stream]]` sections, are replaced as a whole. Unknown keys are errors, and all problems of all
//! files are reported together.

mod check;
mod read;
mod redact;
mod schema;
mod secret;
mod size;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ::config::{ConfigError, Environment, File, FileFormat, Map, Source, Value};

use crate::exit::Exit;
pub use check::SourceCheck;
use check::{Checker, Origin};
pub use redact::{redact, redact_words};
pub use schema::{Config, Device, Inference, Model, Mqtt, Publish, Stdout, Stream};
pub use secret::{SecretError, read_pem, read_secret, secret_path};
pub use size::{SIDES, parse_size};

/// The built-in default, commented: what `hardnetd config default` prints.
pub const DEFAULT: &str = include_str!("../../configs/default.toml");

/// The file that is read when none is named.
pub const SYSTEM_FILE: &str = "/etc/hardnetd/hardnetd.toml";

/// Most bytes of a configuration file.
const LARGEST_FILE: u64 = 1 << 20;

/// A value that a flag of the command line sets.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The flag as it is written, such as `--source`.
    pub name: &'static str,
    /// The key that it sets, such as `model.name`.
    pub key: &'static str,
    /// The value.
    pub value: FlagValue,
}

/// What a flag may hold.
#[derive(Debug, Clone)]
pub enum FlagValue {
    /// A string.
    Text(String),
    /// True or false.
    Switch(bool),
    /// A whole number.
    Integer(i64),
    /// The `[[stream]]` sections, as name and source.
    Streams(Vec<(String, String)>),
}

/// A configuration and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The merged and checked configuration.
    pub config: Config,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
}

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, environment variable or flag.
    pub origin: String,
    /// The key, where there is one.
    pub key: Option<String>,
    /// The value found and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        match &self.key {
            Some(key) if self.message.starts_with("unknown") => write!(f, "{key}: {}", self.message),
            Some(key) => write!(f, "{key} = {}", self.message),
            None => write!(f, "{}", self.message),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// One or more values are wrong.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
}

impl Error {
    /// The exit code that the error stands for: wrong flags are a usage error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Invalid(problems) if problems.iter().all(|p| p.origin.starts_with("--")) => Exit::Usage,
            _ => Exit::Config,
        }
    }
}

fn list(problems: &[Problem]) -> String {
    match problems {
        [problem] => format!("wrong configuration: {problem}"),
        _ => {
            let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
            format!("wrong configuration, {} problems:\n{}", problems.len(), lines.join("\n"))
        }
    }
}

/// Reads, merges and checks the configuration.
///
/// `file` names a file that must exist; without it [`SYSTEM_FILE`] is read if it is there.
/// `source_check` says which source URIs there are.
///
/// # Errors
/// An unreadable file, or all problems of all values together.
pub fn load(file: Option<&Path>, flags: &[Flag], source_check: SourceCheck) -> Result<Loaded, Error> {
    let files = files(file)?;
    let mut checker = Checker { source: source_check, origin: Origin::Environment, problems: Vec::new() };
    let mut builder = ::config::Config::builder().add_source(File::from_str(DEFAULT, FileFormat::Toml));
    for path in &files {
        let text = read::text(path, LARGEST_FILE).map_err(|source| Error::Unreadable { path: path.clone(), source })?;
        let layer = File::from_str(&text, FileFormat::Toml);
        check_layer(&mut checker, Origin::Named(path.display().to_string()), layer.clone());
        builder = builder.add_source(layer);
    }
    let environment = Environment::with_prefix("HARDNETD").prefix_separator("__").separator("__");
    check_layer(&mut checker, Origin::Environment, environment.clone());
    builder = builder.add_source(environment);
    for flag in flags {
        check_layer(&mut checker, Origin::Named(flag.name.into()), flag.clone());
        builder = builder.add_source(flag.clone());
    }
    let Checker { mut problems, .. } = checker;
    if problems.is_empty() {
        match merge(builder, source_check) {
            Ok(config) => {
                check_together(&config, &mut problems);
                if problems.is_empty() {
                    return Ok(Loaded { config, files });
                }
            }
            Err(message) => problems.push(Problem { origin: "configuration".into(), key: None, message }),
        }
    }
    problems.sort();
    Err(Error::Invalid(problems))
}

/// Checks one layer by itself, so that every problem has its origin.
fn check_layer(checker: &mut Checker, origin: Origin, layer: impl Source + Send + Sync + 'static) {
    checker.origin = origin;
    match ::config::Config::builder().add_source(layer).build() {
        Ok(tree) => drop(checker.section("", &tree.cache, schema::ROOT)),
        Err(error) => {
            let origin = match &checker.origin {
                Origin::Named(name) => name.clone(),
                Origin::Environment => "the environment".to_owned(),
            };
            let message = match error {
                ConfigError::FileParse { cause, .. } => without_excerpt(&cause.to_string()),
                other => other.to_string(),
            };
            checker.problems.push(Problem { origin, key: None, message });
        }
    }
}

/// The message of the TOML parser without the lines of the file that it shows, which may hold secrets.
fn without_excerpt(message: &str) -> String {
    let is_excerpt = |line: &&str| line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()).starts_with('|');
    let lines: Vec<&str> = message.lines().filter(|line| !is_excerpt(line) && !line.is_empty()).collect();
    lines.join(": ")
}

/// The layers, each of which has been checked, on top of each other.
fn merge(
    layers: ::config::ConfigBuilder<::config::builder::DefaultState>,
    source: SourceCheck,
) -> Result<Config, String> {
    let merged = layers.build().map_err(|error| error.to_string())?;
    let mut checker = Checker { source, origin: Origin::Named("configuration".into()), problems: Vec::new() };
    let values = checker.section("", &merged.cache, schema::ROOT);
    match checker.problems.first() {
        Some(problem) => Err(problem.to_string()),
        None => serde_json::from_value(values).map_err(|error| error.to_string()),
    }
}

/// The named or the system's file and the `conf.d` beside it, in the order they are read.
fn files(named: Option<&Path>) -> Result<Vec<PathBuf>, Error> {
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
        let path = entry.map_err(|source| unreadable(&folder, source))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            drop_ins.push(path);
        }
    }
    drop_ins.sort();
    files.append(&mut drop_ins);
    Ok(files)
}

impl Source for Flag {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let text = |text: &String| Value::new(None, text.as_str());
        // Who starts a camera by hand wants to see at once that it fails.
        let stream = |(name, source): &(String, String)| {
            let keys = [("name", text(name)), ("source", text(source)), ("retry_max_s", Value::new(None, 0.0))];
            Value::new(None, Map::from_iter(keys.map(|(key, value)| (key.to_owned(), value))))
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

/// What several values must be together.
fn check_together(config: &Config, problems: &mut Vec<Problem>) {
    let mut problem = |key: &str, message: String| {
        problems.push(Problem { origin: "configuration".into(), key: Some(key.into()), message });
    };
    if config.streams.is_empty() {
        problem("stream", "[]: expected at least one [[stream]] section, or --source".into());
    }
    let mut names = BTreeSet::new();
    for stream in &config.streams {
        if !names.insert(&stream.name) {
            problem("stream.name", format!("{:?}: used twice; every stream needs a name of its own", stream.name));
        }
    }
    let schema::Inference { workers, threads, ref cores, .. } = config.inference;
    let (needed, cores) = (workers as usize * threads as usize, cores.len());
    if cores > 0 && cores < needed {
        let of = if threads > 1 { format!(" of {threads} threads") } else { String::new() };
        let message = format!("{cores} cores for {workers} workers{of}: expected at least {needed}, or []");
        problem("inference.cores", message);
    }
    if threads > 1 && config.inference.backend == "tract" {
        problem("inference.threads", format!("{threads}: expected 1 with inference.backend = \"tract\""));
    }
    let Publish { stdout, mqtt } = &config.publish;
    if !stdout.enabled && !mqtt.enabled {
        problem("publish", "nothing enabled: expected publish.stdout or publish.mqtt to have enabled = true".into());
    }
    if mqtt.username.is_empty() && !mqtt.password_file.is_empty() {
        problem("publish.mqtt.username", "\"\": MQTT sends a password only together with a user name".into());
    }
    let files = [("ca_file", &mqtt.ca_file), ("cert_file", &mqtt.cert_file), ("key_file", &mqtt.key_file)];
    let given = files.iter().find(|(_, file)| !file.is_empty()).map(|(key, _)| *key);
    let only_with_tls = given.or(mqtt.danger_accept_any_certificate.then_some("danger_accept_any_certificate"));
    if let (Some(key), false) = (only_with_tls, mqtt.tls) {
        problem("publish.mqtt.tls", format!("false: expected true, or no {key}, which is for TLS"));
    }
    if mqtt.cert_file.is_empty() != mqtt.key_file.is_empty() {
        let key = if mqtt.cert_file.is_empty() { "cert_file" } else { "key_file" };
        problem(&format!("publish.mqtt.{key}"), "\"\": a certificate needs its key, and a key its certificate".into());
    }
}
