//! `hardnetd completions`: generates a completion script.

use std::io::{self, Write};

use clap::Args;
use clap_complete::Shell;

use super::{Error, printed};

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  hardnetd completions bash | sudo tee /usr/share/bash-completion/completions/hardnetd > /dev/null"
)]
pub(super) struct Arguments {
    /// The shell to complete for.
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::command(), "hardnetd", &mut script);
    printed(io::stdout().write_all(&script))
}
