//! Boards that are not at hand, and broken ones, as folders with the files that their kernels have.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod board;
mod boards;
mod limits;

use super::{Context, Finding, State};
use crate::config::Config;
use board::Board;

/// What a check said of `name`.
fn of<'a>(findings: &'a [Finding], name: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.name == name).unwrap_or_else(|| panic!("no {name} in {findings:#?}"))
}

/// `name` is in `state`, and all of `parts` are in what was found or in the remedy.
#[track_caller]
fn says(findings: &[Finding], name: &str, state: State, parts: &[&str]) {
    let finding = of(findings, name);
    assert_eq!(finding.state, state, "{finding:#?}");
    let text = format!("{} {}", finding.found, finding.remedy.as_deref().unwrap_or_default());
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// A configuration with inference on `cores`.
fn on_cores(cores: &[u32]) -> Config {
    let mut config = Config::default();
    config.inference.cores = cores.to_vec();
    config
}
