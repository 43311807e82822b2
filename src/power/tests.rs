//! Boards as their documents describe them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;

struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn find(&self, settings: &config::Power) -> Found {
        find(&Host::at(self.0.path(), &[]), settings)
    }
}

/// Names, coverages and values of all sensors.
fn told(found: &mut Found) -> Vec<(String, &'static str, f64)> {
    let told = found.sensors.iter_mut().map(|sensor| {
        let value = sensor.read().unwrap().value;
        (sensor.rail().name.clone(), sensor.rail().coverage.word(), value)
    });
    told.collect()
}

fn lacks(found: &Found, family: &str) -> String {
    found.absent.iter().filter(|absent| absent.family == family).map(|absent| absent.reason.as_str()).collect()
}

fn automatic() -> config::Power {
    config::Power::default()
}

/// Jetson Orin Nano with JetPack 6: one chip, with three channels in use and a sum.
fn orin() -> Machine {
    let machine = Machine::new();
    let chip = "/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1";
    for (channel, label, millivolts, milliamperes) in
        [(1, "VDD_IN", 5072, 1104), (2, "VDD_CPU_GPU_CV", 5064, 320), (3, "VDD_SOC", 5064, 280)]
    {
        machine
            .file(&format!("{chip}/in{channel}_label"), &format!("{label}\n"))
            .file(&format!("{chip}/in{channel}_input"), &format!("{millivolts}\n"))
            .file(&format!("{chip}/curr{channel}_input"), &format!("{milliamperes}\n"));
    }
    machine.file(&format!("{chip}/in7_label"), "sum of shunt voltages\n").file(&format!("{chip}/in7_input"), "17\n");
    machine.file(&format!("{chip}/in4_label"), "NC\n").file(&format!("{chip}/in4_input"), "0\n");
    // The same chip among the monitors counts once.
    machine.file("/sys/class/hwmon/hwmon1/name", "ina3221\n").file("/sys/class/hwmon/hwmon1/power1_input", "1\n");
    machine
}

#[test]
fn a_jetson_orin_nano_has_its_module_and_two_rails() {
    let mut found = orin().find(&automatic());
    let expected = [
        ("VDD_IN".to_owned(), "module", 5.072 * 1.104),
        ("VDD_CPU_GPU_CV".to_owned(), "rail", 5.064 * 0.32),
        ("VDD_SOC".to_owned(), "rail", 5.064 * 0.28),
    ];
    for (told, expected) in told(&mut found).into_iter().zip(&expected) {
        assert_eq!((&told.0, told.1), (&expected.0, expected.1));
        assert!((told.2 - expected.2).abs() < 1e-9, "{told:?}");
    }
    assert_eq!((found.sensors.len(), found.preferred("")), (3, Some(0)));
    assert_eq!((found.preferred("VDD_SOC"), found.preferred("VDD")), (Some(2), None));
}

#[test]
fn a_jetson_agx_has_no_total_and_a_jetson_nano_tells_milliwatts() {
    let machine = Machine::new();
    for (chip, label) in [("1-0040/hwmon/hwmon2", "VDD_GPU_SOC"), ("1-0041/hwmon/hwmon3", "VIN_SYS_5V0")] {
        let chip = format!("/sys/bus/i2c/drivers/ina3221/{chip}");
        machine.file(&format!("{chip}/in1_label"), label).file(&format!("{chip}/in1_input"), "19000");
        machine.file(&format!("{chip}/curr1_input"), "-4");
    }
    let told_of = told(&mut machine.find(&automatic()));
    assert_eq!(told_of, [("VDD_GPU_SOC".to_owned(), "rail", -0.076), ("VIN_SYS_5V0".to_owned(), "rail", -0.076)]);
    let nano = Machine::new();
    let chip = "/sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0";
    for (channel, label, power) in [(0, "POM_5V_IN", "2100"), (1, "POM_5V_GPU", "120"), (2, "POM_5V_CPU", "480")] {
        nano.file(&format!("{chip}/rail_name_{channel}"), label);
        nano.file(&format!("{chip}/in_power{channel}_input"), power);
    }
    let expected = [("POM_5V_IN", "module", 2.1), ("POM_5V_GPU", "rail", 0.12), ("POM_5V_CPU", "rail", 0.48)];
    assert_eq!(told(&mut nano.find(&automatic())), expected.map(|(name, of, watts)| (name.to_owned(), of, watts)));
}

#[test]
fn a_counter_that_begins_again_goes_on() {
    let machine = Machine::new();
    let zone = "/sys/class/powercap/intel-rapl:0";
    machine.file(&format!("{zone}/name"), "package-0\n").file(&format!("{zone}/max_energy_range_uj"), "1000000000\n");
    machine.file(&format!("{zone}/energy_uj"), "999000000\n");
    let core = "/sys/class/powercap/intel-rapl:0:0";
    machine.file(&format!("{core}/name"), "core\n").file(&format!("{core}/energy_uj"), "5\n");
    let mut found = machine.find(&automatic());
    assert_eq!(
        lacks(&found, "rapl"),
        "core: no max_energy_range_uj beside /sys/class/powercap/intel-rapl:0:0/energy_uj"
    );
    let sensor = &mut found.sensors[0];
    assert_eq!((sensor.rail().quantity, sensor.rail().coverage), (Quantity::Energy, Coverage::Package));
    let mut next = |text: &str| {
        machine.file(&format!("{zone}/energy_uj"), text);
        sensor.read().map(|reading| reading.value)
    };
    assert_eq!(next("999500000\n").unwrap(), 0.5);
    assert_eq!(next("250000\n").unwrap(), 1.25, "1 J before the range, 0.25 J after it");
    assert_eq!(next("250000\n").unwrap(), 1.25);
    assert!(next("-7\n").is_err());
    assert!(matches!(next(""), Err(ReadError::NoNumber { .. })));
    assert_eq!(next("1250000\n").unwrap(), 2.25, "it recovers");
}

#[test]
fn other_monitors_tell_power_once_and_energy_since_the_opening() {
    let machine = Machine::new();
    let monitor = "/sys/class/hwmon/hwmon4";
    machine.file(&format!("{monitor}/name"), "ina226\n").file(&format!("{monitor}/power1_input"), "2500000\n");
    machine.file(&format!("{monitor}/power1_average"), "9\n").file(&format!("{monitor}/power2_average"), "750000\n");
    machine.file(&format!("{monitor}/power2_label"), "fan\n").file(&format!("{monitor}/energy1_input"), "7000000\n");
    let mut found = machine.find(&automatic());
    machine.file(&format!("{monitor}/energy1_input"), "7500000\n");
    let expected = [("ina226 power1", "rail", 2.5), ("ina226 fan", "rail", 0.75), ("ina226 energy1", "rail", 0.5)];
    assert_eq!(told(&mut found), expected.map(|(name, of, value)| (name.to_owned(), of, value)));
    machine.file(&format!("{monitor}/energy1_input"), "3\n");
    let message = found.sensors[2].read().unwrap_err().to_string();
    assert!(message.ends_with("energy1_input has begun again: 3 after 7000000"), "{message}");
}

#[test]
fn a_battery_counts_while_it_discharges() {
    let machine = Machine::new();
    let battery = "/sys/class/power_supply/BAT0";
    machine.file("/sys/class/power_supply/AC/type", "Mains\n").file(&format!("{battery}/type"), "Battery\n");
    machine.file(&format!("{battery}/status"), "Charging\n").file(&format!("{battery}/voltage_now"), "12000000\n");
    machine.file(&format!("{battery}/current_now"), "-500000\n");
    assert_eq!(lacks(&machine.find(&automatic()), "battery"), "BAT0: BAT0 is \"Charging\": unplug the supply");
    machine.file(&format!("{battery}/status"), "Discharging\n");
    assert_eq!(told(&mut machine.find(&automatic())), [("BAT0".to_owned(), "battery", 6.0)]);
    machine.file(&format!("{battery}/power_now"), "6100000\n");
    let mut found = machine.find(&automatic());
    assert_eq!(told(&mut found), [("BAT0".to_owned(), "battery", 6.1)]);
    machine.file(&format!("{battery}/status"), "Full\n");
    assert!(found.sensors[0].read().is_err());
}

#[test]
fn a_machine_without_sensors_has_a_reason_for_each_family() {
    let found = Machine::new().find(&automatic());
    let families: Vec<&str> = found.absent.iter().map(|absent| absent.family).collect();
    assert_eq!((found.sensors.len(), families), (0, vec!["ina3221", "rapl", "hwmon", "battery"]));
    assert!(found.absent.iter().all(|absent| absent.reason.contains("under /sys/")), "{:?}", found.absent);
}

#[test]
fn a_sensor_that_vanishes_or_is_malformed_is_an_error_and_not_a_zero() {
    let machine = orin();
    let file = "/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr1_input";
    let mut found = machine.find(&automatic());
    for text in ["", "x\n", "1e3\n", "\u{0}\u{0}"] {
        machine.file(file, text);
        let error = found.sensors[0].read().unwrap_err().to_string();
        assert!(error.contains("curr1_input holds") && error.contains("expected a whole number"), "{error}");
        assert!(found.sensors[1].read().is_ok());
    }
    fs::remove_file(machine.path(file)).unwrap();
    let found = machine.find(&automatic());
    assert_eq!(found.sensors.len(), 2);
    assert!(lacks(&found, "ina3221").starts_with("VDD_IN: cannot read "), "{:?}", found.absent);
}

#[test]
fn the_preferred_sensor_is_calibrated_and_says_so() {
    let settings = config::Power { gain: 1.1, offset_w: 0.5, ..automatic() };
    let mut found = orin().find(&settings);
    let value = found.sensors[0].read().unwrap().value;
    assert!((value - (5.072 * 1.104 * 1.1 + 0.5)).abs() < 1e-9, "{value}");
    assert_eq!(found.sensors[0].rail().calibration, Calibration { gain: 1.1, offset_w: 0.5 });
    assert_eq!(found.sensors[1].rail().calibration, Calibration::NONE);
}

fn curve(text: &str) -> (TempDir, Found) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("curve.csv");
    fs::write(&path, text).unwrap();
    let meter = format!("simulated:{}", path.display());
    let found = find(&Host::at(Path::new("/nonexistent"), &[]), &config::Power { meter, ..automatic() });
    (folder, found)
}

#[test]
fn a_simulated_sensor_follows_its_curve_and_refuses_a_wrong_one() {
    let (_folder, mut found) = curve("0,3.5\n3600,3.5\n");
    assert_eq!(told(&mut found), [("simulated".to_owned(), "board", 3.5)]);
    for (text, part) in [
        ("", "it is empty"),
        ("0,1\n0,2\n", "line 2 is \"0,2\""),
        ("0 1\n", "line 1 is \"0 1\"; expected SECONDS,WATTS"),
        ("0,inf\n", "line 1"),
    ] {
        let (_folder, found) = curve(text);
        assert!(found.sensors.is_empty() && lacks(&found, "simulated").contains(part), "{:?}", found.absent);
    }
    assert!(lacks(&curve_of("/nonexistent"), "simulated").contains("No such file"));
}

fn curve_of(path: &str) -> Found {
    let meter = format!("simulated:{path}");
    find(&Host::at(Path::new("/nonexistent"), &[]), &config::Power { meter, ..automatic() })
}

#[test]
fn characteristics_tell_period_step_and_duplicates() {
    let mut steady = curve("0,2\n").1.sensors.remove(0);
    let stuck = characterise(steady.as_mut(), Duration::from_millis(50)).unwrap();
    assert_eq!((stuck.period_s, stuck.step, stuck.duplicates), (None, None, 1.0));
    // Read every 2 ms; a new value every 20 ms, in steps of 0.25 W and, when it begins again, of 0.75 W.
    let reading = |index: u64| Reading { at_ns: index * 2_000_000, value: (index / 10 % 4) as f64 * 0.25 };
    let readings: Vec<Reading> = (0..=300).map(reading).collect();
    let found = characteristics(&readings, 3.0);
    assert!((found.period_s.unwrap() - 0.02).abs() < 1e-9, "{found:?}");
    assert_eq!((found.step, found.read_us, found.duplicates, found.samples), (Some(0.25), 3.0, 0.9, 300));
    assert_eq!(characteristics(&[], 0.0).samples, 0);
}
