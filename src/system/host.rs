//! The machine as seen by the checks: files below a root folder, and the environment variables.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::identity::Identity;

/// Maximum bytes to read from a file: system files are small.
const LARGEST: u64 = 1 << 20;

/// Maximum number of names that a pattern may match.
const MOST: usize = 1024;

/// A machine.
#[derive(Debug)]
pub(crate) struct Host {
    root: PathBuf,
    variables: BTreeMap<String, String>,
}

/// What denies a process access to a device or a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its owner, group and mode.
    Mode,
    /// Something other than the mode: the device rules of a service (`DeviceAllow=`), or a security module.
    Rules,
    /// The device returns another error.
    Fault(String),
}

impl Host {
    /// This machine and this process.
    pub(crate) fn here() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        };
        Self { root: "/".into(), variables: env::vars_os().map(text).collect() }
    }

    /// The machine with its files in `root`.
    #[cfg(test)]
    pub(crate) fn at(root: &Path, variables: &[(&str, &str)]) -> Self {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self { root: root.to_owned(), variables: variables.iter().map(text).collect() }
    }

    /// Whether this is the machine on which the program runs.
    pub(crate) fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where the file with the absolute path `path` is stored.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// An environment variable that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Name of the unit that started this process; `None` if it was started manually.
    ///
    /// systemd gives every start of a unit an ID, which desktop shells inherit; the control group is named after the
    /// unit (systemd.exec(5), `$INVOCATION_ID`).
    pub(crate) fn service(&self) -> Option<String> {
        self.variable("INVOCATION_ID")?;
        let groups = self.read("/proc/self/cgroup")?;
        let mut names = groups.lines().filter_map(|line| line.rsplit('/').next());
        names.find(|name| name.ends_with(".service")).map(str::to_owned)
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The text of a small file without surrounding white space and NUL bytes; `None` if it cannot be read.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        let file = File::open(self.path(path)).ok()?;
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        Some(text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned())
    }

    /// Bytes of memory that the machine has. None if the system does not tell.
    pub(crate) fn memory(&self) -> Option<u64> {
        let text = self.read("/proc/meminfo")?;
        let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }

    /// Name of the board or the machine. None if the system does not tell.
    pub(crate) fn board(&self) -> Option<String> {
        let tree = self.read("/proc/device-tree/model").filter(|name| !name.is_empty());
        tree.or_else(|| {
            let of = |file: &str| self.read(&format!("/sys/class/dmi/id/{file}")).filter(|name| !name.is_empty());
            Some([of("sys_vendor")?, of("product_name")?].join(" "))
        })
    }

    /// Name of the processor: x86 names it for every core, ARM boards at the end. None if the system does not tell.
    pub(crate) fn processor(&self) -> Option<String> {
        let text = self.read("/proc/cpuinfo")?;
        value(&text, "model name").or_else(|| value(&text, "Model")).map(str::to_owned)
    }

    /// The number in a small file.
    pub(crate) fn number(&self, path: &str) -> Option<i64> {
        self.read(path)?.parse().ok()
    }

    /// The names in a folder that match `pattern`, in which `*` is any text; numbers are sorted numerically.
    fn names(&self, folder: &str, pattern: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| fits(name, pattern)).take(MOST).collect();
        names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        names
    }

    /// The paths that match `pattern`, in which `*` is any text without a slash.
    pub(crate) fn find(&self, pattern: &str) -> Vec<String> {
        let mut found = vec![String::new()];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            let mut next = Vec::new();
            for folder in &found {
                if part.contains('*') {
                    next.extend(self.names(folder, part).into_iter().map(|name| format!("{folder}/{name}")));
                } else {
                    next.push(format!("{folder}/{part}"));
                }
            }
            next.truncate(MOST);
            found = next;
        }
        found.retain(|path| self.exists(path));
        found
    }

    /// ID of the group that a file belongs to.
    pub(crate) fn group_of(&self, path: &str) -> Option<u32> {
        fs::metadata(self.path(path)).map(|metadata| metadata.gid()).ok()
    }

    /// Whether this process may read the file or device at `path` and, if `write`, write to it.
    ///
    /// On this machine, the device is opened, because modes do not tell everything. On a simulated machine, the modes
    /// are read.
    pub(crate) fn open(&self, path: &str, write: bool, identity: &Identity) -> Result<(), Refusal> {
        let path = self.path(path);
        let metadata = fs::metadata(&path).map_err(|error| refusal(&error))?;
        if !self.is_real() {
            return identity.may(&metadata, write).then_some(()).ok_or(Refusal::Mode);
        }
        let device = metadata.file_type().is_char_device() || metadata.file_type().is_block_device();
        if !device && !metadata.is_file() {
            return Err(Refusal::Fault("neither a device nor a file".into()));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(write).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        match options.open(path) {
            Ok(_) => Ok(()),
            // It is in use, which implies permission.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(()),
            Err(error) => Err(refusal(&error)),
        }
    }
}

/// Name and release of the kernel.
pub(crate) fn kernel() -> String {
    let name = rustix::system::uname();
    format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
}

/// The name of this device: the configured one, or else the host name, with characters replaced that are not allowed in
/// a topic.
pub(crate) fn device_name(configured: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let host =
        || rustix::system::uname().nodename().to_string_lossy().chars().map(allowed).take(64).collect::<String>();
    match configured {
        "" => Some(host()).filter(|name| !name.is_empty()).unwrap_or_else(|| "device".into()),
        name => name.to_owned(),
    }
}

/// open(2): EACCES results from modes; the device rules of a control group return EPERM.
fn refusal(error: &io::Error) -> Refusal {
    match error.raw_os_error() {
        Some(libc::EACCES) => Refusal::Mode,
        Some(libc::EPERM) => Refusal::Rules,
        _ => Refusal::Fault(error.to_string()),
    }
}

/// Whether `pattern`, in which `*` is any text, matches `name`.
fn fits(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            let ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            ends.into_iter().any(|at| fits(&name[at..], rest))
        }),
    }
}

/// The numbers of a list in the kernel's format: `0-3,8`. Invalid parts are ignored.
pub(crate) fn cpu_list(text: &str) -> Vec<u32> {
    const MOST_CPUS: u32 = 8192;
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            cpus.extend(first..=last.min(MOST_CPUS));
        }
    }
    cpus
}

/// The value after `key:` in text in the format of /proc.
pub(crate) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.trim_end() == key).map(|(_, value)| value.trim())
}

/// `list` for people: the first few, and the total number.
pub(crate) fn some(list: &[String]) -> String {
    const FEW: usize = 6;
    match list {
        [] => "none".into(),
        list if list.len() <= FEW => list.join(", "),
        list => format!("{}, … ({} in all)", list[..FEW].join(", "), list.len()),
    }
}

/// Numbers for people, in the kernel's list format: `0-3,8`.
pub(crate) fn ranges(numbers: &[u32]) -> String {
    let mut text = String::new();
    let mut rest = numbers.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while let Some(next) = rest.next_if(|next| Some(*next) == last.checked_add(1)) {
            last = next;
        }
        let comma = if text.is_empty() { "" } else { "," };
        text += &if first == last { format!("{comma}{first}") } else { format!("{comma}{first}-{last}") };
    }
    text
}

#[cfg(test)]
mod units {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (name, pattern, expected) in [
            ("video0", "video*", true),
            ("video", "video*", true),
            ("vide", "video*", false),
            ("soc@1:firmware", "*firmware*", true),
            ("intel-rapl:0:1", "intel-rapl:*:*", true),
            ("intel-rapl:0", "intel-rapl:*:*", false),
            ("é", "*", true),
        ] {
            assert_eq!(fits(name, pattern), expected, "{name} {pattern}");
        }
    }

    #[test]
    fn lists_of_cores_are_read_and_written_as_the_kernel_does() {
        assert_eq!(cpu_list("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(cpu_list(""), Vec::<u32>::new());
        assert_eq!(cpu_list("x,3-1,4-"), Vec::<u32>::new());
        assert_eq!(cpu_list("0-4294967295").len(), 8193);
        assert_eq!(ranges(&[0, 1, 2, 5]), "0-2,5");
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[u32::MAX]), "4294967295");
    }

    #[test]
    fn the_memory_of_the_machine_is_in_bytes() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path(), &[]);
        assert_eq!(host.memory(), None);
        fs::create_dir(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/meminfo"), "MemTotal:  948000 kB\nMemFree:  1 kB\n").unwrap();
        assert_eq!(host.memory(), Some(948_000 * 1024));
    }

    #[test]
    fn a_device_of_this_machine_is_opened() {
        let (host, identity) = (Host::here(), Identity::default());
        assert_eq!(host.open("/dev/null", true, &identity), Ok(()));
        assert_eq!(host.open("/proc", false, &identity), Err(Refusal::Fault("neither a device nor a file".into())));
        assert!(matches!(host.open("/dev/nothing-of-that-name", false, &identity), Err(Refusal::Fault(_))));
    }

    #[test]
    fn refusals_of_modes_and_of_device_rules_are_told_apart() {
        assert_eq!(refusal(&io::Error::from_raw_os_error(libc::EACCES)), Refusal::Mode);
        assert_eq!(refusal(&io::Error::from_raw_os_error(libc::EPERM)), Refusal::Rules);
        assert!(matches!(refusal(&io::Error::from_raw_os_error(libc::ENXIO)), Refusal::Fault(_)));
    }

    #[test]
    fn names_are_found_in_the_order_of_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["video10", "video2", "media0"] {
            fs::create_dir_all(folder.path().join("dev").join(name)).unwrap();
        }
        let host = Host::at(folder.path(), &[]);
        assert_eq!(host.find("/dev/video*"), ["/dev/video2", "/dev/video10"]);
        assert_eq!(host.find("/dev/media0"), ["/dev/media0"]);
        assert!(host.find("/sys/*/nothing").is_empty());
    }
}
