//! Devices of cameras, decoders and sensors: whether they exist, and whether this process may use them.

use super::{Context, Finding};
use crate::capture::device;
use crate::system::host::{Host, Refusal, some};
use crate::system::identity::{Identity, group_name};

/// A class of devices.
struct DeviceClass {
    name: &'static str,
    /// Their paths.
    patterns: &'static [&'static str],
    /// Where the kernel lists its devices of that class, whether or not this process sees them.
    class: &'static [&'static str],
    /// Whether write access is needed; for some, reading is enough.
    write: bool,
    /// Lines that a service with `DeviceAllow=` needs for them.
    allow: &'static str,
    /// The start of the names of boards on which they are expected.
    board: &'static str,
}

const KINDS: [DeviceClass; 6] = [
    DeviceClass {
        name: "cameras and codecs",
        patterns: &["/dev/video*"],
        class: &["/sys/class/video4linux/video*"],
        write: true,
        allow: "DeviceAllow=char-video4linux rw",
        board: "",
    },
    DeviceClass {
        name: "media controllers",
        patterns: &["/dev/media*"],
        class: &["/sys/bus/media/devices/media*"],
        write: true,
        allow: "DeviceAllow=char-media rw",
        board: "",
    },
    DeviceClass {
        name: "DMA heaps",
        patterns: &["/dev/dma_heap/*"],
        class: &["/sys/class/dma_heap/*"],
        write: false,
        allow: "DeviceAllow=char-dma_heap rw",
        board: "",
    },
    DeviceClass {
        name: "graphics",
        patterns: &["/dev/dri/renderD*"],
        class: &["/sys/class/drm/renderD*"],
        write: true,
        allow: "DeviceAllow=char-drm rw",
        board: "",
    },
    DeviceClass {
        name: "Jetson engines",
        patterns: &["/dev/nvhost*", "/dev/nvmap"],
        class: &[],
        write: true,
        allow: "DeviceAllow=char-nvhost* rw and DeviceAllow=/dev/nvmap rw (/usr/share/hardnetd/boards/jetson.conf)",
        board: "NVIDIA Jetson",
    },
    DeviceClass {
        name: "Pi firmware",
        patterns: &["/dev/vcio", "/dev/vcio_gencmd"],
        class: &["/sys/class/vcio/*", "/sys/class/misc/vcio"],
        write: false,
        allow: "DeviceAllow=/dev/vcio rw and DeviceAllow=/dev/vcio_gencmd rw \
                (/usr/share/hardnetd/boards/raspberry-pi.conf)",
        board: "Raspberry Pi",
    },
];

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let host = &context.host;
    let identity = Identity::of(host);
    let board = host.read("/proc/device-tree/model").unwrap_or_default();
    let kinds = KINDS.iter().map(|kind| of_kind(kind, host, &identity, &board));
    kinds.chain([cameras(host)]).collect()
}

fn of_kind(kind: &DeviceClass, host: &Host, identity: &Identity, board: &str) -> Finding {
    let devices: Vec<String> = kind.patterns.iter().flat_map(|pattern| host.find(pattern)).collect();
    if devices.is_empty() {
        return none(kind, host, board);
    }
    let (mut refused, mut ruled_out, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for device in &devices {
        match host.open(device, kind.write, identity) {
            Ok(()) => {}
            Err(Refusal::Mode) => refused.push(device.clone()),
            Err(Refusal::Rules) => ruled_out.push(device.clone()),
            Err(Refusal::Fault(fault)) => faults.push(format!("{device}: {fault}")),
        }
    }
    if let Some(first) = refused.first() {
        let found = format!("user {} may not use {}", identity.user(), some(&refused));
        return Finding::warning(kind.name, found, grant(host, identity, first));
    }
    if !ruled_out.is_empty() {
        let found = format!("the service's device rules keep {} away", some(&ruled_out));
        return Finding::warning(kind.name, found, format!("in the unit: {}", kind.allow));
    }
    if !faults.is_empty() {
        let remedy = "see the driver's messages (dmesg); unplug and plug in a camera on USB";
        return Finding::warning(kind.name, some(&faults), remedy);
    }
    let named: Vec<String> = devices.iter().map(|device| named(host, device)).collect();
    Finding::ok(kind.name, some(&named))
}

/// No device: none exists, or it is hidden from this process.
fn none(kind: &DeviceClass, host: &Host, board: &str) -> Finding {
    let paths = kind.patterns.join(" and ");
    let known: Vec<String> = kind.class.iter().flat_map(|pattern| host.find(pattern)).collect();
    if !known.is_empty() {
        let found = format!("the kernel has {}, and there is no {paths} here", some(&known));
        let remedy = "leave PrivateDevices= off in the unit; give a container its devices (--device)";
        return Finding::warning(kind.name, found, remedy);
    }
    if !kind.board.is_empty() && board.starts_with(kind.board) {
        let found = format!("no {paths} on this {board}");
        let remedy =
            "load the board's own kernel and modules; give a container its devices (--device, --runtime nvidia)";
        return Finding::warning(kind.name, found, remedy);
    }
    Finding::absent(kind.name, format!("no {paths}"))
}

/// `/dev/video0 (HD Webcam, uvcvideo)`, if the kernel has a name for it and its driver.
fn named(host: &Host, device: &str) -> String {
    let about: Vec<String> = [device::name(host, device), device::driver(host, device)].into_iter().flatten().collect();
    if about.is_empty() { device.to_owned() } else { format!("{device} ({})", about.join(", ")) }
}

/// Cameras as sources, by names that do not change where they have one.
fn cameras(host: &Host) -> Finding {
    match device::cameras(host).as_slice() {
        [] => Finding::absent("cameras", "none at this machine"),
        cameras => Finding::info("cameras", some(cameras)),
    }
}

/// How the user gets access to `device`.
fn grant(host: &Host, identity: &Identity, device: &str) -> String {
    let group = host.group_of(device);
    let member = group.is_some_and(|group| identity.groups.contains(&group));
    match group.map(|gid| (gid, group_name(host, gid))) {
        // The superuser's own group grants far more than a device.
        Some((gid, Some(name))) if gid != 0 && !member => format!(
            "sudo usermod -aG {name} {} and log in again; for the service, SupplementaryGroups={name} in the unit",
            identity.user()
        ),
        _ => format!("a udev rule that gives {device} to a group, such as GROUP=\"video\", MODE=\"0660\""),
    }
}
