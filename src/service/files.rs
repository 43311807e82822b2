//! The files that a configuration names, by content: changed content under the same name counts as a change.
//!
//! Digests are taken before the files are used. If a file changes in between, it counts as changed at the next reload,
//! so no change is missed.

use std::path::{Path, PathBuf};

use crate::config::{self, Config};
use crate::engine::import::MAX_LENGTH;
use crate::hardnet;
use crate::weights::file::sha256;

/// Maximum size of a file that is not a model: all readers reject longer ones.
const LARGEST: u64 = 1 << 22;

/// A file and the digest of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// The configuration key that names it.
    key: &'static str,
    /// The stream with that key.
    stream: Option<String>,
    path: PathBuf,
    /// SHA-256 of the content; `None` if it cannot be read or is too long to be used.
    digest: Option<String>,
}

/// All files that a configuration names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Files(Vec<File>);

impl Files {
    /// Reads the files that `config` names and uses.
    pub(super) fn read(config: &Config) -> Self {
        let mut files = Vec::new();
        let mut add = |key, stream: Option<&str>, path: PathBuf| {
            let most = if key == "model.name" { MAX_LENGTH } else { LARGEST };
            let is_read = path.metadata().is_ok_and(|file| file.is_file() && file.len() <= most);
            let digest = is_read.then(|| sha256(&path).ok()).flatten();
            files.push(File { key, stream: stream.map(str::to_owned), path, digest });
        };
        for stream in &config.streams {
            for (key, file) in [("stream.password_file", &stream.password_file), ("stream.ca_file", &stream.ca_file)] {
                if !file.is_empty() {
                    add(key, Some(&stream.name), config::secret_path(file));
                }
            }
        }
        let mqtt = &config.publish.mqtt;
        for (key, file) in [
            ("publish.mqtt.password_file", &mqtt.password_file),
            ("publish.mqtt.ca_file", &mqtt.ca_file),
            ("publish.mqtt.cert_file", &mqtt.cert_file),
            ("publish.mqtt.key_file", &mqtt.key_file),
        ] {
            if mqtt.enabled && !file.is_empty() {
                add(key, None, config::secret_path(file));
            }
        }
        if hardnet::find(&config.model.name).is_none() {
            add("model.name", None, PathBuf::from(&config.model.name));
        }
        if !config.model.labels.is_empty() {
            add("model.labels", None, PathBuf::from(&config.model.labels));
        }
        Self(files)
    }

    /// The files named by both whose content differs from `before`: path and key.
    pub(super) fn changed<'a>(&'a self, before: &Self) -> Vec<(&'a Path, &'static str)> {
        let differs = |file: &&File| {
            let same = |other: &&File| (other.key, &other.stream, &other.path) == (file.key, &file.stream, &file.path);
            before.0.iter().find(same).is_some_and(|other| other.digest != file.digest)
        };
        self.0.iter().filter(differs).map(|file| (file.path.as_path(), file.key)).collect()
    }

    /// The files of one section, such as `model`.
    pub(super) fn of_section(&self, section: &str) -> Vec<&File> {
        self.0.iter().filter(|file| file.key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))).collect()
    }

    /// The files of one stream.
    pub(super) fn of_stream(&self, name: &str) -> Vec<&File> {
        self.0.iter().filter(|file| file.stream.as_deref() == Some(name)).collect()
    }
}
