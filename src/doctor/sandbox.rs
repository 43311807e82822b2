//! The environment of the process: a service or a shell, its permissions, and its limits.

use std::fs;

use super::{Context, Finding};
use crate::config::Inference;
use crate::plural::counted;
use crate::system::host::{Host, value};
use crate::system::identity::Identity;

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let host = &context.host;
    let (identity, service) = (Identity::of(host), host.service());
    let status = host.read("/proc/self/status").unwrap_or_default();
    let limits = host.read("/proc/self/limits").unwrap_or_default();
    let inside = service.is_some();
    let mut findings = vec![
        runs_as(&identity, service.as_deref()),
        privileges(&identity, value(&status, "NoNewPrivs") == Some("1"), inside),
        system_calls(value(&status, "Seccomp").unwrap_or_default(), inside),
        files(host, inside),
        devices(host),
    ];
    if let Some(config) = &context.config {
        findings.push(priority(&config.inference, limit(&limits, "Max realtime priority"), &identity));
    }
    findings.extend([locked(limit(&limits, "Max locked memory")), supervision(host), credentials(host), machine(host)]);
    findings
}

fn runs_as(identity: &Identity, service: Option<&str>) -> Finding {
    const NAME: &str = "runs as";
    let user = identity.user();
    match service {
        Some(service) if identity.uid == 0 => Finding::warning(
            NAME,
            format!("{service}, user {user}"),
            "DynamicUser=yes in the unit: the program needs no superuser",
        ),
        Some(service) => Finding::ok(NAME, format!("{service}, user {user} ({})", identity.uid)),
        None => Finding::info(NAME, format!("user {user}, not as a service")).with(
            "the service may be allowed less: sudo systemd-run --pipe --wait -p DynamicUser=yes \
             -p \"SupplementaryGroups=hardnetd video render\" hardnetd doctor",
        ),
    }
}

fn privileges(identity: &Identity, no_new: bool, inside: bool) -> Finding {
    const NAME: &str = "privileges";
    let names = identity.capability_names();
    let capabilities = match names.len() {
        0 => "no capabilities".to_owned(),
        1..=6 => format!("capabilities {}", names.join(", ")),
        many => format!("{many} capabilities"),
    };
    let found = format!("{capabilities}, {}", if no_new { "can gain no new ones" } else { "can gain new ones" });
    match (inside, names.is_empty() && no_new) {
        (_, true) => Finding::ok(NAME, found),
        (false, false) => Finding::info(NAME, found),
        (true, false) => Finding::warning(NAME, found, "CapabilityBoundingSet= and NoNewPrivileges=yes in the unit"),
    }
}

/// The seccomp mode, as in proc(5).
fn system_calls(mode: &str, inside: bool) -> Finding {
    const NAME: &str = "system calls";
    match (mode, inside) {
        ("2", _) => Finding::ok(NAME, "filtered"),
        ("1", _) => Finding::ok(NAME, "strictly filtered"),
        ("0", true) => Finding::warning(NAME, "not filtered", "SystemCallFilter=@system-service in the unit"),
        ("0", false) => Finding::info(NAME, "not filtered"),
        _ => Finding::info(NAME, "whether they are filtered is not known"),
    }
}

/// Whether the system's files are protected from the process.
fn files(host: &Host, inside: bool) -> Finding {
    const NAME: &str = "files";
    match (mount(host, "/").map(|mount| mount.read_only), inside) {
        (None, _) => Finding::info(NAME, "the mounts cannot be read"),
        (Some(true), _) => Finding::ok(NAME, "the system is read-only"),
        (Some(false), true) => {
            Finding::warning(NAME, "the system can be written to", "ProtectSystem=strict in the unit")
        }
        (Some(false), false) => Finding::info(NAME, "the system can be written to"),
    }
}

/// Whether access to devices is restricted, as far as visible from inside: the rules of control groups v2 are programs
/// in the kernel, and only their refusals show.
fn devices(host: &Host) -> Finding {
    const NAME: &str = "devices";
    let groups = host.read("/proc/self/cgroup").unwrap_or_default();
    let v1 = groups.lines().find_map(|line| line.split_once(":devices:")).map(|(_, path)| path.trim_end_matches('/'));
    let list = v1.and_then(|path| host.read(&format!("/sys/fs/cgroup/devices{path}/devices.list")));
    // PrivateDevices= mounts a small file system.
    if mount(host, "/dev").is_some_and(|mount| mount.kind == "tmpfs") && !host.exists("/dev/kmsg") {
        let remedy = "on a board with a camera or a decoder, PrivateDevices=no in the unit; a container needs --device";
        return Finding::info(NAME, "a /dev of its own: cameras and decoders are not in it").with(remedy);
    }
    match list.as_deref() {
        Some(list) if list.lines().any(|line| line.starts_with("a ")) => Finding::info(NAME, "every device is allowed"),
        Some(list) => {
            let rules = counted(list.lines().count(), "rule", "rules");
            Finding::info(NAME, format!("allowed by a list of {rules}"))
        }
        None => Finding::info(NAME, "the rules are not visible from inside; what they refuse is listed under devices"),
    }
}

/// A line of /proc/self/mountinfo (proc(5)).
struct Mount {
    kind: String,
    read_only: bool,
}

/// The mount at `point`: the last line, which is the topmost.
fn mount(host: &Host, point: &str) -> Option<Mount> {
    let text = host.read("/proc/self/mountinfo")?;
    let mut lines = text.lines().filter_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(4);
        let at = fields.next()?;
        let read_only = fields.next()?.split(',').any(|option| option == "ro");
        (at == point).then(|| Mount { kind: source.split(' ').next().unwrap_or_default().to_owned(), read_only })
    });
    lines.next_back()
}

/// The soft limit called `name` in /proc/self/limits; `None` if there is none.
fn limit(limits: &str, name: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whether this process may give its threads the priority configured for inference.
pub(super) fn permitted(host: &Host, settings: &Inference) -> Finding {
    let limits = host.read("/proc/self/limits").unwrap_or_default();
    priority(settings, limit(&limits, "Max realtime priority"), &Identity::of(host))
}

fn priority(settings: &Inference, most: Option<u64>, identity: &Identity) -> Finding {
    const NAME: &str = "priority";
    let asked = u64::from(settings.priority);
    let may = most.map_or_else(|| "any".to_owned(), |most| most.to_string());
    if asked == 0 {
        return Finding::ok(NAME, format!("ordinary scheduling is asked for (inference.priority = 0); allowed: {may}"));
    }
    if identity.sets_priorities() || most.is_none_or(|most| most >= asked) {
        return Finding::ok(NAME, format!("inference.priority = {asked} is allowed"));
    }
    let found = format!("inference.priority = {asked}, and this process may have {may} at most");
    Finding::error(NAME, found, format!("LimitRTPRIO={asked} in the unit; by hand, ulimit -r {asked}"))
}

fn locked(most: Option<u64>) -> Finding {
    let found = most.map_or_else(|| "no limit".to_owned(), |most| format!("{:.1} MB at most", most as f64 / 1e6));
    Finding::info("locked memory", format!("{found}; none is needed"))
}

/// Whether systemd receives notifications and watches the process.
fn supervision(host: &Host) -> Finding {
    const NAME: &str = "supervision";
    let watchdog = host.variable("WATCHDOG_USEC").and_then(|text| text.parse::<f64>().ok());
    match (host.variable("NOTIFY_SOCKET"), watchdog) {
        (None, _) => Finding::absent(NAME, "no $NOTIFY_SOCKET: no service manager supervises this process"),
        (Some(_), None) => Finding::info(NAME, "systemd is told the state; there is no watchdog")
            .with("WatchdogSec=30 in the unit restarts a program that hangs"),
        (Some(_), Some(period)) => Finding::ok(NAME, format!("systemd is told the state; watchdog {} s", period / 1e6)),
    }
}

/// How many secrets systemd provides. Does not reveal their names and content.
fn credentials(host: &Host) -> Finding {
    const NAME: &str = "credentials";
    let Some(folder) = host.variable("CREDENTIALS_DIRECTORY") else {
        return Finding::absent(NAME, "no $CREDENTIALS_DIRECTORY: no LoadCredential= in the unit");
    };
    match fs::read_dir(host.path(folder)) {
        Ok(entries) => Finding::ok(NAME, format!("{} in $CREDENTIALS_DIRECTORY", entries.count())),
        Err(error) => {
            Finding::warning(NAME, format!("{folder}: {error}"), "check the LoadCredential= lines of the unit")
        }
    }
}

/// Whether the machine is virtual, or a container.
fn machine(host: &Host) -> Finding {
    const NAME: &str = "virtual machine";
    let container = host.read("/run/systemd/container").or_else(|| host.read("/run/host/container-manager"));
    let container = container.or_else(|| host.exists("/.dockerenv").then(|| "docker".to_owned()));
    if let Some(kind) = container {
        return Finding::info(NAME, format!("a container ({kind})"));
    }
    let cpuinfo = host.read("/proc/cpuinfo").unwrap_or_default();
    let flags = value(&cpuinfo, "flags").unwrap_or_default();
    let vendor = host.read("/sys/class/dmi/id/sys_vendor");
    let tree = host.read("/proc/device-tree/compatible").unwrap_or_default();
    if flags.split(' ').any(|flag| flag == "hypervisor")
        || tree.contains("dummy-virt")
        || vendor.as_deref() == Some("QEMU")
    {
        let maker = vendor.map_or_else(String::new, |vendor| format!(" ({vendor})"));
        return Finding::info(NAME, format!("yes{maker}: times and power are not those of a device"));
    }
    Finding::absent(NAME, "no sign of one")
}
