//! The current monitors of NVIDIA Jetson boards (Texas Instruments INA3221; Jetson Linux Developer Guide, "Power
//! monitors"; Linux, Documentation/hwmon/ina3221).
//!
//! JetPack 5 and 6 have the kernel's hwmon driver: a label, millivolts and milliamperes for each channel. JetPack 4 has a
//! driver of its own, with milliwatts. Numbers of devices change with every start, so channels are known by label.

use super::gauge::{Gauge, ReadError, reason};
use super::{Calibration, Coverage, Found, Quantity, Rail, Reading, Sensor};
use crate::frame::monotonic_ns;
use crate::system::host::Host;

const FAMILY: &str = "ina3221";

/// Labels of channels that carry all that the module takes.
const TOTALS: [&str; 2] = ["VDD_IN", "POM_5V_IN"];

/// A channel.
struct Channel {
    rail: Rail,
    input: Input,
}

enum Input {
    /// Millivolts and milliamperes.
    Product(Gauge, Gauge),
    /// Milliwatts.
    Milliwatts(Gauge),
}

impl Sensor for Channel {
    fn rail(&self) -> &Rail {
        &self.rail
    }

    fn read(&mut self) -> Result<Reading, ReadError> {
        let value = match &self.input {
            Input::Product(volts, amperes) => volts.read()? as f64 * amperes.read()? as f64 / 1e6,
            Input::Milliwatts(power) => power.read()? as f64 / 1e3,
        };
        Ok(Reading { at_ns: monotonic_ns(), value })
    }
}

pub(super) fn find(host: &Host, found: &mut Found) {
    let before = (found.sensors.len(), found.absent.len());
    for label in host.find("/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in*_label") {
        let (Some(folder), Some(name)) = (label.rsplit_once('/').map(|(folder, _)| folder), used(host, &label)) else {
            continue;
        };
        let number = label.trim_end_matches("_label").rsplit("/in").next().unwrap_or_default();
        let (volts, amperes) = (format!("{folder}/in{number}_input"), format!("{folder}/curr{number}_input"));
        add(found, name, &volts, || Ok(Input::Product(Gauge::open(host, &volts)?, Gauge::open(host, &amperes)?)));
    }
    for label in host.find("/sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*") {
        let Some(name) = used(host, &label) else { continue };
        let power = label.replace("/rail_name_", "/in_power") + "_input";
        add(found, name, &power, || Ok(Input::Milliwatts(Gauge::open(host, &power)?)));
    }
    if (found.sensors.len(), found.absent.len()) == before {
        found.lacks(FAMILY, "no INA3221 with a channel in use under /sys/bus/i2c/drivers");
    }
}

/// The label of a channel that is in use.
fn used(host: &Host, label: &str) -> Option<String> {
    let name = host.read(label)?;
    let is_used = !name.is_empty() && name != "NC" && !name.to_ascii_lowercase().contains("sum of");
    is_used.then_some(name)
}

fn add(found: &mut Found, name: String, source: &str, open: impl FnOnce() -> Result<Input, ReadError>) {
    let coverage = if TOTALS.contains(&name.as_str()) { Coverage::Module } else { Coverage::Rail };
    let (quantity, calibration) = (Quantity::Power, Calibration::NONE);
    match open() {
        Ok(input) => {
            let rail = Rail { family: FAMILY, name, quantity, coverage, source: source.into(), calibration };
            found.add(Channel { rail, input });
        }
        Err(error) => found.lacks(FAMILY, format!("{name}: {}", reason(&error))),
    }
}
