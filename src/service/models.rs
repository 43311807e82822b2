//! The models of a configuration, each loaded once however many streams use it.

use std::sync::Arc;

use super::Error;
use super::files::{File, Files};
use crate::config::Config;
use crate::model::{Model, ModelOptions};

/// Loaded models, by the names that the configuration gives them.
#[derive(Debug, Default)]
pub(super) struct Models(Vec<Loaded>);

#[derive(Debug)]
struct Loaded {
    name: String,
    options: ModelOptions,
    /// The files it was made from.
    files: Vec<File>,
    model: Arc<Model>,
}

impl Models {
    /// Loads the models that the streams of `config` use; those of `before` stay if nothing of them has changed: a model
    /// takes most of the start-up time and most of the memory.
    pub(super) fn load(config: &Config, files: &Files, before: Option<&Self>) -> Result<Self, Error> {
        let mut models = Self::default();
        for name in config.models() {
            let options = ModelOptions::of(config, name);
            let files: Vec<File> = files.of_model(config, name).into_iter().cloned().collect();
            let is_same = |known: &&Loaded| (&*known.name, &known.options, &known.files) == (name, &options, &files);
            let model = match before.into_iter().flat_map(|before| &before.0).find(is_same) {
                Some(known) => Arc::clone(&known.model),
                None => Arc::new(load(config, name, &options)?),
            };
            models.0.push(Loaded { name: name.to_owned(), options, files, model });
        }
        Ok(models)
    }

    /// The number of the model called `name`, and the model.
    pub(super) fn find(&self, name: &str) -> Option<(usize, &Arc<Model>)> {
        self.0.iter().map(|known| &known.model).enumerate().find(|(number, _)| self.0[*number].name == name)
    }

    /// All models, by number.
    pub(super) fn all(&self) -> Vec<Arc<Model>> {
        self.0.iter().map(|known| Arc::clone(&known.model)).collect()
    }
}

fn load(config: &Config, name: &str, options: &ModelOptions) -> Result<Model, Error> {
    let model = Model::load(name, options).map_err(|source| {
        match config.streams.iter().find(|stream| !stream.model.is_empty() && config.model_of(stream) == name) {
            Some(stream) => Error::StreamModel { stream: stream.name.clone(), source: source.into() },
            None => Error::Model(source),
        }
    })?;
    if let Some(warning) = model.training().warning() {
        tracing::warn!(model = model.name(), "{warning}");
    }
    Ok(model)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::config::Stream;

    #[test]
    fn a_model_is_loaded_once_and_stays_while_nothing_of_it_changes() {
        let stream = |model: &str| Stream { model: model.into(), ..Stream::default() };
        let mut config = Config { streams: vec![stream(""), stream("signal"), stream("")], ..Config::default() };
        let files = Files::default();
        let first = Models::load(&config, &files, None).unwrap();
        assert_eq!(first.all().len(), 1);
        assert_eq!(first.find("signal").map(|(number, _)| number), Some(0));
        let same = Models::load(&config, &files, Some(&first)).unwrap();
        assert!(Arc::ptr_eq(&first.all()[0], &same.all()[0]));
        config.model.size = "64x64".into();
        let other = Models::load(&config, &files, Some(&same)).unwrap();
        assert!(!Arc::ptr_eq(&same.all()[0], &other.all()[0]));
    }
}
