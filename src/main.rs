//! The `hardnetd` program: parses the command line, runs the command, prints the error chain once, and exits.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Time limit for the last message: standard error may be a pipe that nobody reads.
const LAST_MESSAGE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    hardnetd::allocator::share_arenas();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match hardnetd::cli::run(arguments.clone()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(message) = error.message(&arguments) {
                tell(message);
            }
            ExitCode::from(error.exit().code())
        }
    }
}

/// Writes the last message.
fn tell(message: String) {
    let (done, is_done) = mpsc::channel();
    let write = move || {
        // Standard error may be closed; there is nobody left to tell.
        let _ = writeln!(std::io::stderr(), "hardnetd: {message}");
        let _ = done.send(());
    };
    if thread::Builder::new().spawn(write).is_ok() {
        let _ = is_done.recv_timeout(LAST_MESSAGE);
    }
}
