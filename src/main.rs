//! The `hardnetd` program: parses, runs, prints the error chain once, and exits.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    hardnetd::allocator::share_arenas();
    match hardnetd::cli::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(message) = error.message() {
                // Standard error may be closed; there is nobody left to tell.
                let _ = writeln!(std::io::stderr(), "hardnetd: {message}");
            }
            ExitCode::from(error.exit().code())
        }
    }
}
