//! Sensors of power and energy: what a machine tells of what it takes.
//!
//! There is one file for each family of sensors. What a machine does not have is absent with a reason, never 0.

mod battery;
mod gauge;
mod hwmon;
mod ina3221;
mod rapl;
mod simulated;

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config;
use crate::system::host::Host;
pub use gauge::ReadError;

/// What a sensor tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Watts now, or over its last period.
    Power,
    /// Joules since it was opened.
    Energy,
}

/// What the figures of a sensor are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// Everything that the board takes.
    Board,
    /// Everything that the battery gives.
    Battery,
    /// The computer module, without its carrier board.
    Module,
    /// The processor.
    Package,
    /// A single supply rail.
    Rail,
}

impl Coverage {
    /// The word of the records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Board => "board",
            Self::Battery => "battery",
            Self::Module => "module",
            Self::Package => "package",
            Self::Rail => "rail",
        }
    }
}

/// How readings are corrected: by a factor, then by an offset.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Calibration {
    /// Factor.
    pub gain: f64,
    /// Watts.
    pub offset_w: f64,
}

impl Calibration {
    /// Readings stay as they are.
    pub const NONE: Self = Self { gain: 1.0, offset_w: 0.0 };
}

/// A sensor, as the records name it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rail {
    /// Kind of the sensor: `ina3221`, `rapl`, …
    pub family: &'static str,
    /// Name that its driver gives it.
    pub name: String,
    /// What it tells.
    pub quantity: Quantity,
    /// What that is of.
    pub coverage: Coverage,
    /// The file or the address that it is read from.
    pub source: String,
    /// How its readings are corrected.
    pub calibration: Calibration,
}

/// What a sensor has told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// When, in monotonic nanoseconds.
    pub at_ns: u64,
    /// Watts, or joules since the sensor was opened.
    pub value: f64,
}

/// A sensor of power or energy.
pub trait Sensor: Send {
    /// What it is.
    fn rail(&self) -> &Rail;

    /// Its value now, in watts or joules, as its driver tells it.
    ///
    /// # Errors
    /// If it cannot be read, or tells no number.
    fn read(&mut self) -> Result<Reading, ReadError>;
}

/// A kind of sensor that the machine does not have, or that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Absent {
    /// The kind.
    pub family: &'static str,
    /// Why.
    pub reason: String,
}

/// The sensors of a machine.
#[derive(Default)]
pub struct Found {
    /// Those that can be read.
    pub sensors: Vec<Box<dyn Sensor>>,
    /// The kinds that are missing.
    pub absent: Vec<Absent>,
}

impl Found {
    fn lacks(&mut self, family: &'static str, reason: impl Into<String>) {
        self.absent.push(Absent { family, reason: reason.into() });
    }

    fn add(&mut self, sensor: impl Sensor + 'static) {
        self.sensors.push(Box::new(sensor));
    }

    /// The place of the sensor that covers most, or of the one called `name` if that is not empty.
    #[must_use]
    pub fn preferred(&self, name: &str) -> Option<usize> {
        let place = |wanted: &dyn Fn(&Rail) -> bool| self.sensors.iter().position(|sensor| wanted(sensor.rail()));
        if !name.is_empty() {
            return place(&|rail| rail.name == name);
        }
        let order = [Coverage::Board, Coverage::Battery, Coverage::Module, Coverage::Package, Coverage::Rail];
        order.into_iter().find_map(|coverage| place(&|rail| rail.coverage == coverage))
    }
}

/// Looks for every sensor of `host`, and for the meter of `settings`. The calibration is that of the preferred sensor.
#[must_use]
pub(crate) fn find(host: &Host, settings: &config::Power) -> Found {
    let mut found = Found::default();
    simulated::find(&settings.meter, &mut found);
    ina3221::find(host, &mut found);
    rapl::find(host, &mut found);
    hwmon::find(host, &mut found);
    battery::find(host, &mut found);
    let calibration = Calibration { gain: settings.gain, offset_w: settings.offset_w };
    if let Some(place) = found.preferred(&settings.rail).filter(|_| calibration != Calibration::NONE) {
        let sensor = found.sensors.remove(place);
        found.sensors.insert(place, Box::new(Calibrated::new(sensor, calibration)));
    }
    found
}

/// A sensor whose readings are corrected.
struct Calibrated {
    sensor: Box<dyn Sensor>,
    rail: Rail,
    opened_ns: Option<u64>,
}

impl Calibrated {
    fn new(sensor: Box<dyn Sensor>, calibration: Calibration) -> Self {
        let rail = Rail { calibration, ..sensor.rail().clone() };
        Self { sensor, rail, opened_ns: None }
    }
}

impl Sensor for Calibrated {
    fn rail(&self) -> &Rail {
        &self.rail
    }

    fn read(&mut self) -> Result<Reading, ReadError> {
        let Reading { at_ns, value } = self.sensor.read()?;
        let Calibration { gain, offset_w } = self.rail.calibration;
        let offset = match self.rail.quantity {
            Quantity::Power => offset_w,
            Quantity::Energy => {
                let opened = *self.opened_ns.get_or_insert(at_ns);
                offset_w * at_ns.saturating_sub(opened) as f64 / 1e9
            }
        };
        Ok(Reading { at_ns, value: value * gain + offset })
    }
}

/// How a sensor behaves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Characteristics {
    /// Seconds between two values. None if it has not changed.
    pub period_s: Option<f64>,
    /// Smallest step between two values, in watts or joules. None if it has not changed.
    pub step: Option<f64>,
    /// Microseconds that a reading takes: the median.
    pub read_us: f64,
    /// Share of readings that repeat the value before, 0 to 1.
    pub duplicates: f64,
    /// Readings made.
    pub samples: u64,
}

/// Pause between two readings of [`characterise`], long enough that they do not heat the machine.
const PAUSE: Duration = Duration::from_millis(2);

/// Reads `sensor` again and again for `time`.
///
/// # Errors
/// If a reading fails.
pub fn characterise(sensor: &mut dyn Sensor, time: Duration) -> Result<Characteristics, ReadError> {
    let begun = Instant::now();
    let (mut readings, mut costs) = (vec![sensor.read()?], Vec::new());
    while begun.elapsed() < time {
        std::thread::sleep(PAUSE);
        let start = Instant::now();
        readings.push(sensor.read()?);
        costs.push(start.elapsed().as_secs_f64() * 1e6);
    }
    costs.sort_by(f64::total_cmp);
    Ok(characteristics(&readings, costs.get(costs.len() / 2).copied().unwrap_or_default()))
}

/// What successive `readings` tell, each of which took `read_us`.
fn characteristics(readings: &[Reading], read_us: f64) -> Characteristics {
    let mut changes = Vec::new();
    let (mut step, mut duplicates) = (None::<f64>, 0_u64);
    for pair in readings.windows(2) {
        let difference = (pair[1].value - pair[0].value).abs();
        if difference > 0.0 {
            changes.push(pair[1].at_ns);
            step = Some(step.map_or(difference, |step| step.min(difference)));
        } else {
            duplicates += 1;
        }
    }
    let samples = readings.len().saturating_sub(1) as u64;
    let period_s = changes
        .first()
        .zip(changes.last())
        .filter(|_| changes.len() > 1)
        .map(|(first, last)| (last - first) as f64 / 1e9 / (changes.len() - 1) as f64);
    Characteristics { period_s, step, read_us, duplicates: duplicates as f64 / samples.max(1) as f64, samples }
}

#[cfg(test)]
mod tests;
