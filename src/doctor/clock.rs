//! The clock: records contain times, and a board without a battery starts in the past.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Context, Finding};
use crate::system::host::Host;

/// An earlier time means that the clock is wrong (2026-01-01 in seconds since 1970).
const EARLIEST: u64 = 1_767_225_600;

/// Created by systemd-timesyncd once it has set the clock (systemd-timesyncd.service(8)).
const TIMESYNCD: &str = "/run/systemd/timesync/synchronized";

/// Time services, with a file that each has while it runs.
const SERVICES: [(&str, &str); 5] = [
    ("systemd-timesyncd", "/run/systemd/timesync"),
    ("chrony", "/run/chrony/chronyd.pid"),
    ("ntpsec", "/run/ntpd.pid"),
    ("ntpd-rs", "/run/ntpd-rs"),
    ("ptp4l", "/run/ptp4l"),
];

/// Maximum bytes of a program's output.
const LONGEST_ANSWER: u64 = 4096;

const NAME: &str = "synchronised";

const REMEDY: &str =
    "sudo timedatectl set-ntp true (systemd-timesyncd), or install chrony; the times of records are wrong until then";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let state = match context.host.exists(TIMESYNCD) {
        true => Some(true),
        // The kernel's own flag (adjtimex(2), STA_UNSYNC), and that of chrony.
        false if context.host.is_real() => asked(context.timeout),
        false => None,
    };
    vec![time(now), synchronised(&context.host, state)]
}

fn time(now: Duration) -> Finding {
    let shown = jiff::Timestamp::try_from(SystemTime::UNIX_EPOCH + now);
    let shown = shown.map_or_else(|_| format!("{} s since 1970", now.as_secs()), |time| format!("{time:.0}"));
    if now.as_secs() < EARLIEST {
        let found = format!("{shown} is earlier than this version of the program");
        return Finding::error("time", found, REMEDY);
    }
    Finding::ok("time", shown)
}

fn synchronised(host: &Host, state: Option<bool>) -> Finding {
    let running = SERVICES.iter().find(|(_, path)| host.exists(path)).map(|(name, _)| *name);
    match (state, running) {
        (Some(true), Some(name)) => Finding::ok(NAME, format!("by {name}")),
        (Some(true), None) => Finding::ok(NAME, "the kernel says so"),
        (Some(false), Some(name)) => Finding::warning(
            NAME,
            format!("not yet, though {name} runs"),
            "wait a minute; check that its servers can be reached",
        ),
        (None, Some(name)) => Finding::info(NAME, format!("{name} runs; whether it has set the clock is not known")),
        (Some(false), None) => Finding::warning(NAME, "no, and no time service runs", REMEDY),
        (None, None) => Finding::warning(NAME, "no time service was found", REMEDY),
    }
}

/// The answer of the time services; `None` if none answers.
fn asked(limit: Duration) -> Option<bool> {
    match answer("timedatectl", &["show", "--property=NTPSynchronized", "--value"], limit).as_deref().map(str::trim) {
        Some("yes") => return Some(true),
        Some("no") => return Some(false),
        _ => {}
    }
    leap_status(&answer("chronyc", &["-c", "tracking"], limit)?)
}

/// The last field of `chronyc -c tracking`, the leap status (chronyc(1)).
fn leap_status(line: &str) -> Option<bool> {
    match line.trim().rsplit(',').next()? {
        "Normal" | "Insert second" | "Delete second" => Some(true),
        "Not synchronised" => Some(false),
        _ => None,
    }
}

/// The output of a program, if it exists and succeeds within `limit`.
fn answer(program: &str, arguments: &[&str], limit: Duration) -> Option<String> {
    const PAUSE: Duration = Duration::from_millis(5);
    let end = Instant::now() + limit;
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if Instant::now() < end => thread::sleep(PAUSE),
            Ok(None) | Err(_) => break None,
        }
    };
    if status.is_none() {
        // It may have ended meanwhile; in either case it is gone afterwards.
        let _ = child.kill();
        let _ = child.wait();
    }
    let mut text = String::new();
    child.stdout.take()?.take(LONGEST_ANSWER).read_to_string(&mut text).ok()?;
    status.filter(std::process::ExitStatus::success).map(|_| text)
}

#[cfg(test)]
mod units {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn a_clock_in_the_past_is_an_error() {
        let at = |seconds| time(Duration::from_secs(seconds));
        let past = at(0);
        assert_eq!(past.state, State::Error);
        assert!(past.found.starts_with("1970-01-01T00:00:00Z"), "{}", past.found);
        assert_eq!(at(EARLIEST).state, State::Ok);
    }

    #[test]
    fn the_leap_status_of_chrony_is_read() {
        let line = "A29FC801,162.159.200.1,4,1732620000.1,0.0001,0.0,0.0001,1.2,0.0,0.01,0.02,0.001,64.2,";
        assert_eq!(leap_status(&format!("{line}Normal\n")), Some(true));
        assert_eq!(leap_status(&format!("{line}Not synchronised\n")), Some(false));
        assert_eq!(leap_status("506 Cannot talk to daemon"), None);
    }

    #[test]
    fn a_program_that_does_not_end_is_given_up() {
        // If it ran to its end, it would succeed without output.
        assert_eq!(answer("sleep", &["600"], Duration::from_millis(50)), None);
        let limit = Duration::from_secs(60);
        assert_eq!(answer("echo", &["yes"], limit).as_deref(), Some("yes\n"));
        assert_eq!(answer("false", &[], limit), None);
        assert_eq!(answer("nothing-of-that-name", &[], limit), None);
    }
}
