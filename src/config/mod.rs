//! The configuration: TOML files, the environment and the command line, merged and checked.
//!
//! Later ones win: built-in default < `/etc/hardnetd/hardnetd.toml` (or the named file) < `conf.d/*.toml` next to it <
//! `HARDNETD__SECTION__KEY` < flags. `[[stream]]` sections of files are merged by stream name, and replaced as a whole
//! by `--source`; other lists are replaced. Unknown keys, and keys that are not for the scheme of the stream's source,
//! are errors; all problems of all files are reported together.

mod address;
mod check;
mod controls;
mod layers;
mod merge;
mod normalisation;
mod problem;
mod redact;
mod schema;
mod scheme;
mod secret;
mod size;
mod streams;
mod syntax;
mod together;
mod warnings;

use std::io;
use std::path::{Path, PathBuf};

use ::config::{ConfigError, File, FileFormat, Source};

use crate::exit::Exit;
use crate::regular;
pub use address::{Broker, login_end};
pub use check::SourceCheck;
use check::{Checker, Origin};
pub use controls::parse_controls;
pub use layers::{Flag, FlagValue, StreamFlag};
use merge::Merged;
pub use normalisation::{parse_mean, parse_std};
use problem::Places;
pub use problem::{Problem, Warning};
pub use redact::{redact, redact_words};
pub use schema::{
    BoardCamera, Collect, Config, Device, Http, HttpServer, Inference, MAX_FPS, MIN_FPS, MQTTS_PORT, Model, Mqtt,
    Power, Publish, Rtsp, Srt, Stdout, Stream, Telemetry, Udp, V4l2,
};
pub use scheme::split_scheme;
pub use secret::{SecretError, is_missing_credential, read_certificates, read_pem, read_secret, secret_path};
pub use size::{SIDES, parse_size};
pub use warnings::warnings;

/// The built-in default, with comments, as printed by `hardnetd config default`.
pub const DEFAULT: &str = include_str!("../../configs/default.toml");

/// The file that is read if none is named.
pub const SYSTEM_FILE: &str = "/etc/hardnetd/hardnetd.toml";

/// Maximum size of a configuration file in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// A configuration and its origin.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The merged and checked configuration.
    pub config: Config,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    places: Places,
}

impl Loaded {
    /// A problem with the value of `key`, such as `stream[1].source`, with the file, variable or flag that sets it.
    #[must_use]
    pub fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        let mut problem = self.places.problem(key, message);
        problem.add_stream(|_, _| self.name_at(key));
        problem
    }

    /// The name of the stream that `key`, such as `stream[1].source`, belongs to, if a layer sets it.
    fn name_at(&self, key: &str) -> Option<String> {
        let (index, _) = key.strip_prefix("stream[")?.split_once("].")?;
        let stream = self.config.streams.get(index.parse::<usize>().ok()?)?;
        self.places.has(&format!("stream[{index}].name")).then(|| stream.name.clone())
    }

    /// Whether a file or a flag lists the streams; otherwise, the test pattern is the only one.
    #[must_use]
    pub fn lists_streams(&self) -> bool {
        self.places.has("stream")
    }

    /// Settings that work but may be unwanted (see [`warnings()`]), each with the file, variable or flag that sets it.
    #[must_use]
    pub fn warnings(&self) -> Vec<Problem> {
        // Without a file, too, but then nobody expects a camera.
        let without_streams = self.files.first().filter(|_| !self.lists_streams()).map(|file| Problem {
            origin: file.display().to_string(),
            key: None,
            message: format!("no [[stream]] here or in conf.d, so only {} is classified", Stream::default().source),
        });
        let of_values = warnings(&self.config).into_iter().map(|warning| self.place(warning));
        layers::ignored_variables().chain(without_streams).chain(of_values).collect()
    }

    /// A warning, with the file, variable or flag that sets its key.
    #[must_use]
    pub fn place(&self, warning: Warning) -> Problem {
        let Warning { key, found, remedy } = warning;
        self.problem(&key, format!("{found}; {remedy}"))
    }
}

/// Why the configuration cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The main file or the folder could not be read.
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
    /// The exit code of the error; wrong flags are a usage error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Invalid(problems) if problems.iter().all(Problem::is_of_flag) => Exit::Usage,
            _ => Exit::Config,
        }
    }
}

fn list(problems: &[Problem]) -> String {
    match problems {
        [problem] if problem.is_of_flag() => problem.to_string(),
        [problem] => format!("wrong configuration: {problem}"),
        _ => {
            let what = if problems.iter().all(Problem::is_of_flag) { "usage" } else { "configuration" };
            let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
            format!("wrong {what}, {} problems:\n{}", problems.len(), lines.join("\n"))
        }
    }
}

/// Reads, merges and checks the configuration.
///
/// `file` names a file that must exist; without it, [`SYSTEM_FILE`] is read if it exists. `source_check` knows the
/// supported source URIs.
///
/// # Errors
/// An unreadable main file or folder, or all problems of all files and values together.
pub fn load(file: Option<&Path>, flags: &[Flag], source_check: SourceCheck) -> Result<Loaded, Error> {
    let files = layers::files(file)?;
    let mut checker = Checker::new(source_check);
    let mut merged = Merged::default();
    let main = files.first().filter(|first| file.unwrap_or(Path::new(SYSTEM_FILE)) == first.as_path());
    for path in &files {
        checker.origin = Origin::File(path.display().to_string());
        match regular::read_text(path, LARGEST_FILE) {
            Ok(text) => add(&mut merged, &mut checker, File::from_str(&text, FileFormat::Toml), &text),
            Err(source) if main == Some(path) => return Err(Error::Unreadable { path: path.clone(), source }),
            Err(source) => checker.problems.push(Problem {
                origin: path.display().to_string(),
                key: None,
                message: format!("the file cannot be read: {source}"),
            }),
        }
    }
    checker.origin = Origin::Environment;
    let environment = layers::environment(&mut checker.problems);
    add(&mut merged, &mut checker, environment, "");
    for flag in flags {
        checker.origin = Origin::Flag(flag.name);
        add(&mut merged, &mut checker, flag.clone(), "");
    }
    let Checker { mut problems, wrong, names, .. } = checker;
    let (values, places) = merged.finish();
    match serde_json::from_value(values) {
        Ok(config) => {
            together::check(&config, &places, &wrong, &mut problems);
            if problems.is_empty() {
                return Ok(Loaded { config, files, places });
            }
        }
        Err(error) => problems.push(Problem { origin: "configuration".into(), key: None, message: error.to_string() }),
    }
    for problem in &mut problems {
        problem.add_stream(|origin, section| names.get(&(origin.to_owned(), section.to_owned())).cloned());
    }
    problems.sort();
    Err(Error::Invalid(problems))
}

/// Checks one layer by itself, so that every problem has its origin, and lays what is right of it on the others. `text`
/// is that of a file.
fn add(merged: &mut Merged, checker: &mut Checker, layer: impl Source + Send + Sync + 'static, text: &str) {
    match ::config::Config::builder().add_source(layer).build() {
        Ok(tree) => {
            let values = checker.section("", &tree.cache, schema::ROOT);
            merged.add(values, checker);
        }
        Err(error) => {
            let origin = match &checker.origin {
                Origin::Environment => "the environment".to_owned(),
                named => named.of(""),
            };
            let message = match error {
                ConfigError::FileParse { cause, .. } => syntax::message(&*cause, text),
                other => other.to_string(),
            };
            checker.problems.push(Problem { origin, key: None, message });
        }
    }
}
