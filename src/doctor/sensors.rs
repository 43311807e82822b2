//! Sensors: temperature, throttling, and power.

use super::{Context, Finding};
use crate::plural::counted;
use crate::system::host::{Host, Refusal, some};
use crate::system::identity::Identity;

/// Temperature at which boards begin to slow down (a Raspberry Pi at 80 °C), in thousandths of a degree.
const HOT: i64 = 80_000;

/// At or below this temperature, a sensor is off (Jetson: −256 °C).
const OFF: i64 = -100_000;

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let host = &context.host;
    vec![temperature(host), throttling(host), power(host, &Identity::of(host))]
}

fn temperature(host: &Host) -> Finding {
    const NAME: &str = "temperature";
    let zones = host.find("/sys/class/thermal/thermal_zone*");
    let values = zones.iter().filter_map(|zone| {
        let value = host.number(&format!("{zone}/temp")).filter(|value| *value > OFF)?;
        Some((value, host.read(&format!("{zone}/type")).unwrap_or_else(|| zone.clone())))
    });
    match values.max() {
        None => Finding::absent(NAME, "no sensor (no thermal zone that is on)"),
        Some((value, zone)) => {
            let found = format!("{:.1} °C at most ({zone})", value as f64 / 1000.0);
            if value < HOT {
                return Finding::ok(NAME, found);
            }
            Finding::warning(NAME, found, "cool it better: from 80 °C on boards slow down")
        }
    }
}

/// The Raspberry Pi firmware's flags in the bits of `get_throttled`; 16 bits higher, the same flags since the start
/// (Raspberry Pi documentation, "vcgencmd").
const THROTTLED: [(&str, &str); 4] = [
    ("under-voltage", "use a stronger power supply and a short cable"),
    ("frequency capped", "cool it better"),
    ("throttled", "cool it better, and check the power supply"),
    ("soft temperature limit", "cool it better"),
];

fn throttling(host: &Host) -> Finding {
    const NAME: &str = "throttling";
    let firmware =
        ["/sys/devices/platform/*/*firmware*/get_throttled", "/sys/devices/platform/*firmware*/get_throttled"];
    if let Some(path) = firmware.iter().find_map(|pattern| host.find(pattern).into_iter().next()) {
        return of_firmware(NAME, &host.read(&path).unwrap_or_default());
    }
    for monitor in host.find("/sys/class/hwmon/hwmon*") {
        match host.read(&format!("{monitor}/name")).as_deref() {
            Some("soctherm_oc") => return of_jetson(NAME, host, &monitor),
            Some("rpi_volt") => {
                let low = host.number(&format!("{monitor}/in0_lcrit_alarm")) == Some(1);
                return match low {
                    true => Finding::warning(NAME, THROTTLED[0].0, THROTTLED[0].1),
                    false => Finding::ok(NAME, "the voltage is right; the firmware reports nothing else"),
                };
            }
            _ => {}
        }
    }
    Finding::absent(NAME, "this machine does not report it")
}

fn of_firmware(name: &str, text: &str) -> Finding {
    let Ok(bits) = u32::from_str_radix(text.trim_start_matches("0x"), 16) else {
        let found = format!("get_throttled holds {text:?}, and should be a hexadecimal number");
        return Finding::warning(name, found, "update the board's kernel");
    };
    let of = |shift: u32| THROTTLED.iter().enumerate().filter(move |(bit, _)| bits >> shift >> bit & 1 == 1);
    let names = |shift| of(shift).map(|(_, (name, _))| *name).collect::<Vec<_>>().join(", ");
    let remedy = |shift| of(shift).map(|(_, (_, remedy))| *remedy).next().unwrap_or_default();
    match (names(0), names(16)) {
        (now, _) if !now.is_empty() => Finding::warning(name, format!("now: {now}"), remedy(0)),
        (_, before) if !before.is_empty() => Finding::warning(name, format!("since the start: {before}"), remedy(16)),
        _ => Finding::ok(name, "none since the start"),
    }
}

/// Over-current events of a Jetson, counted since the start.
fn of_jetson(name: &str, host: &Host, monitor: &str) -> Finding {
    let counts = host.find(&format!("{monitor}/oc*_event_cnt"));
    let events: i64 = counts.iter().filter_map(|path| host.number(path)).sum();
    match events {
        0 => Finding::ok(name, "no over-current event since the start"),
        events => Finding::warning(
            name,
            format!("{} since the start", counted(events, "over-current event", "over-current events")),
            "use a stronger power supply, or a lower power mode (nvpmodel)",
        ),
    }
}

/// Sources of `power` and `energy`, in order of preference.
fn power(host: &Host, identity: &Identity) -> Finding {
    const NAME: &str = "power";
    let jetson = host.find("/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*");
    let jetson = if jetson.is_empty() { host.find("/sys/bus/i2c/drivers/ina3221x/*/iio:device*") } else { jetson };
    if !jetson.is_empty() {
        return readable(NAME, host, identity, "INA3221", &rails(host, &jetson));
    }
    let rapl = host.find("/sys/class/powercap/intel-rapl:*/energy_uj");
    if !rapl.is_empty() {
        return readable(NAME, host, identity, "RAPL", &rapl);
    }
    let mut monitors = Vec::new();
    for file in ["power*_input", "power*_average", "energy*_input"] {
        monitors.extend(host.find(&format!("/sys/class/hwmon/hwmon*/{file}")));
    }
    if !monitors.is_empty() {
        return readable(NAME, host, identity, "hwmon", &monitors);
    }
    let board = host.read("/proc/device-tree/model").unwrap_or_default();
    if board.starts_with("Raspberry Pi 5") || board.starts_with("Raspberry Pi Compute Module 5") {
        let mailbox = ["/dev/vcio_gencmd", "/dev/vcio"].map(str::to_owned);
        let mailbox: Vec<String> = mailbox.into_iter().filter(|path| host.exists(path)).take(1).collect();
        if !mailbox.is_empty() {
            return readable(NAME, host, identity, "the PMIC through the firmware", &mailbox);
        }
    }
    Finding::absent(NAME, "no sensor: energy cannot be measured on this machine by itself")
}

/// The voltage inputs of rails in use.
fn rails(host: &Host, monitors: &[String]) -> Vec<String> {
    let mut rails = Vec::new();
    for monitor in monitors {
        for pattern in ["in*_label", "rail_name_*"] {
            for label in host.find(&format!("{monitor}/{pattern}")) {
                let input = match label.strip_suffix("_label") {
                    Some(start) => format!("{start}_input"),
                    None => label.replace("/rail_name_", "/in_power") + "_input",
                };
                let name = host.read(&label).unwrap_or_default();
                if name != "NC" && !name.to_ascii_lowercase().contains("sum of") && host.exists(&input) {
                    rails.push(input);
                }
            }
        }
    }
    rails
}

fn readable(name: &str, host: &Host, identity: &Identity, what: &str, files: &[String]) -> Finding {
    let refused: Vec<String> =
        files.iter().filter(|file| host.open(file, false, identity) != Ok(())).cloned().collect();
    let denied = refused.iter().any(|file| matches!(host.open(file, false, identity), Err(Refusal::Mode)));
    match (files, refused.as_slice()) {
        ([], _) => Finding::warning(name, format!("{what} without a rail in use"), "see dmesg for the sensor's driver"),
        (files, []) => Finding::ok(name, format!("{what}: {}", some(files))),
        (_, refused) if denied => {
            let found = format!("{what}: user {} may not read {}", identity.user(), some(refused));
            let remedy = "a udev rule that lets a group of the service read it (RAPL is for root only by default); the \
                          Debian package brings one";
            Finding::warning(name, found, remedy)
        }
        (_, refused) => {
            let ruled_out = refused.iter().any(|file| host.open(file, false, identity) == Err(Refusal::Rules));
            let remedy = if ruled_out {
                "in the unit: a DeviceAllow= line for it; see also under devices"
            } else {
                "see dmesg for the sensor's driver"
            };
            Finding::warning(name, format!("{what}: cannot read {}", some(refused)), remedy)
        }
    }
}
