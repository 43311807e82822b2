//! `hardnetd config`: prints the default, checks, and shows the effective configuration.

use std::io::{self, Write};

use clap::{Args, Subcommand};

use super::{ConfigFile, Error, printed, run as daemon};
use crate::config::{self, Loaded, redact};
use crate::doctor::{Named, named};
use crate::plural::counted;
use crate::printable::{escaped, is_printable};

/// Arguments of `config`.
#[derive(Debug, Args)]
#[command(after_help = "\
To check with the service's user and groups:
  sudo systemd-run --pipe --wait -p DynamicUser=yes -p SupplementaryGroups=hardnetd \\
      hardnetd config check

Examples:
  hardnetd config default > hardnetd.toml
  hardnetd config check -c ./hardnetd.toml
  HARDNETD__MODEL__NAME=hardnet68ds hardnetd config show")]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the built-in default, with comments.
    Default,
    /// Check the configuration, then the files that it names; report all problems of each step.
    ///
    /// The check loads the model and opens labels, passwords, certificates and media files as the current user, which may
    /// have other permissions than the service. Credentials that only the service finds ($CREDENTIALS_DIRECTORY) are warnings.
    Check(ConfigFile),
    /// Print the effective configuration, from all files and the environment.
    Show(ConfigFile),
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let text = match &arguments.action {
        Action::Default => config::DEFAULT.to_owned(),
        Action::Check(file) => check(&daemon::load(file.config.as_deref(), &[])?)?,
        Action::Show(file) => {
            let loaded = daemon::load(file.config.as_deref(), &[])?;
            let sources: String =
                loaded.files.iter().map(|path| format!("# read: {}\n", escaped(&path.to_string_lossy()))).collect();
            let mut shown =
                toml::Table::try_from(&loaded.config).map_err(|error| Error::Argument(error.to_string()))?;
            shown.iter_mut().for_each(|(_, value)| hide_logins(value));
            let shown = toml::to_string(&shown).map_err(|error| Error::Argument(error.to_string()))?;
            format!("{sources}{}", printable(&shown))
        }
    };
    printed(io::stdout().write_all(text.as_bytes()))
}

/// `toml` without characters that a terminal interprets: those that TOML leaves unescaped, such as U+009B, are written
/// in its own escape syntax.
fn printable(toml: &str) -> String {
    let mut out = String::with_capacity(toml.len());
    for c in toml.chars() {
        if is_printable(c) || c == '\n' {
            out.push(c);
        } else {
            out.push_str(&format!("\\u{:04X}", u32::from(c)));
        }
    }
    out
}

/// Opens what the configuration names; warnings go to standard error.
fn check(loaded: &Loaded) -> Result<String, Error> {
    let Named { problems, warnings, user } = named(loaded);
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    if !problems.is_empty() {
        return Err(config::Error::Invalid(problems).into());
    }
    let files: Vec<String> = loaded.files.iter().map(|path| escaped(&path.to_string_lossy()).into_owned()).collect();
    let files = if files.is_empty() { "built-in default".to_owned() } else { files.join(", ") };
    let warned = match warnings.len() {
        0 => String::new(),
        count => format!(", {}", counted(count, "warning", "warnings")),
    };
    Ok(format!("ok{warned}: {files} (files opened as user {user})\n"))
}

/// Redacts every text in a tree.
fn hide_logins(value: &mut toml::Value) {
    match value {
        toml::Value::String(text) => *text = redact(text),
        toml::Value::Array(items) => items.iter_mut().for_each(hide_logins),
        toml::Value::Table(table) => table.iter_mut().for_each(|(_, value)| hide_logins(value)),
        _ => {}
    }
}
