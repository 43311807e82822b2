//! Space: disks on which the service writes, and memory.

use std::io::ErrorKind;
use std::path::{self, Path};

use rustix::fs::{Access, access, statvfs};

use super::{Context, Finding};
use crate::system::host::{Host, value};

/// Free bytes of a disk below which failures are imminent, and below which somebody should check.
const DISK: [u64; 2] = [16_000_000, 200_000_000];

/// The same for memory: the smallest model runs in about 60 MB, hardnet85 in 520 MB.
const MEMORY: [u64; 2] = [64_000_000, 256_000_000];

/// Name of the check of `collect.folder`.
const COLLECT: &str = "uncertain frames";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let host = &context.host;
    let mut findings = Vec::new();
    for (name, variable) in [("state", "STATE_DIRECTORY"), ("cache", "CACHE_DIRECTORY")] {
        match host.variable(variable) {
            // systemd separates several folders with colons.
            Some(folders) => findings.extend(folders.split(':').map(|folder| disk(name, host, folder))),
            None => findings.push(Finding::absent(name, format!("no ${variable}: this is not the service"))),
        }
    }
    findings.push(disk("temporary files", host, host.variable("TMPDIR").unwrap_or("/tmp")));
    findings.push(match &context.config {
        None => super::not_known(COLLECT),
        Some(config) if config.collect.folder.is_empty() => Finding::absent(COLLECT, "no uncertain frames are kept"),
        Some(config) => collect(host, &config.collect.folder),
    });
    findings.push(memory(host));
    findings
}

/// The folder for uncertain frames, or the one in which it is made.
fn collect(host: &Host, folder: &str) -> Finding {
    // A relative path counts from the folder in which the program is started.
    let absolute = path::absolute(folder).unwrap_or_else(|_| folder.into());
    let above = absolute.parent().unwrap_or(Path::new("/")).to_string_lossy();
    let (folder, above) = (&*absolute.to_string_lossy(), &*above);
    if host.path(folder).try_exists().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
        return Finding::info(
            COLLECT,
            format!("{folder} is hidden from this user; run doctor as the user of the service"),
        );
    }
    match (host.path(folder).exists(), host.path(above).is_dir()) {
        (false, false) => Finding::error(
            COLLECT,
            format!("neither {folder} nor {above} is there"),
            "create the folder, mount its disk, or correct collect.folder",
        ),
        (false, true) => disk(COLLECT, host, above),
        (true, _) => disk(COLLECT, host, folder),
    }
}

fn disk(name: &str, host: &Host, folder: &str) -> Finding {
    let path = host.path(folder);
    if !path.is_dir() {
        return Finding::error(
            name,
            format!("{folder} is not a folder"),
            "create it, or correct the setting: StateDirectory= and the like of the unit, collect.folder",
        );
    }
    if access(&path, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let remedy = "give it to the user of the service, or name it in StateDirectory= or ReadWritePaths= of the unit";
        return Finding::error(name, format!("{folder} cannot be written to by this user"), remedy);
    }
    match space(&path) {
        Some([free, all]) => {
            judge(name, &format!("of {} in {folder}", size(all)), free, DISK, "remove what is not needed")
        }
        None => Finding::info(name, format!("{folder}: the file system does not report its free space")),
    }
}

/// Bytes available to ordinary users, and total bytes.
fn space(path: &Path) -> Option<[u64; 2]> {
    let disk = statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    (disk.f_blocks > 0).then(|| [bytes(disk.f_bavail), bytes(disk.f_blocks)])
}

fn memory(host: &Host) -> Finding {
    const NAME: &str = "memory";
    let meminfo = host.read("/proc/meminfo").unwrap_or_default();
    let kilobytes = |key| value(&meminfo, key)?.strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024);
    let Some(available) = kilobytes("MemAvailable") else {
        return Finding::info(NAME, "the system does not report its free memory");
    };
    let all = host.memory().unwrap_or(available);
    let remedy = "stop other programs, choose a smaller model, or inference.memory = \"lean\"";
    match limit(host) {
        Some((most, left)) if left < available => {
            let what = format!("of the {} that the unit may take", size(most));
            judge(NAME, &what, left, MEMORY, "raise MemoryMax= of the unit, or choose a smaller model")
        }
        _ => judge(NAME, &format!("of {}", size(all)), available, MEMORY, remedy),
    }
}

/// The limit of this process's control group and the rest of it (cgroup v2, `memory.max`).
fn limit(host: &Host) -> Option<(u64, u64)> {
    let groups = host.read("/proc/self/cgroup")?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?.trim_end_matches('/');
    let number = |file: &str| host.read(&format!("/sys/fs/cgroup{path}/{file}"))?.parse::<u64>().ok();
    let most = number("memory.max")?;
    Some((most, most.saturating_sub(number("memory.current").unwrap_or(0))))
}

fn judge(name: &str, what: &str, free: u64, [few, some]: [u64; 2], remedy: &str) -> Finding {
    let found = format!("{} free {what}", size(free));
    match free {
        free if free < few => Finding::error(name, found, remedy),
        free if free < some => Finding::warning(name, found, remedy),
        _ => Finding::ok(name, found),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod units {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn little_room_is_a_warning_and_none_an_error() {
        let state = |free| judge("state", "", free, DISK, "").state;
        assert_eq!([state(0), state(DISK[0]), state(DISK[1])], [State::Error, State::Warning, State::Ok]);
        assert_eq!([size(999_000_000), size(1_500_000_000)], ["999 MB", "1.5 GB"]);
    }
}
