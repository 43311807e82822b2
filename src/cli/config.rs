//! `hardnetd config`: the default, a check, and what is in force.

use std::io::{self, Write};

use clap::{Args, Subcommand};

use super::{ConfigFile, Error, run as daemon};
use crate::config::{self, redact};
use crate::printable::{escaped, is_printable};

/// Arguments of `config`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hardnetd config default > /etc/hardnetd/hardnetd.toml
  hardnetd config check -c ./hardnetd.toml
  HARDNETD__MODEL__NAME=hardnet68ds hardnetd config show")]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the built-in default, commented.
    Default,
    /// Check all files and the environment; report every problem at once.
    Check(ConfigFile),
    /// Print what is in force after all files and the environment.
    Show(ConfigFile),
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let text = match &arguments.action {
        Action::Default => config::DEFAULT.to_owned(),
        Action::Check(file) => {
            let loaded = daemon::load(file.config.as_deref(), &[])?;
            let files: Vec<String> =
                loaded.files.iter().map(|path| escaped(&path.to_string_lossy()).into_owned()).collect();
            match files.as_slice() {
                [] => "ok: built-in default\n".to_owned(),
                files => format!("ok: {}\n", files.join(", ")),
            }
        }
        Action::Show(file) => {
            let mut loaded = daemon::load(file.config.as_deref(), &[])?;
            for stream in &mut loaded.config.streams {
                stream.source = redact(&stream.source);
            }
            let sources: String =
                loaded.files.iter().map(|path| format!("# read: {}\n", escaped(&path.to_string_lossy()))).collect();
            let shown = toml::to_string(&loaded.config).map_err(|error| Error::Argument(error.to_string()))?;
            format!("{sources}{}", printable(&shown))
        }
    };
    io::stdout().write_all(text.as_bytes()).map_err(Error::Output)
}

/// `toml` without characters that a terminal obeys: those that TOML leaves as they are, such as U+009B, in its own
/// escape syntax.
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
