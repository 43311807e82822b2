//! A simulated machine in a temporary folder.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::Duration;

use tempfile::TempDir;

use super::Context;
use crate::config::Config;
use crate::system::Host;

/// User of the simulated process: one that systemd would allocate, and that owns no file.
pub(super) const USER: u32 = 61_234;

/// The group that devices are assigned to, if the test may do that.
const VIDEO: u32 = 44;

pub(super) struct Board {
    folder: TempDir,
    variables: Vec<(&'static str, &'static str)>,
}

impl Board {
    /// A machine that has only the process itself, with the cores `cpus` and without privileges.
    pub(super) fn new(cpus: &str) -> Self {
        let board = Self { folder: tempfile::tempdir().unwrap(), variables: Vec::new() };
        board.process(cpus, &[]);
        board
    }

    /// The process, as a member of `groups`.
    fn process(&self, cpus: &str, groups: &[u32]) {
        let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
        self.file(
            "/proc/self/status",
            &format!(
                "Name:\thardnetd\nUid:\t{USER}\t{USER}\t{USER}\t{USER}\nGid:\t{USER}\t{USER}\t{USER}\t{USER}\n\
                 Groups:\t{}\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nCpus_allowed_list:\t{cpus}\n",
                groups.join(" ")
            ),
        );
    }

    /// A system file with this text.
    pub(super) fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.folder.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub(super) fn folder(&self, path: &str) -> &Self {
        fs::create_dir_all(self.folder.path().join(path.trim_start_matches('/'))).unwrap();
        self
    }

    /// A device with this mode that belongs to the group `video`.
    pub(super) fn device(&self, path: &str, mode: u32) -> &Self {
        self.file(path, "");
        let file = self.folder.path().join(path.trim_start_matches('/'));
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        // Only root may give files away; otherwise the test's group is called video.
        let _ = chown(&file, None, Some(VIDEO));
        let group = fs::metadata(&file).unwrap().gid();
        self.file("/etc/group", &format!("root:x:0:\nvideo:x:{group}:\n"));
        self
    }

    /// The process joins the group of the device at `path`.
    pub(super) fn join_group_of(&self, path: &str, cpus: &str) -> &Self {
        let group = fs::metadata(self.folder.path().join(path.trim_start_matches('/'))).unwrap().gid();
        self.process(cpus, &[group]);
        self
    }

    /// An environment variable of the process.
    pub(super) fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    /// The checks' input for this machine.
    pub(super) fn context(&self, config: Option<Config>) -> Context {
        let host = Host::at(self.folder.path(), &self.variables);
        Context { host, config, timeout: Duration::from_secs(1) }
    }
}
