//! Cameras at this machine (Video4Linux): which there are, whether one can be opened, and what is wrong with one.
//!
//! `offer` is what a camera offers, `choose` the rule by which a stream takes one of it. GStreamer does the rest, in
//! `gst/device.rs`.

mod choose;
mod offer;

use std::fs;

use crate::config::{Stream, V4l2, parse_controls};
use crate::exit::Exit;
use crate::system::host::{Host, Refusal, some};
use crate::system::identity::{Identity, group_name};

pub use choose::Wanted;
pub(super) use choose::{Choice, choose};
pub(super) use offer::{Offer, Rate, Span, listed};

/// Folders with links to devices under names that do not change, the better one first.
const STABLE: [&str; 2] = ["by-id", "by-path"];

/// A camera at this machine, and what a stream wants of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// Path of the device, or of a link to it.
    pub path: String,
    /// What it is asked for.
    pub wanted: Wanted,
    /// Controls and their values.
    pub controls: Vec<(String, i32)>,
}

impl Device {
    /// The device at `path`, with the settings of `stream`.
    pub(super) fn of(path: &str, stream: &Stream) -> Self {
        let V4l2 { format, width, height, fps, ref controls } = stream.v4l2;
        let wanted = Wanted { format, width, height, fps };
        Self { path: path.to_owned(), wanted, controls: parse_controls(controls).unwrap_or_default() }
    }
}

/// Why a camera at this machine delivers nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}; {}", .trouble.found(.path), .trouble.remedy(.path))]
pub struct DeviceError {
    /// Path of the device.
    pub path: String,
    /// What is wrong.
    pub trouble: Trouble,
}

/// What is wrong with a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// There is no such device; these cameras are there.
    Missing(Vec<String>),
    /// It is no device that captures video; these do.
    NoCapture(Vec<String>),
    /// Its owner, group and mode deny access.
    Denied {
        /// Name of this process's user.
        user: String,
        /// The device's group.
        group: String,
    },
    /// The device rules of the service deny access.
    RuledOut,
    /// Another program captures from it.
    Busy,
    /// It does not offer what is wanted.
    NotOffered {
        /// What is wanted.
        wanted: String,
        /// What it offers.
        offered: String,
    },
    /// It refuses what it offers; GStreamer's message.
    Refused(String),
    /// It was unplugged, or its driver unloaded.
    Gone,
    /// Any other failure, in the words of the system or of GStreamer.
    Fault(String),
}

impl Trouble {
    /// What was found at `path`.
    pub(super) fn found(&self, path: &str) -> String {
        match self {
            Self::Missing(_) => format!("there is no {path}"),
            Self::NoCapture(_) => format!("{path} captures no video"),
            Self::Denied { user, .. } => format!("user {user} may not use {path}"),
            Self::RuledOut => format!("the service's device rules keep {path} away"),
            Self::Busy => format!("{path} is in use: another program captures from it"),
            Self::NotOffered { wanted, offered } => format!("{path} does not offer {wanted}; it offers {offered}"),
            Self::Refused(message) => format!("{path} refuses the format: {message}"),
            Self::Gone => format!("{path} is gone: the camera was unplugged, or its driver failed"),
            Self::Fault(message) => format!("{path}: {message}"),
        }
    }

    /// What to do about it.
    pub(super) fn remedy(&self, path: &str) -> String {
        match self {
            Self::Missing(others) if others.is_empty() => {
                "plug in a camera: this machine has none (ls /dev/video*), or a container was given none (--device)"
                    .into()
            }
            Self::Missing(others) => format!("plug it in, or take one of the cameras here: {}", some(others)),
            Self::NoCapture(others) if others.is_empty() => "this machine has no camera (ls /dev/video*)".into(),
            Self::NoCapture(others) => format!(
                "a camera may have several devices, of which some carry no pictures; take one of those that do: {}",
                some(others)
            ),
            Self::Denied { user, group } => format!(
                "sudo usermod -aG {group} {user} and log in again; for the service, SupplementaryGroups={group} in the unit"
            ),
            Self::RuledOut => "in the unit: DeviceAllow=char-video4linux rw".into(),
            Self::Busy => format!("end that program; `fuser -v {path}` tells which it is"),
            Self::NotOffered { .. } => {
                "set format, width, height and fps in [stream.v4l2] to what it offers, or leave them out".into()
            }
            Self::Refused(_) => {
                "set another format, width or height in [stream.v4l2]; `hardnetd doctor` lists what it offers".into()
            }
            Self::Gone => "plug it in again; the kernel's messages (dmesg) say more".into(),
            Self::Fault(_) => "see the kernel's messages (dmesg); unplug the camera and plug it in again".into(),
        }
    }

    /// As an error of the device at `path`.
    pub(super) fn of(self, path: &str) -> DeviceError {
        DeviceError { path: path.to_owned(), trouble: self }
    }
}

impl DeviceError {
    /// The exit code of the error.
    pub(super) fn exit(&self) -> Exit {
        match self.trouble {
            Trouble::Denied { .. } | Trouble::RuledOut => Exit::NoPermission,
            _ => Exit::Unavailable,
        }
    }
}

/// Checks that the device at `path` exists, is one of Video4Linux, and that this process may open it.
///
/// # Errors
/// Why not.
pub(super) fn probe(host: &Host, path: &str) -> Result<(), DeviceError> {
    if !host.exists(path) {
        return Err(Trouble::Missing(cameras(host)).of(path));
    }
    if host.exists("/sys/class") && class(host, path).is_none_or(|class| !host.exists(&class)) {
        return Err(Trouble::NoCapture(cameras(host)).of(path));
    }
    let identity = Identity::of(host);
    let trouble = match host.open(path, true, &identity) {
        Ok(()) => return Ok(()),
        Err(Refusal::Mode) => {
            let group = host.group_of(path).filter(|group| *group != 0).and_then(|group| group_name(host, group));
            Trouble::Denied { user: identity.user(), group: group.unwrap_or_else(|| "video".into()) }
        }
        Err(Refusal::Rules) => Trouble::RuledOut,
        Err(Refusal::Fault(fault)) => Trouble::Fault(fault),
    };
    Err(trouble.of(path))
}

/// The cameras of the machine, each as a source with a name that does not change, if it has one:
/// `v4l2:by-id/usb-… (HD Webcam, /dev/video0)`.
pub(crate) fn cameras(host: &Host) -> Vec<String> {
    let links: Vec<String> = STABLE.iter().flat_map(|folder| host.find(&format!("/dev/v4l/{folder}/*"))).collect();
    let is_camera = |device: &String| captures(host, device) != Some(false);
    let show = |device: String| {
        let target = fs::canonicalize(host.path(&device)).ok();
        let stable = links.iter().find(|link| target.is_some() && fs::canonicalize(host.path(link)).ok() == target);
        let name = name(host, &device).map(|name| format!("{name}, ")).unwrap_or_default();
        match stable.and_then(|link| link.strip_prefix("/dev/v4l/")) {
            Some(link) => format!("v4l2:{link} ({name}{device})"),
            None => format!(
                "v4l2:{device}{}",
                if name.is_empty() { String::new() } else { format!(" ({})", &name[..name.len() - 2]) }
            ),
        }
    };
    host.find("/dev/video*").into_iter().filter(is_camera).map(show).collect()
}

/// What the kernel calls a device, such as `HD Webcam`.
pub(crate) fn name(host: &Host, device: &str) -> Option<String> {
    host.read(&format!("{}/name", class(host, device)?)).filter(|name| !name.is_empty())
}

/// Name of a device's driver, such as `uvcvideo`.
pub(crate) fn driver(host: &Host, device: &str) -> Option<String> {
    let link = fs::canonicalize(host.path(&format!("{}/device/driver", class(host, device)?))).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// The folder in which the kernel describes a device, which may be named by a link.
fn class(host: &Host, device: &str) -> Option<String> {
    let target = fs::canonicalize(host.path(device)).ok()?;
    Some(format!("/sys/class/video4linux/{}", target.file_name()?.to_string_lossy()))
}

/// Whether a device captures video, by the database of udev; `None` if that does not tell.
fn captures(host: &Host, device: &str) -> Option<bool> {
    let number = host.read(&format!("{}/dev", class(host, device)?))?;
    let entry = host.read(&format!("/run/udev/data/c{number}"))?;
    let mut lines = entry.lines().filter_map(|line| line.strip_prefix("E:ID_V4L_CAPABILITIES="));
    lines.next().map(|capabilities| capabilities.contains(":capture:"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    fn place(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A machine with a webcam, whose second device carries metadata, and a capture card without a stable name.
    fn machine() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (number, name, capabilities) in
            [("0", "HD Webcam", ":capture:"), ("1", "HD Webcam", ":"), ("2", "", ":capture:video_output:")]
        {
            place(root, &format!("dev/video{number}"), "");
            let class = format!("sys/class/video4linux/video{number}");
            place(root, &format!("{class}/name"), name);
            place(root, &format!("{class}/dev"), &format!("81:{number}\n"));
            let entry = format!("N:video{number}\nE:ID_V4L_CAPABILITIES={capabilities}\n");
            place(root, &format!("run/udev/data/c81:{number}"), &entry);
        }
        fs::create_dir_all(root.join("sys/bus/usb/drivers/uvcvideo")).unwrap();
        fs::create_dir_all(root.join("sys/class/video4linux/video0/device")).unwrap();
        symlink("../../../../bus/usb/drivers/uvcvideo", root.join("sys/class/video4linux/video0/device/driver"))
            .unwrap();
        for (link, number) in [("by-id/usb-Maker_HD_Webcam-video-index0", 0), ("by-path/pci-0:1.0-video-index0", 0)] {
            let link = root.join("dev/v4l").join(link);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(format!("../../video{number}"), link).unwrap();
        }
        folder
    }

    #[test]
    fn cameras_are_listed_by_their_stable_names_without_devices_that_carry_no_pictures() {
        let machine = machine();
        let host = Host::at(machine.path(), &[]);
        let webcam = "v4l2:by-id/usb-Maker_HD_Webcam-video-index0 (HD Webcam, /dev/video0)";
        assert_eq!(cameras(&host), [webcam, "v4l2:/dev/video2"]);
        let link = "/dev/v4l/by-id/usb-Maker_HD_Webcam-video-index0";
        assert_eq!(name(&host, link).as_deref(), Some("HD Webcam"));
        assert_eq!(driver(&host, link).as_deref(), Some("uvcvideo"));
        assert_eq!((name(&host, "/dev/video2"), driver(&host, "/dev/video2")), (None, None));
        assert_eq!(name(&host, "/dev/video9"), None);
    }

    #[test]
    fn a_device_that_is_missing_or_denied_is_told_with_what_to_do() {
        let machine = machine();
        let host = Host::at(machine.path(), &[("USER", "pi")]);
        place(
            machine.path(),
            "proc/self/status",
            "Uid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nGroups:\t1000\n",
        );
        let message = |path: &str| probe(&host, path).unwrap_err().to_string();
        let missing = message("/dev/video9");
        assert!(
            missing.starts_with(
                "there is no /dev/video9; plug it in, or take one of the cameras here: v4l2:by-id/usb-Maker"
            )
        );
        fs::set_permissions(machine.path().join("dev/video0"), fs::Permissions::from_mode(0o000)).unwrap();
        let denied = message("/dev/video0");
        assert!(denied.starts_with("user pi may not use /dev/video0; sudo usermod -aG "), "{denied}");
        assert!(denied.contains("SupplementaryGroups="), "{denied}");
        place(machine.path(), "dev/null", "");
        assert!(message("/dev/null").starts_with("/dev/null captures no video; "), "{}", message("/dev/null"));
        let nothing = tempfile::tempdir().unwrap();
        let error = probe(&Host::at(nothing.path(), &[]), "/dev/video0").unwrap_err();
        assert!(error.to_string().contains("this machine has none"), "{error}");
    }
}
