//! Other monitors of the kernel (Documentation/hwmon/sysfs-interface): PMBus supplies, INA219 and INA226, USB meters.
//! `power*_input` and `power*_average` in microwatts, `energy*_input` in microjoules.

use super::gauge::{Gauge, ReadError, reason};
use super::{Calibration, Coverage, Found, Quantity, Rail, Reading, Sensor};
use crate::frame::monotonic_ns;
use crate::system::host::Host;

const FAMILY: &str = "hwmon";

/// Drivers with a family of their own.
const OTHERS: [&str; 1] = ["ina3221"];

/// A channel.
struct Channel {
    rail: Rail,
    gauge: Gauge,
    /// Microjoules at the opening, if it counts them.
    first: Option<i64>,
}

impl Sensor for Channel {
    fn rail(&self) -> &Rail {
        &self.rail
    }

    fn read(&mut self) -> Result<Reading, ReadError> {
        let value = self.gauge.read()?;
        let first = self.first.unwrap_or(0);
        if self.first.is_some() && value < first {
            return Err(ReadError::Unfit(format!("{} has begun again: {value} after {first}", self.rail.source)));
        }
        Ok(Reading { at_ns: monotonic_ns(), value: value.saturating_sub(first) as f64 / 1e6 })
    }
}

pub(super) fn find(host: &Host, found: &mut Found) {
    let before = (found.sensors.len(), found.absent.len());
    for monitor in host.find("/sys/class/hwmon/hwmon*") {
        let driver = host.read(&format!("{monitor}/name")).unwrap_or_default();
        if OTHERS.contains(&driver.as_str()) {
            continue;
        }
        for (pattern, quantity) in [
            ("power*_input", Quantity::Power),
            ("power*_average", Quantity::Power),
            ("energy*_input", Quantity::Energy),
        ] {
            for path in host.find(&format!("{monitor}/{pattern}")) {
                let channel = path.rsplit('/').next().and_then(|file| file.split('_').next()).unwrap_or_default();
                // Some have both a present and a mean value.
                if pattern == "power*_average" && host.exists(&format!("{monitor}/{channel}_input")) {
                    continue;
                }
                let label = host.read(&format!("{monitor}/{channel}_label")).unwrap_or_else(|| channel.to_owned());
                let name = format!("{driver} {label}").trim().to_owned();
                let (coverage, calibration) = (Coverage::Rail, Calibration::NONE);
                let rail = Rail { family: FAMILY, name, quantity, coverage, source: path.clone(), calibration };
                let open = || {
                    let gauge = Gauge::open(host, &path)?;
                    let first = if quantity == Quantity::Energy { Some(gauge.read()?) } else { None };
                    Ok::<_, ReadError>((gauge, first))
                };
                match open() {
                    Ok((gauge, first)) => found.add(Channel { rail, gauge, first }),
                    Err(error) => found.lacks(FAMILY, format!("{}: {}", rail.name, reason(&error))),
                }
            }
        }
    }
    if (found.sensors.len(), found.absent.len()) == before {
        found.lacks(FAMILY, "no monitor with power or energy under /sys/class/hwmon");
    }
}
