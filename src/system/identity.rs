//! The identity of this process: its user, groups and capabilities, as reported by the kernel in `/proc/self/status`
//! (proc(5)).

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use super::host::{Host, value};

/// Numbers of the capabilities (capability.h) that let a process bypass file modes and set priorities.
const DAC_OVERRIDE: u32 = 1;
const DAC_READ_SEARCH: u32 = 2;
const SYS_NICE: u32 = 23;

/// Names of the capabilities, by number (capabilities(7)).
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// The identity of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its effective user.
    pub(crate) uid: u32,
    /// Name of the user, if known.
    pub(crate) user: Option<String>,
    /// Its effective group and the others.
    pub(crate) groups: Vec<u32>,
    /// Its effective capabilities, one bit each.
    pub(crate) capabilities: u64,
}

impl Identity {
    pub(crate) fn of(host: &Host) -> Self {
        let status = host.read("/proc/self/status").unwrap_or_default();
        // Real, effective, saved and file system ID.
        let effective = |key| value(&status, key)?.split_whitespace().nth(1)?.parse().ok();
        let others = value(&status, "Groups").unwrap_or_default();
        let others = others.split_whitespace().filter_map(|group| group.parse().ok());
        let uid = effective("Uid").unwrap_or_default();
        let capabilities = value(&status, "CapEff").and_then(|text| u64::from_str_radix(text, 16).ok());
        Self {
            uid,
            user: name_of(host, "/etc/passwd", uid).or_else(|| host.variable("USER").map(str::to_owned)),
            groups: effective("Gid").into_iter().chain(others).collect(),
            capabilities: capabilities.unwrap_or_default(),
        }
    }

    /// The user, for people.
    pub(crate) fn user(&self) -> String {
        self.user.clone().unwrap_or_else(|| self.uid.to_string())
    }

    fn can(&self, capability: u32) -> bool {
        self.capabilities >> capability & 1 == 1
    }

    /// Whether it may set any thread priority.
    pub(crate) fn sets_priorities(&self) -> bool {
        self.can(SYS_NICE)
    }

    /// Names of its capabilities.
    pub(crate) fn capability_names(&self) -> Vec<String> {
        let name = |bit: u32| match CAPABILITIES.get(bit as usize) {
            Some(name) => (*name).to_owned(),
            None => bit.to_string(),
        };
        (0..u64::BITS).filter(|bit| self.can(*bit)).map(name).collect()
    }

    /// Whether the mode of a file permits reading and, if `write`, writing (path_resolution(7), "Permissions").
    pub(crate) fn may(&self, metadata: &Metadata, write: bool) -> bool {
        if self.can(DAC_OVERRIDE) || (self.can(DAC_READ_SEARCH) && !write) {
            return true;
        }
        let shift = if metadata.uid() == self.uid {
            6
        } else if self.groups.contains(&metadata.gid()) {
            3
        } else {
            0
        };
        let needed = if write { 0o6 } else { 0o4 };
        metadata.mode() >> shift & needed == needed
    }
}

/// Name of the group `gid`.
pub(crate) fn group_name(host: &Host, gid: u32) -> Option<String> {
    name_of(host, "/etc/group", gid)
}

/// The name in a line `name:password:id:…` (passwd(5), group(5)).
fn name_of(host: &Host, file: &str, id: u32) -> Option<String> {
    let text = host.read(file)?;
    let mut lines = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?))
    });
    lines.find(|(_, number)| number.parse() == Ok(id)).map(|(name, _)| name.to_owned())
}
