//! The configuration: which files are read, and all problems in them.

use std::path::Path;

use super::Finding;
use crate::capture::Source;
use crate::config::{self, Config, Error, SYSTEM_FILE};
use crate::exit::chain;

/// The configuration, if it is valid, and the findings about it.
pub(super) fn look(file: Option<&Path>) -> (Option<Config>, Vec<Finding>) {
    match config::load(file, &[], &Source::check) {
        Ok(loaded) => {
            let files: Vec<String> = loaded.files.iter().map(|path| path.display().to_string()).collect();
            let found = match files.as_slice() {
                [] => format!("built-in default; there is no {SYSTEM_FILE}"),
                files => files.join(", "),
            };
            let mut findings = vec![Finding::ok("files", found)];
            findings.extend(config::warnings(&loaded.config).into_iter().map(|warning| {
                let problem = loaded.problem(&warning.key, warning.found);
                Finding::warning(warning.key, problem.to_string(), warning.remedy)
            }));
            (Some(loaded.config), findings)
        }
        Err(Error::Invalid(problems)) => {
            let remedy = "correct it; `hardnetd config default` shows every key with what it may be";
            let problems = problems.iter().map(|problem| {
                Finding::error(problem.key.clone().unwrap_or_else(|| "file".into()), problem.to_string(), remedy)
            });
            (None, problems.collect())
        }
        Err(error @ Error::Unreadable { .. }) => {
            let remedy = "check the path and its mode: the user that runs the program must be able to read it";
            (None, vec![Finding::error("files", chain(&error), remedy)])
        }
    }
}
