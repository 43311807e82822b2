//! Energy counters of Intel and AMD processors (Linux, Documentation/power/powercap): microjoules, which begin again at 0
//! beyond `max_energy_range_uj`.

use super::gauge::{Gauge, ReadError, reason};
use super::{Calibration, Coverage, Found, Quantity, Rail, Reading, Sensor};
use crate::frame::monotonic_ns;
use crate::system::host::Host;

const FAMILY: &str = "rapl";

/// A zone.
struct Zone {
    rail: Rail,
    energy: Gauge,
    /// Microjoules at which the counter begins again.
    range: u64,
    last: u64,
    /// Microjoules since the sensor was opened.
    total: u64,
}

impl Sensor for Zone {
    fn rail(&self) -> &Rail {
        &self.rail
    }

    fn read(&mut self) -> Result<Reading, ReadError> {
        let now = microjoules(&self.energy, &self.rail.source)?;
        // At most once: a zone takes at least some minutes for a whole turn.
        let since = now.checked_sub(self.last).unwrap_or_else(|| (self.range + now).saturating_sub(self.last));
        (self.last, self.total) = (now, self.total + since);
        Ok(Reading { at_ns: monotonic_ns(), value: self.total as f64 / 1e6 })
    }
}

fn microjoules(energy: &Gauge, path: &str) -> Result<u64, ReadError> {
    let value = energy.read()?;
    u64::try_from(value).map_err(|_| ReadError::NoNumber { path: path.into(), text: value.to_string() })
}

pub(super) fn find(host: &Host, found: &mut Found) {
    let before = (found.sensors.len(), found.absent.len());
    for path in host.find("/sys/class/powercap/intel-rapl:*/energy_uj") {
        let folder = path.trim_end_matches("/energy_uj");
        let Some(name) = host.read(&format!("{folder}/name")) else { continue };
        let range = host.number(&format!("{folder}/max_energy_range_uj")).and_then(|range| u64::try_from(range).ok());
        let coverage = match name.as_str() {
            "psys" => Coverage::Board,
            name if name.starts_with("package-") => Coverage::Package,
            _ => Coverage::Rail,
        };
        let (quantity, calibration) = (Quantity::Energy, Calibration::NONE);
        let rail = Rail { family: FAMILY, name, quantity, coverage, source: path.clone(), calibration };
        match (Gauge::open(host, &path).and_then(|energy| Ok((microjoules(&energy, &path)?, energy))), range) {
            (Ok((last, energy)), Some(range)) => found.add(Zone { rail, energy, range, last, total: 0 }),
            (Ok(_), None) => found.lacks(FAMILY, format!("{}: no max_energy_range_uj beside {path}", rail.name)),
            (Err(error), _) => found.lacks(FAMILY, format!("{}: {}", rail.name, reason(&error))),
        }
    }
    if (found.sensors.len(), found.absent.len()) == before {
        found.lacks(FAMILY, "no zone under /sys/class/powercap: a virtual machine, or no driver (intel_rapl_msr)");
    }
}
