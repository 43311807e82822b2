//! The files that a configuration names: whether they exist, are readable, and have the right content. Also, what it
//! requires from the machine.
//!
//! `hardnetd config check` reports these. It loads the model, and makes no connections.

use std::io::Read as _;
use std::path::{Path, absolute};

use super::{Finding, State, cores, sandbox};
use crate::capture::Source;
use crate::choice::IsaChoice;
use crate::config::{self, Config, Loaded, Mqtt, Problem, Stream, Warning, read_certificates, read_pem, read_secret};
use crate::exit::chain;
use crate::hardnet;
use crate::inference;
use crate::model::{self, Error, Model, ModelOptions, labels};
use crate::publish;
use crate::regular;
use crate::system::host::Host;
use crate::system::identity::Identity;
use crate::weights::file::is_known;

/// Problems with what a configuration names, and warnings.
#[derive(Debug, Default)]
pub struct Named {
    /// Files that are missing, unreadable, or unusable.
    pub problems: Vec<Problem>,
    /// Warnings about the configuration, files that only the service can see, and permissions that this machine does
    /// not grant.
    pub warnings: Vec<Problem>,
    /// Name of the user who opened the files.
    pub user: String,
}

/// Opens the files that `loaded` names, as `run` would, and checks what it requires from the machine.
#[must_use]
pub fn named(loaded: &Loaded) -> Named {
    let config = &loaded.config;
    let host = Host::here();
    let mut look = Look { loaded, named: Named { user: Identity::of(&host).user(), ..Named::default() } };
    for (index, stream) in config.streams.iter().enumerate() {
        look.stream(&format!("stream[{index}]"), stream);
    }
    look.model(config);
    for name in config.models().into_iter().filter(|name| *name != config.model.name) {
        look.model_of_stream(config, name);
    }
    if config.publish.mqtt.enabled {
        look.mqtt(&config.publish.mqtt);
    }
    look.collect(&config.collect.folder);
    let Look { mut named, .. } = look;
    named.warnings.extend(loaded.warnings());
    named.warnings.extend(machine(&host, config).into_iter().map(|warning| loaded.place(warning)));
    named
}

/// What `config` requires from the machine but this process may not have.
fn machine(host: &Host, config: &Config) -> Vec<Warning> {
    let inference = &config.inference;
    let shown = format!("{:?}", inference.cores);
    let cores = (cores::permitted(host, config), "inference.cores", shown);
    let priority = (sandbox::permitted(host, inference), "inference.priority", inference.priority.to_string());
    let is_bad = |finding: &Finding| matches!(finding.state, State::Warning | State::Error);
    let warning = |(finding, key, value): (Finding, &str, String)| Warning {
        key: key.to_owned(),
        found: format!("{value}: {}", finding.found),
        remedy: finding.remedy.unwrap_or_default(),
    };
    [cores, priority].into_iter().filter(|(finding, ..)| is_bad(finding)).map(warning).collect()
}

struct Look<'a> {
    loaded: &'a Loaded,
    named: Named,
}

impl Look<'_> {
    fn problem(&mut self, key: &str, value: &str, message: &str) {
        let problem = self.loaded.problem(key, format!("{:?}: {message}", config::redact(value)));
        self.named.problems.push(problem);
    }

    fn stream(&mut self, section: &str, stream: &Stream) {
        // An invalid source names no file.
        let outcome = Source::parse(&stream.source).map_or(Ok(()), |source| source.check_paths());
        if let Err(message) = outcome {
            self.problem(&format!("{section}.source"), &stream.source, &message);
        }
        self.secret(&format!("{section}.password_file"), &stream.password_file);
        self.read(&format!("{section}.ca_file"), &stream.ca_file, |key, file| read_certificates(key, file).map(drop));
    }

    /// Reads a password; returns whether that succeeded.
    fn secret(&mut self, key: &str, file: &str) -> bool {
        self.read(key, file, |key, file| read_secret(key, file).map(drop))
    }

    /// Reads the file that a key names, if any.
    fn read(
        &mut self,
        key: &str,
        file: &str,
        read: impl FnOnce(&str, &str) -> Result<(), config::SecretError>,
    ) -> bool {
        let Err(error) = (if file.is_empty() { Ok(()) } else { read(key, file) }) else { return true };
        if config::is_missing_credential(file) {
            let found = format!("{file:?}: a bare name, which only the service finds, in its $CREDENTIALS_DIRECTORY");
            let remedy = format!("check that the unit has LoadCredential={file}:PATH");
            self.named.warnings.push(self.loaded.place(Warning { key: key.to_owned(), found, remedy }));
        } else {
            self.problem(key, file, &chain(&error));
        }
        false
    }

    fn mqtt(&mut self, mqtt: &Mqtt) {
        let mut readable = self.secret("publish.mqtt.password_file", &mqtt.password_file);
        for (key, file) in [
            ("publish.mqtt.ca_file", &mqtt.ca_file),
            ("publish.mqtt.cert_file", &mqtt.cert_file),
            ("publish.mqtt.key_file", &mqtt.key_file),
        ] {
            readable &= self.read(key, file, |key, file| read_pem(key, file).map(drop));
        }
        if !readable {
            return;
        }
        // The content of the files.
        if let Err(error) = publish::check(mqtt) {
            let (key, file) = match &error {
                publish::Error::Tls(publish::TlsError::Content { key, file, .. }) => (*key, file.as_str()),
                publish::Error::Tls(publish::TlsError::Client(_)) => ("publish.mqtt.key_file", mqtt.key_file.as_str()),
                _ => ("publish.mqtt.ca_file", mqtt.ca_file.as_str()),
            };
            self.problem(key, file, &chain(&error));
        }
    }

    /// A disk that is missing now may be there when the service runs.
    fn collect(&mut self, folder: &str) {
        let path = absolute(folder).unwrap_or_else(|_| folder.into());
        let is_file = path.exists() && !path.is_dir();
        if folder.is_empty() || path.is_dir() || !is_file && path.parent().is_some_and(Path::is_dir) {
            return;
        }
        let found = match is_file {
            true => format!("{folder:?} is not a folder"),
            false => format!("{folder:?}: neither this folder nor the one above it is there"),
        };
        let remedy = "create it, or mount its disk: until then, no frames are kept".to_owned();
        let warning = Warning { key: "collect.folder".to_owned(), found, remedy };
        self.named.warnings.push(self.loaded.place(warning));
    }

    /// The model that streams have instead of the one of `[model]`.
    fn model_of_stream(&mut self, config: &Config, name: &str) {
        let loaded = model_file(name)
            .and_then(|()| Model::load(name, &ModelOptions::of(config, name)).map(drop).map_err(|error| chain(&error)));
        if let (Err(message), Some(index)) = (loaded, config.streams.iter().position(|stream| stream.model == name)) {
            self.problem(&format!("stream[{index}].model"), name, &message);
        }
    }

    fn model(&mut self, config: &Config) {
        let (model, known) = (&config.model, self.named.problems.len());
        if let Err(message) = model_file(&model.name) {
            self.problem("model.name", &model.name, &message);
        }
        if !model.labels.is_empty() {
            let path = Path::new(&model.labels);
            let outcome = regular::open(path).map_err(|error| error.to_string());
            // The required number is known only after the model is loaded.
            let outcome = outcome.and_then(|_| match labels::read(path, 0) {
                Err(labels::Error::Count { .. }) => Ok(()),
                Ok(_) => Err("expected a label per line, and there is none".into()),
                Err(error) => Err(chain(&error)),
            });
            if let Err(message) = outcome {
                self.problem("model.labels", &model.labels, &message);
            }
        }
        if self.named.problems.len() > known || !config.models().contains(&&*model.name) {
            return;
        }
        if let Err(error) = Model::load(&model.name, &ModelOptions::of(config, &model.name)) {
            let isa = config.inference.isa;
            let (key, value) = match &error {
                Error::Labels(_) => ("model.labels", model.labels.as_str()),
                Error::FixedSize { .. } | Error::InputSize { .. } | Error::Inference(inference::Error::Size(_)) => {
                    ("model.size", model.size.as_str())
                }
                Error::Inference(inference::Error::Native(_)) if isa != IsaChoice::Auto => {
                    ("inference.isa", isa.name())
                }
                _ => ("model.name", model.name.as_str()),
            };
            self.problem(key, value, &chain(&error));
        }
    }
}

/// Checks that `name` is a model, or a file that begins like one.
fn model_file(name: &str) -> Result<(), String> {
    let path = Path::new(name);
    let has_ending = |ending: &str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending));
    if model::is_known(name) {
        return Ok(());
    }
    if !path.exists() && !name.contains(['/', '.']) {
        return Err(format!("no such model or file; the models are {}", model::names()));
    }
    let file = regular::open(path).map_err(|error| error.to_string())?;
    if has_ending("toml") {
        return hardnet::read_table(path).map(drop).map_err(|error| chain(&error));
    }
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head).map_err(|error| error.to_string())?;
    // A file that ends in .onnx is read as ONNX, which can begin with any field.
    match (head.is_empty(), has_ending("onnx") || is_known(&head)) {
        (true, _) => Err("the file is empty".into()),
        (false, true) => Ok(()),
        (false, false) => Err("expected a PyTorch, PaddlePaddle, safetensors or ONNX file".into()),
    }
}

/// Number of bytes that identify the format of a model.
const HEAD: u64 = 16;
