//! Boards as their documents describe them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use tempfile::TempDir;

use super::*;

/// A machine with these files.
fn machine(files: &[(&str, &str)]) -> (TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(&folder, path, text);
    }
    let host = Host::at(folder.path(), &[]);
    (folder, host)
}

fn write(folder: &TempDir, path: &str, text: &str) {
    let path = folder.path().join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_raspberry_pi_4_tells_flags_clocks_and_one_zone() {
    let (folder, host) = machine(&[
        ("/sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        ("/sys/class/thermal/thermal_zone0/temp", "55504\n"),
        ("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n"),
        ("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "600000\n"),
        ("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "ondemand\n"),
        ("/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "1500000\n"),
        ("/sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n"),
        ("/sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
        ("/sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n"),
    ]);
    let probe = Probe::new(&host);
    let condition = probe.read(&host);
    assert_eq!(condition.celsius, [("cpu-thermal".to_owned(), 55.504)].into());
    assert_eq!(condition.khz, [(0, 600_000), (1, 1_500_000)].into());
    assert_eq!(condition.governors, ["ondemand"]);
    assert_eq!((condition.throttled.join(), condition.throttled_before.join()), {
        let flags = "under-voltage, throttled".to_owned();
        (flags.clone(), flags)
    });
    assert_eq!(probe.absent().keys().copied().collect::<Vec<_>>(), ["pressure"]);
    // Files that vanish or become nonsense are absent, not 0.
    for text in ["", "hot\n", "-256000\n"] {
        write(&folder, "/sys/class/thermal/thermal_zone0/temp", text);
        write(&folder, "/sys/devices/platform/soc/soc:firmware/get_throttled", "nothing\n");
        fs::remove_file(folder.path().join("sys/class/hwmon/hwmon1/in0_lcrit_alarm")).ok();
        let condition = probe.read(&host);
        assert_eq!((condition.celsius.len(), condition.throttled.len()), (0, 0), "{text:?}");
    }
}

/// The parts of a list, for comparing.
trait Join {
    fn join(&self) -> String;
}

impl Join for Vec<String> {
    fn join(&self) -> String {
        self.as_slice().join(", ")
    }
}

#[test]
fn a_jetson_counts_over_currents_and_has_sensors_that_are_off() {
    let (_folder, host) = machine(&[
        ("/sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        ("/sys/class/thermal/thermal_zone0/temp", "48125\n"),
        ("/sys/class/thermal/thermal_zone1/type", "cv0-thermal\n"),
        ("/sys/class/thermal/thermal_zone1/temp", "-256000\n"),
        ("/sys/class/hwmon/hwmon3/name", "soctherm_oc\n"),
        ("/sys/class/hwmon/hwmon3/oc1_event_cnt", "7\n"),
        ("/sys/class/hwmon/hwmon3/oc3_event_cnt", "0\n"),
    ]);
    let condition = Probe::new(&host).read(&host);
    assert_eq!(condition.celsius.keys().collect::<Vec<_>>(), ["cpu-thermal"]);
    assert_eq!(condition.throttle_counts, [("oc1".to_owned(), 7), ("oc3".to_owned(), 0)].into());
}

#[test]
fn an_x86_machine_counts_throttling_and_waiting_and_names_equal_zones_apart() {
    let pressure =
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234567\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n";
    let (_folder, host) = machine(&[
        ("/sys/class/thermal/thermal_zone0/type", "acpitz\n"),
        ("/sys/class/thermal/thermal_zone0/temp", "40000\n"),
        ("/sys/class/thermal/thermal_zone1/type", "acpitz\n"),
        ("/sys/class/thermal/thermal_zone1/temp", "41000\n"),
        ("/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "3\n"),
        ("/sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "5\n"),
        ("/sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "8\n"),
        ("/proc/pressure/cpu", pressure),
    ]);
    let probe = Probe::new(&host);
    let condition = probe.read(&host);
    assert_eq!(
        condition.celsius.into_iter().collect::<Vec<_>>(),
        [("acpitz".to_owned(), 40.0), ("acpitz (thermal_zone1)".to_owned(), 41.0)]
    );
    assert_eq!(condition.throttle_counts["core_throttle_count"], 5);
    assert_eq!(condition.throttle_counts["package_throttle_count"], 8);
    assert_eq!(condition.waited_us, [("cpu".to_owned(), 1_234_567)].into());
    assert_eq!(probe.absent().keys().copied().collect::<Vec<_>>(), ["frequency"]);
}

#[test]
fn a_machine_without_sensors_gives_reasons_and_no_zeros() {
    let (_folder, host) = machine(&[("/proc/uptime", "1 1\n")]);
    let probe = Probe::new(&host);
    assert_eq!(probe.read(&host), Condition::default());
    assert_eq!(probe.absent().len(), 4);
}

#[test]
fn flags_are_hexadecimal_with_and_without_a_prefix() {
    let of = |text: &str| pi_flags(text).map(|(now, before)| (now.len(), before.len()));
    assert_eq!(
        [of("0"), of("0x50000"), of("f000f"), of(""), of("0xg")],
        [Some((0, 0)), Some((0, 2)), Some((4, 4)), None, None]
    );
}
