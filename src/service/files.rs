//! The files that a configuration names, by content: changed content under the same name counts as a change.
//!
//! Digests are taken before the files are used. If a file changes in between, it counts as changed at the next reload,
//! so no change is missed.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{self, Config};
use crate::engine::import::MAX_LENGTH;
use crate::model;
use crate::weights::file::sha256;

/// Maximum size of a file that is not a model: all readers reject longer ones.
const LARGEST: u64 = 1 << 22;

/// The key of a stream's own model.
const MODEL: &str = "stream.model";

/// Settings that Hugging Face's Transformers write beside a network.
const TRANSFORMERS: &str = "preprocessor_config.json";

/// Maximum number of files beside an ONNX file that are looked at.
const MOST_BESIDE: usize = 64;

/// A file and the digest of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// The configuration key that names it.
    key: &'static str,
    /// The stream with that key, or the name of the stream's model that it belongs to.
    owner: Option<String>,
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
        let mut add = |key, owner: Option<&str>, path: PathBuf| {
            let most = if matches!(key, "model.name" | MODEL) { MAX_LENGTH } else { LARGEST };
            let is_read = path.metadata().is_ok_and(|file| file.is_file() && file.len() <= most);
            let digest = is_read.then(|| sha256(&path).ok()).flatten();
            files.push(File { key, owner: owner.map(str::to_owned), path, digest });
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
        for name in config.models().into_iter().filter(|name| !model::is_known(name)) {
            let (key, owner) = if name == config.model.name { ("model.name", None) } else { (MODEL, Some(name)) };
            let path = PathBuf::from(name);
            beside(&path).into_iter().for_each(|path| add(key, owner, path));
            add(key, owner, path);
        }
        if !config.model.labels.is_empty() {
            add("model.labels", None, PathBuf::from(&config.model.labels));
        }
        Self(files)
    }

    /// The files named by both whose content differs from `before`: path and key.
    pub(super) fn changed<'a>(&'a self, before: &Self) -> Vec<(&'a Path, &'static str)> {
        let differs = |file: &&File| {
            let same = |other: &&File| (other.key, &other.owner, &other.path) == (file.key, &file.owner, &file.path);
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
        self.0.iter().filter(|file| file.owner.as_deref() == Some(name) && file.key != MODEL).collect()
    }

    /// The files of the model called `name`.
    pub(super) fn of_model(&self, config: &Config, name: &str) -> Vec<&File> {
        if name == config.model.name {
            return self.of_section("model");
        }
        self.0.iter().filter(|file| file.owner.as_deref() == Some(name) && file.key == MODEL).collect()
    }
}

/// The files beside an ONNX file that may belong to it: its weights and how pictures are prepared for it.
fn beside(path: &Path) -> Vec<PathBuf> {
    let (Some(name), Some("onnx")) = (path.file_name(), path.extension().and_then(OsStr::to_str)) else {
        return Vec::new();
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name()).filter(|found| {
        found != name && found.as_encoded_bytes().starts_with(name.as_encoded_bytes()) || found == TRANSFORMERS
    });
    let mut names: Vec<_> = names.take(MOST_BESIDE).collect();
    names.sort_unstable();
    names.iter().map(|found| folder.join(found)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn what_belongs_to_an_onnx_file_belongs_to_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut config = Config::default();
        config.model.name = at("net.onnx").to_str().unwrap().to_owned();
        fs::write(at("net.onnx"), "1").unwrap();
        fs::write(at("net.onnx.data"), "1").unwrap();
        let mut before = Files::read(&config);
        let of_stream = config::Stream { model: config.model.name.clone(), ..config::Stream::default() };
        config.model.name = "signal".into();
        config.streams = vec![of_stream];
        assert_eq!(
            Files::read(&config).of_model(&config, &config.streams[0].model).len(),
            2,
            "a stream's own model, too"
        );
        config.model.name = config.streams.remove(0).model;
        config.streams = vec![config::Stream::default()];
        for name in ["net.onnx", "net.onnx.data", "net.onnx.toml", TRANSFORMERS] {
            fs::write(at(name), "another").unwrap();
            let after = Files::read(&config);
            assert_ne!(after.of_section("model"), before.of_section("model"), "{name}");
            before = after;
        }
        fs::write(at("other.onnx.data"), "1").unwrap();
        assert_eq!(Files::read(&config), before);
        fs::write(at("net.onnx.data"), "a third").unwrap();
        let after = Files::read(&config);
        assert_eq!(after.changed(&before), [(at("net.onnx.data").as_path(), "model.name")]);
    }
}
