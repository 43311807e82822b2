//! Unavailable and broken boards, simulated as folders with the files of their kernels.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod board;
mod boards;
mod limits;

use super::{Context, Finding, State};
use crate::config::Config;
use board::Board;

/// The finding called `name`.
fn of<'a>(findings: &'a [Finding], name: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.name == name).unwrap_or_else(|| panic!("no {name} in {findings:#?}"))
}

/// Asserts that `name` is in `state`, and that the finding or the remedy contains all of `parts`.
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
