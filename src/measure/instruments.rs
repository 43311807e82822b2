//! Looks at this machine: sensors of power, temperature and clocks, processor time, and what becomes of frames.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::environment::RailInfo;
use super::protocol::Look;
use super::sample::Sample;
use crate::config;
use crate::frame::monotonic_ns;
use crate::power::{self, Absent, Quantity, Sensor};
use crate::system::condition::Probe;
use crate::system::cpu_time::{cpu_seconds, own_cpu_seconds};
use crate::system::host::Host;
use crate::telemetry::Registry;

/// Time for which each sensor is watched before a measurement.
const WATCH: Duration = Duration::from_millis(1500);

/// Everything that is looked at.
pub struct Instruments {
    host: Host,
    probe: Probe,
    sensors: Vec<Box<dyn Sensor>>,
    absent: Vec<Absent>,
    rail: Option<usize>,
    registry: Arc<Registry>,
    cores: Vec<u32>,
}

impl Instruments {
    /// The instruments of this machine. Frames are those that `registry` counts, processor time is that of `cores`.
    #[must_use]
    pub fn new(settings: &config::Power, registry: Arc<Registry>, cores: Vec<u32>) -> Self {
        let host = Host::here();
        let found = power::find(&host, settings);
        let rail = found.preferred(&settings.rail);
        let (sensors, absent) = (found.sensors, found.absent);
        Self { probe: Probe::new(&host), host, sensors, absent, rail, registry, cores }
    }

    /// The sensors of power and energy, each watched for a while. The first is the one that figures are of.
    pub fn rails(&mut self) -> Vec<RailInfo> {
        if let Some(rail) = self.rail {
            self.sensors.swap(0, rail);
        }
        let rails = self.sensors.iter_mut().map(|sensor| {
            let observed = power::characterise(sensor.as_mut(), WATCH);
            let rail = sensor.rail();
            let info = RailInfo {
                name: rail.name.clone(),
                family: rail.family.into(),
                coverage: rail.coverage.word().into(),
                counts: rail.quantity == Quantity::Energy,
                gain: rail.calibration.gain,
                offset_w: rail.calibration.offset_w,
                ..RailInfo::default()
            };
            match observed {
                Ok(it) => RailInfo {
                    period_s: it.period_s,
                    step: it.step,
                    read_us: it.read_us,
                    duplicates: it.duplicates,
                    ..info
                },
                Err(_) => info,
            }
        });
        rails.collect()
    }

    /// What the machine does not tell, with the reason.
    pub fn absent(&self) -> impl Iterator<Item = (&str, &str)> {
        let sensors = self.absent.iter().map(|absent| (absent.family, absent.reason.as_str()));
        sensors.chain(self.probe.absent())
    }
}

impl Look for Instruments {
    fn look(&mut self, with_condition: bool) -> Sample {
        let at_ns = monotonic_ns();
        let readings: Vec<_> = self.sensors.iter_mut().map(|sensor| sensor.read().ok()).collect();
        let counts = self.registry.sum();
        Sample {
            at_ns,
            clock_ns: clock_ns(at_ns),
            rails: readings.iter().map(|reading| reading.map(|it| it.value)).collect(),
            rails_at_ns: readings.iter().map(|reading| reading.map_or(at_ns, |it| it.at_ns)).collect(),
            own_cpu_s: own_cpu_seconds(),
            all_cpu_s: cpu_seconds(&self.host, &self.cores).unwrap_or_default(),
            captured: counts.captured,
            dropped: counts.dropped,
            reconnects: counts.reconnects,
            condition: with_condition.then(|| self.probe.read(&self.host)),
        }
    }
}

/// How far the clock of the day is ahead of the monotonic one.
fn clock_ns(monotonic_ns: u64) -> i64 {
    let day = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let ahead = i128::try_from(day.as_nanos()).unwrap_or_default() - i128::from(monotonic_ns);
    i64::try_from(ahead).unwrap_or_default()
}
