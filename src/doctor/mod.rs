//! The checks of `hardnetd doctor`, one file per area: what exists, whether it is sufficient, and what to do if not.
//!
//! Every area runs on its own thread with a time limit: one that hangs is reported as an error of that area, and the
//! others are reported as usual. Nothing is changed on the machine, at the broker or at a camera.
//!
//! Facts about the system are read below a root folder (`host`). In tests it is a simulated one: a board that is not
//! available, or a broken machine.

mod broker;
mod check;
mod clock;
mod configuration;
mod cores;
mod devices;
mod gstreamer;
mod model;
mod named;
mod program;
mod sandbox;
mod sensors;
mod storage;
mod streams;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use check::{Check, Counts, Finding, Report, SCHEMA, State};
pub use named::{Named, named};

use crate::config::Config;
use crate::shutdown::{self, JoinError, Thread};
use crate::system::Host;

/// The input of the areas.
#[derive(Debug)]
struct Context {
    /// The machine.
    host: Host,
    /// The configuration; `None` if it is wrong.
    config: Option<Config>,
    /// Time limit for a single wait: for a name, a connection, an answer.
    timeout: Duration,
}

/// An area to check.
struct Area {
    /// Name in the report.
    name: &'static str,
    /// Time in addition to the waits after which it counts as hung.
    grace: Duration,
    /// Maximum number of waits of [`Context::timeout`] that it makes in sequence.
    waits: u32,
    /// Performs the checks.
    look: fn(&Context) -> Vec<Finding>,
}

/// For reading a few files.
const QUICK: Duration = Duration::from_secs(10);

/// For reading all plugins of GStreamer on a slow card, or computing the weights of the largest model on a slow core.
const LONG: Duration = Duration::from_secs(120);

/// The areas in the order of the report; the configuration comes before them.
const AREAS: [Area; 11] = [
    Area { name: "program", grace: QUICK, waits: 0, look: program::look },
    Area { name: "gstreamer", grace: LONG, waits: 0, look: gstreamer::look },
    Area { name: "devices", grace: QUICK, waits: 0, look: devices::look },
    Area { name: "cores", grace: QUICK, waits: 0, look: cores::look },
    Area { name: "sensors", grace: QUICK, waits: 0, look: sensors::look },
    Area { name: "model", grace: LONG, waits: 0, look: model::look },
    Area { name: "streams", grace: QUICK, waits: 2, look: streams::look },
    Area { name: "broker", grace: QUICK, waits: 2, look: broker::look },
    Area { name: "clock", grace: QUICK, waits: 2, look: clock::look },
    Area { name: "storage", grace: QUICK, waits: 0, look: storage::look },
    Area { name: "sandbox", grace: QUICK, waits: 0, look: sandbox::look },
];

/// Checks this machine, the configuration in `file` (as [`config::load`](crate::config::load) finds it), and whatever
/// it names. `timeout` limits each name lookup, connection and answer.
#[must_use]
pub fn examine(file: Option<&Path>, timeout: Duration) -> Report {
    let file = file.map(Path::to_owned);
    let thread = shutdown::spawn("doc-config", move || configuration::look(file.as_deref()));
    let (config, findings) = finish(thread, Instant::now(), QUICK).unwrap_or_else(|failure| (None, vec![failure]));
    let mut checks = check::of_area("configuration", findings);
    let context = Arc::new(Context { host: Host::here(), config, timeout });
    checks.extend(all(&AREAS, &context));
    Report::new(checks)
}

/// Checks all areas at the same time.
fn all(areas: &[Area], context: &Arc<Context>) -> Vec<Check> {
    let start = Instant::now();
    let running: Vec<_> = areas.iter().map(|area| (area, begin(area, context))).collect();
    let mut checks = Vec::new();
    for (area, thread) in running {
        let limit = area.grace + context.timeout * area.waits;
        let findings = finish(thread, start, limit).unwrap_or_else(|failure| vec![failure]);
        checks.extend(check::of_area(area.name, findings));
    }
    checks
}

/// A thread's result within `limit` from `start`; otherwise the finding that reports the failure.
fn finish<T>(thread: io::Result<Thread<T>>, start: Instant, limit: Duration) -> Result<T, Finding> {
    let thread = thread.map_err(|error| no_thread("thread", &error))?;
    thread.join(Some(start + limit)).map_err(|error| match error {
        JoinError::TimedOut { .. } => {
            let found = format!("it hangs: no outcome after {} s", limit.as_secs_f64());
            Finding::error("time", found, "see the kernel's messages (dmesg), and mounts of servers that do not answer")
        }
        JoinError::Panicked { .. } => {
            Finding::error("fault", error.to_string(), "please report it with the messages above")
        }
    })
}

fn no_thread(name: impl Into<String>, error: &io::Error) -> Finding {
    let remedy = "raise TasksMax= of the unit, or `ulimit -u`";
    Finding::error(name, format!("the system refuses a thread: {error}"), remedy)
}

fn begin(area: &Area, context: &Arc<Context>) -> io::Result<Thread<Vec<Finding>>> {
    let (context, look) = (Arc::clone(context), area.look);
    shutdown::spawn(format!("doc-{}", area.name), move || look(&context))
}

/// Replaces a finding that requires a valid configuration.
fn not_known(name: &str) -> Finding {
    Finding::info(name, "not looked at: the configuration is wrong")
}
