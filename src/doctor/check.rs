//! The result of a check, and the report on all of them.

use serde::Serialize;

use crate::config::redact_words;
use crate::exit::Exit;

/// Schema of a report's JSON form.
pub const SCHEMA: &str = "hardnetd.doctor.v1";

/// The state of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It does not exist on this machine, or is not requested, which is fine.
    Absent,
    /// A fact that is neither good nor bad.
    Info,
    /// As it should be.
    Ok,
    /// It works, but not as well as it could, or not for long.
    Warning,
    /// The configuration cannot work.
    Error,
}

impl State {
    /// Its name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Info => "info",
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A single thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub name: String,
    /// Its state.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it; every warning and every error has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    pub(super) fn absent(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Absent, found: found.into(), remedy: None }
    }

    pub(super) fn info(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { state: State::Info, ..Self::absent(name, found) }
    }

    pub(super) fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { state: State::Ok, ..Self::absent(name, found) }
    }

    pub(super) fn warning(name: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Warning, ..Self::absent(name, found) }.with(remedy)
    }

    pub(super) fn error(name: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Error, ..Self::absent(name, found) }.with(remedy)
    }

    /// The same with a remedy.
    pub(super) fn with(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// A finding and its area.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The area.
    pub area: &'static str,
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
}

/// The findings of an area, with the logins in addresses removed.
pub(super) fn of_area(area: &'static str, findings: Vec<Finding>) -> Vec<Check> {
    let shown = |text: String| redact_words(&text).into_owned();
    let finding = |Finding { name, state, found, remedy }| Finding {
        name: shown(name),
        state,
        found: shown(found),
        remedy: remedy.map(shown),
    };
    findings.into_iter().map(finding).map(|finding| Check { area, finding }).collect()
}

/// Number of checks in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Checks that are in order.
    pub ok: usize,
    /// Warnings.
    pub warning: usize,
    /// Errors.
    pub error: usize,
    /// Facts.
    pub info: usize,
    /// Things that do not exist and need not.
    pub absent: usize,
}

/// All checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Version of the program.
    pub version: &'static str,
    /// The worst of `ok`, `warning` and `error`.
    pub state: State,
    /// Number of checks in each state.
    pub counts: Counts,
    /// The checks, area by area.
    pub checks: Vec<Check>,
}

impl Report {
    pub(super) fn new(checks: Vec<Check>) -> Self {
        let mut counts = Counts::default();
        let mut worst = State::Ok;
        for Check { finding, .. } in &checks {
            worst = worst.max(finding.state);
            let count = match finding.state {
                State::Ok => &mut counts.ok,
                State::Warning => &mut counts.warning,
                State::Error => &mut counts.error,
                State::Info => &mut counts.info,
                State::Absent => &mut counts.absent,
            };
            *count += 1;
        }
        Self { schema: SCHEMA, version: env!("CARGO_PKG_VERSION"), state: worst, counts, checks }
    }

    /// The exit code of the report: none if there is no error; otherwise that of a wrong configuration if it is wrong,
    /// else that of something unavailable.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        let mut errors = self.checks.iter().filter(|check| check.finding.state == State::Error).peekable();
        errors.peek()?;
        Some(if errors.any(|check| check.area == "configuration") { Exit::Config } else { Exit::Unavailable })
    }
}
