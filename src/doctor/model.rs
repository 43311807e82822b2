//! The configured models, loaded as by `run`.

use std::time::Instant;

use super::{Context, Finding};
use crate::choice::BackendChoice;
use crate::config::{Config, redact};
use crate::exit::{Exit, chain};
use crate::inference::{self, Backend};
use crate::model::{Error, Model, ModelOptions};
use crate::plural::counted;

pub(super) fn look(context: &Context) -> Vec<Finding> {
    match &context.config {
        None => vec![super::not_known("model")],
        Some(config) => config.models().into_iter().flat_map(|name| of(config, name)).collect(),
    }
}

fn of(config: &Config, name: &str) -> Vec<Finding> {
    let options = ModelOptions::of(config, name);
    let start = Instant::now();
    let model = match Model::load(name, &options) {
        Ok(model) => model,
        Err(error) => return vec![Finding::error(redact(name), chain(&error), remedy(&error))],
    };
    let ((height, width), parameters) = (model.input(), model.parameters() as f64 / 1e6);
    let found = format!(
        "{}, {}, input {height}x{width}, {parameters:.1} M parameters; loaded in {} ms",
        short(model.digest()),
        counted(model.classes(), "class", "classes"),
        start.elapsed().as_millis()
    );
    let mut findings = vec![Finding::ok(redact(name), found)];
    findings.push(match model.training().warning() {
        None => Finding::ok("training", "trained"),
        Some(warning) => Finding::warning(
            "training",
            warning,
            "set model.name to a file of `hardnetd model fetch` or `hardnetd model import`",
        ),
    });
    let runs = model.backend();
    findings.push(if runs == Backend::Tract && options.engine.backend == BackendChoice::Auto {
        let remedy = format!("`hardnetd model info {name}` names the part that the native engine does not know");
        Finding::warning(
            "backend",
            "tract, which is slower: the native engine does not know all of the network",
            remedy,
        )
    } else {
        Finding::ok("backend", runs.to_string())
    });
    findings
}

/// The beginning of a digest, enough to distinguish models.
fn short(digest: &str) -> &str {
    digest.get(.."sha256:".len() + 12).unwrap_or(digest)
}

fn remedy(error: &Error) -> &'static str {
    match error.exit() {
        _ if matches!(error, Error::Inference(inference::Error::WithoutTract)) => {
            "set inference.backend to \"auto\" or \"native\", or use a program that was built with tract"
        }
        Exit::NoInput => "check model.name and model.labels, and that the service's user can read the files",
        Exit::Usage => "check model.size and the files against `hardnetd model info`",
        Exit::Unavailable => "free memory or threads, or choose a smaller model",
        _ => "check the file with `hardnetd model info FILE`, or get it again (`hardnetd model fetch`, `model import`)",
    }
}
