//! Batteries (Linux, Documentation/ABI/testing/sysfs-class-power): microwatts, or microvolts and microamperes. While a
//! battery is charged it tells what flows into it, which is no consumption.

use super::gauge::{Gauge, ReadError, reason};
use super::{Calibration, Coverage, Found, Quantity, Rail, Reading, Sensor};
use crate::frame::monotonic_ns;
use crate::system::host::Host;

const FAMILY: &str = "battery";

/// A battery.
struct Battery {
    rail: Rail,
    input: Input,
    status: std::path::PathBuf,
}

enum Input {
    /// Microwatts.
    Power(Gauge),
    /// Microvolts and microamperes.
    Product(Gauge, Gauge),
}

impl Sensor for Battery {
    fn rail(&self) -> &Rail {
        &self.rail
    }

    fn read(&mut self) -> Result<Reading, ReadError> {
        let path = || self.status.display().to_string();
        let status = std::fs::read_to_string(&self.status).map_err(|source| ReadError::Io { path: path(), source })?;
        if status.trim() != "Discharging" {
            return Err(ReadError::Unfit(format!("{} is {:?}: unplug the supply", self.rail.name, status.trim())));
        }
        // Some drivers give currents out of the battery a minus sign.
        let value = match &self.input {
            Input::Power(power) => power.read()? as f64 / 1e6,
            Input::Product(volts, amperes) => volts.read()? as f64 * amperes.read()? as f64 / 1e12,
        };
        Ok(Reading { at_ns: monotonic_ns(), value: value.abs() })
    }
}

pub(super) fn find(host: &Host, found: &mut Found) {
    let before = (found.sensors.len(), found.absent.len());
    for supply in host.find("/sys/class/power_supply/*") {
        if host.read(&format!("{supply}/type")).as_deref() != Some("Battery") {
            continue;
        }
        let name = supply.rsplit('/').next().unwrap_or_default().to_owned();
        let (quantity, coverage, calibration) = (Quantity::Power, Coverage::Battery, Calibration::NONE);
        let rail = Rail { family: FAMILY, name, quantity, coverage, source: supply.clone(), calibration };
        let open = || {
            let of = |file: &str| Gauge::open(host, &format!("{supply}/{file}"));
            of("power_now").map(Input::Power).or_else(|_| Ok(Input::Product(of("voltage_now")?, of("current_now")?)))
        };
        let opened = open().and_then(|input| {
            let mut battery = Battery { rail: rail.clone(), input, status: host.path(&format!("{supply}/status")) };
            battery.read().map(|_| battery)
        });
        match opened {
            Ok(battery) => found.add(battery),
            Err(error) => found.lacks(FAMILY, format!("{}: {}", rail.name, reason(&error))),
        }
    }
    if (found.sensors.len(), found.absent.len()) == before {
        found.lacks(FAMILY, "no battery under /sys/class/power_supply");
    }
}
