//! What slows a machine down: temperatures, clocks, throttling, and waiting for resources.
//!
//! Sources: the kernel's thermal sysfs, cpufreq and PSI documentation; the Raspberry Pi documentation, "vcgencmd
//! get_throttled"; NVIDIA's Jetson Linux Developer Guide, "Over-current throttling" (hwmon `soctherm_oc`); the kernel's
//! `thermal_throttle` counters of x86.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::host::Host;

/// At or below this temperature a sensor is off (Jetson: −256 °C), in thousandths of a degree.
const OFF: i64 = -100_000;

/// The flags of the Raspberry Pi's firmware, by bit; 16 bits higher, the same since the start.
pub(crate) const PI_FLAGS: [&str; 4] = ["under-voltage", "frequency capped", "throttled", "soft temperature limit"];

/// Patterns of the file with these flags.
const PI_FILES: [&str; 2] =
    ["/sys/devices/platform/*/*firmware*/get_throttled", "/sys/devices/platform/*firmware*/get_throttled"];

/// The state of the machine at one time. What it does not tell is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// Degrees Celsius, by thermal zone.
    pub celsius: BTreeMap<String, f64>,
    /// Frequencies of the cores in kHz, by number.
    #[serde(deserialize_with = "by_number")]
    pub khz: BTreeMap<u32, u64>,
    /// What sets the frequency of the cores, each once.
    pub governors: Vec<String>,
    /// What throttles the machine now.
    pub throttled: Vec<String>,
    /// What has throttled it since it was started.
    pub throttled_before: Vec<String>,
    /// How often it has been throttled, by cause.
    pub throttle_counts: BTreeMap<String, u64>,
    /// Microseconds for which some task has waited, by resource: `cpu`, `io`, `memory`.
    pub waited_us: BTreeMap<String, u64>,
}

/// Numbers as names, which JSON requires: a tagged record keeps its names as text until its type is known, and serde then
/// takes no text for a number.
fn by_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<u32, u64>, D::Error> {
    let of_name = |(name, value): (String, u64)| {
        let number = name.parse().map_err(|_| D::Error::custom(format_args!("{name:?} is no number of a core")))?;
        Ok((number, value))
    };
    BTreeMap::<String, u64>::deserialize(deserializer)?.into_iter().map(of_name).collect()
}

/// Knows where the machine tells what.
#[derive(Debug)]
pub(crate) struct Probe {
    /// Name and file of each zone.
    zones: Vec<(String, String)>,
    /// Number, file of the frequency and file of the governor of each core.
    cores: Vec<(u32, String, String)>,
    pi_flags: Option<String>,
    pi_voltage: Option<String>,
    /// Name and files of each counter: their sum counts.
    counters: Vec<(String, Vec<String>)>,
    /// Name and file of each resource.
    pressure: Vec<(&'static str, String)>,
}

impl Probe {
    /// Looks for everything once.
    pub(crate) fn new(host: &Host) -> Self {
        let mut zones: Vec<(String, String)> = Vec::new();
        for zone in host.find("/sys/class/thermal/thermal_zone*") {
            let kind = host.read(&format!("{zone}/type")).filter(|kind| !kind.is_empty());
            let number = zone.rsplit('/').next().unwrap_or_default().to_owned();
            let mut name = kind.unwrap_or_else(|| number.clone());
            if zones.iter().any(|(other, _)| *other == name) {
                name = format!("{name} ({number})");
            }
            zones.push((name, format!("{zone}/temp")));
        }
        let cores = host.find("/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor").into_iter().filter_map(|file| {
            let folder = file.strip_suffix("/scaling_governor")?;
            let number = folder.strip_suffix("/cpufreq")?.rsplit("/cpu").next()?.parse().ok()?;
            Some((number, format!("{folder}/scaling_cur_freq"), file))
        });
        let pi_flags = PI_FILES.iter().find_map(|pattern| host.find(pattern).into_iter().next());
        let mut pi_voltage = None;
        let mut counters = Vec::new();
        for monitor in host.find("/sys/class/hwmon/hwmon*") {
            match host.read(&format!("{monitor}/name")).as_deref() {
                Some("soctherm_oc") => {
                    for file in host.find(&format!("{monitor}/oc*_event_cnt")) {
                        let name = file.rsplit('/').next().unwrap_or_default().trim_end_matches("_event_cnt");
                        counters.push((name.to_owned(), vec![file.clone()]));
                    }
                }
                Some("rpi_volt") => pi_voltage = Some(format!("{monitor}/in0_lcrit_alarm")),
                _ => {}
            }
        }
        for name in ["core_throttle_count", "package_throttle_count"] {
            let files = host.find(&format!("/sys/devices/system/cpu/cpu*/thermal_throttle/{name}"));
            if !files.is_empty() {
                counters.push((name.to_owned(), files));
            }
        }
        let resources = ["cpu", "io", "memory"].map(|name| (name, format!("/proc/pressure/{name}")));
        let pressure = resources.into_iter().filter(|(_, file)| host.read(file).is_some()).collect();
        Self { zones, cores: cores.collect(), pi_flags, pi_voltage, counters, pressure }
    }

    /// The state of the machine now.
    pub(crate) fn read(&self, host: &Host) -> Condition {
        let mut condition = Condition::default();
        for (name, file) in &self.zones {
            if let Some(value) = host.number(file).filter(|value| *value > OFF) {
                condition.celsius.insert(name.clone(), value as f64 / 1000.0);
            }
        }
        for (core, frequency, governor) in &self.cores {
            if let Some(khz) = host.number(frequency).and_then(|khz| u64::try_from(khz).ok()) {
                condition.khz.insert(*core, khz);
            }
            if let Some(governor) = host.read(governor).filter(|name| !condition.governors.contains(name)) {
                condition.governors.push(governor);
            }
        }
        condition.governors.sort_unstable();
        if let Some(flags) = self.pi_flags.as_deref().and_then(|file| host.read(file)).and_then(|text| pi_flags(&text))
        {
            (condition.throttled, condition.throttled_before) = flags;
        } else if let Some(file) = &self.pi_voltage {
            condition.throttled.extend((host.number(file) == Some(1)).then(|| PI_FLAGS[0].to_owned()));
        }
        for (name, files) in &self.counters {
            // Cores of a package count the same events: the most of them is their number.
            let count = files.iter().filter_map(|file| host.number(file)).max();
            if let Some(count) = count.and_then(|count| u64::try_from(count).ok()) {
                condition.throttle_counts.insert(name.clone(), count);
            }
        }
        for (name, file) in &self.pressure {
            if let Some(waited) = host.read(file).as_deref().and_then(some_total) {
                condition.waited_us.insert((*name).to_owned(), waited);
            }
        }
        condition
    }

    /// What the machine does not tell, with the reason.
    pub(crate) fn absent(&self) -> BTreeMap<&'static str, &'static str> {
        let tells_throttling = self.pi_flags.is_some() || self.pi_voltage.is_some() || !self.counters.is_empty();
        let missing = [
            (self.zones.is_empty(), "temperature", "no thermal zone under /sys/class/thermal"),
            (
                self.cores.is_empty(),
                "frequency",
                "no cpufreq under /sys/devices/system/cpu: a virtual machine, or no driver",
            ),
            (
                !tells_throttling,
                "throttling",
                "neither firmware flags, nor over-current counters, nor thermal_throttle counters",
            ),
            (self.pressure.is_empty(), "pressure", "no /proc/pressure: a kernel without PSI, or with psi=0"),
        ];
        missing.into_iter().filter(|(is_missing, ..)| *is_missing).map(|(_, what, why)| (what, why)).collect()
    }
}

/// What throttles a Raspberry Pi now, and what has since its start, from hexadecimal flags.
pub(crate) fn pi_flags(text: &str) -> Option<(Vec<String>, Vec<String>)> {
    let bits = u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()?;
    let of = |shift: u32| {
        let set = PI_FLAGS.iter().enumerate().filter(|(bit, _)| bits >> shift >> bit & 1 == 1);
        set.map(|(_, name)| (*name).to_owned()).collect()
    };
    Some((of(0), of(16)))
}

/// The total of the line `some` of a pressure file, in microseconds.
fn some_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split_whitespace().find_map(|field| field.strip_prefix("total="))?.parse().ok()
}

#[cfg(test)]
mod tests;
